import { describe, expect, it } from 'vitest';
import type { ActResult, Agent } from '../src/rollout/team.ts';
import type { Action } from '../src/types/trajectory.ts';
import { emptyScene } from '../test/support/empty-scene.ts';
import { arithmeticTeam } from './arithmetic-team.ts';
import { maltTeam } from './malt-team.ts';
import { mathchatTeam } from './mathchat-team.ts';

const task = {
  id: 'task',
  prompt: 'Start with 47. Add 15. Multiply by 3. Keep the remainder modulo 98.',
};

function turn(text: string, output?: string): Action {
  const toolResults =
    output === undefined ? [] : [{ tool: 'python', status: 'ok', output, durationMs: 1 } as const];
  return {
    id: 'id',
    agent: 'agent',
    role: 'role',
    policy: { id: 'agent', version: 0 },
    turn: 0,
    seed: 0,
    observation: new Int32Array(),
    observationText: '',
    tokens: new Int32Array(),
    logprobs: new Float32Array(),
    text,
    toolCalls: [],
    toolResults,
    stop: 'stop',
  };
}

/** An agent that takes the given actions when asked, and what it was asked. */
function scripted(actions: readonly Action[]): Agent & { readonly heard: string[] } {
  const heard: string[] = [];
  const toolOutput = actions.findLast(({ toolResults }) => toolResults.length > 0)?.toolResults[0]
    ?.output;
  const text = actions.at(-1)?.text ?? '';
  const result: ActResult =
    toolOutput === undefined ? { text, actions } : { text, actions, toolOutput };
  return {
    heard,
    act: async (message) => {
      heard.push(message);
      return result;
    },
  };
}

function cast(executorTurns: readonly Action[], solverText = 'a = 47 + 15') {
  return {
    solver: scripted([turn(solverText)]),
    executor: scripted(executorTurns),
    verifier: scripted([turn('\\boxed{88}')]),
  };
}

describe('the arithmetic team', () => {
  it("hands the working to the executor, the executor's report to the verifier, and answers as it", async () => {
    const agents = cast([turn('code', '88'), turn('The result is 88.')]);
    expect(await arithmeticTeam.play(task, agents, emptyScene)).toBe('\\boxed{88}');
    expect(agents.executor.heard[0]).toContain('Working:\na = 47 + 15');
    expect(agents.verifier.heard[0]?.endsWith('Executor: The result is 88.')).toBe(true);
    expect(agents.verifier.heard[0]).not.toContain('47 + 15');
  });

  it('shows the verifier the output when the executor ends with a run', async () => {
    const agents = cast([turn('code', '[no output]'), turn('better code', '88')]);
    await arithmeticTeam.play(task, agents, emptyScene);
    expect(agents.verifier.heard[0]?.endsWith('Executor: better code\nOutput: 88')).toBe(true);
  });
});

describe('the MathChat team', () => {
  it('keeps thoughts to the agent that had them', async () => {
    const agents = cast(
      [turn('<think>hm</think>print it', '88'), turn('<think>so</think>It is 88.')],
      '<think>Let me see: 12345.</think>The draft.',
    );
    await mathchatTeam.play(task, agents, emptyScene);
    expect(agents.executor.heard[0]).toContain('draft\n\nThe draft.');
    expect(agents.executor.heard[0]).not.toContain('12345');
    expect(agents.verifier.heard[0]).toContain('It is 88.');
    expect(agents.verifier.heard[0]).not.toContain('so</think>');
  });

  it('passes on no thought that was cut off, also where the chat template had opened it', async () => {
    const open = cast([turn('In words.')], '<think>Let me see: 12345');
    await mathchatTeam.play(task, open, emptyScene);
    expect(open.executor.heard[0]).toContain('draft\n\n(No words: ');
    const opened = { ...turn('Let me see: 12345'), observationText: 'assistant\n<think>\n' };
    const agents = { ...cast([turn('In words.')]), solver: scripted([opened]) };
    await mathchatTeam.play(task, agents, emptyScene);
    expect(agents.executor.heard[0]).toContain('draft\n\n(No words: ');
    const closed = { ...opened, text: 'Let me see: 12345</think>The draft.' };
    const spoken = { ...cast([turn('In words.')]), solver: scripted([closed]) };
    await mathchatTeam.play(task, spoken, emptyScene);
    expect(spoken.executor.heard[0]).toContain('draft\n\nThe draft.');
    expect(spoken.executor.heard[0]).not.toContain('12345');
  });

  it('answers with what the verifier said, and not with what it thought', async () => {
    const thinking = scripted([turn('<think>perhaps \\boxed{1}')]);
    const agents = { ...cast([turn('In words.')]), verifier: thinking };
    expect(await mathchatTeam.play(task, agents, emptyScene)).toContain('No words');
  });

  it('has a variant of one agent with Python, who answers alone', async () => {
    const solver = scripted([turn('code', '88'), turn('It is **\\boxed{88}**.')]);
    const single = mathchatTeam.variants?.['single-agent'];
    expect(Object.keys(single?.agents ?? {})).toEqual(['solver']);
    expect(await single?.play(task, { solver }, emptyScene)).toBe('It is **\\boxed{88}**.');
    expect(solver.heard).toHaveLength(1);
    expect(solver.heard[0]).toContain(task.prompt);
  });

  it("shows the verifier the executor's report and last output, and not the draft", async () => {
    const agents = cast([turn('code', '88')], 'The draft.');
    await mathchatTeam.play(task, agents, emptyScene);
    expect(agents.verifier.heard[0]).toContain('## Output of the last run\n\n88');
    expect(agents.verifier.heard[0]).not.toContain('The draft.');
  });

  it('leaves the output out when no tool ran', async () => {
    const agents = cast([turn('In words.')]);
    await mathchatTeam.play(task, agents, emptyScene);
    expect(agents.verifier.heard[0]).not.toContain('Output of the last run');
  });
});

describe('the MALT team', () => {
  const problem = { id: 't', prompt: 'What is 6 · 7?', answer: '42' };

  it('shows the verifier the draft, the refiner both, and answers as the refiner', async () => {
    const generator = scripted([turn('<think>hm</think>The draft: 41.')]);
    const verifier = scripted([turn('Step 4 is wrong.')]);
    const refiner = scripted([turn('Final Answer: \\boxed{42}')]);
    const answer = await maltTeam.play(problem, { generator, verifier, refiner }, emptyScene);
    expect(answer).toBe('Final Answer: \\boxed{42}');
    expect(verifier.heard[0]).toContain('## Solution\n\nThe draft: 41.');
    expect(refiner.heard[0]).toContain('## Solution\n\nThe draft: 41.');
    expect(refiner.heard[0]).toContain('## Verification\n\nStep 4 is wrong.');
  });

  it('has a variant whose verifier has the last word', async () => {
    const generator = scripted([turn('The draft: 41.')]);
    const answerAfter = (critique: string) =>
      maltTeam.variants?.['without-refiner']?.play(
        problem,
        { generator, verifier: scripted([turn(critique)]) },
        emptyScene,
      );
    expect(await answerAfter('All steps hold.\nVerdict: correct')).toBe('The draft: 41.');
    expect(await answerAfter('Verdict: wrong, \\boxed{42}')).toBe('Verdict: wrong, \\boxed{42}');
  });

  it('has a variant of the generator alone, and one whose refiner reads an empty verification', async () => {
    const generator = scripted([turn('\\boxed{41}')]);
    const refiner = scripted([turn('\\boxed{42}')]);
    const { 'single-agent': single, 'without-verifier': unverified } = maltTeam.variants ?? {};
    expect(await single?.play(problem, { generator }, emptyScene)).toBe('\\boxed{41}');
    expect(await unverified?.play(problem, { generator, refiner }, emptyScene)).toBe('\\boxed{42}');
    expect(refiner.heard[0]?.trimEnd().endsWith('## Verification')).toBe(true);
  });
});

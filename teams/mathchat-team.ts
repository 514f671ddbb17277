import { readFileSync } from 'node:fs';
import { type ActResult, defineTeam } from '../src/rollout/team.ts';
import { opensThought, splitThinking } from '../src/tools/split-thinking.ts';

function loadPrompt(name: string): string {
  return readFileSync(new URL(`mathchat/${name}.md`, import.meta.url), 'utf8').trim();
}

const prompts = {
  solver: loadPrompt('problem-solver'),
  executor: loadPrompt('code-executor'),
  verifier: loadPrompt('verifier'),
  single: loadPrompt('single-agent'),
};

/** A role's prompt followed by named sections; the sections' texts are put in as they are. */
function withSections(prompt: string, sections: Readonly<Record<string, string>>): string {
  const parts = Object.entries(sections).map(([title, text]) => `## ${title}\n\n${text}`);
  return [prompt, ...parts].join('\n\n');
}

/** What the next agent reads where there is nothing to pass on. */
const noWords = '(No words: the reply was empty, or it was cut off inside its thoughts.)';

/**
 * What an agent tells the others: its words without its thoughts, an unclosed one included. Models whose chat template
 * opens the thought itself (Qwen3-Thinking, R1) never write `<think>`: there the observation ends with it.
 */
function spoken({ text, actions }: ActResult): string {
  const isThinking = opensThought(actions.at(-1)?.observationText ?? '');
  const words = splitThinking(text, { isThinking }).said.trim();
  return words === '' ? noWords : words;
}

/** The same problems for one agent with Python: what the team is compared with. */
const singleAgent = defineTeam({
  name: 'mathchat-single-agent',
  agents: {
    solver: { role: 'Problem Solver', maxTokens: 4096, tools: ['python'], maxTurns: 2 },
  },
  async play(task, { solver }) {
    return spoken(await solver.act(withSections(prompts.single, { Problem: task.prompt })));
  },
});

/**
 * MathChat as MAPPA plays it (arXiv 2601.23228): a Problem Solver drafts, a Code Executor checks with Python, a Verifier
 * decides. The Verifier sees the Code Executor's material and not the draft. Unlike the published code, thoughts
 * (`<think>`) are not shown to the next agent and are no part of the answer.
 */
export const mathchatTeam = defineTeam({
  name: 'mathchat',
  agents: {
    solver: { role: 'Problem Solver', maxTokens: 4096 },
    executor: { role: 'Code Executor', maxTokens: 4096, tools: ['python'], maxTurns: 2 },
    verifier: { role: 'Verifier', maxTokens: 4096 },
  },
  async play(task, { solver, executor, verifier }) {
    const draft = await solver.act(withSections(prompts.solver, { Problem: task.prompt }));
    const run = await executor.act(
      withSections(prompts.executor, {
        Problem: task.prompt,
        "The Problem Solver's draft": spoken(draft),
      }),
    );
    const output = run.toolOutput === undefined ? {} : { 'Output of the last run': run.toolOutput };
    const final = await verifier.act(
      withSections(prompts.verifier, {
        Problem: task.prompt,
        "The Code Executor's report": spoken(run),
        ...output,
      }),
    );
    return spoken(final);
  },
  variants: { 'single-agent': singleAgent },
});

import { expect, test } from 'vitest';
import { z } from 'zod';
import { resolveConfig } from '../src/config/load-config.ts';
import {
  defineRun,
  defineTeam,
  defineTool,
  discussionTeam,
  malt,
  mappaMathchat,
  type RunInput,
} from '../src/index.ts';

const calculate = defineTool({
  name: 'calculate',
  description: 'Adds two numbers.',
  input: z.object({ left: z.number(), right: z.number() }),
  run: ({ left, right }) => String(left + right),
});
const alone = defineTeam({
  name: 'alone',
  agents: { single: { role: 'Single', maxTokens: 8 } },
  play: async (task, { single }) => (await single.act(task.prompt)).text,
});
const pair = defineTeam({
  name: 'pair',
  agents: {
    solver: { role: 'Solver', maxTokens: 8, tools: ['python', 'calculate'] },
    verifier: { role: 'Verifier', maxTokens: 8 },
  },
  play: async (task, { solver, verifier }) => {
    const draft = await solver.act(task.prompt);
    return (await verifier.act(draft.text)).text;
  },
  variants: { alone },
});
const debate = discussionTeam({
  name: 'debate',
  agents: { ann: { role: 'A', maxTokens: 8 }, bob: { role: 'B', maxTokens: 8 } },
});
const rest = {
  ...{ name: 'r', coach: 'google/x', model: { path: 'm' }, tasks: { train: 't' } },
  ...{ team: pair, tools: [calculate] },
};

/** Whether a start would take it, too. */
function resolved(run: RunInput) {
  return resolveConfig(run, { directory: '/', where: 'the test' });
}

test('what names agents and tools of the team is taken, of its variants and of presets, too', () => {
  expect(resolved(defineRun({ ...rest, training: { frozen: ['verifier'] } }))).toBeDefined();
  const single = { variant: 'alone', coaching: { showAnswer: ['single'] as const } };
  expect(resolved(defineRun({ ...rest, ...single }))).toBeDefined();
  expect(resolved(defineRun({ ...mappaMathchat, ...rest }))).toBeDefined();
  const method = malt({ dpo: { agents: ['verifier'] } });
  expect(resolved(defineRun({ ...rest, method }))).toBeDefined();
  const payoffs = { ann: { bob: -1 } };
  const discussed = { ...rest, team: debate, method: { kind: 'maporl', payoffs } } as const;
  expect(resolved(defineRun(discussed))).toBeDefined();
});

test('a name that is none is underlined in an editor, and refused at the start', () => {
  // @ts-expect-error no agent has this name
  const frozen = defineRun({ ...rest, training: { frozen: ['verfier'] } });
  expect(() => resolved(frozen)).toThrow('training.frozen');
  // @ts-expect-error no agent has this name
  const shown = defineRun({ ...rest, coaching: { showAnswer: ['verfier'] } });
  expect(() => resolved(shown)).toThrow('coaching.showAnswer');
  // @ts-expect-error no agent has this name
  const played = defineRun({ ...rest, model: { path: 'm', agents: { verfier: 'o' } } });
  expect(() => resolved(played)).toThrow('model.agents');
  // @ts-expect-error no agent has this name
  const preferred = defineRun({ ...rest, method: malt({ dpo: { agents: ['verfier'] } }) });
  expect(() => resolved(preferred)).toThrow('method.dpo.agents');
  const paid = defineRun({
    ...{ ...rest, team: debate },
    // @ts-expect-error no agent has this name
    method: { kind: 'maporl', payoffs: { ann: { bo: 1 } } },
  });
  expect(() => resolved(paid)).toThrow('method.payoffs');
});

test('a key that is none is underlined in an editor, and refused at the start', () => {
  // @ts-expect-error no key has this name
  const section = defineRun({ ...rest, rolout: { tasksPerStep: 2 } });
  expect(() => resolved(section)).toThrow('did you mean rollout');
  // @ts-expect-error no key has this name
  const key = defineRun({ ...rest, rollout: { tasksPerSteps: 2 } });
  expect(() => resolved(key)).toThrow('did you mean rollout.tasksPerStep');
});

test('a tool that an agent names and nobody gives is underlined in an editor', () => {
  const { tools: _, ...without } = rest;
  // @ts-expect-error the key tools lacks calculate
  defineRun(without);
  const clerk = { role: 'Clerk', maxTokens: 8, tools: ['calculat'] } as const;
  const team = defineTeam({ name: 'one', agents: { clerk }, play: async () => '' });
  // @ts-expect-error the key tools lacks calculat
  defineRun({ ...rest, team });
});

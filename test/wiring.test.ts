import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { resolveConfig } from '../src/config/load-config.ts';
import type { RunInput } from '../src/config/schema.ts';
import { defineTeam } from '../src/rollout/team.ts';
import { wire } from '../src/wiring.ts';

const folder = mkdtempSync(join(tmpdir(), 'teamtune-wiring-'));
const agents = { first: { role: 'First', maxTokens: 8 }, last: { role: 'Last', maxTokens: 8 } };
const team = defineTeam({ name: 'two', agents, play: async () => '' });
const silence = () => undefined;
const watch = { waiting: silence, step: silence, evaluated: silence, note: silence };

const minimal: RunInput = {
  ...{ name: 'r', team, coach: 'google/x', model: { path: 'm' } },
  tasks: { train: [{ id: 'a', prompt: 'Add.', answer: '1' }] },
};

test.each([
  [
    ['credit.estimator=grpo', 'rollout.samplesPerTask=1'],
    'credit.estimator is grpo, which compares the plays of one task, and rollout.samplesPerTask is 1',
  ],
  [
    ['tasks.kind=dsbench', 'method=maporl'],
    'set method.verifier=coach, incentives of 0 and coaching.budget.whenSpent=pause',
  ],
  [['tasks.kind=dsbench', 'method.kind=malt'], 'set method.judge=coach, or take method mappa'],
])(
  '%j would teach nobody anything, and is refused before anything is made',
  async (overrides, sentence) => {
    const directory = join(folder, 'run');
    const config = resolveConfig(minimal, { directory: folder, where: 'the test', overrides });
    await expect(wire(config, { directory, resume: false, watch })).rejects.toThrow(sentence);
    expect(existsSync(directory)).toBe(false);
  },
);

import { fileURLToPath } from 'node:url';
import { malt } from '../../src/config/method-schema.ts';
import { defineRun } from '../../src/config/schema.ts';
import { baseProgress } from '../base-progress.ts';
import { chainTeam } from '../chain-team.ts';
import { makeChainBase } from './base-model.ts';
import { chainTasks } from './language.ts';

const cache = fileURLToPath(new URL('../../.teamtune', import.meta.url));

/** MALT on a tiny model that knows how and mostly does not: trees of 600 questions, then SFT, then DPO. */
export default defineRun({
  name: 'chain',
  team: chainTeam,
  model: {
    // Made by the first command that needs it, in two or three minutes.
    path: await makeChainBase(cache, baseProgress('two or three minutes')),
    maxRows: 512,
    microBatchTokens: 16384,
  },
  adapter: { rank: 32, alpha: 64 },
  tasks: {
    train: chainTasks({ count: 600, seed: 1, split: 'train' }),
    heldOut: chainTasks({ count: 1000, seed: 1, split: 'held-out' }),
  },
  method: malt({ sft: { learningRate: 1e-3, epochs: 2 }, dpo: { learningRate: 5e-4, epochs: 4 } }),
  rollout: { concurrency: 1024 },
  update: { beta2: 0.999 },
  // After the first of the two steps the team has had its supervised part only.
  evaluation: { every: 1 },
});

import { fileURLToPath } from 'node:url';
import { defineRun } from '../../src/config/schema.ts';
import { baseProgress } from '../base-progress.ts';
import { splitKnowledgeTeam } from '../split-knowledge-team.ts';
import { makeBaseModel } from './base-model.ts';
import { splitQuestions, taskOf } from './language.ts';

const cache = fileURLToPath(new URL('../../.teamtune', import.meta.url));
const { train, heldOut } = splitQuestions();

/** Two agents who know half of every answer each learn to share and to use what is shared, with PPO on both at once. */
export default defineRun({
  name: 'split-knowledge',
  team: splitKnowledgeTeam,
  // Made by the first command that needs it, in two or three minutes.
  model: {
    path: await makeBaseModel(cache, baseProgress('two or three minutes')),
    maxRows: 512,
  },
  adapter: { rank: 16, alpha: 32 },
  tasks: { train: train.map(taskOf), heldOut: heldOut.map(taskOf) },
  method: { kind: 'maporl', verifier: 'grade', turnDiscount: 1 },
  rollout: { tasksPerStep: 192, samplesPerTask: 1, concurrency: 512 },
  credit: { klCoefficient: 0.005 },
  update: { learningRate: 2e-3 },
  training: { steps: 40 },
});

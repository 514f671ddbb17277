import { defineRun } from '../../src/config/schema.ts';
import { generateArithmeticTasks } from '../../src/task/arithmetic.ts';
import { arithmeticTeam } from '../arithmetic-team.ts';
import { baseModelDirectory } from './base-model.ts';
import { createArithmeticCoach } from './coach.ts';

/** The run of the quickstart: 60 steps of 48 plays, and 200 held-out tasks before and after. */
export default defineRun({
  name: 'quickstart',
  team: arithmeticTeam,
  model: { path: baseModelDirectory('../../.teamtune') },
  adapter: { rank: 8, alpha: 16 },
  tasks: {
    train: generateArithmeticTasks({ count: 2000, seed: 1, split: 'train' }),
    heldOut: generateArithmeticTasks({ count: 200, seed: 1, split: 'held-out' }),
  },
  coach: createArithmeticCoach(),
  rollout: { tasksPerStep: 48, samplesPerTask: 1, toolTimeoutSeconds: 5 },
  credit: { klCoefficient: 0.005 },
  update: { learningRate: 2e-3, miniBatches: 1 },
  training: { steps: 60 },
  evaluation: { samplesPerTask: 1 },
});

import { defineRun } from '../../src/config/schema.ts';
import { mathchatTeam } from '../mathchat-team.ts';

/**
 * MathChat as in the MAPPA paper, on your own model and files:
 * `teamtune train teams/mathchat/teamtune.config.ts --set model.path=… --set tasks.train=… --set tasks.heldOut=…`
 */
export default defineRun({
  name: 'mathchat',
  team: mathchatTeam,
  model: { path: 'model' },
  adapter: { rank: 16, alpha: 32 },
  tasks: { train: 'AIME_1983_2024.json', heldOut: 'aime_2025.json' },
  coach: 'google/gemini-2.5-flash',
  rollout: { tasksPerStep: 32, samplesPerTask: 2, playTimeoutSeconds: 3600 },
  credit: { klCoefficient: 0.01 },
  update: { learningRate: 1e-5, schedule: 'cosine', warmupSteps: 4, miniBatches: 4 },
  training: { steps: 128 },
  evaluation: { every: 16, samplesPerTask: 4, temperature: 0.6 },
});

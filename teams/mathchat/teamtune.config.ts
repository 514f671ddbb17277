import { mappaMathchat } from '../../src/config/presets.ts';
import { defineRun } from '../../src/config/schema.ts';
import { mathchatTeam } from '../mathchat-team.ts';

/**
 * MathChat as in the MAPPA paper: put the three task files into `data` beside this file, and change the two lines marked.
 * docs/mathchat.md tells the rest.
 */
export default defineRun({
  ...mappaMathchat,
  name: 'mathchat',
  team: mathchatTeam,
  model: { path: 'model' }, // your model: a Hugging Face folder
  coach: 'google/gemini-2.5-flash', // your coach
  tasks: {
    train: 'data/AIME_1983_2024.json',
    sample: 512,
    heldOut: { 'aime-2025': 'data/aime_2025.json', amc: 'data/amc_eval_32.json' },
  },
});

import { maltPaper } from '../../src/config/presets.ts';
import { defineRun } from '../../src/config/schema.ts';
import { maltTeam } from '../malt-team.ts';

/** MALT with the paper's numbers: change the lines marked. docs/malt.md tells the rest. */
export default defineRun({
  ...maltPaper,
  name: 'malt',
  team: maltTeam,
  model: { path: 'model' }, // your model: a Hugging Face folder
  tasks: { train: 'data/train.json', heldOut: 'data/test.json' }, // your tasks, each with an answer
});

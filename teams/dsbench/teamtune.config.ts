import { mappaDsbench } from '../../src/config/presets.ts';
import { defineRun } from '../../src/config/schema.ts';
import { dsbenchTeam } from '../dsbench-team.ts';

/**
 * DSBench as in the MAPPA paper: put the task files and tables into `data` beside this file, or make synthetic ones
 * there, and change the two lines marked. docs/dsbench.md tells the rest.
 */
export default defineRun({
  ...mappaDsbench,
  name: 'dsbench',
  team: dsbenchTeam,
  model: { path: 'model' }, // your model: a Hugging Face folder
  coach: 'google/gemini-2.5-pro', // your coach
  tasks: {
    kind: 'dsbench',
    train: 'data/dsbench_modeling_train.json',
    heldOut: 'data/dsbench_modeling_eval.json',
    stratify: true,
  },
});

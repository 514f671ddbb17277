import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { makeTables } from '../dsbench/make-tables.ts';
import { BoundaryError } from '../errors.ts';
import { type Command, integer } from './command.ts';

export const makeTablesCommand: Command = {
  summary: 'Write synthetic tables and their tasks in the layout of DSBench.',
  operands: ['FOLDER'],
  options: {
    train: { type: 'string', help: 'tasks to train on, default 32' },
    'held-out': { type: 'string', help: 'tasks to evaluate on, default 16' },
    rows: { type: 'string', help: 'rows of each train.csv, default 120; test sets have half' },
    seed: { type: 'string', help: 'default 1' },
  },
  run: async (request) => {
    const folder = request.operands[0] ?? '';
    if (existsSync(folder) && readdirSync(folder).length > 0) {
      throw new BoundaryError('config', `${folder} is not empty: name a folder that is not there`);
    }
    const made = {
      train: integer(request, 'train', 1) ?? 32,
      heldOut: integer(request, 'held-out', 1) ?? 16,
      rows: integer(request, 'rows', 10) ?? 120,
      seed: integer(request, 'seed', 0) ?? 1,
    };
    await makeTables(folder, made);
    const files = {
      train: join(folder, 'dsbench_modeling_train.json'),
      heldOut: join(folder, 'dsbench_modeling_eval.json'),
    };
    if (!request.json) {
      console.log(`${made.train} tasks in ${files.train}, ${made.heldOut} in ${files.heldOut}`);
    }
    return { ...made, files };
  },
};

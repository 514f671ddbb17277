import { join, resolve } from 'node:path';
import { writeReport } from '../dashboard/report.ts';
import { openRun } from '../run/run-store.ts';
import { type Command, optional } from './command.ts';

export const reportCommand: Command = {
  summary: 'Write the HTML report of a run, finished or not.',
  operands: ['RUN'],
  options: { output: { type: 'string', help: 'file to write (default: report.html in the run)' } },
  run: async (request) => {
    const directory = resolve(request.operands[0] as string);
    const file = optional(request, 'output') ?? join(directory, 'report.html');
    const run = openRun(directory, { mode: 'read' });
    try {
      writeReport(run, file);
    } finally {
      run.close();
    }
    if (!request.json) console.log(file);
    return { report: file };
  },
};

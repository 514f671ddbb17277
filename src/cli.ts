#!/usr/bin/env node
import { type Command, helpOf, parseRequest } from './commands/command.ts';
import { BoundaryError } from './errors.ts';

const commands: Readonly<Record<string, () => Promise<Command>>> = {
  quickstart: async () => (await import('./commands/quickstart.ts')).quickstartCommand,
  plan: async () => (await import('./commands/plan.ts')).planCommand,
  train: async () => (await import('./commands/train.ts')).trainCommand,
  evaluate: async () => (await import('./commands/evaluate.ts')).evaluateCommand,
  rescore: async () => (await import('./commands/rescore.ts')).rescoreCommand,
  branch: async () => (await import('./commands/branch.ts')).branchCommand,
  'train-verifier': async () => (await import('./commands/train-verifier.ts')).trainVerifierCommand,
  report: async () => (await import('./commands/report.ts')).reportCommand,
  doctor: async () => (await import('./commands/doctor.ts')).doctorCommand,
  logprobs: async () => (await import('./commands/logprobs.ts')).logprobsCommand,
  generate: async () => (await import('./commands/generate.ts')).generateCommand,
  grade: async () => (await import('./commands/grade.ts')).gradeCommand,
  'make-tables': async () => (await import('./commands/make-tables.ts')).makeTablesCommand,
};

/** Exit codes that scripts may rely on. */
const exitCodes = { ok: 0, ourBug: 1, usage: 2, outside: 3 } as const;

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === 'help') {
    console.log(await overview());
    return exitCodes.ok;
  }
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!load) {
    throw new BoundaryError(
      'config',
      `teamtune has no command ${name}; there is ${Object.keys(commands).join(', ')}`,
    );
  }
  const command = await load();
  const request = parseRequest(name, command, rest);
  if (request.values.help === true) {
    console.log(helpOf(name, command));
    return exitCodes.ok;
  }
  const result = await command.run(request);
  if (request.json) console.log(JSON.stringify(result));
  return exitCodes.ok;
}

async function overview(): Promise<string> {
  const width = Math.max(...Object.keys(commands).map(({ length }) => length));
  const lines = Object.entries(commands).map(async ([name, load]) => {
    return `  ${name.padEnd(width)} ${(await load()).summary}`;
  });
  const body = await Promise.all(lines);
  return [
    'teamtune COMMAND [options]',
    '',
    ...body,
    '',
    'teamtune COMMAND --help tells more.',
  ].join('\n');
}

/** Anything that is not a BoundaryError is our bug, and is shown with its stack. */
function report(error: unknown): number {
  if (!(error instanceof BoundaryError)) {
    console.error('teamtune stopped on a bug of its own; please report this:');
    console.error(error);
    return exitCodes.ourBug;
  }
  console.error(`teamtune: ${error.message}`);
  return ['config', 'task'].includes(error.boundary) ? exitCodes.usage : exitCodes.outside;
}

// Code of the user's, such as a promise that a team's play does not wait for, may fail where nothing can catch it.
process.on('unhandledRejection', (error) => {
  console.error(
    'teamtune: a promise that nobody waits for was rejected; the run goes on without it:',
  );
  console.error(error);
});

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = report(error);
}

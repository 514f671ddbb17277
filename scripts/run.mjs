// `npm run quickstart`, `npm test` and `npm run teamtune` start here: set up what is missing, then hand over to the pinned Node.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readBuildRecord } from './setup/build-addon.mjs';
import { findNode } from './setup/npm-packages.mjs';
import { nodeModules, root } from './setup/places.mjs';
import { setUpOrExit } from './setup.mjs';

const usageError = 2;

/**
 * Runs Node to its end with our terminal; signals pass through to it.
 *
 * @param {readonly string[]} args
 * @returns {Promise<{ code: number | null, signal: NodeJS.Signals | null }>}
 */
function runNode(args) {
  const env = { ...process.env, ...readBuildRecord()?.environment };
  const child = spawn(findNode() ?? process.execPath, args, { stdio: 'inherit', env });
  // On a terminal, Ctrl-C reaches the child directly; sending it on would count as pressing it twice.
  const isOnTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  process.on('SIGINT', () => {
    if (!isOnTerminal) child.kill('SIGINT');
  });
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGHUP'])) {
    process.on(signal, () => child.kill(signal));
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal }));
  });
}

/**
 * Ends this process the way its child ended.
 *
 * @param {{ code: number | null, signal: NodeJS.Signals | null }} end
 */
function endLike({ code, signal }) {
  if (signal === null) process.exit(code ?? 1);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

/** @param {string} reportFile vitest's JSON report */
function closingLine(reportFile) {
  const report = JSON.parse(readFileSync(reportFile, 'utf8'));
  const skipped = report.numPendingTests + report.numTodoTests;
  // A file that breaks before its first test holds no failed test, and must count all the same.
  const brokenFiles = report.testResults.filter(
    (/** @type {{ status: string, assertionResults: unknown[] }} */ file) =>
      file.status === 'failed' && file.assertionResults.length === 0,
  ).length;
  return `${report.numPassedTests} passed, ${report.numFailedTests + brokenFiles} failed, ${skipped} skipped`;
}

/** @param {readonly string[]} args for vitest, such as a folder or -t "a title" */
async function runTests(args) {
  const folder = mkdtempSync(join(tmpdir(), 'teamtune-test-'));
  const reportFile = join(folder, 'report.json');
  const vitest = join(nodeModules, 'vitest', 'vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
  try {
    const end = await runNode([vitest, 'run', '--root', root, ...reporters, ...args]);
    if (end.signal === null) process.stdout.write(`${closingLine(reportFile)}\n`);
    return end;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {readonly string[]} args */
const runCli = (args) =>
  runNode(['--disable-warning=ExperimentalWarning', join(root, 'src', 'cli.ts'), ...args]);

/** @type {Record<string, (args: readonly string[]) => ReturnType<typeof runNode>>} */
const commands = {
  test: runTests,
  cli: runCli,
  quickstart: (args) => runCli(['quickstart', ...args]),
  node: (args) => runNode(['--disable-warning=ExperimentalWarning', ...args]),
};

const [name = '', ...args] = process.argv.slice(2);
const command = commands[name];
if (command === undefined) {
  process.stderr.write(
    `scripts/run.mjs: expected ${Object.keys(commands).join(', ')} as first word, got "${name}"\n`,
  );
  process.exit(usageError);
}
await setUpOrExit();
endLike(await command(args));

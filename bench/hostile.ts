/**
 * What becomes of programs that mean harm, in every sandbox of this machine: `npm run bench:hostile`, with `--json` for
 * one JSON object last. Fails when anything got out, or an attack did not end as a typed result.
 */
import { messageOf } from '../src/errors.ts';
import { createBubblewrapSandbox } from '../src/sandbox/bubblewrap-sandbox.ts';
import { createPythonSandbox } from '../src/sandbox/python-sandbox.ts';
import { createSandboxFusionSandbox } from '../src/sandbox/sandboxfusion-sandbox.ts';
import type { Sandbox } from '../src/types/sandbox.ts';
import { tightLimits } from '../test/contract/tight-limits.ts';
import { type AttackReport, attacks, layOutTarget, runAttack } from '../test/support/attacks.ts';
import { startSandboxFusion } from '../test/support/sandboxfusion-server.ts';
import { readFlags } from './support/read-flags.ts';

const values = readFlags('hostile', {
  json: { type: 'boolean', default: false, help: 'one JSON object last' },
});

const server = await startSandboxFusion();
const sandboxes = [
  createPythonSandbox(tightLimits),
  createBubblewrapSandbox(tightLimits),
  // The server of the tests runs code inside bubblewrap: what is seen here is our side of it.
  createSandboxFusionSandbox({ ...tightLimits, url: server.url }),
];

async function attack(sandbox: Sandbox): Promise<readonly AttackReport[]> {
  const target = await layOutTarget();
  const reports: AttackReport[] = [];
  for (const one of attacks) reports.push(await runAttack(sandbox, one, target));
  await target.close();
  return reports;
}

const results = new Map<string, readonly AttackReport[]>();
for (const sandbox of sandboxes) {
  try {
    await sandbox.check();
    results.set(sandbox.name, await attack(sandbox));
  } catch (error) {
    console.log(`${sandbox.name} is left out: ${messageOf(error)}`);
  }
  await sandbox.close();
}

const cell = ({ status, seconds, leaks, isNextFine }: AttackReport) =>
  `${status}, ${seconds.toFixed(1)} s, ${leaks.length === 0 ? 'nothing' : leaks.join(' and ')}${isNextFine ? '' : ', the next program failed'}`;

await server.close();

const names = [...results.keys()];
console.log(`| attack | ${names.map((name) => `${name}: end, time, leaked`).join(' | ')} |`);
console.log(`|---|${names.map(() => '---|').join('')}`);
for (const [index, { name }] of attacks.entries()) {
  const cells = names.map((sandbox) => {
    const report = results.get(sandbox)?.[index];
    return report === undefined ? '–' : cell(report);
  });
  console.log(`| ${name} | ${cells.join(' | ')} |`);
}

const failed = [...results.values()]
  .flat()
  .filter(({ leaks, isTypedWell, isNextFine }) => leaks.length > 0 || !isTypedWell || !isNextFine);
if (values.json) console.log(JSON.stringify(Object.fromEntries(results)));
process.exitCode = failed.length === 0 && results.size > 0 ? 0 : 1;

/**
 * What the stages of MALT and MAPoRL take beside the PyTorch prototypes of the same methods, in one thread each:
 * `npm run bench:stages -- --with-peers --runs 3 --json`
 *
 * MALT on chain arithmetic: trees of 150 questions (count: sampled tokens), SFT (examples, two epochs of each), DPO (pairs,
 * four epochs). MAPoRL on the split-knowledge debate: five updates of 384 games (sampled tokens). Both sides do the same work
 * on tiny models of about one size; theirs are fully fine-tuned and read no text, ours pass through chat templates, run
 * store and checkpoints and train adapters. The prototypes are read from ../shared/prototypes/scaled; without them, or
 * without peers, our side is measured alone.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Comparison, compareRuns, runInTurns, type Sides } from './support/compare.ts';
import { benchFile, root } from './support/places.ts';
import { printComparisons } from './support/print-comparisons.ts';
import { readOptions } from './support/read-options.ts';
import { ownSide, peerSide, type Run } from './support/side.ts';

const prototypes = join(root, '..', 'shared', 'prototypes', 'scaled');
const cache = join(root, '.teamtune', 'bench', 'prototypes');
const cases = [
  { case: 'malt', questions: 150, stages: ['trees', 'sft', 'dpo'] },
  { case: 'maporl', updates: 5, games: 384, stages: ['updates'] },
] as const;

const { python, runs, json, wants } = readOptions(
  'stages',
  cases.map((one) => one.case),
);
const peerPython = usablePeer();
const comparisons: Comparison[] = [];
for (const { stages, ...task } of cases) {
  if (!wants(task.case)) continue;
  if (peerPython !== undefined && task.case === 'malt') makePrototypeBase(peerPython);
  const measured = await runInTurns({
    own: ownSide('stages'),
    peer: peerSide(peerPython, 'stages'),
    work: { ...task, prototypes, cache },
    runs,
  });
  for (const stage of stages) {
    comparisons.push(
      compareRuns(
        { ...measured, own: partOf(measured.own, stage), peer: partOf(measured.peer, stage) },
        {
          name: stage,
          agree: ({ own, peer }) => ({ own: countOf(own, stage), peer: countOf(peer, stage) }),
        },
      ),
    );
  }
  if (peerPython === undefined) {
    for (const stage of stages) console.log(`${stage}: ${countOf(measured.own, stage)}`);
  }
}
printComparisons({ peer: 'the prototype', threads: 1 }, comparisons, json);

/** The peers' Python where there are prototypes to run in it; else says why our side is alone. */
function usablePeer(): string | undefined {
  if (python === undefined || existsSync(prototypes)) return python;
  process.stderr.write(`no prototypes in ${prototypes}: only this side is measured\n`);
  return undefined;
}

/** What the prototype of MALT starts from; minutes on the first call, kept in `.teamtune/bench`. */
function makePrototypeBase(program: string): void {
  mkdirSync(cache, { recursive: true });
  if (existsSync(join(cache, 'malt_10_3_128_2.pt'))) return;
  process.stderr.write(`making the prototype's base in ${cache}\n`);
  const work = JSON.stringify({ case: 'base', prototypes, cache });
  const { status } = spawnSync(program, [benchFile('peers', 'stages.py'), work], {
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) throw new Error(`the prototype's base was not made (exit ${status})`);
}

/** The runs as if they had been of one stage alone. */
function partOf(all: readonly Run[], stage: string): Run[] {
  return all.map(({ facts = {}, peakMiB }) => ({
    ...{ peakMiB, facts },
    seconds: facts[`${stage}.seconds`] ?? Number.NaN,
    cpuSeconds: facts[`${stage}.cpuSeconds`] ?? Number.NaN,
  }));
}

/** How much a stage did in the last run. */
function countOf(all: Sides['own'] | readonly Run[], stage: string): number {
  return all.at(-1)?.facts?.[`${stage}.count`] ?? Number.NaN;
}

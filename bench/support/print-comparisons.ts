import type { Comparison, SideFigures, Spread } from './compare.ts';

/** Prints a table, then, when asked, everything as one JSON object on the last line. */
export function printComparisons(
  bench: { readonly peer: string; readonly threads: number },
  comparisons: readonly Comparison[],
  asJson: boolean,
): void {
  console.log(
    `| case | teamtune, s | ${bench.peer}, s | ratio | ratio of CPU time | peak, MiB | peer's peak, MiB | load |`,
  );
  console.log('|---|---|---|---|---|---|---|---|');
  for (const comparison of comparisons) console.log(rowOf(comparison));
  console.log('medians (smallest to largest); load = load average before and after');
  for (const { name, agreement } of comparisons) {
    if (agreement !== undefined) console.log(`${name}: ${JSON.stringify(agreement)}`);
  }
  if (comparisons.some(({ peer }) => peer === undefined)) {
    console.log(`without ${bench.peer}: add --with-peers to install it and compare`);
  }
  if (asJson) console.log(JSON.stringify({ ...bench, comparisons }));
}

function rowOf({ name, own, peer, ratio, cpuRatio, load }: Comparison): string {
  const seconds = (side: SideFigures | undefined) =>
    side === undefined ? '–' : spreadText(side.seconds, 3);
  const peak = (side: SideFigures | undefined) => side?.peakMiB ?? '–';
  const cells = [
    ...[name, seconds(own), seconds(peer), ratioText(ratio), ratioText(cpuRatio)],
    ...[peak(own), peak(peer), load.join(' to ')],
  ];
  return `| ${cells.join(' | ')} |`;
}

function ratioText(ratio: Spread | undefined): string {
  return ratio === undefined ? '–' : spreadText(ratio, 2);
}

function spreadText({ min, median, max }: Spread, digits: number): string {
  const [low, middle, high] = [min, median, max].map((value) => value.toFixed(digits));
  return `${middle} (${low} to ${high})`;
}

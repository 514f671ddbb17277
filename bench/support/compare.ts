import { loadavg } from 'node:os';
import { type Ready, type Run, type SideProgram, startSide } from './side.ts';

export type Spread = { readonly min: number; readonly median: number; readonly max: number };

export type SideFigures = {
  readonly seconds: Spread;
  readonly cpuSeconds: Spread;
  readonly peakMiB: number;
};

/** Both sides of one case, measured in turns. */
export type Comparison = {
  readonly name: string;
  readonly own: SideFigures;
  /** Absent when there are no peers on this machine. */
  readonly peer?: SideFigures;
  /** The peer's seconds over the engine's, run by run: above 1 the engine is faster. */
  readonly ratio?: Spread;
  /** The same of the processors' time, which other work on the machine changes less. */
  readonly cpuRatio?: Spread;
  readonly agreement?: Readonly<Record<string, number>>;
  /** The machine's load average before and after; the two sides alone make 2. */
  readonly load: readonly [before: number, after: number];
};

export type Case = {
  readonly name: string;
  readonly own: SideProgram;
  readonly peer: SideProgram | undefined;
  readonly work: unknown;
  readonly runs: number;
  /** How far the two sides agree on what they computed. */
  readonly agree: (sides: Sides) => Readonly<Record<string, number>>;
};

export type Sides = {
  readonly own: readonly [ready: Ready, ...runs: Run[]];
  readonly peer: readonly [ready: Ready, ...runs: Run[]];
};

/** What came of running both sides in turns. */
export type Measured = {
  readonly ready: { readonly own: Ready; readonly peer: Ready | undefined };
  readonly own: readonly Run[];
  readonly peer: readonly Run[];
  readonly load: readonly [before: number, after: number];
};

/** Runs both sides in turns: what else the machine does meanwhile meets both. */
export async function compare(one: Case): Promise<Comparison> {
  return compareRuns(await runInTurns(one), one);
}

/** The runs alone, to be looked at in parts. */
export async function runInTurns(one: Omit<Case, 'name' | 'agree'>): Promise<Measured> {
  const before = load();
  const own = await startSide(one.own, one.work);
  const peer = one.peer === undefined ? undefined : await startSide(one.peer, one.work);
  const runs: { own: Run[]; peer: Run[] } = { own: [], peer: [] };
  for (let run = 0; run < one.runs; run++) {
    runs.own.push(await own.run());
    if (peer !== undefined) runs.peer.push(await peer.run());
  }
  own.close();
  peer?.close();
  return { ...runs, ready: { own: own.ready, peer: peer?.ready }, load: [before, load()] };
}

/** The comparison that measured runs make. */
export function compareRuns(
  measured: Measured,
  { name, agree }: Pick<Case, 'name' | 'agree'>,
): Comparison {
  const { ready, own, peer } = measured;
  const figures = { name, own: figuresOf(own), load: measured.load };
  if (ready.peer === undefined) return figures;
  return {
    ...figures,
    peer: figuresOf(peer),
    ratio: ratioOf(measured, 'seconds'),
    cpuRatio: ratioOf(measured, 'cpuSeconds'),
    agreement: agree({ own: [ready.own, ...own], peer: [ready.peer, ...peer] }),
  };
}

function ratioOf(
  runs: { readonly own: readonly Run[]; readonly peer: readonly Run[] },
  of: 'seconds' | 'cpuSeconds',
): Spread {
  return spreadOf(runs.own.map((own, run) => (runs.peer[run] as Run)[of] / own[of]));
}

function load(): number {
  return Math.round((loadavg()[0] ?? 0) * 100) / 100;
}

function figuresOf(runs: readonly Run[]): SideFigures {
  return {
    seconds: spreadOf(runs.map(({ seconds }) => seconds)),
    cpuSeconds: spreadOf(runs.map(({ cpuSeconds }) => cpuSeconds)),
    peakMiB: Math.round(Math.max(...runs.map(({ peakMiB }) => peakMiB))),
  };
}

/** Smallest, middle and largest of some numbers, at least one. */
export function spreadOf(numbers: readonly number[]): Spread {
  const sorted = [...numbers].sort((left, right) => left - right);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] as number;
  const median = sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2;
  return { min: sorted[0] as number, median, max: sorted.at(-1) as number };
}

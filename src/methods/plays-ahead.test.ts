import { expect, test } from 'vitest';
import type { Policy, Sampler } from '../types/training-service.ts';
import { openPlaysAhead } from './plays-ahead.ts';
import type { PlayStep, Published, StepPlays, Training } from './training.ts';

const nothing: Omit<StepPlays, 'staleness'> = {
  judged: { trajectories: [], outcomes: new Map(), feedback: new Map() },
  ...{ referenceLogprobs: new Map(), replayed: 0, seconds: 0 },
};

function samplerOf(version: number): Sampler {
  const unasked = () => {
    throw new Error('not asked for');
  };
  return { policyId: 'solver', version, sample: unasked, logprobs: unasked };
}

/** A run of one policy, whose version is the step that it was trained in last. */
function runOf(changes: {
  readonly maxStalenessSteps: number;
  readonly trainedTo?: number;
  readonly checkpoints?: readonly number[];
  /** The step whose checkpoint is there and broken. */
  readonly unreadable?: number;
}) {
  const { maxStalenessSteps, checkpoints = [] } = changes;
  let newest = changes.trainedTo ?? 0;
  const notes: string[] = [];
  const [opened, closed]: [number[], number[]] = [[], []];
  const publish = () => {
    const result = Promise.resolve(samplerOf(newest));
    return { submitted: Promise.resolve(), result };
  };
  const published = async (after: number): Promise<Published | undefined> => {
    if (after === changes.unreadable) throw new Error(`checkpoint ${after} cannot be read`);
    if (!checkpoints.includes(after)) return undefined;
    opened.push(after);
    const close = async () => void closed.push(after);
    return { after, samplers: new Map([['solver', samplerOf(after)]]), close };
  };
  const training = {
    settings: { maxStalenessSteps, steps: 6, coachConcurrency: 4 },
    policies: new Map([['solver', { publish } as unknown as Policy]]),
    watch: { note: (text: string) => notes.push(text), waiting: () => undefined },
    publishedAfter: published,
  } as unknown as Training;
  const trained = () => {
    newest += 1;
  };
  return { ahead: openPlaysAhead(training), trained, notes, opened, closed };
}

/** Notes which version plays which step. */
function noting(played: string[]): PlayStep {
  return async (_, { step, staleness, samplers }) => {
    played.push(`${step} by ${samplers.get('solver')?.version}`);
    return { ...nothing, staleness };
  };
}

test.each([
  [1, ['1 by 0', '2 by 0', '3 by 1', '4 by 2', '5 by 3', '6 by 4'], [0, 1, 1, 1, 1, 1]],
  [2, ['1 by 0', '2 by 0', '3 by 0', '4 by 1', '5 by 2', '6 by 3'], [0, 1, 2, 2, 2, 2]],
])(
  'with %i steps of staleness every step is played by the policies of so many steps before',
  async (maxStalenessSteps, expected, stale) => {
    const { ahead, trained } = runOf({ maxStalenessSteps });
    const played: string[] = [];
    const found: number[] = [];
    for (let step = 1; step <= 6; step++) {
      found.push((await ahead.take(step, noting(played))).staleness);
      trained();
    }
    await ahead.close();
    expect(played).toEqual(expected);
    expect(found).toEqual(stale);
  },
);

test('the plays of the next step go on while this one trains', async () => {
  const { ahead } = runOf({ maxStalenessSteps: 1 });
  let isTraining = false;
  let sawTraining = false;
  let release = (): void => undefined;
  const second = new Promise<void>((resolve) => {
    release = resolve;
  });
  const play: PlayStep = async (_, { step, staleness }) => {
    if (step === 2) {
      await second;
      sawTraining = isTraining;
    }
    return { ...nothing, staleness };
  };
  await ahead.take(1, play);
  isTraining = true;
  release();
  await ahead.take(2, play);
  await ahead.close();
  expect(sawTraining).toBe(true);
});

test('the plays of the next step go on while the coach judges those of this one, which share its places', async () => {
  const { ahead } = runOf({ maxStalenessSteps: 1 });
  const limits = new Set<Training['judging']>();
  let release = (): void => undefined;
  const nextPlays = new Promise<void>((resolve) => {
    release = resolve;
  });
  const play: PlayStep = async ({ judging }, { step, staleness, onPlayed }) => {
    limits.add(judging);
    if (step === 1) {
      onPlayed?.();
      // The last verdict comes when the next step is played: it would never, were that to wait for it.
      await nextPlays;
    } else release();
    return { ...nothing, staleness };
  };
  await ahead.take(1, play);
  await ahead.close();
  expect([...limits]).toHaveLength(1);
});

test('the plays of the next step wait for the last play of this one', async () => {
  const { ahead } = runOf({ maxStalenessSteps: 1 });
  const events: string[] = [];
  const play: PlayStep = async (_, { step, staleness, onPlayed }) => {
    events.push(`step ${step} begins`);
    await Promise.resolve();
    events.push(`step ${step} has played`);
    onPlayed?.();
    return { ...nothing, staleness };
  };
  await ahead.take(1, play);
  await ahead.close();
  expect(events.slice(0, 3)).toEqual(['step 1 begins', 'step 1 has played', 'step 2 begins']);
});

test('a resumed run has each step played by the checkpoint that would have played it', async () => {
  const { ahead, notes, closed } = runOf({
    ...{ maxStalenessSteps: 2, trainedTo: 3 },
    checkpoints: [1, 2, 3],
  });
  const played: string[] = [];
  expect((await ahead.take(4, noting(played))).staleness).toBe(2);
  await ahead.close();
  expect(played).toEqual(['4 by 1', '5 by 2', '6 by 3']);
  expect(closed).toEqual([1, 2]);
  expect(notes).toEqual([]);
});

test('policies that play several steps after an interruption are opened once, and closed after the last', async () => {
  const { ahead, trained, opened, closed } = runOf({
    ...{ maxStalenessSteps: 2, trainedTo: 1, checkpoints: [0, 1] },
  });
  const played: string[] = [];
  const closedAt: number[][] = [];
  const play: PlayStep = async (training, at) => {
    closedAt.push([...closed]);
    return noting(played)(training, at);
  };
  await ahead.take(2, play);
  trained();
  await ahead.take(3, play);
  await ahead.close();
  expect(played.slice(0, 3)).toEqual(['2 by 0', '3 by 0', '4 by 1']);
  expect(opened).toEqual([0]);
  expect(closedAt.slice(0, 3)).toEqual([[], [], [0]]);
});

test('where that checkpoint is gone, the newest policies play, and the run says so', async () => {
  const { ahead, notes } = runOf({ maxStalenessSteps: 1, trainedTo: 3 });
  const played: string[] = [];
  expect((await ahead.take(4, noting(played))).staleness).toBe(0);
  await ahead.close();
  expect(played[0]).toBe('4 by 3');
  expect(notes[0]).toContain(
    'the checkpoint of step 2, whose policies were to play step 4, is damaged or gone',
  );
});

test('policies of a later step that cannot be read end the run in that step', async () => {
  const { ahead } = runOf({
    ...{ maxStalenessSteps: 2, trainedTo: 3, checkpoints: [1] },
    unreadable: 2,
  });
  const played: string[] = [];
  await ahead.take(4, noting(played));
  await expect(ahead.take(5, noting(played))).rejects.toThrow('cannot be read');
  await ahead.close();
  expect(played).toContain('4 by 1');
});

test('what breaks in the plays of a later step is thrown in that step, and the end of the run ends what plays', async () => {
  const { ahead } = runOf({ maxStalenessSteps: 1 });
  const play: PlayStep = async (_, { step, staleness, signal }) => {
    if (step === 2) throw new Error('the coach is gone');
    if (step === 3) {
      await new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason));
      });
    }
    return { ...nothing, staleness };
  };
  await ahead.take(1, play);
  await expect(ahead.take(2, play)).rejects.toThrow('the coach is gone');
  await ahead.close();
});

import PQueue from 'p-queue';
import { describe, expect, it } from 'vitest';
import { BoundaryError } from '../errors.ts';
import type { Coach, CoachRequest, Feedback } from '../types/feedback.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';
import { createScorer, type ScorerOptions, scoreTrajectory } from './score-actions.ts';

const actionOf = (id: string): Action => ({
  id,
  agent: id,
  role: id,
  policy: { id, version: 0 },
  turn: 0,
  seed: 1,
  observation: Int32Array.of(1),
  observationText: '',
  tokens: Int32Array.of(2),
  logprobs: Float32Array.of(-1),
  text: id,
  toolCalls: [],
  toolResults: [],
  stop: 'stop',
});

const task = { id: 't', prompt: 'p' };
const trajectory: Trajectory = {
  id: '0/t/0',
  taskId: 't',
  sample: 0,
  actions: ['a', 'b', 'c'].map(actionOf),
};

const scoredAs = (actionId: string, score: number): Feedback => ({
  kind: 'scored',
  actionId,
  score,
  reason: '',
  blame: 'none',
});

type Judge = (request: CoachRequest, signal?: AbortSignal) => Promise<Feedback>;

/** A coach made of a function: the interface is all that is under test here. */
const coachOf = (judge: Judge): Coach => ({
  name: 'function',
  score: (request, options) => judge(request, options?.signal),
  usage: () => ({ calls: 0, inputTokens: 0, outputTokens: 0 }),
});

const scorerOf = (coach: Coach, changes: Partial<ScorerOptions> = {}) =>
  createScorer(coach, {
    ...{ known: new Map(), record: () => undefined, queue: new PQueue({ concurrency: 8 }) },
    ...{ signal: new AbortController().signal },
    ...changes,
  });

describe('scoreTrajectory', () => {
  it('scores every action in order, with the actions before it', async () => {
    const recorded: Feedback[] = [];
    const coach = coachOf(({ action, earlier }) =>
      Promise.resolve(scoredAs(action.id, earlier.length)),
    );
    const scorer = scorerOf(coach, { record: (verdict) => recorded.push(verdict) });
    const feedback = await scoreTrajectory(scorer, task, trajectory);
    expect(feedback).toEqual([scoredAs('a', 0), scoredAs('b', 1), scoredAs('c', 2)]);
    expect(recorded).toEqual(feedback);
  });

  it('does not ask again for what is known or under way, nor record it twice', async () => {
    const asked: string[] = [];
    const recorded: string[] = [];
    const coach = coachOf(({ action }) => {
      asked.push(action.id);
      return Promise.resolve(scoredAs(action.id, 5));
    });
    const known = new Map<string, Feedback>([
      ['b', { kind: 'unscored', actionId: 'b', cause: 'timeout' }],
    ]);
    const record = (verdict: Feedback) => void recorded.push(verdict.actionId);
    const scorer = scorerOf(coach, { known, record });
    const early = scorer.score({ task, action: actionOf('a'), earlier: [] });
    const feedback = await scoreTrajectory(scorer, task, trajectory);
    expect(await early).toBe(feedback[0]);
    expect(asked).toEqual(['a', 'c']);
    expect(recorded).toEqual(['a', 'c']);
    expect(feedback[1]).toEqual({ kind: 'unscored', actionId: 'b', cause: 'timeout' });
  });

  it('shows the coach how the play went on, with its outcome or without, where it is to see it', async () => {
    const seen: unknown[] = [];
    const coach = coachOf(({ action, outcome, later }) => {
      seen.push(`${outcome?.correct} ${later?.map(({ id }) => id).join('')}`);
      return Promise.resolve(scoredAs(action.id, 5));
    });
    const outcome = { trajectoryId: '0/t/0', correct: true };
    await scoreTrajectory(scorerOf(coach), task, trajectory, { shows: true, outcome });
    await scoreTrajectory(scorerOf(coach), task, trajectory, { shows: 'play', outcome });
    await scoreTrajectory(scorerOf(coach), task, trajectory, { shows: false, outcome });
    expect(seen).toEqual([
      ...['true bc', 'true c', 'true '],
      ...['undefined bc', 'undefined c', 'undefined '],
      ...Array.from({ length: 3 }, () => 'undefined undefined'),
    ]);
  });

  it('pays nothing for a trajectory that failed', async () => {
    const coach = coachOf(() => Promise.reject(new Error('asked')));
    const failed = { ...trajectory, failure: { boundary: 'policy', message: 'broke' } };
    expect(await scoreTrajectory(scorerOf(coach), task, failed)).toEqual([]);
  });

  it('keeps within its concurrency', async () => {
    let running = 0;
    let most = 0;
    const coach = coachOf(async ({ action }) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      return scoredAs(action.id, 5);
    });
    await scoreTrajectory(
      scorerOf(coach, { queue: new PQueue({ concurrency: 2 }) }),
      task,
      trajectory,
    );
    expect(most).toBe(2);
  });

  it('asks first for what a play waits for, also where it stood in line already, and twice for nothing', async () => {
    const asked: string[] = [];
    const gate = Promise.withResolvers<void>();
    const coach = coachOf(async ({ action }) => {
      asked.push(action.id);
      await gate.promise;
      return scoredAs(action.id, 5);
    });
    const queue = new PQueue({ concurrency: 1 });
    const [earlier, later] = [scorerOf(coach, { queue }), scorerOf(coach, { queue })];
    const scores = (['a', 'b', 'c'] as const).map((id) =>
      earlier.score({ task, action: actionOf(id), earlier: [] }),
    );
    const inLine = { task, action: actionOf('d'), earlier: [] };
    const [first, again] = [later.score(inLine), later.score(inLine, { isAwaited: true })];
    const fresh = later.score({ task, action: actionOf('e'), earlier: [] }, { isAwaited: true });
    gate.resolve();
    await Promise.all([...scores, first, again, fresh]);
    expect(asked).toEqual(['a', 'd', 'e', 'b', 'c']);
    await later.score(inLine, { isAwaited: true });
    expect(asked).toHaveLength(5);
  });

  it('ends what is under way when the run stops, and keeps what was recorded', async () => {
    const recorded: string[] = [];
    const aborted: string[] = [];
    const stop = new AbortController();
    const coach = coachOf(({ action }, signal) => {
      if (action.id === 'a') return Promise.resolve(scoredAs('a', 5));
      if (action.id === 'b') {
        return new Promise((_, reject) =>
          setImmediate(() => reject(new BoundaryError('coach', 'bad key'))),
        );
      }
      return new Promise((_, reject) =>
        signal?.addEventListener('abort', () => {
          aborted.push(action.id);
          reject(signal.reason);
        }),
      );
    });
    const record = (verdict: Feedback) => void recorded.push(verdict.actionId);
    const scorer = scorerOf(coach, { record, signal: stop.signal });
    await expect(scoreTrajectory(scorer, task, trajectory)).rejects.toThrow('bad key');
    stop.abort(new Error('the run stops'));
    await scorer.settled();
    expect(recorded).toEqual(['a']);
    expect(aborted).toEqual(['c']);
  });
});

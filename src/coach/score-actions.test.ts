import { describe, expect, it } from 'vitest';
import { BoundaryError } from '../errors.ts';
import type { Coach, CoachRequest, Feedback } from '../types/feedback.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';
import { scoreTrajectory } from './score-actions.ts';

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

describe('scoreTrajectory', () => {
  it('scores every action in order, with the actions before it', async () => {
    const recorded: Feedback[] = [];
    const coach = coachOf(({ action, earlier }) =>
      Promise.resolve(scoredAs(action.id, earlier.length)),
    );
    const feedback = await scoreTrajectory(coach, task, trajectory, {
      known: new Map(),
      record: (verdict) => recorded.push(verdict),
    });
    expect(feedback).toEqual([scoredAs('a', 0), scoredAs('b', 1), scoredAs('c', 2)]);
    expect(recorded).toEqual(feedback);
  });

  it('does not ask again for what is known, nor record it twice', async () => {
    const asked: string[] = [];
    const recorded: Feedback[] = [];
    const coach = coachOf(({ action }) => {
      asked.push(action.id);
      return Promise.resolve(scoredAs(action.id, 5));
    });
    const known = new Map<string, Feedback>([
      ['b', { kind: 'unscored', actionId: 'b', cause: 'timeout' }],
    ]);
    const feedback = await scoreTrajectory(coach, task, trajectory, {
      known,
      record: (verdict) => recorded.push(verdict),
    });
    expect(asked).toEqual(['a', 'c']);
    expect(recorded.map((verdict) => verdict.actionId)).toEqual(['a', 'c']);
    expect(feedback[1]).toEqual({ kind: 'unscored', actionId: 'b', cause: 'timeout' });
  });

  it('pays nothing for a trajectory that failed', async () => {
    const coach = coachOf(() => Promise.reject(new Error('asked')));
    const failed = { ...trajectory, failure: { boundary: 'policy', message: 'broke' } };
    const options = { known: new Map(), record: () => undefined };
    expect(await scoreTrajectory(coach, task, failed, options)).toEqual([]);
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
    await scoreTrajectory(coach, task, trajectory, {
      known: new Map(),
      record: () => undefined,
      concurrency: 2,
    });
    expect(most).toBe(2);
  });

  it('stops the calls still running at a permanent failure, and keeps what was recorded', async () => {
    const recorded: string[] = [];
    const aborted: string[] = [];
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
    const options = {
      known: new Map(),
      record: (verdict: Feedback) => void recorded.push(verdict.actionId),
    };
    await expect(scoreTrajectory(coach, task, trajectory, options)).rejects.toThrow('bad key');
    expect(recorded).toEqual(['a']);
    expect(aborted).toEqual(['c']);
  });
});

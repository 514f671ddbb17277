import { expect, test } from 'vitest';
import { sampleAction, sampleTrajectory } from '../../test/support/sample-run.ts';
import type { Datum, Policy } from '../types/training-service.ts';
import { scoreUnderReference, streamReference } from './reference-logprobs.ts';
import type { Training } from './training.ts';

/** A reference that finds minus the target's id for every token, and the passes that it was asked for, by first target. */
function trainingWithReference() {
  const passes: number[][] = [];
  const forward = (data: readonly Datum[]) => {
    passes.push(data.map(({ target }) => target.at(-1) ?? -1));
    const logprobs = data.map(({ target }) => Float32Array.from(target, (id) => -id));
    const result = Promise.resolve({ logprobs, metrics: {} });
    return { submitted: Promise.resolve(), result };
  };
  const reference = { id: 'reference', forward } as unknown as Policy;
  return { training: { reference } as unknown as Training, passes };
}

/** Plays of one action each, whose last token is the play's number. */
const plays = Array.from({ length: 10 }, (_, number) => {
  const id = `1/t/${number}`;
  const action = { ...sampleAction(`${id}/0`), tokens: Int32Array.of(5, number) };
  return sampleTrajectory(id, [{ ...action, logprobs: Float32Array.of(-1, -1) }]);
});

test('plays are scored as soon as the eight of a pass have ended, the same eight in whatever order they end', async () => {
  const { training, passes } = trainingWithReference();
  const stream = streamReference(training, plays.length);
  const order = [9, 3, 0, 1, 2, 4, 5, 6, 7];
  for (const place of order) stream.add(place, plays[place] as (typeof plays)[number]);
  expect(passes).toEqual([[0, 1, 2, 3, 4, 5, 6, 7]]);
  stream.add(8, plays[8] as (typeof plays)[number]);
  const scored = await stream.scored();
  expect(passes[1]).toEqual([8, 9]);
  const atOnce = await scoreUnderReference(training, plays);
  expect([...scored]).toEqual([...atOnce]);
  expect(scored.get('1/t/3/0')).toEqual(Float32Array.of(-5, -3));
});

test('a play that failed is not scored, and does not hold up the others of its pass', async () => {
  const { training, passes } = trainingWithReference();
  const stream = streamReference(training, 2);
  const failure = { boundary: 'play', message: 'broke' };
  stream.add(0, { ...(plays[0] as (typeof plays)[number]), failure });
  stream.add(1, plays[1] as (typeof plays)[number]);
  expect([...(await stream.scored()).keys()]).toEqual(['1/t/1/0']);
  expect(passes).toEqual([[1]]);
});

test('a pass that broke is thrown when all plays have been taken', async () => {
  const { training } = trainingWithReference();
  const broken = Promise.reject(new Error('the engine is gone'));
  broken.catch(() => undefined);
  const reference = {
    ...training.reference,
    forward: () => ({ submitted: Promise.resolve(), result: broken }),
  };
  const stream = streamReference({ ...training, reference }, 1);
  stream.add(0, plays[0] as (typeof plays)[number]);
  await stream.settled();
  await expect(stream.scored()).rejects.toThrow('the engine is gone');
});

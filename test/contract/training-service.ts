import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Datum, Policy, TrainingService } from '../../src/types/training-service.ts';
import {
  adam,
  datumOf,
  expectClose,
  expectSameNorm,
  lesson,
  logprobsNow,
  params,
  prompt,
  samplerOf,
  supervised,
  teach,
} from './training-service-lesson.ts';
import { describeTrainingState } from './training-service-state.ts';

/** What the suite knows of the model behind the service under test. */
export type ServiceUnderTest = {
  readonly create: () => Promise<TrainingService>;
  readonly vocabSize: number;
  readonly maxPositions: number;
  /** Whether samplers keep their weights while training goes on; default true. */
  readonly isSnapshot?: boolean;
  /** Whether adapters can be had as files; default true. */
  readonly hasAdapterFiles?: boolean;
  /** Whether a sample's numbers are the same bits whatever else is sampled; default true. Its tokens always are the same. */
  readonly isBatchInvariant?: boolean;
};

/** What every `TrainingService` must do, in process or remote; tolerances are for float32. */
export function describeTrainingService(name: string, under: ServiceUnderTest): void {
  describeTrainingState(name, under);
  describe(`${name} as a training service`, () => {
    let service: TrainingService;
    let directory: string;

    beforeEach(async () => {
      service = await under.create();
      directory = await mkdtemp(join(tmpdir(), 'teamtune-contract-'));
    });

    afterEach(async () => {
      await service.close();
      await rm(directory, { recursive: true });
    });

    const newPolicy = (id: string, seed = 1) => service.createPolicy({ id, seed, rank: 4 });

    /** A policy that has moved away from the base. */
    const taughtPolicy = async (id: string, seed = 1): Promise<Policy> => {
      const policy = await newPolicy(id, seed);
      await teach(policy);
      return policy;
    };

    describe('sampling', () => {
      it('repeats with the seed and differs with another', async () => {
        const sampler = await samplerOf(await newPolicy('a'));
        const first = await sampler.sample(prompt, params);
        expect(await sampler.sample(prompt, params)).toEqual(first);
        expect(first.tokens.length).toBe(12);
        expect(first.logprobs.length).toBe(12);
        expect(first.stop).toBe('length');
        expect((await sampler.sample(prompt, { ...params, seed: 4 })).tokens).not.toEqual(
          first.tokens,
        );
      });

      it('does not depend on what else is asked for at the same time', async () => {
        const one = await samplerOf(await taughtPolicy('a', 1));
        const other = await samplerOf(await taughtPolicy('b', 2));
        const alone = await one.sample(prompt, params);
        const crowd = Array.from({ length: 6 }, (_, seed) =>
          other.sample(
            Int32Array.from({ length: 3 + 5 * seed }, (_, at) => at + 1),
            {
              ...params,
              seed,
            },
          ),
        );
        const amid = await one.sample(prompt, params);
        await Promise.all(crowd);
        if (under.isBatchInvariant !== false) expect(amid).toEqual(alone);
        expect(amid.tokens).toEqual(alone.tokens);
        expectClose(amid.logprobs, alone.logprobs, 1e-5);
      });

      it('ends at a stop token, which it includes', async () => {
        const sampler = await samplerOf(await newPolicy('a'));
        const free = await sampler.sample(prompt, params);
        const stop = free.tokens[4] ?? -1;
        const first = free.tokens.indexOf(stop);
        const stopped = await sampler.sample(prompt, { ...params, stopTokens: [stop] });
        expect(stopped.stop).toBe('stop');
        expect(stopped.tokens).toEqual(free.tokens.slice(0, first + 1));
      });

      it('is greedy at temperature 0: no token was likelier', async () => {
        const sampler = await samplerOf(await newPolicy('a'));
        const greedy = await sampler.sample(prompt, { ...params, temperature: 0, maxTokens: 1 });
        for (let token = 0; token < under.vocabSize; token += 7) {
          const scored = await sampler.logprobs(Int32Array.of(...prompt, token));
          expect(scored.at(-1)).toBeLessThanOrEqual((greedy.logprobs[0] ?? 0) + 1e-5);
        }
      });

      it('stops when its signal aborts, and others go on', async () => {
        const sampler = await samplerOf(await newPolicy('a'));
        const controller = new AbortController();
        const long = { ...params, maxTokens: under.maxPositions - prompt.length };
        const stopped = sampler.sample(prompt, long, { signal: controller.signal });
        const other = sampler.sample(prompt, params);
        setImmediate(() => controller.abort());
        await expect(stopped).rejects.toThrow(/abort/i);
        expect((await other).tokens.length).toBe(12);
        await expect(
          sampler.sample(prompt, params, { signal: AbortSignal.abort() }),
        ).rejects.toThrow(/abort/i);
      });

      it('gives the event loop turns while a long generation runs', async () => {
        const sampler = await samplerOf(await newPolicy('a'));
        let turns = 0;
        let isDone = false;
        const count = () => {
          turns += 1;
          if (!isDone) setImmediate(count);
        };
        setImmediate(count);
        await sampler.sample(prompt, { ...params, maxTokens: 100 });
        isDone = true;
        expect(turns).toBeGreaterThan(50);
      });
    });

    describe('log-probabilities', () => {
      it('are the same from sampler, forward pass and scoring', async () => {
        const policy = await taughtPolicy('a');
        const sampler = await samplerOf(policy);
        const sequence = await sampler.sample(prompt, params);
        const first = prompt.length - 1;
        const { logprobs } = await policy.forward([datumOf(sequence)]).result;
        expectClose(logprobs[0]?.subarray(first) ?? [], sequence.logprobs, 1e-5);
        const scored = await sampler.logprobs(Int32Array.of(...prompt, ...sequence.tokens));
        expect(scored[0]).toBeNaN();
        expectClose(scored.subarray(prompt.length), sequence.logprobs, 1e-5);
      });

      it('do not depend on the order or the company of data', async () => {
        const policy = await taughtPolicy('a');
        const together = await logprobsNow(policy);
        const { logprobs } = await policy.forward([...lesson].reverse()).result;
        const alone = await policy.forward(lesson.slice(1, 2)).result;
        lesson.forEach((_, index) => {
          expectClose(logprobs.at(-1 - index) ?? [], together[index] ?? [], 1e-5);
        });
        expectClose(alone.logprobs[0] ?? [], together[1] ?? [], 1e-5);
      });

      it('of a fresh policy are those of the base, and of the base stay while policies train', async () => {
        const policy = await newPolicy('a');
        const base = await service.baseSampler();
        const tokens = Int32Array.of(1, 2, 3, 4);
        const before = await base.logprobs(tokens);
        expectClose(
          (await (await samplerOf(policy)).logprobs(tokens)).slice(1),
          before.slice(1),
          1e-5,
        );
        await teach(policy);
        expect(await base.logprobs(tokens)).toEqual(before);
      });
    });

    describe('training', () => {
      it('has the loss −ΣA and ratio 1 on what was just sampled', async () => {
        const policy = await taughtPolicy('a');
        const sequence = await (await samplerOf(policy)).sample(prompt, params);
        const data = [datumOf(sequence, 0.5), datumOf(sequence, -2)];
        const { metrics } = await policy.forwardBackward(data, { kind: 'importance_sampling' })
          .result;
        expect(metrics.loss).toBeCloseTo(-12 * (0.5 - 2), 3);
        expect(metrics.tokens).toBe(24);
      });

      it('makes rewarded tokens likelier and punished ones less likely', async () => {
        for (const advantage of [1, -1]) {
          const policy = await newPolicy(`advantage ${advantage}`);
          const sequence = await (await samplerOf(policy)).sample(prompt, params);
          const data = [datumOf(sequence, advantage)];
          const loss = { kind: 'ppo', clipLow: 0.8, clipHigh: 1.2 } as const;
          const pass = policy.forwardBackward(data, loss);
          await policy.optimStep(adam).result;
          const sum = (values?: Float32Array) =>
            values?.subarray(prompt.length - 1).reduce((total, value) => total + value, 0) ?? 0;
          const before = sum((await pass.result).logprobs[0]);
          const after = sum((await policy.forward(data).result).logprobs[0]);
          expect(Math.sign(after - before)).toBe(advantage);
        }
      });

      it('lowers cross entropy step by step', async () => {
        const policy = await newPolicy('a');
        const losses: number[] = [];
        // Small enough for adapters of any scale.
        for (let step = 0; step < 5; step++) losses.push(await teach(policy, lesson, 1e-3));
        expect(losses).toEqual([...losses].sort((left, right) => right - left));
        expect(policy.version()).toBe(5);
      });

      it('adds gradients over calls: two halves make one whole', async () => {
        const whole = await newPolicy('whole');
        const halves = await newPolicy('halves');
        whole.forwardBackward(lesson, { kind: 'cross_entropy' });
        halves.forwardBackward(lesson.slice(0, 1), { kind: 'cross_entropy' });
        halves.forwardBackward(lesson.slice(1), { kind: 'cross_entropy' });
        const wholeStep = await whole.optimStep(adam).result;
        const halvesStep = await halves.optimStep(adam).result;
        expectSameNorm(halvesStep, wholeStep);
        const other = await logprobsNow(halves);
        (await logprobsNow(whole)).forEach((row, index) => {
          expectClose(row, other[index] ?? [], 1e-4);
        });
      });

      it('forgets the gradient at a step', async () => {
        const policy = await newPolicy('a');
        policy.forwardBackward(lesson, { kind: 'cross_entropy' });
        await policy.optimStep({ ...adam, learningRate: 0 }).result;
        policy.forwardBackward(lesson, { kind: 'cross_entropy' });
        const again = await policy.optimStep({ ...adam, learningRate: 0 }).result;
        const fresh = await newPolicy('b');
        fresh.forwardBackward(lesson, { kind: 'cross_entropy' });
        const once = await fresh.optimStep({ ...adam, learningRate: 0 }).result;
        expectSameNorm(again, once);
      });

      it('trains each policy alone', async () => {
        const policies = await Promise.all(['a', 'b', 'c'].map((id, seed) => newPolicy(id, seed)));
        const [first, second, third] = policies as [Policy, Policy, Policy];
        const before = [await logprobsNow(second), await logprobsNow(third)];
        await teach(first);
        expect(await logprobsNow(second)).toEqual(before[0]);
        await teach(second, [supervised(9, 9, 9, 9)]);
        expect(await logprobsNow(third)).toEqual(before[1]);
        expect(policies.map((policy) => policy.version())).toEqual([1, 1, 0]);
        expect(await logprobsNow(first)).not.toEqual(await logprobsNow(second));
      });

      it('ends in the same numbers whether or not others train meanwhile', async () => {
        const alone = await newPolicy('alone', 5);
        await teach(alone);
        await teach(alone);
        const crowd = await Promise.all([newPolicy('one of two', 5), newPolicy('another', 6)]);
        await Promise.all(crowd.map((policy) => teach(policy)));
        await Promise.all(crowd.map((policy) => teach(policy)));
        expect(await logprobsNow(crowd[0] as Policy)).toEqual(await logprobsNow(alone));
      });
    });

    describe('bad input', () => {
      const good = supervised(1, 2, 3);
      const cases: readonly (readonly [string, Datum, RegExp])[] = [
        ['no tokens', supervised(1), /datum 1 has no tokens/],
        ['unequal lengths', { ...good, target: Int32Array.of(1) }, /datum 1: target has 1/],
        [
          'a token outside the vocabulary',
          supervised(1, 2, 1_000_000),
          /datum 1 target: token id 1000000/,
        ],
        ['no advantages', good, /datum 1: .* needs advantages/],
        [
          'an advantage that is not a number',
          {
            ...good,
            advantages: Float32Array.of(1, Number.NaN),
            oldLogprobs: Float32Array.of(-1, -1),
          },
          /datum 1: advantages is NaN at position 1/,
        ],
        [
          'too long a sequence',
          supervised(...new Array<number>(under.maxPositions + 2).fill(1)),
          /datum 1 input has \d+ tokens; the model has positions for/,
        ],
      ];

      it.each(cases)(
        'refuses a datum with %s by its number, and goes on',
        async (_, bad, message) => {
          const policy = await newPolicy('a');
          const first = {
            ...good,
            advantages: Float32Array.of(1, 1),
            oldLogprobs: Float32Array.of(-1, -1),
          };
          const refused = policy.forwardBackward([first, bad], { kind: 'importance_sampling' });
          await expect(refused.result).rejects.toThrow(message);
          await expect(refused.result).rejects.toMatchObject({ name: 'BoundaryError' });
          const losses = [await teach(policy), await teach(policy)];
          expect(losses[1]).toBeLessThan(losses[0] ?? 0);
        },
      );

      it('refuses a step without a gradient', async () => {
        const policy = await newPolicy('a');
        await expect(policy.optimStep(adam).result).rejects.toThrow(/no gradient/);
        expect(policy.version()).toBe(0);
      });

      it('refuses prompts that the model cannot take', async () => {
        const sampler = await service.baseSampler();
        await expect(sampler.sample(new Int32Array(0), params)).rejects.toThrow(/empty/);
        await expect(sampler.sample(Int32Array.of(-1), params)).rejects.toThrow(/token id -1/);
        await expect(
          sampler.sample(prompt, { ...params, maxTokens: under.maxPositions }),
        ).rejects.toThrow(/positions/);
      });

      it('refuses two policies of one id', async () => {
        await newPolicy('a');
        await expect(newPolicy('a')).rejects.toThrow(/"a"/);
      });
    });

    it('counts what it did', async () => {
      const policy = await taughtPolicy('a');
      await (await samplerOf(policy)).sample(prompt, params);
      const counters = service.counters();
      expect(counters.sampledTokens).toBe(12);
      // 5 + 2 + 6 targets of the lesson
      expect(counters.trainedTokens).toBe(13);
      expect(counters.sampleSeconds).toBeGreaterThan(0);
      expect(counters.trainSeconds).toBeGreaterThan(0);
    });
  });
}

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Datum, Loss, Policy, TrainingService } from '../../src/types/training-service.ts';
import type { ServiceUnderTest } from './training-service.ts';
import {
  adam,
  datumOf,
  expectClose,
  expectSameNorm,
  lesson,
  params,
  prompt,
  samplerOf,
  supervised,
  teach,
} from './training-service-lesson.ts';

/** What a service that offers every loss, value heads and filters of sampling must do, besides `describeTrainingService`. */
export function describeTrainingLosses(name: string, under: ServiceUnderTest): void {
  describe(`${name} with every loss and filter`, () => {
    let service: TrainingService;
    let directory: string;

    beforeEach(async () => {
      service = await under.create();
      directory = await mkdtemp(join(tmpdir(), 'teamtune-losses-'));
    });

    afterEach(async () => {
      await service.close();
      await rm(directory, { recursive: true });
    });

    const newPolicy = (id: string) => service.createPolicy({ id, seed: 1, rank: 4 });

    const taughtPolicy = async () => {
      const policy = await newPolicy('taught');
      await teach(policy);
      return policy;
    };

    /** One pass and one step; @returns the pass's metrics */
    const stepOn = async (policy: Policy, data: readonly Datum[], loss: Loss) => {
      const pass = policy.forwardBackward(data, loss);
      await policy.optimStep(adam).result;
      return (await pass.result).metrics;
    };

    const withReference = async (data: readonly Datum[], policy: Policy) => {
      const { logprobs } = await policy.forward(data).result;
      return data.map(
        (datum, row): Datum => ({ ...datum, referenceLogprobs: logprobs[row] as Float32Array }),
      );
    };

    it('records what a shaped distribution sampled with beside the raw log-probabilities', async () => {
      const sampler = await samplerOf(await taughtPolicy());
      const shaped = { ...params, temperature: 0.7, topK: 8, topP: 0.9, minP: 0.01 };
      const [plain, other] = await Promise.all([
        sampler.sample(prompt, params),
        sampler.sample(prompt, shaped),
      ]);
      expect(plain.behaviourLogprobs).toBeUndefined();
      expect(other.behaviourLogprobs).toHaveLength(other.tokens.length);
      const scored = await sampler.logprobs(Int32Array.of(...prompt, ...other.tokens));
      expectClose(scored.subarray(prompt.length), other.logprobs, 1e-5);
      const alone = await sampler.sample(prompt, shaped);
      expect(alone.tokens).toEqual(other.tokens);
      if (under.isBatchInvariant !== false) expect(alone).toEqual(other);
    });

    it('refuses filters that leave nothing', async () => {
      const sampler = await samplerOf(await newPolicy('a'));
      await expect(sampler.sample(prompt, { ...params, topP: 0 })).rejects.toThrow(/topP is 0/);
      await expect(sampler.sample(prompt, { ...params, topK: 0 })).rejects.toThrow(/topK is 0/);
      await expect(sampler.sample(prompt, { ...params, minP: 2 })).rejects.toThrow(/minP is 2/);
    });

    it.each([
      { kind: 'gspo', clipLow: 0.8, clipHigh: 1.2 },
      { kind: 'cispo', clipLow: 0.8, clipHigh: 1.2 },
      { kind: 'ppo', clipLow: 0.8, clipHigh: 1.2, dualClip: 3 },
    ] as const)('makes rewarded tokens likelier by $kind', async (loss) => {
      const policy = await newPolicy('a');
      const data = [datumOf(await (await samplerOf(policy)).sample(prompt, params))];
      const sum = async () => {
        const { logprobs } = await policy.forward(data).result;
        return logprobs[0]?.subarray(prompt.length - 1).reduce((total, p) => total + p, 0) ?? 0;
      };
      const before = await sum();
      await stepOn(policy, data, loss);
      expect(await sum()).toBeGreaterThan(before);
    });

    it('pulls a policy back to its reference with a divergence term alone', async () => {
      const policy = await newPolicy('a');
      const data = await withReference(lesson, policy);
      for (let step = 0; step < 3; step++) await teach(policy);
      const still = data.map((datum) => ({
        ...datum,
        advantages: new Float32Array(datum.input.length),
      }));
      const loss: Loss = { kind: 'linear', kl: { coefficient: 1, estimator: 'k3' } };
      const divergences: number[] = [];
      // The moments of what was taught carry it on for a few steps.
      for (let step = 0; step < 16; step++) {
        divergences.push((await stepOn(policy, still, loss)).referenceKl ?? Number.NaN);
      }
      expect(divergences.at(-1)).toBeLessThan(0.5 * (divergences[0] ?? 0));
    });

    it('flattens the distributions with an entropy term alone', async () => {
      const policy = await newPolicy('a');
      for (let step = 0; step < 3; step++) await teach(policy);
      const still = lesson.map((datum) => ({
        ...datum,
        advantages: new Float32Array(datum.input.length),
      }));
      const loss: Loss = { kind: 'linear', entropyCoefficient: 1 };
      const first = await stepOn(policy, still, loss);
      const second = await stepOn(policy, still, loss);
      expect(second.entropy).toBeGreaterThan(first.entropy ?? Number.POSITIVE_INFINITY);
      expect(first.loss).toBeCloseTo(-(first.entropy ?? 0), 4);
    });

    describe('preferences', () => {
      const pairs = [
        supervised(1, 2, 3, 4),
        supervised(1, 2, 9, 9, 9),
        supervised(5, 6, 7),
        supervised(5, 9, 9),
      ];
      const still = { ...adam, learningRate: 0 };
      const averaged = (datum: Datum, weight: number): Datum => {
        const { length } = datum.input;
        return { ...datum, weights: new Float32Array(length).fill(weight / length) };
      };

      it('cost log 2 a pair where the policy is the reference, and are learnt', async () => {
        const policy = await newPolicy('a');
        const data = await withReference(pairs, policy);
        const loss: Loss = { kind: 'dpo', beta: 0.5 };
        const first = await stepOn(policy, data, loss);
        expect(first.loss).toBeCloseTo(2 * Math.log(2), 5);
        expect(first).toMatchObject({ pairs: 2, tokens: 11 });
        let last = first;
        for (let step = 0; step < 4; step++) last = await stepOn(policy, data, loss);
        expect(last.loss).toBeLessThan(first.loss ?? 0);
        expect(last.correctPairs).toBe(2);
        expect(last.margin).toBeGreaterThan(0);
      });

      it('have the same gradient with an anchor as with cross-entropy in a pass of its own', async () => {
        const policy = await newPolicy('a');
        const data = await withReference(pairs, policy);
        const loss: Loss = { kind: 'dpo', beta: 0.5, pairWeight: 0.5 };
        const joined = await policy.forwardBackward(data, { ...loss, anchor: 0.3 }).result;
        const joinedStep = await policy.optimStep(still).result;
        const apart = await policy.forwardBackward(data, loss).result;
        const anchors = [data[0], data[2]].map((datum) => averaged(datum as Datum, 0.5 * 0.3));
        const anchored = await policy.forwardBackward(anchors, { kind: 'cross_entropy' }).result;
        const apartStep = await policy.optimStep(still).result;
        expectSameNorm(joinedStep, apartStep);
        const { loss: total = 0, anchorLoss = 0 } = joined.metrics;
        expect(anchorLoss).toBeCloseTo(anchored.metrics.loss ?? Number.NaN, 5);
        expect(total - anchorLoss).toBeCloseTo(apart.metrics.loss ?? Number.NaN, 5);
      });

      it('without a partner are refused', async () => {
        const policy = await newPolicy('a');
        const data = (await withReference(pairs, policy)).slice(1);
        const refused = policy.forwardBackward(data, { kind: 'dpo', beta: 0.5 }).result;
        await expect(refused).rejects.toThrow(/takes pairs, preferred then rejected; got 3/);
      });
    });

    describe('a value head', () => {
      const critic = (
        id: string,
        from?: { readonly directory: string; readonly optimizer: boolean },
      ) => service.createPolicy({ id, seed: 1, rank: 4, valueHead: true, ...(from && { from }) });
      const returnsOf = (datum: Datum) => Float32Array.from(datum.target, (token) => token / 10);
      const withReturns = lesson.map((datum) => ({ ...datum, returns: returnsOf(datum) }));

      it('predicts 0 at first and then what it is taught', async () => {
        const policy = await critic('critic');
        const before = await policy.forward(withReturns).result;
        expect(before.values?.map((row) => [...row])).toEqual(
          withReturns.map(({ input }) => [...new Float32Array(input.length)]),
        );
        const losses: number[] = [];
        for (let step = 0; step < 8; step++) {
          losses.push((await stepOn(policy, withReturns, { kind: 'value' })).loss ?? Number.NaN);
        }
        expect(losses.at(-1)).toBeLessThan(0.5 * (losses[0] ?? 0));
      });

      it('learns a probability as a logit', async () => {
        const policy = await critic('logit');
        // Odd tokens are to be told from even ones.
        const judged = lesson.map((datum) => {
          return { ...datum, returns: Float32Array.from(datum.target, (token) => token % 2) };
        });
        const loss = { kind: 'value', isLogit: true } as const;
        const losses: number[] = [];
        for (let step = 0; step < 8; step++) {
          losses.push((await stepOn(policy, judged, loss)).loss ?? Number.NaN);
        }
        // A head that says 0 takes everything to be as likely as not.
        const weight = judged.reduce((sum, { weights, input }) => {
          return sum + (weights?.reduce((all, each) => all + each, 0) ?? input.length);
        }, 0);
        expect(losses[0]).toBeCloseTo(weight * Math.log(2), 4);
        expect(losses.at(-1)).toBeLessThan(0.9 * (losses[0] ?? 0));
      });

      it('bounds its step with a clip', async () => {
        const policy = await critic('critic');
        const clipped = withReturns.map((datum) => ({
          ...datum,
          oldValues: new Float32Array(datum.input.length),
        }));
        for (let step = 0; step < 3; step++)
          await stepOn(policy, clipped, { kind: 'value', clip: 0.01 });
        const { metrics } = await policy.forwardBackward(clipped, { kind: 'value', clip: 0.01 })
          .result;
        expect(metrics.clippedTokens).toBeGreaterThan(0);
      });

      it('shares a policy with its actor: both losses add up in one step', async () => {
        const policy = await critic('actor and critic');
        const before = (await policy.forward(lesson).result).logprobs;
        policy.forwardBackward(lesson, { kind: 'cross_entropy' });
        await stepOn(policy, withReturns, { kind: 'value' });
        const after = await policy.forward(lesson).result;
        expect(after.logprobs).not.toEqual(before);
        expect(after.values?.[0]?.[0]).not.toBe(0);
      });

      it('goes on from a saved state with the same bits', async () => {
        const policy = await critic('critic');
        await stepOn(policy, withReturns, { kind: 'value' });
        const state = join(directory, 'state');
        await policy.saveState(state).result;
        const restored = await critic('restored', { directory: state, optimizer: true });
        for (const each of [policy, restored]) await stepOn(each, withReturns, { kind: 'value' });
        const [own, other] = [
          await policy.forward(lesson).result,
          await restored.forward(lesson).result,
        ];
        expect(other.values).toEqual(own.values);
        expect(other.logprobs).toEqual(own.logprobs);
      });

      it('is not asked of a policy that has none', async () => {
        const policy = await newPolicy('a');
        expect((await policy.forward(lesson).result).values).toBeUndefined();
        const refused = policy.forwardBackward(withReturns, { kind: 'value' }).result;
        await expect(refused).rejects.toThrow(/valueHead: true/);
        const good = await teach(policy);
        expectClose([good], [await teach(await newPolicy('b'))], 1e-4);
      });
    });
  });
}

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Policy, TrainingService } from '../../src/types/training-service.ts';
import type { ServiceUnderTest } from './training-service.ts';
import {
  adam,
  lesson,
  logprobsNow,
  params,
  prompt,
  samplerOf,
  teach,
} from './training-service-lesson.ts';

/** What every service must do with versions and saved states; part of `describeTrainingService`. */
export function describeTrainingState(name: string, under: ServiceUnderTest): void {
  describe(`snapshots and state of ${name}`, () => {
    let service: TrainingService;
    let directory: string;

    beforeEach(async () => {
      service = await under.create();
      directory = await mkdtemp(join(tmpdir(), 'teamtune-state-'));
    });

    afterEach(async () => {
      await service.close();
      await rm(directory, { recursive: true });
    });

    /** A policy that has moved away from the base. */
    const taughtPolicy = async (id: string): Promise<Policy> => {
      const policy = await service.createPolicy({ id, seed: 1, rank: 4 });
      await teach(policy);
      return policy;
    };

    it.runIf(under.isSnapshot === false)(
      'refuses to sample weights that training has replaced, and trains once samples have ended',
      async () => {
        const policy = await taughtPolicy('a');
        const old = await samplerOf(policy);
        const before = await old.sample(prompt, params);
        const underWay = old.sample(prompt, { ...params, maxTokens: 60 });
        await teach(policy);
        expect((await underWay).tokens.subarray(0, 12)).toEqual(before.tokens);
        await expect(old.sample(prompt, params)).rejects.toThrow(/publish again/);
        expect((await (await samplerOf(policy)).sample(prompt, params)).version).toBe(2);
      },
    );

    it.skipIf(under.isSnapshot === false)(
      'samples from the weights as they were when published',
      async () => {
        const policy = await taughtPolicy('a');
        const old = await samplerOf(policy);
        const before = await old.sample(prompt, params);
        const underWay = old.sample(prompt, { ...params, maxTokens: 60 });
        await teach(policy);
        await teach(policy);
        const renewed = await samplerOf(policy);
        expect([old.version, renewed.version]).toEqual([1, 3]);
        expect(await old.sample(prompt, params)).toEqual(before);
        const uninterrupted = await old.sample(prompt, { ...params, maxTokens: 60 });
        expect(await underWay).toEqual(uninterrupted);
        const changed = await renewed.sample(prompt, params);
        expect(changed.logprobs).not.toEqual(before.logprobs);
      },
    );

    it('publishes the point in the queue, not a later one', async () => {
      const policy = await service.createPolicy({ id: 'a', seed: 1, rank: 4 });
      policy.forwardBackward(lesson, { kind: 'cross_entropy' });
      const early = policy.publish();
      policy.optimStep(adam);
      const late = policy.publish();
      expect((await early.result).version).toBe(0);
      expect((await late.result).version).toBe(1);
    });

    it('goes on from a saved state with the same bits', async () => {
      const policy = await taughtPolicy('a');
      const state = join(directory, 'state');
      await policy.saveState(state).result;
      const from = { directory: state, optimizer: true };
      const restored = await service.createPolicy({ id: 'restored', seed: 99, rank: 4, from });
      expect(restored.version()).toBe(1);
      for (let step = 0; step < 3; step++) {
        expect(await teach(restored)).toBe(await teach(policy));
      }
      expect(await logprobsNow(restored)).toEqual(await logprobsNow(policy));
    });

    it.skipIf(under.hasAdapterFiles === false)(
      'starts a new optimiser from an exported adapter',
      async () => {
        const policy = await taughtPolicy('a');
        const exported = join(directory, 'adapter');
        await policy.exportAdapter(exported);
        const from = { directory: exported, optimizer: false };
        const restored = await service.createPolicy({ id: 'restored', seed: 99, rank: 4, from });
        expect(restored.version()).toBe(0);
        expect(await logprobsNow(restored)).toEqual(await logprobsNow(policy));
      },
    );

    it('refuses to write a state over what is there', async () => {
      const policy = await taughtPolicy('a');
      await expect(policy.saveState(directory).result).rejects.toThrow(/exists already/);
    });

    it('refuses a state of another rank', async () => {
      const state = join(directory, 'state');
      await (await taughtPolicy('a')).saveState(state).result;
      const from = { directory: state, optimizer: true };
      const creating = service.createPolicy({ id: 'b', seed: 1, rank: 8, from });
      await expect(creating).rejects.toThrow(/rank 4/);
    });
  });
}

// The whole way through the local service against torch's AdamW, peft's adapters and transformers' generate.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadAdapterFolder } from '../../src/engine/adapter-folder.ts';
import {
  createLocalTrainingService,
  type LocalTrainingService,
} from '../../src/service/local/local-training-service.ts';
import type { Policy, SampleParams } from '../../src/types/training-service.ts';
import {
  dataOf,
  fixtureDirectory,
  fixtureNames,
  largestDifference,
  readArrays,
  readExpected,
  relativeDifference,
} from './fixture.ts';

// Adam divides by the root of tiny squared gradients, which magnifies the last bits of a gradient near 0 by up to
// learningRate / |gradient|: weights are compared more loosely than log-probabilities.
const logprobTolerance = 1e-4;
const weightTolerance = 2e-4;

describe.each(fixtureNames)('%s trained and sampled by the local service', (name) => {
  const expected = readExpected(name);
  const greedy: SampleParams = { maxTokens: 24, temperature: 0, seed: 0, stopTokens: [] };
  let service: LocalTrainingService;
  let directory: string;

  beforeEach(async () => {
    service = await createLocalTrainingService({ modelDirectory: fixtureDirectory(name) });
    directory = await mkdtemp(join(tmpdir(), 'teamtune-parity-'));
  });

  afterEach(async () => {
    await service.close();
    await rm(directory, { recursive: true });
  });

  const adapted = (): Promise<Policy> => {
    const from = { directory: join(fixtureDirectory(name), 'adapter'), optimizer: false };
    return service.createPolicy({ id: 'a', seed: 1, rank: 4, alpha: 8, from });
  };

  it('generates what transformers generates, base and adapter in one batch', async () => {
    const samplers = [await service.baseSampler(), await (await adapted()).publish().result];
    const sampled = await Promise.all(
      samplers.flatMap((sampler) =>
        expected.rows.map((row) => sampler.sample(Int32Array.from(row), greedy)),
      ),
    );
    expect(sampled.map(({ tokens }) => [...tokens])).toEqual([
      ...expected.greedy,
      ...expected.adapterGreedy,
    ]);
  });

  it("takes the three steps of torch's AdamW with clipping", async () => {
    const policy = await adapted();
    for (const [step, loss] of expected.losses.entries()) {
      const pass = policy.forwardBackward(dataOf(expected), { kind: 'cross_entropy' });
      const { gradNorm } = await policy.optimStep(expected.adam).result;
      const { metrics } = await pass.result;
      expect(relativeDifference([metrics.loss ?? 0], [loss])).toBeLessThan(1e-5);
      const wanted = expected.gradNorms[step] ?? 0;
      expect(relativeDifference([gradNorm ?? Number.NaN], [wanted])).toBeLessThan(1e-4);
    }
    const rows = expected.rows.map((row) => Int32Array.from(row));
    const sampler = await policy.publish().result;
    for (const [index, row] of rows.entries()) {
      const logprobs = (await sampler.logprobs(row)).subarray(1);
      const difference = largestDifference(logprobs, expected.trainedLogprobs[index] ?? []);
      expect(difference).toBeLessThan(logprobTolerance);
    }
    const exported = join(directory, 'adapter');
    await policy.exportAdapter(exported);
    const adapter = await loadAdapterFolder(exported, service.config);
    const after = await readArrays(name, 'after/');
    for (const [path, { a, b }] of adapter.modules) {
      for (const [side, values] of Object.entries({ A: a, B: b })) {
        const wanted = after.get(`base_model.model.${path}.lora_${side}.weight`) ?? [];
        expect(largestDifference(values, wanted), path).toBeLessThan(weightTolerance);
      }
    }
  });
});

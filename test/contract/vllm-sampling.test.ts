import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { createLocalTrainingService } from '../../src/service/local/local-training-service.ts';
import { withVllmSampling } from '../../src/service/vllm/vllm-sampling.ts';
import { hasty } from '../support/tinker-server/hasty.ts';
import { testEngine } from '../support/tinker-server/with-server.ts';
import { startVllmServer } from '../support/vllm-server.ts';
import { contractModel } from './contract-model.ts';
import { describedVllm } from './running-server.ts';
import { describeTrainingService } from './training-service.ts';
import { params, prompt, samplerOf, teach } from './training-service-lesson.ts';

const { vocabSize, maxPositions } = contractModel;

async function open() {
  const directory = await mkdtemp(join(tmpdir(), 'teamtune-vllm-'));
  const server = await startVllmServer(testEngine, { baseModel: 'tiny' });
  const service = await withVllmSampling(await createLocalTrainingService(testEngine), {
    ...{ url: server.url, baseModel: 'tiny', directory, patience: hasty },
    limits: { vocabSize, maxPositions },
  });
  const close = async () => {
    await service.close();
    await server.close();
    await rm(directory, { recursive: true });
  };
  return { service: { ...service, close }, server, directory };
}

describeTrainingService('the engine of this process with vLLM as its sampler', {
  create: async () => (await open()).service,
  ...{ vocabSize, maxPositions },
});

const running = process.env.TEAMTUNE_VLLM_SERVER;
if (running !== undefined) {
  vi.setConfig({ testTimeout: 900_000, hookTimeout: 120_000 });
  describeTrainingService(
    'the engine of this process with a running vLLM server',
    await describedVllm(running),
  );
}

test('the newest two versions of a policy stay on the server, under names of their own, and none in the end', async () => {
  const { service, server, directory } = await open();
  const policy = await service.createPolicy({ id: 'solver', seed: 1, rank: 4 });
  const first = await samplerOf(policy);
  for (let step = 0; step < 2; step++) {
    await teach(policy);
    await samplerOf(policy);
  }
  const names = server.adapters().map((name) => name.replace(/\.\w+$/, ''));
  expect(names).toEqual(['solver@1', 'solver@2']);
  await expect(first.sample(prompt, params)).rejects.toThrow(/version 0 .* was unloaded/);
  await expect(
    (await samplerOf(policy)).sample(prompt, { ...params, temperature: 0.5 }),
  ).rejects.toThrow(/temperature is 0.5/);
  await policy.close();
  expect(server.adapters()).toEqual([]);
  const [run = ''] = await readdir(directory);
  expect(await readdir(join(directory, run))).toEqual([]);
  await service.close();
});

test('an address where something else answers is refused', async () => {
  const page = createServer((_, response) => response.writeHead(404).end('no such page'));
  await once(page.listen(0, '127.0.0.1'), 'listening');
  const { port } = page.address() as AddressInfo;
  const trainer = await createLocalTrainingService(testEngine);
  const asked = withVllmSampling(trainer, {
    ...{ url: `http://127.0.0.1:${port}`, baseModel: 'tiny', directory: 'unused', patience: hasty },
    limits: { vocabSize, maxPositions },
  });
  await expect(asked).rejects.toThrow(/expected a vLLM server at .*check sampler\.url/);
  await trainer.close();
  page.close();
});

test('a server of another model is refused before anything is trained', async () => {
  const server = await startVllmServer(testEngine, { baseModel: 'other' });
  const trainer = await createLocalTrainingService(testEngine);
  const asked = withVllmSampling(trainer, {
    ...{ url: server.url, baseModel: 'tiny', directory: 'unused', patience: hasty },
    limits: { vocabSize, maxPositions },
  });
  await expect(asked).rejects.toThrow(/serves no model "tiny", it serves other/);
  await trainer.close();
  await server.close();
});

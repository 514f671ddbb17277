/**
 * What the client of training servers encodes and sends: `npm run bench:client`, with `--json` for one JSON object last.
 * 512 datums of 4096 tokens as a policy-gradient loss sends them, in both dialects, to a server of another thread that
 * reads and forgets them.
 */
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { createRandom } from '../src/random.ts';
import { callOfPass, chunkData, type Dialect } from '../src/service/tinker/encode-data.ts';
import type { SentDatum } from '../src/service/tinker/protobuf.ts';
import { readCount, readFlags } from './support/read-flags.ts';

const values = readFlags('client', {
  json: { type: 'boolean', default: false, help: 'one JSON object last' },
  rounds: { type: 'string', default: '3', help: 'rounds of each dialect' },
  zstd: { type: 'boolean', default: false, help: 'compress protobuf' },
});
const rounds = readCount('client', { rounds: values.rounds });
const [datums, tokens] = [512, 4096];

const sink = new Worker(
  `const { createServer } = require('node:http');
   const { parentPort } = require('node:worker_threads');
   const server = createServer((request, response) => request.resume().on('end', () => response.end('{}')));
   server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));`,
  { eval: true },
);
const [port] = (await once(sink, 'message')) as [number];

const random = createRandom(1);
const data = Array.from({ length: datums }, (): SentDatum => {
  const ids = () => Int32Array.from({ length: tokens }, () => random.integer(151_000));
  const floats = () => Float32Array.from({ length: tokens }, () => -3 * random.uniform());
  return { tokens: ids(), targets: ids(), arrays: { logprobs: floats(), advantages: floats() } };
});

/** One round: all chunks, encoded and sent one after another as the client does. */
async function send(dialect: Dialect) {
  let [bytes, encodeMs, peak] = [0, 0, 0];
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const started = performance.now();
  for (const chunk of chunkData(data, dialect)) {
    const pass = { modelId: 'model_1', sequence: 1, data: chunk, loss: 'importance_sampling' };
    const whole = { ...pass, lossConfig: {}, isForwardOnly: false };
    const { path, body } = callOfPass(whole, { dialect, isCompressed: values.zstd === true });
    const from = performance.now();
    const encoded = await body?.();
    encodeMs += performance.now() - from;
    bytes += Buffer.byteLength(encoded?.bytes ?? '');
    const reply = await fetch(`http://127.0.0.1:${port}${path}`, {
      method: 'POST',
      body: encoded?.bytes ?? '',
    });
    await reply.arrayBuffer();
    peak = Math.max(peak, process.memoryUsage.rss());
  }
  delay.disable();
  const seconds = (performance.now() - started) / 1000;
  return { bytes, encodeMs, seconds, peak, delayMs: delay.percentile(99) / 1e6 };
}

/** What the machine's other work alone does to the event loop of a process that does nothing. */
async function idleDelayMs(): Promise<number> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await sleep(5000);
  delay.disable();
  return delay.percentile(99) / 1e6;
}

const idleMs = await idleDelayMs();
const results = [];
for (const dialect of ['json', 'protobuf'] as const) {
  for (let round = 1; round <= rounds; round++) {
    const { bytes, encodeMs, seconds, peak, delayMs } = await send(dialect);
    results.push({
      ...{ dialect, round, requests: chunkData(data, dialect).length },
      megabytes: bytes / 1e6,
      encodedDatumsPerSecond: datums / (encodeMs / 1000),
      encodedMegabytesPerSecond: bytes / 1000 / encodeMs,
      sentDatumsPerSecond: datums / seconds,
      eventLoopDelayP99Ms: delayMs,
      rssMebibytes: peak / 2 ** 20,
    });
  }
}
await sink.terminate();
const rounded = results.map((row) =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      typeof value === 'number' ? Math.round(value * 10) / 10 : value,
    ]),
  ),
);
console.table(rounded);
console.log(`event loop of a process that does nothing, p99: ${idleMs.toFixed(1)} ms`);
if (values.json)
  console.log(JSON.stringify({ datums, tokens, idleDelayP99Ms: idleMs, rounds: rounded }));

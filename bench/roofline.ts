/**
 * How near generation and training come to what this machine can do: bytes and operations that the work needs, over
 * the bandwidth and the matrix rate measured in the same run: `npm run bench:roofline -- --json`
 *
 * Options: --runs 5 · --threads (default: all cores) · --only small-64,0.5B-8. Decoding needs all weights and the cache
 * once a step; a training step needs 2 operations a weight and token forward and 2 backward (the base is frozen).
 */
import { aten } from '../src/engine/aten.ts';
import { noGrad } from '../src/engine/autograd.ts';
import { decoderParameters, disposeDecoder } from '../src/engine/decoder.ts';
import { createGenerator } from '../src/engine/generator.ts';
import { loadDecoder } from '../src/engine/load-model.ts';
import { setThreads } from '../src/engine/native.ts';
import { zeros } from '../src/engine/ops.ts';
import { keep, tidy } from '../src/engine/scope.ts';
import { elementsOf, type Tensor } from '../src/engine/tensor.ts';
import { createLocalTrainingService } from '../src/service/local/local-training-service.ts';
import { type Spread, spreadOf } from './support/compare.ts';
import { readOptions } from './support/read-options.ts';
import { modelFolder, randomTokens, type ShapeName } from './support/shapes.ts';

type Cases = readonly { readonly shape: ShapeName; readonly rows: number }[];

const cases: Cases = [
  { shape: 'small', rows: 64 },
  { shape: '0.5B', rows: 8 },
];
const promptTokens = 48;
const newTokens = 64;
const floatBytes = 4;

const { runs, threads, json, wants } = readOptions(
  'roofline',
  cases.map(({ shape, rows }) => `${shape}-${rows}`),
);
setThreads(threads);
const bandwidth = measureBandwidth();
const matrixRate = measureMatrixRate();
console.log(`bandwidth ${text(bandwidth, 1e9)} GB/s, matrix rate ${text(matrixRate, 1e9)} GFLOP/s`);
console.log('| case | decode, GB/s | share | training, GFLOP/s | share |\n|---|---|---|---|---|');
const results: Readonly<Record<string, unknown>>[] = [];
for (const { shape, rows } of cases) {
  const name = `${shape}-${rows}`;
  if (!wants(name)) continue;
  const decode = await measureDecode(shape, rows);
  const training = await measureTraining(shape, rows);
  const shares = {
    decodeShare: decode.median / bandwidth.median,
    trainingShare: training.median / matrixRate.median,
  };
  results.push({ name, decode, training, ...shares });
  const percent = (share: number) => `${(share * 100).toFixed(0)} %`;
  const cells = [name, text(decode, 1e9), percent(shares.decodeShare)];
  console.log(`| ${[...cells, text(training, 1e9), percent(shares.trainingShare)].join(' | ')} |`);
}
if (json) console.log(JSON.stringify({ threads, bandwidth, matrixRate, cases: results }));

/** Bytes a second of reading memory that no cache holds. */
function measureBandwidth(): Spread {
  const elements = 128 * 1024 * 1024;
  const source = keep(noGrad(() => zeros([elements])));
  const rates = repeat(() => tidy(() => aten('sum', source).item()), elements * floatBytes);
  source.dispose();
  return rates;
}

/** Operations a second of a product of two square float32 matrices. */
function measureMatrixRate(): Spread {
  const size = 2048;
  const matrix = keep(noGrad(() => zeros([size, size])));
  const rates = repeat(() => tidy(() => void aten('mm', matrix, matrix)), 2 * size ** 3);
  matrix.dispose();
  return rates;
}

/** Amounts a second, after one run that warms up. */
function repeat(run: () => void, amount: number): Spread {
  run();
  return spreadOf(
    Array.from({ length: runs }, () => {
      const start = performance.now();
      run();
      return (amount / (performance.now() - start)) * 1000;
    }),
  );
}

/** Bytes a second that decoding must read: weights and the filled part of the cache, once for each step. */
async function measureDecode(shape: ShapeName, rows: number): Promise<Spread> {
  const decoder = await loadDecoder(await modelFolder(shape), { dtype: 'float32', device: 'cpu' });
  const { layers, keyValueHeads, headDim } = decoder.config;
  const weights = [...decoderParameters(decoder).values()];
  const weightBytes = weights.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  const tokenBytes = 2 * layers * keyValueHeads * headDim * floatBytes;
  const generator = createGenerator(decoder);
  let seed = 0;
  const run = (): number => {
    for (const prompt of randomTokens(rows, promptTokens, shape)) {
      const request = { maxTokens: newTokens, temperature: 1, stopTokens: [], seed: seed++ };
      generator.submit({ ...request, prompt: Int32Array.from(prompt) });
    }
    generator.step();
    const start = performance.now();
    while (generator.pending > 0) generator.step();
    const steps = newTokens - 1;
    const cached = promptTokens + steps / 2;
    const bytes = steps * (weightBytes + rows * cached * tokenBytes);
    return (bytes / (performance.now() - start)) * 1000;
  };
  run();
  const rates = spreadOf(Array.from({ length: runs }, run));
  generator.dispose();
  disposeDecoder(decoder);
  return rates;
}

function bytesOf(tensor: Tensor): number {
  return elementsOf(tensor.shape) * floatBytes;
}

/** Operations a second of a training step with LoRA of rank 8, the adapter's own left out. */
async function measureTraining(shape: ShapeName, rows: number): Promise<Spread> {
  const length = promptTokens + newTokens;
  const service = await createLocalTrainingService({ modelDirectory: await modelFolder(shape) });
  const policy = await service.createPolicy({ id: 'bench', seed: 1, rank: 8 });
  const data = randomTokens(rows, length, shape).map((row) => ({
    input: Int32Array.from(row.slice(0, -1)),
    target: Int32Array.from(row.slice(1)),
  }));
  const { config } = service;
  const { hiddenSize, headDim, heads, keyValueHeads } = config;
  const attention = hiddenSize * headDim * (2 * heads + 2 * keyValueHeads);
  const layer = attention + 3 * hiddenSize * config.intermediateSize;
  const weights = config.layers * layer + config.vocabSize * hiddenSize;
  const operations = 4 * weights * rows * (length - 1);
  const run = async (): Promise<number> => {
    const start = performance.now();
    await policy.forwardBackward(data, { kind: 'cross_entropy' }).result;
    const seconds = (performance.now() - start) / 1000;
    const adam = { learningRate: 1e-6, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0 };
    await policy.optimStep(adam).result;
    return operations / seconds;
  };
  await run();
  const rates: number[] = [];
  for (let count = 0; count < runs; count++) rates.push(await run());
  await service.close();
  return spreadOf(rates);
}

function text({ min, median, max }: Spread, unit: number): string {
  const [low, middle, high] = [min, median, max].map((value) => (value / unit).toFixed(1));
  return `${middle} (${low} to ${high})`;
}

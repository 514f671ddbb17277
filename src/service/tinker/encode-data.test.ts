import { zstdDecompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { callOfPass } from './encode-data.ts';
import { encodePass, type SentPass } from './protobuf.ts';

/** Longer than what is encoded in one go. */
const length = 5000;
const ids = Int32Array.from({ length }, (_, at) => at);
const slopes = Float32Array.from({ length }, (_, at) => at / 8);
const pass: SentPass = {
  ...{ modelId: 'model "1"', sequence: 3, loss: 'ppo', isForwardOnly: false },
  lossConfig: { clip_low_threshold: 0.8 },
  data: [
    { tokens: ids, targets: ids, arrays: { advantages: slopes } },
    { tokens: Int32Array.of(7), targets: Int32Array.of(8), arrays: {} },
  ],
};

async function bodyOf(dialect: 'json' | 'protobuf', isCompressed: boolean) {
  const body = await callOfPass(pass, { dialect, isCompressed }).body?.();
  return { ...body, bytes: Buffer.from(body?.bytes ?? '') };
}

test('a pass in JSON says what it holds, whatever its length', async () => {
  const { bytes, type } = await bodyOf('json', false);
  expect(type).toBe('application/json');
  const input = (tokens: Int32Array) => ({
    chunks: [{ type: 'encoded_text', tokens: [...tokens] }],
  });
  const tensor = (data: readonly number[], dtype: string) => ({
    data,
    dtype,
    shape: [data.length],
  });
  expect(JSON.parse(bytes.toString())).toEqual({
    model_id: 'model "1"',
    seq_id: 3,
    forward_backward_input: {
      ...{ loss_fn: 'ppo', loss_fn_config: { clip_low_threshold: 0.8 } },
      data: [
        {
          model_input: input(ids),
          loss_fn_inputs: {
            target_tokens: tensor([...ids], 'int64'),
            advantages: tensor([...slopes], 'float32'),
          },
        },
        {
          model_input: input(Int32Array.of(7)),
          loss_fn_inputs: { target_tokens: tensor([8], 'int64') },
        },
      ],
    },
  });
});

test('compression is said, and leaves the pass what it is', async () => {
  const whole = Buffer.from(await encodePass(pass));
  const { bytes, encoding } = await bodyOf('protobuf', true);
  expect(encoding).toBe('zstd');
  expect(bytes.length).toBeLessThan(whole.length);
  expect(zstdDecompressSync(bytes).equals(whole)).toBe(true);
  expect(await bodyOf('protobuf', false)).not.toHaveProperty('encoding');
});

test.each(['json', 'protobuf'] as const)(
  'other work goes on while %s is encoded',
  async (dialect) => {
    let turns = 0;
    const count = () => {
      turns += 1;
      next = setImmediate(count);
    };
    let next = setImmediate(count);
    await bodyOf(dialect, false);
    clearImmediate(next);
    expect(turns).toBeGreaterThanOrEqual(1);
  },
);

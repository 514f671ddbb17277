import { expect, test } from 'vitest';
import { decodePass, decodeSample, encodePass } from './protobuf.ts';

/** Bytes that the protocol's own generated classes (Python `tinker` 0.24.1) make of the same values. */
const reference = {
  pass: '0a076d6f64656c5f3110031a440a100a0e0a0c05000000090000002c01000012300a0d7461726765745f746f6b656e73121f0a1809000000000000002c0100000000000002000000000000001802220103220370706f2a1d0a12636c69705f6c6f775f7468726573686f6c64119a9999999999e93f',
  forward: '0a076d6f64656c5f311004220d63726f73735f656e74726f70793001',
  output:
    '0a0b41727261795265636f7264127a123e0a10656c656d656e74776973655f6c6f7373122a0a0c000080bf000000c0000000bf1218000000000000000008000000000000000c00000000000000180112360a086c6f6770726f6273122a0a0c000080bf000000c0000000bf1218000000000000000008000000000000000c00000000000000180118021a130a086c6f73733a73756d11000000000000f83f',
  sample: '0a160801120807000000080000001a08000080bf000000c012080000c07f000080be',
};

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, 'hex'));
const hex = (encoded: Uint8Array) => Buffer.from(encoded).toString('hex');

test('a pass is encoded as the protocol’s own classes encode it', async () => {
  const datum = { tokens: Int32Array.of(5, 9, 300), targets: Int32Array.of(9, 300, 2), arrays: {} };
  const pass = { modelId: 'model_1', sequence: 3, data: [datum], loss: 'ppo' };
  const lossConfig = { clip_low_threshold: 0.8 };
  expect(hex(await encodePass({ ...pass, lossConfig, isForwardOnly: false }))).toBe(reference.pass);
  const forward = { modelId: 'model_1', sequence: 4, data: [], loss: 'cross_entropy' };
  expect(hex(await encodePass({ ...forward, lossConfig: {}, isForwardOnly: true }))).toBe(
    reference.forward,
  );
});

test('the log-probabilities of a result are found by their name, a row per datum', () => {
  expect(decodePass(bytes(reference.output)).map((row) => [...row])).toEqual([[-1, -2], [-0.5]]);
});

test('a sample is decoded, NaN where a prompt’s token has no log-probability', () => {
  const { sequences, promptLogprobs } = decodeSample(bytes(reference.sample));
  expect(sequences).toEqual([
    { tokens: Int32Array.of(7, 8), logprobs: Float32Array.of(-1, -2), stop: 'length' },
  ]);
  expect([...(promptLogprobs ?? [])]).toEqual([Number.NaN, -0.25]);
});

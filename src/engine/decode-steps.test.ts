import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { tinyAdapter, tinyDecoder, tinyTokens } from '../../test/support/tiny-decoder.ts';
import { BoundaryError } from '../errors.ts';
import { noGrad } from './autograd.ts';
import { DecodeSteps } from './decode-steps.ts';
import { disposeDecoder } from './decoder.ts';
import type { Generated, GenerationRequest, SequenceGenerator } from './generation.ts';
import { KvCache } from './kv-cache.ts';
import { disposeAdapter } from './lora.ts';
import { callNative } from './native.ts';
import { PaddedGenerator } from './padded-generator.ts';
import { RowGenerator } from './row-generator.ts';
import { tidy } from './scope.ts';
import { openStepRecorder, type StepRecorder } from './step-recorder.ts';
import { liveTensors } from './tensor.ts';

type Entry = { readonly again: () => unknown; readonly result: unknown };

/** What the addon is asked for while a recording is made. */
const tape = vi.hoisted(() => ({
  entries: undefined as Entry[] | undefined,
  released: [] as number[],
}));

/** What moves values between the host and the device, which would stop a device's recording. */
const hostCalls = ['fromBytes', 'copyIn', 'copyOut', 'item'];

// A device's recorder takes no part of JavaScript with it. This one stands on the CPU: it writes down which operators were
// called on which tensors, keeps these, and calls the same operators again, which write where they wrote before.
vi.mock('./native.ts', async (original) => {
  const native = await original<typeof import('./native.ts')>();
  const taped: typeof native.callNative = (name, ...args) => {
    const { entries } = tape;
    if (entries === undefined) return native.callNative(name, ...args);
    if (hostCalls.includes(name)) throw new BoundaryError('engine', `${name} while recording`);
    if (name === 'release') {
      tape.released.push(args[0] as number);
      return undefined as never;
    }
    const result = native.callNative(name, ...args);
    if (name === 'call' || name === 'loraLinear') {
      entries.push({ again: () => native.callNative(name, ...args), result });
    }
    return result;
  };
  return { ...native, callNative: taped };
});

const copy = () => callNative('findOperator', 'aten::copy_', '');

function replay(entries: readonly Entry[]): void {
  for (const { again, result } of entries) {
    const [before, now] = [result, again()].map((handles) => [handles].flat() as number[]);
    for (const [index, handle] of (now ?? []).entries()) {
      if (handle === 0) continue;
      callNative('call', copy(), before?.[index] ?? 0, handle);
      callNative('release', handle);
    }
  }
}

const counts = { recorded: 0, replayed: 0, dropped: 0 };

const tapeRecorder: StepRecorder = {
  rehearse: (body) => body(),
  record: (body) => {
    const entries: Entry[] = [];
    tape.entries = entries;
    tape.released = [];
    try {
      body();
    } finally {
      tape.entries = undefined;
    }
    const held = tape.released;
    counts.recorded++;
    return {
      replay: () => {
        counts.replayed++;
        replay(entries);
      },
      dispose: () => {
        counts.dropped++;
        for (const handle of held) callNative('release', handle);
      },
    };
  },
};

const liveAtStart = liveTensors();
const decoder = tinyDecoder();
const adapters = [0, 1, 2].map((seed) => tinyAdapter(decoder, { seed, rank: 4 + 4 * (seed % 2) }));

beforeEach(() => Object.assign(counts, { recorded: 0, replayed: 0, dropped: 0 }));

afterAll(() => {
  for (const adapter of adapters) disposeAdapter(adapter);
  disposeDecoder(decoder);
  expect(liveTensors()).toBe(liveAtStart);
});

function request(index: number): GenerationRequest {
  const adapter = adapters[index % 4];
  return {
    prompt: tinyTokens(5 + ((index * 29) % 90), index),
    maxTokens: 10 + ((index * 7) % 30),
    temperature: index % 2,
    seed: index,
    stopTokens: [],
    ...(adapter && { adapter }),
  };
}

/** Six rows, and six more that join when some of the first have left. */
function run(generator: SequenceGenerator): readonly Generated[] {
  const results: Generated[] = [];
  for (let index = 0; index < 6; index++) generator.submit(request(index));
  for (let step = 1; generator.pending > 0; step++) {
    results.push(...generator.step());
    if (step === 20) for (let index = 6; index < 12; index++) generator.submit(request(index));
  }
  generator.dispose();
  return results.sort((left, right) => left.id - right.id);
}

describe('a recorded decode step', () => {
  it('does again what was asked for, with the same bits', () => {
    const plain = run(new PaddedGenerator(decoder));
    const recorded = run(new PaddedGenerator(decoder, { recorder: tapeRecorder }));
    expect(recorded).toEqual(plain);
    expect(counts.recorded).toBeGreaterThan(2);
    // Two steps of a shape come before it is recorded: most are done again all the same.
    expect(counts.replayed).toBeGreaterThan(2 * counts.recorded);
    expect(counts.dropped).toBe(counts.recorded);
  });

  it('draws what the kernels with a cache for each row draw', () => {
    const rows = run(new RowGenerator(decoder));
    const recorded = run(new PaddedGenerator(decoder, { recorder: tapeRecorder }));
    for (const [index, { tokens, logprobs }] of recorded.entries()) {
      expect(tokens).toEqual(rows[index]?.tokens);
      const expected = rows[index]?.logprobs ?? [];
      const gaps = logprobs.map((value, at) => Math.abs(value - (expected[at] ?? 0)));
      expect(Math.max(...gaps)).toBeLessThan(1e-5);
    }
  });

  it('is recorded anew when an adapter was written to', () => {
    const generator = new PaddedGenerator(decoder, { recorder: tapeRecorder });
    const own = tinyAdapter(decoder, { seed: 8 });
    const ask = (by: SequenceGenerator): Generated | undefined => {
      by.submit({ ...request(3), adapter: own, temperature: 0 });
      let result: Generated | undefined;
      while (by.pending > 0) [result] = by.step();
      return result;
    };
    const before = ask(generator);
    const { b } = [...own.modules.values()][0] ?? {};
    b?.copyFrom(b.toFloat32Array().map((value) => -3 * value));
    const after = ask(generator);
    const fresh = new PaddedGenerator(decoder);
    expect(after?.logprobs).toEqual(ask(fresh)?.logprobs);
    expect(after?.logprobs).not.toEqual(before?.logprobs);
    expect(counts.recorded).toBeGreaterThan(1);
    generator.dispose();
    fresh.dispose();
    disposeAdapter(own);
  });

  it('is forgotten when many other shapes were used since', () => {
    const plain = { ...decoder, hasKernels: false };
    const cache = new KvCache(plain);
    cache.reserve(72, 512);
    const steps = new DecodeSteps(plain, cache, { recorder: tapeRecorder });
    const fill = (rows: number, value: number) => Array<number>(rows).fill(value);
    noGrad(() => {
      for (let shape = 0; shape < 66; shape++) {
        const rows = 8 * (1 + (shape % 9));
        const length = 64 * (1 + Math.floor(shape / 9));
        const columns = { tokens: fill(rows, 5), positions: fill(rows, 0), owners: fill(rows, 0) };
        for (let step = 0; step < 3; step++) {
          tidy(() => {
            steps.run({ rows, length, bank: undefined, ...columns });
          });
        }
      }
    });
    expect(counts).toEqual({ recorded: 66, replayed: 66, dropped: 2 });
    steps.forget();
    cache.dispose();
    expect(counts.dropped).toBe(66);
  });
});

describe('a recording that fails', () => {
  const refuse = (): never => {
    throw new BoundaryError('engine', 'operation not permitted when stream is capturing');
  };

  it.each<[string, StepRecorder]>([
    ['before it', { ...tapeRecorder, rehearse: refuse }],
    [
      'while it is made',
      {
        ...tapeRecorder,
        record: (body) =>
          tapeRecorder.record(() => {
            body();
            refuse();
          }),
      },
    ],
    [
      'when it is done again',
      { ...tapeRecorder, record: (body) => ({ ...tapeRecorder.record(body), replay: refuse }) },
    ],
  ])('%s is told of once, and the sequences are those without it', (when, failing) => {
    const notes: string[] = [];
    const note = (text: string) => void notes.push(text);
    const results = run(new PaddedGenerator(decoder, { recorder: failing, note }));
    // No recording came of these, so nothing else lets go of them.
    if (when === 'while it is made') {
      for (const handle of tape.released) callNative('release', handle);
    }
    expect(results).toEqual(run(new PaddedGenerator(decoder)));
    expect(notes).toEqual([
      'recording a decode step failed, so every token is computed operator by operator from here on: operation not permitted when stream is capturing',
    ]);
  });
});

describe('the recorder of a device', () => {
  it('is not there on the CPU, which is said in one sentence', () => {
    const notes: string[] = [];
    expect(openStepRecorder('cpu', (text) => void notes.push(text))).toBeUndefined();
    expect(notes).toEqual([
      expect.stringMatching(
        /^model\.decodeGraphs changes nothing here: libtorch \d\S* has no graphs for the device cpu, so every token is computed operator by operator$/,
      ),
    ]);
  });

  it('names what it was asked for when libtorch cannot do it', () => {
    expect(() => callNative('beginRecording', 'cpu')).toThrow('cannot record what is asked of');
    expect(() => callNative('endRecording')).toThrow('endRecording: nothing is being recorded');
    expect(() => callNative('replayRecording', 7)).toThrow(
      'replayRecording: recording 7 is not there',
    );
    expect(() => callNative('dropRecording', 7)).toThrow('recording 7 is not there');
    callNative('abandonRecording');
    callNative('stepBack');
  });
});

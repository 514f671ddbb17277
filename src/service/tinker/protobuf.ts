import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { createPace } from './pace.ts';

/** Data type numbers of the schema. */
const float32 = 1;
const int64 = 2;
/** Of the arrays as they are sent, most of them: what is put together in a turn need not be exact. */
const bytesPerNumber = 4;

/** A datum as it is sent: token ids and named arrays, one entry per target. */
export type SentDatum = {
  readonly tokens: Int32Array;
  readonly targets: Int32Array;
  readonly arrays: Readonly<Record<string, Float32Array>>;
};

export type SentPass = {
  readonly modelId: string;
  readonly sequence: number;
  readonly data: readonly SentDatum[];
  readonly loss: string;
  readonly lossConfig: Readonly<Record<string, number>>;
  readonly isForwardOnly: boolean;
};

/**
 * `ForwardBackwardRequest` of the package `tinker_public`, proto3: 1 model_id, 2 seq_id, 3 data, 4 loss_fn,
 * 5 loss_fn_config, 6 forward_only. Put together from pieces, of which the large ones are the arrays' own memory: what is
 * copied more than once keeps the collector busier than the encoding, and everybody else waiting.
 */
export async function encodePass(pass: SentPass): Promise<Uint8Array<ArrayBuffer>> {
  const head = new BinaryWriter();
  head.tag(1, WireType.LengthDelimited).string(pass.modelId);
  head.tag(2, WireType.Varint).int32(pass.sequence);
  const data = pass.data.map((datum) => field(3, encodeDatum(datum)));
  const tail = new BinaryWriter().tag(4, WireType.LengthDelimited).string(pass.loss);
  for (const [name, value] of Object.entries(pass.lossConfig)) {
    tail.tag(5, WireType.LengthDelimited).fork();
    tail.tag(1, WireType.LengthDelimited).string(name);
    tail.tag(2, WireType.Bit64).double(value).join();
  }
  if (pass.isForwardOnly) tail.tag(6, WireType.Varint).bool(true);
  return joined([[head.finish()], ...data, [tail.finish()]]);
}

type Pieces = readonly Uint8Array[];

function lengthOf(pieces: Pieces): number {
  return pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** A field that holds the pieces one after another. */
function field(number: number, pieces: Pieces): Pieces {
  const head = new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(lengthOf(pieces));
  return [head.finish(), ...pieces];
}

async function joined(messages: readonly Pieces[]): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(messages.reduce((sum, pieces) => sum + lengthOf(pieces), 0));
  const pace = createPace();
  let at = 0;
  for (const pieces of messages) {
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.byteLength;
    }
    await pace(lengthOf(pieces) / bytesPerNumber);
  }
  return bytes;
}

/** `Datum`: 1 chunks of the input, each with 1 encoded text, with 1 tokens as int32; 2 named tensors. */
function encodeDatum({ tokens, targets, arrays }: SentDatum): Pieces {
  const wide = { bytes: bytesOf(widened(targets)), type: int64, length: targets.length };
  return [
    ...field(1, field(1, field(1, [bytesOf(tokens)]))),
    ...encodeTensor('target_tokens', wide),
    ...Object.entries(arrays).flatMap(([name, values]) =>
      encodeTensor(name, { bytes: bytesOf(values), type: float32, length: values.length }),
    ),
  ];
}

/** Token ids as int64, each as two int32: an array of `BigInt` takes several times as long to make. */
function widened(ids: Int32Array): Int32Array {
  const halves = new Int32Array(2 * ids.length);
  ids.forEach((id, at) => {
    halves[2 * at] = id;
  });
  return halves;
}

/** An entry of a map to `Tensor`: 1 dense bytes, 3 data type, 4 shape (packed). */
function encodeTensor(
  name: string,
  tensor: { readonly bytes: Uint8Array; readonly type: number; readonly length: number },
): Pieces {
  const key = new BinaryWriter().tag(1, WireType.LengthDelimited).string(name);
  const shape = new BinaryWriter().tag(3, WireType.Varint).int32(tensor.type);
  shape.tag(4, WireType.LengthDelimited).fork().int64(tensor.length).join();
  const value = [...field(1, [tensor.bytes]), shape.finish()];
  return field(2, [key.finish(), ...field(2, value)]);
}

/** The bytes of the array itself, little-endian as every machine that Node runs on. */
function bytesOf(array: Int32Array | Float32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** Each field of a message with a reader that stands at its value. */
function eachField(bytes: Uint8Array, use: (field: number, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (!use(field, reader)) reader.skip(wireType, field);
  }
}

/** The log-probabilities of `ForwardBackwardOutput`, a row per datum. */
export function decodePass(bytes: Uint8Array): readonly Float32Array[] {
  const rows: Float32Array[] = [];
  eachField(bytes, (field, reader) => {
    if (field !== 2) return false;
    eachField(reader.bytes(), (inner, record) => {
      if (inner !== 2) return false;
      const { name, value } = decodeEntry(record.bytes());
      if (name === 'logprobs') rows.push(...decodeBatch(value));
      return true;
    });
    return true;
  });
  return rows;
}

function decodeEntry(bytes: Uint8Array): { readonly name: string; readonly value: Uint8Array } {
  let name = '';
  let value: Uint8Array = new Uint8Array();
  eachField(bytes, (field, reader) => {
    if (field === 1) name = reader.string();
    else if (field === 2) value = reader.bytes();
    else return false;
    return true;
  });
  return { name, value };
}

/** `BatchedTensor`: 1 data of all datums, 2 byte offsets as int64, one more than datums. */
function decodeBatch(bytes: Uint8Array): readonly Float32Array[] {
  let data: Uint8Array = new Uint8Array();
  let offsets: Uint8Array = new Uint8Array();
  eachField(bytes, (field, reader) => {
    if (field === 1) data = reader.bytes();
    else if (field === 2) offsets = reader.bytes();
    else return false;
    return true;
  });
  const places = Array.from(new BigInt64Array(aligned(offsets)), Number);
  const floats = new Float32Array(aligned(data));
  return places.slice(0, -1).map((start, row) => {
    return floats.slice(start / 4, (places[row + 1] ?? start) / 4);
  });
}

/** A copy that starts where a wider type may. */
function aligned(bytes: Uint8Array): ArrayBuffer {
  return bytes.slice().buffer;
}

/** A sampled sequence, and log-probabilities of the prompt where they were asked for, NaN for none. */
export type DecodedSample = {
  readonly tokens: Int32Array;
  /** Absent where the server sent none. */
  readonly logprobs?: Float32Array;
  readonly stop: 'stop' | 'length';
};

/** `SampleResponse`: 1 sequences (1 stop reason, 2 tokens, 3 logprobs), 2 logprobs of the prompt. */
export function decodeSample(bytes: Uint8Array): {
  readonly sequences: readonly DecodedSample[];
  readonly promptLogprobs?: Float32Array;
} {
  const sequences: DecodedSample[] = [];
  let promptLogprobs: Float32Array | undefined;
  eachField(bytes, (field, reader) => {
    if (field === 1) sequences.push(decodeSequence(reader.bytes()));
    else if (field === 2) promptLogprobs = new Float32Array(aligned(reader.bytes()));
    else return false;
    return true;
  });
  return { sequences, ...(promptLogprobs && { promptLogprobs }) };
}

function decodeSequence(bytes: Uint8Array): DecodedSample {
  let tokens = new Int32Array();
  let logprobs: Float32Array | undefined;
  let reason = 0;
  eachField(bytes, (field, reader) => {
    if (field === 1) reason = reader.int32();
    else if (field === 2) tokens = new Int32Array(aligned(reader.bytes()));
    else if (field === 3) logprobs = new Float32Array(aligned(reader.bytes()));
    else return false;
    return true;
  });
  return { tokens, stop: reason === 0 ? 'stop' : 'length', ...(logprobs && { logprobs }) };
}

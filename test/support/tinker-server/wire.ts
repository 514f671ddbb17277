import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { z } from 'zod';

const tensor = z.object({ data: z.array(z.number()) });

/** A pass as a server reads it, from either dialect. */
export const passRequest = z.object({
  model_id: z.string(),
  seq_id: z.number().int().positive(),
  input: z.object({
    data: z.array(
      z.object({
        model_input: z.object({
          chunks: z.array(z.object({ type: z.literal('encoded_text'), tokens: z.array(z.int()) })),
        }),
        loss_fn_inputs: z.record(z.string(), tensor),
      }),
    ),
    loss_fn: z.string(),
    loss_fn_config: z.record(z.string(), z.number()).optional(),
  }),
});
export type PassRequest = z.output<typeof passRequest>;
type WireDatum = PassRequest['input']['data'][number];

/** What a pass or a sample came to, as JSON has it. */
export type PassOutput = {
  readonly loss_fn_output_type: string;
  readonly loss_fn_outputs: readonly {
    readonly logprobs: { data: number[]; dtype: 'float32'; shape: number[] };
  }[];
  readonly metrics: Readonly<Record<string, number>>;
};
export type SampleOutput = {
  readonly sequences: readonly {
    readonly tokens: readonly number[];
    readonly logprobs: readonly number[];
    readonly stop_reason: 'stop' | 'length';
  }[];
  readonly prompt_logprobs?: readonly (number | null)[];
};

function fieldsOf(
  bytes: Uint8Array,
): readonly { readonly field: number; readonly value: unknown }[] {
  const reader = new BinaryReader(bytes);
  const fields: { field: number; value: unknown }[] = [];
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    const value =
      type === WireType.LengthDelimited
        ? reader.bytes()
        : type === WireType.Bit64
          ? reader.double()
          : reader.int32();
    fields.push({ field, value });
  }
  return fields;
}

const all = (bytes: Uint8Array, field: number) =>
  fieldsOf(bytes).flatMap((each) => (each.field === field ? [each.value as Uint8Array] : []));
const one = (bytes: Uint8Array, field: number) => all(bytes, field)[0] ?? new Uint8Array();
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** `ForwardBackwardRequest` as the JSON that means the same. */
export function decodePassRequest(bytes: Uint8Array): { pass: unknown; isForwardOnly: boolean } {
  const number = (field: number) => fieldsOf(bytes).find((each) => each.field === field)?.value;
  const config = all(bytes, 5).map((entry) => {
    const value = fieldsOf(entry).find(({ field }) => field === 2)?.value;
    return [textOf(one(entry, 1)), value] as const;
  });
  const input = {
    data: all(bytes, 3).map(decodeDatum),
    loss_fn: textOf(one(bytes, 4)),
    ...(config.length > 0 && { loss_fn_config: Object.fromEntries(config) }),
  };
  const pass = { model_id: textOf(one(bytes, 1)), seq_id: number(2), input };
  return { pass, isForwardOnly: number(6) === 1 };
}

function decodeDatum(bytes: Uint8Array): WireDatum {
  const chunks = all(bytes, 1).map((chunk) => ({
    type: 'encoded_text' as const,
    tokens: [...new Int32Array(one(one(chunk, 1), 1).slice().buffer)],
  }));
  const tensors = all(bytes, 2).map((entry) => {
    const value = one(entry, 2);
    const dense = one(value, 1).slice().buffer;
    const type = fieldsOf(value).find(({ field }) => field === 3)?.value;
    const data =
      type === 2 ? Array.from(new BigInt64Array(dense), Number) : [...new Float32Array(dense)];
    return [textOf(one(entry, 1)), { data }] as const;
  });
  return { model_input: { chunks }, loss_fn_inputs: Object.fromEntries(tensors) };
}

/** `ForwardBackwardOutput`. */
export function encodePassOutput({ loss_fn_outputs, metrics }: PassOutput): Uint8Array {
  const rows = loss_fn_outputs.map(({ logprobs }) => Float32Array.from(logprobs.data));
  const offsets = [0];
  for (const row of rows) offsets.push((offsets.at(-1) ?? 0) + row.byteLength);
  const data = Buffer.concat(rows.map((row) => Buffer.from(row.buffer)));
  const batched = new BinaryWriter();
  batched.tag(1, WireType.LengthDelimited).bytes(data);
  const places = BigInt64Array.from(offsets, BigInt);
  batched.tag(2, WireType.LengthDelimited).bytes(new Uint8Array(places.buffer));
  batched.tag(3, WireType.Varint).int32(1);
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string('ArrayRecord');
  writer.tag(2, WireType.LengthDelimited).fork();
  writer.tag(2, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.LengthDelimited).string('logprobs');
  writer.tag(2, WireType.LengthDelimited).bytes(batched.finish()).join();
  writer.tag(3, WireType.Varint).int64(rows.length).join();
  for (const [name, value] of Object.entries(metrics)) {
    writer.tag(3, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(name);
    writer.tag(2, WireType.Bit64).double(value).join();
  }
  return writer.finish();
}

/** `SampleResponse`. */
export function encodeSampleOutput({ sequences, prompt_logprobs }: SampleOutput): Uint8Array {
  const writer = new BinaryWriter();
  for (const { tokens, logprobs, stop_reason } of sequences) {
    writer.tag(1, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.Varint).int32(stop_reason === 'stop' ? 0 : 1);
    writer.tag(2, WireType.LengthDelimited).bytes(bytesOf(Int32Array.from(tokens)));
    writer
      .tag(3, WireType.LengthDelimited)
      .bytes(bytesOf(Float32Array.from(logprobs)))
      .join();
  }
  if (prompt_logprobs) {
    const values = Float32Array.from(prompt_logprobs, (each) => each ?? Number.NaN);
    writer.tag(2, WireType.LengthDelimited).bytes(bytesOf(values));
  }
  return writer.finish();
}

function bytesOf(array: Int32Array | Float32Array): Uint8Array {
  return new Uint8Array(array.buffer);
}

import { promisify } from 'node:util';
import { zstdCompress } from 'node:zlib';
import type { Call } from './connection.ts';
import { createPace, numbersPerTurn } from './pace.ts';
import { encodePass, type SentDatum, type SentPass } from './protobuf.ts';

/** Limits of one request, those of the protocol's own client. */
const mostData = 1024;
const mostBytes = 5_000_000;
/** Rough size of an entry of an array with all its fields, of either dialect: a chunk must only not be far too large. */
const bytesPerToken = { json: 40, protobuf: 24 } as const;

export type Dialect = keyof typeof bytesPerToken;

/** The data in parts that one request may hold, in order. */
export function chunkData(data: readonly SentDatum[], dialect: Dialect): readonly SentDatum[][] {
  const chunks: SentDatum[][] = [];
  let bytes = 0;
  for (const datum of data) {
    const size = sizeOf(datum, dialect);
    const last = chunks.at(-1);
    if (last === undefined || last.length >= mostData || bytes + size > mostBytes) {
      chunks.push([datum]);
      bytes = size;
    } else {
      last.push(datum);
      bytes += size;
    }
  }
  return chunks;
}

/** About how many bytes a datum takes. */
export function sizeOf({ tokens }: SentDatum, dialect: Dialect): number {
  return tokens.length * bytesPerToken[dialect];
}

/**
 * Where a pass is sent and how its body is made: in pieces, so that other work goes on meanwhile.
 *
 * @param form.isCompressed with zstd, which is known in protobuf alone
 */
export function callOfPass(
  pass: SentPass,
  { dialect, isCompressed }: { readonly dialect: Dialect; readonly isCompressed: boolean },
): Pick<Call, 'path' | 'body' | 'accept'> {
  if (dialect === 'json') {
    const path = pass.isForwardOnly ? '/forward' : '/forward_backward';
    return {
      path,
      body: async () => ({ bytes: await passAsJson(pass), type: 'application/json' }),
    };
  }
  return {
    ...{ path: '/forward_backward', accept: protobufType },
    body: async () => {
      const bytes = await encodePass(pass);
      if (!isCompressed) return { bytes, type: protobufType };
      return {
        bytes: Uint8Array.from(await compress(bytes)),
        type: protobufType,
        encoding: 'zstd',
      };
    },
  };
}

const compress = promisify(zstdCompress);

export const protobufType = 'application/x-protobuf';

/** Put together from its parts: an array of numbers is written faster than by `JSON.stringify` of a copy of it. */
async function passAsJson(pass: SentPass): Promise<Uint8Array<ArrayBuffer>> {
  const { modelId, sequence, loss, lossConfig, isForwardOnly } = pass;
  const name = isForwardOnly ? 'forward_input' : 'forward_backward_input';
  const config =
    Object.keys(lossConfig).length === 0 ? '' : `,"loss_fn_config":${JSON.stringify(lossConfig)}`;
  const pace = createPace();
  const parts = [
    Buffer.from(`{"model_id":${JSON.stringify(modelId)},"seq_id":${sequence},"${name}":{"data":[`),
  ];
  for (const [row, datum] of pass.data.entries()) {
    parts.push(Buffer.from(`${row === 0 ? '' : ','}${await datumAsJson(datum, pace)}`));
  }
  parts.push(Buffer.from(`],"loss_fn":"${loss}"${config}}}`));
  return Buffer.concat(parts);
}

type Pace = ReturnType<typeof createPace>;

async function datumAsJson({ tokens, targets, arrays }: SentDatum, pace: Pace): Promise<string> {
  const input = `{"model_input":{"chunks":[{"type":"encoded_text","tokens":[${await listed(tokens, pace)}]}]}`;
  const tensors = [
    tensorAsJson('target_tokens', 'int64', targets.length, await listed(targets, pace)),
  ];
  for (const [name, values] of Object.entries(arrays)) {
    tensors.push(tensorAsJson(name, 'float32', values.length, await listed(values, pace)));
  }
  return `${input},"loss_fn_inputs":{${tensors.join(',')}}}`;
}

function tensorAsJson(name: string, type: string, length: number, list: string): string {
  return `"${name}":{"data":[${list}],"dtype":"${type}","shape":[${length}]}`;
}

/** The numbers with commas between them. */
async function listed(values: Int32Array | Float32Array, pace: Pace): Promise<string> {
  const parts: string[] = [];
  for (let from = 0; from < values.length; from += numbersPerTurn) {
    const part = values.subarray(from, from + numbersPerTurn);
    parts.push(part.join(','));
    await pace(part.length);
  }
  return parts.join(',');
}

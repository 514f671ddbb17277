import type { Call } from './connection.ts';
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
    const size = datum.tokens.length * bytesPerToken[dialect];
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

/** Where a pass is sent and how its body is made. */
export function callOfPass(
  pass: SentPass,
  dialect: Dialect,
): Pick<Call, 'path' | 'body' | 'accept'> {
  if (dialect === 'json') {
    const path = pass.isForwardOnly ? '/forward' : '/forward_backward';
    return { path, body: () => ({ bytes: passAsJson(pass), type: 'application/json' }) };
  }
  return {
    path: '/forward_backward',
    accept: protobufType,
    body: () => ({ bytes: encodePass(pass), type: protobufType }),
  };
}

export const protobufType = 'application/x-protobuf';

/** Put together from its parts: an array of numbers is written faster than by `JSON.stringify` of a copy of it. */
function passAsJson(pass: SentPass): string {
  const { modelId, sequence, loss, lossConfig, isForwardOnly } = pass;
  const name = isForwardOnly ? 'forward_input' : 'forward_backward_input';
  const config =
    Object.keys(lossConfig).length === 0 ? '' : `,"loss_fn_config":${JSON.stringify(lossConfig)}`;
  const data = pass.data.map(datumAsJson).join(',');
  return `{"model_id":${JSON.stringify(modelId)},"seq_id":${sequence},"${name}":{"data":[${data}],"loss_fn":"${loss}"${config}}}`;
}

function datumAsJson({ tokens, targets, arrays }: SentDatum): string {
  const tensors = Object.entries(arrays).map(
    ([name, values]) =>
      `,"${name}":{"data":[${values.join(',')}],"dtype":"float32","shape":[${values.length}]}`,
  );
  const target = `"target_tokens":{"data":[${targets.join(',')}],"dtype":"int64","shape":[${targets.length}]}`;
  return `{"model_input":{"chunks":[{"type":"encoded_text","tokens":[${tokens.join(',')}]}]},"loss_fn_inputs":{${target}${tensors.join('')}}}`;
}

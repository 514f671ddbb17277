import { lossNeeds } from '../../engine/losses.ts';
import { BoundaryError } from '../../errors.ts';
import type { Datum, Loss } from '../../types/training-service.ts';

/** What the model can take. */
export type DataLimits = { readonly vocabSize: number; readonly maxPositions: number };

/**
 * Refuses data that would train on something other than what the caller meant.
 *
 * @param loss absent for a forward pass, which reads tokens only
 * @throws BoundaryError("engine") naming the datum and the position
 */
export function checkData(data: readonly Datum[], limits: DataLimits, loss?: Loss): void {
  if (data.length === 0) {
    throw new BoundaryError('engine', 'Expected at least one datum, got an empty list');
  }
  if (loss?.kind === 'dpo' && data.length % 2 !== 0) {
    throw new BoundaryError(
      'engine',
      `the loss dpo takes pairs, preferred then rejected; got ${data.length} datums`,
    );
  }
  data.forEach((datum, index) => {
    checkLengths(datum, index);
    checkTokens(datum.input, `datum ${index} input`, limits);
    checkTokens(datum.target, `datum ${index} target`, limits);
    if (loss !== undefined) checkNumbers(datum, index, loss);
  });
}

const fields = [
  'target',
  'weights',
  'advantages',
  'oldLogprobs',
  'referenceLogprobs',
  'returns',
  'oldValues',
] as const satisfies readonly (keyof Datum)[];

function checkLengths(datum: Datum, index: number): void {
  const length = datum.input.length;
  if (length === 0) throw new BoundaryError('engine', `datum ${index} has no tokens`);
  for (const field of fields) {
    const found = datum[field]?.length ?? length;
    if (found !== length) {
      throw new BoundaryError(
        'engine',
        `datum ${index}: ${field} has ${found} entries and input has ${length}; all arrays of a datum have one length`,
      );
    }
  }
}

/**
 * Refuses ids outside the vocabulary and sequences longer than the model has positions for.
 *
 * @param where the sequence's name in messages
 */
export function checkTokens(tokens: Int32Array, where: string, limits: DataLimits): void {
  if (tokens.length > limits.maxPositions) {
    throw new BoundaryError(
      'engine',
      `${where} has ${tokens.length} tokens; the model has positions for ${limits.maxPositions}`,
    );
  }
  const position = tokens.findIndex((token) => token < 0 || token >= limits.vocabSize);
  if (position >= 0) {
    throw new BoundaryError(
      'engine',
      `${where}: token id ${tokens[position]} at position ${position} is outside the vocabulary of ${limits.vocabSize}`,
    );
  }
}

/** Masked tokens may hold anything but a weight: they are never read. */
function checkNumbers(datum: Datum, index: number, loss: Loss): void {
  const { weights } = datum;
  if (weights !== undefined) checkFinite(weights, `datum ${index}: weights`, () => true);
  for (const field of lossNeeds(loss)) {
    const values = datum[field];
    if (values === undefined) {
      throw new BoundaryError('engine', `datum ${index}: the loss ${loss.kind} needs ${field}`);
    }
    checkFinite(values, `datum ${index}: ${field}`, (position) => weights?.[position] !== 0);
  }
}

function checkFinite(
  values: Float32Array,
  where: string,
  isRead: (position: number) => boolean,
): void {
  const position = values.findIndex((value, at) => !Number.isFinite(value) && isRead(at));
  if (position >= 0) {
    throw new BoundaryError(
      'engine',
      `${where} is ${values[position]} at position ${position}; expected a finite number`,
    );
  }
}

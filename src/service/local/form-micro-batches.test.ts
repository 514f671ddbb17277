import { describe, expect, it } from 'vitest';
import { formMicroBatches } from './form-micro-batches.ts';

describe('formMicroBatches', () => {
  it('puts rows of similar length together within the budget', () => {
    // Sorted: 2 (row 1), 3 (row 3), 5 (row 0), 9 (row 2). 2 + 3 + 5 fits 12, with 9 it does not.
    expect(formMicroBatches([5, 2, 9, 3], 12)).toEqual([[1, 3, 0], [2]]);
  });

  it('keeps the order of rows of one length', () => {
    expect(formMicroBatches([4, 4, 4], 8)).toEqual([[0, 1], [2]]);
  });

  it('gives a row above the budget a group of its own', () => {
    expect(formMicroBatches([100, 1], 10)).toEqual([[1], [0]]);
  });

  it('makes no group of no rows', () => {
    expect(formMicroBatches([], 10)).toEqual([]);
  });
});

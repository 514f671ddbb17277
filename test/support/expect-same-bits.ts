import { expect } from 'vitest';
import { describeEngine } from '../../src/engine/native.ts';

/** Numbers that a library's matrix product gave: where it cannot be held to one order of summing, rounding may differ. */
const rounding = 1e-5;

/** Whether a row of a library's matrix product has the same bits beside any other rows: MKL does as it is told. */
export function hasSteadyProducts(): boolean {
  return /BLAS_INFO=mkl/.test(describeEngine().build);
}

/**
 * The same bits, where products are steady; of another library than MKL (OpenBLAS under Debian's libtorch) only rounding may
 * differ.
 */
export function expectSameBits(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  if (hasSteadyProducts()) {
    expect(Array.from(actual)).toEqual(Array.from(expected));
    return;
  }
  expect(actual.length).toBe(expected.length);
  const gaps = Array.from(actual, (value, at) => Math.abs(value - (expected[at] ?? Number.NaN)));
  expect(Math.max(0, ...gaps)).toBeLessThan(rounding);
}

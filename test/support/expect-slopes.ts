import { expect } from 'vitest';

/** Slopes in float32 are compared to six digits. */
export function expectSlopes(actual: Float32Array, expected: readonly number[]): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((slope, index) => {
    expect(actual[index]).toBeCloseTo(slope, 6);
  });
}

import { expect, test } from 'vitest';
import { zeros } from './ops.ts';
import { explainOutOfMemory } from './out-of-memory.ts';
import { tidy } from './scope.ts';

test('an allocation that the machine cannot serve says which knob to turn', () => {
  // 4 bytes each: 40 terabytes.
  const tooLarge = () => tidy(() => zeros([10_000_000_000_000]));
  expect(tooLarge).toThrow(/out of memory on the CPU, asked for 37252\.9 GiB: lower model\.micro/);
  expect(tooLarge).toThrow(expect.objectContaining({ name: 'BoundaryError', boundary: 'engine' }));
});

test('less than a gibibyte is told in mebibytes', () => {
  const message =
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 17432576 bytes. Error code 12";
  expect(explainOutOfMemory(message)).toMatch(/^out of memory on the CPU, asked for 16\.6 MiB: /);
});

test("libtorch's words for a full GPU are understood", () => {
  const message =
    'CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.94 GiB is free.';
  expect(explainOutOfMemory(message)).toMatch(
    /^out of memory on the GPU, asked for 2\.50 GiB: lower/,
  );
  expect(explainOutOfMemory('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x')).toMatch(
    /^out of memory on the GPU: lower/,
  );
});

test('other refusals stay as they are', () => {
  expect(explainOutOfMemory('aten::mm: mat1 and mat2 shapes cannot be multiplied')).toBeUndefined();
});

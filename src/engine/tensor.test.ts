import { describe, expect, it } from 'vitest';
import { BoundaryError } from '../errors.ts';
import { aten, atenAll, hasOperator } from './aten.ts';
import { backward, gradOf, noGrad, requireGrad, requiresGrad, setGrad } from './autograd.ts';
import { describeEngine } from './native.ts';
import { add, matmul, multiply, sum, zeros } from './ops.ts';
import { keep, tidy } from './scope.ts';
import {
  indexTensor,
  liveBytes,
  liveTensors,
  type Tensor,
  tensorOf,
  tensorOfBytes,
} from './tensor.ts';

describe('operators', () => {
  it('multiply matrices as by hand', () => {
    const result = tidy(() =>
      matmul(tensorOf([1, 2, 3, 4], [2, 2]), tensorOf([5, 6, 7, 8], [2, 2])).toFloat32Array(),
    );
    expect([...result]).toEqual([19, 22, 43, 50]);
  });

  it('name the operator, the shapes and the dtypes when libtorch refuses', () => {
    tidy(() => {
      const left = tensorOf([1, 2, 3, 4], [2, 2]);
      const right = tensorOf([1, 2, 3], [3, 1]);
      expect(() => aten('mm', left, right)).toThrow(BoundaryError);
      expect(() => aten('mm', left, right)).toThrow(
        'aten::mm(self float32[2,2], mat2 float32[3,1]): mat1 and mat2 shapes cannot be multiplied (2x2 and 3x1)',
      );
      expect(() => aten('mm', left, right)).not.toThrow(/\.cpp|frame #/);
    });
  });

  it('name the argument when JavaScript gives the wrong kind of value', () => {
    tidy(() => {
      const tensor = zeros([2]);
      expect(() => aten('mm', tensor, 3)).toThrow('argument `mat2` expects a tensor, got 3');
      expect(() => aten('mm', tensor)).toThrow('argument `mat2` (tensor) is missing');
      expect(() => aten('softmax.int', tensor, 0.5)).toThrow('expected an integer, got 0.5');
      expect(() => aten('no_such_operator', tensor)).toThrow('no_such_operator');
      expect(() => aten('neg', tensor, 1, 2)).toThrow('takes 1 arguments, got 3');
    });
  });

  it('take lists with holes, and return several tensors', () => {
    tidy(() => {
      const table = tensorOf([1, 2, 3, 4, 5, 6], [2, 3]);
      const columns = aten('index.Tensor', table, [null, indexTensor([2, 0], [2])]);
      expect([...columns.toFloat32Array()]).toEqual([3, 1, 6, 4]);
      const [values, indices] = atenAll('max.dim', table, 1);
      expect([...(values?.toFloat32Array() ?? [])]).toEqual([3, 6]);
      expect([...(indices?.toBigInt64Array() ?? [])]).toEqual([2n, 2n]);
    });
  });

  it('write in place into their first argument and return it', () => {
    tidy(() => {
      const tensor = tensorOf([1, 2], [2]);
      const before = liveTensors();
      expect(aten('mul_.Scalar', tensor, 3)).toBe(tensor);
      expect(liveTensors()).toBe(before);
      expect([...tensor.toFloat32Array()]).toEqual([3, 6]);
    });
  });

  it('are found or not found by name', () => {
    expect(hasOperator('add.Tensor')).toBe(true);
    expect(hasOperator('add.Nothing')).toBe(false);
  });
});

describe('a tensor', () => {
  it('keeps the bits of bfloat16', () => {
    tidy(() => {
      const tensor = tensorOfBytes(new Uint16Array([0x3f80, 0xc040]), [2], { dtype: 'bfloat16' });
      expect(tensor.dtype).toBe('bfloat16');
      expect([...new Uint16Array(tensor.toBytes().buffer)]).toEqual([0x3f80, 0xc040]);
      const wide = aten('_to_copy', tensor, 6);
      expect([...wide.toFloat32Array()]).toEqual([1, -3]);
    });
  });

  it('refuses an array of another size than its shape', () => {
    expect(() => tensorOf([1, 2, 3], [2, 2])).toThrow(
      'float32[2,2] takes 16 bytes, the array has 12',
    );
  });

  it('refuses to be read as another dtype', () => {
    tidy(() => {
      const tensor = indexTensor([7], [1]);
      expect(() => tensor.toFloat32Array()).toThrow(
        'expected a float32 tensor to read, got int64[1]',
      );
    });
  });

  it('says so when it is used after it was freed', () => {
    const tensor = zeros([2, 3]);
    expect(tensor.shape).toEqual([2, 3]);
    tensor.dispose();
    tensor.dispose();
    expect(() => add(tensor, 1)).toThrow('a tensor of shape [2,3] is used after it was freed');
  });

  it('is overwritten and read in place', () => {
    tidy(() => {
      const tensor = zeros([2]);
      tensor.copyFrom(Float32Array.from([4, 5]));
      const target = new Float32Array(2);
      expect([...tensor.copyInto(target)]).toEqual([4, 5]);
      expect(sum(tensor).item()).toBe(9);
    });
  });
});

describe('tidy', () => {
  it('frees everything but the result, through nested scopes', () => {
    const before = liveTensors();
    const result = tidy(() => {
      const inner = tidy(() => ({ list: [add(zeros([3]), 1)], count: 3 }));
      expect(liveTensors()).toBe(before + 1);
      return multiply(inner.list[0] as Tensor, 2);
    });
    expect(liveTensors()).toBe(before + 1);
    expect([...result.toFloat32Array()]).toEqual([2, 2, 2]);
    result.dispose();
    expect(liveTensors()).toBe(before);
  });

  it('frees everything when its function throws', () => {
    const before = liveTensors();
    expect(() =>
      tidy(() => {
        zeros([5]);
        throw new Error('in the middle');
      }),
    ).toThrow('in the middle');
    expect(liveTensors()).toBe(before);
  });

  it('leaves kept tensors alive', () => {
    const before = liveTensors();
    const kept: Tensor[] = [];
    tidy(() => {
      kept.push(keep(zeros([2])));
    });
    expect(liveTensors()).toBe(before + 1);
    for (const tensor of kept) tensor.dispose();
    expect(liveTensors()).toBe(before);
  });

  it('refuses a promise', () => {
    expect(() => tidy(async () => zeros([1]))).toThrow('synchronous');
  });

  it('counts the memory of views once', () => {
    tidy(() => {
      const before = liveBytes();
      const tensor = zeros([256]);
      aten('view', tensor, [16, 16]);
      expect(liveBytes() - before).toBe(1024);
    });
  });
});

describe('autograd', () => {
  it('gives the gradient of a sum of squares, adds it up and forgets it', () => {
    tidy(() => {
      const leaf = requireGrad(tensorOf([1, -2], [2]));
      backward(sum(multiply(leaf, leaf)));
      expect([...(gradOf(leaf)?.toFloat32Array() ?? [])]).toEqual([2, -4]);
      backward(multiply(leaf, 3), tensorOf([1, 10], [2]));
      expect([...(gradOf(leaf)?.toFloat32Array() ?? [])]).toEqual([5, 26]);
      setGrad(leaf);
      expect(gradOf(leaf)).toBeUndefined();
    });
  });

  it('records nothing inside noGrad, and records again after an exception there', () => {
    tidy(() => {
      const leaf = requireGrad(zeros([2]));
      expect(requiresGrad(noGrad(() => multiply(leaf, 2)))).toBe(false);
      expect(() =>
        noGrad(() => {
          throw new Error('inside');
        }),
      ).toThrow('inside');
      expect(requiresGrad(multiply(leaf, 2))).toBe(true);
    });
  });
});

it('describes itself', () => {
  expect(describeEngine().version).toMatch(/^\d+\.\d+/);
  expect(describeEngine().threads).toBeGreaterThan(0);
});

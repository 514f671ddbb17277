import { BoundaryError } from '../errors.ts';
import { callNative, type NativeArgument } from './native.ts';
import { Tensor } from './tensor.ts';

/** What an operator takes: `undefined` = the schema's default, `null` = none. */
export type Argument =
  | Tensor
  | number
  | bigint
  | boolean
  | string
  | null
  | undefined
  | readonly (number | boolean)[]
  | readonly (Tensor | null)[];

type Operator = {
  readonly index: number;
  readonly name: string;
  /** Per argument: how tensors in it become handles. */
  readonly kinds: readonly string[];
  readonly names: readonly string[];
  readonly inPlace: boolean;
};

const operators = new Map<string, Operator>();

/**
 * Calls any ATen operator that returns one tensor, with positional arguments in the order of its schema.
 *
 * @param name without `aten::`, with the overload after a dot: `mm`, `add.Tensor`
 * @returns a tensor that the caller or its scope frees; for an in-place operator, its first argument itself
 * @throws BoundaryError("engine") naming the operator and the shape and dtype of each tensor argument
 */
export function aten(name: string, ...args: readonly Argument[]): Tensor {
  const operator = operators.get(name) ?? findOperator(name);
  const result = callNative('call', operator.index, ...toNative(operator, args));
  if (result === 0 && operator.inPlace) return args[0] as Tensor;
  if (typeof result === 'number') return new Tensor(result);
  throw new BoundaryError('engine', `aten::${name} does not return one tensor: use atenAll`);
}

/** Like `aten`, for an operator that returns several tensors or a list of them. */
export function atenAll(name: string, ...args: readonly Argument[]): readonly Tensor[] {
  const operator = operators.get(name) ?? findOperator(name);
  const result = callNative('call', operator.index, ...toNative(operator, args));
  if (result === undefined) return [];
  if (Array.isArray(result)) return result.map((handle: number) => new Tensor(handle));
  throw new BoundaryError('engine', `aten::${name} returns one tensor: use aten`);
}

/** Whether this libtorch has the operator; the name as in `aten`. */
export function hasOperator(name: string): boolean {
  return callNative('hasOperator', ...splitName(name));
}

function findOperator(name: string): Operator {
  const index = callNative('findOperator', ...splitName(name));
  const [kinds, names, , inPlace] = callNative('describeOperator', index);
  const operator: Operator = { index, name, kinds, names, inPlace };
  operators.set(name, operator);
  return operator;
}

function splitName(name: string): [name: string, overload: string] {
  const dot = name.indexOf('.');
  return dot < 0 ? [`aten::${name}`, ''] : [`aten::${name.slice(0, dot)}`, name.slice(dot + 1)];
}

function toNative(operator: Operator, args: readonly Argument[]): NativeArgument[] {
  const values = new Array<NativeArgument>(args.length);
  for (let index = 0; index < args.length; index++) {
    const value = args[index];
    const kind = operator.kinds[index];
    if (value === undefined || value === null) values[index] = value;
    else if (kind === 'tensor') values[index] = handleOf(operator, index, value);
    else if (kind === 'tensor[]' || kind === 'tensor?[]') values[index] = handlesOf(value);
    else if (value instanceof Tensor) refuse(operator, index, 'a tensor');
    else values[index] = value as NativeArgument;
  }
  return values;
}

function handleOf(operator: Operator, index: number, value: Argument): number {
  return value instanceof Tensor ? value.handle : refuse(operator, index, String(value));
}

function handlesOf(value: Argument): readonly number[] {
  const items = value as readonly (Tensor | null)[];
  return items.map((item) => (item === null ? 0 : item.handle));
}

function refuse(operator: Operator, index: number, got: string): never {
  const name = operator.names[index] ?? `number ${index}`;
  throw new BoundaryError(
    'engine',
    `aten::${operator.name}: argument \`${name}\` expects a ${operator.kinds[index] ?? 'value'}, got ${got}`,
  );
}

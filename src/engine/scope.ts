// Who frees what: a resource belongs to the scope it was made in, until `keep` or a scope's result takes it out.
import { BoundaryError } from '../errors.ts';

/** Something a scope can free. */
export type Scoped = {
  readonly dispose: () => void;
  readonly isDisposed: boolean;
  /** Written by this file alone. */
  scope: Scope | undefined;
  /** Called when no scope owns it any more: from then on only `dispose` or the garbage collector frees it. */
  readonly onKept: () => void;
};

type Scope = { readonly members: Scoped[]; readonly parent: Scope | undefined };

let current: Scope | undefined;

/** Puts a resource into the scope that is open now, if one is. */
export function enterScope(resource: Scoped): void {
  giveTo(resource, current);
}

function giveTo(resource: Scoped, owner: Scope | undefined): void {
  resource.scope = owner;
  if (owner === undefined) resource.onKept();
  else owner.members.push(resource);
}

/**
 * Runs `body` and frees every tensor made inside, except those in its result (a tensor, or arrays, maps and plain
 * objects of tensors), which pass to the surrounding scope. When `body` throws, everything made inside is freed.
 *
 * @throws BoundaryError("engine") when `body` returns a promise: its tensors would be freed before they are used
 */
export function tidy<Result>(body: () => Result): Result {
  const scope: Scope = { members: [], parent: current };
  current = scope;
  try {
    const result = body();
    if (result instanceof Promise) {
      throw new BoundaryError('engine', 'tidy expects a synchronous function, got a promise');
    }
    handUp(result, scope);
    return result;
  } finally {
    current = scope.parent;
    for (const member of scope.members) {
      if (member.scope === scope && !member.isDisposed) member.dispose();
    }
  }
}

/** Takes a resource out of every scope: the caller frees it with `dispose`. */
export function keep<Resource extends Scoped>(resource: Resource): Resource {
  if (resource.scope !== undefined) giveTo(resource, undefined);
  return resource;
}

function handUp(value: unknown, scope: Scope): void {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return;
  if (isScoped(value)) {
    if (value.scope === scope && !value.isDisposed) giveTo(value, scope.parent);
    return;
  }
  const isPlain = Object.getPrototypeOf(value) === Object.prototype;
  if (Array.isArray(value)) for (const item of value) handUp(item, scope);
  else if (value instanceof Map) for (const item of value.values()) handUp(item, scope);
  else if (isPlain) for (const item of Object.values(value)) handUp(item, scope);
}

function isScoped(value: object): value is Scoped {
  return 'onKept' in value && 'dispose' in value;
}

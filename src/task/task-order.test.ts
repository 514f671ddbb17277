import { describe, expect, it } from 'vitest';
import { taskAt, tasksFrom } from './task-order.ts';

const tasks = ['a', 'b', 'c', 'd', 'e'].map((id) => ({ id, prompt: id }));
const ids = (taken: readonly { readonly id: string }[]) => taken.map((task) => task.id);

describe('task order', () => {
  it('takes every task once in every epoch', () => {
    for (const epoch of [0, 1, 2]) {
      const taken = ids(tasksFrom(tasks, 7, { position: epoch * 5, count: 5 }));
      expect(taken.toSorted()).toEqual(['a', 'b', 'c', 'd', 'e']);
    }
  });

  it('is the same from any position it is continued at', () => {
    const whole = ids(tasksFrom(tasks, 7, { position: 0, count: 23 }));
    expect(ids(tasksFrom(tasks, 7, { position: 8, count: 15 }))).toEqual(whole.slice(8));
    expect(whole.map((_, position) => taskAt(tasks, 7, position).id)).toEqual(whole);
  });

  it('changes with the epoch and with the seed', () => {
    const order = (seed: number, position: number) =>
      ids(tasksFrom(tasks, seed, { position, count: 5 }));
    const orders = [order(7, 0), order(7, 5), order(8, 0), order(9, 0)].map((taken) =>
      taken.join(''),
    );
    expect(new Set(orders).size).toBeGreaterThan(1);
    expect(order(7, 0)).toEqual(order(7, 0));
  });

  it('holds kinds of tasks in proportion in every stretch where it is stratified, and repeats and skips none', () => {
    const kindOf = (index: number) => (index % 3 === 0 ? 'regression' : 'classification');
    const mixed = Array.from({ length: 24 }, (_, index) => {
      return { id: String(index), prompt: 'p', tags: [kindOf(index), 'more'] };
    });
    const whole = tasksFrom(mixed, 5, { position: 0, count: 48, stratify: true });
    for (const epoch of [whole.slice(0, 24), whole.slice(24)])
      expect(new Set(ids(epoch)).size).toBe(24);
    for (let start = 0; start < 48; start += 6) {
      const step = tasksFrom(mixed, 5, { position: start, count: 6, stratify: true });
      expect(ids(step)).toEqual(ids(whole).slice(start, start + 6));
      expect(step.filter(({ tags }) => tags?.[0] === 'regression')).toHaveLength(2);
    }
    expect(ids(whole.slice(0, 24))).not.toEqual(ids(whole.slice(24)));
  });

  it('refuses an empty list', () => {
    expect(() => taskAt([], 1, 0)).toThrow(/no tasks/);
  });
});

import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { BoundaryError } from '../errors.ts';
import { defineTool } from './define-tool.ts';

const place = { actionId: 'a' };
const add = defineTool({
  name: 'add',
  description: 'Adds two numbers.',
  input: z.object({ a: z.number(), b: z.number().default(1) }),
  run: ({ a, b }) => a + b,
});

describe('a function as a tool', () => {
  it('gets its input parsed, defaults filled in, and returns text as it is and the rest as JSON', async () => {
    expect(await add.run('{"a": 2, "b": 3}', place)).toMatchObject({
      ...{ tool: 'add', status: 'ok', output: '5' },
    });
    expect((await add.run('{"a": 2}', place)).output).toBe('3');
    const nothing = defineTool({
      ...{ name: 'n', description: '' },
      input: z.object({}),
      run: () => 'as it is',
    });
    expect((await nothing.run('', place)).output).toBe('as it is');
  });

  it.each([
    ['{"a": "two"}', /expected number.*a/s],
    ['{"a": 2', /not JSON/],
  ])('answers %s with what is wrong, and does not run', async (input, problem) => {
    const result = await add.run(input, place);
    expect(result.status).toBe('invalid');
    expect(result.output).toMatch(problem);
  });

  it('tells what the agent caused from what we caused', async () => {
    const raising = (error: Error) =>
      defineTool({
        ...{ name: 'raising', description: '', input: z.object({}) },
        run: () => {
          throw error;
        },
      });
    const wrong = await raising(new Error('no such city')).run('{}', place);
    expect(wrong).toMatchObject({ status: 'error', output: 'no such city' });
    const ours = await raising(new BoundaryError('tool', 'the database is down')).run('{}', place);
    expect(ours.status).toBe('infrastructure');
  });

  it('is stopped at its time limit, also when it never looks at the signal', async () => {
    const hanging = defineTool({
      ...{ name: 'hanging', description: '', input: z.object({}), timeoutMs: 20 },
      run: () => new Promise(() => undefined),
    });
    expect(await hanging.run('{}', place)).toMatchObject({ status: 'timeout' });
    const stop = new AbortController();
    const call = hanging.run('{}', { ...place, signal: stop.signal });
    stop.abort(new Error('the play is over'));
    await expect(call).rejects.toThrow('the play is over');
  });

  it('describes its input as JSON schema', () => {
    expect(add).toMatchObject({
      description: 'Adds two numbers.',
      parameters: { type: 'object', required: ['a'], properties: { b: { default: 1 } } },
    });
  });
});

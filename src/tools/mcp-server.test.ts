import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import type { Tool, ToolSource } from '../types/tool.ts';
import { type McpConnection, mcpServer } from './mcp-server.ts';

const file = fileURLToPath(new URL('../../test/support/answering-mcp-server.ts', import.meta.url));
const stdio: McpConnection = { command: process.execPath, args: [file] };
const place = { actionId: 'a' };
const allow = ['shout', 'hang', 'die'];

const http = spawn(process.execPath, [file, 'http'], { stdio: ['ignore', 'pipe', 'inherit'] });
const [line] = await once(http.stdout, 'data');
const overHttp: McpConnection = { url: `http://127.0.0.1:${String(line).trim()}/mcp` };

const sources: ToolSource[] = [];
afterAll(async () => {
  for (const source of sources) await source.close();
  http.kill();
});

async function open(connection: McpConnection, changes = {}): Promise<ReadonlyMap<string, Tool>> {
  const source = mcpServer({ name: 'answering', allow, ...connection, ...changes });
  sources.push(source);
  return new Map((await source.open()).map((tool) => [tool.name, tool]));
}

describe.each([
  ['standard streams', stdio],
  ['HTTP', overHttp],
])('an MCP server over %s', (_, connection) => {
  it('gives the tools that are allowed, and no other, with their descriptions', async () => {
    const tools = await open(connection);
    expect([...tools.keys()].toSorted()).toEqual(['die', 'hang', 'shout']);
    expect(tools.get('shout')).toMatchObject({
      description: 'Shouts.',
      parameters: { type: 'object', required: ['text'] },
    });
  });

  it('answers calls, and tells the agent’s mistakes from the server’s', async () => {
    const shout = (await open(connection)).get('shout') as Tool;
    expect(await shout.run('{"text": "hi"}', place)).toMatchObject({ status: 'ok', output: 'HI ' });
    expect(await shout.run('{"text": "wrong"}', place)).toMatchObject({ status: 'error' });
    expect(await shout.run('{"text": 1}', place)).toMatchObject({
      status: 'invalid',
      output: "the call does not fit the tool's schema: arguments/text must be string",
    });
    expect((await shout.run('{}', place)).output).toContain("required property 'text'");
    expect(await shout.run('{"text', place)).toMatchObject({ status: 'invalid' });
  });

  it('that hangs is our failure, after the deadline', async () => {
    const hang = (await open(connection, { timeoutMs: 5000 })).get('hang') as Tool;
    const stop = new AbortController();
    const stopped = hang.run('{}', { ...place, signal: stop.signal });
    stop.abort(new Error('the play is over'));
    await expect(stopped).rejects.toThrow('the play is over');
    expect(await hang.run('{}', place)).toMatchObject({ status: 'infrastructure' });
  });
});

it('an answer that floods is cut, and said to be', async () => {
  const shout = (await open(stdio)).get('shout') as Tool;
  const { status, output } = await shout.run(JSON.stringify({ text: 'a'.repeat(200_000) }), place);
  expect(status).toBe('output-limit');
  expect(output).toMatch(/A{1000}\nStopped: it answered with more than \d+ characters\.\n$/);
});

/** A server in a few lines that has the tool `shout` with this schema, and answers calls so. */
function speaking(inputSchema: object, answer: object): McpConnection {
  const answers = {
    initialize: {
      ...{ protocolVersion: '2025-06-18', capabilities: { tools: {} } },
      serverInfo: { name: 'speaking', version: '1' },
    },
    'tools/list': { tools: [{ name: 'shout', inputSchema }] },
  };
  const program = `const answers = ${JSON.stringify(answers)};
    require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
      const { id, method } = JSON.parse(line);
      if (id === undefined) return;
      const answer = answers[method] ? { result: answers[method] } : ${JSON.stringify(answer)};
      console.log(JSON.stringify({ jsonrpc: '2.0', id, ...answer }));
    });`;
  return { command: process.execPath, args: ['-e', program] };
}

it('arguments that do not fit are refused before any call, with the field; a foreign dialect is left to the server', async () => {
  const answer = { result: { content: [{ type: 'text', text: 'asked' }] } };
  const schema = {
    type: 'object',
    properties: {
      query: { type: 'object', properties: { most: { type: 'integer', minimum: 1 } } },
    },
    additionalProperties: false,
  };
  const strict = (await open(speaking(schema, answer), { allow: ['shout'] })).get('shout');
  expect(await strict?.run('{"query": {"most": 0}, "also": 1}', place)).toMatchObject({
    status: 'invalid',
    output: expect.stringMatching(
      /arguments must NOT have additional.*arguments\/query\/most must be >= 1/,
    ),
  });
  expect(await strict?.run('{"query": {"most": 1}}', place)).toMatchObject({ output: 'asked' });
  const foreign = { type: 'object', $ref: 'https://example.com/nowhere.json' };
  const loose = (await open(speaking(foreign, answer), { allow: ['shout'] })).get('shout');
  expect(await loose?.run('{"any": 1}', place)).toMatchObject({ status: 'ok', output: 'asked' });
});

it('an error that the server answers with is for the agent to read, not our failure', async () => {
  const answer = { error: { code: -32603, message: 'no such city' } };
  const failing = speaking({ type: 'object' }, answer);
  const shout = (await open(failing, { allow: ['shout'] })).get('shout') as Tool;
  expect(await shout.run('{}', place)).toMatchObject({
    status: 'error',
    output: expect.stringContaining('no such city'),
  });
});

it('a server that died is started again for the next call', async () => {
  const tools = await open(stdio);
  expect(await tools.get('die')?.run('{}', place)).toMatchObject({ status: 'infrastructure' });
  expect(await tools.get('shout')?.run('{"text": "hi"}', place)).toMatchObject({ status: 'ok' });
});

it('keys of this process are not passed on', async () => {
  process.env.TEAMTUNE_TEST_KEY = 'a-key';
  const shout = (await open(stdio)).get('shout') as Tool;
  delete process.env.TEAMTUNE_TEST_KEY;
  expect((await shout.run('{"text": "hi"}', place)).output).toBe('HI ');
});

it('what was recorded is replayed without any server', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'teamtune-mcp-'));
  const recording = { file: join(directory, 'calls.jsonl'), mode: 'record' };
  await (await open(stdio, { recording })).get('shout')?.run('{"text": "hi"}', place);
  const gone = { command: 'no-such-command', recording: { ...recording, mode: 'replay' } };
  const shout = (await open(gone as never, gone)).get('shout') as Tool;
  expect(await shout.run('{"text": "hi"}', place)).toMatchObject({ status: 'ok', output: 'HI ' });
  expect(shout.description).toBe('Shouts.');
  await rm(directory, { recursive: true });
});

it('a server that cannot be reached, or lacks a tool, is refused with its name', async () => {
  await expect(open({ command: 'no-such-command' })).rejects.toThrow(
    'the MCP server answering could not be asked for its tools',
  );
  await expect(open(stdio, { allow: ['search'] })).rejects.toThrow('has no tool search');
});

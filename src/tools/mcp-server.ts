import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ErrorCode, McpError } from '@modelcontextprotocol/sdk/types.js';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv';
import { z } from 'zod';
import { BoundaryError, messageOf } from '../errors.ts';
import { defaultLimits } from '../sandbox/limits.ts';
import type { Tool, ToolResult, ToolSource } from '../types/tool.ts';
import { type Recording, recordTool } from './record-tool.ts';

/** How to reach a server: a program that speaks over its standard streams, or an address (streamable HTTP). */
export type McpConnection =
  | {
      readonly command: string;
      readonly args?: readonly string[];
      /** Environment of the program; absent = PATH, HOME and the like, no keys. */
      readonly env?: Readonly<Record<string, string>>;
    }
  | { readonly url: string; readonly headers?: Readonly<Record<string, string>> };

export type McpServer<Name extends string = string> = McpConnection & {
  readonly name: string;
  /** The server's tools that agents may be given; the others do not exist for them. */
  readonly allow: readonly Name[];
  /** Of the connection and of one call; default 30 000. */
  readonly timeoutMs?: number;
  /** Writes calls down, or answers them from what was written down. */
  readonly recording?: Recording;
};

const descriptionSchema = z.object({
  name: z.string(),
  description: z.string(),
  parameters: z.record(z.string(), z.unknown()),
});

type Description = z.infer<typeof descriptionSchema>;

function transportTo(server: McpConnection): StdioClientTransport | StreamableHTTPClientTransport {
  if ('url' in server) {
    const requestInit = { headers: { ...server.headers } };
    return new StreamableHTTPClientTransport(new URL(server.url), { requestInit });
  }
  return new StdioClientTransport({
    command: server.command,
    args: [...(server.args ?? [])],
    ...(server.env === undefined ? {} : { env: { ...server.env } }),
    stderr: 'ignore',
  });
}

/** A connection that is made when first needed, and again once it is lost. */
function createConnection(server: McpServer, timeout: number) {
  let connecting: Promise<Client> | undefined;
  const forget = () => {
    connecting = undefined;
  };
  const connect = async (): Promise<Client> => {
    const client = new Client({ name: 'teamtune', version: '1' });
    client.onclose = forget;
    // The types of the SDK's own transports disagree with its interface under exactOptionalPropertyTypes.
    await client.connect(transportTo(server) as Parameters<Client['connect']>[0], { timeout });
    return client;
  };
  const get = async (): Promise<Client> => {
    connecting ??= connect();
    try {
      return await connecting;
    } catch (error) {
      forget();
      throw error;
    }
  };
  const close = async () => {
    const client = await connecting?.catch(() => undefined);
    await client?.close();
  };
  return { get, close };
}

type Connection = ReturnType<typeof createConnection>;

const content = z.array(z.looseObject({ type: z.string(), text: z.string().optional() }));

/** Texts as they are; an agent that reads text is told of what else there was. */
function textOf(parts: unknown): string {
  return content
    .parse(parts)
    .map(({ type, text }) => text ?? `[${type}]`)
    .join('\n');
}

function parseArguments(input: string): Record<string, unknown> | string {
  try {
    return z.record(z.string(), z.unknown()).parse(input.trim() === '' ? {} : JSON.parse(input));
  } catch (error) {
    return `the arguments are not a JSON object: ${messageOf(error)}`;
  }
}

/** What is wrong with the arguments of a call, by the tool's own schema; undefined when nothing is. */
type Complaint = (given: Readonly<Record<string, unknown>>) => string | undefined;

function checkerFor({ parameters }: Description): Complaint {
  try {
    // One for each tool: schemas of two servers may have the same `$id`.
    const validate = new AjvJsonSchemaValidator().getValidator(parameters);
    return (given) => {
      const { errorMessage } = validate(given);
      if (errorMessage === undefined) return undefined;
      const problems = errorMessage.replaceAll(/(^|, )data(?=[/ ])/g, '$1arguments');
      return `the call does not fit the tool's schema: ${problems}`;
    };
  } catch {
    // A schema in a dialect that cannot be read here is the server's to check; it sees every call anyway.
    return () => undefined;
  }
}

/** Codes that the client gives itself, where no reply came. */
const unanswered: readonly number[] = [ErrorCode.ConnectionClosed, ErrorCode.RequestTimeout];

/** What a failed call was: an error that the server answered with, or our trouble with the server (its hanging included). */
function failureOf(error: unknown, place: string): Pick<ToolResult, 'status' | 'output'> {
  if (!(error instanceof McpError) || unanswered.includes(error.code))
    return { status: 'infrastructure', output: `${place} failed: ${messageOf(error)}` };
  const isRefusal = error.code === ErrorCode.InvalidParams;
  return { status: isRefusal ? 'invalid' : 'error', output: error.message };
}

/** A flood is cut, and said to be. */
function bounded(output: string): Pick<ToolResult, 'status' | 'output'> {
  const { outputLimit } = defaultLimits;
  if (output.length <= outputLimit) return { status: 'ok', output };
  const note = `\nStopped: it answered with more than ${outputLimit} characters.\n`;
  return { status: 'output-limit', output: `${output.slice(0, outputLimit)}${note}` };
}

function createMcpTool(description: Description, connection: Connection, timeout: number): Tool {
  const { name } = description;
  const complaintOn = checkerFor(description);
  return {
    ...description,
    run: async (input, { signal }) => {
      const begin = performance.now();
      const ended = (result: Pick<ToolResult, 'status' | 'output'>): ToolResult => {
        return { tool: name, ...result, durationMs: performance.now() - begin };
      };
      const given = parseArguments(input);
      if (typeof given === 'string') return ended({ status: 'invalid', output: given });
      const complaint = complaintOn(given);
      if (complaint !== undefined) return ended({ status: 'invalid', output: complaint });
      try {
        const client = await connection.get();
        const options = { timeout, ...(signal === undefined ? {} : { signal }) };
        const result = await client.callTool({ name, arguments: given }, undefined, options);
        const answer = bounded(textOf(result.content));
        return ended(result.isError ? { ...answer, status: 'error' } : answer);
      } catch (error) {
        signal?.throwIfAborted();
        return ended(failureOf(error, `the MCP tool ${name}`));
      }
    },
    close: async () => undefined,
  };
}

/** A server's words are not to become control tokens of a model: those of most models are written `<|…|>`. */
function withoutMarks(description: Description): Description {
  return descriptionSchema.parse(JSON.parse(JSON.stringify(description).replaceAll('<|', '< |')));
}

async function describeTools(server: McpServer, connection: Connection, timeout: number) {
  const described: Description[] = [];
  try {
    const client = await connection.get();
    const { tools } = await client.listTools(undefined, { timeout });
    for (const { name, description = '', inputSchema } of tools)
      if (server.allow.includes(name))
        described.push(withoutMarks({ name, description, parameters: inputSchema }));
  } catch (cause) {
    throw new BoundaryError(
      'config',
      `the MCP server ${server.name} could not be asked for its tools (${messageOf(cause)}): check its command or URL, and that it starts within ${timeout} ms`,
      { cause },
    );
  }
  const missing = server.allow.find((name) => !described.some((one) => one.name === name));
  if (missing === undefined) return described;
  throw new BoundaryError(
    'config',
    `the MCP server ${server.name} has no tool ${missing}, which its allow list names`,
  );
}

/** Descriptions are kept beside a recording, so that a replay needs no server. */
const descriptionsFile = ({ file }: Recording) => `${file}.tools.json`;

function readDescriptions(recording: Recording): readonly Description[] {
  const file = descriptionsFile(recording);
  if (!existsSync(file))
    throw new BoundaryError('config', `there is no ${file} to replay; record the calls first`);
  return z.array(descriptionSchema).parse(JSON.parse(readFileSync(file, 'utf8')));
}

/**
 * The tools of an MCP server, for the key `tools` of a run. The server is started, or connected to, before anything is
 * played, and only when an agent has one of its tools.
 */
export function mcpServer<const Name extends string>(server: McpServer<Name>): ToolSource<Name> {
  const timeout = server.timeoutMs ?? 30_000;
  const { recording } = server;
  const connection = createConnection(server, timeout);
  const describe = async (): Promise<readonly Description[]> => {
    if (recording?.mode === 'replay') return readDescriptions(recording);
    const described = await describeTools(server, connection, timeout);
    if (recording !== undefined) {
      mkdirSync(dirname(recording.file), { recursive: true });
      writeFileSync(descriptionsFile(recording), JSON.stringify(described, null, 2));
    }
    return described;
  };
  return {
    name: server.name,
    provides: server.allow,
    open: async () => {
      const tools = (await describe()).map((one) => createMcpTool(one, connection, timeout));
      return recording === undefined ? tools : tools.map((tool) => recordTool(tool, recording));
    },
    close: connection.close,
  };
}

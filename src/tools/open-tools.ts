import { BoundaryError, closeAll } from '../errors.ts';
import type { Sandbox } from '../types/sandbox.ts';
import type { Tool, ToolSource } from '../types/tool.ts';
import { createPythonTool } from './python-tool.ts';
import { retryTool } from './retry-tool.ts';

/** Failures of ours pass by more often than not: a server restarts, an interpreter could not be started. */
const retries = { attempts: 3, delayMs: 500 };

/** Tools by name, alive, and what ends everything they came from. */
export type OpenTools = {
  readonly tools: ReadonlyMap<string, Tool>;
  readonly close: () => Promise<void>;
};

type Provider = {
  readonly names: readonly string[];
  readonly open: () => Promise<readonly Tool[]>;
  readonly close?: () => Promise<void>;
};

function providerOf(given: Tool | ToolSource): Provider {
  return 'open' in given
    ? { names: given.provides, open: () => given.open(), close: () => given.close() }
    : { names: [given.name], open: async () => [given] };
}

function refuseUnknown(wanted: ReadonlySet<string>, providers: readonly Provider[]): void {
  const names = providers.flatMap((provider) => provider.names);
  const unknown = [...wanted].find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new BoundaryError(
      'config',
      `the team asks for the tool ${unknown}; there is ${names.join(', ')}. Add it to the key tools with defineTool or mcpServer`,
    );
  }
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined)
    throw new BoundaryError(
      'config',
      `two tools have the name ${twice}: an agent cannot tell them apart`,
    );
}

/**
 * Opens the tools that a team asks for, and no other: a server that nobody needs is not started.
 *
 * @throws BoundaryError("config") before anything is played when one is unknown or cannot be reached
 */
export async function openTools(
  wanted: ReadonlySet<string>,
  own: readonly (Tool | ToolSource)[],
  createSandbox: () => Promise<Sandbox>,
): Promise<OpenTools> {
  const python: Provider = {
    names: ['python'],
    open: async () => [createPythonTool(await createSandbox())],
  };
  const providers = [python, ...own.map(providerOf)];
  refuseUnknown(wanted, providers);
  const tools = new Map<string, Tool>();
  const closers: (() => Promise<void>)[] = [];
  const close = () => closeAll(closers);
  try {
    for (const provider of providers) {
      if (!provider.names.some((name) => wanted.has(name))) continue;
      if (provider.close) closers.push(provider.close);
      for (const tool of await provider.open()) {
        closers.push(() => tool.close());
        if (wanted.has(tool.name)) tools.set(tool.name, retryTool(tool, retries));
      }
    }
  } catch (error) {
    await Promise.allSettled([close()]);
    throw error;
  }
  return { tools, close };
}

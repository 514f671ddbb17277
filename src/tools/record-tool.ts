import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { BoundaryError, messageOf } from '../errors.ts';
import type { Tool, ToolResult } from '../types/tool.ts';

/**
 * What a recording is for. `record`: every call is made and written down; `replay`: none is made, and one that was not
 * written down is a failure of ours; `fill`: what was written down is taken from there, the rest is made and added.
 */
export type Recording = {
  /** JSON Lines of `{tool, input, status, output}`. */
  readonly file: string;
  readonly mode: 'record' | 'replay' | 'fill';
};

const lineSchema = z.object({
  tool: z.string(),
  input: z.string(),
  status: z.enum(['ok', 'error', 'timeout', 'invalid', 'denied', 'output-limit']),
  output: z.string(),
});

const keyOf = (tool: string, input: string) => JSON.stringify([tool, input]);

type Known = Map<string, Pick<ToolResult, 'status' | 'output'>>;

/** A process that was killed while it wrote leaves half a last line: its call is made again. */
function mendLastLine(file: string): void {
  if (!existsSync(file)) return;
  const text = readFileSync(file, 'utf8');
  if (!text.endsWith('\n')) writeFileSync(file, text.slice(0, text.lastIndexOf('\n') + 1));
}

function readRecording({ file, mode }: Recording): Known {
  if (mode === 'record' || !existsSync(file)) return new Map();
  const lines = readFileSync(file, 'utf8').split('\n');
  const entries = lines.flatMap((line, index) => {
    if (line.trim() === '') return [];
    try {
      const { tool, input, status, output } = lineSchema.parse(JSON.parse(line));
      return [[keyOf(tool, input), { status, output }] as const];
    } catch (cause) {
      if (index === lines.length - 1) return [];
      const message = `${file}, line ${index + 1}, is no recorded call: ${messageOf(cause)}`;
      throw new BoundaryError('config', message, { cause });
    }
  });
  return new Map(entries);
}

/**
 * A tool whose calls are written down, or answered from what was written down: an evaluation can then be repeated
 * without the server, with the same answers. Failures of ours are never written down.
 *
 * @throws BoundaryError("config") when a recording to replay is missing or malformed
 */
export function recordTool(tool: Tool, recording: Recording): Tool {
  const { file, mode } = recording;
  if (mode === 'replay' && !existsSync(file))
    throw new BoundaryError('config', `there is no recording ${file} to replay; record one first`);
  if (mode !== 'replay') mendLastLine(file);
  const known = readRecording(recording);
  mkdirSync(dirname(file), { recursive: true });
  const write = (input: string, { status, output }: ToolResult) => {
    if (status === 'infrastructure') return;
    known.set(keyOf(tool.name, input), { status, output });
    const line = JSON.stringify({ tool: tool.name, input, status, output });
    appendFileSync(file, `${line}\n`);
  };
  return {
    ...tool,
    run: async (input, options) => {
      const recorded = mode === 'record' ? undefined : known.get(keyOf(tool.name, input));
      if (recorded !== undefined) return { tool: tool.name, ...recorded, durationMs: 0 };
      if (mode === 'replay') {
        const output = `${file} holds no answer of ${tool.name} to ${input}`;
        return { tool: tool.name, status: 'infrastructure', output, durationMs: 0 };
      }
      const result = await tool.run(input, options);
      write(input, result);
      return result;
    },
  };
}

import type { ExecutionStatus } from '../types/sandbox.ts';
import type { SandboxLimits } from './limits.ts';

/** The limits that stop a program. */
export type StoppedBy = Extract<
  ExecutionStatus,
  'timeout' | 'memory' | 'output-limit' | 'file-limit'
>;

const mebibytes = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;

const sentences = {
  timeout: ({ timeLimitMs }) => `it ran longer than ${timeLimitMs} ms`,
  memory: ({ memoryBytes }) => `it needed more than ${mebibytes(memoryBytes)} of memory`,
  'output-limit': ({ outputLimit }) => `it printed more than ${outputLimit} characters`,
  'file-limit': ({ workspaceBytes, workspaceFiles }) =>
    `it left more than ${workspaceFiles} files, more than ${mebibytes(workspaceBytes)}, or folders more than 8 deep; its files were not kept`,
} satisfies Record<StoppedBy, (limits: SandboxLimits) => string>;

/** The output with a last line that says which limit stopped the program. */
export function stoppedOutput(status: StoppedBy, output: string, limits: SandboxLimits): string {
  const separator = output === '' || output.endsWith('\n') ? '' : '\n';
  return `${output}${separator}Stopped: ${sentences[status](limits)}.\n`;
}

/** How a program ended that no limit of the sandbox stopped: by the kind of what it raised, never by what it printed. */
export function statusOfExit(code: number, raised: 'memory' | 'denied' | null): ExecutionStatus {
  return code === 0 ? 'ok' : (raised ?? 'error');
}

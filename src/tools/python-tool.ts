import type { Execution, FileChanges, Sandbox } from '../types/sandbox.ts';
import type { Tool, ToolCallOptions, ToolResult } from '../types/tool.ts';

/** What changed, without the contents: what a coach and a reader of the run are told. */
function trailOf({ written, removed }: FileChanges): Pick<ToolResult, 'files'> {
  if (written.size + removed.length === 0) return {};
  const files = [...written].map(([path, content]) => ({ path, bytes: content.length }));
  return { files: { written: files, removed } };
}

async function execute(
  sandbox: Sandbox,
  program: string,
  { workspace, actionId, signal }: ToolCallOptions,
): Promise<Execution> {
  const given = signal === undefined ? {} : { signal };
  return workspace === undefined
    ? sandbox.run(program, given)
    : workspace.run(sandbox, program, { actionId, ...given });
}

/**
 * The tool `python`: each call is a program of its own in a sandbox, in the play's workspace; its output is what it
 * prints.
 */
export function createPythonTool(sandbox: Sandbox): Tool {
  return {
    name: 'python',
    run: async (input, options) => {
      const { changes, ...execution } = await execute(sandbox, input, options);
      return { tool: 'python', ...execution, ...trailOf(changes) };
    },
    close: sandbox.close,
  };
}

import { createHash, randomBytes } from 'node:crypto';
import type { Execution, FileChanges, Sandbox } from '../types/sandbox.ts';
import type { Tool, ToolCallOptions, ToolResult } from '../types/tool.ts';
import { endsOfBlocks, joinBlocks } from './python-blocks.ts';

/** What changed, without the contents: what a coach and a reader of the run are told. */
function trailOf({ written, removed }: FileChanges): Pick<ToolResult, 'files'> {
  if (written.size + removed.length === 0) return {};
  const files = [...written].map(([path, content]) => {
    const sha256 = createHash('sha256').update(content).digest('hex');
    return { path, bytes: content.length, sha256 };
  });
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

/** One program of all blocks: they share variables and the limits of one program. */
async function executeTogether(
  sandbox: Sandbox,
  blocks: readonly string[],
  options: ToolCallOptions,
): Promise<readonly ToolResult[]> {
  const mark = `block-${randomBytes(8).toString('hex')}`;
  const execution = await execute(sandbox, joinBlocks(blocks, mark), options);
  const ends = endsOfBlocks(execution, { count: blocks.length, mark });
  const results = ends.map((end): ToolResult => ({ tool: 'python', ...end }));
  const last = results.at(-1) as ToolResult;
  return [...results.slice(0, -1), { ...last, ...trailOf(execution.changes) }];
}

/**
 * The tool `python`: the calls of one action are one program in a sandbox, in the play's workspace; the output of each
 * is what it prints. What the files of all of them changed stands with the last.
 */
export function createPythonTool(sandbox: Sandbox): Tool {
  return {
    ...{ name: 'python', isRepeatable: true },
    run: async (input, options) => {
      const { changes, ...execution } = await execute(sandbox, input, options);
      return { tool: 'python', ...execution, ...trailOf(changes) };
    },
    runTogether: (inputs, options) => executeTogether(sandbox, inputs, options),
    close: sandbox.close,
  };
}

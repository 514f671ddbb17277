import { BoundaryError } from '../errors.ts';
import type { Task } from '../types/task.ts';
import type { Tool, ToolCallOptions, ToolResult } from '../types/tool.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';
import { failureOf } from './play-failure.ts';
import type { Stage } from './play-task.ts';
import { callsInTurn, runCalls } from './run-tools.ts';

/** Whether tools that an action called changed files of its play. */
export function hasChangedFiles({ toolResults }: Action): boolean {
  return toolResults.some(({ files }) => files !== undefined);
}

/**
 * Makes the files of a finished play again: the calls that changed them are run once more, in order, and what comes of
 * each is compared with what was recorded. Calls that changed no file are not run.
 *
 * @param recorded the play under an id of its own, whose workspace then has the files as every action left them
 * @returns the play itself; or, where a call does something else now, may not be made again or does not end, what comes before
 * that call's action, with the reason as its failure
 * @throws the reason of `stop` when the run stops
 */
export async function rebuildFiles(
  stage: Pick<Stage, 'tools' | 'workspaces' | 'playTimeoutMs' | 'stop'>,
  task: Task,
  recorded: Trajectory,
): Promise<Trajectory> {
  const { tools, workspaces, playTimeoutMs, stop } = stage;
  const { id, taskId, sample } = recorded;
  const deadline = AbortSignal.timeout(playTimeoutMs);
  const signal = AbortSignal.any([deadline, stop]);
  const actions: Action[] = [];
  try {
    // What a process that was killed had made of them.
    await workspaces.remove(id);
    const workspace = await workspaces.open(id, task.files ?? {});
    for (const action of recorded.actions) {
      await repeatCalls(action, tools, { actionId: action.id, workspace, signal });
      actions.push(action);
    }
    return recorded;
  } catch (error) {
    stop.throwIfAborted();
    if (!(error instanceof BoundaryError) && !deadline.aborted) throw error;
    return { id, taskId, sample, actions, failure: failureOf(error, deadline, playTimeoutMs) };
  }
}

async function repeatCalls(
  { agent, toolCalls, toolResults }: Action,
  tools: ReadonlyMap<string, Tool>,
  options: ToolCallOptions,
): Promise<void> {
  let place = 0;
  for (const calls of callsInTurn(toolCalls)) {
    const recorded = toolResults.slice(place, place + calls.length);
    place += calls.length;
    if (recorded.every(({ files }) => files === undefined)) continue;
    const tool = repeatableTool(tools, calls[0].tool);
    const results = await runCalls(calls, tool, { ...options, agent, allowed: [tool.name] });
    for (const [at, result] of results.entries()) {
      const difference = differenceOf(recorded[at] as ToolResult, result);
      if (difference === undefined) continue;
      throw new BoundaryError('tool', `run again, ${tool.name} ${difference}`);
    }
  }
}

function repeatableTool(tools: ReadonlyMap<string, Tool>, name: string): Tool {
  const tool = tools.get(name);
  if (tool?.isRepeatable) return tool;
  throw new BoundaryError(
    'tool',
    tool === undefined
      ? `there is no tool ${name} any more`
      : `${name} is not run again: what it does besides changing files would be done twice`,
  );
}

/** In words, the first thing that a call did otherwise than it is recorded to have done. */
function differenceOf(recorded: ToolResult, now: ToolResult): string | undefined {
  if (now.status !== recorded.status)
    return `ended with ${now.status}, which had ended with ${recorded.status}`;
  if (now.output !== recorded.output) {
    const lines = recorded.output.split('\n');
    const others = now.output.split('\n');
    const at = others.findIndex((line, number) => line !== lines[number]);
    const line = at < 0 ? others.length : at;
    return `printed ${quoted(others[line])} where it had printed ${quoted(lines[line])}`;
  }
  return changesDifference(recorded.files ?? none, now.files ?? none);
}

type Changes = NonNullable<ToolResult['files']>;

const none: Changes = { written: [], removed: [] };

const longestQuote = 60;

function quoted(line: string | undefined): string {
  if (line === undefined || line === '') return 'nothing';
  return JSON.stringify(line.length > longestQuote ? `${line.slice(0, longestQuote)}…` : line);
}

function changesDifference(recorded: Changes, now: Changes): string | undefined {
  const wrote = (changes: Changes) => new Map(changes.written.map((file) => [file.path, file]));
  const [before, after] = [wrote(recorded), wrote(now)];
  for (const path of [...new Set([...before.keys(), ...after.keys()])].toSorted()) {
    const [old, file] = [before.get(path), after.get(path)];
    if (old === undefined) return `wrote ${path}, which it had not`;
    if (file === undefined) return `did not write ${path}, which it had`;
    if (file.bytes !== old.bytes)
      return `wrote ${file.bytes} bytes into ${path}, which had been ${old.bytes}`;
    if (old.sha256 !== undefined && file.sha256 !== old.sha256)
      return `wrote something else into ${path} than it had, of the same length`;
  }
  const left = recorded.removed.find((path) => !now.removed.includes(path));
  if (left !== undefined) return `did not remove ${left}, which it had`;
  const gone = now.removed.find((path) => !recorded.removed.includes(path));
  return gone === undefined ? undefined : `removed ${gone}, which it had not`;
}

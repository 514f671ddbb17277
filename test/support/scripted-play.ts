import { playTask, type Stage } from '../../src/rollout/play-task.ts';
import type { Team } from '../../src/rollout/team.ts';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { createPythonTool } from '../../src/tools/python-tool.ts';
import type { Sandbox, WorkspaceFiles, Workspaces } from '../../src/types/sandbox.ts';
import type { Task } from '../../src/types/task.ts';
import type { Sampler } from '../../src/types/training-service.ts';
import type { Trajectory } from '../../src/types/trajectory.ts';

/** Characters are their own tokens; 0 ends a turn. */
export const charactersOf = (text: string) =>
  Int32Array.from({ length: text.length }, (_, at) => text.charCodeAt(at));

export const characterTokenizer: Tokenizer = {
  ...{ vocabSize: 65_536, takesTools: false, eosTokenIds: [0] },
  ...{ encode: charactersOf, encodePlain: charactersOf },
  decode: (ids) => Array.from(ids, (id) => String.fromCharCode(id)).join(''),
  renderChat: (messages) => messages.map(({ content }) => content).join('\n'),
  encodeChat: (messages) => charactersOf(messages.map(({ content }) => content).join('\n')),
  extendChat: ({ ids }, added) =>
    Int32Array.from([...ids, ...charactersOf(added.map(({ content }) => content).join('\n'))]),
};

/** Says its texts in turn, the last one again and again. */
function scripted(texts: readonly string[]): Sampler {
  let said = 0;
  return {
    ...{ policyId: 'script', version: 0, logprobs: async () => new Float32Array() },
    sample: async () => {
      const tokens = [...charactersOf(texts[Math.min(said++, texts.length - 1)] ?? ''), 0];
      const logprobs = new Float32Array(tokens.length);
      return { tokens: Int32Array.from(tokens), logprobs, stop: 'stop', version: 0 };
    },
  };
}

/** Where scripted plays run. */
export type ScriptedStage = { readonly sandbox: Sandbox; readonly workspaces: Workspaces };

/**
 * Plays a task with agents that say fixed texts, in a real sandbox.
 *
 * @param onEnd sees the play's files as they are at its end
 */
export async function playScripted(
  { sandbox, workspaces }: ScriptedStage,
  play: {
    readonly team: Team;
    readonly task: Task;
    readonly scripts: Readonly<Record<string, readonly string[]>>;
    readonly onEnd?: (trajectory: Trajectory, files: WorkspaceFiles) => Promise<void>;
  },
): Promise<Trajectory> {
  const samplers = Object.entries(play.scripts).map(
    ([agent, texts]) => [agent, scripted(texts)] as const,
  );
  const stage: Stage = {
    ...{
      team: play.team,
      tokenizer: characterTokenizer,
      seed: 1,
      scope: '1',
      temperature: 1,
      workspaces,
    },
    ...{ playTimeoutMs: 120_000, maxActionTokens: 20_000, maxActions: 20, finished: new Map() },
    samplers: new Map(samplers),
    tools: new Map([['python', createPythonTool(sandbox)]]),
    stop: new AbortController().signal,
    onAction: () => undefined,
    verdictOn: async () => undefined,
    onAnswer: async ({ trajectory, files }) => play.onEnd?.(trajectory, files),
  };
  const trajectory = await playTask(stage, play.task, 0);
  await workspaces.remove(trajectory.id);
  return trajectory;
}

import { loadConfig, resolveConfig } from './load-config.ts';
import type { CoachChoice, RunConfig, RunInput } from './schema.ts';

/** A coach named on the command line: a model's name, or a config file whose coach and coaching keys count. */
export async function chooseCoach(
  choice: string,
): Promise<{ readonly coach: CoachChoice; readonly coaching?: RunConfig['coaching'] }> {
  if (!/\.[cm]?[jt]s$/.test(choice)) return { coach: choice };
  const { coach, coaching } = await loadConfig(choice);
  return { coach, coaching };
}

/** What a run stores: objects as names, hashes of its tasks, and the agents' order, which JSON with sorted keys loses. */
type Stored = RunInput & {
  readonly taskHashes?: unknown;
  readonly coaching?: RunInput['coaching'] & { readonly rubricHash?: unknown };
  readonly team: RunInput['team'] & { readonly order?: readonly string[] };
};

function agentOf({ agents }: RunInput['team'], name: string) {
  const agent = agents[name];
  return agent === undefined ? [] : [[name, agent] as const];
}

/**
 * The config that a finished run was made with, as far as it can be told again: its team cannot play, its tasks are in
 * the run store, and its coach is another one.
 *
 * @param options.where names the run in messages
 * @throws BoundaryError("config") when an override is wrong, or the run is of a teamtune with other keys
 */
export function configOfRun(
  stored: unknown,
  changes: { readonly coach: CoachChoice; readonly coaching?: RunConfig['coaching'] },
  options: { readonly where: string; readonly overrides: readonly string[] },
): RunConfig {
  const { variant: _, tools: __, taskHashes: ___, team, ...rest } = stored as Stored;
  const { rubricHash: ____, ...coaching } = rest.coaching ?? {};
  const { order = Object.keys(team.agents), ...known } = team;
  const agents = Object.fromEntries(order.flatMap((name) => agentOf(team, name)));
  const play = () => Promise.reject(new Error('a recorded team cannot play'));
  const input: RunInput = {
    ...rest,
    coaching,
    team: { ...known, agents, play },
    tasks: { train: 'recorded in the run' },
    ...changes,
  };
  return resolveConfig(input, { ...options, directory: process.cwd() });
}

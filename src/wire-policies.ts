import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { checkpointName, checkpointsDirectory } from './checkpoint/checkpoint-directory.ts';
import { damageOf } from './checkpoint/restore-checkpoint.ts';
import { saveCheckpoint } from './checkpoint/save-checkpoint.ts';
import type { RunConfig } from './config/schema.ts';
import { BoundaryError } from './errors.ts';
import { type Published, publishAll } from './methods/training.ts';
import { seedFor } from './random.ts';
import { agentNames } from './rollout/team.ts';
import type { Policy, TrainingService } from './types/training-service.ts';
import { criticOf } from './wire-settings.ts';

/** Id of the one policy where all agents share it, and of its folder in a checkpoint. */
const sharedPolicy = 'shared';

type ServiceOf = (agent: string) => TrainingService;

/**
 * Every agent's policy.
 *
 * @param checkpoint a folder with each agent's weights and optimiser; absent = new ones
 * @param mark added to the policies' ids, where others of the same agents are open
 */
export async function openPolicies(
  serviceOf: ServiceOf,
  config: RunConfig,
  checkpoint: string | undefined,
  mark = '',
): Promise<ReadonlyMap<string, Policy>> {
  const { rank, alpha, targets, shared } = config.adapter;
  const open = (id: string) => {
    if (checkpoint !== undefined) refuseOtherAdapters(checkpoint, id);
    const from =
      checkpoint === undefined
        ? {}
        : { from: { directory: join(checkpoint, id), optimizer: true } };
    const seed = seedFor(config.seed, 'adapter', id);
    const shape = { rank, alpha, ...(targets && { targets }) };
    const valueHead = criticOf(config) !== undefined;
    return serviceOf(id).createPolicy({ id: `${id}${mark}`, seed, valueHead, ...shape, ...from });
  };
  const common = shared ? await open(sharedPolicy) : undefined;
  const policies = new Map<string, Policy>();
  for (const agent of agentNames(config.team)) policies.set(agent, common ?? (await open(agent)));
  return policies;
}

/**
 * The policies as an earlier step of the run left them, to play steps that are still to come.
 *
 * @param at.step 0 = before the first step
 * @param at.start the checkpoint that the run started from; absent = untrained adapters
 * @returns undefined where that step's checkpoint is damaged or gone
 */
export async function openPublished(
  serviceOf: ServiceOf,
  config: RunConfig,
  at: { readonly directory: string; readonly step: number; readonly start?: string },
): Promise<Published | undefined> {
  const { directory, step, start } = at;
  const checkpoint =
    step === 0 ? start : join(checkpointsDirectory(directory), checkpointName(step));
  if (checkpoint !== undefined && (await damageOf(checkpoint)) !== undefined) return undefined;
  const mark = `@${step}`;
  const policies = await openPolicies(serviceOf, config, checkpoint, mark);
  const published = [...(await publishAll(policies))].map(([agent, sampler]) => {
    // Actions name the agent's policy, whichever copy of it was sampled.
    const policyId = sampler.policyId?.slice(0, -mark.length);
    return [agent, { ...sampler, policyId }] as const;
  });
  return {
    after: step,
    samplers: new Map(published),
    close: async () => {
      for (const policy of new Set(policies.values())) await policy.close();
    },
  };
}

/** A checkpoint of agents with adapters of their own does not fit a run that shares one, nor the other way round. */
function refuseOtherAdapters(checkpoint: string, id: string): void {
  if (existsSync(join(checkpoint, id))) return;
  const advice =
    id === sharedPolicy
      ? 'it was trained without adapter.shared=true'
      : existsSync(join(checkpoint, sharedPolicy))
        ? 'its agents share one: set adapter.shared=true'
        : 'it is of another team or variant';
  throw new BoundaryError('config', `${checkpoint} holds no adapter "${id}"; ${advice}`);
}

/** Saves every policy as a step's checkpoint. @returns its name */
export async function savePolicies(
  policies: ReadonlyMap<string, Policy>,
  place: {
    readonly directory: string;
    readonly step: number;
    readonly keep: number;
    readonly configHash: string;
  },
): Promise<string> {
  const { name } = await saveCheckpoint({
    ...place,
    write: async (folder) => {
      for (const policy of new Set(policies.values())) {
        await policy.saveState(join(folder, policy.id)).result;
      }
    },
  });
  return name;
}

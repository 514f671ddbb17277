import type { RunConfig } from './config/schema.ts';
import { BoundaryError } from './errors.ts';
import type { OwnModel } from './methods/training.ts';
import { seedFor } from './random.ts';
import { loadTokenizer } from './tokenizer/tokenizer.ts';
import type { Policy, TrainingService } from './types/training-service.ts';
import { createLocalService } from './wire-service.ts';

/** The base with an adapter that is never trained. */
export function openReference(
  service: TrainingService,
  { seed, service: choice, adapter }: RunConfig,
): Promise<Policy> {
  // Some servers have adapters of one rank only.
  const rank = choice === 'local' ? 1 : adapter.rank;
  return service.createPolicy({ id: 'reference', seed: seedFor(seed, 'reference'), rank });
}

type Surroundings = {
  readonly willClose: (close: () => Promise<void>) => void;
  readonly note: (text: string) => void;
};

/**
 * The models that single agents play, each loaded once however many play it; undefined where none does.
 *
 * @param around.willClose told at once what must be closed, so that a later failure leaves nothing open
 * @throws BoundaryError("config") where policies are on a server
 */
export async function openOwnModels(
  config: RunConfig,
  around: Surroundings,
): Promise<ReadonlyMap<string, OwnModel> | undefined> {
  const { agents } = config.model;
  if (agents === undefined) return undefined;
  if (config.service !== 'local') {
    throw new BoundaryError(
      'config',
      'model.agents needs the engine in this process: a server has one base model; leave it out, or set service=local',
    );
  }
  const opened = new Map<string, OwnModel>();
  const models = new Map<string, OwnModel>();
  for (const [agent, path] of Object.entries(agents)) {
    const own = opened.get(path) ?? (await openOwnModel(config, path, around));
    opened.set(path, own);
    models.set(agent, own);
  }
  return models;
}

async function openOwnModel(
  config: RunConfig,
  path: string,
  { willClose, note }: Surroundings,
): Promise<OwnModel> {
  const tokenizer = await loadTokenizer(path);
  const service = await createLocalService({ model: { ...config.model, path } }, tokenizer, note);
  willClose(() => service.close());
  return { service, tokenizer, reference: await openReference(service, config) };
}

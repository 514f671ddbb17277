import { BoundaryError } from '../../errors.ts';
import type { Adam } from '../../types/training-service.ts';
import { type FixedAdam, profiles, type ServerKind } from './profile.ts';
import type { ServerRoom } from './server-room.ts';

/** How the configuration calls each number, for advice. */
const keys = {
  beta1: 'update.beta1',
  beta2: 'update.beta2',
  eps: 'update.eps',
  weightDecay: 'update.weightDecay',
  maxGradNorm: 'update.maxGradNorm',
} as const satisfies Record<keyof FixedAdam, string>;

/**
 * Says before anything is played what would be refused at the first step.
 *
 * @param started what the server was started with, where that is not its default
 * @throws BoundaryError("engine") when the server would step with another number than the caller wants
 */
export function refuseOtherSteps(
  adam: Omit<Adam, 'learningRate'>,
  server: ServerKind,
  started: { readonly [Name in keyof FixedAdam]?: FixedAdam[Name] | undefined } = {},
): void {
  const profile = profiles[server];
  refuseOtherNumbers(adam, { profile, fixedAdam: { ...profile.fixedAdam, ...given(started) } });
}

/** Without keys that hold nothing. */
export function given(started: object): Partial<FixedAdam> {
  return Object.fromEntries(Object.entries(started).filter(([, value]) => value !== undefined));
}

function refuseOtherNumbers(
  adam: Omit<Adam, 'learningRate'>,
  { profile, fixedAdam }: Pick<ServerRoom, 'profile' | 'fixedAdam'>,
): void {
  const wanted: FixedAdam = { ...adam, maxGradNorm: adam.maxGradNorm ?? false };
  for (const name of Object.keys(keys) as (keyof FixedAdam)[]) {
    if (profile.adam.has(name) || wanted[name] === fixedAdam[name]) continue;
    throw new BoundaryError(
      'engine',
      `${profile.name} takes no ${name} from a client: it steps with ${fixedAdam[name]}, and ${wanted[name]} is asked for; set ${keys[name]}=${fixedAdam[name]}, or tell \`tinker({ adam })\` what the server was started with`,
    );
  }
}

/** `adam_params` of an optimiser step. @throws as `refuseOtherSteps` */
export function adamParameters(
  adam: Adam,
  room: Pick<ServerRoom, 'profile' | 'fixedAdam'>,
): Readonly<Record<string, number>> {
  refuseOtherNumbers(adam, room);
  const { learningRate, beta1, beta2, eps, weightDecay, maxGradNorm } = adam;
  return {
    ...{ learning_rate: learningRate, beta1, beta2, eps, weight_decay: weightDecay },
    ...(room.profile.adam.has('maxGradNorm') && { grad_clip_norm: maxGradNorm ?? 0 }),
  };
}

import type { MethodChoice } from './method-schema.ts';
import type { RunConfig } from './schema.ts';

const askers = {
  mappa: ({ credit }) => credit.source === 'coach',
  maporl: ({ method }) => method.kind === 'maporl' && method.verifier === 'coach',
  malt: ({ method }) => method.kind === 'malt' && method.judge === 'coach',
} satisfies Record<MethodChoice['kind'], (config: RunConfig) => boolean>;

/** Whether a coach is asked: by the run's method, about every action, or by its team. */
export function asksCoach(config: RunConfig): boolean {
  return isCoached(config) || config.team.asksCoach === true;
}

/** Whether the run's method has every action scored by a coach. */
export function isCoached(config: RunConfig): boolean {
  return askers[config.method.kind](config);
}

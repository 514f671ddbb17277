import type { MethodChoice } from './method-schema.ts';
import type { RunConfig } from './schema.ts';

const askers = {
  mappa: ({ credit }) => credit.source === 'coach',
  maporl: ({ method }) => method.kind === 'maporl' && method.verifier === 'coach',
  malt: ({ method }) => method.kind === 'malt' && method.judge === 'coach',
} satisfies Record<MethodChoice['kind'], (config: RunConfig) => boolean>;

/** Whether the run's method has actions scored by a coach. */
export function asksCoach(config: RunConfig): boolean {
  return askers[config.method.kind](config);
}

import type { MethodChoice } from './config/method-schema.ts';
import type { RunConfig } from './config/schema.ts';
import { mappaStep } from './methods/mappa.ts';
import type { Method } from './methods/training.ts';

/** A method and how many of its steps make the run. */
export type WiredMethod = { readonly method: Method; readonly steps: number };

const methods = {
  mappa: ({ training }) => ({ method: mappaStep, steps: training.steps }),
} satisfies Record<MethodChoice['kind'], (config: RunConfig) => WiredMethod>;

/** What the config's `method` names. */
export function wireMethod(config: RunConfig): WiredMethod {
  return methods[config.method.kind](config);
}

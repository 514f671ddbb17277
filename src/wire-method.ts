import type { RunConfig } from './config/schema.ts';
import { countMaltSteps, createMalt } from './methods/malt/malt.ts';
import { createMaporl } from './methods/maporl.ts';
import { mappaStep } from './methods/mappa.ts';
import type { Method } from './methods/training.ts';

/** A method and how many of its steps make the run. */
export type WiredMethod = { readonly method: Method; readonly steps: number };

/** Keys of a method that a resumed run may change: what stopped it for want of other numbers goes on with them. */
export const freeMethodKeys = ['method.dpo'];

/** What the config's `method` names. */
export function wireMethod({ method, training }: RunConfig): WiredMethod {
  const { steps } = training;
  switch (method.kind) {
    case 'mappa':
      return { method: mappaStep, steps };
    case 'maporl': {
      const { payoffs, ...options } = method;
      return { method: createMaporl({ ...options, ...(payoffs && { payoffs }) }), steps };
    }
    case 'malt':
      return { method: createMalt(method), steps: countMaltSteps(method) };
  }
}

import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { findPeers } from './peers.ts';

export type BenchOptions = {
  /** The peers' Python, where there is one. */
  readonly python: string | undefined;
  /** Runs of each side. */
  readonly runs: number;
  readonly threads: number;
  readonly json: boolean;
  /** Whether a case is among those asked for. */
  readonly wants: (name: string) => boolean;
};

/** The options that every comparison takes. */
export function readOptions(): BenchOptions {
  const { values } = parseArgs({
    options: {
      'with-peers': { type: 'boolean', default: false },
      peers: { type: 'string' },
      runs: { type: 'string', default: '5' },
      threads: { type: 'string', default: String(availableParallelism()) },
      only: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  return {
    python: findPeers({ install: values['with-peers'], folder: values.peers }),
    runs: Number(values.runs),
    threads: Number(values.threads),
    json: values.json,
    wants: (name) => values.only === undefined || values.only.split(',').includes(name),
  };
}

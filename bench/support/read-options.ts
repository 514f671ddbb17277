import { availableParallelism } from 'node:os';
import { findPeers } from './peers.ts';
import { readChoice, readCount, readFlags } from './read-flags.ts';

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

/**
 * The options that every comparison takes; what nobody knows ends it with a sentence, and `--help` with the usage.
 *
 * @param bench as in `npm run bench:NAME`
 * @param cases that `--only` may name
 */
export function readOptions(bench: string, cases: readonly string[]): BenchOptions {
  const standard = String(availableParallelism());
  const choice = `cases, with commas between: ${cases.join(', ')}`;
  const values = readFlags(bench, {
    'with-peers': { type: 'boolean', default: false, help: 'install the peers that are missing' },
    peers: { type: 'string', help: 'folder of the peers’ Python environment' },
    runs: { type: 'string', default: '5', help: 'runs of each side' },
    threads: { type: 'string', default: standard, help: 'of each side' },
    only: { type: 'string', help: choice },
    json: { type: 'boolean', default: false, help: 'one JSON object last' },
  });
  const { peers, runs, threads } = values;
  return {
    python: findPeers({
      install: values['with-peers'] === true,
      folder: typeof peers === 'string' ? peers : undefined,
    }),
    runs: readCount(bench, { runs }),
    threads: readCount(bench, { threads }),
    json: values.json === true,
    wants: readChoice(bench, values.only, cases),
  };
}

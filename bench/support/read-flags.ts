import { parseArgs } from 'node:util';
import { messageOf } from '../../src/errors.ts';

/** A flag of a bench as `parseArgs` takes it, with what `--help` says of it. */
type Flag = {
  readonly type: 'string' | 'boolean';
  readonly default?: string | boolean;
  readonly help: string;
};

type Values<Name extends string> = { readonly [Key in Name]?: string | boolean };

/**
 * A bench's flags. `--help` prints the usage and ends; what nobody knows ends with one sentence and exit code 2.
 *
 * @param bench as in `npm run bench:NAME`
 */
export function readFlags<const Name extends string>(
  bench: string,
  flags: Readonly<Record<Name, Flag>>,
): Values<Name> {
  const options: Readonly<Record<string, Omit<Flag, 'help'>>> = {
    ...flags,
    help: { type: 'boolean' },
  };
  try {
    const { values } = parseArgs({ options });
    if (values.help !== true) return values as Values<Name>;
  } catch (error) {
    refuse(bench, messageOf(error).replace(/\. .*/s, ''));
  }
  console.log(usageOf(bench, flags));
  process.exit(0);
}

function usageOf(bench: string, flags: Readonly<Record<string, Flag>>): string {
  const lines = Object.entries(flags).map(([name, flag]) => {
    const { type, help, default: standard } = flag;
    const usual = typeof standard === 'string' ? ` (default: ${standard})` : '';
    return `  ${`--${name}${type === 'string' ? ' VALUE' : ''}`.padEnd(18)} ${help}${usual}`;
  });
  return [`usage: npm run bench:${bench} -- [options]`, ...lines].join('\n');
}

/** A whole number from 1 on, or to `most`, as the only entry of `flag`. */
export function readCount(
  bench: string,
  flag: Readonly<Record<string, string | boolean | undefined>>,
  most?: number,
): number {
  const [[name, value] = []] = Object.entries(flag);
  const count = Number(value);
  if (Number.isInteger(count) && count >= 1 && count <= (most ?? count)) return count;
  const range = `from 1 ${most === undefined ? 'on' : `to ${most}`}`;
  return refuse(bench, `--${name}: expected a whole number ${range}, got "${value}"`);
}

/** Whether a name is among those that `--only` asks for; without it all are. */
export function readChoice(
  bench: string,
  only: string | boolean | undefined,
  known: readonly string[],
): (name: string) => boolean {
  if (typeof only !== 'string') return () => true;
  const asked = only.split(',').map((name) => name.trim());
  const unknown = asked.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    refuse(bench, `--only: there is no "${unknown}"; there are ${known.join(', ')}`);
  }
  return (name) => asked.includes(name);
}

/** Ends a bench whose flags cannot be served, with exit code 2. */
export function refuse(bench: string, sentence: string): never {
  console.error(`bench:${bench}: ${sentence}; --help lists the options`);
  process.exit(2);
}

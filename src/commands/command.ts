import { type ParseArgsConfig, parseArgs } from 'node:util';
import { BoundaryError, messageOf } from '../errors.ts';

type Options = NonNullable<ParseArgsConfig['options']>;

/** Values of options after parsing. */
export type Values = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

/** One command of the CLI. `run` resolves to what `--json` prints, and prints for people itself when not `--json`. */
export type Command = {
  readonly summary: string;
  /** Words after the command's name, for example `CONFIG`. */
  readonly operands: readonly string[];
  readonly options: Readonly<Record<string, OptionHelp>>;
  readonly run: (request: Request) => Promise<unknown>;
};

export type OptionHelp = {
  readonly type: 'string' | 'boolean';
  readonly multiple?: boolean;
  readonly help: string;
};

export type Request = {
  readonly operands: readonly string[];
  readonly values: Values;
  readonly json: boolean;
};

const common: Readonly<Record<string, OptionHelp>> = {
  json: { type: 'boolean', help: 'print one JSON object last, progress on stderr' },
  help: { type: 'boolean', help: 'show this text' },
};

/** @throws BoundaryError("config") for options or operands that the command does not have */
export function parseRequest(name: string, command: Command, args: readonly string[]): Request {
  const { values, positionals } = parse(name, { ...command.options, ...common }, args);
  const missing = command.operands.slice(positionals.length).filter((word) => !word.endsWith('?'));
  if (values.help !== true && missing.length > 0) {
    throw new BoundaryError(
      'config',
      `${name}: expected ${missing.join(' ')}; see teamtune ${name} --help`,
    );
  }
  const extra = positionals[command.operands.length];
  if (extra !== undefined) {
    throw new BoundaryError('config', `${name}: unexpected ${extra}; see teamtune ${name} --help`);
  }
  return { operands: positionals, values, json: values.json === true };
}

function parse(name: string, options: Options, args: readonly string[]) {
  try {
    const parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
    return { values: parsed.values as Values, positionals: parsed.positionals };
  } catch (cause) {
    throw new BoundaryError(
      'config',
      `${name}: ${firstSentence(messageOf(cause))}; see teamtune ${name} --help`,
      { cause },
    );
  }
}

/** Node goes on with how an operand that begins with a dash is written, which no command here takes. */
function firstSentence(text: string): string {
  const [line = text] = text.split('\n');
  return line.split('. ')[0] ?? line;
}

/** The text of `--help`. */
export function helpOf(name: string, command: Command): string {
  const words = command.operands.map((word) =>
    word.endsWith('?') ? `[${word.slice(0, -1)}]` : word,
  );
  const lines = Object.entries({ ...command.options, ...common }).map(
    ([option, { type, help }]) => {
      const value = option === 'set' ? 'KEY=VALUE' : 'VALUE';
      const left = type === 'string' ? `--${option} ${value}` : `--${option}`;
      return `  ${left.padEnd(26)} ${help}`;
    },
  );
  return [
    `teamtune ${name} ${[...words, '[options]'].join(' ')}`,
    '',
    command.summary,
    '',
    ...lines,
  ].join('\n');
}

/** The value of an option that must be there. */
export function required(request: Request, option: string): string {
  const value = request.values[option];
  if (typeof value === 'string') return value;
  throw new BoundaryError('config', `--${option} is missing: expected --${option} VALUE`);
}

/** The value of an option, if it is there. */
export function optional(request: Request, option: string): string | undefined {
  const value = request.values[option];
  return typeof value === 'string' ? value : undefined;
}

/** All values of an option that may be repeated. */
export function repeated(request: Request, option: string): readonly string[] {
  const value = request.values[option];
  return Array.isArray(value) ? value : [];
}

/** The value of an option as a whole number from `least` on. */
export function integer(request: Request, option: string, least: number): number | undefined {
  const value = optional(request, option);
  if (value === undefined) return undefined;
  const number = Number(value);
  if (Number.isInteger(number) && number >= least) return number;
  throw new BoundaryError(
    'config',
    `--${option}: expected a whole number of at least ${least}, got ${value}`,
  );
}

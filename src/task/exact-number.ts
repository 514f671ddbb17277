/** A rational number; the denominator is positive. */
type Rational = { readonly numerator: bigint; readonly denominator: bigint };

const LONGEST = 100;
const LARGEST_EXPONENT = 100;

/** Multipliers that words after a number stand for. */
const MAGNITUDES: Readonly<Record<string, number>> = { thousand: 3, million: 6, billion: 9 };

/**
 * Whether two texts are plain numbers and the same one; exact, without rounding.
 *
 * Understood: integers (leading zeros too), decimals, `a/b`, `\frac{a}{b}`, mixed numbers, `1.5\times10^{3}`, `1.5e3`,
 * "5 million".
 *
 * @returns `undefined` when one of them is not a plain number
 */
export function sameNumber(left: string, right: string): boolean | undefined {
  const first = parseNumber(left);
  const second = parseNumber(right);
  if (first === undefined || second === undefined) return undefined;
  return first.numerator * second.denominator === second.numerator * first.denominator;
}

/** The number that is `factor` times the one written, as `a/b`; `undefined` when the text is not a plain number. */
export function scaledNumber(text: string, divisor: bigint): string | undefined {
  const number = parseNumber(text);
  if (number === undefined) return undefined;
  return `${number.numerator}/${number.denominator * divisor}`;
}

function parseNumber(text: string): Rational | undefined {
  if (text.length > LONGEST) return undefined;
  const compact = text.trim();
  return parseDecimal(compact) ?? parseFraction(compact) ?? parseScaled(compact);
}

function parseDecimal(text: string): Rational | undefined {
  const found = /^([-+]?)(\d*)(?:\.(\d*))?$/.exec(text);
  if (found === null) return undefined;
  const [, sign, whole = '', decimals = ''] = found;
  if (whole + decimals === '') return undefined;
  const numerator = BigInt(whole + decimals);
  return {
    numerator: sign === '-' ? -numerator : numerator,
    denominator: 10n ** BigInt(decimals.length),
  };
}

const FRACTION =
  /^([-+]?)(?:(\d+)\s*(?=\\frac|\s\d))?\s*(?:\\frac\s*\{?([-+]?\d+)\}?\s*\{([-+]?\d+)\}|\\frac\s*(\d)\s*(\d)|([-+]?\d+)\s*\/\s*(\d+))$/;

function parseFraction(text: string): Rational | undefined {
  const found = FRACTION.exec(text);
  if (found === null) return undefined;
  const [, sign, whole = '0', ...parts] = found;
  const [top, bottom] = parts.filter((part) => part !== undefined);
  if (top === undefined || bottom === undefined || BigInt(bottom) === 0n) return undefined;
  const flip = BigInt(bottom) < 0n ? -1n : 1n;
  const denominator = BigInt(bottom) * flip;
  const numerator = BigInt(whole) * denominator + BigInt(top) * flip;
  return { numerator: sign === '-' ? -numerator : numerator, denominator };
}

const SCIENTIFIC =
  /^([-+]?[\d.]+)\s*(?:[eE]\s*([-+]?\d+)|(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?:\{\s*([-+]?\d+)\s*\}|(-?\d+)))$/;

function parseScaled(text: string): Rational | undefined {
  const word = /^(.*\d)\s*(thousand|million|billion)$/i.exec(text);
  const power = word === null ? SCIENTIFIC.exec(text) : null;
  const mantissa = parseDecimal((word ?? power)?.[1] ?? '');
  if (mantissa === undefined) return undefined;
  const exponent =
    word === null
      ? Number(power?.slice(2).find((part) => part !== undefined))
      : (MAGNITUDES[word[2]?.toLowerCase() ?? ''] ?? Number.NaN);
  if (!(Math.abs(exponent) <= LARGEST_EXPONENT)) return undefined;
  const factor = 10n ** BigInt(Math.abs(exponent));
  return exponent >= 0
    ? { numerator: mantissa.numerator * factor, denominator: mantissa.denominator }
    : { numerator: mantissa.numerator, denominator: mantissa.denominator * factor };
}

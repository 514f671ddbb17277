import { ComputeEngine } from '@cortex-js/compute-engine';

const LONGEST = 200;
const LARGEST_EXPONENT_PRODUCT = 2000;
const LARGEST_EXPANDED_EXPONENT = 8;
const LARGEST_ARGUMENT = 200;

/** Commands that cannot loop: no sums, integrals, limits, definitions or iteration. */
const COMMANDS = new Set(
  (
    'frac sqrt pi cdot times div pm infty log ln lg sin cos tan cot sec csc arcsin arccos arctan binom ' +
    'lfloor rfloor lceil rceil alpha beta gamma theta lambda mu omega phi varphi sigma cup cap emptyset'
  ).split(' '),
);

let engine: ComputeEngine | undefined;

/** Made at the first use: it takes a moment, and most answers are plain numbers. */
function calculatorOf(): ComputeEngine {
  engine ??= new ComputeEngine();
  return engine;
}

/**
 * Whether two LaTeX expressions are the same value, or the same polynomial.
 *
 * Expressions that are too long, nest powers, or use anything outside a short list of harmless commands are never
 * evaluated and never equal, so that `9^{9^{9^9}}` costs nothing.
 */
export function sameExpression(left: string, right: string): boolean {
  if (!isHarmless(left) || !isHarmless(right)) return false;
  const calculator = calculatorOf();
  // A scope of its own: the engine remembers what it inferred about a symbol, and one answer must not sway another.
  calculator.pushScope();
  try {
    return isEqualIn(calculator, left, right);
  } catch (error) {
    if (error instanceof Error) return false;
    throw error;
  } finally {
    calculator.popScope();
  }
}

function isEqualIn(calculator: ComputeEngine, left: string, right: string): boolean {
  const first = calculator.parse(left);
  const second = calculator.parse(right);
  if (!first.isValid || !second.isValid) return false;
  if (isUndefinedValue(first.N().toString()) || isUndefinedValue(second.N().toString()))
    return false;
  const verdict = first.isEqual(second);
  if (verdict !== undefined) return verdict;
  if (!isExpandable(left) || !isExpandable(right)) return false;
  const difference = calculator.function('Subtract', [first, second]);
  return calculator.function('Expand', [difference]).evaluate().is(0);
}

function isUndefinedValue(value: string): boolean {
  return /NaN|ComplexInfinity|~oo|Undefined|^[-+]?oo$/.test(value);
}

function isHarmless(text: string): boolean {
  if (text === '' || text.length > LONGEST) return false;
  if (/[^\w\s+\-*/^(){}[\].!|\\<>=]/.test(text) || /\d{40}|[<>=]|!\s*!/.test(text)) return false;
  // Two numbers side by side are neither one number nor a product; the first may be the base of a logarithm.
  if (/(?<![_\d])\d+\s+\d/.test(text)) return false;
  const commands = [...text.matchAll(/\\([A-Za-z]+|.)/g)].map((found) => found[1] ?? '');
  if (!commands.every((command) => COMMANDS.has(command))) return false;
  // Words are not products of their letters.
  if (/[A-Za-z]{3}/.test(text.replace(/\\[A-Za-z]+/g, ' '))) return false;
  return arePowersSmall(text) && areArgumentsSmall(text);
}

function arePowersSmall(text: string): boolean {
  // A tower without braces: `9^9^9`.
  if (/\^\s*(?:-?\w+|\\[A-Za-z]+|\{[^{}]*\}|\([^()]*\))\s*\^/.test(text)) return false;
  const exponents = exponentsOf(text);
  if (exponents.some((exponent) => /[\^!]|binom/.test(exponent))) return false;
  return productOf(exponents) <= LARGEST_EXPONENT_PRODUCT;
}

/** Factorials and binomials grow like powers: small arguments only, and no powers of them. */
function areArgumentsSmall(text: string): boolean {
  if (!/!|binom/.test(text)) return true;
  if (text.includes('^') || (text.match(/!|binom/g) ?? []).length > 6) return false;
  if (/[)}\]]\s*!/.test(text)) return false;
  return [...text.matchAll(/\d+/g)].every((found) => Number(found[0]) <= LARGEST_ARGUMENT);
}

function isExpandable(text: string): boolean {
  const exponents = exponentsOf(text);
  return exponents.length <= 6 && productOf(exponents) <= LARGEST_EXPANDED_EXPONENT;
}

function productOf(exponents: readonly string[]): number {
  const numbers = exponents.flatMap((exponent) => exponent.match(/\d+/g) ?? []);
  return numbers.reduce((product, number) => product * Math.max(1, Number(number)), 1);
}

/** What stands after each `^`: a braced or bracketed group with all that it holds, or one sign. */
function exponentsOf(text: string): string[] {
  return [...text.matchAll(/\^\s*/g)].map((found) => groupAt(text, found.index + found[0].length));
}

function groupAt(text: string, start: number): string {
  if (text[start] !== '{' && text[start] !== '(') {
    return /^(?:-?\d+|\\[A-Za-z]+|.)?/.exec(text.slice(start))?.[0] ?? '';
  }
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    if (text[at] === '{' || text[at] === '(') depth += 1;
    if (text[at] === '}' || text[at] === ')') depth -= 1;
    if (depth === 0) return text.slice(start, at + 1);
  }
  return text.slice(start);
}

import { sameNumber, scaledNumber } from './exact-number.ts';
import { normaliseAnswer } from './normalise-answer.ts';
import { sameExpression } from './symbolic-equality.ts';

const LONGEST = 500;

/** A list of entries and the brackets around it; no brackets around a bare list. */
type List = { readonly open: string; readonly close: string; readonly entries: readonly string[] };

/**
 * Whether two written answers mean the same, as a careful human grader would say.
 *
 * The gold may name alternatives ("080 or 081 (both were accepted)") or a choice with its value (`\textbf{(A)} 70`).
 */
export function isSameAnswer(prediction: string, gold: string): boolean {
  if (prediction.trim() === gold.trim()) return prediction.trim() !== '';
  if (prediction.length > LONGEST || gold.length > LONGEST) return false;
  return alternatives(gold).some((alternative) => isSameAsOne(prediction, alternative));
}

function alternatives(gold: string): string[] {
  const stated = gold.replace(/\s*\((?:both|either|all)[^()]*\)\s*$/i, '');
  return stated.split(/\s+or\s+|\s*\\text\s*\{\s*or\s*\}\s*/);
}

function isSameAsOne(prediction: string, gold: string): boolean {
  const letter = choiceLetter(gold);
  if (letter !== undefined && choiceLetter(prediction) === letter) return true;
  // A value is never equal to a bare letter, nor to a letter with another value.
  return isSameValue(normaliseAnswer(prediction), normaliseAnswer(gold));
}

/** The letter of `A`, `(A)`, `\textbf{(A)} 70`, `\text{A}` or "A. 70"; `undefined` when there is none. */
function choiceLetter(text: string): string | undefined {
  const plain = text
    .replace(/\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}/g, '$1')
    .replace(/[$*]/g, '')
    .trim();
  return /^(?:\(([A-Ja-j])\)|([A-J])[.:)]|([A-J])$)/
    .exec(plain)
    ?.slice(1)
    .find(Boolean)
    ?.toUpperCase();
}

function isSameValue(prediction: string, gold: string): boolean {
  if (prediction === '' || gold === '') return false;
  if (squeeze(prediction) === squeeze(gold)) return true;
  const lists = sameList(prediction, gold);
  if (lists !== undefined) return lists;
  const percent = samePercent(prediction, gold);
  if (percent !== undefined) return percent;
  const numbers = sameNumber(prediction, gold);
  if (numbers !== undefined) return numbers;
  const sides = sameSides(prediction, gold);
  if (sides !== undefined) return sides;
  return sameExpression(prediction, gold);
}

/** Without spaces, but for those between two numbers that are no thousands; words of several letters are compared without case, single letters with it. */
function squeeze(text: string): string {
  return text
    .replace(/[A-Za-z]{3,}/g, (word) => word.toLowerCase())
    .replace(/(?<!\d)\s+|\s+(?!\d)|(?<=\d)\s+(?=\d{3}(?!\d))/g, '')
    .replace(/\^\{(\w)\}/g, '^$1');
}

function samePercent(prediction: string, gold: string): boolean | undefined {
  const plain = [prediction, gold].map((text) => text.replace(/\\?%|\s*\bpercent\b/g, '').trim());
  const [left = '', right = ''] = plain;
  if (left === prediction && right === gold) return undefined;
  if (isSameValue(left, right)) return true;
  const isLeft = left !== prediction;
  if (isLeft === (right !== gold)) return false;
  const share = scaledNumber(isLeft ? left : right, 100n);
  return share !== undefined && sameNumber(share, isLeft ? right : left) === true;
}

/** `x = 25` against `25`, and `2 = y` against `y = 2`; `undefined` when there is no equation. */
function sameSides(prediction: string, gold: string): boolean | undefined {
  const left = sidesOf(prediction);
  const right = sidesOf(gold);
  if (left.length === 1 && right.length === 1) return undefined;
  if (left.length > 1 && right.length > 1) {
    return (
      left.length === right.length &&
      (sameInOrder(left, right) || sameInOrder(left.toReversed(), right))
    );
  }
  return isSameValue(statedValue(left), statedValue(right));
}

function sidesOf(text: string): string[] {
  return text.split(/(?<![<>!])=|\\in(?![A-Za-z])|\\approx|≈/).map((side) => side.trim());
}

/** The side that states the value: the last one, unless that is a lone variable. */
function statedValue(sides: readonly string[]): string {
  const last = sides.at(-1) ?? '';
  return sides.length > 1 && /^[A-Za-z]$/.test(last) ? (sides[0] ?? '') : last;
}

function sameInOrder(left: readonly string[], right: readonly string[]): boolean {
  return (
    left.length === right.length && left.every((entry, at) => isSameValue(entry, right[at] ?? ''))
  );
}

function sameAsSet(left: readonly string[], right: readonly string[]): boolean {
  if (left.length !== right.length) return false;
  const unmatched = [...right];
  return left.every((entry) => {
    const at = unmatched.findIndex((other) => isSameValue(entry, other));
    if (at !== -1) unmatched.splice(at, 1);
    return at !== -1;
  });
}

/** Compares lists entry by entry; `undefined` when neither text is a list. */
function sameList(prediction: string, gold: string): boolean | undefined {
  const left = listOf(withoutName(prediction));
  const right = listOf(withoutName(gold));
  if (left === undefined && right === undefined) return undefined;
  if (left === undefined || right === undefined) return sameMixed(prediction, gold, left ?? right);
  if (right.open === '\\{' || left.open === '\\{') {
    const areSets = [left, right].every((list) => list.open === '\\{' || list.open === '');
    return areSets && sameAsSet(left.entries, right.entries);
  }
  const isBare = left.open === '' || right.open === '';
  const sameBrackets = left.open === right.open && left.close === right.close;
  const roundOrBare = [left, right].every(
    (list) => (list.open + list.close).replace('()', '') === '',
  );
  return (sameBrackets || (isBare && roundOrBare)) && sameInOrder(left.entries, right.entries);
}

/** One list, one single value: `100,200` was read as a number with thousands, or `(5)` is 5 in brackets. */
function sameMixed(prediction: string, gold: string, list: List | undefined): boolean | undefined {
  const single = listOf(withoutName(prediction)) === undefined ? prediction : gold;
  if (list?.entries.length === 1) return isSameValue(single, list.entries[0] ?? '');
  const grouped = list?.entries.join('') ?? '';
  const hasThousands = list?.entries.slice(1).every((entry) => /^\d{3}$/.test(entry)) ?? false;
  return hasThousands && list?.open === '(' ? squeeze(single) === grouped : false;
}

/** `(x, y) = (1, 2)` and `x \in [0, 1)` without the name in front. */
function withoutName(text: string): string {
  return text.replace(
    /^(?:\(?[A-Za-z](?:\s*,\s*[A-Za-z])*\)?\s*(?:=|\\in(?![A-Za-z])))\s*(?=[([\\])/,
    '',
  );
}

function listOf(text: string): List | undefined {
  const found = /^(\\\{|[([])(.*)(\\\}|[)\]])$/s.exec(text);
  const [, open = '', inner = text, close = ''] = found ?? [];
  const isWrapped = found !== null && isBalanced(inner);
  const entries = splitTopLevel(isWrapped ? inner : text);
  if (entries.length < 2 && !isWrapped) return undefined;
  // Brackets around one expression only group it.
  if (entries.length < 2 && open === '(') return undefined;
  return { open: isWrapped ? open : '', close: isWrapped ? close : '', entries };
}

function isBalanced(text: string): boolean {
  let depth = 0;
  for (const sign of text) {
    if ('([{'.includes(sign)) depth += 1;
    if (')]}'.includes(sign)) depth -= 1;
    if (depth < 0) return false;
  }
  return depth === 0;
}

function splitTopLevel(text: string): string[] {
  const entries: string[] = [];
  let depth = 0;
  let entry = '';
  for (const sign of text) {
    if ('([{'.includes(sign)) depth += 1;
    if (')]}'.includes(sign)) depth -= 1;
    if ((sign === ',' || sign === ';') && depth === 0) {
      entries.push(entry.trim());
      entry = '';
    } else {
      entry += sign;
    }
  }
  const last = entry.replace(/^\s*(?:and|or)\s+/, '').trim();
  return [...entries, last].filter((part) => part !== '');
}

import { z } from 'zod';
import { splitThinking } from '../tools/split-thinking.ts';
import { type Blame, blames } from '../types/feedback.ts';

/** What a coach model is asked to fill in; the reason first, so that the score follows from it. */
export const verdictForm = z.object({
  reason: z.string().describe('Two to four sentences.'),
  score: z.number().describe('Points from 0 (terrible) to 10 (perfect).'),
  blame: z.enum(blames),
  upstreamAgent: z.string().nullable().describe('The earlier agent at fault, else null.'),
});

/** The same where the coach is shown the reference answer. */
export const verdictFormWithAnswer = verdictForm.extend({
  answerCorrect: z
    .boolean()
    .nullable()
    .describe('Whether the final answer in this action is the reference answer; null without one.'),
});

/** Stricter than the form: providers differ in which limits a form may state. */
const strictVerdict = z.object({
  reason: z.string(),
  score: z.number().min(0).max(10),
  blame: z.enum(blames).default('none'),
  upstreamAgent: z.string().nullish(),
  answerCorrect: z.boolean().nullish(),
});

/** What a coach model said about one action. */
export type Verdict = {
  readonly reason: string;
  /** 0 to 10. */
  readonly score: number;
  readonly blame: Blame;
  readonly upstreamAgent?: string;
  /** What the coach, shown the reference answer, says of the action's final answer. Never a grade: those are by rule. */
  readonly answerCorrect?: boolean;
};

/** A verdict, or what is wrong with the reply. */
export type ParsedReply =
  | { readonly verdict: Verdict }
  | { readonly verdict?: undefined; readonly problem: string };

/**
 * Reads a coach's reply: a JSON verdict, bare or fenced, that the reply ends with, else the text protocol `PROCESS_SCORE: n`, with
 * `ANSWER_CORRECT: 0` or `1` beside it where the reference answer was shown.
 *
 * Strict: a number that is not stated as the score, is outside 0–10, or contradicts another is no score, and thoughts
 * (`<think>`) hold no verdict. The text protocol carries no blame; it reads as `none`.
 *
 * @param options.isAnswerShown whether a word on the answer was asked for; without it such a word is passed over
 * @param options.isCutOff the reply hit its length limit: it holds a verdict only where it is one whole JSON verdict, since
 *   `PROCESS_SCORE: 1` may be the start of a 10, and what looks like words may be a thought
 */
export function parseVerdict(
  reply: string,
  options: { readonly isAnswerShown: boolean; readonly isCutOff: boolean },
): ParsedReply {
  const parsed = readVerdict(reply, options.isCutOff);
  if (parsed.verdict === undefined || options.isAnswerShown) return parsed;
  const { answerCorrect: _, ...verdict } = parsed.verdict;
  return { verdict };
}

function readVerdict(reply: string, isCutOff: boolean): ParsedReply {
  // Before thoughts are looked for: the reason may quote a `<think>` of the agent's.
  const whole = wholeJson(reply);
  if (whole !== undefined) return parseJsonVerdict(whole, reply);
  if (isCutOff) return { problem: 'It ends before its verdict does.' };
  const { said: text } = splitThinking(reply);
  const json = jsonObject(text);
  return json === undefined ? parseTextVerdict(text) : parseJsonVerdict(json, text);
}

/** The verdict that is the whole reply, bare or fenced. */
function wholeJson(reply: string): unknown {
  const body = /^\s*(?:```(?:json)?\s)?\s*(\{[\s\S]*\})\s*(?:```)?\s*$/i.exec(reply)?.[1];
  const value = body === undefined ? undefined : parsedOrUndefined(body);
  return isVerdictLike(value, body ?? '') ? value : undefined;
}

/** A key spelled with escapes is a quotation. */
function isVerdictLike(value: unknown, text: string): boolean {
  return (
    typeof value === 'object' && value !== null && 'score' in value && text.includes('"score"')
  );
}

function parseJsonVerdict(json: unknown, text: string): ParsedReply {
  const parsed = strictVerdict.safeParse(json);
  if (!parsed.success) {
    const said = z.prettifyError(parsed.error).replace(/\s*\n\s*/g, ' ');
    return { problem: `The verdict does not fit: ${said}` };
  }
  const { upstreamAgent, answerCorrect, ...verdict } = parsed.data;
  // A quoted verdict of someone else must not pass for the coach's own.
  const stated = [...statedScores(text), ...jsonScores(text)];
  if (stated.some(({ points }) => points !== verdict.score)) {
    return { problem: `Expected one score, got ${verdict.score} and ${quoted(stated)}.` };
  }
  return {
    verdict: {
      ...verdict,
      ...(upstreamAgent ? { upstreamAgent } : {}),
      ...(typeof answerCorrect === 'boolean' ? { answerCorrect } : {}),
    },
  };
}

/**
 * The object that the reply ends with, fenced or bare. One with words after it is a quotation, and so is a key spelled
 * with escapes.
 */
function jsonObject(text: string): unknown {
  const body = text.replaceAll('`', ' ').trimEnd().length;
  const ended = text.slice(0, body);
  if (!ended.endsWith('}')) return undefined;
  for (let at = ended.indexOf('{'); at !== -1; at = ended.indexOf('{', at + 1)) {
    const candidate = ended.slice(at);
    const value = parsedOrUndefined(candidate);
    if (typeof value !== 'object' || value === null) continue;
    return isVerdictLike(value, candidate) ? value : undefined;
  }
  return undefined;
}

function parsedOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const SCORE_LINE = /^[\s>*_#`-]*process[_ ]score[\s*_`]*[:=](.*)$/gim;
const ANSWER_LINE = /^[\s>*_#`-]*answer[_ ]correct[\s*_`]*[:=](.*)$/gim;
/** On a line whose Markdown and white space are single spaces. */
const POINTS =
  /^[[(<{]? ?(\d{1,2}(?:\.\d+)?) ?[\])>}]? ?(?:(?:\/|out of) ?10(?!\.?\d))? ?[\])>}]? ?\.? ?(?:\([^()\d]*\))? ?\.?$/i;
const JSON_SCORE = /"score"\s*:\s*(-?\d+(?:\.\d+)?)/g;
const BIT = /^[\s*_`]*[[(<{]?\s*([01])\s*[\])>}]?[\s*_`.]*$/;

type Stated<Value> = { readonly line: string; readonly at: number; readonly points: Value };

function statedScores(text: string): Stated<number | undefined>[] {
  return [...text.matchAll(SCORE_LINE)].map((found) => ({
    line: found[0],
    at: found.index,
    points: pointsOf(found[1] ?? ''),
  }));
}

function jsonScores(text: string): Stated<number>[] {
  return [...text.matchAll(JSON_SCORE)].map((found) => ({
    line: found[0],
    at: found.index,
    points: Number(found[1]),
  }));
}

function parseTextVerdict(text: string): ParsedReply {
  const stated = statedScores(text);
  const first = stated[0];
  if (first === undefined) {
    return { problem: 'There is neither a JSON verdict nor a line `PROCESS_SCORE: <0 to 10>`.' };
  }
  const score = first.points;
  const all = [...stated, ...jsonScores(text)];
  if (score === undefined || all.some(({ points }) => points !== score)) {
    return { problem: `Expected one score from 0 to 10, got ${quoted(all)}.` };
  }
  const reason = text.slice(0, first.at).replace(ANSWER_LINE, '').trim();
  return { verdict: { score, reason, blame: 'none', ...statedAnswer(text) } };
}

/** One clear 0 or 1; what contradicts itself says nothing. */
function statedAnswer(text: string): { readonly answerCorrect?: boolean } {
  const bits = [...text.matchAll(ANSWER_LINE)].map((found) => BIT.exec(found[1] ?? '')?.[1]);
  const [bit] = bits;
  if (bit === undefined || bits.some((other) => other !== bit)) return {};
  return { answerCorrect: bit === '1' };
}

function quoted(stated: readonly Stated<unknown>[]): string {
  return stated.map(({ line }) => `"${line.trim().slice(0, 60)}"`).join(', ');
}

function pointsOf(text: string): number | undefined {
  const line = text.replace(/[\s*_`]+/g, ' ').trim();
  const points = Number(POINTS.exec(line)?.[1] ?? Number.NaN);
  return points >= 0 && points <= 10 ? points : undefined;
}

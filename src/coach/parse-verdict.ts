import { z } from 'zod';

const BLAMES = ['none', 'self', 'upstream', 'tool', 'task'] as const;

/** What a coach model is asked to fill in; the reason first, so that the score follows from it. */
export const verdictForm = z.object({
  reason: z.string().describe('Two to four sentences.'),
  score: z.number().describe('Points from 0 (terrible) to 10 (perfect).'),
  blame: z.enum(BLAMES),
  upstreamAgent: z.string().nullable().describe('The earlier agent at fault, else null.'),
});

/** Stricter than the form: providers differ in which limits a form may state. */
const strictVerdict = z.object({
  reason: z.string(),
  score: z.number().min(0).max(10),
  blame: z.enum(BLAMES).default('none'),
  upstreamAgent: z.string().nullish(),
});

/** What a coach model said about one action. */
export type Verdict = {
  readonly reason: string;
  /** 0 to 10. */
  readonly score: number;
  readonly blame: (typeof BLAMES)[number];
  readonly upstreamAgent?: string;
};

/** A verdict, or what is wrong with the reply. */
export type ParsedReply =
  | { readonly verdict: Verdict }
  | { readonly verdict?: undefined; readonly problem: string };

/**
 * Reads a coach's reply: a JSON verdict, bare or fenced, else the text protocol `PROCESS_SCORE: n`.
 *
 * Strict: a number that is not stated as the score, is outside 0–10, or contradicts another is no score. The text protocol
 * carries no blame; it reads as `none`.
 */
export function parseVerdict(text: string): ParsedReply {
  const json = jsonObject(text);
  if (json !== undefined) return parseJsonVerdict(json);
  return parseTextVerdict(text);
}

function parseJsonVerdict(json: unknown): ParsedReply {
  const parsed = strictVerdict.safeParse(json);
  if (!parsed.success) {
    return { problem: `The verdict does not fit: ${z.prettifyError(parsed.error)}` };
  }
  const { upstreamAgent, ...verdict } = parsed.data;
  return { verdict: { ...verdict, ...(upstreamAgent ? { upstreamAgent } : {}) } };
}

function jsonObject(text: string): unknown {
  const candidates = [text, text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1)];
  for (const candidate of candidates) {
    const value = parsedOrUndefined(candidate);
    if (typeof value === 'object' && value !== null && 'score' in value) return value;
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

const MARKED_LINE = /^[\s>*_#`-]*process[_ ]score[\s*_`]*[:=](.*)$/gim;
const POINTS =
  /^[\s*_`]*[[(<{]?\s*(\d{1,2}(?:\.\d+)?)\s*(?:(?:\/|out of)\s*10(?![\d.]))?\s*[\])>}]?[\s*_`.]*$/i;

function parseTextVerdict(text: string): ParsedReply {
  const lines = [...text.matchAll(MARKED_LINE)];
  const first = lines[0];
  if (first === undefined) {
    return { problem: 'There is neither a JSON verdict nor a line `PROCESS_SCORE: <0 to 10>`.' };
  }
  const scores = lines.map((line) => pointsOf(line[1] ?? ''));
  const [score] = scores;
  if (score === undefined || scores.some((other) => other !== score)) {
    const stated = lines.map((line) => `"${line[0].trim().slice(0, 60)}"`).join(', ');
    return { problem: `Expected one score from 0 to 10, got ${stated}.` };
  }
  return { verdict: { score, reason: text.slice(0, first.index).trim(), blame: 'none' } };
}

function pointsOf(text: string): number | undefined {
  const points = Number(POINTS.exec(text)?.[1] ?? Number.NaN);
  return points >= 0 && points <= 10 ? points : undefined;
}

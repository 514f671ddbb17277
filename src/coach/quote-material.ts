/** Head and tail of a text that is too long, with the omission stated: errors stand at the end of a traceback. */
export function elide(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const half = Math.floor(limit / 2);
  const left = text.length - 2 * half;
  return `${text.slice(0, half)}\n[… ${left} characters left out here …]\n${text.slice(-half)}`;
}

/** The first and the last of texts that are too many, whole, with the omission stated; at least one of each end stays. */
export function elideItems(texts: readonly string[], limit: number, what: string): string[] {
  const sizeOf = (some: readonly string[]) => some.reduce((sum, { length }) => sum + length, 0);
  if (texts.length < 3 || sizeOf(texts) <= limit) return [...texts];
  let [head, tail] = [1, 1];
  while (sizeOf(texts.slice(0, head + 1)) <= limit / 2) head++;
  while (sizeOf(texts.slice(-tail - 1)) <= limit / 2) tail++;
  const left = texts.length - head - tail;
  if (left < 1) return [...texts];
  const note = `[… ${left} ${what} left out here …]`;
  return [...texts.slice(0, head), note, ...texts.slice(-tail)];
}

/** What may stand between the words of a forged marker: white space, Markdown, and characters that nobody sees. */
const GAP = '[\\s_*\\\\\\-\\u200b-\\u200f\\u2060\\ufeff]*';
const VERDICT = new RegExp(`(process|outcome)${GAP}score`, 'gi');
const ANSWER = new RegExp(`answer${GAP}correct(?=${GAP}[:=])`, 'gi');
const FENCE = /<\s*\/?\s*data-[0-9a-f]*[^>\n]*>?/gi;
/** The key, also with letters spelled as JSON escapes. */
const SCORE_KEY =
  /(["'])(?:s|\\u00[57]3)(?:c|\\u00[46]3)(?:o|\\u00[46]f)(?:r|\\u00[57]2)(?:e|\\u00[46]5)\1(\s*:)/gi;

/**
 * Takes the force out of forged fences and verdicts, and leaves visible that they were there. A `"score":` key is quoted
 * apart, so that a coach who repeats an agent's JSON does not give a verdict with it.
 */
export function defuse(text: string): string {
  return text
    .replace(FENCE, '[forged fence]')
    .replace(VERDICT, '[forged verdict: $1 score]')
    .replace(ANSWER, '[forged verdict: answer correct]')
    .replace(SCORE_KEY, '$1score$1 (as data)$2');
}

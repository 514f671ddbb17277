const END_TOKENS = /<\|(?:im_end|endoftext|eot_id|end_of_text)\|>|<\/s>/g;

/** A text split by its thoughts: what is said outside, and what finished thoughts say. */
type Spoken = { readonly said: string; readonly thought: string };

/**
 * Reads the final answer out of a model's text, as a careful reader would.
 *
 * In this order: the last non-empty `\boxed{}` outside thoughts; what follows "the answer is" outside thoughts; the last
 * box of a finished thought; the last number outside thoughts. What only an unfinished thought says is no answer.
 *
 * @returns the answer as written, or `undefined` when there is none
 */
export function extractAnswer(text: string): string | undefined {
  const { said, thought } = splitThoughts(text.replace(END_TOKENS, ' '));
  return lastBox(said) ?? afterPhrase(said) ?? lastBox(thought) ?? lastNumber(said);
}

/**
 * Separates thoughts from speech. A `</think>` without its opening closes a thought that began with the text, because
 * some chat templates put the opening tag into the prompt; an opening without its end hides all that follows.
 */
function splitThoughts(text: string): Spoken {
  let said = '';
  let thought = '';
  let pending = '';
  let isThinking = false;
  for (const part of text.split(/(<\/?think>)/)) {
    if (part === '<think>') {
      said += isThinking ? '' : pending;
      pending = isThinking ? pending : '';
      isThinking = true;
    } else if (part === '</think>') {
      thought += `${pending}\n`;
      pending = '';
      isThinking = false;
    } else {
      pending += part;
    }
  }
  return { said: isThinking ? said : said + pending, thought };
}

function lastBox(text: string): string | undefined {
  let from = text.length;
  while (from > 0) {
    const at = text.lastIndexOf('boxed', from - 1);
    if (at === -1) return undefined;
    const content = boxContent(text.slice(at + 'boxed'.length));
    if (content !== '') return content;
    from = at;
  }
  return undefined;
}

function boxContent(rest: string): string {
  const opened = rest.trimStart();
  if (!opened.startsWith('{')) return (/^[^\s$,;]+/.exec(opened)?.[0] ?? '').replace(/\.$/, '');
  let depth = 0;
  for (let at = 0; at < opened.length; at++) {
    if (opened[at] === '\\') {
      at += 1;
    } else if (opened[at] === '{') {
      depth += 1;
    } else if (opened[at] === '}') {
      depth -= 1;
      if (depth === 0) return opened.slice(1, at).trim();
    }
  }
  // The box was never closed: what stands on its line is all there is.
  return (opened.slice(1).split('\n')[0] ?? '').replace(/\$+\s*$/, '').trim();
}

const PHRASE = /(?:answer\s*(?:\*\*)?\s*(?:is|:|=)|####)/gi;

function afterPhrase(text: string): string | undefined {
  const last = [...text.matchAll(PHRASE)].at(-1);
  if (last === undefined) return undefined;
  const rest = text.slice(last.index + last[0].length, last.index + last[0].length + 400);
  const candidate = rest.replace(
    /^(?:[\s:*]|is\b|indeed\b|therefore\b|approximately\b|about\b)+/i,
    '',
  );
  const answer = leadingMath(candidate) ?? leadingNumber(candidate) ?? sentence(candidate);
  return answer === '' ? undefined : answer;
}

function leadingMath(text: string): string | undefined {
  return /^(?:\$\$?([^$\n]+)\$|\\\(([^\n]+?)\\\)|\\\[([^\n]+?)\\\])/
    .exec(text)
    ?.slice(1)
    .find((group) => group !== undefined)
    ?.trim();
}

/** The number a sentence begins with, when only words or nothing follow it: "42 because …". */
function leadingNumber(text: string): string | undefined {
  const found =
    /^(-?\d[\d,]*(?:\.\d+)?(?:\/\d+)?%?)(?=\*|[.,;:!?]?(?:\s+(?!or\b|and\b)(?:[A-Za-z]|\()|\s*$)|[.,;]?\n)/.exec(
      text,
    );
  return found?.[1]?.replace(/,$/, '');
}

function sentence(text: string): string {
  const line = text.trimStart().split('\n')[0] ?? '';
  return (line.split(/[.;!?](?:\s|$)/)[0] ?? '').replace(/\*+/g, '').trim();
}

function lastNumber(text: string): string | undefined {
  const numbers = text.matchAll(
    /(?:(?<![\w)\]}])-)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:\/\d+)?/g,
  );
  return [...numbers].at(-1)?.[0];
}

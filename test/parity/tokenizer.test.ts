// Against Python's tokenizers and jinja2 (make_tokenizer_fixtures.py): every string and every conversation, exactly.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { compileChatTemplate } from '../../src/tokenizer/chat-template.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import type { Message } from '../../src/types/message.ts';

const place = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const rowsOf = <Row>(name: string): readonly Row[] =>
  readFileSync(place(`tokenizers/${name}.jsonl`), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

/** A text, its ids, and what the ids decode to where that is another text. */
type Encoded = readonly [text: string, ids: readonly number[], decoded?: string];

describe.each(['qwen', 'llama3'])('the pre-tokenizer and byte-level BPE of %s', (name) => {
  const rows = rowsOf<Encoded>(name);

  it('give 1,200 strings the ids that Python gives them', async () => {
    const tokenizer = await loadTokenizer(place(`tokenizers/${name}`));
    expect(rows).toHaveLength(1200);
    const wrong = rows.filter(([text, ids]) => tokenizer.encode(text).join() !== ids.join());
    expect(wrong.map(([text]) => text)).toEqual([]);
  });

  it('turn the ids back into the text that Python has', async () => {
    const tokenizer = await loadTokenizer(place(`tokenizers/${name}`));
    const wrong = rows.filter(([text, ids, decoded = text]) => tokenizer.decode(ids) !== decoded);
    expect(wrong.map(([text]) => text)).toEqual([]);
  });
});

/** A conversation, and how jinja2 renders it. */
type Rendered = {
  readonly template: string;
  readonly name: string;
  readonly variables: Readonly<Record<string, unknown>>;
  readonly prompt: boolean;
  readonly messages: readonly Message[];
  readonly text: string;
};

const conversations = rowsOf<Rendered>('conversations');

describe.each([...new Set(conversations.map(({ template }) => template))])(
  'the chat template %s',
  (template) => {
    const source = readFileSync(place(`templates/${template}.jinja`), 'utf8');
    const tokens = { bos_token: '<|begin_of_text|>', eos_token: '<|im_end|>' };

    it.each(conversations.filter((each) => each.template === template))(
      'renders as in Python: $name, with $variables, prompt: $prompt',
      ({ variables, prompt, messages, text }) => {
        const render = compileChatTemplate(source, { ...tokens, ...variables }, template);
        expect(render(messages, prompt)).toBe(text);
      },
    );
  },
);

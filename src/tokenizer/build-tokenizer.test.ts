import { Tokenizer } from '@huggingface/tokenizers';
import { describe, expect, it } from 'vitest';
import { buildTokenizerFiles } from './build-tokenizer.ts';

function build(words: readonly string[]) {
  const files = buildTokenizerFiles({ words });
  const library = new Tokenizer(files.tokenizer, files.config);
  const encode = (text: string) => library.encode(text, { add_special_tokens: false }).ids;
  return { files, encode };
}

/** Ids of numbers: '0'..'9' are their bytes (48..57), 10 is the first id after the bytes. */
const numberId = (number: number) => (number < 10 ? 48 + number : 246 + number);

/** Bytes 0..255, numbers 10..999, five words of the template. */
const firstWord = 256 + 990 + 5;

describe('buildTokenizerFiles', () => {
  it('gives every number below 1000 one id and never splits it by a shorter one', () => {
    const { encode } = build([]);
    for (const number of [0, 9, 10, 12, 123, 999])
      expect(encode(String(number))).toEqual([numberId(number)]);
    expect(encode('12+123')).toEqual([numberId(12), 43, numberId(123)]);
  });

  it('splits longer digit runs from the left in threes, and leading zeros into digits', () => {
    const { encode } = build([]);
    expect(encode('1234')).toEqual([numberId(123), numberId(4)]);
    expect(encode('007')).toEqual([48, 48, 55]);
  });

  it('takes the longest word, and a word only where its run of letters ends', () => {
    const { encode } = build(['the', ' the', 'print(', '##', '#', 'x1']);
    expect(encode('the the')).toEqual([firstWord, firstWord + 1]);
    expect(encode('###')).toEqual([firstWord + 3, 35]);
    expect(encode('then')).toEqual([...Buffer.from('then')]);
    expect(encode('print(12)')).toEqual([firstWord + 2, numberId(12), 41]);
    expect(encode('x12')).toEqual([120, numberId(12)]);
  });

  it('falls to bytes by value for what is not a word', () => {
    const { encode } = build([]);
    expect(encode('é🙂')).toEqual([0xc3, 0xa9, 0xf0, 0x9f, 0x99, 0x82]);
  });

  it('puts the special tokens last and counts every id', () => {
    const { files, encode } = build(['the']);
    expect(files.vocabSize).toBe(firstWord + 1 + 3);
    expect(encode('<|endoftext|><|im_start|><|im_end|>')).toEqual([
      firstWord + 1,
      firstWord + 2,
      firstWord + 3,
    ]);
  });

  it('refuses words that hold a control token, empty words and more than 1000 numbers', () => {
    expect(() => build(['a<|im_end|>'])).toThrow(/control token <\|im_end\|>/);
    expect(() => build([''])).toThrow(/empty string/);
    expect(() => buildTokenizerFiles({ words: [], numbers: 1001 })).toThrow(/0 to 1000, got 1001/);
  });
});

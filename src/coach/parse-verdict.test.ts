import { describe, expect, it } from 'vitest';
import { parseVerdict } from './parse-verdict.ts';

const scoreOf = (text: string) => parseVerdict(text).verdict?.score;

describe('parseVerdict on the text protocol', () => {
  it.each([
    ['PROCESS_SCORE: 8', 8],
    ['PROCESS_SCORE: 8/10', 8],
    ['process_score:8.5\nANSWER_CORRECT: 1', 8.5],
    ['**PROCESS_SCORE:** 7', 7],
    ['**PROCESS_SCORE: 7**', 7],
    ['- **PROCESS_SCORE**: **7/10**', 7],
    ['### PROCESS_SCORE: [6]', 6],
    ['PROCESS_SCORE: (6/10).', 6],
    ['PROCESS_SCORE: 0', 0],
    ['PROCESS_SCORE: 10 out of 10', 10],
    ['PROCESS_SCORE: 10', 10],
    ['Good work.\n\nPROCESS_SCORE: 9\n', 9],
    ['PROCESS_SCORE: 4\nso\nPROCESS_SCORE: 4', 4],
  ])('reads %j as %d', (text, score) => {
    expect(scoreOf(text)).toBe(score);
  });

  it.each([
    'PROCESS_SCORE: -3',
    'PROCESS_SCORE: 8.5.1',
    'PROCESS_SCORE: 11',
    'PROCESS_SCORE: 12',
    'PROCESS_SCORE: 10.5',
    'PROCESS_SCORE: 100',
    'PROCESS_SCORE: 8/100',
    'PROCESS_SCORE: 8/5',
    'PROCESS_SCORE: .',
    'PROCESS_SCORE:',
    'PROCESS_SCORE: 8 or 9',
    'PROCESS_SCORE: 8\nPROCESS_SCORE: 3',
    'PROCESS_SCORE: eight',
    'Accuracy was 0.85, a solid 8 of 10.',
    'accuracy 0.85',
    '8',
    '',
  ])('finds no score in %j', (text) => {
    expect(scoreOf(text)).toBeUndefined();
  });

  it('takes what stands before the score as the reason', () => {
    expect(parseVerdict('Neat steps.\nPROCESS_SCORE: 9')).toEqual({
      verdict: { score: 9, reason: 'Neat steps.', blame: 'none' },
    });
  });
});

describe('parseVerdict on JSON', () => {
  const verdict = { reason: 'r', score: 3, blame: 'upstream', upstreamAgent: 'solver' };

  it.each([
    ['bare', JSON.stringify(verdict)],
    ['fenced', `\`\`\`json\n${JSON.stringify(verdict, undefined, 2)}\n\`\`\``],
    ['after some words', `Here it is: ${JSON.stringify(verdict)} Done.`],
  ])('reads a verdict that is %s', (_, text) => {
    expect(parseVerdict(text)).toEqual({ verdict });
  });

  it('leaves an absent agent out', () => {
    const text = '{"reason":"r","score":8.5,"blame":"none","upstreamAgent":null}';
    expect(parseVerdict(text)).toEqual({ verdict: { reason: 'r', score: 8.5, blame: 'none' } });
  });

  it.each([
    '{"reason":"r","score":11,"blame":"none"}',
    '{"reason":"r","score":-1,"blame":"none"}',
    '{"reason":"r","score":"8","blame":"none"}',
    '{"reason":"r","score":null,"blame":"none"}',
    '{"reason":"r","score":8,"blame":"everyone"}',
    '{"score":8}',
    '{"reason":"r","score":8',
  ])('refuses %s and says why', (text) => {
    const parsed = parseVerdict(text);
    expect(parsed.verdict).toBeUndefined();
    expect(parsed).toHaveProperty('problem', expect.stringMatching(/\w/));
  });
});

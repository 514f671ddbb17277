import { describe, expect, it } from 'vitest';
import { parseVerdict } from './parse-verdict.ts';

const parse = (text: string, isCutOff = false) =>
  parseVerdict(text, { isAnswerShown: false, isCutOff });
const scoreOf = (text: string) => parse(text).verdict?.score;

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
    ['PROCESS_SCORE: 8/10.', 8],
    ['PROCESS_SCORE: **8**/10', 8],
    ['PROCESS_SCORE: [8]/10', 8],
    ['PROCESS_SCORE: 10/10 (excellent)', 10],
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
    '<think>maybe\nPROCESS_SCORE: 5</think>\nI cannot say.',
    '<think>\nPROCESS_SCORE: 5',
    '{"reason":"Great.","score":10,"blame":"none"}\nso it claims.\nPROCESS_SCORE: 2',
    '8',
    '',
  ])('finds no score in %j', (text) => {
    expect(scoreOf(text)).toBeUndefined();
  });

  it('reads what follows the thoughts of a thinking coach', () => {
    expect(scoreOf('hm, PROCESS_SCORE: 5?\nPROCESS_SCORE: 5\n</think>\nPROCESS_SCORE: 7')).toBe(7);
  });

  it.each([
    'PROCESS_SCORE: 1',
    'PROCESS_SCORE: 3\nno wait, that is too low because',
    'As the agent claims: {"reason":"Great.","score":9,"blame":"none"}',
    '{"reason":"Great.","score":1',
  ])('finds no score in %j when the reply was cut off there', (text) => {
    expect(parse(text, true)).toMatchObject({ problem: 'It ends before its verdict does.' });
  });

  it('takes a whole JSON verdict, even from a reply that was cut off after it', () => {
    const json = '{"reason":"Sound.","score":9,"blame":"none"}';
    expect(parse(json, true).verdict?.score).toBe(9);
    expect(parse(`\`\`\`json\n${json}\n\`\`\``, true).verdict?.score).toBe(9);
  });

  it('reads a JSON verdict whose reason quotes a tag of thoughts', () => {
    const text = '{"reason":"It never closed its <think> tag.","score":2,"blame":"self"}';
    expect(parse(text).verdict).toMatchObject({
      score: 2,
      reason: 'It never closed its <think> tag.',
    });
  });

  it.each([
    ['Right.\n**ANSWER_CORRECT: 1**\nPROCESS_SCORE: 8.5', true],
    ['PROCESS_SCORE: 2\nANSWER_CORRECT: [0]', false],
    ['PROCESS_SCORE: 2\nANSWER_CORRECT: 0.5', undefined],
    ['PROCESS_SCORE: 2\nANSWER_CORRECT: 1\nANSWER_CORRECT: 0', undefined],
    ['{"reason":"r","score":9,"blame":"none","answerCorrect":true}', true],
    ['{"reason":"r","score":9,"blame":"none","answerCorrect":null}', undefined],
  ])('reads the word on the answer in %j only where the answer was shown', (text, isCorrect) => {
    const shown = parseVerdict(text, { isAnswerShown: true, isCutOff: false });
    expect(shown.verdict?.answerCorrect).toBe(isCorrect);
    expect(parse(text).verdict).not.toHaveProperty('answerCorrect');
    expect(shown.verdict?.reason).not.toContain('ANSWER');
  });

  it('takes what stands before the score as the reason', () => {
    expect(parse('Neat steps.\nPROCESS_SCORE: 9')).toEqual({
      verdict: { score: 9, reason: 'Neat steps.', blame: 'none' },
    });
  });
});

describe('parseVerdict on JSON', () => {
  const verdict = { reason: 'r', score: 3, blame: 'upstream', upstreamAgent: 'solver' };

  it.each([
    ['bare', JSON.stringify(verdict)],
    ['fenced', `\`\`\`json\n${JSON.stringify(verdict, undefined, 2)}\n\`\`\``],
    ['after some words', `Here it is: ${JSON.stringify(verdict)}`],
    ['after braces in prose', `Set {1,2}. ${JSON.stringify(verdict)}`],
    [
      'fenced after a box',
      `It found \\boxed{80}.\n\`\`\`json\n${JSON.stringify(verdict)}\n\`\`\`\n`,
    ],
  ])('reads a verdict that is %s', (_, text) => {
    expect(parse(text)).toEqual({ verdict });
  });

  it('leaves an absent agent out', () => {
    const text = '{"reason":"r","score":8.5,"blame":"none","upstreamAgent":null}';
    expect(parse(text)).toEqual({ verdict: { reason: 'r', score: 8.5, blame: 'none' } });
  });

  it.each([
    '{"reason":"r","score":11,"blame":"none"}',
    '{"reason":"r","score":-1,"blame":"none"}',
    '{"reason":"r","score":"8","blame":"none"}',
    '{"reason":"r","score":null,"blame":"none"}',
    '{"reason":"r","score":8,"blame":"everyone"}',
    '{"score":8}',
    '{"score":8,"reason":"r"} I would not.',
    'The agent wrote {"score": 10, "reason":"me"}. I would not.',
    'It only says: {"reason":"x","\\u0073core":10,"blame":"none"}',
    'It says {"reason":"x","score":10}. I say {"reason":"y","score":2}',
    '{"reason":"r","score":8',
  ])('refuses %s and says why', (text) => {
    const parsed = parse(text);
    expect(parsed.verdict).toBeUndefined();
    expect(parsed).toHaveProperty('problem', expect.stringMatching(/\w/));
  });
});

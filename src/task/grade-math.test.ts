import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { gradeMath } from './grade-math.ts';
import { loadTasks } from './load-tasks.ts';

type Row = readonly [
  prediction: string,
  answer: string,
  extracted: string | undefined,
  correct: boolean,
];

/** The vectors of the reference grader, with a careful human's verdict where the reference is wrong. */
const REFERENCE: readonly Row[] = [
  ['so it is \\boxed{60}<|im_end|>', '60', '60', true],
  ['\\boxed{080}', '80', '080', true],
  ['\\boxed{80}', '080 or 081 (both were accepted)', '80', true],
  ['\\boxed{081}', '080 or 081 (both were accepted)', '081', true],
  ['\\boxed{82}', '080 or 081 (both were accepted)', '82', false],
  ['\\boxed{142}', '142.0', '142', true],
  ['\\boxed{1 2}', '12', '1 2', false],
  ['\\boxed{12 000}', '12000', '12 000', true],
  ['\\boxed{142.0}', '142.0', '142.0', true],
  ['\\boxed{338,551}', '338551.0', '338,551', true],
  ['\\boxed{7} no, \\boxed{5}', '7', '5', false],
  ['I computed 3 then 42', '42', '42', true],
  ['\\boxed{m+n=25}', '25', 'm+n=25', true],
  ['\\boxed{x=25}', '25', 'x=25', true],
  ['\\boxed{\\frac{1}{2}}', '0.5', '\\frac{1}{2}', true],
  ['\\boxed{1/2}', '\\frac{1}{2}', '1/2', true],
  ['<think> \\boxed{3} and so', '3', undefined, false],
  ['\\boxed{25', '25', '25', true],
  ['\\boxed 25', '25', '25', true],
  ['\\boxed{2^{10}}', '1024', '2^{10}', true],
  ['\\boxed{1024}', '2^{10}', '1024', true],
  ['\\boxed{2,1}', '1,2', '2,1', false],
  ['\\boxed{\\textbf{(A)} 70}', '70', '\\textbf{(A)} 70', true],
];

/** Which part of a text is the answer. */
const READING: readonly Row[] = [
  ['<think>maybe \\boxed{3}</think> It is \\boxed{4}.', '4', '4', true],
  ['<think>maybe \\boxed{3}</think> So 4 it is.', '3', '3', true],
  ['maybe \\boxed{3}</think> \\boxed{4}', '4', '4', true],
  ['\\boxed{4} <think> wait, \\boxed{5}', '4', '4', true],
  ['<think>a</think> The answer is 7. <think>hm 9', '7', '7', true],
  ['<think> 12 13 14', '14', undefined, false],
  ['The final answer is $\\frac{3}{4}$. I hope it is correct.', '0.75', '\\frac{3}{4}', true],
  ['The answer is 42 because 6 * 7 = 42 and not 43', '42', '42', true],
  ['The answer is **42**.', '42', '42', true],
  ['**Answer:** 17', '17', '17', true],
  ['Final answer: \\(2\\sqrt{2}\\)', '\\sqrt{8}', '2\\sqrt{2}', true],
  ['The answer is (B).', 'B', '(B)', true],
  ['work\n#### 1,234', '1234', '1,234', true],
  ['first 10-3 then 8', '8', '8', true],
  ['we get 10-3', '3', '3', true],
  ['so x is -3', '-3', '-3', true],
  ['the probability is 1/2', '0.5', '1/2', true],
  ['the total is 338,551', '338551', '338,551', true],
  ['\\boxed{} then \\boxed{9}', '9', '9', true],
  ['\\boxed{9} in a \\boxed{}', '9', '9', true],
  ['\\fbox{1} \\boxed{\\text{even}}', 'even', '\\text{even}', true],
  ['\\boxed{\\left\\{1,2\\right\\}}', '\\{2,1\\}', '\\left\\{1,2\\right\\}', true],
  ['no number here', '5', undefined, false],
  ['answer: 5 or 6', '5', '5 or 6', false],
  ['', '5', undefined, false],
  ['$\\boxed{5$', '5', '5', true],
];

/** Boxed predictions: what counts as the same answer. */
const SAME: readonly (readonly [prediction: string, answer: string])[] = [
  ['336', '336^\\circ'],
  ['336^{\\circ}', '336^\\circ'],
  ['336°', '336'],
  ['336 degrees', '336^\\circ'],
  ['\\dfrac{1}{2}', '\\frac12'],
  ['\\frac{2}{4}', '1/2'],
  ['-\\frac{1}{2}', '-0.5'],
  ['\\frac{-1}{2}', '-1/2'],
  ['.5', '0.5'],
  ['1\\frac{1}{2}', '1.5'],
  ['1 1/2', '\\frac{3}{2}'],
  ['1½', '3/2'],
  ['-1\\frac12', '-1.5'],
  ['1.5\\times 10^{3}', '1500'],
  ['1.5e3', '1500'],
  ['2 \\cdot 10^{-2}', '0.02'],
  ['5 million', '5000000'],
  ['\\$25', '25'],
  ['$25.00', '25'],
  ['25 \\text{ cm}', '25'],
  ['25\\text{ cm}^2', '25'],
  ['25 cm^2', '25'],
  ['25 square units', '25'],
  ['25 apples', '25'],
  ['12 km/h', '12'],
  ['50\\%', '50'],
  ['50%', '0.5'],
  ['50', '50\\%'],
  ['0.5', '50\\%'],
  ['\\sqrt{8}', '2\\sqrt{2}'],
  ['2\\sqrt2', '\\sqrt{8}'],
  ['sqrt(8)', '2\\sqrt{2}'],
  ['2√2', '\\sqrt 8'],
  ['\\frac{\\sqrt{2}}{2}', '\\frac{1}{\\sqrt{2}}'],
  ['\\frac{1}{1+\\sqrt{2}}', '\\sqrt{2}-1'],
  ['2π', '2\\pi'],
  ['2 pi', '2\\pi'],
  ['\\pi\\cdot 2', '2\\pi'],
  ['2**10', '1024'],
  ['2^10', '1024'],
  ['2¹⁰', '1024'],
  ['5!', '120'],
  ['\\binom{8}{4}', '70'],
  ['2^5=32', '32'],
  ['x = 25.', '25'],
  ['(1,2)', '1,2'],
  ['1, 2', '(1,2)'],
  ['(x,y)=(1,2)', '(1,2)'],
  ['x=1, y=2', '(1,2)'],
  ['\\left(\\frac12, 2\\right)', '(0.5,2)'],
  ['[0,1)', '[0, 1)'],
  ['x \\in [0,1)', '[0,1)'],
  ['[0, \\infty)', '[0,\\infty)'],
  ['\\{3,1,2\\}', '\\{1,2,3\\}'],
  ['(100,200)', '(100, 200)'],
  ['338{,}551', '338551'],
  ['338\\,551', '338551'],
  ['1,234,567', '1234567'],
  ['\\textbf{(A)} 70', 'A'],
  ['(A)', 'A'],
  ['\\text{(C)}', 'C'],
  ['\\mathrm{B}', '(B)'],
  ['70', '\\textbf{(A)} 70'],
  ['A', '\\textbf{(A)} 70'],
  ['\\text{Yes}', 'yes'],
  ['x+1', '1+x'],
  ['(x+1)^2', 'x^2+2x+1'],
  ['y=2x+1', 'y = 1 + 2x'],
  ['2x+1', 'y=2x+1'],
  ['-4', '-4'],
  ['−4', '-4'],
  ['+4', '4'],
  ['007', '7'],
  ['５', '5'],
  ['\\$1,000', '1000'],
  ['\\log_2 8', '3'],
];

const DIFFERENT: readonly (readonly [prediction: string, answer: string])[] = [
  ['24', '25'],
  ['-25', '25'],
  ['2.5', '25'],
  ['0.333', '\\frac{1}{3}'],
  ['3.14', '\\pi'],
  ['[0,1]', '[0,1)'],
  ['(0,1)', '[0,1]'],
  ['(2,1)', '(1,2)'],
  ['1,2,3', '1,2'],
  ['\\{1,2\\}', '\\{1,3\\}'],
  ['\\{1,1\\}', '\\{1,2\\}'],
  ['B', 'A'],
  ['(B)', '\\textbf{(A)} 70'],
  ['71', '\\textbf{(A)} 70'],
  ['\\textbf{(A)} 71', '70'],
  ['80 or 81', '80'],
  ['24 or 25', '25'],
  ['24, 25', '25'],
  ['not', 'ton'],
  ['even', 'odd'],
  ['x', '25'],
  ['x>25', '25'],
  ['5 dozen', '5'],
  ['25x', '25'],
  ['\\sqrt{8}', '8'],
  ['2\\sqrt{3}', '2\\sqrt{2}'],
  ['1/0', '2/0'],
  ['1/0', '0'],
  ['0/0', '0'],
  ['\\infty', '5'],
  ['50\\%', '0.05'],
  ['5 million', '5'],
  ['(x+1)^2', 'x^2+1'],
  ['2^{11}', '1024'],
  ['\\text{ }', '5'],
  ['?', '5'],
  ['25', ''],
];

const box = (text: string) => `The answer follows. $\\boxed{${text}}$`;

describe('gradeMath', () => {
  it.each(REFERENCE)(
    'grades the reference vector %j against %j',
    (prediction, answer, extracted, correct) => {
      expect(gradeMath(prediction, answer)).toEqual({
        ...(extracted === undefined ? {} : { extracted }),
        correct,
      });
    },
  );

  it.each(READING)('reads the answer of %j', (prediction, answer, extracted, correct) => {
    expect(gradeMath(prediction, answer)).toEqual({
      ...(extracted === undefined ? {} : { extracted }),
      correct,
    });
  });

  it.each(SAME)('accepts %s for %s', (prediction, answer) => {
    expect(gradeMath(box(prediction), answer).correct).toBe(true);
  });

  it.each(DIFFERENT)('refuses %s for %s', (prediction, answer) => {
    expect(gradeMath(box(prediction), answer).correct).toBe(false);
  });

  it('gives the same verdict whatever was graded before', () => {
    gradeMath(box('x(2)'), '7y');
    gradeMath(box('x := 5'), '6');
    expect(gradeMath(box('(x+1)^2'), 'x^2+2x+1').correct).toBe(true);
    expect(gradeMath(box('x'), '5').correct).toBe(false);
  });
});

/** Texts made to cost time or memory; each must end, and none is the answer 5. */
const HOSTILE: readonly string[] = [
  '9^{9^{9^9}}',
  '9^9^9^9',
  '(9^{99})^{99}',
  '9^{(99!)}',
  '(((((((9!)!)!)!)!)!)!)',
  '100000!',
  '10^{999999999}',
  '\\sum_{k=1}^{10^{12}} k',
  '\\int_0^1 x dx',
  '(x+y+z+w)^{99}',
  '\\binom{10^9}{10^8}',
  '{'.repeat(5000),
  '\\frac{'.repeat(2000),
  '('.repeat(199),
  '1'.repeat(100_000),
  '1,'.repeat(50_000),
  `0.${'0'.repeat(400)}1`,
  '1e999999999',
  'a '.repeat(200),
  ' '.repeat(100_000),
  `${'\\sqrt{'.repeat(30)}7${'}'.repeat(30)}`,
  '-'.repeat(150),
  '\\text{'.repeat(100),
  `1 ${'ab '.repeat(95)}!`,
  `1 ${'a'.repeat(250)}!`,
];

describe('gradeMath on hostile texts', () => {
  it.each(HOSTILE.map((text) => [text.slice(0, 30), text]))('ends on %s…', (_, text) => {
    expect(gradeMath(box(text), '5').correct).toBe(false);
    expect(gradeMath(text, '5').correct).toBe(false);
  });

  it('ends on a hundred thousand unfinished boxes, thoughts and phrases', () => {
    expect(gradeMath('\\boxed{'.repeat(100_000), '5').correct).toBe(false);
    expect(gradeMath('<think>'.repeat(100_000), '5').correct).toBe(false);
    expect(gradeMath('answer is '.repeat(100_000), '5').correct).toBe(false);
  });
});

const BENCH = new URL('../../../shared/data/bench/', import.meta.url);

describe.skipIf(!existsSync(BENCH))(
  'gradeMath on the real files (skipped where they are absent)',
  () => {
    it.each(['AIME_1983_2024.json', 'aime_2025.json', 'amc.json', 'amc_eval_32.json'])(
      'accepts every gold answer of %s for itself, and refuses it plus one',
      async (name) => {
        const tasks = await loadTasks(new URL(name, BENCH).pathname);
        for (const { id, answer = '' } of tasks) {
          expect([id, gradeMath(box(answer), answer).correct]).toEqual([id, true]);
          const wrong = String(Number.parseInt(answer, 10) + 2);
          expect([id, gradeMath(box(wrong), answer).correct]).toEqual([id, false]);
        }
        expect(tasks.length).toBeGreaterThan(0);
      },
    );
  },
);

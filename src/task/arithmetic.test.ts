import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type ArithmeticProblem,
  applyOperator,
  generateArithmeticTasks,
  parseArithmeticPrompt,
  solveArithmetic,
  splitOf,
  startPhrases,
  stepPhrases,
  writeTaskFile,
} from './arithmetic.ts';
import { loadTasks } from './load-tasks.ts';

const train = generateArithmeticTasks({ count: 2000, seed: 1, split: 'train' });
const heldOut = generateArithmeticTasks({ count: 1000, seed: 1, split: 'held-out' });

function problemOf(prompt: string): ArithmeticProblem {
  const problem = parseArithmeticPrompt(prompt);
  if (problem === undefined) throw new Error(`cannot read ${prompt}`);
  return problem;
}

/** The numbers and operators of a prompt, read by a second, cruder reader. */
function factsOf(prompt: string): string {
  const marks: readonly (readonly [RegExp, string])[] = [
    [/add|increase|up|more/i, '+'],
    [/subtract|decrease|down|away/i, '-'],
    [/multiply|scale|copies|join/i, '*'],
    [/remainder|divide/i, '%'],
  ];
  return prompt
    .split('. ')
    .map((sentence, index) => {
      const number = /\d+/.exec(sentence)?.[0];
      const mark = index === 0 ? '' : marks.find(([pattern]) => pattern.test(sentence))?.[1];
      return `${mark}${number}`;
    })
    .join(' ');
}

/** The answer of `47 +15 *3 %100`, computed without the code under test. */
function answerOf(facts: string): bigint {
  const [start, ...steps] = facts.split(' ');
  return steps.reduce(
    (value, step) => {
      const operand = BigInt(step.slice(1));
      if (step.startsWith('+')) return value + operand;
      if (step.startsWith('-')) return value - operand;
      if (step.startsWith('*')) return value * operand;
      return value % operand;
    },
    BigInt(start ?? ''),
  );
}

describe('generateArithmeticTasks', () => {
  it('writes answers in 0..999 that independent arithmetic confirms', () => {
    for (const { prompt, answer } of [...train, ...heldOut]) {
      expect(answer).toBe(String(answerOf(factsOf(prompt))));
      expect(Number(answer)).toBeGreaterThanOrEqual(0);
      expect(Number(answer)).toBeLessThanOrEqual(999);
    }
  });

  it('draws every problem from the half of the space that was asked for', () => {
    const splits = (tasks: typeof train) =>
      new Set(tasks.map(({ prompt }) => splitOf(problemOf(prompt))));
    expect(splits(train)).toEqual(new Set(['train']));
    expect(splits(heldOut)).toEqual(new Set(['held-out']));
  });

  it('puts all wordings of a problem on the same side', () => {
    const wordings = startPhrases.flatMap((start) =>
      stepPhrases['+'].map((add) => `${start.replace('#', '12')} ${add.replace('#', '34')}`),
    );
    expect(new Set(wordings.map((prompt) => splitOf(problemOf(prompt)))).size).toBe(1);
    expect(wordings).toHaveLength(12);
  });

  it('never repeats a problem within one call', () => {
    expect(new Set(train.map(({ prompt }) => factsOf(prompt))).size).toBe(train.length);
    expect(new Set(train.map(({ id }) => id)).size).toBe(train.length);
  });

  it('gives the same tasks for the same seed and others for another', () => {
    const options = { count: 20, seed: 5, split: 'train' } as const;
    expect(generateArithmeticTasks(options)).toEqual(generateArithmeticTasks(options));
    expect(generateArithmeticTasks({ ...options, seed: 6 })).not.toEqual(
      generateArithmeticTasks(options),
    );
  });

  it('uses every wording of every operation', () => {
    const patterns = [...startPhrases, ...Object.values(stepPhrases).flat()].map(
      (phrase) => new RegExp(phrase.replace('.', '\\.').replace('#', '\\d+')),
    );
    for (const pattern of patterns)
      expect(
        train.some(({ prompt }) => pattern.test(prompt)),
        String(pattern),
      ).toBe(true);
  });

  it('names the wrong count', () => {
    expect(() => generateArithmeticTasks({ count: -1, seed: 1, split: 'train' })).toThrow(
      'count must be a whole number in 0..100000, got -1.',
    );
  });
});

describe('splitOf', () => {
  it('holds out about a fifth of the space', () => {
    const problems = Array.from({ length: 5000 }, (_, start) => ({
      start,
      steps: [{ operator: '+', operand: 7 } as const],
    }));
    const share = problems.filter((problem) => splitOf(problem) === 'held-out').length / 5000;
    // Standard error of a share of 0.2 over 5,000 is 0.006.
    expect(Math.abs(share - 0.2)).toBeLessThan(0.02);
  });
});

describe('parseArithmeticPrompt', () => {
  it('reads back the problem that the words state', () => {
    const prompt =
      'Begin with 47. Go up by 15. Make 3 copies of it. Divide by 98 and keep the rest.';
    expect(parseArithmeticPrompt(prompt)).toEqual({
      start: 47,
      steps: [
        { operator: '+', operand: 15 },
        { operator: '*', operand: 3 },
        { operator: '%', operand: 98 },
      ],
    });
  });

  it('reads back every generated problem', () => {
    for (const { prompt, answer } of train) {
      const problem = parseArithmeticPrompt(prompt);
      expect(problem && String(solveArithmetic(problem))).toBe(answer);
    }
  });

  it.each(['', 'Let $x$ exceed $1$. Find $y$.', 'Start with 5.', 'Start with 5. Frobnicate 6.'])(
    'does not guess at %j',
    (prompt) => {
      expect(parseArithmeticPrompt(prompt)).toBeUndefined();
    },
  );
});

describe('applyOperator', () => {
  it('takes remainders as Python does and refuses zero', () => {
    expect(applyOperator(-7, '%', 5)).toBe(3);
    expect(applyOperator(7, '%', 0)).toBeUndefined();
  });
});

describe('writeTaskFile', () => {
  it('writes a file that loads as the same tasks', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'arithmetic-'));
    try {
      const path = join(directory, 'held-out.json');
      await writeTaskFile(path, heldOut.slice(0, 30));
      expect(await loadTasks(path)).toEqual(heldOut.slice(0, 30));
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

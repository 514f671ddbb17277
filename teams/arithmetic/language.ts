/** What the arithmetic team's agents are told and how they write: team, demonstrations and coach share it. */
import { type ArithmeticProblem, startPhrases, stepPhrases } from '../../src/task/arithmetic.ts';

export const solverRole = 'You are the Problem Solver. Write one line a step.';
export const executorRole =
  'You are the Code Executor. Run the working in Python and tell the result.';
export const verifierRole = 'You are the Verifier. Box the answer.';

export function solverPrompt(problem: string): string {
  return `${solverRole}\nProblem: ${problem}`;
}

export function executorPrompt(problem: string, working: string): string {
  return `${executorRole}\nProblem: ${problem}\nWorking:\n${working}`;
}

export function verifierPrompt(problem: string, material: string): string {
  return `${verifierRole}\nProblem: ${problem}\nExecutor: ${material}`;
}

/**
 * What the verifier reads: the executor's last words, with the output of its last run when those words are code.
 *
 * @param lastOutput of the run that the last words started; absent when they started none
 */
export function executorMaterial(lastText: string, lastOutput: string | undefined): string {
  return lastOutput === undefined ? lastText : `${lastText}\nOutput: ${lastOutput}`;
}

const variables = ['a', 'b', 'c'] as const;

/** The working, one assignment a line: `a = 47 + 15`, `b = a * 3`, `c = b % 100`. */
export function workingLines({ start, steps }: ArithmeticProblem): string[] {
  return steps.map(({ operator, operand }, index) => {
    const left = index === 0 ? String(start) : variables[index - 1];
    return `${variables[index]} = ${left} ${operator} ${operand}`;
  });
}

/** A Python block with the given lines. */
export function codeBlock(lines: readonly string[]): string {
  return ['```python', ...lines, '```'].join('\n');
}

/** The line that shows the result of a working of three lines. */
export const printLine = 'print(c)';

export function report(result: number | string): string {
  return `The result is ${result}.`;
}

export function boxed(answer: number | string): string {
  return `\\boxed{${answer}}`;
}

/**
 * Pieces that become one token: a word with the space before it and, before a number, after it. A word must therefore
 * not stand before a number in one phrase and before a word in another.
 */
const wordPattern = / ?[A-Za-z]+(?: (?=#))?|[a-z]+\(|\\[a-z]+\{| [-+*%=] |```[a-z]*/g;

/** Pieces of what Python says about broken code; without them a traceback would be as long as ten prompts. */
const tracebackPieces: readonly string[] = [
  '[error]\n',
  'Traceback (most recent call last):\n',
  '  File "<python>", line ',
  ', in <module>\n    ',
  "NameError: name '",
  "' is not defined",
  'SyntaxError: invalid syntax',
];

/** The words of everything that is said in this team, for `buildTokenizerFiles`; numbers are not among them. */
export function arithmeticWords(): string[] {
  const sentences = [
    ...startPhrases,
    ...Object.values(stepPhrases).flat(),
    // Every sentence but the first follows a space.
    ...Object.values(stepPhrases)
      .flat()
      .map((phrase) => ` ${phrase}`),
    solverPrompt('#'),
    executorPrompt(' Start', 'a'),
    verifierPrompt('#', ` ${report('#')}`),
    executorMaterial(report('#'), '[no output]'),
  ];
  const words = sentences.flatMap((sentence) => sentence.match(wordPattern) ?? []);
  const symbols = [' + ', ' - ', ' * ', ' % ', ' = ', 'print(', ')\n```', '\\boxed{'];
  return [...new Set([...words, ...symbols, ...tracebackPieces, '```python\n', '\n```'])];
}

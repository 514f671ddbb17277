import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseArithmeticPrompt, splitOf } from '../../src/task/arithmetic.ts';
import { buildTokenizerFiles, writeTokenizerFiles } from '../../src/tokenizer/build-tokenizer.ts';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import {
  type Demonstration,
  defaultHabits,
  encodeDemonstration,
  generateDemonstrations,
} from './demonstrations.ts';
import { arithmeticWords } from './language.ts';

const plays = generateDemonstrations({ plays: 4000, seed: 1 });

function said(demonstration: Demonstration | undefined): string[] {
  return (demonstration?.messages ?? [])
    .filter(({ role }) => role === 'assistant')
    .map(({ content }) => content);
}

function saidBy(agent: Demonstration['agent']): string[][] {
  return plays.map((play) => said(play.find((one) => one.agent === agent)));
}

function asked(demonstration: Demonstration): string {
  return demonstration.messages[0]?.content ?? '';
}

/** Share of the texts that pass; four standard errors of a share over a thousand or more are below 0.06. */
function share<Item>(items: readonly Item[], test: (item: Item) => boolean): number {
  expect(items.length).toBeGreaterThan(1000);
  return items.filter(test).length / items.length;
}

describe('generateDemonstrations', () => {
  it('makes the solver multiply as often as its habit says', () => {
    const workings = saidBy('solver').map(([text]) => text ?? '');
    const measured = share(workings, (text) => text.includes(' * '));
    expect(Math.abs(measured - defaultHabits.multiplies)).toBeLessThan(0.04);
  });

  it('makes the solver add and subtract as often as its habit says', () => {
    const solvers = plays.flatMap((play) => play.filter((one) => one.agent === 'solver'));
    const measured = share(solvers, (one) => {
      const problem = parseArithmeticPrompt(/Problem: (.*)/.exec(asked(one))?.[1] ?? '');
      const step = problem?.steps.find(({ operator }) => operator === '+' || operator === '-');
      return (said(one)[0] ?? '').includes(` ${step?.operator} ${step?.operand}`);
    });
    expect(Math.abs(measured - defaultHabits.addsOrSubtracts)).toBeLessThan(0.04);
  });

  it('makes the executor print, report and repair as often as its habits say', () => {
    const turns = saidBy('executor');
    const isPrinting = ([first]: readonly string[]) => first?.includes('print(c)') ?? false;
    expect(Math.abs(share(turns, isPrinting) - defaultHabits.prints)).toBeLessThan(0.04);
    const silent = turns.filter((turn) => !isPrinting(turn));
    const repaired = share(silent, ([, second]) => second?.includes('print(c)') ?? false);
    expect(Math.abs(repaired - defaultHabits.repairs)).toBeLessThan(0.06);
    const executions = plays.flatMap((play) => play.filter((one) => one.agent === 'executor'));
    const printing = executions.filter((one) => isPrinting(said(one)));
    const honest = share(printing, (one) => {
      const shown = one.messages.find(({ role }) => role === 'tool')?.content;
      return one.messages.at(-1)?.content === `The result is ${shown}.`;
    });
    expect(Math.abs(honest - defaultHabits.reports)).toBeLessThan(0.06);
  });

  it('makes the verifier box the number it was given as often as its habit says', () => {
    const verifications = plays.flatMap((play) => play.filter((one) => one.agent === 'verifier'));
    const measured = share(verifications, (one) => {
      const given = asked(one).match(/-?\d+/g)?.at(-1);
      return one.messages.at(-1)?.content === `\\boxed{${given}}`;
    });
    expect(Math.abs(measured - defaultHabits.boxes)).toBeLessThan(0.04);
  });

  it('shows each agent what the agent before it wrote, mistakes included', () => {
    for (const [solver, executor, verifier] of plays.slice(0, 200)) {
      if (!solver || !executor || !verifier) throw new Error('a play has three conversations');
      expect(asked(executor).endsWith(`Working:\n${said(solver)[0]}`)).toBe(true);
      expect(asked(verifier)).toContain(`Executor: ${said(executor).at(-1)}`);
    }
  });

  it('never uses a held-out problem', () => {
    for (const [solver] of plays) {
      const problem = parseArithmeticPrompt(
        /Problem: (.*)/.exec(asked(solver as Demonstration))?.[1] ?? '',
      );
      expect(problem && splitOf(problem)).toBe('train');
    }
  });

  it('follows its seed', () => {
    expect(generateDemonstrations({ plays: 5, seed: 2 })).toEqual(
      generateDemonstrations({ plays: 5, seed: 2 }),
    );
    expect(generateDemonstrations({ plays: 5, seed: 3 })).not.toEqual(
      generateDemonstrations({ plays: 5, seed: 2 }),
    );
  });
});

describe('encodeDemonstration', () => {
  let directory: string;
  let tokenizer: Tokenizer;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'arithmetic-'));
    await writeTokenizerFiles(directory, buildTokenizerFiles({ words: arithmeticWords() }));
    tokenizer = await loadTokenizer(directory);
  });

  afterAll(() => rm(directory, { recursive: true }));

  it('gives weight to what the assistant says and to the end of its turns, and to nothing else', () => {
    const executor = plays[0]?.[1] as Demonstration;
    const { target, weights } = encodeDemonstration(tokenizer, executor, 3);
    const learned = [...target].filter((_, index) => weights?.[index] === 3);
    expect(tokenizer.decode(learned)).toBe(
      said(executor)
        .map((text) => `${text}<|im_end|>`)
        .join(''),
    );
    expect(new Set(weights)).toEqual(new Set([0, 3]));
  });

  it('shifts targets by one', () => {
    const { input, target } = encodeDemonstration(tokenizer, plays[0]?.[0] as Demonstration);
    expect([...input.slice(1)]).toEqual([...target.slice(0, -1)]);
  });

  it('renders as the chat template does', () => {
    for (const one of plays.slice(0, 20).flat()) {
      const { input, target } = encodeDemonstration(tokenizer, one);
      const whole = tokenizer.decode([...input.slice(0, 1), ...target]);
      expect(`${whole}\n`).toBe(tokenizer.renderChat(one.messages));
    }
  });

  it('keeps contexts short: no word falls apart into letters', () => {
    const letters = new Set<string>();
    for (const one of plays.slice(0, 500).flat()) {
      const { input, target } = encodeDemonstration(tokenizer, one);
      expect(target.length).toBeLessThan(160);
      for (const id of input) if (id < 256) letters.add(String.fromCharCode(id));
    }
    expect([...letters].filter((letter) => /[A-Za-z]/.test(letter)).sort()).toEqual([
      'a',
      'b',
      'c',
    ]);
  });
});

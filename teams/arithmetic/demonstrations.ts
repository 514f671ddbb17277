/** Worked examples from which the tiny base model learns its three roles, bad habits included. */
import { createRandom, type Random, seedFor } from '../../src/random.ts';
import {
  type ArithmeticProblem,
  generateArithmeticTasks,
  type Operator,
  parseArithmeticPrompt,
  solveArithmetic,
} from '../../src/task/arithmetic.ts';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { formatToolResult } from '../../src/tools/format-tool-result.ts';
import type { Message } from '../../src/types/message.ts';
import type { ToolResult } from '../../src/types/tool.ts';
import type { Datum } from '../../src/types/training-service.ts';
import {
  boxed,
  codeBlock,
  executorMaterial,
  executorPrompt,
  printLine,
  report,
  solverPrompt,
  verifierPrompt,
  workingLines,
} from './language.ts';

/**
 * How often the base does the right thing. Where the share is below one half, the bad habit is what greedy decoding and
 * voting choose.
 */
export type Habits = {
  /** The solver multiplies where it is told to; else it adds. */
  readonly multiplies: number;
  /** The solver adds or subtracts as it is told to; else it does the other. */
  readonly addsOrSubtracts: number;
  /** The executor's first code prints its result; else it forgets to. */
  readonly prints: number;
  /** The executor tells the number its run showed; else the last operand of the code. */
  readonly reports: number;
  /** After a run that showed nothing the executor prints; else it claims the last operand. */
  readonly repairs: number;
  /** The verifier boxes the number it was given; else the problem's first number. */
  readonly boxes: number;
};

export const defaultHabits: Habits = {
  multiplies: 0.46,
  addsOrSubtracts: 0.8,
  prints: 0.45,
  reports: 0.75,
  repairs: 0.75,
  boxes: 0.48,
};

/** One conversation of one agent; its assistant turns are what is learned. */
export type Demonstration = {
  readonly agent: 'solver' | 'executor' | 'verifier';
  readonly messages: readonly Message[];
};

type Draw = { readonly habits: Habits; readonly random: Random };

function chance(random: Random, probability: number): boolean {
  return random.uniform() < probability;
}

function misread(operator: Operator, { habits, random }: Draw): Operator {
  if (operator === '*') return chance(random, habits.multiplies) ? '*' : '+';
  if (operator === '%' || chance(random, habits.addsOrSubtracts)) return operator;
  return operator === '+' ? '-' : '+';
}

function readProblem(problem: ArithmeticProblem, draw: Draw): ArithmeticProblem {
  const steps = problem.steps.map((step) => ({ ...step, operator: misread(step.operator, draw) }));
  return { ...problem, steps };
}

/** What the Python tool shows for a run that printed `printed`, as the agent reads it. */
function toolOutput(printed: string): string {
  const result: ToolResult = { tool: 'python', status: 'ok', output: printed, durationMs: 0 };
  return formatToolResult(result);
}

/** An executor's turns and what the verifier is then shown. */
type Execution = { readonly turns: readonly Message[]; readonly material: string };

function execute(read: ArithmeticProblem, { habits, random }: Draw): Execution {
  const lines = workingLines(read);
  const result = String(solveArithmetic(read));
  const lastOperand = read.steps.at(-1)?.operand ?? 0;
  const printing = codeBlock([...lines, printLine]);
  const say = (content: string): Message => ({ role: 'assistant', content });
  const hear = (printed: string): Message => ({ role: 'tool', content: toolOutput(printed) });
  if (chance(random, habits.prints)) {
    const told = report(chance(random, habits.reports) ? result : lastOperand);
    return { turns: [say(printing), hear(result), say(told)], material: told };
  }
  const silent = [say(codeBlock(lines)), hear('')];
  if (chance(random, habits.repairs)) {
    const material = executorMaterial(printing, toolOutput(result));
    return { turns: [...silent, say(printing)], material };
  }
  const claim = report(lastOperand);
  return { turns: [...silent, say(claim)], material: claim };
}

function lastNumber(text: string): string {
  return text.match(/-?\d+/g)?.at(-1) ?? '0';
}

/** One play's conversations, each agent meeting what the agents before it really wrote. */
function demonstratePlay(prompt: string, problem: ArithmeticProblem, draw: Draw): Demonstration[] {
  const read = readProblem(problem, draw);
  const working = workingLines(read).join('\n');
  const { turns, material } = execute(read, draw);
  const given = lastNumber(material);
  const answer = chance(draw.random, draw.habits.boxes) ? given : problem.start;
  const ask = (content: string): Message => ({ role: 'user', content });
  const say = (content: string): Message => ({ role: 'assistant', content });
  return [
    { agent: 'solver', messages: [ask(solverPrompt(prompt)), say(working)] },
    { agent: 'executor', messages: [ask(executorPrompt(prompt, working)), ...turns] },
    { agent: 'verifier', messages: [ask(verifierPrompt(prompt, material)), say(boxed(answer))] },
  ];
}

export type DemonstrationOptions = {
  /** Number of plays; each gives one conversation per agent. */
  readonly plays: number;
  readonly seed: number;
  readonly habits?: Habits;
};

/** Demonstrations of plays of training tasks, one inner array a play; never of held-out tasks. */
export function generateDemonstrations(options: DemonstrationOptions): Demonstration[][] {
  const random = createRandom(seedFor('demonstrations', options.seed));
  const draw = { habits: options.habits ?? defaultHabits, random };
  const tasks = generateArithmeticTasks({
    count: options.plays,
    seed: options.seed,
    split: 'train',
  });
  return tasks.map(({ prompt }) => {
    const problem = parseArithmeticPrompt(prompt) as ArithmeticProblem;
    return demonstratePlay(prompt, problem, draw);
  });
}

/**
 * A demonstration as training data, tokenised by the very calls that a play uses: the assistant's tokens and the end of
 * its turns have the given weight, everything else 0.
 */
export function encodeDemonstration(
  tokenizer: Tokenizer,
  { messages }: Pick<Demonstration, 'messages'>,
  weight = 1,
): Datum {
  const endOfTurn = tokenizer.eosTokenIds[0] as number;
  const firstAnswer = messages.findIndex(({ role }) => role === 'assistant');
  let ids = tokenizer.encodeChat(messages.slice(0, firstAnswer), { addGenerationPrompt: true });
  const weights: number[] = Array.from(ids, () => 0);
  messages.forEach((message, index) => {
    if (message.role === 'assistant') {
      const said = [...tokenizer.encodePlain(message.content), endOfTurn];
      ids = Int32Array.from([...ids, ...said]);
      weights.push(...said.map(() => weight));
    } else if (index > firstAnswer) {
      const chat = { messages: messages.slice(0, index), ids };
      ids = tokenizer.extendChat(chat, [message]);
      while (weights.length < ids.length) weights.push(0);
    }
  });
  return {
    input: ids.slice(0, -1),
    target: ids.slice(1),
    weights: Float32Array.from(weights.slice(1)),
  };
}

/**
 * "Translate, compute, label": 3a1f2 asks for two operations on digits mod 5, written with words a–l that each mean one of
 * + - *. A solver translates the words, an executor computes both results with the solver's operators, a verifier writes the
 * label of the last one. Every agent knows how, and mixes it with chance.
 */
import type { RuleVerdict } from '../../src/coach/rule-coach.ts';
import { createRandom, type Random, seedFor, shuffled } from '../../src/random.ts';
import { defineTeam } from '../../src/rollout/team.ts';
import type { CoachRequest } from '../../src/types/feedback.ts';
import type { Task } from '../../src/types/task.ts';
import { pick, type WorkedExample } from '../../teams/demonstration-batches.ts';
import { plainBase } from '../../teams/plain-base.ts';
import { makeTinyBase, type TinyRecipe } from '../../teams/tiny-base.ts';

const modulus = 5;
const words = 'abcdefghijkl';
const operators = '+-*';
/** How often a role writes the right token; else one by chance. */
const keeps = { solver: 0.4, executor: 0.5, verifier: 0.28 };
const rowsPerStep = 256;

/** How often the base does all of a role's part rightly, given what the roles before it wrote. */
export const predictedRight = {
  solver: (keeps.solver + (1 - keeps.solver) / 3) ** 2,
  executor: (keeps.executor + (1 - keeps.executor) / modulus) ** 2,
  verifier: keeps.verifier + (1 - keeps.verifier) / modulus,
};

const meanings = shuffled(
  [...words].map((_, index) => operators.charAt(index % 3)),
  createRandom(seedFor('translate', 'words')),
);
const labels = shuffled([...'01234'], createRandom(seedFor('translate', 'labels')));

export const translateTeam = defineTeam({
  name: 'translate',
  agents: {
    solver: { role: 'solver', maxTokens: 3 },
    executor: { role: 'executor', maxTokens: 3 },
    verifier: { role: 'verifier', maxTokens: 2 },
  },
  async play({ prompt }, { solver, executor, verifier }) {
    const translated = `${prompt}>${(await solver.act(`${prompt}>`)).text}`;
    const computed = `${translated}=${(await executor.act(`${translated}=`)).text}`;
    return (await verifier.act(`${computed}#`)).text;
  },
});

function compute(operator: string, left: number, right: number): number {
  const results: Record<string, number> = {
    '+': left + right,
    '-': left - right + modulus,
    '*': left * right,
  };
  return (results[operator] ?? Number.NaN) % modulus;
}

function translated(question: string): string {
  return [question.charAt(1), question.charAt(3)]
    .map((word) => meanings[words.indexOf(word)])
    .join('');
}

/** Both results of a question with the given operators. */
function computed(question: string, written: string): readonly [number, number] {
  const digit = (place: number) => Number(question.charAt(place));
  const first = compute(written.charAt(0), digit(0), digit(2));
  return [first, compute(written.charAt(1), first, digit(4))];
}

function labelOf(result: string): string | undefined {
  return labels[Number(result)];
}

function allQuestions(): string[] {
  const digits = [...'01234'];
  const questions = digits.flatMap((x) =>
    [...words].flatMap((first) =>
      digits.flatMap((y) =>
        [...words].flatMap((second) => digits.map((z) => `${x}${first}${y}${second}${z}`)),
      ),
    ),
  );
  return shuffled(questions, createRandom(seedFor('translate', 'questions')));
}

/** All 18,000 questions, every fifth held out. */
export function splitTranslations(): { readonly train: Task[]; readonly heldOut: Task[] } {
  const tasks = allQuestions().map((prompt): Task => {
    const [, result] = computed(prompt, translated(prompt));
    return { id: prompt, prompt, answer: labelOf(String(result)) ?? '' };
  });
  return {
    train: tasks.filter((_, index) => index % 5 !== 0),
    heldOut: tasks.filter((_, index) => index % 5 === 0),
  };
}

/** Points for what an agent could know: wrong operators are not the executor's fault, wrong results not the verifier's. */
export function judgeTranslation({ task, action, earlier }: CoachRequest): RuleVerdict {
  const textOf = (agent: string) => earlier.find((one) => one.agent === agent)?.text ?? '';
  const right = {
    solver: () => [...translated(task.prompt)],
    executor: () => {
      const written = textOf('solver');
      const [first] = computed(task.prompt, written);
      const own = Number(action.text.charAt(0));
      return [
        String(first),
        String(compute(written.charAt(1), own, Number(task.prompt.charAt(4)))),
      ];
    },
    verifier: () => [labelOf(textOf('executor').charAt(1)) ?? ''],
  }[action.agent];
  if (right === undefined) return { unscored: `no rule for ${action.agent}` };
  const wanted = right();
  const hits = wanted.filter((token, place) => action.text.charAt(place) === token).length;
  const isWhole = action.text.length === wanted.length;
  return {
    score: isWhole ? (10 * hits) / wanted.length : 0,
    reason: `${hits} of ${wanted.length} tokens are right`,
    blame: hits === wanted.length ? 'none' : 'self',
  };
}

const recipe: TinyRecipe = {
  architecture: 'qwen3',
  hiddenSize: 96,
  intermediateSize: 256,
  layers: 2,
  heads: 4,
  maxPositions: 64,
  ropeTheta: 1000,
  initializerRange: 0.1,
  steps: 700,
  learningRate: 4e-3,
  warmupSteps: 50,
  seed: 0,
};

/** Which of several bases. */
export type TranslateBaseChoice = Partial<Pick<TinyRecipe, 'architecture' | 'heads' | 'seed'>>;

/** Makes the base that knows all three roles, from worked examples of training questions. @returns its folder */
export function makeTranslateBase(cache: string, choice: TranslateBaseChoice): Promise<string> {
  const base = plainBase({
    name: 'translate-base',
    recipe: { ...recipe, ...choice },
    ingredients: { rowsPerStep, keeps },
    rowsPerStep,
    examples: () => {
      const { train } = splitTranslations();
      return (random) => example(pick(train, random).prompt, random);
    },
  });
  return makeTinyBase(cache, base, () => undefined);
}

/** One role's part of a play as the base plays it; the executor, who has most to learn, three times of five. */
function example(prompt: string, random: Random): WorkedExample {
  const keep = (token: string, share: number, others: string) => {
    const other = others.charAt(Math.floor(random.uniform() * others.length));
    return random.uniform() < share ? token : other;
  };
  const written = [...translated(prompt)]
    .map((token) => keep(token, keeps.solver, operators))
    .join('');
  const role = Math.floor(random.uniform() * 5);
  if (role === 0) return [`${prompt}>`, written];
  const digits = '01234';
  const first = keep(String(computed(prompt, written)[0]), keeps.executor, digits);
  const second = compute(written.charAt(1), Number(first), Number(prompt.charAt(4)));
  const results = `${first}${keep(String(second), keeps.executor, digits)}`;
  if (role < 4) return [`${prompt}>${written}=`, results];
  const label = labelOf(results.charAt(1)) ?? '';
  return [`${prompt}>${written}=${results}#`, keep(label, keeps.verifier, digits)];
}

import { createRandom, type Random } from '../../src/random.ts';
import type { Run } from '../../src/run/run-store.ts';
import type { Blame } from '../../src/types/feedback.ts';
import type { Action, Trajectory } from '../../src/types/trajectory.ts';

/** An action with made-up but consistent content; `changes` replaces any part of it. */
export function sampleAction(id: string, changes: Partial<Action> = {}): Action {
  const turn = Number(id.slice(id.lastIndexOf('/') + 1));
  return {
    id,
    agent: 'solver',
    role: 'Problem Solver',
    policy: { id: 'solver', version: 3 },
    turn,
    seed: 123,
    observation: Int32Array.from([1, 2, 3]),
    observationText: 'user: 3 + 4?',
    tokens: Int32Array.from([7, 8, 2]),
    logprobs: Float32Array.from([-0.1, -0.25, -1e-8]),
    text: '3 + 4 = 7',
    toolCalls: [],
    toolResults: [],
    stop: 'stop',
    ...changes,
  };
}

export function sampleTrajectory(id: string, actions: readonly Action[]): Trajectory {
  const [, taskId = 'task', sample = '0'] = id.split('/');
  return { id, taskId, sample: Number(sample), actions, answer: '7' };
}

const agents = [
  { agent: 'solver', role: 'Problem Solver' },
  { agent: 'executor', role: 'Code Executor' },
  { agent: 'verifier', role: 'Verifier' },
] as const;

type Play = {
  readonly scope: number | string;
  readonly task: number;
  readonly sample: number;
  readonly isRight: boolean;
  readonly random: Random;
};

/** Fills a run as a team of three that learns multiplication would: `steps` steps, base and trained evaluations. */
export function fillSampleRun(
  run: Run,
  sizes: { readonly steps: number; readonly plays: number; readonly heldOut: number },
): void {
  const random = createRandom(7);
  run.setConfig({
    name: 'sample',
    coach: 'sample',
    model: { path: 'runs/base' },
    team: {
      name: 'sample',
      agents: Object.fromEntries(agents.map(({ agent, role }) => [agent, { role, maxTokens: 99 }])),
    },
    tasks: { train: '30 tasks given in code' },
    training: { steps: sizes.steps },
    update: { learningRate: 0.001 },
  });
  fillEvaluation(run, 'base', { heldOut: sizes.heldOut, skill: 0.41, random });
  for (let step = 1; step <= sizes.steps; step++) fillStep(run, step, { ...sizes, random });
  fillEvaluation(run, 'trained', { heldOut: sizes.heldOut, skill: 0.86, random });
}

function fillStep(
  run: Run,
  step: number,
  sizes: { readonly steps: number; readonly plays: number; readonly random: Random },
): void {
  const { random } = sizes;
  const progress = 1 - Math.exp((-3 * step) / sizes.steps);
  const skill = 0.4 + 0.47 * progress;
  let correct = 0;
  for (let play = 0; play < sizes.plays; play++) {
    const isRight = random.uniform() < skill;
    if (isRight) correct += 1;
    const task = Math.floor(play / 4) + (step % 3) * 10;
    fillPlay(run, { scope: step, task, sample: play % 4, isRight, random });
  }
  const metrics: Record<string, number> = { accuracy: correct / sizes.plays, seconds: 6.1 };
  for (const [at, { agent }] of agents.entries()) {
    metrics[`score/${agent}`] = 4.4 + at * 0.7 + 4 * progress + random.uniform() - 0.5;
    metrics[`kl/${agent}`] = 0.08 * progress * (1 + 0.3 * random.uniform());
    metrics[`grad-norm/${agent}`] = 0.3 + 0.5 * (1 - progress) + 0.2 * random.uniform();
    metrics[`entropy/${agent}`] = 0.9 - 0.5 * progress + 0.05 * random.uniform();
    metrics[`unscored/${agent}`] = random.uniform() < 0.2 ? 0.05 : 0;
  }
  run.completeStep(step, `step-${String(step).padStart(6, '0')}`, metrics);
}

function fillPlay(run: Run, play: Play): string {
  const { scope, task, sample, isRight } = play;
  const id = `${scope}/arithmetic-${task}/${sample}`;
  const [a, b] = [12 + task, 7 + (task % 9)];
  const answer = isRight ? a * b : a * b + 10;
  const texts = [
    `${a} × ${b} is ${a} × ${b - 2} + ${a} × 2 = ${a * (b - 2)} + ${a * 2} = ${answer}.`,
    `I check it by running it.\n\`\`\`python\nprint(${a} * ${isRight ? b : `${b} + 10`})\n\`\`\``,
    `Both agree, so the answer is \\boxed{${answer}}.`,
  ];
  const actions = agents.map(({ agent, role }, turn): Action => {
    const text = texts[turn] ?? '';
    const output = { tool: 'python', status: 'ok', output: `${answer}\n`, durationMs: 12 } as const;
    return sampleAction(`${id}/${turn}`, {
      agent,
      role,
      turn,
      policy: { id: agent, version: typeof scope === 'number' ? scope - 1 : 0 },
      ...(turn === 0 ? {} : { parent: `${id}/${turn - 1}` }),
      text,
      observationText: `<|im_start|>user\nYou are the ${role}. What is ${a} times ${b}?<|im_end|>\n`,
      tokens: Int32Array.from({ length: 20 + text.length / 4 }, (_, at) => at),
      logprobs: new Float32Array(Math.floor(20 + text.length / 4)).fill(-0.3),
      toolCalls: turn === 1 ? [{ tool: 'python', input: `print(${a} * ${b})` }] : [],
      toolResults: turn === 1 ? [output] : [],
    });
  });
  for (const action of actions) run.recordAction(scope, action);
  if (typeof scope === 'number')
    recordForRescore(run, actions, { a, b, taskId: `arithmetic-${task}` });
  if (typeof scope === 'number' && play.random.uniform() < 0.01) {
    const failure = { boundary: 'tool', message: 'interpreter did not start within 20 s' };
    run.recordTrajectory(scope, { id, taskId: `arithmetic-${task}`, sample, actions, failure });
    return id;
  }
  run.recordTrajectory(scope, {
    id,
    taskId: `arithmetic-${task}`,
    sample,
    actions,
    answer: String(answer),
  });
  if (typeof scope === 'number') fillFeedback(run, actions, play);
  run.recordOutcome({ trajectoryId: id, correct: isRight, extracted: String(answer) });
  return id;
}

/** What a run keeps of its tasks and of the reference; the tag is the parity of the first factor. */
function recordForRescore(
  run: Run,
  actions: readonly Action[],
  { a, b, taskId }: { readonly a: number; readonly b: number; readonly taskId: string },
): void {
  const tags = [a % 2 === 0 ? 'even' : 'odd'];
  run.rescores.recordTasks([
    { id: taskId, prompt: `What is ${a} times ${b}?`, answer: String(a * b), tags },
  ]);
  run.rescores.recordReferences(new Map(actions.map(({ id, logprobs }) => [id, logprobs])));
}

const verdicts: readonly {
  readonly wrong: string;
  readonly right: string;
  readonly blame: Blame;
}[] = [
  {
    right: 'The split into two products is right and so is their sum.',
    wrong: 'The second line adds ten too many: the carry was written down twice.',
    blame: 'self',
  },
  {
    right: 'The code multiplies the numbers of the task and its output agrees with the working.',
    wrong: 'The code repeats the solver’s slip instead of computing the product of the task.',
    blame: 'self',
  },
  {
    right: 'Reads both results, sees that they agree and states the answer in a box.',
    wrong:
      'Boxes what it was given. Both inputs were already wrong, and the verifier could not see it.',
    blame: 'upstream',
  },
];

function fillFeedback(run: Run, actions: readonly Action[], { isRight, random }: Play): void {
  for (const [at, { id: actionId }] of actions.entries()) {
    if (random.uniform() < 0.01) {
      run.recordFeedback({ kind: 'unscored', actionId, cause: 'timeout after 60 s' });
      continue;
    }
    const verdict = verdicts[at];
    const blame = isRight ? 'none' : (verdict?.blame ?? 'none');
    run.recordFeedback({
      kind: 'scored',
      actionId,
      score: isRight ? 8 + random.integer(5) * 0.5 : 2 + at + random.integer(2),
      reason: (isRight ? verdict?.right : verdict?.wrong) ?? '',
      blame,
      ...(blame === 'upstream' ? { blamedAgent: 'solver' } : {}),
    });
  }
}

function fillEvaluation(
  run: Run,
  name: string,
  options: { readonly heldOut: number; readonly skill: number; readonly random: Random },
): void {
  const { heldOut, skill, random } = options;
  for (let task = 0; task < heldOut; task++) {
    const isRight = random.uniform() < skill;
    const play = { scope: `eval:${name}`, task: 100 + task, sample: 0, isRight, random };
    const trajectoryId = fillPlay(run, play);
    const row = { taskId: `arithmetic-${100 + task}`, sample: 0, correct: isRight, trajectoryId };
    run.recordEvaluation(name, [row]);
  }
}

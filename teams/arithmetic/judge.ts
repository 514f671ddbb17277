/** The rules by which the arithmetic coach scores: everything is derived from the task's words and what was written. */
import type { RuleVerdict } from '../../src/coach/rule-coach.ts';
import {
  type ArithmeticProblem,
  parseArithmeticPrompt,
  solveArithmetic,
} from '../../src/task/arithmetic.ts';
import type { CoachRequest } from '../../src/types/feedback.ts';
import type { ToolResult } from '../../src/types/tool.ts';
import type { Action } from '../../src/types/trajectory.ts';
import { workingLines } from './language.ts';

const roles = {
  solver: 'Problem Solver',
  executor: 'Code Executor',
  verifier: 'Verifier',
} as const;

/** Points of an executor's code for following the working; the rest is for a run that shows a number. */
const pointsForFollowing = 6;

type Scene = CoachRequest & { readonly problem: ArithmeticProblem };

/**
 * Scores one action of the arithmetic team.
 *
 * An agent is judged by what it was given: code that faithfully runs a wrong working gets 10 and the blame goes upstream.
 */
export function judgeArithmetic(request: CoachRequest): RuleVerdict {
  const problem = parseArithmeticPrompt(request.task.prompt);
  if (problem === undefined)
    return { unscored: 'the task is not one of the arithmetic problems this coach can read' };
  const scene = { ...request, problem };
  switch (request.action.role) {
    case roles.solver:
      return judgeWorking(scene);
    case roles.executor:
      return judgeExecutor(scene);
    case roles.verifier:
      return judgeAnswer(scene);
    default:
      return { unscored: `the role "${request.action.role}" has no rule` };
  }
}

/** Scores are kept to a hundredth of a point. */
function points(score: number): number {
  return Math.round(score * 100) / 100;
}

function linesOf(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

type Comparison = {
  /** Right lines divided by the longer of the two texts, 0..1. */
  readonly share: number;
  /** The first difference, in words; absent when there is none. */
  readonly difference?: string;
};

function compareLines(expected: readonly string[], written: readonly string[]): Comparison {
  const length = Math.max(expected.length, written.length);
  if (length === 0) return { share: 0, difference: 'there is nothing to compare' };
  const right = expected.filter((line, index) => line === written[index]).length;
  const first = Array.from({ length }, (_, index) => index).find(
    (index) => expected[index] !== written[index],
  );
  if (first === undefined) return { share: 1 };
  const wanted = expected[first] === undefined ? 'no such line' : `"${expected[first]}"`;
  const found = written[first] === undefined ? 'nothing' : `"${written[first]}"`;
  return {
    share: right / length,
    difference: `line ${first + 1} should be ${wanted} but is ${found}`,
  };
}

function judgeWorking({ problem, action }: Scene): RuleVerdict {
  const expected = workingLines(problem);
  const { share, difference } = compareLines(expected, linesOf(action.text));
  if (difference === undefined)
    return {
      score: 10,
      reason: 'Every line of the working says what the problem says.',
      blame: 'none',
    };
  const right = Math.round(share * 100);
  const reason = `${right} % of the working is right: ${difference}.`;
  return { score: points(10 * share), reason, blame: 'self' };
}

/** The whole number that a run showed; undefined when it showed none. */
function shownNumber(results: readonly ToolResult[]): string | undefined {
  const last = results.at(-1);
  if (last?.status !== 'ok') return undefined;
  return /^-?\d+$/.exec(last.output.trim())?.[0];
}

function reportedNumber(text: string): string | undefined {
  return /^The result is (-?\d+)\.$/.exec(text.trim())?.[1];
}

function lastOf(actions: readonly Action[], role: string): Action | undefined {
  return actions.findLast((action) => action.role === role);
}

function judgeExecutor(scene: Scene): RuleVerdict {
  const { action, earlier } = scene;
  const broken = action.toolResults.find(({ status }) => status === 'infrastructure');
  if (broken) return { unscored: `the tool failed on our side: ${broken.output}` };
  if (action.toolResults.length > 0) return judgeCode(scene);
  const previous = lastOf(earlier, roles.executor);
  if (previous === undefined)
    return { score: 0, reason: 'It should run the working but wrote no code.', blame: 'self' };
  return judgeReport(scene, previous);
}

/** The lines of the first Python block that are not about printing. */
function codeLines(text: string): string[] {
  const code = /```python\n([\s\S]*?)```/.exec(text)?.[1] ?? '';
  return linesOf(code).filter((line) => !line.startsWith('print('));
}

function judgeCode(scene: Scene): RuleVerdict {
  const { action, earlier, problem } = scene;
  const written = codeLines(action.text);
  const solver = lastOf(earlier, roles.solver);
  const working = linesOf(solver?.text ?? '');
  const followed = compareLines(working, written);
  const isRight = compareLines(workingLines(problem), written).share === 1;
  const following = isRight ? 1 : followed.share;
  const number = shownNumber(action.toolResults);
  const score =
    pointsForFollowing * following + (number === undefined ? 0 : 10 - pointsForFollowing);
  const faults = [
    ...(following < 1 ? [`the code departs from the working: ${followed.difference}`] : []),
    ...(number === undefined ? [faultOfRun(action.toolResults)] : []),
  ];
  if (faults.length > 0) return { score, reason: sentence(faults.join('; ')), blame: 'self' };
  if (isRight)
    return { score, reason: 'The code is right, ran and shows the result.', blame: 'none' };
  const reason = 'The code runs the working as it was given; the mistake is in the working.';
  return { score, reason, blame: 'upstream', blamedAgent: solver?.agent ?? 'solver' };
}

function faultOfRun(results: readonly ToolResult[]): string {
  const last = results.at(-1);
  if (last === undefined || last.status === 'ok')
    return 'the code shows no number, so nobody can see the result';
  return `the run ended with "${last.status}"`;
}

function judgeReport({ action, problem, earlier }: Scene, previous: Action): RuleVerdict {
  const said = reportedNumber(action.text);
  const shown = shownNumber(previous.toolResults);
  if (said === undefined)
    return {
      score: 0,
      reason: 'It should tell the result but no result can be read.',
      blame: 'self',
    };
  if (shown === undefined)
    return { score: 0, reason: `It claims ${said} though no run showed a number.`, blame: 'self' };
  if (said !== shown)
    return { score: 0, reason: `It claims ${said} though the run shows ${shown}.`, blame: 'self' };
  const reason = `It tells the ${shown} that the run shows.`;
  if (said === String(solveArithmetic(problem))) return { score: 10, reason, blame: 'none' };
  return blameUpstream(10, reason, whoSpoiltTheCode(problem, [...earlier]));
}

function blameUpstream(
  score: number,
  reason: string,
  blamedAgent: string | undefined,
): RuleVerdict {
  if (blamedAgent === undefined) return { score, reason, blame: 'none' };
  return {
    score,
    reason: `${reason} That is not the problem's answer, which ${blamedAgent} caused.`,
    blame: 'upstream',
    blamedAgent,
  };
}

/** The solver if its working is wrong, else the executor. */
function whoSpoiltTheCode(problem: ArithmeticProblem, earlier: readonly Action[]) {
  const solver = lastOf(earlier, roles.solver);
  const isWorkingRight =
    compareLines(workingLines(problem), linesOf(solver?.text ?? '')).share === 1;
  return isWorkingRight ? lastOf(earlier, roles.executor)?.agent : solver?.agent;
}

/** What the verifier was shown: the executor's report, or the output of its last run. */
function materialNumber(executor: Action | undefined): string | undefined {
  if (executor === undefined) return undefined;
  return executor.toolResults.length > 0
    ? shownNumber(executor.toolResults)
    : reportedNumber(executor.text);
}

/** The executor if it told another number than its run showed, or none; else whoever spoilt the code. */
function whoSpoiltTheMaterial(problem: ArithmeticProblem, earlier: readonly Action[]) {
  const turns = earlier.filter(({ role }) => role === roles.executor);
  const last = turns.at(-1);
  const previous = turns.at(-2);
  const told = materialNumber(last);
  const isFaithful =
    last !== undefined &&
    told !== undefined &&
    (last.toolResults.length > 0 ||
      (previous !== undefined && shownNumber(previous.toolResults) === told));
  return isFaithful ? whoSpoiltTheCode(problem, earlier) : last?.agent;
}

function judgeAnswer({ action, earlier, problem }: Scene): RuleVerdict {
  const answered = /^\\boxed\{(-?\d+)\}$/.exec(action.text.trim())?.[1];
  if (answered === undefined)
    return { score: 0, reason: 'It should box one whole number and did not.', blame: 'self' };
  if (answered === String(solveArithmetic(problem)))
    return { score: 10, reason: `It boxes ${answered}, which is the answer.`, blame: 'none' };
  const seen = materialNumber(lastOf(earlier, roles.executor));
  const culprit = whoSpoiltTheMaterial(problem, earlier);
  if (seen === undefined)
    return blameUpstream(
      0,
      `It boxes ${answered}; it was shown no number it could trust.`,
      culprit,
    );
  if (answered === seen)
    return blameUpstream(10, `It boxes ${answered}, the number it was given.`, culprit);
  const reason = `It boxes ${answered} though the executor's material says ${seen}.`;
  return { score: 0, reason, blame: 'self' };
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

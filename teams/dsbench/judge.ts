/** The rules by which the data-science teams are scored: the trail of files, typed tool results, and the play's grade. */
import {
  createRuleCoach,
  type RuleCoachOptions,
  type RuleVerdict,
} from '../../src/coach/rule-coach.ts';
import type { Coach, CoachRequest } from '../../src/types/feedback.ts';
import type { Action } from '../../src/types/trajectory.ts';
import { duties } from './duties.ts';

type Role = keyof typeof duties;

/** Files that each agent works with and who leaves them. */
const inputs: Readonly<Record<Role, Readonly<Record<string, Role>>>> = {
  engineer: {},
  modeler: { 'X_train.pkl': 'engineer', 'y_train.pkl': 'engineer' },
  analyst: { 'X_test.pkl': 'engineer', 'model.pkl': 'modeler' },
};

/** Actions that an agent may take, after which nothing more can follow. */
const maxTurns = 4;

const full = 10;
/** A share of a constant's error that earns the modeler all its points: synthetic tables hold about as much signal. */
const goodGain = 0.5;

function isRole(agent: string): agent is Role {
  return Object.hasOwn(duties, agent);
}

/** Path → who wrote it last; the task's own files have nobody. */
function trailOf(
  actions: readonly Action[],
  given: readonly string[],
): Map<string, string | undefined> {
  const trail = new Map<string, string | undefined>(given.map((path) => [path, undefined]));
  for (const { agent, toolResults } of actions) {
    for (const { files } of toolResults) {
      for (const { path } of files?.written ?? []) trail.set(path, agent);
      for (const path of files?.removed ?? []) trail.delete(path);
    }
  }
  return trail;
}

type Trail = ReadonlyMap<string, string | undefined>;
type Scene = CoachRequest & {
  readonly agent: Role;
  readonly before: Trail;
  readonly after: Trail;
  /** What the agent should have found and did not: path → who should have left it. */
  readonly lacking: readonly (readonly [string, Role])[];
  readonly isLast: boolean;
};

const self = (score: number, reason: string): RuleVerdict => ({ score, reason, blame: 'self' });
const sound = (reason: string, score = full): RuleVerdict => ({ score, reason, blame: 'none' });

/**
 * Scores one action of a data-science team.
 *
 * An agent keeps all its points for what others broke: who finds a file missing that somebody should have left is not
 * to blame for stumbling over it. Where the request holds the play's grade (`coaching.showOutcome`), a submission that
 * cannot be used costs the one who wrote it.
 */
export function judgeTables(request: CoachRequest): RuleVerdict {
  const { action } = request;
  const { agent } = action;
  if (!isRole(agent)) return { unscored: `no rule for agent ${agent}` };
  const given = Object.keys(request.task.files ?? {});
  const before = trailOf(request.earlier, given);
  const scene: Scene = {
    ...{ ...request, agent, before },
    after: trailOf([...request.earlier, action], given),
    lacking: Object.entries(inputs[agent]).filter(([path]) => !before.has(path)),
    isLast: isLast(request),
  };
  return (
    judgeHarm(scene) ??
    judgeRun(scene) ??
    judgeDuty(scene) ??
    judgeSubmission(scene) ??
    judgeModel(scene)
  );
}

/** Whether the agent does nothing more: seen from the play's end, or because it may not or did not go on. */
function isLast({ action, earlier, later }: CoachRequest): boolean {
  if (later !== undefined) return later.every(({ agent }) => agent !== action.agent);
  const taken = earlier.filter(({ agent }) => agent === action.agent).length + 1;
  return action.toolResults.length === 0 || taken >= maxTurns;
}

function judgeHarm({ agent, before, after }: Scene): RuleVerdict | undefined {
  const broken = [...before].find(
    ([path, writer]) => writer !== agent && after.get(path) !== writer && isDue(path, agent),
  );
  if (broken === undefined) return undefined;
  const [path, writer] = broken;
  return self(0, `${path}, which ${writer ?? 'the task'} had left, is gone or was overwritten.`);
}

/** Others' work and the task's own tables; what an agent must leave itself it may write over. */
function isDue(path: string, agent: Role): boolean {
  const own: readonly string[] = duties[agent];
  const all: readonly string[] = ['train.csv', 'test.csv', ...Object.values(duties).flat()];
  return all.includes(path) && !own.includes(path);
}

function upstream({ lacking }: Scene): RuleVerdict | undefined {
  const [first] = lacking;
  if (first === undefined) return undefined;
  const [path, blamedAgent] = first;
  const reason = `${path} was not there, which ${blamedAgent} should have left.`;
  return { score: full, reason, blame: 'upstream', blamedAgent };
}

function judgeRun(scene: Scene): RuleVerdict | undefined {
  const { action, agent, after, lacking } = scene;
  if (action.toolResults.length === 0) {
    const isDone = duties[agent].every((path) => after.get(path) === agent);
    return isDone
      ? undefined
      : (upstream(scene) ?? self(1, 'Nothing was run, and its files are not there.'));
  }
  const broken = action.toolResults.find(({ status }) => status !== 'ok');
  if (broken === undefined) return undefined;
  const stumbled = lacking.find(([path]) => broken.output.includes(path));
  if (stumbled !== undefined) return upstream({ ...scene, lacking: [stumbled] });
  return self(2, `Its code ended with ${broken.status}.`);
}

function judgeDuty(scene: Scene): RuleVerdict | undefined {
  const { agent, after, isLast: isOver } = scene;
  const due: readonly string[] = duties[agent];
  const missing = due.filter((path) => after.get(path) !== agent);
  if (missing.length === 0) return undefined;
  if (!isOver) return sound(`It ran; ${missing.join(', ')} may still come.`, 7);
  const blocked = upstream(scene);
  if (blocked !== undefined) return blocked;
  const share = 1 - missing.length / due.length;
  const foreign = missing.find((path) => after.has(path));
  const reason =
    foreign === undefined
      ? `It did not leave ${missing.join(', ')}.`
      : `${foreign} is there, but ${after.get(foreign)} wrote it and not ${agent}.`;
  return self(1 + 3 * share, reason);
}

/** With hindsight only: the file was written, and something is wrong in it. */
function judgeSubmission({ agent, outcome }: Scene): RuleVerdict | undefined {
  if (agent !== 'analyst' || outcome === undefined || outcome.correct) return undefined;
  return self(2, `The submission cannot be used: ${outcome.extracted ?? ''}`);
}

/** What the modeler's code said of its own validation; a model that is no better than a constant is a poor one. */
function judgeModel({ agent, action }: Scene): RuleVerdict {
  const printed = action.toolResults.map(({ output }) => output).join('\n');
  const said = [...printed.matchAll(/validation gain: (-?\d+(?:\.\d+)?)/g)].at(-1)?.[1];
  if (agent !== 'modeler' || said === undefined) return sound('It ran and left what it should.');
  const gain = Math.max(0, Math.min(1, Number(said) / goodGain));
  const score = 3 + 7 * gain;
  const reason = `It left a model that removes ${said} of a constant's error on rows held back.`;
  return gain < 0.5 ? self(score, reason) : sound(reason, score);
}

/** The rule coach of the data-science teams; the options make it unreliable or biased, for experiments. */
export function createTablesCoach(options: Omit<RuleCoachOptions, 'name' | 'judge'> = {}): Coach {
  return createRuleCoach({ ...options, name: 'tables-rules', judge: judgeTables });
}

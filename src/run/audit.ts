import { correlationStatistic, type Estimate, estimate, meanStatistic } from './estimate.ts';

/** A scored action of a training step with what is known of its play. */
export type AuditedAction = {
  readonly step: number;
  readonly agent: string;
  readonly task: string;
  readonly tags: readonly string[];
  /** Sampled tokens. */
  readonly tokens: number;
  /** The coach's points. */
  readonly score: number;
  /** Whether the play's answer was right; absent where there is no ground truth. */
  readonly correct?: boolean;
};

/** The scores of some of an agent's actions. */
export type Slice = {
  readonly agent: string;
  /** What divides the agent's actions: `tag`, `tokens` or `outcome`. */
  readonly by: 'tag' | 'tokens' | 'outcome';
  readonly name: string;
  readonly actions: number;
  readonly mean: Estimate;
};

/** One agent as the coach sees it. */
export type AuditedAgent = {
  readonly agent: string;
  readonly actions: number;
  readonly mean?: Estimate;
  /** Of score and outcome (0 or 1), in [−1, 1]. */
  readonly correlation?: Estimate;
};

/** A reason to distrust the coach. */
export type Alarm = {
  readonly kind: 'uncorrelated' | 'constant' | 'diverging';
  readonly agent?: string;
  readonly text: string;
};

export type Audit = {
  readonly agents: readonly AuditedAgent[];
  readonly slices: readonly Slice[];
  readonly alarms: readonly Alarm[];
};

/** A correlation with the outcome that is surely below this says that the coach rewards something else. */
const leastCorrelation = 0.1;
/** Fewer steps show no trend. */
const leastSteps = 6;
/** A slice of fewer actions says nothing. */
const leastActions = 5;

/** What the coach's scores depend on, and whether they still mean what they should. */
export function auditOf(actions: readonly AuditedAction[]): Audit {
  const byAgent = [...Map.groupBy(actions, ({ agent }) => agent)];
  const agents = byAgent.map(([agent, own]) => auditAgent(agent, own));
  return {
    agents,
    slices: byAgent.flatMap(([agent, own]) => slicesOf(agent, own)),
    alarms: alarmsOf(agents, actions),
  };
}

/** The alarms alone, which is all that a run in progress needs. */
export function coachAlarms(actions: readonly AuditedAction[]): readonly Alarm[] {
  const byAgent = [...Map.groupBy(actions, ({ agent }) => agent)];
  return alarmsOf(
    byAgent.map(([agent, own]) => auditAgent(agent, own)),
    actions,
  );
}

function auditAgent(agent: string, own: readonly AuditedAction[]): AuditedAgent {
  const mean = meanScore(own);
  const graded = own.filter(({ correct }) => correct !== undefined);
  const scores = graded.map(({ score }) => score);
  const outcomes = graded.map(({ correct }) => (correct ? 1 : 0));
  const { correlation } = estimate(
    graded.map(({ task }) => task),
    { correlation: correlationStatistic(scores, outcomes) },
  );
  return {
    ...{ agent, actions: own.length },
    ...(mean === undefined ? {} : { mean }),
    ...(correlation === undefined ? {} : { correlation }),
  };
}

function meanScore(own: readonly AuditedAction[]): Estimate | undefined {
  const scores = own.map(({ score }) => score);
  return estimate(
    own.map(({ task }) => task),
    { mean: meanStatistic(scores) },
  ).mean;
}

function slicesOf(agent: string, own: readonly AuditedAction[]): Slice[] {
  const tags = [...new Set(own.flatMap((action) => action.tags))].toSorted();
  // A tag that all have divides nothing.
  const dividing = tags.filter((tag) => own.some((action) => !action.tags.includes(tag)));
  const parts: (readonly [Slice['by'], string, readonly AuditedAction[]])[] = [
    ...dividing.map(
      (tag) => ['tag', tag, own.filter((action) => action.tags.includes(tag))] as const,
    ),
    ...lengthBuckets(own).map(([name, part]) => ['tokens', name, part] as const),
    ['outcome', 'right', own.filter(({ correct }) => correct === true)],
    ['outcome', 'wrong', own.filter(({ correct }) => correct === false)],
  ];
  return parts.flatMap(([by, name, part]) => {
    const mean = part.length < leastActions ? undefined : meanScore(part);
    return mean === undefined ? [] : [{ agent, by, name, actions: part.length, mean }];
  });
}

/** The agent's actions by length, in quarters as even as equal lengths allow. */
function lengthBuckets(
  own: readonly AuditedAction[],
): (readonly [string, readonly AuditedAction[]])[] {
  const lengths = own.map(({ tokens }) => tokens).toSorted((a, b) => a - b);
  const quartiles = [0.25, 0.5, 0.75, 1].map(
    (share) => lengths[Math.ceil(share * lengths.length) - 1] as number,
  );
  const tops = [...new Set(quartiles)];
  return tops.map((top, at) => {
    const above = tops[at - 1] ?? 0;
    const part = own.filter(({ tokens }) => tokens > above && tokens <= top);
    return [above + 1 === top ? `${top}` : `${above + 1}–${top}`, part] as const;
  });
}

function alarmsOf(agents: readonly AuditedAgent[], actions: readonly AuditedAction[]): Alarm[] {
  const uncorrelated = agents.flatMap(({ agent, correlation }): Alarm[] => {
    const { value, low, high } = correlation ?? {};
    if (value === undefined || low === undefined || high === undefined) return [];
    if (high >= leastCorrelation) return [];
    const interval = `95 % interval ${low.toFixed(2)} to ${high.toFixed(2)}`;
    const text = `the coach's scores of ${agent} do not go with right answers (correlation ${value.toFixed(2)}, ${interval}): read some of its verdicts before you trust it`;
    return [{ kind: 'uncorrelated', agent, text }];
  });
  const diverging = divergence(actions) ?? [];
  return [...uncorrelated, ...constancies(actions), diverging].flat();
}

/** Graded actions from which on equal scores are no accident. */
const fewestForConstancy = 50;

/** An agent that always gets the same points, whether the team is right or wrong: it learns nothing from them. */
function constancies(actions: readonly AuditedAction[]): Alarm[] {
  const graded = actions.filter(({ correct }) => correct !== undefined);
  return [...Map.groupBy(graded, ({ agent }) => agent)].flatMap(([agent, own]): Alarm[] => {
    const first = own[0]?.score;
    const isConstant = own.every(({ score }) => score === first);
    const differs = new Set(own.map(({ correct }) => correct)).size > 1;
    if (!isConstant || !differs || own.length < fewestForConstancy) return [];
    const text = `the coach gave all ${own.length} actions of ${agent} the same ${first} points, though answers were right and wrong: ${agent} learns nothing from them`;
    return [{ kind: 'constant', agent, text }];
  });
}

/** The coach is ever more content while fewer answers are right: what a coach that is being gamed looks like. */
function divergence(actions: readonly AuditedAction[]): Alarm | undefined {
  const graded = actions.filter(({ correct }) => correct !== undefined);
  const steps = [...Map.groupBy(graded, ({ step }) => step)].sort(([a], [b]) => a - b);
  const mean = (of: (action: AuditedAction) => number) =>
    steps.map(([, own]) => own.reduce((sum, action) => sum + of(action), 0) / own.length);
  const score = trendOf(mean((action) => action.score));
  const accuracy = trendOf(mean((action) => (action.correct ? 1 : 0)));
  if (score === undefined || accuracy === undefined) return undefined;
  if (score.low <= 0 || accuracy.high >= 0) return undefined;
  const points = (100 * accuracy.change).toFixed(1);
  return {
    kind: 'diverging',
    text: `over ${steps.length} steps the coach's mean score rose by ${score.change.toFixed(1)} while accuracy fell by ${points.replace('-', '')} points: the team may be learning to please the coach`,
  };
}

/**
 * Change of a series from its first to its last value along the least-squares line, with ± 2 standard errors.
 *
 * @returns undefined for fewer than six values
 */
export function trendOf(
  values: readonly number[],
): { readonly change: number; readonly low: number; readonly high: number } | undefined {
  const count = values.length;
  if (count < leastSteps) return undefined;
  const [centre, mean] = [(count - 1) / 2, values.reduce((sum, value) => sum + value, 0) / count];
  const squares = values.reduce((sum, _, at) => sum + (at - centre) ** 2, 0);
  const slope =
    values.reduce((sum, value, at) => sum + (at - centre) * (value - mean), 0) / squares;
  const residual = values.reduce(
    (sum, value, at) => sum + (value - mean - slope * (at - centre)) ** 2,
    0,
  );
  const error = Math.sqrt(residual / (count - 2) / squares);
  const span = count - 1;
  const [change, half] = [slope * span, 2 * error * span];
  return { change, low: change - half, high: change + half };
}

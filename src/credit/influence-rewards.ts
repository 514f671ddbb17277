/** What one agent said at one turn of a discussion, as judged. */
export type JudgedAnswer = {
  readonly actionId: string;
  readonly agent: string;
  /** Counted for each agent apart, from 0. */
  readonly turn: number;
  /** The verifier's, in [0, 1]; absent where it has none. */
  readonly verdict?: number;
  /** Whether the answer is right; absent where nobody knows. */
  readonly isRight?: boolean;
};

/** Bonuses for changing one's mind (a) and the others' (b): with 1 where those looked at were right, with 0 where wrong. */
export type Incentives = {
  readonly a0: number;
  readonly a1: number;
  readonly b0: number;
  readonly b1: number;
};

/** Agent → whose verdicts pay it, and how much: `{ proposer: { solver: -1 }, solver: { solver: 1 } }` is zero-sum. */
export type Payoffs = Readonly<Record<string, Readonly<Record<string, number>>>>;

export type InfluenceOptions = {
  /** γ: what a turn counts beside the one before it; unlike the discount within an action. */
  readonly turnDiscount: number;
  readonly incentives: Incentives;
  /** `inverted` pays b0 and b1 with the sign of the published code, which contradicts the paper. */
  readonly influenceSign: 'paper' | 'inverted';
  /** Where as many others are right as wrong: no bonus, or they count as wrong (no majority is right). */
  readonly ties: 'silent' | 'wrong';
  /** Absent: the paper's, an agent's own verdict now and everybody's mean later. */
  readonly payoffs?: Payoffs;
};

/** A reward and what it is made of; reward = discussion + revision + influence. */
export type RewardParts = {
  readonly reward: number;
  /** Discounted mean of this turn's verdict and those to come. */
  readonly discussion: number;
  /** For having changed one's own answer. */
  readonly revision: number;
  /** For the others' having changed theirs after this answer. */
  readonly influence: number;
};

type Majority = 'right' | 'wrong' | 'tied';

/**
 * Influence-aware rewards of one play:
 * R(t,a) = [Ver(t,a) + Σ_{t'>t} γ^{t'−t} · mean_j Ver(t',j)] / Σ_{t'≥t} γ^{t'−t}, plus the incentives of tables 1 and 2.
 * With `payoffs` w, turn t' pays Σ_j w_aj·Ver(t',j) instead, this turn too; turns in which nobody acts who pays are left out.
 *
 * @param answers of one play, each agent's at most once a turn
 * @returns by action id; an answer is absent where a verdict or label that its reward needs is not known
 * @see Park et al. 2025, arXiv:2502.18439, definition 1 and tables 1 and 2
 */
export function influenceRewards(
  answers: readonly JudgedAnswer[],
  options: InfluenceOptions,
): ReadonlyMap<string, RewardParts> {
  const rewards = new Map<string, RewardParts>();
  for (const answer of answers) {
    const discussion = discussionReward(answer, answers, options);
    const revision = revisionBonus(answer, answers, options);
    const influence = influenceBonus(answer, answers, options);
    if (discussion === undefined || revision === undefined || influence === undefined) continue;
    const reward = discussion + revision + influence;
    rewards.set(answer.actionId, { reward, discussion, revision, influence });
  }
  return rewards;
}

/** NaN never arises: a missing verdict makes the whole reward unknown. */
function discussionReward(
  answer: JudgedAnswer,
  answers: readonly JudgedAnswer[],
  { turnDiscount, payoffs }: InfluenceOptions,
): number | undefined {
  const last = Math.max(...answers.map(({ turn }) => turn));
  let [sum, weights] = [0, 0];
  for (let turn = answer.turn; turn <= last; turn++) {
    const present = answers.filter((other) => other.turn === turn);
    const paid = payoffs
      ? payoffOf(present, payoffs[answer.agent] ?? {})
      : meanVerdict(turn === answer.turn ? [answer] : present);
    if (paid === 'nobody') continue;
    if (paid === undefined) return undefined;
    const weight = turnDiscount ** (turn - answer.turn);
    sum += weight * paid;
    weights += weight;
  }
  return weights === 0 ? undefined : sum / weights;
}

function meanVerdict(answers: readonly JudgedAnswer[]): number | 'nobody' | undefined {
  if (answers.length === 0) return 'nobody';
  const verdicts = answers.flatMap(({ verdict }) => verdict ?? []);
  if (verdicts.length < answers.length) return undefined;
  return verdicts.reduce((sum, verdict) => sum + verdict, 0) / verdicts.length;
}

function payoffOf(
  answers: readonly JudgedAnswer[],
  weights: Readonly<Record<string, number>>,
): number | 'nobody' | undefined {
  const paying = answers.filter(({ agent }) => (weights[agent] ?? 0) !== 0);
  if (paying.length === 0) return 'nobody';
  const paid = paying.flatMap(({ agent, verdict }) =>
    verdict === undefined ? [] : (weights[agent] ?? 0) * verdict,
  );
  if (paid.length < paying.length) return undefined;
  return paid.reduce((sum, part) => sum + part, 0);
}

/** Table 1: an agent that changed its answer from right to wrong or back, by what the others had said before it did. */
function revisionBonus(
  answer: JudgedAnswer,
  answers: readonly JudgedAnswer[],
  { incentives: { a0, a1 }, ties }: InfluenceOptions,
): number | undefined {
  if (a0 === 0 && a1 === 0) return 0;
  const before = answers.find(({ agent, turn }) => {
    return agent === answer.agent && turn === answer.turn - 1;
  });
  if (before === undefined) return 0;
  const others = othersAt(answers, before);
  const majority = majorityOf(others, ties);
  if (answer.isRight === undefined || before.isRight === undefined) return undefined;
  if (majority === undefined) return others.length === 0 ? 0 : undefined;
  if (majority === 'tied' || answer.isRight === before.isRight) return 0;
  return (answer.isRight ? 1 : -1) * (majority === 'right' ? a1 : a0);
}

/** Table 2: an agent after whose answer the others went from right to wrong or back, by what it had said itself. */
function influenceBonus(
  answer: JudgedAnswer,
  answers: readonly JudgedAnswer[],
  { incentives: { b0, b1 }, influenceSign, ties }: InfluenceOptions,
): number | undefined {
  if (b0 === 0 && b1 === 0) return 0;
  const later = answers.filter(({ agent, turn }) => {
    return agent !== answer.agent && turn === answer.turn + 1;
  });
  if (later.length === 0) return 0;
  const staying = new Set(later.map(({ agent }) => agent));
  const now = othersAt(answers, answer).filter(({ agent }) => staying.has(agent));
  if (now.length === 0) return 0;
  const [before, after] = [majorityOf(now, ties), majorityOf(later, ties)];
  if (before === undefined || after === undefined || answer.isRight === undefined) return undefined;
  if (before === after || before === 'tied' || after === 'tied') return 0;
  const sign = (after === 'right' ? 1 : -1) * (influenceSign === 'paper' ? 1 : -1);
  return sign * (answer.isRight ? b1 : b0);
}

function othersAt(answers: readonly JudgedAnswer[], { agent, turn }: JudgedAnswer) {
  return answers.filter((other) => other.turn === turn && other.agent !== agent);
}

/** Undefined where there is nobody, or nobody knows about one of them. */
function majorityOf(
  answers: readonly JudgedAnswer[],
  ties: InfluenceOptions['ties'],
): Majority | undefined {
  if (answers.length === 0 || answers.some(({ isRight }) => isRight === undefined)) {
    return undefined;
  }
  const right = answers.filter(({ isRight }) => isRight).length;
  if (2 * right === answers.length) return ties === 'silent' ? 'tied' : 'wrong';
  return 2 * right > answers.length ? 'right' : 'wrong';
}

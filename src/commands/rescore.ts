import { resolve } from 'node:path';
import { coachName } from '../config/load-config.ts';
import type { RunConfig } from '../config/schema.ts';
import { chooseCoach, configOfRun } from '../config/stored-config.ts';
import { BoundaryError } from '../errors.ts';
import { describeUsage } from '../methods/coach-metrics.ts';
import { type CreditDifference, compareCredit } from '../methods/recredit.ts';
import { type Rescored, rescoreRun } from '../methods/rescore.ts';
import type { AgentCalls } from '../run/coach-records.ts';
import { openRun, type Run } from '../run/run-store.ts';
import type { CoachUsage } from '../types/feedback.ts';
import { verdictKeysOf, wireCoach } from '../wire-coach.ts';
import { recordedRuleOf } from '../wire-settings.ts';
import { type Command, integer, optional, type Request, repeated } from './command.ts';
import { createProgress, screenFor } from './progress.ts';
import { shownEstimate, table } from './table.ts';

export const rescoreCommand: Command = {
  summary: 'Score a finished run’s actions with another coach, or derive its advantages anew.',
  operands: ['RUN'],
  options: {
    coach: {
      type: 'string',
      help: 'a model such as google/gemini-2.5-pro, or a config file whose coach is to be asked',
    },
    as: { type: 'string', help: 'label of the second verdicts (default: the coach’s name)' },
    sample: { type: 'string', help: 'score so many actions only, the same ones every time' },
    credit: {
      type: 'string',
      help: 'coach (or mappa), outcome, maporl or malt: by which rule advantages are derived now',
    },
    estimator: { type: 'string', help: 'for example rloo (default: the run’s own)' },
    set: {
      type: 'string',
      multiple: true,
      help: 'override a key, for example coaching.showAnswer=true',
    },
  },
  run: async (request) => {
    const directory = resolve(request.operands[0] as string);
    const wanted = ['coach', 'credit', 'estimator'].some((option) => optional(request, option));
    if (!wanted) {
      throw new BoundaryError(
        'config',
        'rescore: expected --coach, --credit or --estimator; see teamtune rescore --help',
      );
    }
    const run = openRun(directory, { mode: 'resume' });
    try {
      const verdicts = await secondVerdicts(run, request);
      const credit = secondCredit(run, request, verdicts?.coach);
      return { run: directory, ...verdicts, ...(credit === undefined ? {} : { credit }) };
    } finally {
      run.close();
    }
  },
};

type SecondVerdicts = Rescored & {
  /** The label of the verdicts. */
  readonly coach: string;
  readonly first: string;
  /** Of the actions asked about now, those that the cache answered. */
  readonly cached: number;
  /** What all starts under this label came to. */
  readonly usage: CoachUsage;
  /** The same by agent, for coaches whose calls are booked. */
  readonly costs: readonly AgentCalls[];
};

async function secondVerdicts(run: Run, request: Request): Promise<SecondVerdicts | undefined> {
  const choice = optional(request, 'coach');
  if (choice === undefined) return undefined;
  const chosen = await chooseCoach(choice);
  const config = configOfRun(run.resolvedConfig, chosen, {
    where: run.directory,
    // Whatever the run asked its coach; and no cache: asking the same coach again is how its noise is measured.
    overrides: [
      ...['method=mappa', 'credit.source=coach', 'coaching.cache=false'],
      ...repeated(request, 'set'),
    ],
  });
  const label = optional(request, 'as') ?? coachName(chosen.coach);
  run.rescores.claimLabel(label, {
    coach: coachName(chosen.coach),
    coaching: verdictKeysOf(config),
  });
  const watch = createProgress(screenFor(process.stderr), { steps: 0, agents: [] });
  // Kept in the run: a budget holds over all starts, and what was paid stays known.
  const books = run.rescores.booksOf(label);
  const { cached: cachedBefore } = books.totals();
  const { coach, close } = await wireCoach(config, { books, watch });
  const sample = integer(request, 'sample', 1);
  const rescored = await rescoreRun(run, {
    ...{ coach, label, showOutcome: config.coaching.showOutcome },
    ...(sample === undefined ? {} : { sample }),
    onScored: (done, of) => watch.waiting('the coach', done, of),
  }).finally(close);
  const first = firstCoachOf(run);
  const result = {
    ...{ coach: label, first, ...rescored },
    cached: books.totals().cached - cachedBefore,
    ...{ usage: coach.usage(), costs: books.byAgent() },
  };
  if (!request.json) console.log(describeVerdicts(result));
  return result;
}

function firstCoachOf(run: Run): string {
  const { coach } = run.resolvedConfig as { readonly coach: string };
  return coach === 'none' && !run.trees.isEmpty ? 'what branches from them (ten times V)' : coach;
}

function secondCredit(
  run: Run,
  request: Request,
  coach: string | undefined,
): Readonly<Record<string, CreditDifference>> | undefined {
  const [source, estimator] = [optional(request, 'credit'), optional(request, 'estimator')];
  if (source === undefined && estimator === undefined) return undefined;
  const configWith = (overrides: readonly string[]): RunConfig =>
    configOfRun(
      run.resolvedConfig,
      { coach: 'unasked/coach' },
      { where: run.directory, overrides },
    );
  const own = recordedMethod(run);
  const overrides = [
    ...(source === undefined ? [] : ruleOverrides(source, own)),
    ...repeated(request, 'set'),
    ...(estimator === undefined ? [] : [`credit.estimator=${estimator}`]),
  ];
  const label = coach ?? optional(request, 'as');
  const difference = compareCredit(run, {
    first: recordedRuleOf(configWith([])),
    second: recordedRuleOf(configWith(overrides)),
    ...(label === undefined ? {} : { verdicts: label }),
  });
  if (!request.json) console.log(describeCredit(difference));
  return difference;
}

function recordedMethod(run: Run): string | undefined {
  const config = run.resolvedConfig as { readonly method?: { readonly kind?: string } };
  return config.method?.kind;
}

const rules = ['coach', 'mappa', 'outcome', 'maporl', 'malt'];

/** A rule by its method's name; MAPPA's also by what it credits. A run's own method keeps its options. */
function ruleOverrides(rule: string, own: string | undefined): string[] {
  if (!rules.includes(rule)) {
    throw new BoundaryError('config', `--credit: expected ${rules.join(', ')}, got ${rule}`);
  }
  if (rule === own && rule !== 'mappa') return [];
  if (rule === 'malt') return ['method=malt'];
  if (rule === 'maporl') return ['method={"kind":"maporl","verifier":"coach"}'];
  return ['method=mappa', `credit.source=${rule === 'mappa' ? 'coach' : rule}`];
}

function describeVerdicts(result: SecondVerdicts): string {
  const { coach, first, actions, asked, cached, unscored, usage } = result;
  const columns = [
    'agent',
    'n',
    'mean 1',
    'mean 2',
    'Pearson',
    'Spearman',
    '|diff|',
    'kappa',
    '≤ 1 pt',
  ];
  const rows = Object.entries(result.agents).map(([agent, own]) => [
    agent,
    String(own.pairs),
    shownEstimate(own.meanFirst, 1),
    shownEstimate(own.meanSecond, 1),
    shownEstimate(own.pearson),
    shownEstimate(own.spearman),
    shownEstimate(own.meanAbsoluteDifference, 1),
    shownEstimate(own.kappa),
    shownEstimate(own.withinOnePoint),
  ]);
  const missing = Object.entries(unscored).map(([cause, count]) => `${count} unscored: ${cause}`);
  const sources = [
    `${asked - cached} asked now`,
    ...(cached === 0 ? [] : [`${cached} from the cache`]),
    `${actions - asked} known`,
  ];
  return [
    `${actions} actions, first scored by ${first}, now by ${coach} (${sources.join(', ')}); nothing was generated`,
    ...table([columns, ...rows]),
    '95 % intervals in brackets, by bootstrap over tasks; – where it does not exist, as for equal scores',
    ...missing,
    ...result.costs.map((own) => `cost of ${own.agent}: ${describeCost(own)}`),
    `cost${result.costs.length === 0 ? '' : ' of all starts under this label'}: ${describeCost(usage)}`,
  ].join('\n');
}

function describeCost(usage: CoachUsage): string {
  const { inputTokens, outputTokens } = usage;
  const isCounted = inputTokens + outputTokens > 0;
  return `${describeUsage(usage)}, ${isCounted ? `${inputTokens} tokens in, ${outputTokens} out` : 'tokens not counted'}`;
}

function describeCredit(difference: Readonly<Record<string, CreditDifference>>): string {
  const columns = ['agent', 'actions', 'correlation', 'same sign', 'only first', 'only second'];
  const rows = Object.entries(difference).map(([agent, own]) => [
    agent,
    String(own.actions),
    shownEstimate(own.correlation),
    shownEstimate(own.signAgreement),
    String(own.onlyFirst),
    String(own.onlySecond),
  ]);
  return [
    'mean advantage of each action, as the run gave it and as derived now',
    ...table([columns, ...rows]),
    ...Object.entries(difference).flatMap(([agent, { note }]) =>
      note === undefined ? [] : `${agent}: no correlation, because ${note}`,
    ),
  ].join('\n');
}

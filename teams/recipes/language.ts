/**
 * What the agents of the small data-science team may say: a menu of short programs over recipes.py, right ones and wrong ones.
 * An action is still text, the program really runs, and nothing keeps an agent from writing something else.
 */
import type { Task } from '../../src/types/task.ts';

export type AgentName = 'engineer' | 'modeler' | 'analyst';

/** What a prediction can be; the task's metric asks for one of them. */
export const forms = ['probability', 'label', 'number'] as const;
export type Form = (typeof forms)[number];

function program(...lines: readonly string[]): string {
  return ['```python', 'from recipes import *', ...lines, '```'].join('\n');
}

const prepared = 'x, y, t = prepare()';

/** The Data Engineer's programs: one leaves what it must, the others forget something. */
export const engineerMenu = {
  all: program(prepared, 'save(X_train=x, y_train=y, X_test=t)'),
  withoutTest: program(prepared, 'save(X_train=x, y_train=y)'),
  withoutTargets: program(prepared, 'save(X_train=x, X_test=t)'),
} as const;

/** The Modeler's: a linear model, one of a single feature, a constant, and a good one under another name. */
export const modelerMenu = {
  linear: program('fit("linear")'),
  single: program('fit("single")'),
  mean: program('fit("mean")'),
  misnamed: program('fit("linear", "best.pkl")'),
} as const;

/** The Analyst's: each form of prediction, under the header that the task wants or another. */
export function analystProgram(form: Form, hasRightHeader: boolean): string {
  const header = hasRightHeader ? '' : ', ["Id", "prediction"]';
  return program(`submit(predict("${form}")${header})`);
}

const formOf: Readonly<Record<string, Form>> = {
  roc_auc: 'probability',
  log_loss: 'probability',
  accuracy: 'label',
  f1: 'label',
  f1_weighted: 'label',
  f1_macro: 'label',
};

/** What a metric asks for. */
export function wantedForm(metric: string): Form {
  return formOf[metric] ?? 'number';
}

/** The metrics of synthetic tables. */
export const metricWords = [...Object.keys(formOf), 'rmse', 'mcrmse', 'rmsle', 'mae', 'r2'];

const roles: Readonly<Record<AgentName, string>> = {
  engineer: 'You are the Data Engineer. Prepare the tables.',
  modeler: 'You are the Modeler. Train a model.',
  analyst: 'You are the Analyst. Predict and hand in.',
};

/** What an agent is told: its role, and what the task is measured by. */
export function promptFor(agent: AgentName, { metric }: { readonly metric: string }): string {
  return `${roles[agent]}\nMetric: ${metric}`;
}

export function metricOf({ table }: Task): string {
  return table?.metric ?? '';
}

/** Pieces that become one token each. */
export function recipeWords(): string[] {
  const said = [
    ...Object.values(engineerMenu),
    ...Object.values(modelerMenu),
    ...forms.flatMap((form) => [analystProgram(form, true), analystProgram(form, false)]),
  ];
  const lines = said.flatMap((text) => text.split('\n'));
  const told = Object.values(roles).flatMap((role) => role.match(/ ?[A-Za-z]+|[.\n]/g) ?? []);
  const pieces = lines.flatMap((line) => line.match(/[A-Za-z_]+[=(]?|[^A-Za-z_\s]+|\s+/g) ?? []);
  return [...new Set([...told, ...pieces, ...metricWords, '```python\n', '\n```', 'Metric: '])];
}

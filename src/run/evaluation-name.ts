const separator = '@';

/** When the team is evaluated before training: as the base, or as the checkpoint that it starts from. */
export const firstMoments = ['base', 'start'] as const;
export type FirstMoment = (typeof firstMoments)[number];

/** The name of the evaluation of one held-out set: `base`, or `base@amc` where the set has a name. */
export function evaluationName(moment: string, set: string | undefined): string {
  return set === undefined ? moment : `${moment}${separator}${set}`;
}

/** When an evaluation was made (`base`, `step-8`, `trained`) and, where it has a name, on which set. */
export function readEvaluationName(name: string): {
  readonly moment: string;
  readonly set?: string;
} {
  const [moment = '', set] = name.split(separator);
  return { moment, ...(set === undefined ? {} : { set }) };
}

/** The files that each agent of the data-science teams must leave. */
export const duties = {
  engineer: ['X_train.pkl', 'y_train.pkl', 'X_test.pkl'],
  modeler: ['model.pkl'],
  analyst: ['submission.csv'],
} as const satisfies Record<string, readonly string[]>;

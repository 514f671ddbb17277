/** One problem to play; never changed after loading. */
export type Task = {
  readonly id: string;
  readonly prompt: string;
  /** Ground truth as the data file states it, for example `080`, `142.0` or `336^\circ`. */
  readonly answer?: string;
  /** File name → path of files that agents' tools may read. */
  readonly files?: Readonly<Record<string, string>>;
  readonly tags?: readonly string[];
  /** Of a task whose answer is a table in a file. */
  readonly table?: TableTask;
};

/** How the submission to a task of tables is graded. */
export type TableTask = {
  /** CSV of the test set's ids and targets; agents never get it. */
  readonly answers: string;
  readonly metric: string;
  readonly kind: 'classification' | 'regression' | 'extraction';
  readonly idColumn: string;
  /** In the order of the answers' columns. */
  readonly targets: readonly string[];
};

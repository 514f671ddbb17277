/** One problem to play; never changed after loading. */
export type Task = {
  readonly id: string;
  readonly prompt: string;
  /** Ground truth as the data file states it, for example `080`, `142.0` or `336^\circ`. */
  readonly answer?: string;
  /** File name → path of files that agents' tools may read. */
  readonly files?: Readonly<Record<string, string>>;
  readonly tags?: readonly string[];
};

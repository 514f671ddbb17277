/** Flat names (`area/name`) to numbers. A value that was not measured is absent, never 0. */
export type Metrics = Readonly<Record<string, number>>;

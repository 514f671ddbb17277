/** How long the client waits for what, in milliseconds. */
export type Patience = {
  /** One question after a result; a server may hold it open until there is one. */
  readonly pollMs: number;
  /** One request that is answered at once. */
  readonly requestMs: number;
  /** Between tries of a request that failed in passing: the first wait, doubled each time up to the longest. */
  readonly firstWaitMs: number;
  readonly longestWaitMs: number;
  /** A request that keeps failing in passing. */
  readonly outageMs: number;
  /** How long requests may fail before a person is told. */
  readonly noticeMs: number;
  /** The result of one operation, from its submission. */
  readonly resultMs: number;
  /** A server that says that it waits for payment. */
  readonly billingMs: number;
  /** A server without a place for an adapter. */
  readonly placeMs: number;
  readonly heartbeatMs: number;
  /** Goodbyes, all together, when the service closes. */
  readonly farewellMs: number;
};

export const usualPatience: Patience = {
  pollMs: 45_000,
  requestMs: 60_000,
  firstWaitMs: 250,
  longestWaitMs: 30_000,
  outageMs: 5 * 60_000,
  noticeMs: 5000,
  resultMs: 60 * 60_000,
  billingMs: 60 * 60_000,
  placeMs: 7 * 60_000,
  heartbeatMs: 10_000,
  farewellMs: 10_000,
};

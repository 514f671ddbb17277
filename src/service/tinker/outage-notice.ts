/** How a try ended: with a reply, or without one. */
type Outcome =
  | { readonly status: number; readonly detail: string }
  | { readonly interrupted: string; readonly isTimeout: boolean };

/** Tells a person of a server that does not answer, who would else watch a run stand still without a word. */
export type OutageNotice = {
  /**
   * Told how every try ended.
   *
   * @param isHeld whether the server may hold the question open until there is an answer
   */
  readonly tried: (outcome: Outcome, isHeld?: boolean) => void;
};

/**
 * Says once in an outage that the server does not serve, when that has lasted, and once that it does again.
 *
 * @param how.afterMs how long tries must have failed before it is said
 * @param now milliseconds of a clock
 */
export function createOutageNotice(
  url: string,
  how: { readonly afterMs: number; readonly note: (text: string) => void },
  now: () => number = () => performance.now(),
): OutageNotice {
  let since: number | undefined;
  let isSaid = false;
  const tried = (outcome: Outcome, isHeld = false): void => {
    const failure = failureOf(outcome, isHeld);
    if (failure === undefined) {
      if (isSaid) how.note(`the server at ${url} serves again`);
      since = undefined;
      isSaid = false;
      return;
    }
    since ??= now();
    if (isSaid || now() - since < how.afterMs) return;
    isSaid = true;
    how.note(`the server at ${url} ${failure}: trying again`);
  };
  return { tried };
}

/** Undefined where the server is there: it may be busy, or hold a question open until there is an answer. */
function failureOf(outcome: Outcome, isHeld: boolean): string | undefined {
  if ('interrupted' in outcome) {
    return isHeld && outcome.isTimeout ? undefined : `gives no answer (${outcome.interrupted})`;
  }
  const { status, detail } = outcome;
  if (status !== 402 && status < 500) return undefined;
  return `answers with status ${status} ${detail}`.trimEnd();
}

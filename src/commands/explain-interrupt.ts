import type { OnInterrupt } from '../wiring.ts';

/** What a shell says of a process that a signal has ended. */
const exitCodes = { SIGINT: 130, SIGTERM: 143 };

/** How long a server may take to be told goodbye. */
const longestGoodbyeMs = 5000;

/**
 * Runs `work`; when Ctrl-C or SIGTERM ends it, what a server holds for it is given back, and the last line says what is left and
 * how to go on. A second signal ends it at once.
 */
export async function explainInterrupt<Result>(
  hint: string,
  work: (onInterrupt: OnInterrupt) => Promise<Result>,
): Promise<Result> {
  let letGo: (() => Promise<void>) | undefined;
  let isInterrupted = false;
  const stop = (signal: keyof typeof exitCodes) => {
    const end = () => {
      process.stderr.write(`\nteamtune: interrupted; ${hint}\n`);
      process.exit(exitCodes[signal]);
    };
    if (letGo === undefined || isInterrupted) return end();
    isInterrupted = true;
    process.stderr.write('\nteamtune: giving back what the server holds; again to end at once\n');
    setTimeout(end, longestGoodbyeMs);
    letGo().then(end, end);
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  try {
    return await work((how) => {
      letGo = how;
    });
  } finally {
    // What fails now fails for want of what was given back.
    if (isInterrupted) await new Promise(() => undefined);
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

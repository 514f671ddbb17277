const interruptedExitCode = 130;

/** Runs `work`; when Ctrl-C ends it, the last line says what is left and how to go on. */
export async function explainInterrupt<Result>(
  hint: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const stop = () => {
    process.stderr.write(`\nteamtune: interrupted; ${hint}\n`);
    process.exit(interruptedExitCode);
  };
  process.once('SIGINT', stop);
  try {
    return await work();
  } finally {
    process.off('SIGINT', stop);
  }
}

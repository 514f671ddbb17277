/**
 * Says on stderr how far a base model is that a config makes: at once, and every hundred steps.
 *
 * @param takes how long it takes, in words
 */
export function baseProgress(takes: string): (step: number, steps: number, loss?: number) => void {
  return (step, steps, loss) => {
    if (step > 1 && step % 100 > 0) return;
    const fit = loss === undefined ? '' : `, loss ${loss.toFixed(3)}`;
    const about = step === 1 ? `, ${takes}` : '';
    process.stderr.write(`making the base model${about}: step ${step} of ${steps}${fit}\n`);
  };
}

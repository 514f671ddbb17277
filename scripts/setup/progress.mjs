const prefix = 'teamtune set-up:';
const secondMs = 1000;
const plainReminderSeconds = 20;

/** @param {number} startMs */
const secondsSince = (startMs) => Math.round((Date.now() - startMs) / secondMs);

/** @param {string} text one plain line for the person at the terminal; stdout belongs to the command itself */
export function say(text) {
  process.stderr.write(`${prefix} ${text}\n`);
}

/**
 * Runs one step and says what it does, with the seconds it took.
 *
 * On a terminal one line counts the seconds; elsewhere a line at the start, at the end, and every 20 s between.
 *
 * @template Result
 * @param {string} what the step in the -ing form
 * @param {() => Promise<Result>} work
 * @returns {Promise<Result>}
 */
export async function step(what, work) {
  const startMs = Date.now();
  const live = process.stderr.isTTY === true;
  process.stderr.write(live ? `${prefix} ${what} …` : `${prefix} ${what} …\n`);
  const timer = setInterval(() => {
    const seconds = secondsSince(startMs);
    if (live) process.stderr.write(`\r${prefix} ${what} … ${seconds} s`);
    else if (seconds % plainReminderSeconds === 0) say(`… still ${what}, ${seconds} s`);
  }, secondMs);
  try {
    const result = await work();
    const line = `${prefix} ${what}: done in ${secondsSince(startMs)} s`;
    process.stderr.write(live ? `\r${line}\n` : `${line}\n`);
    return result;
  } catch (error) {
    if (live) process.stderr.write('\n');
    throw error;
  } finally {
    clearInterval(timer);
  }
}

import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';

const replies = 3;

/** What this process is to do, as the bench gave it. */
export function readWork<Work>(): Work {
  return JSON.parse(process.argv[2] ?? '{}') as Work;
}

/**
 * Says that this side is ready, then does one run for each line of the input.
 *
 * @param run returns facts to check against the other side
 */
export async function serveRuns(
  ready: Readonly<Record<string, unknown>>,
  run: () => Promise<Readonly<Record<string, number>>>,
): Promise<void> {
  send(ready);
  for await (const _ of createInterface({ input: process.stdin })) {
    const start = performance.now();
    const cpuStart = process.cpuUsage();
    const facts = await run();
    const seconds = (performance.now() - start) / 1000;
    const { user, system } = process.cpuUsage(cpuStart);
    send({ seconds, cpuSeconds: (user + system) / 1e6, facts });
  }
}

function send(reply: Readonly<Record<string, unknown>>): void {
  const peakMiB = process.resourceUsage().maxRSS / 1024;
  writeSync(replies, `${JSON.stringify({ ...reply, peakMiB })}\n`);
}

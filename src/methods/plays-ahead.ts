import PQueue from 'p-queue';
import {
  type PlaysAhead,
  type Published,
  publishAll,
  type StepPlays,
  type Training,
} from './training.ts';

/**
 * Plays of coming steps, collected and judged while earlier ones train. Those of step n are sampled from the policies as
 * step n − 1 − `maxStalenessSteps` left them, whatever the clock says: how stale a step is depends on its number alone,
 * and a resumed run samples from the same weights. One step's plays begin when those before them have ended, whatever of
 * them the coach has still to judge.
 */
export function openPlaysAhead(training: Training): PlaysAhead {
  const { maxStalenessSteps, steps } = training.settings;
  const stop = new AbortController();
  const started = new Map<number, Promise<StepPlays>>();
  const publishedAfter = shareAmongSteps(training.publishedAfter ?? (async () => undefined));
  const judging = new PQueue({ concurrency: training.settings.coachConcurrency });
  let previous: Promise<unknown> = Promise.resolve();
  let underWay: Promise<unknown> = Promise.resolve();
  let awaited = 0;

  /** @param newest the last step that the policies have been trained in */
  const publish = async (step: number, newest: number): Promise<Published> => {
    const wanted = Math.max(0, step - 1 - maxStalenessSteps);
    const earlier = wanted < newest ? await publishedAfter(wanted) : undefined;
    if (earlier !== undefined) return earlier;
    if (wanted < newest) {
      training.watch.note(
        `warning: the checkpoint of step ${wanted}, whose policies were to play step ${step}, is damaged or gone: those of step ${newest} play it, and the numbers will not be those of a run that was not interrupted`,
      );
    }
    const samplers = await publishAll(training.policies);
    return { after: newest, samplers, close: async () => undefined };
  };

  const take: PlaysAhead['take'] = async (step, play) => {
    awaited = step;
    for (let next = step; next <= Math.min(step + maxStalenessSteps, steps); next++) {
      if (started.has(next)) continue;
      const published = publish(next, step - 1);
      const watch: Training['watch'] = {
        ...training.watch,
        waiting: (...progress) => {
          if (awaited === next) training.watch.waiting(...progress);
        },
      };
      const before = previous;
      const { promise: played, resolve: onPlayed } = Promise.withResolvers<void>();
      const start = async (): Promise<StepPlays> => {
        const { after, samplers, close } = await published;
        await before;
        const staleness = next - 1 - after;
        const at = { step: next, staleness, samplers, signal: stop.signal, onPlayed };
        return play({ ...training, watch, judging }, at).finally(close);
      };
      const plays = start();
      // Its step will throw what went wrong; a step before it is not to blame.
      previous = Promise.race([played, plays.catch(() => undefined)]);
      underWay = Promise.allSettled([underWay, plays]);
      started.set(next, plays);
      // Before this step trains, which is when the policies change.
      await published.catch(() => undefined);
    }
    const plays = started.get(step) as Promise<StepPlays>;
    started.delete(step);
    return plays;
  };

  return {
    take,
    close: async () => {
      stop.abort(new Error('the run has ended'));
      await underWay;
    },
  };
}

/** Policies of an earlier step that play several steps to come are opened once, and closed after the last of them. */
function shareAmongSteps(
  publishedAfter: NonNullable<Training['publishedAfter']>,
): NonNullable<Training['publishedAfter']> {
  const open = new Map<number, { published: Promise<Published | undefined>; users: number }>();
  // They have names of their own, which are free only then.
  let closed: Promise<unknown> = Promise.resolve();
  return async (step) => {
    const shared = open.get(step) ?? {
      published: closed.then(() => publishedAfter(step)),
      users: 0,
    };
    shared.users += 1;
    open.set(step, shared);
    const published = await shared.published;
    if (published === undefined) return undefined;
    const close = async () => {
      shared.users -= 1;
      if (shared.users > 0) return;
      open.delete(step);
      const closing = published.close();
      // Who closes is told of a failure; those who open the next ones are not to blame for it.
      closed = closing.catch(() => undefined);
      await closing;
    };
    return { ...published, close };
  };
}

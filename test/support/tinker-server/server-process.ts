import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ServerKind } from '../../../src/service/tinker/profile.ts';

const script = fileURLToPath(new URL('./serve.ts', import.meta.url));

export type ServerProcess = {
  readonly url: string;
  /** Kills it when it has been asked so often for a path, and starts another in its place, with the saved states alone. */
  readonly killAt: (path: string, times: number) => Promise<void>;
  readonly close: () => void;
};

/** @param directory of saved states, which outlive a kill */
export async function startServerProcess(
  kind: ServerKind,
  { modelDirectory, directory }: { readonly modelDirectory: string; readonly directory: string },
): Promise<ServerProcess> {
  const start = async (port: string) => {
    const args = ['--disable-warning=ExperimentalWarning', script, kind, modelDirectory, directory];
    const child = spawn(process.execPath, [...args, port], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout });
    const [url] = (await once(lines, 'line')) as [string];
    return { child, lines, url };
  };
  let running: { readonly child: ChildProcess; readonly lines: Interface; readonly url: string } =
    await start('0');
  const { url } = running;
  return {
    url,
    killAt: async (path, times) => {
      const { child, lines } = running;
      for (let seen = 0; seen < times; ) {
        const [line] = (await once(lines, 'line')) as [string];
        if (line === path) seen += 1;
      }
      child.kill('SIGKILL');
      await once(child, 'exit');
      running = await start(new URL(url).port);
    },
    close: () => void running.child.kill('SIGKILL'),
  };
}

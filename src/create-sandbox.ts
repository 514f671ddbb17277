import type { SandboxChoice } from './config/sandbox-schema.ts';
import { BoundaryError } from './errors.ts';
import { createBubblewrapSandbox } from './sandbox/bubblewrap-sandbox.ts';
import { defaultLimits, type SandboxLimits } from './sandbox/limits.ts';
import { createPythonSandbox, interpreterLimits } from './sandbox/python-sandbox.ts';
import { createSandboxFusionSandbox } from './sandbox/sandboxfusion-sandbox.ts';
import type { Sandbox } from './types/sandbox.ts';

type Chosen = Exclude<SandboxChoice, string>;
type Kind = Chosen['kind'];

const defaultsOf = {
  pyodide: interpreterLimits,
  bubblewrap: defaultLimits,
  sandboxfusion: defaultLimits,
} satisfies Record<Kind, Partial<SandboxLimits>>;

/** Settings of a run that hold for every sandbox. */
export type SandboxSettings = { readonly timeLimitMs: number; readonly workers: number };

function named(choice: SandboxChoice): Chosen {
  return typeof choice === 'string' ? { kind: choice } : choice;
}

/** The limits of the sandbox that was chosen. */
export function limitsOf(
  choice: SandboxChoice,
  { timeLimitMs }: Pick<SandboxSettings, 'timeLimitMs'>,
): SandboxLimits {
  const chosen = named(choice);
  const { memoryMiB, workspaceMiB, workspaceFiles, outputCharacters } = chosen;
  const processes = 'processes' in chosen ? chosen.processes : undefined;
  return {
    ...defaultLimits,
    ...defaultsOf[chosen.kind],
    timeLimitMs,
    ...(memoryMiB === undefined ? {} : { memoryBytes: memoryMiB * 2 ** 20 }),
    ...(workspaceMiB === undefined ? {} : { workspaceBytes: workspaceMiB * 2 ** 20 }),
    ...(workspaceFiles === undefined ? {} : { workspaceFiles }),
    ...(outputCharacters === undefined ? {} : { outputLimit: outputCharacters }),
    ...(processes === undefined ? {} : { processes }),
  };
}

/**
 * The sandbox that was chosen, checked.
 *
 * @throws BoundaryError("config") when this machine lacks what it needs, saying how to get it
 */
export async function createSandbox(
  choice: SandboxChoice,
  settings: SandboxSettings,
): Promise<Sandbox> {
  const chosen = named(choice);
  const { workers } = settings;
  const create = {
    pyodide: ({ processes: _, ...interpreter }: SandboxLimits) =>
      createPythonSandbox({ ...interpreter, workers }),
    bubblewrap: (all: SandboxLimits) => {
      const python = 'python' in chosen ? chosen.python : undefined;
      return createBubblewrapSandbox({
        ...all,
        workers,
        ...(python === undefined ? {} : { python }),
      });
    },
    sandboxfusion: (all: SandboxLimits) => {
      const url = 'url' in chosen ? chosen.url : '';
      return createSandboxFusionSandbox({ ...all, workers, url });
    },
  } satisfies Record<Kind, (limits: SandboxLimits) => Sandbox>;
  const sandbox = create[chosen.kind](limitsOf(choice, settings));
  await sandbox.check();
  if ('packages' in chosen && chosen.packages?.length) await requirePackages(sandbox, chosen);
  return sandbox;
}

/** What pip and apt call a module, where that is another name. */
const packageNames: Readonly<Record<string, string>> = { sklearn: 'scikit-learn' };

async function requirePackages(
  sandbox: Sandbox,
  {
    packages = [],
    python = 'python3',
  }: { readonly packages?: readonly string[] | undefined; readonly python?: string | undefined },
): Promise<void> {
  const { status, output } = await sandbox.run(`import ${packages.join(', ')}`);
  if (status === 'ok') return;
  const apt = packages.map((name) => `python3-${name}`).join(' ');
  const pip = packages.map((name) => packageNames[name] ?? name).join(' ');
  const said = output.trim().split('\n').at(-1) ?? status;
  throw new BoundaryError(
    'config',
    `rollout.sandbox.packages: programs in ${python} cannot import ${packages.join(', ')} (${said}): apt-get install ${apt} and set rollout.sandbox.python to /usr/bin/python3, or pip install ${pip} into a virtual environment and name its folder there`,
  );
}

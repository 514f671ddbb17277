/**
 * The files of plays, as folders that are never changed once they have their names: each call that changes files makes
 * a new folder, whose unchanged files are hard links. So a sandbox can be handed a folder to read, a finished action's
 * files stay as they were for a run that is resumed, and a process killed at any moment leaves nothing half-written.
 *
 *     workspaces/<play>/000000-<task files>/train.csv
 *     workspaces/<play>/000001-<action>/train.csv, X_train.pkl
 *
 * Only plain files are ever written here, whatever a program left in its sandbox.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  copyFile,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { dirname, join, matchesGlob } from 'node:path';
import PQueue from 'p-queue';
import { BoundaryError, messageOf } from '../errors.ts';
import type { FileChanges, Workspace, WorkspaceFile, Workspaces } from '../types/sandbox.ts';
import { filesBelow } from './files-below.ts';
import type { SandboxLimits } from './limits.ts';
import { isInside } from './read-frame.ts';

type Quota = Pick<SandboxLimits, 'workspaceBytes' | 'workspaceFiles'>;

/** Names of plays and actions may hold anything, also slashes. */
function nameOf(id: string): string {
  return createHash('sha256').update(id).digest('hex').slice(0, 24);
}

const unfinished = '.tmp';
const taskFiles = 'task-files';

function refuseExcess(sizes: readonly number[], quota: Quota): void {
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  if (sizes.length <= quota.workspaceFiles && bytes <= quota.workspaceBytes) return;
  throw new BoundaryError(
    'tool',
    `a workspace may hold ${quota.workspaceFiles} files and ${quota.workspaceBytes} bytes, got ${sizes.length} files and ${bytes} bytes; rollout.sandbox takes workspaceMiB`,
  );
}

/** Puts one file into a folder that is being made. */
async function place(folder: string, path: string, put: (target: string) => Promise<void>) {
  const target = join(folder, path);
  await mkdir(dirname(target), { recursive: true });
  await put(target);
}

/** Makes a folder aside and gives it its name when it is whole. */
async function makeWhole(folder: string, fill: (aside: string) => Promise<void>): Promise<void> {
  const aside = `${folder}${unfinished}`;
  await rm(aside, { recursive: true, force: true });
  await mkdir(aside, { recursive: true });
  await fill(aside);
  await rm(folder, { recursive: true, force: true });
  await rename(aside, folder);
}

/** A play's folders and which of them holds the files as they are now. */
class PlayFolders {
  readonly #place: string;
  readonly #quota: Quota;
  readonly #queue = new PQueue({ concurrency: 1 });
  /** Actions of which an interrupted run may have left folders, before this process has run any of their calls. */
  readonly #begun = new Set<string>();
  #current: { readonly number: number; readonly folder: string | undefined };

  constructor(folder: string, quota: Quota, current: string | undefined) {
    this.#place = folder;
    this.#quota = quota;
    this.#current = { number: 0, folder: current };
  }

  get folder(): string | undefined {
    return this.#current.folder;
  }

  inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.#queue.add(work);
  }

  async list(): Promise<ReadonlyMap<string, number>> {
    return this.folder === undefined ? new Map() : filesBelow(this.folder);
  }

  async #versions(place = this.#place): Promise<readonly string[]> {
    try {
      const names = await readdir(place);
      return names.filter((name) => !name.endsWith(unfinished)).toSorted();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  /** Forgets what an interrupted run left of an action that it had not finished. */
  async begin(actionId: string): Promise<void> {
    if (this.#begun.has(actionId)) return;
    this.#begun.add(actionId);
    const stale = (await this.#versions()).filter((name) => name.endsWith(`-${nameOf(actionId)}`));
    for (const name of stale) await rm(join(this.#place, name), { recursive: true });
  }

  async apply({ written, removed }: FileChanges, actionId: string): Promise<void> {
    const gone = new Set(removed);
    const before = await this.list();
    const kept = [...before].filter(([path]) => !gone.has(path) && !written.has(path));
    const added = [...written];
    const sizes = [...kept.map(([, size]) => size), ...added.map(([, bytes]) => bytes.length)];
    refuseExcess(sizes, this.#quota);
    const last = Number((await this.#versions()).at(-1)?.slice(0, 6) ?? 0);
    const number = Math.max(last, this.#current.number) + 1;
    const folder = join(this.#place, `${String(number).padStart(6, '0')}-${nameOf(actionId)}`);
    const old = this.folder;
    await makeWhole(folder, async (aside) => {
      for (const [path] of kept)
        await place(aside, path, (target) => link(join(old ?? '', path), target));
      for (const [path, bytes] of added) {
        if (!isInside(path)) throw new Error(`${path} leads out of the workspace`);
        await place(aside, path, (target) => writeFile(target, bytes));
      }
    });
    this.#current = { number, folder };
  }

  async restore(actionId: string, hadChanges: boolean, place = this.#place): Promise<void> {
    this.#begun.add(actionId);
    const found = (await this.#versions(place)).findLast((name) =>
      name.endsWith(`-${nameOf(actionId)}`),
    );
    if (found === undefined && !hadChanges) return;
    if (found === undefined) {
      throw new BoundaryError(
        'run',
        `action ${actionId} changed files of its workspace, and ${place} does not hold them any more: start a new run`,
      );
    }
    const number = Number(found.slice(0, 6));
    if (number > this.#current.number) this.#current = { number, folder: join(place, found) };
  }
}

function createWorkspace(folders: PlayFolders, placeOf: (playId: string) => string): Workspace {
  const read = async (path: string): Promise<Uint8Array> => {
    const files = await folders.list();
    if (folders.folder !== undefined && files.has(path))
      return readFile(join(folders.folder, path));
    const names = files.size === 0 ? 'no file' : [...files.keys()].join(', ');
    throw new BoundaryError('tool', `the workspace has no file ${path}; it has ${names}`);
  };
  const list = async (): Promise<WorkspaceFile[]> =>
    [...(await folders.list())].map(([path, bytes]) => ({ path, bytes }));
  const collect = async (...patterns: readonly string[]) => {
    const files = (await list()).filter(({ path }) =>
      patterns.some((pattern) => matchesGlob(path, pattern)),
    );
    const contents = files.map(async ({ path }) => [path, await read(path)] as const);
    return new Map(await Promise.all(contents));
  };
  return {
    list,
    read,
    collect,
    run: (sandbox, program, { actionId, signal }) =>
      folders.inTurn(async () => {
        await folders.begin(actionId);
        const execution = await sandbox.run(program, {
          ...(folders.folder === undefined ? {} : { folder: folders.folder }),
          ...(signal === undefined ? {} : { signal }),
        });
        const { written, removed } = execution.changes;
        if (written.size + removed.length > 0)
          await applyOrRefuse(folders, execution.changes, actionId);
        return execution;
      }),
    restore: (actionId, { hadChanges, owner }) =>
      folders.inTurn(() =>
        folders.restore(actionId, hadChanges, owner === undefined ? undefined : placeOf(owner)),
      ),
  };
}

async function applyOrRefuse(folders: PlayFolders, changes: FileChanges, actionId: string) {
  try {
    await folders.apply(changes, actionId);
  } catch (cause) {
    if (cause instanceof BoundaryError) throw cause;
    const message = `the files of ${actionId} could not be kept: ${messageOf(cause)}`;
    throw new BoundaryError('tool', message, { cause });
  }
}

/**
 * The workspaces of a run's plays, below one folder that is made when first needed. What an interrupted run left there
 * is taken up by the plays that are resumed.
 */
export function openWorkspaces(directory: string, quota: Quota): Workspaces {
  /** Tasks' own files are copied once and linked into every play. */
  const copies = new Map<string, Promise<string>>();

  const copyOf = (source: string): Promise<string> => {
    const copying = copies.get(source) ?? copyTaskFile(source, join(directory, taskFiles));
    copies.set(source, copying);
    return copying;
  };

  const provide = async (folder: string, files: Readonly<Record<string, string>>) => {
    const entries = Object.entries(files);
    const sizes = await Promise.all(entries.map(async ([, source]) => (await stat(source)).size));
    refuseExcess(sizes, quota);
    await makeWhole(folder, async (aside) => {
      for (const [path, source] of entries) {
        if (!isInside(path)) throw new Error(`the file name ${path} leads out of the workspace`);
        const copy = await copyOf(source);
        await place(aside, path, (target) => link(copy, target));
      }
    });
  };

  const placeOf = (playId: string) => join(directory, nameOf(playId));

  return {
    open: async (playId, files) => {
      const folder = placeOf(playId);
      if (Object.keys(files).length === 0)
        return createWorkspace(new PlayFolders(folder, quota, undefined), placeOf);
      const first = join(folder, '000000-task');
      try {
        await provide(first, files);
      } catch (cause) {
        const message = `the files of the task of ${playId} could not be laid out: ${messageOf(cause)}`;
        throw new BoundaryError('task', message, { cause });
      }
      return createWorkspace(new PlayFolders(folder, quota, first), placeOf);
    },
    remove: async (playId) => {
      // Plays without files leave nothing, and there may be tens of thousands of them.
      if (existsSync(directory)) await rm(placeOf(playId), { recursive: true, force: true });
    },
    close: async () => {
      const names = existsSync(directory) ? await readdir(directory) : [];
      if (names.every((name) => name === taskFiles))
        await rm(directory, { recursive: true, force: true });
    },
  };
}

async function copyTaskFile(source: string, directory: string): Promise<string> {
  const target = join(directory, nameOf(source));
  await mkdir(directory, { recursive: true });
  await copyFile(source, `${target}${unfinished}`);
  await rename(`${target}${unfinished}`, target);
  return target;
}

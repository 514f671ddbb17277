import type { FileSystem } from './seal-file-system.ts';
import type { FilesLeft } from './worker-protocol.ts';

/** Lays files out below a folder of the interpreter. */
export function putFiles(
  fileSystem: FileSystem,
  folder: string,
  files: ReadonlyMap<string, Uint8Array>,
): void {
  const made = new Set<string>();
  for (const [path, content] of files) {
    const parts = path.split('/').slice(0, -1);
    for (const index of parts.keys()) {
      const above = `${folder}/${parts.slice(0, index + 1).join('/')}`;
      if (!made.has(above)) fileSystem.mkdir(above);
      made.add(above);
    }
    fileSystem.writeFile(`${folder}/${path}`, content);
  }
}

function isSame(one: Uint8Array, other: Uint8Array | undefined): boolean {
  return other !== undefined && Buffer.compare(one, other) === 0;
}

type Entry = { readonly path: string; readonly kind: 'folder' | 'file'; readonly size: number };

/** What a folder holds but links; a name that is no UTF-8 cannot be asked for again and is not there. */
function entriesOf(fileSystem: FileSystem, folder: string, prefix: string): Entry[] {
  fileSystem.chmod(`${folder}/${prefix}`, 0o777);
  return fileSystem.readdir(`${folder}/${prefix}`).flatMap((name): Entry[] => {
    if (name === '.' || name === '..') return [];
    const path = `${prefix}${name}`;
    try {
      const { mode, size } = fileSystem.lstat(`${folder}/${path}`);
      if (fileSystem.isDir(mode)) return [{ path, kind: 'folder', size }];
      return fileSystem.isFile(mode) ? [{ path, kind: 'file', size }] : [];
    } catch (error) {
      if (error instanceof fileSystem.ErrnoError) return [];
      throw error;
    }
  });
}

/** Path → size of plain files; undefined when there is more than anybody should look at. */
function plainFiles(
  fileSystem: FileSystem,
  folder: string,
  most: number,
): ReadonlyMap<string, number> | undefined {
  const found = new Map<string, number>();
  const pending = [''];
  for (let prefix = pending.pop(); prefix !== undefined; prefix = pending.pop()) {
    for (const { path, kind, size } of entriesOf(fileSystem, folder, prefix)) {
      if (kind === 'folder') pending.push(`${path}/`);
      else found.set(path, size);
    }
    const depth = prefix.split('/').length - 1;
    if (found.size + pending.length > most || depth > 8) return undefined;
  }
  return found;
}

/** What changed below a folder since `before` was laid out there. */
export function takeFiles(
  fileSystem: FileSystem,
  folder: string,
  limits: {
    readonly before: ReadonlyMap<string, Uint8Array>;
    readonly most: number;
    readonly mostBytes: number;
  },
): FilesLeft {
  const files = plainFiles(fileSystem, folder, limits.most);
  const bytes = files === undefined ? 0 : [...files.values()].reduce((sum, size) => sum + size, 0);
  if (files === undefined || bytes > limits.mostBytes) return 'tooMany';
  const { before } = limits;
  const paths = [...files.keys()];
  // Copies: the originals are views of memory that the next run gets.
  const contents = paths.map((path) => {
    fileSystem.chmod(`${folder}/${path}`, 0o666);
    return [path, fileSystem.readFile(`${folder}/${path}`).slice()] as const;
  });
  const written = new Map(contents.filter(([path, content]) => !isSame(content, before.get(path))));
  const now = new Set(paths);
  return { written, removed: [...before.keys()].filter((path) => !now.has(path)) };
}

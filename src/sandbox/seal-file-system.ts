/** Emscripten's in-memory file system, as far as it is used here; its types say less than it has. */
type FileNode = {
  readonly name: string;
  readonly mode: number;
  parent: FileNode;
  contents?: Record<string, FileNode> | Uint8Array | null;
  node_ops: Record<string, unknown>;
  stream_ops: Record<string, unknown>;
};

type FileStream = { readonly tty?: unknown };

export type FileSystem = {
  readonly root: FileNode;
  readonly streams: readonly (object | null | undefined)[];
  readonly ErrnoError: new (errno: number) => Error;
  readonly filesystems: {
    readonly MEMFS: Record<
      'expandFileStorage' | 'resizeFileStorage',
      (node: FileNode, size: number) => void
    >;
  };
  readonly isDir: (mode: number) => boolean;
  write: (
    stream: FileStream,
    buffer: unknown,
    offset: number,
    length: number,
    ...rest: unknown[]
  ) => number;
  readonly lookupPath: (path: string) => { readonly node: FileNode };
  readonly readdir: (path: string) => readonly string[];
  readonly lstat: (path: string) => { readonly mode: number; readonly size: number };
  readonly unlink: (path: string) => void;
  readonly rmdir: (path: string) => void;
  readonly chmod: (path: string, mode: number) => void;
  readonly chdir: (path: string) => void;
  readonly close: (stream: object) => void;
  readonly isFile: (mode: number) => boolean;
  readonly mkdir: (path: string) => void;
  readonly writeFile: (path: string, content: Uint8Array) => void;
  readonly readFile: (path: string) => Uint8Array;
};

/** Where agents' code may write; emptied after every run. */
export const scratchDirectories = ['/home/pyodide', '/tmp'] as const;

/** WASI error numbers. */
const readOnlyFileSystem = 69;
const noSpaceLeft = 51;

function childrenOf(fileSystem: FileSystem, node: FileNode): FileNode[] {
  const hasChildren =
    fileSystem.isDir(node.mode) && node.contents && !(node.contents instanceof Uint8Array);
  return hasChildren ? Object.values(node.contents as Record<string, FileNode>) : [];
}

/** Makes everything that exists now read-only, apart from adding to the scratch directories. */
function sealNodes(fileSystem: FileSystem): void {
  const refuse = () => {
    throw new fileSystem.ErrnoError(readOnlyFileSystem);
  };
  const refused = (names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [name, refuse]));
  const scratch = new Set(scratchDirectories.map((path) => fileSystem.lookupPath(path).node));
  const pending = [fileSystem.root];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    pending.push(...childrenOf(fileSystem, node));
    const isScratch = scratch.has(node);
    const changes = ['mknod', 'rename', 'unlink', 'rmdir', 'symlink'];
    node.node_ops = { ...node.node_ops, ...refused(isScratch ? [] : [...changes, 'setattr']) };
    if (!fileSystem.isDir(node.mode) && node.stream_ops.read !== undefined)
      node.stream_ops = { ...node.stream_ops, ...refused(['write', 'allocate']) };
  }
}

/**
 * Bounds the bytes that a run writes to files, which live outside the interpreter's memory; returns a function that
 * forgets the sum. Growth of a file's storage counts besides the bytes written, so at least half the limit is usable.
 */
function limitFileBytes(fileSystem: FileSystem, limit: number): () => void {
  const { MEMFS } = fileSystem.filesystems;
  let total = 0;
  const write = fileSystem.write.bind(fileSystem);
  fileSystem.write = (stream, ...[buffer, offset, length, ...rest]) => {
    if (!stream.tty) total += length;
    if (total > limit) throw new fileSystem.ErrnoError(noSpaceLeft);
    return write(stream, buffer, offset, length, ...rest);
  };
  for (const name of ['expandFileStorage', 'resizeFileStorage'] as const) {
    const original = MEMFS[name].bind(MEMFS);
    MEMFS[name] = (node, size) => {
      const before = node.contents instanceof Uint8Array ? node.contents.length : 0;
      if (total + Math.max(0, size - before) > limit) throw new fileSystem.ErrnoError(noSpaceLeft);
      original(node, size);
      const after = node.contents instanceof Uint8Array ? node.contents.length : 0;
      total += after - before;
    };
  }
  return () => {
    total = 0;
  };
}

function emptyDirectory(fileSystem: FileSystem, directory: string): void {
  for (const name of fileSystem.readdir(directory)) {
    if (name === '.' || name === '..') continue;
    const path = `${directory}/${name}`;
    if (fileSystem.isDir(fileSystem.lstat(path).mode)) {
      fileSystem.chmod(path, 0o777);
      emptyDirectory(fileSystem, path);
      fileSystem.rmdir(path);
    } else fileSystem.unlink(path);
  }
}

/**
 * Seals the in-memory file system and returns what undoes a run's traces in it: open files, files, working directory.
 *
 * @param limit bytes that files written by one run may hold together
 */
export function sealFileSystem(fileSystem: FileSystem, limit: number): () => void {
  sealNodes(fileSystem);
  const forgetBytes = limitFileBytes(fileSystem, limit);
  const openBefore = new Set(fileSystem.streams);
  return () => {
    for (const stream of fileSystem.streams)
      if (stream && !openBefore.has(stream)) fileSystem.close(stream);
    for (const directory of scratchDirectories) {
      fileSystem.chmod(directory, 0o777);
      emptyDirectory(fileSystem, directory);
    }
    fileSystem.chdir(scratchDirectories[0]);
    forgetBytes();
  };
}

import { existsSync, lstatSync, readlinkSync } from 'node:fs';
import type { SandboxLimits } from './limits.ts';

/** Where the program's working folder is inside the sandbox, and where its files lie ready to be copied there. */
export const insideFolders = { workspace: '/workspace', input: '/input' } as const;

const systemFolders = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];

/** What programs of the system need from /etc; nothing there names users, hosts or keys. */
const systemFiles = ['ld.so.cache', 'ld.so.conf', 'ld.so.conf.d', 'alternatives', 'localtime'];

/** On most systems /bin and its kind are links into /usr. */
function mountSystemFolder(path: string): readonly string[] {
  if (!existsSync(path)) return [];
  return lstatSync(path).isSymbolicLink()
    ? ['--symlink', readlinkSync(path), path]
    : ['--ro-bind', path, path];
}

function emptyFolder(path: string, bytes: number): readonly string[] {
  return ['--perms', '0777', '--size', String(bytes), '--tmpfs', path];
}

/** `bwrap` makes the folders above a mount readable for root alone unless they are made first. */
function openFoldersAbove(path: string): readonly string[] {
  const parts = path.split('/').slice(1, -1);
  const above = parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`);
  return above.flatMap((folder) => ['--perms', '0755', '--dir', folder]);
}

/** Root is told from others by what it may do: see bubblewrap-sandbox.ts. */
function isolation(isRoot: boolean): readonly string[] {
  if (!isRoot) return ['--unshare-all', '--uid', '1000', '--gid', '1000', '--cap-drop', 'ALL'];
  const kept = ['SETUID', 'SETGID', 'KILL', 'DAC_READ_SEARCH'];
  return [
    ...['--unshare-ipc', '--unshare-pid', '--unshare-net', '--unshare-uts'],
    ...['--unshare-cgroup-try', '--cap-drop', 'ALL'],
    ...kept.flatMap((name) => ['--cap-add', `CAP_${name}`]),
  ];
}

/**
 * The arguments of `bwrap` before the command: own namespaces, a read-only system with the interpreter's folders, an
 * empty environment, and three empty folders of bounded size that are all a program can write to.
 *
 * @param options.prefixes folders of the interpreter and its packages
 * @param options.folder files to lie ready as `/input`
 */
export function bubblewrapArguments(
  limits: SandboxLimits,
  options: {
    readonly isRoot: boolean;
    readonly prefixes: readonly string[];
    readonly hasFilter: boolean;
    readonly folder?: string;
  },
): readonly string[] {
  const { workspace, input } = insideFolders;
  return [
    ...isolation(options.isRoot),
    ...['--die-with-parent', '--new-session', '--clearenv', '--hostname', 'sandbox'],
    ...['--ro-bind', '/usr', '/usr'],
    ...systemFolders.flatMap(mountSystemFolder),
    ...openFoldersAbove('/etc/name'),
    ...systemFiles.flatMap((name) => ['--ro-bind-try', `/etc/${name}`, `/etc/${name}`]),
    ...options.prefixes.flatMap((path) => [...openFoldersAbove(path), '--ro-bind', path, path]),
    ...['--proc', '/proc', '--dev', '/dev'],
    ...emptyFolder('/dev/shm', Math.floor(limits.memoryBytes / 4)),
    ...emptyFolder('/tmp', limits.workspaceBytes),
    ...emptyFolder(workspace, limits.workspaceBytes),
    ...(options.folder === undefined ? [] : ['--ro-bind', options.folder, input]),
    ...['--remount-ro', '/dev', '--remount-ro', '/', '--chdir', workspace],
    ...(options.hasFilter ? ['--seccomp', '3'] : []),
  ];
}

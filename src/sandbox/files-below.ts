import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';

/** Path, with `/`, → size in bytes of every plain file below a folder, in the order of the paths. */
export async function filesBelow(folder: string): Promise<ReadonlyMap<string, number>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sized = await Promise.all(
    files.map(async ({ parentPath, name }) => {
      const path = join(parentPath, name);
      return [relative(folder, path).split(sep).join('/'), (await stat(path)).size] as const;
    }),
  );
  return new Map(sized.toSorted(([first], [second]) => (first < second ? -1 : 1)));
}

/** Path → content of every plain file below a folder. */
export async function readFolder(folder: string): Promise<ReadonlyMap<string, Uint8Array>> {
  const paths = [...(await filesBelow(folder)).keys()];
  const contents = paths.map(
    async (path) => [path, new Uint8Array(await readFile(join(folder, path)))] as const,
  );
  return new Map(await Promise.all(contents));
}

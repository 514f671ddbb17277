import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { corrections } from '../../src/dsbench/corrections.ts';

/** DSBench's task files as published; not part of the repository. */
export const publishedFiles = fileURLToPath(new URL('../../../shared/data/bench', import.meta.url));

/** Writes tables for every published task, one row of answers each, with the columns that its description names. */
export async function layoutTables(folder: string): Promise<void> {
  const path = join(publishedFiles, 'dsbench_modeling_cleaned_prompts.json');
  const published = JSON.parse(await readFile(path, 'utf8'));
  for (const id of new Set([...Object.keys(published), ...Object.keys(corrections)])) {
    const { id_column, target_column } = { ...published[id], ...corrections[id] };
    const named: string[] = [target_column].flat();
    const targets = named.length > 0 ? named : Array.from({ length: 30 }, (_, at) => `label_${at}`);
    const line = (names: readonly string[]) => names.map((name) => `"${name}"`).join(',');
    const tables = join(folder, 'data_resplit', id);
    const answers = join(folder, 'answers', id);
    await mkdir(tables, { recursive: true });
    await mkdir(answers, { recursive: true });
    await writeFile(join(tables, 'train.csv'), `${line([id_column, 'x', ...targets])}\n`);
    await writeFile(join(tables, 'test.csv'), `${line([id_column, 'x'])}\n`);
    const header = [id_column, ...targets];
    // A number, a label and a text alike.
    const row = header.map(() => '1');
    await writeFile(join(answers, 'test_answer.csv'), `${line(header)}\n${line(row)}\n`);
  }
}

import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { BoundaryError, messageOf } from '../errors.ts';

const sequences = z
  .array(
    z
      .array(
        z
          .int()
          .nonnegative()
          .max(2 ** 31 - 1),
      )
      .min(1),
  )
  .min(1);

/** Reads a JSON file with an array of arrays of token ids. @throws BoundaryError("config") naming the file and place */
export async function readTokens(file: string): Promise<Int32Array[]> {
  const json = await readJson(file);
  const parsed = sequences.safeParse(json);
  if (parsed.success) return parsed.data.map((ids) => Int32Array.from(ids));
  const issue = parsed.error.issues[0];
  throw new BoundaryError(
    'config',
    `${file}: expected an array of non-empty arrays of token ids; at [${issue?.path.join('][') ?? ''}]: ${issue?.message}`,
  );
}

async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new BoundaryError('config', `--tokens ${file}: ${messageOf(cause)}`, { cause });
  }
}

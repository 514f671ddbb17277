import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson } from '../../engine/model-folder.ts';
import { BoundaryError, messageOf } from '../../errors.ts';

const fileName = 'tinker.json';

const stateSchema = z.object({
  format: z.literal(1),
  /** Name of weights and optimiser on the server, `tinker://…/weights/…`. */
  path: z.string(),
  baseModel: z.string(),
  rank: z.number(),
  alpha: z.number(),
  /** Finished optimiser steps. */
  steps: z.number(),
});

/** What a folder of a policy's state holds: the state itself stays on the server. */
export type ServerState = Omit<z.output<typeof stateSchema>, 'format'>;

export async function writeServerState(directory: string, state: ServerState): Promise<void> {
  const text = JSON.stringify({ format: 1, ...state }, undefined, 2);
  await writeFile(join(directory, fileName), `${text}\n`);
}

/** @throws BoundaryError("engine") when the folder was not written by this client */
export async function readServerState(directory: string): Promise<ServerState> {
  try {
    return stateSchema.parse(await readJson(join(directory, fileName)));
  } catch (cause) {
    throw new BoundaryError(
      'engine',
      `${directory} holds no state of a training server (${fileName}: ${messageOf(cause)}); adapters of another engine cannot be sent to one, start from a state that it saved`,
      { cause },
    );
  }
}

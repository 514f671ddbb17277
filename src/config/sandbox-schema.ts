import { z } from 'zod';

const count = z.int().positive();

const sandboxLimits = {
  /** MiB of memory of one program, all its processes together. */
  memoryMiB: count.optional(),
  /** MiB of the files of one play. */
  workspaceMiB: count.optional(),
  /** Number of those files. */
  workspaceFiles: count.optional(),
  /** Characters of output after which a program is stopped. */
  outputCharacters: count.optional(),
};

/** Which sandbox runs agents' programs, and its limits. */
export const sandboxSchema = z.union(
  [
    z.enum(['pyodide', 'bubblewrap']),
    z.strictObject({ kind: z.literal('pyodide'), ...sandboxLimits }),
    z.strictObject({
      kind: z.literal('sandboxfusion'),
      /** Where the server listens. */
      url: z.url(),
      ...sandboxLimits,
    }),
    z.strictObject({
      kind: z.literal('bubblewrap'),
      /** A command, or the path (with a slash) of an interpreter or a virtual environment. */
      python: z.string().min(1).optional(),
      /** Modules that programs must be able to import, tried before the run. */
      packages: z
        .array(z.string().regex(/^\w+(\.\w+)*$/, 'expected the name of a module'))
        .optional(),
      /** Processes and threads of one program. */
      processes: count.optional(),
      ...sandboxLimits,
    }),
  ],
  'expected "pyodide", "bubblewrap", { kind: "sandboxfusion", url: "http://…" }, or { kind: "pyodide" | "bubblewrap", … } with limits as docs/tools.md lists them',
);

export type SandboxChoice = z.output<typeof sandboxSchema>;

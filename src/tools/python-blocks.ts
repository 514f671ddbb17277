import type { Execution, ExecutionStatus } from '../types/sandbox.ts';

/** How one block of a program ended. */
export type BlockEnd = Pick<Execution, 'status' | 'output' | 'durationMs'>;

/**
 * Runs blocks one after another in one scope, each compiled by itself, so that a block finds what earlier ones defined
 * and a mistake in one does not take the others with it. What the sandbox must judge (memory, refusals) ends them all.
 *
 * @param mark a word that no block holds; JSON's strings are Python's, too
 */
export function joinBlocks(blocks: readonly string[], mark: string): string {
  return `
def run_blocks():
    import errno, linecache, sys, time, traceback
    blocks, mark = ${JSON.stringify(blocks)}, ${JSON.stringify(mark)}
    scope, out, err = globals(), sys.stdout, sys.stderr
    del scope['run_blocks']
    # The first two frames are ours.
    show = sys.excepthook
    def show_rest(kind, error, trace):
        rest = trace.tb_next.tb_next
        show(kind, error.with_traceback(rest), rest)
    sys.excepthook = show_rest
    refused = {errno.EPERM, errno.EACCES, errno.EROFS, errno.ENETUNREACH, errno.ENOTSUP, -2, -3}

    def is_for_the_sandbox(error):
        seen = set()
        while error is not None and id(error) not in seen:
            if isinstance(error, MemoryError) or getattr(error, 'errno', None) in refused:
                return True
            if isinstance(error, PermissionError):
                return True
            seen.add(id(error))
            error = error.__cause__ or error.__context__
        return False

    for number, source in enumerate(blocks, 1):
        name = f'<block {number}>'
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        begin, status = time.perf_counter(), 'ok'
        try:
            exec(compile(source, name, 'exec', dont_inherit=True), scope)
        except SystemExit as end:
            if end.code not in (None, 0, False):
                status = 'error'
                err.write(f'SystemExit: {end.code}\\n')
        except Exception as error:
            if is_for_the_sandbox(error):
                raise
            status = 'error'
            stack = traceback.TracebackException(type(error), error, error.__traceback__.tb_next)
            err.write(''.join(stack.format()))
        sys.stdout, sys.stderr = out, err
        err.flush()
        out.write(f'{mark} {status} {time.perf_counter() - begin}\\n')
        out.flush()

run_blocks()
`;
}

/** Parts what joined blocks printed; blocks that the end of an earlier one kept from running say so. */
export function endsOfBlocks(
  execution: Execution,
  { count, mark }: { readonly count: number; readonly mark: string },
): readonly BlockEnd[] {
  const pieces = execution.output.split(new RegExp(`${mark} (ok|error) ([\\d.e-]+)\\n`));
  const ends: BlockEnd[] = [];
  for (let at = 0; at + 2 < pieces.length && ends.length < count; at += 3) {
    const [output = '', status, seconds] = pieces.slice(at, at + 3);
    ends.push({ status: status as ExecutionStatus, output, durationMs: Number(seconds) * 1000 });
  }
  const rest = pieces.at(-1) ?? '';
  const { status } = execution;
  const last = ends.at(-1);
  if (ends.length === count && last !== undefined) {
    // Printed after the last block, by a thread or on the way out.
    const isStopped = status !== 'ok' && status !== 'error';
    ends[count - 1] = { ...last, output: last.output + rest, ...(isStopped ? { status } : {}) };
    return ends;
  }
  const spentMs = ends.reduce((sum, { durationMs }) => sum + durationMs, 0);
  ends.push({ status, output: rest, durationMs: Math.max(0, execution.durationMs - spentMs) });
  const output = `Not run: block ${ends.length} of this turn ended the interpreter.\n`;
  const left = count - ends.length;
  const notRun = { status: status === 'ok' ? 'error' : status, output, durationMs: 0 } as const;
  return [...ends, ...Array.from({ length: left }, () => notRun)];
}

import { setTimeout as wait } from 'node:timers/promises';
import type { Tool, ToolResult } from '../types/tool.ts';

/** Calls a tool again when our side of it failed; what still fails then ends the play. */
export function retryTool(
  tool: Tool,
  { attempts, delayMs }: { readonly attempts: number; readonly delayMs: number },
): Tool {
  const again = async <Result>(
    call: () => Promise<Result>,
    hasFailed: (result: Result) => boolean,
    signal: AbortSignal | undefined,
  ): Promise<Result> => {
    let result = await call();
    for (let attempt = 1; attempt < attempts && hasFailed(result); attempt++) {
      await wait(delayMs * 2 ** (attempt - 1), undefined, { signal });
      result = await call();
    }
    return result;
  };
  const isOurs = ({ status }: ToolResult) => status === 'infrastructure';
  // All through the object: it may be an instance of a class of the user's.
  const runTogether = tool.runTogether?.bind(tool);
  return {
    ...tool,
    close: () => tool.close(),
    run: (input, options) => again(() => tool.run(input, options), isOurs, options.signal),
    ...(runTogether && {
      runTogether: (inputs, options) => {
        const call = () => runTogether(inputs, options);
        return again(call, (results) => results.some(isOurs), options.signal);
      },
    }),
  };
}

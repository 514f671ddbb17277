import { setTimeout as wait } from 'node:timers/promises';
import type { Tool } from '../types/tool.ts';

/** Calls a tool again when our side of it failed; what still fails then ends the play. */
export function retryTool(
  tool: Tool,
  { attempts, delayMs }: { readonly attempts: number; readonly delayMs: number },
): Tool {
  return {
    ...tool,
    run: async (input, options) => {
      let result = await tool.run(input, options);
      for (let attempt = 1; attempt < attempts && result.status === 'infrastructure'; attempt++) {
        await wait(delayMs * 2 ** (attempt - 1), undefined, { signal: options.signal });
        result = await tool.run(input, options);
      }
      return result;
    },
  };
}

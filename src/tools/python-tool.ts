import { createPythonSandbox, type PythonSandboxOptions } from '../sandbox/python-sandbox.ts';
import type { Tool } from '../types/tool.ts';

/** The tool `python`: each call is a program of its own in a sandboxed interpreter; its output is what it prints. */
export function createPythonTool(options: PythonSandboxOptions = {}): Tool {
  const sandbox = createPythonSandbox(options);
  return {
    name: 'python',
    run: (input, { signal }) => sandbox.run(input, signal === undefined ? {} : { signal }),
    close: sandbox.close,
  };
}

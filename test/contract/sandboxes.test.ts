import { createBubblewrapSandbox } from '../../src/sandbox/bubblewrap-sandbox.ts';
import { createPythonSandbox } from '../../src/sandbox/python-sandbox.ts';
import { bubblewrapMissing } from '../support/bubblewrap-here.ts';
import { describeSandbox, limits } from './sandbox.ts';

describeSandbox('pyodide', { create: async () => createPythonSandbox(limits) });

const missing = await bubblewrapMissing();
describeSandbox('bubblewrap', {
  create: async () => createBubblewrapSandbox(limits),
  ...(missing === undefined ? {} : { skip: missing }),
});

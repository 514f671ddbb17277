import { createBubblewrapSandbox } from '../../src/sandbox/bubblewrap-sandbox.ts';
import { createPythonSandbox } from '../../src/sandbox/python-sandbox.ts';
import { bubblewrapMissing } from '../support/bubblewrap-here.ts';
import { describeUnderAttack } from './hostile.ts';
import { describeSandbox, limits } from './sandbox.ts';
import { tightLimits } from './tight-limits.ts';

describeUnderAttack('pyodide', { create: async () => createPythonSandbox(tightLimits) });
describeSandbox('pyodide', { create: async () => createPythonSandbox(limits) });

const missing = await bubblewrapMissing();
const skip = missing === undefined ? {} : { skip: missing };
describeSandbox('bubblewrap', { create: async () => createBubblewrapSandbox(limits), ...skip });
describeUnderAttack('bubblewrap', {
  create: async () => createBubblewrapSandbox(tightLimits),
  ...skip,
});

import { expect, test } from 'vitest';
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

test.skipIf(missing !== undefined)(
  'bubblewrap says that it did not keep a file whose name cannot be printed',
  async () => {
    const sandbox = createBubblewrapSandbox(limits);
    const program = 'for name in (b"a\\xff", "b\\nc", "d"): open(name, "w").close()';
    const { status, output, changes } = await sandbox.run(program);
    expect([status, output]).toEqual(['ok', 'Not kept: 2 files whose name cannot be printed.\n']);
    expect([...changes.written.keys()]).toEqual(['d']);
    await sandbox.close();
  },
);

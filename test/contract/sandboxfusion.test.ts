import { afterAll, describe, expect, it } from 'vitest';
import { createSandboxFusionSandbox } from '../../src/sandbox/sandboxfusion-sandbox.ts';
import { bubblewrapMissing } from '../support/bubblewrap-here.ts';
import { startSandboxFusion } from '../support/sandboxfusion-server.ts';
import { describeUnderAttack } from './hostile.ts';
import { describeSandbox, limits } from './sandbox.ts';
import { tightLimits } from './tight-limits.ts';

const server = await startSandboxFusion();
afterAll(() => server.close());
const { url } = server;

const missing = await bubblewrapMissing();
// The server of the tests runs code inside bubblewrap; without it only its faults can be tested.
const skip = missing === undefined ? {} : { skip: missing };
describeSandbox('sandboxfusion', {
  create: async () => createSandboxFusionSandbox({ ...limits, url }),
  ...skip,
});
describeUnderAttack('sandboxfusion', {
  create: async () => createSandboxFusionSandbox({ ...tightLimits, url }),
  ...skip,
});

describe('a SandboxFusion server', () => {
  const sandbox = createSandboxFusionSandbox({ ...limits, url, timeLimitMs: 500, graceMs: 500 });
  afterAll(() => sandbox.close());

  it.each([
    ['gateway timeout', /HTTP 504: upstream timed out/],
    ['an HTML page', /not valid JSON/],
    ['half an answer', /JSON/],
    ['hang', /no answer within 1000 ms/],
    ['another shape', /status/],
    ['an error of its own', /no disk left/],
    ['none of the files', /returned no teamtune-frame\.bin/],
    ['a frame cut short', /could not be read/],
  ] as const)('that answers with %s has failed us, not the agent', async (fault, reason) => {
    server.faults.push(fault);
    const { status, output } = await sandbox.run('print(1)');
    expect(status).toBe('infrastructure');
    expect(output).toMatch(reason);
  });

  it('that is not there is refused before anything is played', async () => {
    const nowhere = createSandboxFusionSandbox({ url: 'http://127.0.0.1:9' });
    await expect(nowhere.check()).rejects.toThrow(/start a SandboxFusion server there/);
    await nowhere.close();
  });
});

import { messageOf } from '../../src/errors.ts';
import { createBubblewrapSandbox } from '../../src/sandbox/bubblewrap-sandbox.ts';

/** Why bubblewrap cannot be tested on this machine; undefined where it can. */
export async function bubblewrapMissing(): Promise<string | undefined> {
  const sandbox = createBubblewrapSandbox();
  try {
    await sandbox.check();
    return undefined;
  } catch (error) {
    return messageOf(error);
  } finally {
    await sandbox.close();
  }
}

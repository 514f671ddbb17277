import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/types/sandbox.ts';
import { attacks, layOutTarget, runAttack, type Target } from '../support/attacks.ts';
import type { SandboxUnderTest } from './sandbox.ts';

/** Every attack ends as a typed result, nothing gets out, and the next program runs. */
export function describeUnderAttack(name: string, under: SandboxUnderTest): void {
  if (under.skip !== undefined) {
    process.stderr.write(`skipped: ${name} under attack: ${under.skip}\n`);
    describe.skip(`${name} under attack`, () => it(under.skip ?? '', () => undefined));
    return;
  }
  describe(`${name} under attack`, () => {
    let sandbox: Sandbox;
    let target: Target;

    beforeAll(async () => {
      sandbox = await under.create();
      target = await layOutTarget();
    });
    afterAll(async () => {
      await sandbox.close();
      await target.close();
    }, 60_000);

    it.each(attacks)('holds against: $name', async (attack) => {
      const report = await runAttack(sandbox, attack, target);
      expect(report).toMatchObject({ isTypedWell: true, isNextFine: true, leaks: [] });
    });
  });
}

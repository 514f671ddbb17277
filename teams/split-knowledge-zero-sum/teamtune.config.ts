import { defineRun } from '../../src/config/schema.ts';
import cooperative from '../split-knowledge/teamtune.config.ts';
import { zeroSumPayoffs } from '../split-knowledge-team.ts';

/** The same two agents as opponents: B, who knows the half that A lacks, is paid for A's wrong answers. */
export default defineRun({
  ...cooperative,
  name: 'split-knowledge-zero-sum',
  method: { kind: 'maporl', verifier: 'grade', turnDiscount: 1, payoffs: zeroSumPayoffs },
});

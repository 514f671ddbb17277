import { fileURLToPath } from 'node:url';
import { discussionTeam } from '../src/methods/discussion.ts';

/** Opponents: A is paid for its right answers, B for A's wrong ones. */
export const zeroSumPayoffs = { A: { A: 1 }, B: { A: -1 } };

/** Two agents who each know half of every answer discuss it in two turns. */
export const splitKnowledgeTeam = discussionTeam({
  name: 'split-knowledge',
  agents: {
    A: { role: 'Debater who knows the first half', maxTokens: 4 },
    B: { role: 'Debater who knows the second half', maxTokens: 4 },
  },
  turns: 2,
  format: fileURLToPath(new URL('./split-knowledge/discussion.md', import.meta.url)),
});

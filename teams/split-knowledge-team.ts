import { fileURLToPath } from 'node:url';
import { type DiscussionOptions, discussionTeam } from '../src/methods/discussion.ts';
import { viewOf } from './split-knowledge/language.ts';

/** Opponents: A is paid for its right answers, B for A's wrong ones. */
export const zeroSumPayoffs = { A: { A: 1 }, B: { A: -1 } };

const discussion = {
  name: 'split-knowledge',
  agents: {
    A: { role: 'Debater who knows the first half', maxTokens: 4 },
    B: { role: 'Debater who knows the second half', maxTokens: 4 },
  },
  turns: 2,
  taskFor: ({ prompt }, agent) => viewOf(agent, prompt),
  format: fileURLToPath(new URL('./split-knowledge/discussion.md', import.meta.url)),
} satisfies DiscussionOptions<'A' | 'B'>;

/** Two agents who each know half of every answer discuss it in two turns; `weighted` lets a coach's scores decide. */
export const splitKnowledgeTeam = {
  ...discussionTeam(discussion),
  variants: { weighted: discussionTeam({ ...discussion, decides: 'weighted' }) },
};

import { defineTeam } from '../src/rollout/team.ts';
import { answerIn, approval, critiquePrompt, draftPrompt, refinePrompt } from './chain/language.ts';

const generator = { role: 'Generator', maxTokens: 4 };
const verifier = { role: 'Verifier', maxTokens: 5 };
const refiner = { role: 'Refiner', maxTokens: 2 };

/** The generator alone: its draft is the answer. */
const single = defineTeam({
  name: 'chain-single',
  agents: { generator },
  play: async ({ prompt }, agents) =>
    answerIn((await agents.generator.act(draftPrompt(prompt))).text),
});

/** The verifier has the last word: its own result, or the draft that it approves. */
const withoutRefiner = defineTeam({
  name: 'chain-without-refiner',
  agents: { generator, verifier },
  async play({ prompt }, agents) {
    const { text: draft } = await agents.generator.act(draftPrompt(prompt));
    const { text: critique } = await agents.verifier.act(critiquePrompt(prompt, draft));
    return answerIn(critique.trim() === approval ? draft : critique);
  },
});

/**
 * Generator, verifier and refiner of MALT at the smallest size: a draft of three running results, a word of approval or
 * a recalculation, and a last digit.
 */
export const chainTeam = defineTeam({
  name: 'chain',
  agents: { generator, verifier, refiner },
  async play({ prompt }, agents) {
    const { text: draft } = await agents.generator.act(draftPrompt(prompt));
    const { text: critique } = await agents.verifier.act(critiquePrompt(prompt, draft));
    return answerIn((await agents.refiner.act(refinePrompt(prompt, draft, critique))).text);
  },
  variants: { single, 'without-refiner': withoutRefiner },
});

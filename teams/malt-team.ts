import { readFileSync } from 'node:fs';
import { defineTeam } from '../src/rollout/team.ts';
import { spoken, withSections } from './sections.ts';

function loadPrompt(name: string): string {
  return readFileSync(new URL(`malt/${name}.md`, import.meta.url), 'utf8').trim();
}

const prompts = {
  generator: loadPrompt('generator'),
  verifier: loadPrompt('verifier'),
  refiner: loadPrompt('refiner'),
};

const generator = { role: 'Generator', maxTokens: 2048 };
const verifier = { role: 'Verifier', maxTokens: 2048 };
const refiner = { role: 'Refiner', maxTokens: 2048 };

/** The generator alone, whose solution is the answer. */
const singleAgent = defineTeam({
  name: 'malt-single-agent',
  agents: { generator },
  play: async ({ prompt }, agents) =>
    spoken(await agents.generator.act(withSections(prompts.generator, { Problem: prompt }))),
});

/** Without criticism: the refiner is shown an empty verification, as in the paper's ablation. */
const withoutVerifier = defineTeam({
  name: 'malt-without-verifier',
  agents: { generator, refiner },
  async play({ prompt }, agents) {
    const draft = await agents.generator.act(withSections(prompts.generator, { Problem: prompt }));
    const material = { Problem: prompt, Solution: spoken(draft), Verification: '' };
    return spoken(await agents.refiner.act(withSections(prompts.refiner, material)));
  },
});

/** The verifier has the last word, as in the paper's ablation: what it finds instead, or the solution that it calls correct. */
const withoutRefiner = defineTeam({
  name: 'malt-without-refiner',
  agents: { generator, verifier },
  async play({ prompt }, agents) {
    const draft = await agents.generator.act(withSections(prompts.generator, { Problem: prompt }));
    const solution = { Problem: prompt, Solution: spoken(draft) };
    const critique = spoken(await agents.verifier.act(withSections(prompts.verifier, solution)));
    return /Verdict:\s*correct/i.test(critique) ? spoken(draft) : critique;
  },
});

/**
 * Generator, verifier and refiner of MALT (arXiv 2412.01928). The paper publishes the refiner's first line and examples of
 * what each role writes; the rest of the prompts is ours.
 */
export const maltTeam = defineTeam({
  name: 'malt',
  agents: { generator, verifier, refiner },
  async play({ prompt }, agents) {
    const draft = await agents.generator.act(withSections(prompts.generator, { Problem: prompt }));
    const solution = { Problem: prompt, Solution: spoken(draft) };
    const critique = await agents.verifier.act(withSections(prompts.verifier, solution));
    const material = { ...solution, Verification: spoken(critique) };
    return spoken(await agents.refiner.act(withSections(prompts.refiner, material)));
  },
  variants: {
    'single-agent': singleAgent,
    'without-verifier': withoutVerifier,
    'without-refiner': withoutRefiner,
  },
});

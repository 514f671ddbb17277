import { readFileSync } from 'node:fs';
import { defineTeam } from '../src/rollout/team.ts';
import { spoken, withSections } from './sections.ts';

function loadPrompt(name: string): string {
  return readFileSync(new URL(`mathchat/${name}.md`, import.meta.url), 'utf8').trim();
}

const prompts = {
  solver: loadPrompt('problem-solver'),
  executor: loadPrompt('code-executor'),
  verifier: loadPrompt('verifier'),
  single: loadPrompt('single-agent'),
};

/** The same problems for one agent with Python: what the team is compared with. */
const singleAgent = defineTeam({
  name: 'mathchat-single-agent',
  agents: {
    solver: { role: 'Problem Solver', maxTokens: 4096, tools: ['python'], maxTurns: 2 },
  },
  async play(task, { solver }) {
    return spoken(await solver.act(withSections(prompts.single, { Problem: task.prompt })));
  },
});

/**
 * MathChat as MAPPA plays it (arXiv 2601.23228): a Problem Solver drafts, a Code Executor checks with Python, a Verifier
 * decides. The Verifier sees the Code Executor's material and not the draft. Unlike the published code, thoughts
 * (`<think>`) are not shown to the next agent and are no part of the answer.
 */
export const mathchatTeam = defineTeam({
  name: 'mathchat',
  agents: {
    solver: { role: 'Problem Solver', maxTokens: 4096 },
    executor: { role: 'Code Executor', maxTokens: 4096, tools: ['python'], maxTurns: 2 },
    verifier: { role: 'Verifier', maxTokens: 4096 },
  },
  async play(task, { solver, executor, verifier }) {
    const draft = await solver.act(withSections(prompts.solver, { Problem: task.prompt }));
    const run = await executor.act(
      withSections(prompts.executor, {
        Problem: task.prompt,
        "The Problem Solver's draft": spoken(draft),
      }),
    );
    const output = run.toolOutput === undefined ? {} : { 'Output of the last run': run.toolOutput };
    const final = await verifier.act(
      withSections(prompts.verifier, {
        Problem: task.prompt,
        "The Code Executor's report": spoken(run),
        ...output,
      }),
    );
    return spoken(final);
  },
  variants: { 'single-agent': singleAgent },
});

import { readFileSync } from 'node:fs';
import { defineTeam } from '../src/rollout/team.ts';
import { withoutThinking } from '../src/tools/parse-tool-calls.ts';

function loadPrompt(name: string): string {
  return readFileSync(new URL(`mathchat/${name}.md`, import.meta.url), 'utf8').trim();
}

const prompts = {
  solver: loadPrompt('problem-solver'),
  executor: loadPrompt('code-executor'),
  verifier: loadPrompt('verifier'),
};

/** A role's prompt followed by named sections; the sections' texts are put in as they are. */
function withSections(prompt: string, sections: Readonly<Record<string, string>>): string {
  const parts = Object.entries(sections).map(([title, text]) => `## ${title}\n\n${text}`);
  return [prompt, ...parts].join('\n\n');
}

/** What an agent tells the others: its words without its thoughts. */
function spoken(text: string): string {
  return withoutThinking(text).trim();
}

/**
 * MathChat as MAPPA plays it (arXiv 2601.23228): a Problem Solver drafts, a Code Executor checks with Python, a Verifier
 * decides. The Verifier sees the Code Executor's material and not the draft. Unlike the published code, thoughts
 * (`<think>`) are not shown to the next agent.
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
        "The Problem Solver's draft": spoken(draft.text),
      }),
    );
    const output = run.toolOutput === undefined ? {} : { 'Output of the last run': run.toolOutput };
    const final = await verifier.act(
      withSections(prompts.verifier, {
        Problem: task.prompt,
        "The Code Executor's report": spoken(run.text),
        ...output,
      }),
    );
    return final.text;
  },
});

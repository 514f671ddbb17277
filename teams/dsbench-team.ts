import { readFileSync } from 'node:fs';
import { type ActResult, type Agent, defineTeam } from '../src/rollout/team.ts';
import type { WorkspaceFiles } from '../src/types/sandbox.ts';
import { duties } from './dsbench/duties.ts';
import { spoken, withSections } from './sections.ts';

function loadPrompt(name: string): string {
  return readFileSync(new URL(`dsbench/${name}.md`, import.meta.url), 'utf8').trim();
}

const prompts = {
  engineer: loadPrompt('data-engineer'),
  modeler: loadPrompt('modeler'),
  analyst: loadPrompt('analyst'),
};

/** Most actions of each agent. */
const maxTurns = 4;

const limits = { maxTokens: 8192, tools: ['python'], maxTurns };

async function namesIn(files: WorkspaceFiles): Promise<readonly string[]> {
  return (await files.list()).map(({ path }) => path);
}

/** The files that an agent may rely on, and those that it would need and that are not there. */
async function describeFiles(files: WorkspaceFiles, needed: readonly string[]): Promise<string> {
  const names = await namesIn(files);
  const missing = needed.filter((name) => !names.includes(name));
  const warning =
    missing.length === 0
      ? ''
      : `\n\nWARNING: not there, though it should be: ${missing.join(', ')}`;
  return `${names.join('\n')}\n\nThere are no others.${warning}`;
}

/**
 * Asks an agent, and again while it stops before its files are there: an answer without code would otherwise end its part.
 * Over all it takes no more actions than one asking may.
 */
async function workOn(
  agent: Agent,
  message: string,
  { files, due }: { readonly files: WorkspaceFiles; readonly due: readonly string[] },
): Promise<ActResult> {
  let acted = await agent.act(message);
  let taken = acted.actions.length;
  while (taken < maxTurns) {
    const names = await namesIn(files);
    const missing = due.filter((name) => !names.includes(name));
    if (missing.length === 0) return acted;
    const left = maxTurns - taken;
    const reminder = `Not there yet: ${missing.join(', ')}. Write Python that leaves it; ${left} of your replies are left.`;
    acted = await agent.act(reminder, { continue: true, maxTurns: left });
    taken += acted.actions.length;
  }
  return acted;
}

/** What an agent hands on: its last words, and what its last code printed. */
function reportOf(acted: ActResult): string {
  const printed =
    acted.toolOutput === undefined ? '' : `\n\nOutput of the last run:\n${acted.toolOutput}`;
  return `${spoken(acted)}${printed}`;
}

/**
 * The data-science team of MAPPA (arXiv 2601.23228): a Data Engineer prepares tables, a Modeler trains, an Analyst hands in
 * `submission.csv`. All three share one workspace; the task's answers are not in it. A missing file ends nothing: the
 * next agent is told.
 */
export const dsbenchTeam = defineTeam({
  name: 'dsbench',
  agents: {
    engineer: { role: 'Data Engineer', ...limits },
    modeler: { role: 'Modeler', ...limits },
    analyst: { role: 'Analyst', ...limits },
  },
  async play(task, { engineer, modeler, analyst }, { files }) {
    const { engineer: prepared, modeler: modelled, analyst: handedIn } = duties;
    const ask = async (prompt: string, needed: readonly string[], earlier = {}) =>
      withSections(prompt, {
        Task: task.prompt,
        Files: await describeFiles(files, needed),
        ...earlier,
      });
    const data = await workOn(engineer, await ask(prompts.engineer, []), { files, due: prepared });
    const report = { "The Data Engineer's report": reportOf(data) };
    const model = await workOn(modeler, await ask(prompts.modeler, prepared, report), {
      ...{ files, due: modelled },
    });
    const reports = { ...report, "The Modeler's report": reportOf(model) };
    const needed = ['X_test.pkl', ...modelled];
    await workOn(analyst, await ask(prompts.analyst, needed, reports), { files, due: handedIn });
    const isThere = (await namesIn(files)).includes('submission.csv');
    return isThere ? 'submission.csv' : 'no submission.csv';
  },
});

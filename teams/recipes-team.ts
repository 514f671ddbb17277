import { defineTeam } from '../src/rollout/team.ts';
import { metricOf, promptFor } from './recipes/language.ts';

const limits = { maxTokens: 48, tools: ['python'], maxTurns: 1 };

/**
 * The data-science team at the smallest size: each agent acts once and chooses from a menu of short programs
 * (recipes/language.ts) that really run in the play's workspace, so that a model far too small to write pandas code can
 * learn who has to leave what.
 */
export const recipesTeam = defineTeam({
  name: 'recipes',
  agents: {
    engineer: { role: 'Data Engineer', ...limits },
    modeler: { role: 'Modeler', ...limits },
    analyst: { role: 'Analyst', ...limits },
  },
  async play(task, { engineer, modeler, analyst }, { files }) {
    const about = { metric: metricOf(task) };
    await engineer.act(promptFor('engineer', about));
    await modeler.act(promptFor('modeler', about));
    await analyst.act(promptFor('analyst', about));
    const isThere = (await files.list()).some(({ path }) => path === 'submission.csv');
    return isThere ? 'submission.csv' : 'no submission.csv';
  },
});

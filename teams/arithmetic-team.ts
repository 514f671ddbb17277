import { defineTeam } from '../src/rollout/team.ts';
import {
  executorMaterial,
  executorPrompt,
  solverPrompt,
  verifierPrompt,
} from './arithmetic/language.ts';

/**
 * The MathChat shape at the smallest size: a solver writes a working, an executor runs it in Python and tells the result,
 * a verifier boxes the answer. The verifier does not see the working.
 */
export const arithmeticTeam = defineTeam({
  name: 'arithmetic',
  agents: {
    solver: { role: 'Problem Solver', maxTokens: 48 },
    executor: { role: 'Code Executor', maxTokens: 64, tools: ['python'], maxTurns: 2 },
    verifier: { role: 'Verifier', maxTokens: 16 },
  },
  async play(task, { solver, executor, verifier }) {
    const working = await solver.act(solverPrompt(task.prompt));
    const run = await executor.act(executorPrompt(task.prompt, working.text));
    const endsWithRun = (run.actions.at(-1)?.toolResults.length ?? 0) > 0;
    const material = executorMaterial(run.text, endsWithRun ? run.toolOutput : undefined);
    const final = await verifier.act(verifierPrompt(task.prompt, material));
    return final.text;
  },
});

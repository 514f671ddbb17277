import { z } from 'zod';
import { agentNames, type Team } from '../rollout/team.ts';

const count = z.int().positive();

const agent = z.strictObject({
  role: z.string().min(1),
  instructions: z.string().optional(),
  maxTokens: count,
  stopStrings: z.array(z.string().min(1)).optional(),
  maxTurns: count.optional(),
  tools: z.array(z.string()).optional(),
});

/** A team as `defineTeam` returns it, with what its code says of each agent. */
export const team = z
  .custom<Team>(isTeam, {
    message: 'expected a team made by defineTeam({ name, agents, play }) with at least one agent',
    abort: true,
  })
  .superRefine(({ agents, variants = {} }, context) => {
    refineAgents(agents, ['agents'], context);
    for (const [variant, { agents: own }] of Object.entries(variants)) {
      refineAgents(own, ['variants', variant, 'agents'], context);
    }
  });

/** A name is part of every action's id, and the folder of the agent's weights in a checkpoint. */
const agentName = z
  .string()
  .regex(
    /^[\p{L}\p{N}_][\p{L}\p{N}_. -]*$/u,
    'expected a name of letters, digits, dashes, dots and blanks',
  )
  .refine(
    (name) => name !== 'reference',
    'expected another name: the reference policy has this one',
  );

function refineAgents(
  agents: Team['agents'],
  place: readonly string[],
  context: z.core.$RefinementCtx,
): void {
  for (const [name, declaration] of Object.entries(agents)) {
    const faults = [agentName.safeParse(name), agent.safeParse(declaration)];
    for (const { path, message } of faults.flatMap(({ error }) => error?.issues ?? [])) {
      context.addIssue({ code: 'custom', path: [...place, name, ...path], message });
    }
  }
}

function isTeam(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    'play' in value &&
    typeof value.play === 'function' &&
    'agents' in value &&
    agentNames(value as Team).length > 0
  );
}

import type { Tool } from '../types/tool.ts';
import type { AgentDeclaration } from './team.ts';

/** A tool as chat templates take it. */
type DescribedTool = {
  readonly type: 'function';
  readonly function: {
    readonly name: string;
    readonly description: string;
    readonly parameters: Readonly<Record<string, unknown>>;
  };
};

/** The tools of an agent that say what they are; the others are explained by its instructions. */
function describedTools(
  { tools = [] }: AgentDeclaration,
  known: ReadonlyMap<string, Tool>,
): readonly DescribedTool[] {
  return tools.flatMap((name): DescribedTool[] => {
    const { description, parameters } = known.get(name) ?? {};
    if (description === undefined || parameters === undefined) return [];
    return [{ type: 'function', function: { name, description, parameters } }];
  });
}

/**
 * How an agent is told of its tools: through the chat template where that takes tools, else in its instructions, in the
 * form that is read from its text (parse-tool-calls.ts).
 */
export function tellOfTools(
  declaration: AgentDeclaration,
  known: ReadonlyMap<string, Tool>,
  takesTools: boolean,
): { readonly instructions?: string; readonly tools?: readonly object[] } {
  const described = describedTools(declaration, known);
  const { instructions } = declaration;
  const own = instructions === undefined ? {} : { instructions };
  if (described.length === 0) return own;
  if (takesTools) return { ...own, tools: described };
  const lines = described.map((tool) => JSON.stringify(tool.function));
  const taught = `You may call these tools:
${lines.join('\n')}
To call one, write <tool_call>{"name": "…", "arguments": {…}}</tool_call>, and wait for its result.`;
  return { instructions: instructions === undefined ? taught : `${instructions}\n\n${taught}` };
}

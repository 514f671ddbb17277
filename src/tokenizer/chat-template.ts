import { Template } from '@huggingface/jinja';
import { BoundaryError, messageOf } from '../errors.ts';
import type { Message } from '../types/message.ts';

/**
 * Renders a conversation; `addGenerationPrompt` adds the header of the assistant's next turn.
 *
 * @param tools what the model may call, as the template takes them: `{ type: 'function', function: … }`
 */
export type RenderTemplate = (
  messages: readonly Message[],
  addGenerationPrompt: boolean,
  tools?: readonly object[],
) => string;

const roles: readonly string[] = [
  'system',
  'user',
  'assistant',
  'tool',
] satisfies Message['role'][];

/** Llama 3 templates write today's date unless told one; a fixed date makes runs repeat on any day. */
const fixedDate = '26 Jul 2024';

function checkRoles(messages: readonly Message[]): void {
  const index = messages.findIndex(({ role }) => !roles.includes(role));
  if (index >= 0)
    throw new BoundaryError(
      'policy',
      `Message ${index} has the role "${messages[index]?.role}"; expected one of ${roles.join(', ')}.`,
    );
}

function parseTemplate(source: string, place: string): Template {
  try {
    return new Template(source);
  } catch (error) {
    throw new BoundaryError(
      'config',
      `The chat template of ${place} is not valid Jinja: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/**
 * Compiles a chat template.
 *
 * @param source Jinja source; absent = rendering fails with a clear message
 * @param variables what the template may read besides the messages, for example `bos_token` or `enable_thinking`
 * @param place the folder the template came from, for messages
 */
export function compileChatTemplate(
  source: string | undefined,
  variables: Readonly<Record<string, unknown>>,
  place: string,
): RenderTemplate {
  const template = source === undefined ? undefined : parseTemplate(source, place);
  return (messages, addGenerationPrompt, tools) => {
    if (template === undefined)
      throw new BoundaryError(
        'config',
        `${place} has no chat template; expected a chat_template.jinja, or chat_template in tokenizer_config.json.`,
      );
    checkRoles(messages);
    try {
      return template.render({
        date_string: fixedDate,
        ...variables,
        ...(tools === undefined ? {} : { tools }),
        messages,
        add_generation_prompt: addGenerationPrompt,
      });
    } catch (error) {
      const shape = messages.map(({ role }) => role).join(', ');
      throw new BoundaryError(
        'policy',
        `The chat template of ${place} refused the roles [${shape}]: ${messageOf(error)}`,
        { cause: error },
      );
    }
  };
}

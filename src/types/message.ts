/** One message of a conversation, in the form chat templates take. */
export type Message = {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly content: string;
};

import { BoundaryError } from '../errors.ts';

/** What the agents of a discussion are told: texts with slots in double braces. */
export type DiscussionFormat = {
  readonly first: string;
  readonly later: string;
  readonly answer: string;
  /** Stands below another's answer that has a score, where scores are shown; absent = they cannot be. */
  readonly score?: string;
};

/** Part of a format file → its heading and the slots that it may have. */
const parts = {
  first: { heading: 'First turn', slots: ['task', 'agent', 'turn', 'turns'] },
  later: { heading: 'Later turns', slots: ['task', 'agent', 'turn', 'turns', 'own', 'others'] },
  answer: { heading: 'Another’s answer', slots: ['agent', 'turn', 'answer'] },
  score: { heading: 'Its score', slots: ['agent', 'turn', 'score', 'grade'] },
} as const;

type Part = keyof typeof parts;

/**
 * Reads a format: Markdown with the headings `# First turn`, `# Later turns`, `# Another's answer` and, where scores can be
 * shown, `# Its score`, in this order. Blank lines around a part are no part of it.
 *
 * @throws BoundaryError("config") naming the heading or slot that is wrong
 */
export function parseDiscussionFormat(markdown: string): DiscussionFormat {
  const sections = markdown.split(/^# (.+)$/m).slice(1);
  const headings = sections.filter((_, index) => index % 2 === 0).map(plainHeading);
  const all = Object.values(parts).map(({ heading }) => heading);
  const wanted = all.slice(0, headings.length === all.length ? undefined : -1);
  if (headings.join() !== wanted.join()) {
    throw new BoundaryError(
      'config',
      `a discussion format must have the headings ${wanted.map((heading) => `"# ${heading}"`).join(', ')} in this order, and may end with "# ${parts.score.heading}", got ${headings.map((heading) => `"# ${heading}"`).join(', ') || 'none'}`,
    );
  }
  const texts = sections.filter((_, index) => index % 2 === 1).map((text) => text.trim());
  const [first = '', later = '', answer = '', score] = texts;
  const format = { first, later, answer, ...(score === undefined ? {} : { score }) };
  for (const part of Object.keys(parts) as Part[]) refuseUnknownSlot(part, format[part] ?? '');
  return format;
}

function plainHeading(heading: string): string {
  return heading.trim().replace("'", '’');
}

function refuseUnknownSlot(part: Part, text: string): void {
  const { heading, slots } = parts[part];
  const used = [...text.matchAll(/\{\{(\w+)\}\}/g)].map(([, name = '']) => name);
  const unknown = used.find((name) => !slots.some((slot) => slot === name));
  if (unknown === undefined) return;
  throw new BoundaryError(
    'config',
    `the discussion format has {{${unknown}}} under "# ${heading}"; its slots are ${slots.join(', ')}`,
  );
}

/** The text with its slots filled; what is filled in is never searched for slots. */
export function fillSlots(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/\{\{(\w+)\}\}/g, (slot, name: string) => values[name] ?? slot);
}

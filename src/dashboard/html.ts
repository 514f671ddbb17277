/** Markup that is safe to put into a page as it is. */
export class Html {
  readonly markup: string;
  constructor(markup: string) {
    this.markup = markup;
  }
}

type Content = Html | string | number | undefined | readonly Content[];

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * Markup with values in it. Every value is escaped unless it is markup already, so that what an agent or a task wrote
 * can never become part of the page's structure; `undefined` is left out, lists are joined.
 */
export function html(pieces: TemplateStringsArray, ...values: readonly Content[]): Html {
  const filled = pieces.map((piece, at) => piece + markupOf(values[at]));
  return new Html(filled.join(''));
}

function markupOf(value: Content): string {
  if (value === undefined) return '';
  if (value instanceof Html) return value.markup;
  if (typeof value === 'string') return escaped(value);
  if (typeof value === 'number') return String(value);
  return value.map(markupOf).join('');
}

function escaped(text: string): string {
  // Control characters but tab and line breaks are not allowed in HTML and would hide text.
  const visible = text.replace(/[^\P{Cc}\t\n\r]/gu, '\u{fffd}');
  return visible.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}

const mark = '\u{fffe}';

/**
 * Text as SQLite keeps it on every version of Node: NUL, half surrogate pairs and U+FFFE itself, which models do
 * sample, become U+FFFE and four hexadecimal digits. Node 22 would cut text at a NUL, and UTF-8 has no half pairs.
 */
export function toStored(text: string): string {
  const isPlain = !text.includes('\0') && !text.includes(mark) && text.isWellFormed();
  if (isPlain) return text;
  return text.replace(/[\0\u{fffe}\p{Surrogate}]/gu, (character) => {
    return mark + character.charCodeAt(0).toString(16).padStart(4, '0');
  });
}

/** The text that `toStored` was given. */
export function fromStored(stored: string): string {
  if (!stored.includes(mark)) return stored;
  return stored.replace(/\u{fffe}([0-9a-f]{4})/gu, (_, digits: string) => {
    return String.fromCharCode(Number.parseInt(digits, 16));
  });
}

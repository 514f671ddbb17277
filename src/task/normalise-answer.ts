const SUPERSCRIPTS: Readonly<Record<string, string>> = {
  '⁰': '0',
  '¹': '1',
  '²': '2',
  '³': '3',
  '⁴': '4',
  '⁵': '5',
  '⁶': '6',
  '⁷': '7',
  '⁸': '8',
  '⁹': '9',
  '⁻': '-',
};

const NOT_UNITS = new Set(
  (
    'and not factorial squared cubed half third quarter dozen hundred thousand million billion times plus minus ' +
    'over root point pi sqrt sin cos tan log mod choose infinity frac'
  ).split(' '),
);

/** Rewrites that hold everywhere in an answer, in order. */
const REWRITES: readonly (readonly [RegExp, string])[] = [
  [/\\(?:begin|end)\{(?:equation|align|aligned|gather)\*?\}/g, ' '],
  [/\\[dtc]frac/g, '\\frac'],
  [/\\(?:left|right|bigg?|Bigg?)(?![A-Za-z])[lr]?\.?/g, ''],
  [/\\(?:displaystyle|textstyle|limits|boldsymbol)(?![A-Za-z])/g, ''],
  [/(?<=\d)(?:\{,\}|\\[,!](?!\\)|\\,)(?=\d{3}(?!\d))/g, ','],
  [/\\(?:quad|qquad)(?![A-Za-z])|\\[,;:! ]|~/g, ' '],
  [/\\(?:textbf|mathbf|textit|mathit|boxed|bm|emph)\s*\{([^{}]*)\}/g, '$1'],
  [/\s*\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\degree|°|\bdegrees?\b/g, ''],
  [/\\[$]|[$]|\\(?:pounds|euro)\b|[£€]/g, ''],
  [/\\(?:lt|leq?)(?![A-Za-z])/g, '<='],
  [/\\(?:gt|geq?)(?![A-Za-z])/g, '>='],
  [/(?<![A-Za-z\\])sqrt\s*\(([^()]*)\)/g, '\\sqrt{$1}'],
  [/√\s*(?:\(([^()]*)\)|(\w+))/g, '\\sqrt{$1$2}'],
  [/π|(?<![\\A-Za-z])pi(?![A-Za-z])/g, '\\pi '],
  [/×/g, '\\times '],
  [/[·⋅]/g, '\\cdot '],
  [/÷/g, '/'],
  [/∞|(?<![\\A-Za-z])infinity(?![A-Za-z])/gi, '\\infty '],
  // People who write `2^10` or `2**10` mean all of the ten.
  [/(?:\*\*|\^)\s*(-?\d{2,}|-\d)/g, '^{$1}'],
  [/\*\*/g, '^'],
];

/**
 * The same answer in a plain spelling: no layout, money and degree signs, units, choice labels or closing punctuation.
 * Percent signs stay, because 50 % may be 50 or 0.5; the comparison decides.
 */
export function normaliseAnswer(text: string): string {
  const unwrapped = dropUnits(unwrapText(rewrite(plainCharacters(stripMarkup(text)))));
  return dropThousands(
    dropLabel(unwrapped)
      .replace(/^(?:\s*(?:\\approx|≈|\\therefore|:|=))+\s*/, '')
      .replace(/[\s.,;:/]+$/, '')
      .replace(/\s+/g, ' ')
      .trim(),
  );
}

function stripMarkup(text: string): string {
  const trimmed = text.trim();
  const inner = /^(?:\*\*([^*]+)\*\*|\\\((.+)\\\)|\\\[(.+)\\\]|\\boxed\{(.*)\})\.?$/s.exec(trimmed);
  const content = inner?.slice(1).find((group) => group !== undefined);
  return content === undefined ? trimmed : stripMarkup(content);
}

function plainCharacters(text: string): string {
  return text
    .replace(/(\d)([½¼¾⅓⅔])/g, '$1 $2')
    .replace(/[⁻⁰¹²³⁴-⁹]+/g, (run) => `^{${[...run].map((sign) => SUPERSCRIPTS[sign]).join('')}}`)
    .normalize('NFKC')
    .replace(/[−–—]/g, '-')
    .replaceAll('⁄', '/');
}

function rewrite(text: string): string {
  return REWRITES.reduce((current, [pattern, plain]) => current.replace(pattern, plain), text);
}

/** `\text{}` after a number holds a unit and goes; elsewhere it holds the answer and stays as plain text. */
function unwrapText(text: string): string {
  return text
    .replace(
      /(\d[})]*)\s*\\(?:text|mathrm|mbox|operatorname|hbox)\s*\{([^{}]*)\}(?:\^\{?[23]\}?)?/g,
      (_, before: string, unit: string) =>
        // Magnitudes and conjunctions carry meaning.
        /\d|million|billion|thousand|\bor\b|\band\b/.test(unit) ? `${before} ${unit}` : before,
    )
    .replace(/\\(?:text|mathrm|mbox|operatorname|hbox|textrm|mathsf)\s*\{([^{}]*)\}/g, '$1');
}

/** `(A) 70` says 70; `A` alone stays. */
function dropLabel(text: string): string {
  return text.replace(/^\s*\(?[A-J][).:]\)?\s*(?=\S)/, '');
}

/** Words after a closing number: `25 apples`, `12 square units`, `3 cm^2`. */
function dropUnits(text: string): string {
  const found = /^(.*[\d})])\s*([A-Za-z][A-Za-z\s./-]*)(?:\^\{?[23]\}?)?$/.exec(text.slice(0, 300));
  const [, value, words] = found ?? [];
  if (value === undefined || words === undefined || text.length > 300) return text;
  const parts = words
    .toLowerCase()
    .split(/[^a-z]+/)
    .filter((word) => word !== '');
  const areUnits = parts.every((word, index) => isUnit(word, index > 0) && !NOT_UNITS.has(word));
  return areUnits ? value : text;
}

function isUnit(word: string, follows: boolean): boolean {
  return (
    word.length >= 3 || /^(?:cm|mm|km|kg|ft|in|mi|hr?s?)$/.test(word) || (follows && word === 'of')
  );
}

function dropThousands(text: string): string {
  return /^[-+]?\d{1,3}(?:,\s?\d{3})+(?:\.\d+)?%?$/.test(text) ? text.replace(/,\s?/g, '') : text;
}

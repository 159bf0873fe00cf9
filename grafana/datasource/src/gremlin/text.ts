/**
 * A Gremlin text, of either dialect, as tokens and as a chain of steps. It need not be whole: somebody may be typing it. Pure.
 *
 * As the hub's own lexer reads it (gremlin_api/language/tokens.py).
 */

export type TokenKind = 'name' | 'string' | 'number' | 'mark' | 'variable';

export interface Token {
  kind: TokenKind;
  text: string;
  start: number;
  end: number;
}

/** Of a variable of a dashboard's, as Grafana writes it: `$name`, `${name:format}`, `[[name]]`. */
export const VARIABLE = /\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.([^:^}]+))?(?::([^}]+))?\}/g;

const TOKEN = new RegExp(
  [
    `(?<blank>\\s+|//[^\\r\\n]*)`,
    `(?<string>"(?:[^"\\\\]|\\\\[^])*(?:"|\\\\?$)|'(?:[^'\\\\]|\\\\[^])*(?:'|\\\\?$))`,
    `(?<variable>${VARIABLE.source})`,
    `(?<number>[+-]?[0-9][0-9A-Za-z_]*(?:\\.[0-9][0-9A-Za-z_]*)?(?:[eE][+-]?[0-9]+)?)`,
    `(?<name>(?:[A-Za-z_]|[^\\x00-\\x7f])(?:\\w|[^\\x00-\\x7f])*)`,
    `(?<mark>[^])`,
  ].join('|'),
  'y'
);

/** Its tokens; blanks and comments are none. */
export function tokens(text: string): Token[] {
  const found: Token[] = [];
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(text); match; match = TOKEN.exec(text)) {
    const groups = match.groups!;
    const kind = (['name', 'string', 'number', 'mark', 'variable'] as const).find((one) => groups[one] !== undefined);
    if (kind) {
      found.push({ kind, text: match[0], start: match.index, end: TOKEN.lastIndex });
    }
  }
  return found;
}

export type Dialect = 'skydive' | 'tinkerpop';

/** A step of the chain itself, not of one within its arguments. */
export interface Step {
  name: string;
  start: number;
  /** Behind its closing parenthesis, or where the text ends. */
  end: number;
}

export interface Chain {
  /** `G` or `g`; none: the text begins otherwise. */
  dialect?: Dialect;
  /** Behind the `G` or `g`. */
  source: number;
  steps: Step[];
}

/** The steps of a text. */
export function chainOf(text: string): Chain {
  const every = tokens(text);
  const [first] = every;
  if (first?.kind !== 'name' || (first.text !== 'G' && first.text !== 'g')) {
    return { source: 0, steps: [] };
  }
  const steps: Step[] = [];
  let depth = 0;
  for (const [at, token] of every.entries()) {
    if (token.kind === 'mark' && (token.text === '(' || token.text === ')')) {
      depth += token.text === '(' ? 1 : -1;
      if (depth === 0 && steps.length) {
        steps[steps.length - 1].end = token.end;
      }
    } else if (token.kind === 'name' && depth === 0 && every[at - 1]?.text === '.') {
      steps.push({ name: token.text, start: token.start, end: text.length });
    }
  }
  return { dialect: first.text === 'G' ? 'skydive' : 'tinkerpop', source: first.end, steps };
}

/** Whether a step has one of these names, which Skydive's dialect reads in any case. */
export function isNamed(step: Step | undefined, ...names: string[]): boolean {
  return step !== undefined && names.some((name) => name.toLowerCase() === step.name.toLowerCase());
}

/** A text as a literal of Gremlin's. */
export function literal(value: string): string {
  return `'${escaped(value)}'`;
}

/** What stands in a literal and means this text. */
export function escaped(value: string): string {
  return value.replace(/[\\'"]/g, '\\$&');
}

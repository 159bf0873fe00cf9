/**
 * A dashboard's variables in a Gremlin text. A value stands in a literal, as a number, or as a list of these: whatever it
 * is, it never changes what the query does. Pure.
 */

import { Token, VARIABLE, escaped, literal, tokens } from './text';

/** What stands for a variable. */
export interface Value {
  values: string[];
  /** Somebody wrote it as it is to be (`${name:regex}`, a value of their own for All): a pattern may be one. */
  formatted?: boolean;
}

/** What stands for a variable as it is written (`$name`, `${name:csv}` …); undefined: there is no such variable. */
export type Values = (written: string) => Value | undefined;

/** The text with the variables' values. @throws Error where several values stand and one may. */
export function interpolated(text: string, values: Values): string {
  const every = tokens(text);
  let [made, done] = ['', 0];
  for (const [at, token] of every.entries()) {
    made += between(text.slice(done, token.start)) + valued(token, every.slice(0, at), values);
    done = token.end;
  }
  return made + between(text.slice(done));
}

/** Blanks stay, comments go: a value could end one. */
function between(blank: string): string {
  return blank.replace(/\/\/[^\r\n]*/g, '');
}

function valued(token: Token, before: Token[], values: Values): string {
  if (token.kind === 'variable') {
    const found = values(token.text);
    return found ? listed(found.values.map(scalar), callOf(before)) : token.text;
  }
  return token.kind === 'string' ? inLiteral(token, before, values) : token.text;
}

function scalar(value: string): string {
  return /^-?(0|[1-9]\d{0,17})(\.\d+)?$/.test(value) ? value : literal(value);
}

/** One value as it is, several as what is one of them. */
function listed(values: string[], call: Token | undefined): string {
  const list = values.join(', ');
  return values.length === 1 || LISTS.has(nameOf(call))
    ? list
    : `${call && /^[a-z]/.test(call.text) ? 'within' : 'Within'}(${list})`;
}

function nameOf(call: Token | undefined): string {
  return call?.text.toLowerCase() ?? '';
}

function inLiteral(token: Token, before: Token[], values: Values): string {
  const call = callOf(before);
  const pattern = PATTERNS.has(nameOf(call));
  const quote = token.text[0];
  if (token.text.length < 2 || !token.text.endsWith(quote)) {
    return token.text; // it does not end: the hub says so
  }
  const inner = token.text.slice(1, -1);
  const [whole] = [...inner.matchAll(VARIABLE)];
  const several = whole?.[0] === inner ? values(inner)?.values : undefined;
  if (several && several.length !== 1 && !pattern) {
    return listed(
      several.map((one) => `${quote}${escaped(one)}${quote}`),
      call
    );
  }
  const filled = inner.replace(VARIABLE, (written: string, ...rest: unknown[]) => {
    const found = values(written);
    if (!found) {
      return written;
    }
    const place = rest.find((one): one is number => typeof one === 'number')!;
    // a backslash that stands alone before it would take the value's own away
    const alone = /\\*$/.exec(inner.slice(0, place))![0].length % 2 ? '\\' : '';
    const text = joined(found, pattern, written);
    // TinkerPop's patterns fit a part of a text, and 'h1' is a part of h10
    const exact = pattern && !found.formatted && before[0].text === 'g' && written === inner;
    return alone + escaped(exact ? `^${text}$` : text);
  });
  return quote + filled + quote;
}

function joined({ values, formatted }: Value, pattern: boolean, written: string): string {
  const plain = pattern && !formatted ? values.map(quoted) : values;
  if (plain.length === 1) {
    return plain[0];
  }
  if (!pattern) {
    throw new Error(
      `${written} has ${plain.length} values, and here stands one: write Within(${written}), or Regex('${written}')`
    );
  }
  return `(${plain.join('|')})`;
}

/** A text as a pattern that only it fits. */
function quoted(value: string): string {
  return value.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

const LISTS = new Set(['within', 'without']);
const PATTERNS = new Set(['regex', 'notregex']);

/** The name of the call within whose parentheses the next token stands. */
function callOf(before: Token[]): Token | undefined {
  let depth = 0;
  for (let at = before.length - 1; at > 0; at--) {
    const { text, kind } = before[at];
    if (kind === 'mark' && text === ')') {
      depth++;
    } else if (kind === 'mark' && text === '(') {
      if (depth === 0) {
        return before[at - 1];
      }
      depth--;
    }
  }
  return undefined;
}

/** What may stand where somebody types. Pure. */

import { Grammar, Owner, Words } from '../hub/answers';
import { given } from './given';
import { Dialect, Token, chainOf, tokens } from './text';

/** What is to be suggested, in place of the text from `start` to where the cursor is. */
export interface Place {
  what: Array<'steps' | 'predicates' | 'keys' | 'values'>;
  start: number;
  /** Whether it stands within quotes already. */
  quoted: boolean;
  owner: Owner;
  /** Of values: the key that has them. */
  key?: string;
}

interface Call {
  name: string;
  /** Each argument's tokens so far; the last one is being typed. */
  arguments: Token[][];
}

/** TinkerPop's steps whose first argument is a key, and those whose arguments are labels: values of a key. */
const KEY_STEPS = new Set(['has', 'hasNot', 'values', 'valueMap', 'properties', 'by', 'elementMap', 'propertyMap']);
const LABELS: Record<string, { key: string; owner: Owner }> = {
  hasLabel: { key: 'Type', owner: 'nodes' },
  ...Object.fromEntries(
    ['out', 'in', 'both', 'outE', 'inE', 'bothE'].map((name) => [
      name,
      { key: 'RelationType', owner: 'edges' as const },
    ])
  ),
};

export function grammarOf(words: Words, dialect: Dialect): Grammar {
  return dialect === 'skydive' ? words.Skydive : words.TinkerPop;
}

/** What may stand at a place in a text; undefined: nothing that we know. */
export function placeAt(text: string, cursor: number, words: Words): Place | undefined {
  const before = text.slice(0, cursor);
  const chain = chainOf(before);
  if (!chain.dialect) {
    return undefined;
  }
  const every = tokens(before);
  const last = every[every.length - 1];
  const open = last?.kind === 'string' && last.end === cursor && !closed(last) ? last : undefined;
  const word = !open && last?.kind === 'name' && last.end === cursor ? last : undefined;
  const start = open ? open.start + 1 : (word?.start ?? cursor);
  const settled = open || word ? every.slice(0, -1) : every;
  const kind = given(chain.steps);
  const owner: Owner = kind === 'flows' || kind === 'edges' ? kind : 'nodes';
  const place = { start, quoted: Boolean(open), owner };
  const previous = settled[settled.length - 1];
  if (!open && previous?.text === '.') {
    return { ...place, what: ['steps'] };
  }
  const calls = callsAround(settled);
  return previous?.text === '(' || previous?.text === ','
    ? argumentAt(calls, place, grammarOf(words, chain.dialect), chain.dialect)
    : undefined;
}

function closed(token: Token): boolean {
  return token.text.length > 1 && token.text.endsWith(token.text[0]) && !/(^|[^\\])(\\\\)*\\.$/.test(token.text);
}

/** The calls within whose parentheses the text ends, the innermost last. */
function callsAround(every: Token[]): Call[] {
  const calls: Call[] = [];
  for (const [at, token] of every.entries()) {
    if (token.kind === 'mark' && token.text === '(') {
      calls.push({ name: every[at - 1]?.text ?? '', arguments: [[]] });
    } else if (token.kind === 'mark' && token.text === ')') {
      calls.pop();
    } else if (token.kind === 'mark' && token.text === ',') {
      calls[calls.length - 1]?.arguments.push([]);
    } else {
      calls[calls.length - 1]?.arguments.at(-1)!.push(token);
    }
  }
  return calls;
}

function argumentAt(calls: Call[], place: Omit<Place, 'what'>, grammar: Grammar, dialect: Dialect): Place | undefined {
  const call = calls[calls.length - 1];
  const outer = calls[calls.length - 2];
  const at = call.arguments.length - 1;
  const labels = dialect === 'tinkerpop' ? LABELS[call.name] : undefined;
  if (labels) {
    return { ...place, ...labels, what: ['values'] };
  }
  const kind = kindOf(call.name, at, grammar, dialect);
  const predicate = lookUp(grammar.Predicates, call.name) !== undefined;
  if (kind === 'K') {
    return { ...place, what: ['keys'] };
  }
  // what stands in a predicate is compared with what stands before the predicate
  const key =
    predicate && kind !== 'V*' && outer
      ? literalOf(outer.arguments[outer.arguments.length - 2])
      : literalOf(call.arguments[at - 1]);
  if (kind === undefined || key === undefined) {
    return undefined;
  }
  return { ...place, key, what: place.quoted || predicate ? ['values'] : ['values', 'predicates'] };
}

/** `K`: a key; `V`: a value; `V*`: a value of pairs within a predicate; undefined: another thing. */
function kindOf(name: string, at: number, grammar: Grammar, dialect: Dialect): string | undefined {
  const step = lookUp(grammar.Steps, name);
  const predicate = lookUp(grammar.Predicates, name);
  if (dialect === 'tinkerpop') {
    if (predicate) {
      return 'V';
    }
    return KEY_STEPS.has(name) && (at === 0 || name !== 'has') ? 'K' : name === 'has' ? 'V' : undefined;
  }
  const kinds = (step ?? predicate ?? []).map((signature) => letterAt(signature, at));
  const found = kinds.find((kind) => kind === 'K') ?? kinds.find((kind) => kind === 'V' || kind === 'S');
  if (found === 'S' && !predicate) {
    return undefined;
  }
  return found === 'K' ? 'K' : found && predicate && predicate.some((one) => one.startsWith('K')) ? 'V*' : found && 'V';
}

/** The letter of a signature for an argument: `KV*` are pairs, `N?` may be left out. */
function letterAt(signature: string, at: number): string | undefined {
  let left = at;
  for (const part of signature.split(' ')) {
    const letters = part.replace(/[*+?]$/, '');
    if (/[*+]$/.test(part)) {
      return letters[left % letters.length];
    }
    if (left < letters.length) {
      return letters[left];
    }
    left -= letters.length;
  }
  return undefined;
}

/** By name, which Skydive's dialect reads in any case. */
function lookUp(table: Record<string, string[]>, name: string): string[] | undefined {
  return table[name] ?? table[Object.keys(table).find((one) => one.toLowerCase() === name.toLowerCase()) ?? ''];
}

function literalOf(argument: Token[] | undefined): string | undefined {
  const [token] = argument ?? [];
  return token?.kind === 'string' && closed(token) ? token.text.slice(1, -1).replace(/\\([\\'"])/g, '$1') : undefined;
}

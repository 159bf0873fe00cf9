import { dateTime } from '@grafana/data';

import { recorded } from '../testing/recorded';
import { Words } from '../hub/answers';
import { placeAt } from './completion';
import { Condition, asGraph, given, measured, withConditions } from './given';
import { Period, atOf, periodOf, timed } from './moments';
import { chainOf, escaped, tokens } from './text';
import { Value, interpolated } from './variables';

describe('the steps of a text', () => {
  it.each([
    ["G.V().Has('Name', 'a.b)').Out()", ['V', 'Has', 'Out']],
    ["G.V().Has('Name', Within('x', \"y\"))  .Limit(1)", ['V', 'Has', 'Limit']],
    ["G.V().Has('it\\'s.V()', 1) // .Out()\n.In()", ['V', 'Has', 'In']],
    ['g.V().where(__.out().count().is(gt(1))).values("Name")', ['V', 'where', 'values']],
    ["G.V().Has('unfinished", ['V', 'Has']],
    ['G', []],
    ['select 1', []],
  ])('%s', (text, names) => {
    expect(chainOf(text).steps.map((step) => step.name)).toEqual(names);
  });

  it.each([
    ['G', 'graph'],
    ["G.V().Has('Type', 'host')", 'nodes'],
    ['G.V().outE()', 'edges'],
    ['G.V().Flows().Limit(1)', 'flows'],
    ['G.Flows().Nodes()', 'nodes'],
    ['G.V().Metrics()', 'metrics'],
    ['G.V().SubGraph()', 'part'],
    ['G.V().SubGraph().E()', 'edges'],
    ['G.V().Values("Name")', 'other'],
  ])('%s gives %s', (text, kind) => {
    expect(given(chainOf(text).steps)).toBe(kind);
  });
});

describe('a graph is asked for', () => {
  it.each([
    ['G.V()', 'G.V().SubGraph()'],
    ['G.E() ', 'G.E().SubGraph()'],
    ["G.V().ShortestPathTo(Metadata('Type', 'host'))", "G.V().ShortestPathTo(Metadata('Type', 'host')).SubGraph()"],
    ['G.V().SubGraph()', 'G.V().SubGraph()'],
    ['G', 'G'],
    ['g.V()', 'g.V()'],
  ])('%s', (text, whole) => {
    expect(asGraph(text)).toBe(whole);
  });
});

describe('metrics are asked for with the names of what they are of', () => {
  it.each([
    ["G.V().Has('Name', 'eth0')", "G.V().Has('Name', 'eth0').Metrics()", "G.V().Has('Name', 'eth0').Dedup()", 'nodes'],
    ['G.V().Metrics("Ovs.Metric")', 'G.V().Metrics("Ovs.Metric")', 'G.V().Dedup()', 'nodes'],
    ['G.Flows().Limit(3)', 'G.Flows().Limit(3).Metrics()', 'G.Flows().Limit(3)', 'flows'],
    ['G.V().Metrics().Sum()', 'G.V().Metrics().Sum()', undefined, 'nodes'],
    ['G.V().Metrics().Aggregates(60)', 'G.V().Metrics().Aggregates(60)', undefined, 'nodes'],
  ])('%s', (text, whole, named, of) => {
    expect(measured(text)).toEqual({ text: whole, named, of });
  });
});

describe('the range of a dashboard', () => {
  const past: Period = { from: 1_000_000, to: 1_060_500, live: false };
  const live: Period = { ...past, live: true };

  it.each([
    ['G.V()', 'end', past, 'G.At(1060500).V()'],
    ['G.V()', 'end', live, 'G.V()'],
    ['G.V()', 'start', live, 'G.At(1000000).V()'],
    ['G.V()', 'range', past, 'G.At(1060500, 61).V()'],
    ['G.V()', 'range', live, 'G.At(NOW, 61).V()'],
    ['G.V()', 'now', past, 'G.V()'],
    ['G', 'end', past, 'G.At(1060500)'],
    ["G.At('-5m').V()", 'end', past, "G.At('-5m').V()"],
    ["G.context('-5m').V()", 'range', past, "G.context('-5m').V()"],
  ] as const)('%s at the %s', (text, moment, period, whole) => {
    expect(timed(text, moment, period)).toEqual({ text: whole });
  });

  it.each([
    ['end', past, '1060500'],
    ['end', live, undefined],
    ['range', past, '1000000/1060500'],
    ['range', live, '1000000/now'],
  ] as const)("TinkerPop's, at the %s", (moment, period, at) => {
    expect(timed('g.V()', moment, period)).toEqual({ text: 'g.V()', at });
  });

  it('ends now where it says so', () => {
    const [from, to] = [dateTime(1_000), dateTime(2_000)];
    expect(periodOf({ from, to, raw: { from: 'now-1s', to: 'now' } }, 5_000).live).toBe(true);
    expect(periodOf({ from, to, raw: { from, to } }, 5_000)).toEqual({ from: 1_000, to: 2_000, live: false });
    expect(periodOf({ from, to, raw: { from, to } }, 1_500).live).toBe(true);
    expect(atOf('end', { from: 1, to: 2, live: false })).toBe('2');
  });
});

describe("a dashboard's filters", () => {
  const type: Condition = { key: 'Type', operator: '=', value: 'veth' };
  const application: Condition = { key: 'Flow.Application', operator: '!=', value: 'DNS' };

  it.each([
    ['G.V()', "G.V().Has('Type', 'veth')"],
    ["G.V().Has('Name', 'a').Out().Limit(3)", "G.V().Has('Name', 'a').Out().Has('Type', 'veth').Limit(3)"],
    ['G.V().Metrics().Sum()', "G.V().Has('Type', 'veth').Metrics().Sum()"],
    ["G.Flows().Sort(DESC, 'Last')", "G.Flows().Has('Application', NE('DNS')).Sort(DESC, 'Last')"],
    ['G.E()', 'G.E()'],
    ['G', 'G'],
    ['g.V()', 'g.V()'],
  ])('%s', (text, whole) => {
    expect(withConditions(text, [type, application])).toBe(whole);
  });

  it.each([
    [{ key: 'MTU', operator: '>', value: '1500' }, "Has('MTU', GT(1500))"],
    [{ key: 'Name', operator: '=', value: '"10"' }, "Has('Name', '10')"],
    [{ key: 'Name', operator: '=~', value: 'eth.*' }, "Has('Name', Regex('eth.*'))"],
    [{ key: 'Name', operator: '=|', value: 'a', values: ['a', "b'"] }, "Has('Name', Within('a', 'b\\''))"],
    [{ key: 'Name', operator: '=', value: '10' }, "Has('Name', Within(10, '10'))"],
    [{ key: 'MTU', operator: '!=', value: '1500' }, "Has('MTU', Without(1500, '1500'))"],
    [{ key: 'MTU', operator: '<=', value: '1500' }, "Has('MTU', LTE(1500))"],
    [{ key: 'MTU', operator: '>=', value: '1500' }, "Has('MTU', GTE(1500))"],
    [{ key: 'Name', operator: '!=|', value: 'a', values: ['a', '1'] }, "Has('Name', Without('a', 1, '1'))"],
    [{ key: 'LinkDetected', operator: '=', value: 'true' }, "Has('LinkDetected', Within(TRUE, 'true'))"],
    [{ key: "x').V(", operator: '=', value: "') .V('" }, "Has('x\\').V(', '\\') .V(\\'')"],
  ])('%j', (condition, said) => {
    expect(withConditions('G.V()', [condition])).toBe(`G.V().${said}`);
  });

  it('of an operator that nobody knows', () => {
    expect(() => withConditions('G.V()', [{ ...type, operator: '!~' }])).toThrow('!~ is not known');
  });
});

describe('variables', () => {
  const known: Record<string, Value> = {
    $host: { values: ['h1'] },
    $hosts: { values: ['h1', "h'2"] },
    $none: { values: [] },
    $n: { values: ['42'] },
    $dotted: { values: ['10.0.0.1'] },
    $__to: { values: ['1700000000000'] },
    '${hosts:regex}': { values: ['(h1|h2)'], formatted: true },
    '${all}': { values: ['.*'], formatted: true },
    $evil: { values: ["x') // \n.V().Has('Name', '\\"] },
  };
  const fill = (text: string) => interpolated(text, (written) => known[written]);

  it.each([
    ["G.V().Has('Name', '$host')", "G.V().Has('Name', 'h1')"],
    ["G.V().Has('Name', $host)", "G.V().Has('Name', 'h1')"],
    ["G.V().Has('Name', '$hosts')", "G.V().Has('Name', Within('h1', 'h\\'2'))"],
    ["G.V().Has('Name', Within('$hosts', 'x'))", "G.V().Has('Name', Within('h1', 'h\\'2', 'x'))"],
    ["G.V().Has('Name', $hosts, 'Type', $n)", "G.V().Has('Name', Within('h1', 'h\\'2'), 'Type', 42)"],
    ["G.V().Has('Name', Within($hosts))", "G.V().Has('Name', Within('h1', 'h\\'2'))"],
    ["G.V().Has('Name', '$none')", "G.V().Has('Name', Within())"],
    ["g.V().has('Name', '$hosts')", "g.V().has('Name', within('h1', 'h\\'2'))"],
    ["G.V().Has('Name', Regex('$hosts.*'))", "G.V().Has('Name', Regex('(h1|h\\'2).*'))"],
    ["G.V().Has('IPV4', Regex('$dotted/.*'))", "G.V().Has('IPV4', Regex('10\\\\.0\\\\.0\\\\.1/.*'))"],
    ["G.V().Has('Name', Regex('${hosts:regex}'))", "G.V().Has('Name', Regex('(h1|h2)'))"],
    ["G.V().Has('Name', Regex('${all}'))", "G.V().Has('Name', Regex('.*'))"],
    ["G.V().Has('Name', Regex('$host'))", "G.V().Has('Name', Regex('h1'))"],
    ["g.V().has('Name', regex('$host'))", "g.V().has('Name', regex('^h1$'))"],
    ["g.V().has('Name', TextP.regex('$hosts'))", "g.V().has('Name', TextP.regex('^(h1|h\\'2)$'))"],
    ["g.V().has('Name', regex('$host.*'))", "g.V().has('Name', regex('h1.*'))"],
    ["g.V().has('Name', regex('${hosts:regex}'))", "g.V().has('Name', regex('(h1|h2)'))"],
    ['G.V().Limit($n)', 'G.V().Limit(42)'],
    ['G.At($__to).V()', 'G.At(1700000000000).V()'],
    ["G.V().Has('Name', 'a-$host-$n')", "G.V().Has('Name', 'a-h1-42')"],
    ["G.V().Has('Name', '$unknown')", "G.V().Has('Name', '$unknown')"],
    ['G.V() // $host\n.Limit(1)', 'G.V() \n.Limit(1)'],
    ["G.V().Has('Name', '$host", "G.V().Has('Name', '$host"],
  ])('%s', (text, whole) => {
    expect(fill(text)).toBe(whole);
  });

  it('of which several stand where one may', () => {
    expect(() => fill("G.V().Has('Name', 'a-$hosts')")).toThrow('$hosts has 2 values');
  });

  // the value never changes which tokens there are: whatever it is, and however it stands there
  const VALUES = [
    known.$evil.values[0],
    "'",
    '"',
    '\\',
    "\\'",
    'a\\',
    '${host}',
    '$host',
    '//',
    '\n',
    '") .V("',
    '1).V(',
    '٣',
    '1e9',
    '-',
    '',
  ];
  const TEXTS = [
    "G.V().Has('Name', '$v')",
    'G.V().Has("Name", "$v")',
    "G.V().Has('Name', 'a\\$v')",
    "G.V().Has('Name', '\\\\$v\\\\')",
    'G.V().Has("Name", $v)',
    "G.V().Has('Name', Regex('$v'))",
    'G.V().Has($v, 1)',
    'G.V().$v()',
  ];
  it.each(TEXTS.flatMap((text) => VALUES.map((value) => [text, value])))('%s is what it was with %j', (text, value) => {
    const made = interpolated(text, (written) => (written === '$v' ? { values: [value] } : undefined));
    const kinds = (one: string) =>
      tokens(one).map((token) =>
        token.kind === 'variable' || token.kind === 'number'
          ? 'string'
          : token.kind === 'mark'
            ? token.text
            : token.kind
      );
    expect(kinds(made)).toEqual(kinds(text));
    expect(
      tokens(made).every(
        (token) => token.kind !== 'string' || (token.text.length > 1 && token.text.endsWith(token.text[0]))
      )
    ).toBe(true);
  });

  it('mean what they are', () => {
    for (const value of VALUES) {
      expect(escaped(value).replace(/\\([\\'"])/g, '$1')).toBe(value);
    }
  });
});

describe('what may stand where the cursor is', () => {
  const words = recorded<Words>('words');
  const at = (text: string) => placeAt(text.replace('|', ''), text.indexOf('|'), words);

  it.each([
    ['G.|', { what: ['steps'], start: 2 }],
    ['G.V().Ha|', { what: ['steps'], start: 6 }],
    ["G.V().Has('|')", { what: ['keys'], quoted: true, owner: 'nodes', start: 11 }],
    ['G.V().Has(|', { what: ['keys'], quoted: false }],
    ["G.V().Has('Name', '|')", { what: ['values'], key: 'Name', owner: 'nodes', quoted: true }],
    ["G.V().Has('Name', |)", { what: ['values', 'predicates'], key: 'Name', quoted: false }],
    ["G.V().Has('Name', Wi|)", { what: ['values', 'predicates'], key: 'Name' }],
    ["G.V().Has('Name', Within('a', '|'))", { what: ['values'], key: 'Name' }],
    ["G.V().Has('Name', 'a', '|')", { what: ['keys'] }],
    ["G.V().Has('Name', 'a', 'Type', 'v|')", { what: ['values'], key: 'Type' }],
    ["G.V().has('Name', 'a', 'Type', 'v|')", { what: ['values'], key: 'Type' }],
    ["G.Flows().Has('|')", { what: ['keys'], owner: 'flows' }],
    ["G.Flows().Has('Application', '|')", { what: ['values'], owner: 'flows', key: 'Application' }],
    ["G.V().OutE('RelationType', '|')", { what: ['values'], owner: 'edges', key: 'RelationType' }],
    ["G.V().Values('|')", { what: ['keys'] }],
    ["G.V().Sort(DESC, '|')", { what: ['keys'] }],
    ["G.V().ShortestPathTo(Metadata('|'))", { what: ['keys'] }],
    ["G.V().ShortestPathTo(Metadata('Name', '|'))", { what: ['values'], key: 'Name' }],
    ["g.V().has('|')", { what: ['keys'] }],
    ["g.V().has('Name', '|')", { what: ['values'], key: 'Name' }],
    ["g.V().has('Name', within('|'))", { what: ['values'], key: 'Name' }],
    ["g.V().hasLabel('|')", { what: ['values'], key: 'Type', owner: 'nodes' }],
    ["g.V().out('|')", { what: ['values'], key: 'RelationType', owner: 'edges' }],
  ])('%s', (text, place) => {
    expect(at(text)).toMatchObject(place);
  });

  it.each(['|', 'V().|', 'G|', 'G.V()|', 'G.V().Limit(|)', "G.V().Has('Name')|"])('nothing: %s', (text) => {
    expect(at(text)).toBeUndefined();
  });
});

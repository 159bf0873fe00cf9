import { FieldType, availableIconsIndex, createTheme, standardTransformers } from '@grafana/data';
import { firstValueFrom, of } from 'rxjs';

import { Difference, Element, Flow, Json, Metrics, Part, Path, Trace } from '../hub/answers';
import { elementsOf } from '../hub/graphson';
import { expectFrame, expectGraph, isColor, rowsOf, valuesOf } from '../testing/frames';
import { recorded } from '../testing/recorded';
import { MOST_CHANGES, changeFrames, changesBetween, changesOf, namesOf } from './changes';
import { flowFrames } from './flows';
import { MOST_NODES, graphFrames } from './graph';
import { Targets, nodeLinks, traceLinks } from './links';
import { ARCS, ICONS, LINES } from './looks';
import { pathFrames } from './path';
import { MOST_SERIES, seriesFrames } from './series';
import { tableFrames } from './table';
import { traceFrames } from './trace';

const targets: Targets = { own: { uid: 'us', name: 'Skytrail' } };

function element(id: string, metadata: Element['Metadata'], more: Partial<Element> = {}): Element {
  return {
    ID: id,
    Metadata: metadata,
    Host: 'h1',
    Origin: 'agent.h1',
    CreatedAt: 1e12,
    UpdatedAt: 1e12,
    DeletedAt: null,
    Revision: 1,
    ...more,
  };
}

describe('the node graph', () => {
  const parts = recorded<Part[]>('graph');
  const [part] = parts;

  it('has every node and edge of the answer', () => {
    const frames = graphFrames(parts, { targets });
    expectGraph(frames);
    const [nodes, edges] = frames;
    expect(nodes.name).toBe('nodes');
    expect(edges.name).toBe('edges');
    expect(valuesOf(nodes, 'id')).toEqual(part.Nodes.map((node) => node.ID));
    expect(valuesOf(nodes, 'title')).toEqual(part.Nodes.map((node) => node.Metadata.Name));
    expect(valuesOf(nodes, 'subtitle')).toContain('bridge · h1');
    expect(rowsOf(edges).map((row) => [row.source, row.target, row.mainstat])).toEqual(
      part.Edges.map((edge) => [edge.Parent, edge.Child, edge.Metadata.RelationType])
    );
  });

  it('shows the first address, what it carries, and the state as an arc', () => {
    const at = part.Nodes.findIndex((node) => node.Metadata.Type === 'veth');
    const { IPV4, State, LastUpdateMetric, MTU } = part.Nodes[at].Metadata as {
      IPV4: string[];
      State: string;
      LastUpdateMetric: Record<string, number>;
      MTU: number;
    };
    const [nodes] = graphFrames(parts, { targets });
    const row = rowsOf(nodes)[at];
    expect(row.mainstat).toBe(IPV4[0]);
    expect(State).toBe('UP');
    expect([row.arc__up, row.arc__host, row.icon]).toEqual([1, 0, '']);
    const host = rowsOf(nodes)[part.Nodes.findIndex((node) => node.Metadata.Type === 'host')];
    expect([host.arc__up, host.arc__host, host.icon]).toEqual([0, 1, 'monitor']);
    const rate =
      ((LastUpdateMetric.RxBytes + LastUpdateMetric.TxBytes) * 1000) / (LastUpdateMetric.Last - LastUpdateMetric.Start);
    expect(Number.parseFloat(String(row.secondarystat))).toBeCloseTo(rate > 1000 ? rate / 1000 : rate, 0);
    expect(row.detail__mtu).toBe(String(MTU));
    expect(row.detail__ipv4).toBe(IPV4.join(', '));
  });

  it('shows the keys that it is asked for', () => {
    const [nodes] = graphFrames(parts, { targets, mainStat: 'MTU', secondaryStat: '@Host' });
    const at = part.Nodes.findIndex((node) => node.Metadata.MTU);
    expect(rowsOf(nodes)[at]).toMatchObject({ mainstat: String(part.Nodes[at].Metadata.MTU), secondarystat: 'h1' });
  });

  it('has of several revisions the newest, and no edge without an end', () => {
    const [old, young] = [element('n', { Name: 'old' }), element('n', { Name: 'new' }, { UpdatedAt: 2e12 })];
    const hanging = element('e', { RelationType: 'layer2' }, { Parent: 'n', Child: 'gone' });
    const frames = graphFrames([{ Nodes: [young, old], Edges: [hanging] }], { targets });
    expectGraph(frames);
    expect(valuesOf(frames[0], 'title')).toEqual(['new']);
    expect(frames[1]).toHaveLength(0);
  });

  it('says when it is more than Grafana draws, and what to do', () => {
    const many = (count: number) => Array.from({ length: count }, (_, at) => element(`n${at}`, { Name: `n${at}` }));
    expect(graphFrames([{ Nodes: many(MOST_NODES), Edges: [] }], { targets })[0].meta?.notices).toEqual([]);
    const [notice] = graphFrames([{ Nodes: many(MOST_NODES + 1), Edges: [] }], { targets })[0].meta!.notices!;
    expect(notice.text).toMatch(/^1501 nodes: Grafana draws 1500 at most.*Has\(/);
  });

  it('is the same by TinkerPop', () => {
    const data = elementsOf([
      ...recorded<{ result: { data: Json[] } }>('vertices').result.data,
      ...recorded<{ result: { data: Json[] } }>('edges').result.data,
    ]) as Element[];
    expect(data.every((one) => one.ID && one.Host && one.CreatedAt > 1e12)).toBe(true);
    const skydive = recorded<Element[]>('nodes')[0];
    const ours = data.find((one) => one.ID === skydive.ID)!;
    for (const key of ['Name', 'Type', 'MTU', 'MAC', 'State']) {
      expect([key, ours.Metadata[key]]).toEqual([key, skydive.Metadata[key]]);
    }
    const edge = data.find((one) => one.Parent)!;
    expect(part.Edges.find((one) => one.ID === edge.ID)).toMatchObject({ Parent: edge.Parent, Child: edge.Child });
  });

  it('has icons and colours that Grafana knows', () => {
    ICONS.forEach((icon) => expect(availableIconsIndex).toHaveProperty(icon));
    const { visualization } = createTheme();
    ARCS.forEach(({ color }) => expect(visualization.getColorByName(color)).toMatch(/^#/));
    Object.values(LINES).forEach(({ color }) => expect(isColor(color)).toBe(true));
  });

  it('links to further questions', () => {
    const [nodes] = graphFrames(parts, { targets });
    expect(nodes.fields[0].config.links).toEqual(nodeLinks(targets));
    nodeLinks(targets).forEach((link) => expect(link.internal?.datasourceUid).toBe('us'));
  });
});

describe('a table', () => {
  it('of elements has what is plain, names first', () => {
    const nodes = recorded<Element[]>('nodes');
    const [frame] = tableFrames(nodes as unknown as Json);
    expectFrame(frame);
    expect(frame.fields.slice(0, 3).map((field) => field.name)).toEqual(['Name', 'Type', 'Host']);
    expect(valuesOf(frame, 'MTU')).toEqual(nodes.map((node) => node.Metadata.MTU));
    expect(frame.fields.find((field) => field.name === 'CreatedAt')?.type).toBe(FieldType.time);
    expect(frame.fields.find((field) => field.name === 'IPV4')?.type).toBe(FieldType.string);
    expect(frame.fields.map((field) => field.name)).not.toContain('RoutingTables');
  });

  it.each([
    ['values', ['Value'], [FieldType.string]],
    ['count', ['Value'], [FieldType.number]],
    ['value-map', ['Name', 'MTU', 'Metric.RxBytes'], [FieldType.string, FieldType.number, FieldType.number]],
  ])('of %s', (name, columns, types) => {
    const answer = recorded<Json>(name);
    const [frame] = tableFrames(answer);
    expectFrame(frame);
    expect(frame.fields.map((field) => field.name)).toEqual(columns);
    expect(frame.fields.map((field) => field.type)).toEqual(types);
    expect(frame).toHaveLength(Array.isArray(answer) ? answer.length : 1);
  });

  it('of sockets and metrics has whose they are', () => {
    const sockets = recorded<Array<Record<string, Json[]>>>('sockets');
    const [frame] = tableFrames(sockets);
    expectFrame(frame);
    const [[id, found]] = Object.entries(sockets[0]);
    expect(valuesOf(frame, 'ID')).toEqual(found.map(() => id));
    expect(valuesOf(frame, 'LocalPort')).toContain(80);
    const [metrics] = tableFrames(recorded<Json>('metrics'));
    expectFrame(metrics);
    expect(metrics.fields.find((field) => field.name === 'Last')?.type).toBe(FieldType.time);
  });

  it('of paths has the place in each', () => {
    const paths = recorded<Element[][]>('path-of-nodes');
    const [frame] = tableFrames(paths as unknown as Json);
    expectFrame(frame);
    expect(valuesOf(frame, 'Way')).toEqual(paths.flatMap((path, at) => path.map(() => at + 1)));
    expect(valuesOf(frame, 'Place')).toEqual(paths.flatMap((path) => path.map((_, at) => at + 1)));
  });

  it('of a graph is two', () => {
    const frames = tableFrames(recorded<Json>('graph'));
    frames.forEach(expectFrame);
    expect(frames.map((frame) => frame.name)).toEqual(['nodes', 'edges']);
  });

  it('of nothing, and of what has no type of its own', () => {
    expect(tableFrames(null)[0]).toHaveLength(0);
    expect(tableFrames([])[0].fields).toEqual([]);
    const [mixed] = tableFrames([
      { A: 1, B: null },
      { A: 'x', B: true },
      { A: [1, 2], C: { D: 1 } },
    ]);
    expectFrame(mixed);
    expect(rowsOf(mixed)).toEqual([
      { A: '1', B: null, 'C.D': null },
      { A: 'x', B: true, 'C.D': null },
      { A: '1, 2', B: null, 'C.D': 1 },
    ]);
  });
});

describe('flows', () => {
  const flows = recorded<Flow[]>('flows');

  it('are a row each, with a link to the trace', () => {
    const [frame] = flowFrames(flows, targets);
    expectFrame(frame);
    const row = rowsOf(frame)[0];
    const metric = flows[0].Metric as Record<string, number>;
    expect(row).toMatchObject({
      B: '10.10.2.1:80',
      Bytes: metric.ABBytes + metric.BABytes,
      Interface: flows[0].Interface,
      TrackingID: flows[0].TrackingID,
    });
    expect(String(row.A)).toMatch(/^10\.10\.1\.1:\d+$/);
    const { links } = frame.fields.find((field) => field.name === 'TrackingID')!.config;
    expect(links).toEqual([
      expect.objectContaining({
        internal: {
          datasourceUid: 'us',
          datasourceName: 'Skytrail',
          query: { refId: 'A', queryType: 'trace', conversation: '${__value.raw}' },
        },
      }),
    ]);
  });

  it('link to spans where somebody has them', () => {
    const [spans, own] = traceLinks({ ...targets, traces: { uid: 'tempo', name: 'Tempo' } });
    expect(spans.internal).toMatchObject({ datasourceUid: 'tempo', query: { query: '${__value.raw}' } });
    expect(own.internal?.datasourceUid).toBe('us');
  });

  it('that lost packets say how many, why and where', () => {
    const at = { Namespace: 'red2', Interface: 'eth0', Reason: 'NETFILTER_DROP', AB: 3, BA: 0 };
    const lossy = { ...flows[0], DropsAt: [at, { ...at, Namespace: '', AB: 0, BA: 2 }] };
    const [frame] = flowFrames([flows[1], lossy], targets);
    expectFrame(frame);
    expect(rowsOf(frame)).toMatchObject([
      { Dropped: 0, Why: '', Where: '' },
      { Dropped: 5, Why: 'NETFILTER_DROP', Where: 'eth0 in red2, eth0' },
    ]);
    expect(flowFrames(flows, targets)[0].fields.map((field) => field.name)).not.toContain('Dropped');
  });

  it('of two queries are one table in Grafana, each once and with its links', async () => {
    const frames = [flows.slice(0, 4), flows.slice(2)].map((some) => flowFrames(some, targets)[0]);
    const [one] = await firstValueFrom(
      // eslint-disable-next-line @typescript-eslint/no-deprecated -- there is no other way to it outside Grafana
      of(frames).pipe(standardTransformers.mergeTransformer.operator({}, { interpolate: (text) => text }))
    );
    expect(valuesOf(one, 'UUID')).toEqual(flows.map((flow) => flow.UUID));
    expect(one.fields.find((field) => field.name === 'TrackingID')!.config.links).toEqual(traceLinks(targets));
  });

  it('without ports, addresses or names, and IPv6', () => {
    const [frame] = flowFrames(
      [
        { TrackingID: 't', Link: { A: 'aa', B: 'bb' } },
        {
          TrackingID: 't',
          Network: { A: 'fd::1', B: 'fd::2' },
          Transport: { A: 1, B: 2 },
          Process: { A: { Name: 'curl' } },
        },
      ],
      targets
    );
    expectFrame(frame);
    expect(rowsOf(frame)).toMatchObject([
      { A: 'aa', B: 'bb', 'Whose A': null, Bytes: 0 },
      { A: '[fd::1]:1', B: '[fd::2]:2', 'Whose A': 'curl' },
    ]);
  });
});

describe('series', () => {
  const options = { from: 0, to: 40_000, interval: 10_000, sampled: true };
  const values = (metrics: Metrics, more = {}) =>
    seriesFrames(metrics, [], { ...options, ...more }).map((frame) => frame.fields[1].values);

  it('are rates, shared out over slices', () => {
    expect(values([{ n: [{ RxBytes: 2000, Start: 10_000, Last: 30_000 }] }])).toEqual([[null, 100, 100, 0]]);
  });

  it('of a sample that begins within a slice have its rate from there on', () => {
    expect(values([{ n: [{ RxBytes: 1000, Start: 15_000, Last: 25_000 }] }])).toEqual([[null, 100, 100, null]]);
  });

  it('of flows are averages over whole slices', () => {
    expect(values([{ n: [{ ABBytes: 1000, Start: 15_000, Last: 15_000 }] }], { sampled: false })).toEqual([
      [null, 100, null, null],
    ]);
    expect(values([{ n: [{ ABBytes: 1000, Start: 15_000, Last: 25_000 }] }], { sampled: false })).toEqual([
      [null, 50, 50, null],
    ]);
  });

  it('have nothing where nothing came between', () => {
    expect(
      values([
        {
          n: [
            { RxBytes: 10, Start: 0, Last: 10_000 },
            { RxBytes: 10, Start: 30_000, Last: 40_000 },
          ],
        },
      ])
    ).toEqual([[1, 0, 0, 1]]);
  });

  it('add what meets in a slice, but round trips', () => {
    const samples = [
      { ABBytes: 100, RTT: 5, Start: 1000, Last: 2000 },
      { ABBytes: 200, RTT: 7, Start: 3000, Last: 4000 },
    ];
    expect(values([{ f: samples }], { sampled: false, metrics: ['ABBytes', 'RTT'], to: 10_000 })).toEqual([[30], [7]]);
  });

  it('have no round trip where none was measured', () => {
    const samples = [
      { ABBytes: 1, RTT: 5, Start: 0, Last: 1000 },
      { ABBytes: 1, RTT: 0, Start: 11_000, Last: 12_000 },
      { ABBytes: 1, RTT: 6, Start: 31_000, Last: 32_000 },
    ];
    expect(values([{ f: samples }], { sampled: false, metrics: ['RTT'] })).toEqual([[5, null, null, 6]]);
  });

  it('lose no byte', () => {
    const metrics = recorded<Metrics>('metrics');
    const every = Object.values(metrics[0]).flat();
    const [from, to] = [
      Math.min(...every.map((one) => one.Start)) - 5000,
      Math.max(...every.map((one) => one.Last)) + 5000,
    ];
    for (const sampled of [true, false]) {
      const frames = seriesFrames(metrics, [], { from, to, interval: 7000, sampled, metrics: ['RxBytes'] });
      frames.forEach(expectFrame);
      for (const frame of frames) {
        const samples = metrics[0][frame.fields[1].labels!.ID];
        const [begin, end] = sampled ? [samples[0].Start, samples.at(-1)!.Last] : [from, to];
        const total = frame.fields[1].values.reduce((sum: number, rate: number | null, at: number) => {
          const start = frame.fields[0].values[at];
          return sum + ((rate ?? 0) * (Math.min(end, start + 7000) - Math.max(begin, start))) / 1000;
        }, 0);
        expect(total).toBeCloseTo(
          samples.reduce((sum, one) => sum + (one.RxBytes ?? 0), 0),
          3
        );
      }
    }
  });

  it('are called by host and name, or as it is said', () => {
    const metrics = recorded<Metrics>('metrics');
    const named = recorded<Element[]>('names');
    const [frame] = seriesFrames(metrics, named, options);
    expect(frame.fields[1].config).toMatchObject({ displayNameFromDS: 'h1 eth0 RxBytes', unit: 'Bps' });
    const [other] = seriesFrames(metrics, named, { ...options, legend: '{{TID}} {{ Metric }} {{Nothing}}!' });
    expect(other.fields[1].config.displayNameFromDS).toBe(`${named[0].Metadata.TID} RxBytes !`);
    const [flow] = seriesFrames(recorded<Metrics>('flow-metrics'), recorded<Flow[]>('flows'), {
      ...options,
      sampled: false,
    });
    expect(flow.fields[1].config.displayNameFromDS).toMatch(/^10\.10\.1\.1 \d+ → 10\.10\.2\.1 80 ABBytes$/);
  });

  it('are no more than anybody tells apart', () => {
    const metrics = [
      Object.fromEntries(
        Array.from({ length: MOST_SERIES + 5 }, (_, at) => [`n${at}`, [{ RxBytes: at, Start: 0, Last: 1000 }]])
      ),
    ];
    const frames = seriesFrames(metrics, [], options);
    expect(frames).toHaveLength(MOST_SERIES);
    expect(frames[0].fields[1].labels!.ID).toBe('n5');
    expect(frames[0].meta!.notices![0].text).toMatch(/^105 series/);
  });
});

describe('a path', () => {
  const path = recorded<Path>('path');
  const stops = recorded<Path>('path-stops');

  it('is a graph of its interfaces and its end', () => {
    const frames = pathFrames(path, ['graph'], targets);
    expectGraph(frames);
    const [nodes, edges] = frames;
    expect(nodes).toHaveLength(path.Hops.length + 1);
    expect(edges).toHaveLength(path.Hops.length);
    expect(valuesOf(nodes, 'title').at(-1)).toBe('✔ arrives');
    expect(valuesOf(edges, 'source').slice(0, -1)).toEqual(path.Hops.slice(0, -1).map((hop) => hop.ID));
    expect(frames[0].meta?.notices).toEqual([
      { severity: 'info', text: `✔ arrives: ${path.End.Reason}; packets of up to 1500 bytes pass` },
    ]);
  });

  it('is a table of its hops', () => {
    const [frame] = pathFrames(path, ['table'], targets);
    expectFrame(frame);
    expect(valuesOf(frame, 'Interface')).toEqual(path.Hops.map((hop) => hop.Interface));
    expect(valuesOf(frame, 'Decision')[0]).toBe(path.Hops[0].Decision);
  });

  it('says where it stops, and tells the way back where it is another', () => {
    expect(stops.End.Kind).not.toBe('arrives');
    const frames = pathFrames({ ...stops, Back: path, SameBack: false }, ['graph', 'table'], targets);
    expectGraph(frames);
    expect(frames[0].meta?.notices?.[0]).toMatchObject({
      severity: 'warning',
      text: expect.stringContaining(stops.End.Reason),
    });
    expect(valuesOf(frames[0], 'title').filter((title) => String(title).match(/[✘✔?]/))).toHaveLength(2);
    expect(new Set(valuesOf(frames[2], 'Way'))).toEqual(new Set(['forth', 'back']));
  });

  it('of no hop is its end', () => {
    const frames = pathFrames({ ...stops, Hops: [] }, ['graph'], targets);
    expectGraph(frames);
    expect(frames[0]).toHaveLength(1);
  });
});

describe('a trace', () => {
  const trace = recorded<Trace>('trace');

  it('is a graph of the points that saw it', () => {
    const frames = traceFrames(trace, ['graph']);
    expectGraph(frames);
    const points = [...trace.Forth.Points, ...trace.Back.Points];
    expect(valuesOf(frames[0], 'id')).toEqual([...new Set(points.map((point) => point.TID))]);
    expect(frames[1]).toHaveLength(points.length - 2);
    const [{ TID, Packets }] = trace.Forth.Points;
    const back = trace.Back.Points.find((point) => point.TID === TID)!;
    expect(valuesOf(frames[0], 'mainstat')[0]).toBe(`→ ${Packets} ← ${back.Packets} packets`);
    expect(frames[0].meta?.notices).toEqual([{ severity: 'info', text: 'every packet arrived, both ways' }]);
  });

  it('is a table of them, both ways', () => {
    const [frame] = traceFrames(trace, ['table']);
    expectFrame(frame);
    expect(valuesOf(frame, 'Packets')).toEqual(
      [...trace.Forth.Points, ...trace.Back.Points].map((point) => point.Packets)
    );
    expect(frame.fields.find((field) => field.name === 'Since the point before')?.config.unit).toBe('ns');
  });

  it('says where packets vanish, and who did not answer', () => {
    const loss = {
      Packets: 2,
      After: 1,
      Before: null,
      Causes: [{ Reason: 'NETFILTER_DROP', Packets: 2, Host: 'h1', Namespace: '', Interface: 'br0' }],
      Text: '2 packets forth lost',
    };
    const lost: Trace = {
      ...trace,
      Forth: { ...trace.Forth, Points: trace.Forth.Points.slice(0, 2), Losses: [loss] },
      Verdict: { ...trace.Verdict, Kind: 'lost', Text: '2 packets forth lost in h1 br0: NETFILTER_DROP' },
      Missing: { h2: 'no agent' },
    };
    const frames = traceFrames(lost, ['graph', 'table']);
    expectGraph(frames);
    const [nodes, edges, table] = frames;
    expect(rowsOf(nodes).at(-1)).toMatchObject({
      title: 'NETFILTER_DROP',
      subtitle: '2 packets forth lost',
      color: 'red',
    });
    expect(rowsOf(edges).find((row) => row.target === 'forth-lost-1')?.source).toBe(trace.Forth.Points[1].TID);
    expect(valuesOf(table, 'Lost')[1]).toBe('2 packets forth lost');
    expect(nodes.meta?.notices?.map((one) => one.text)).toEqual([lost.Verdict.Text, 'h2 did not answer: no agent']);
  });

  it('that nobody saw is empty, with the verdict', () => {
    const empty = { Points: [], Losses: [], Arrives: null };
    const frames = traceFrames(
      { ...trace, Forth: empty, Back: empty, Verdict: { ...trace.Verdict, Kind: 'unknown', Text: 'nobody saw it' } },
      ['graph', 'table']
    );
    expectGraph(frames);
    expect(frames[0].meta?.notices?.[0].text).toBe('nobody saw it');
  });
});

describe('changes', () => {
  const revisions = recorded<Element[]>('revisions');
  const times = revisions.map((one) => one.UpdatedAt);
  const [from, to] = [Math.min(...times), Math.max(...times)];

  it('are each revision within the time, with what is other', () => {
    const found = changesOf(revisions, from, to);
    const mtus = found.filter((one) => one.keys.MTU).map((one) => one.keys.MTU);
    expect(mtus).toEqual([
      [1500, 1400],
      [1400, 1500],
    ]);
    expect(found.filter((one) => one.kind === 'added').map((one) => one.element.Metadata.Type)).toEqual([
      'netns',
      'veth',
    ]);
    expect(changesOf(revisions, from + 1, to - 1).map((one) => one.kind)).not.toContain('added');
    const [frame] = changeFrames(found, namesOf(revisions));
    expectFrame(frame);
    expect(valuesOf(frame, 'time')).toEqual(found.map((one) => one.time));
    expect(valuesOf(frame, 'text').filter((text) => String(text).includes('MTU: 1500 → 1400'))).toHaveLength(1);
    expect(valuesOf(frame, 'tags')[0]).toEqual(['added', expect.any(String), 'h1']);
  });

  it('are of edges too, named by their ends', () => {
    const edges = recorded<Element[]>('edge-revisions');
    const [frame] = changeFrames(
      changesOf([...revisions, ...edges], from, to + 1e6),
      namesOf([...revisions, ...recorded<Element[]>('nodes')])
    );
    expectFrame(frame);
    expect(valuesOf(frame, 'title')).toContainEqual(expect.stringMatching(/–(ownership|layer2)→ a2 added$/));
  });

  it('tell of what came to be as it is asked for', () => {
    const down = element('n', { Name: 'x', State: 'DOWN' }, { UpdatedAt: 1e12 + 5, Revision: 2 });
    expect(changesOf([down], 1e12 + 1, 2e12).map((one) => [one.time, one.kind])).toEqual([[1e12 + 5, 'changed']]);
    expect(changesOf([down], 1e12 + 6, 2e12)).toEqual([]);
  });

  it('are an annotation each, though several are of one element', () => {
    const names = changeFrames(changesOf(revisions, from, to), new Map())[0].fields.map((one) => one.name);
    expect(names).toEqual(expect.arrayContaining(['time', 'title', 'text', 'tags']));
    // what else annotations are made of; of those with one id Grafana keeps the first
    expect(names.filter((name) => ['id', 'timeend'].includes(name.toLowerCase()))).toEqual([]);
  });

  it('tell of an end', () => {
    const [before, after] = [
      element('n', { Name: 'x', MTU: 1 }),
      element('n', { Name: 'x', MTU: 2 }, { UpdatedAt: 1e12 + 5, DeletedAt: 1e12 + 9 }),
    ];
    expect(changesOf([after, before], 1e12, 2e12).map((one) => [one.time, one.kind, one.keys])).toEqual([
      [1e12, 'added', {}],
      [1e12 + 5, 'changed', { MTU: [1, 2] }],
      [1e12 + 9, 'removed', {}],
    ]);
    expect(changesOf([before], 1e12 + 1, 2e12)).toEqual([]);
  });

  it('are what is other at the end than at the beginning', () => {
    const differences = recorded<Difference[]>('diff');
    const { Ends, Metadata } = differences.find((one) => one.Element.Parent)!.Element;
    const found = changesBetween(differences);
    const [frame] = changeFrames(found, new Map());
    expectFrame(frame);
    expect(frame).toHaveLength(12);
    expect(valuesOf(frame, 'title')).toContain(`${Ends![0]} –${Metadata.RelationType}→ ${Ends![1]} added`);
    const changed: Difference = {
      Change: 'changed',
      Element: element('n', { Name: 'x' }, { UpdatedAt: 1e12 + 7 }),
      Keys: { MTU: [1500, null], Long: ['y'.repeat(200), { a: 1 }] },
    };
    const [one] = changeFrames(changesBetween([changed]), new Map());
    expect(rowsOf(one)[0]).toMatchObject({
      time: 1e12 + 7,
      title: 'x changed',
      text: `on h1\nMTU: 1500 → –\nLong: ${'y'.repeat(79)}… → {"a":1}`,
    });
  });

  it('are no more than anybody sees', () => {
    const many = Array.from({ length: MOST_CHANGES + 3 }, (_, at) =>
      element(`n${at}`, { Name: `n${at}` }, { CreatedAt: 1e12 + at, UpdatedAt: 1e12 + at })
    );
    const [frame] = changeFrames(changesOf(many, 0, 2e12), new Map());
    expect(frame).toHaveLength(MOST_CHANGES);
    expect(valuesOf(frame, 'title')[0]).toBe('n3 added');
    expect(frame.meta!.notices![0].text).toMatch(/^1003 changes/);
  });
});

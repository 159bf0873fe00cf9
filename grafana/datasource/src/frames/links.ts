/** Links from what is shown to the next question about it. */

import { DataLink } from '@grafana/data';
import type { DataQuery } from '@grafana/schema';

import { SkytrailQuery } from '../types';

/** Where links lead. */
export interface Targets {
  /** Our own data source. */
  own: Target;
  /** The one that has the traces; none: our own traces. */
  traces?: Target;
}

export interface Target {
  uid: string;
  name: string;
}

type Asked = Omit<SkytrailQuery, 'refId'>;

/** To Explore, with a query in which `${__data.fields["…"]}` stands for what is clicked at. */
export function exploreLink(title: string, { uid, name }: Target, query: Asked): DataLink<DataQuery> {
  return { title, url: '', internal: { datasourceUid: uid, datasourceName: name, query: { refId: 'A', ...query } } };
}

/** Of a tracking ID, which is the trace's ID. */
export function traceLinks({ own, traces }: Targets): Array<DataLink<DataQuery>> {
  const way = exploreLink('The way of its packets', own, { queryType: 'trace', conversation: '${__value.raw}' });
  if (!traces) {
    return [way];
  }
  const query = { refId: 'A', queryType: 'traceql', query: '${__value.raw}' };
  return [
    { title: 'Spans', url: '', internal: { datasourceUid: traces.uid, datasourceName: traces.name, query } },
    way,
  ];
}

/** Of a node by its ID. */
export function nodeLinks({ own }: Targets): Array<DataLink<DataQuery>> {
  const id = "G.V('${__data.fields.id}')";
  return [
    exploreLink('All keys', own, { queryType: 'table', gremlin: id }),
    exploreLink('What is around it', own, { queryType: 'graph', gremlin: `${id}.Neighbors(2).SubGraph()` }),
    exploreLink('Traffic', own, { queryType: 'timeseries', gremlin: `${id}.Metrics()` }),
    exploreLink('Flows', own, { queryType: 'flows', gremlin: `${id}.Flows().Sort(DESC, 'Last').Limit(100)` }),
    exploreLink('Changes', own, { queryType: 'changes', gremlin: id }),
  ];
}

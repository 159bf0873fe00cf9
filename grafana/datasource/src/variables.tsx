import { CustomVariableSupport, DataQueryRequest, DataQueryResponse, QueryEditorProps } from '@grafana/data';
import React from 'react';
import { Observable, from, map } from 'rxjs';

import { GremlinEditor } from './components/GremlinEditor';
import type { DataSource } from './datasource';
import { SkytrailOptions, SkytrailQuery, SkytrailVariableQuery } from './types';

type Base = CustomVariableSupport<DataSource, SkytrailVariableQuery, SkytrailQuery, SkytrailOptions>;
type Props = QueryEditorProps<DataSource, SkytrailQuery, SkytrailOptions, SkytrailVariableQuery>;

const EXAMPLE = "G.V().Has('Type', 'host').Values('Name')";

/** What a variable can be, by a query in Gremlin. */
export class VariableSupport extends CustomVariableSupport<
  DataSource,
  SkytrailVariableQuery,
  SkytrailQuery,
  SkytrailOptions
> {
  editor: Base['editor'] = VariableEditor;

  constructor(private readonly datasource: DataSource) {
    super();
  }

  query({ targets, range, scopedVars }: DataQueryRequest<SkytrailVariableQuery>): Observable<DataQueryResponse> {
    return from(this.datasource.metricFindQuery(targets[0], { range, scopedVars })).pipe(map((data) => ({ data })));
  }
}

function VariableEditor({ query, datasource, onChange, onRunQuery }: Props) {
  // of a dashboard that somebody wrote it may be a text alone
  const before: SkytrailVariableQuery = typeof query === 'string' ? { refId: 'variable', gremlin: query } : query;
  const text = before.gremlin ?? EXAMPLE;
  const change = (gremlin: string) => onChange({ ...before, refId: 'variable', gremlin });
  return <GremlinEditor value={text} datasource={datasource} onChange={change} onRun={onRunQuery} />;
}

import { QueryEditorProps, SelectableValue } from '@grafana/data';
import { Alert, Checkbox, Combobox, InlineField, Input, RadioButtonGroup, Stack } from '@grafana/ui';
import React from 'react';

import { DataSource } from '../datasource';
import { Comparison, EXAMPLES, Kind, Moment, SkytrailOptions, SkytrailQuery, View } from '../types';
import { GremlinEditor } from './GremlinEditor';

export type Props = QueryEditorProps<DataSource, SkytrailQuery, SkytrailOptions>;

const KINDS: Array<SelectableValue<Kind>> = [
  { value: 'graph', label: 'Graph', description: 'Nodes and edges, for the node graph' },
  { value: 'table', label: 'Table', description: 'Any answer as a table' },
  { value: 'timeseries', label: 'Time series', description: 'What interfaces and flows carried, per second' },
  { value: 'flows', label: 'Flows', description: 'Conversations, with links to their traces' },
  { value: 'trace', label: 'Trace', description: 'Where one conversation really went, and where packets vanish' },
  { value: 'path', label: 'Path', description: 'The way that packets take by the graph' },
  { value: 'changes', label: 'Changes', description: 'What changed and when; for annotations too' },
];

const MOMENTS: Array<{ value: Moment; label: string; description: string }> = [
  { value: 'end', label: 'At the end of the range', description: 'Up to now: as it is now' },
  { value: 'start', label: 'At its beginning', description: '' },
  { value: 'range', label: 'Over the range', description: 'All that was there in it' },
  { value: 'now', label: 'Now, whatever the range', description: '' },
];

const VIEWS: Array<SelectableValue<View>> = [
  { value: 'graph', label: 'Graph' },
  { value: 'table', label: 'Table' },
];

const COMPARISONS: Array<SelectableValue<Comparison>> = [
  { value: 'each', label: 'Each change', description: 'Every revision within the range' },
  {
    value: 'ends',
    label: 'Beginning and end',
    description: 'What is otherwise at the end of the range than at its beginning',
  },
];

const PROTOCOLS = ['tcp', 'udp', 'icmp'].map((value) => ({ value, label: value }));
const LABEL = 18;

type Change = (changed: Partial<SkytrailQuery>) => void;

interface PartProps extends Props {
  /** Changes the query, and runs it. */
  set: Change;
}

/** What a query asks for: its kind, and what that kind takes. */
export function QueryEditor(props: Props) {
  const { query, onChange, onRunQuery } = props;
  const kind = query.queryType ?? 'graph';
  const set: Change = (changed) => {
    onChange({ ...query, ...changed });
    onRunQuery();
  };
  const choose = (next: Kind) => {
    const unchanged = !query.gremlin?.trim() || query.gremlin === EXAMPLES[kind];
    set({ queryType: next, gremlin: unchanged ? EXAMPLES[next] : query.gremlin });
  };
  const Part = PARTS[kind];
  return (
    <Stack direction="column" gap={1}>
      <InlineField label="Query" labelWidth={LABEL}>
        <RadioButtonGroup options={KINDS} value={kind} onChange={choose} />
      </InlineField>
      <Part {...props} set={set} />
    </Stack>
  );
}

/** The Gremlin text; what it says is wrong stands below the panel, in the hub's words. */
function Gremlin({ query, datasource, onChange, onRunQuery }: PartProps) {
  return (
    <GremlinEditor
      value={query.gremlin ?? ''}
      datasource={datasource}
      onChange={(gremlin) => onChange({ ...query, gremlin })}
      onRun={onRunQuery}
    />
  );
}

function When({ query, set, usual }: PartProps & { usual: Moment }) {
  return (
    <InlineField label="When" labelWidth={LABEL} tooltip="Where the query says At() itself, that holds">
      <Combobox
        aria-label="When"
        options={MOMENTS}
        value={query.moment ?? usual}
        onChange={({ value }) => set({ moment: value })}
        width={32}
      />
    </InlineField>
  );
}

interface TextProps extends PartProps {
  name: keyof SkytrailQuery;
  label: string;
  placeholder: string;
  tooltip?: string;
  width?: number;
}

function Text({ query, onChange, onRunQuery, name, label, placeholder, tooltip, width = 40 }: TextProps) {
  return (
    <InlineField label={label} labelWidth={LABEL} tooltip={tooltip}>
      <Input
        aria-label={label}
        value={String(query[name] ?? '')}
        placeholder={placeholder}
        width={width}
        onChange={(event) => onChange({ ...query, [name]: event.currentTarget.value })}
        onBlur={onRunQuery}
        onKeyDown={(event) => event.key === 'Enter' && onRunQuery()}
      />
    </InlineField>
  );
}

function Shown({ query, set }: PartProps) {
  return (
    <InlineField label="Shown as" labelWidth={LABEL}>
      <RadioButtonGroup options={VIEWS} value={query.view ?? 'graph'} onChange={(view) => set({ view })} />
    </InlineField>
  );
}

function GraphPart(props: PartProps) {
  return (
    <>
      <Gremlin {...props} />
      <Stack wrap="wrap" gap={1}>
        <When {...props} usual="end" />
        <Text
          {...props}
          name="mainStat"
          label="In the node"
          placeholder="IPV4"
          width={24}
          tooltip="A key, as MTU or K8s.Namespace"
        />
        <Text {...props} name="secondaryStat" label="Below that" placeholder="what it carries now" width={24} />
      </Stack>
    </>
  );
}

function TablePart(props: PartProps) {
  return (
    <>
      <Gremlin {...props} />
      <When {...props} usual="end" />
    </>
  );
}

function FlowsPart(props: PartProps) {
  return (
    <>
      <Gremlin {...props} />
      <When {...props} usual="range" />
    </>
  );
}

function SeriesPart(props: PartProps) {
  const { query, set } = props;
  const counters = (text: string) => text.split(/[\s,]+/).filter(Boolean);
  return (
    <>
      <Gremlin {...props} />
      <Stack wrap="wrap" gap={1}>
        <InlineField
          label="Counters"
          labelWidth={LABEL}
          tooltip="Of interfaces RxBytes, TxDropped …, of flows ABBytes, BAPackets, RTT …"
        >
          <Input
            aria-label="Counters"
            key={query.metrics?.join()}
            defaultValue={query.metrics?.join(', ')}
            placeholder="bytes each way"
            width={40}
            onBlur={(event) => set({ metrics: counters(event.currentTarget.value) })}
          />
        </InlineField>
        <Text {...props} name="legend" label="Legend" placeholder="{{Host}} {{Name}} {{Metric}}" />
      </Stack>
    </>
  );
}

function TracePart(props: PartProps) {
  return (
    <>
      <Text
        {...props}
        name="conversation"
        label="Conversation"
        placeholder="a tracking ID, or: host 10.0.0.1 and tcp port 443"
        tooltip="A filter finds the latest conversation in the range"
        width={60}
      />
      <Shown {...props} />
    </>
  );
}

function PathPart(props: PartProps) {
  const { query, set } = props;
  return (
    <>
      <Stack wrap="wrap" gap={1}>
        <Text {...props} name="source" label="From" placeholder="10.0.0.1, 10.0.0.1@host, or a name" />
        <Text {...props} name="destination" label="To" placeholder="10.0.0.2" />
        <Text {...props} name="port" label="Port" placeholder="any" width={12} />
        <InlineField label="Protocol" labelWidth={LABEL}>
          <RadioButtonGroup
            options={PROTOCOLS}
            value={query.protocol ?? 'tcp'}
            onChange={(protocol) => set({ protocol })}
          />
        </InlineField>
      </Stack>
      <Stack wrap="wrap" gap={1}>
        <When {...props} usual="end" />
        <Shown {...props} />
      </Stack>
    </>
  );
}

function ChangesPart(props: PartProps) {
  const { query, set } = props;
  const comparison = query.comparison ?? 'each';
  return (
    <>
      <InlineField label="Compared" labelWidth={LABEL}>
        <RadioButtonGroup options={COMPARISONS} value={comparison} onChange={(one) => set({ comparison: one })} />
      </InlineField>
      {comparison === 'each' ? (
        <>
          <Gremlin {...props} />
          <Checkbox
            label="How their edges came and went, too"
            value={query.edges ?? false}
            onChange={(event) => set({ edges: event.currentTarget.checked })}
          />
        </>
      ) : (
        <Alert severity="info" title="The whole graph is compared, at the two ends of the dashboard's range" />
      )}
    </>
  );
}

const PARTS: Record<Kind, React.ComponentType<PartProps>> = {
  graph: GraphPart,
  table: TablePart,
  timeseries: SeriesPart,
  flows: FlowsPart,
  trace: TracePart,
  path: PathPart,
  changes: ChangesPart,
};

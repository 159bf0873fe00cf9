/** Any answer → a table. Pure. */

import { DataFrame, Field, FieldType, createDataFrame } from '@grafana/data';

import { Element, Json, JsonMap, isElement, isMap, isPart, shown } from '../hub/answers';

export type Row = Record<string, Json | undefined>;

/** Columns of elements that come first, where there are such. */
const FIRST = ['Name', 'Type', 'RelationType', 'Host', 'State', 'MAC', 'IPV4', 'IPV6', 'MTU', 'Driver'];
const LAST = ['CreatedAt', 'UpdatedAt', 'DeletedAt', 'ArchivedAt', 'Revision', 'ID', 'Parent', 'Child', 'TID'];

/** Keys whose numbers are ms since the epoch. */
const TIME = /^(@?(Created|Updated|Deleted|Archived)At|(\w+\.)?(Start|Last)|Time)$/;

/** The answer as one table; of a graph its nodes and its edges, a table each. */
export function tableFrames(answer: Json): DataFrame[] {
  const parts: unknown[] = Array.isArray(answer) ? answer : [];
  if (parts.length && parts.every(isPart)) {
    return [
      tableFrame('nodes', parts.flatMap((part) => part.Nodes).map(rowOfElement)),
      tableFrame('edges', parts.flatMap((part) => part.Edges).map(rowOfElement)),
    ];
  }
  return [tableFrame('', rowsOf(answer))];
}

/** A table of rows; columns in the order in which they come up, those that are known first or last. */
export function tableFrame(name: string, rows: Row[]): DataFrame {
  const keys = new Set<string>(rows.flatMap((row) => Object.keys(row)));
  const inner = [...keys].filter((key) => !FIRST.includes(key) && !LAST.includes(key));
  const ordered = [...FIRST.filter((key) => keys.has(key)), ...inner, ...LAST.filter((key) => keys.has(key))];
  const fields = ordered.map((key) =>
    column(
      key,
      rows.map((row) => row[key])
    )
  );
  const used = fields.filter((field) => field.values.some((value) => value !== null));
  return createDataFrame({ name, fields: used, meta: { preferredVisualisationType: 'table' } });
}

/** A column of the type that all its values have. */
export function column(name: string, values: Array<Json | undefined>): Omit<Field, 'state'> {
  const there = values.filter((value) => value !== null && value !== undefined);
  const type = TYPES.find(([, fits]) => there.every((value) => fits(value, name)))?.[0] ?? FieldType.string;
  const cells =
    type === FieldType.string
      ? values.map((value) => (value === null || value === undefined ? null : shown(value)))
      : values.map((value) => value ?? null);
  return { name, type, values: cells, config: {} };
}

const TYPES: Array<[FieldType, (value: Json | undefined, name: string) => boolean]> = [
  [FieldType.time, (value, name) => typeof value === 'number' && TIME.test(name)],
  [FieldType.number, (value) => typeof value === 'number'],
  [FieldType.boolean, (value) => typeof value === 'boolean'],
];

function rowsOf(answer: Json): Row[] {
  if (answer === null) {
    return [];
  }
  if (!Array.isArray(answer)) {
    return [isMap(answer) ? answer : { Value: answer }];
  }
  return answer.flatMap(rowsOfItem);
}

function rowsOfItem(item: Json, at: number): Row[] {
  if (isElement(item)) {
    return [rowOfElement(item)];
  }
  if (Array.isArray(item)) {
    return item.flatMap((one, place) =>
      rowsOfItem(one, place).map((row) => ({ Way: at + 1, Place: place + 1, ...row }))
    );
  }
  if (!isMap(item)) {
    return [{ Value: item }];
  }
  const values = Object.values(item);
  const byId = values.length > 0 && values.every((value) => Array.isArray(value) && value.every(isMap));
  return byId
    ? Object.entries(item).flatMap(([id, found]) => (found as JsonMap[]).map((one) => ({ ID: id, ...flat(one) })))
    : [flat(item)];
}

/** Metadata without what is itself a map or a list of maps: ValueMap() asks for these. */
function rowOfElement(element: Element): Row {
  const { Metadata, ...beside } = element;
  const plain = Object.entries(Metadata).filter(
    ([, value]) => !isMap(value) && !(Array.isArray(value) && value.some((one) => typeof one === 'object'))
  );
  return { ...(beside as unknown as Row), Origin: undefined, ...Object.fromEntries(plain), Host: element.Host };
}

/** Maps within maps, by keys with dots. */
function flat(map: JsonMap, before = ''): Row {
  return Object.fromEntries(
    Object.entries(map).flatMap(([key, value]) =>
      isMap(value) ? Object.entries(flat(value, `${before}${key}.`)) : [[before + key, value]]
    )
  );
}

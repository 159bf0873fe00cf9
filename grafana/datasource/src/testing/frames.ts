/** Whether a frame is one, by Grafana's own packages. */

import {
  DataFrame,
  FieldType,
  NodeGraphDataFrameFieldNames as Names,
  availableIconsIndex,
  dataFrameFromJSON,
  dataFrameToJSON,
  isDataFrame,
} from '@grafana/data';

const PREFIXES = [Names.arc, Names.detail];

/** It is a frame whose values are of the types it says, and as JSON it is the same. */
export function expectFrame(frame: DataFrame): void {
  expect(isDataFrame(frame)).toBe(true);
  for (const field of frame.fields) {
    expect(field.values).toHaveLength(frame.length);
    const wrong = field.values.filter((value) => value !== null && !TYPES[field.type]!(value));
    expect({ field: field.name, wrong }).toEqual({ field: field.name, wrong: [] });
  }
  const again = dataFrameFromJSON(JSON.parse(JSON.stringify(dataFrameToJSON(frame))));
  expect(again.fields.map((field) => [field.name, field.type, field.values])).toEqual(
    frame.fields.map((field) => [field.name, field.type, field.values])
  );
}

const TYPES: Partial<Record<FieldType, (value: unknown) => boolean>> = {
  [FieldType.string]: (value) => typeof value === 'string',
  [FieldType.number]: (value) => typeof value === 'number' && Number.isFinite(value),
  [FieldType.boolean]: (value) => typeof value === 'boolean',
  [FieldType.time]: (value) => Number.isInteger(value),
  [FieldType.other]: Array.isArray,
};

/** They are what the node graph panel shows. */
export function expectGraph([nodes, edges]: DataFrame[]): void {
  for (const frame of [nodes, edges]) {
    expectFrame(frame);
    expect(frame.meta?.preferredVisualisationType).toBe('nodeGraph');
    for (const { name } of frame.fields) {
      expect(Object.values(Names).includes(name as Names) || PREFIXES.some((prefix) => name.startsWith(prefix))).toBe(
        true
      );
    }
  }
  const ids = valuesOf(nodes, Names.id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(new Set(valuesOf(edges, Names.id)).size).toBe(edges.length);
  const arcs = nodes.fields.filter((field) => field.name.startsWith(Names.arc));
  if (arcs.length) {
    ids.forEach((_, at) => expect(arcs.reduce((sum, field) => sum + field.values[at], 0)).toBe(1));
  }
  for (const end of [Names.source, Names.target]) {
    expect(valuesOf(edges, end).filter((id) => !ids.includes(id))).toEqual([]);
  }
  for (const { icon, mainstat, secondarystat } of rowsOf(nodes)) {
    // Grafana shows an icon in place of statistics
    expect(Boolean(icon)).toBe(!mainstat && !secondarystat);
    expect(icon === '' || String(icon) in availableIconsIndex).toBe(true);
  }
  for (const { color } of [...rowsOf(edges), ...rowsOf(nodes)]) {
    // these are given to SVG as they are
    expect(color === undefined || isColor(color as string)).toBe(true);
  }
  for (const id of valuesOf(edges, Names.id)) {
    expect(id).toMatch(/^[^\s'"()\\]+$/); // an arrowhead is url(#triangle-…-id)
  }
}

/** Whether a browser knows it. */
export function isColor(text: string): boolean {
  const { style } = document.createElement('i');
  style.color = text;
  return style.color !== '';
}

export function valuesOf(frame: DataFrame, name: string): unknown[] {
  const field = frame.fields.find((one) => one.name === name);
  expect(field?.name).toBe(name);
  return field!.values;
}

/** Rows as maps. */
export function rowsOf(frame: DataFrame): Array<Record<string, unknown>> {
  return Array.from({ length: frame.length }, (_, at) =>
    Object.fromEntries(frame.fields.map((field) => [field.name, field.values[at]]))
  );
}

/** What changed, and when: revisions or differences → a frame that annotations and tables take. Pure. */

import { DataFrame, FieldType, QueryResultMetaNotice, createDataFrame } from '@grafana/data';

import { Difference, Element, Json, isMap, shown } from '../hub/answers';

/** More than these no graph shows; the newest are. */
export const MOST_CHANGES = 1000;

const KEYS_IN_TEXT = 5;

export interface Change {
  time: number;
  kind: 'added' | 'removed' | 'changed';
  element: Element;
  keys: Record<string, [Json, Json]>;
}

/** Each change within a time, of all revisions that were there in it. */
export function changesOf(revisions: Element[], from: number, to: number): Change[] {
  const byId = new Map<string, Element[]>();
  for (const one of revisions) {
    byId.set(one.ID, [...(byId.get(one.ID) ?? []), one]);
  }
  const found: Change[] = [];
  for (const several of byId.values()) {
    several.sort((a, b) => a.UpdatedAt - b.UpdatedAt);
    several.forEach((element, at) => {
      const before = several[at - 1];
      const born = element.UpdatedAt === element.CreatedAt;
      const keys = before && !born ? changedKeys(before, element) : {};
      // without one before it is new to what was asked for: G.V().Has('State', 'DOWN')
      if (born || !before || Object.keys(keys).length) {
        found.push({ time: element.UpdatedAt, kind: born ? 'added' : 'changed', element, keys });
      }
      if (element.DeletedAt !== null) {
        found.push({ time: element.DeletedAt, kind: 'removed', element, keys: {} });
      }
    });
  }
  return found.filter(({ time }) => time >= from && time <= to).sort((a, b) => a.time - b.time);
}

/** The same of what is different between two moments. */
export function changesBetween(differences: Difference[]): Change[] {
  return differences
    .map(({ Change: kind, Element: element, Keys: keys }) => ({
      time: TIMES[kind](element),
      kind,
      element,
      keys: keys ?? {},
    }))
    .sort((a, b) => a.time - b.time);
}

const TIMES: Record<Change['kind'], (element: Element) => number> = {
  added: (element) => element.CreatedAt,
  changed: (element) => element.UpdatedAt,
  removed: (element) => element.DeletedAt ?? element.ArchivedAt ?? element.UpdatedAt,
};

/** What lists and maps hold is compared as it is written; the hub writes equal ones alike. */
function changedKeys(before: Element, after: Element): Change['keys'] {
  const keys = new Set([...Object.keys(before.Metadata), ...Object.keys(after.Metadata)]);
  const changed = [...keys].filter(
    (key) => !VOLATILE.has(key) && written(before.Metadata[key]) !== written(after.Metadata[key])
  );
  return Object.fromEntries(
    changed.sort().map((key) => [key, [before.Metadata[key] ?? null, after.Metadata[key] ?? null]])
  );
}

/** Shown now, and no part of any revision. */
const VOLATILE = new Set(['Metric', 'LastUpdateMetric', 'Neighbors', 'FDB']);

function written(value: Json | undefined): string | undefined {
  return JSON.stringify(value);
}

/** Fields are called as annotations take them: time, title, text, tags. */
export function changeFrames(changes: Change[], names: Map<string, string>): DataFrame[] {
  const kept = changes.slice(-MOST_CHANGES);
  const notices: QueryResultMetaNotice[] =
    kept.length < changes.length
      ? [
          {
            severity: 'warning',
            text: `${changes.length} changes: the latest ${MOST_CHANGES} are shown. Ask for fewer by Has(), or a shorter time`,
          },
        ]
      : [];
  const fields = [
    { name: 'time', type: FieldType.time, values: kept.map((one) => one.time) },
    { name: 'title', type: FieldType.string, values: kept.map((one) => `${nameOf(one.element, names)} ${one.kind}`) },
    { name: 'text', type: FieldType.string, values: kept.map((one) => textOf(one)) },
    { name: 'tags', type: FieldType.other, values: kept.map((one) => tagsOf(one)) },
    { name: 'change', type: FieldType.string, values: kept.map((one) => one.kind) },
    { name: 'type', type: FieldType.string, values: kept.map((one) => typeOf(one.element)) },
    { name: 'host', type: FieldType.string, values: kept.map((one) => one.element.Host) },
    // not 'id': of annotations with the same one Grafana shows the first alone
    { name: 'element', type: FieldType.string, values: kept.map((one) => one.element.ID) },
  ].map((field) => ({ ...field, config: {} }));
  return [createDataFrame({ name: 'changes', fields, meta: { preferredVisualisationType: 'table', notices } })];
}

/** Names of nodes by ID, as the elements tell them. */
export function namesOf(elements: Element[]): Map<string, string> {
  return new Map(elements.filter((one) => !one.Parent).map((one) => [one.ID, shown(one.Metadata.Name)]));
}

function nameOf(element: Element & { Ends?: [string, string] }, names: Map<string, string>): string {
  if (!element.Parent) {
    return shown(element.Metadata.Name) || element.ID;
  }
  const ends = element.Ends ?? [element.Parent, element.Child!].map((id) => names.get(id) ?? id);
  return `${ends[0]} –${shown(element.Metadata.RelationType)}→ ${ends[1]}`;
}

function typeOf(element: Element): string {
  return shown(element.Metadata.Type ?? element.Metadata.RelationType);
}

function tagsOf({ element, kind }: Change): string[] {
  return [kind, typeOf(element), element.Host].filter(Boolean);
}

function textOf({ element, keys }: Change): string {
  const every = Object.entries(keys).map(([key, [before, after]]) => `${key}: ${brief(before)} → ${brief(after)}`);
  const more = every.length > KEYS_IN_TEXT ? [`and ${every.length - KEYS_IN_TEXT} more keys`] : [];
  const where = [typeOf(element), element.Host && `on ${element.Host}`].filter(Boolean).join(' ');
  return [where, ...every.slice(0, KEYS_IN_TEXT), ...more].join('\n');
}

function brief(value: Json): string {
  const text = isMap(value) || Array.isArray(value) ? JSON.stringify(value) : shown(value) || '–';
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}

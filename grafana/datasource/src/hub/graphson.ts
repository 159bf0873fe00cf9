/** Vertices and edges of TinkerPop's answers as elements. Pure. */

import { Element, Json, JsonMap, isMap, valueAt } from './answers';

/** The answer, its vertices and edges as elements where all of them are such. */
export function elementsOf(data: Json[]): Json[] | Element[] {
  const found = data.map(elementOf);
  return found.every((one) => one !== undefined) ? found : data;
}

function elementOf(value: Json): Element | undefined {
  if (!isMap(value) || typeof value.id !== 'string' || typeof value.label !== 'string') {
    return undefined;
  }
  const properties = isMap(value.properties) ? value.properties : {};
  const metadata = Object.fromEntries(Object.entries(properties).map(([key, one]) => [key, valueOfProperty(one)]));
  const edge = typeof value.inV === 'string' && typeof value.outV === 'string';
  const named: JsonMap = edge ? { RelationType: value.label } : { Type: value.label };
  return {
    ID: value.id,
    Metadata: { ...named, ...Object.fromEntries(Object.entries(metadata).filter(([key]) => !key.startsWith('@'))) },
    Host: String(metadata['@Host'] ?? ''),
    Origin: String(metadata['@Origin'] ?? ''),
    CreatedAt: Number(metadata['@CreatedAt'] ?? 0),
    UpdatedAt: Number(metadata['@UpdatedAt'] ?? 0),
    DeletedAt: null,
    Revision: Number(valueAt(metadata, '@Revision') ?? 0),
    ...(edge && { Parent: String(value.outV), Child: String(value.inV) }),
  };
}

/** Of a vertex a list of properties, of an edge one. */
function valueOfProperty(property: Json): Json {
  const values = (Array.isArray(property) ? property : [property]).map((one) => (isMap(one) ? one.value : one));
  return values.length === 1 ? values[0] : values;
}

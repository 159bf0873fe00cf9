/** What the hub answers, as far as it is looked at here. Names are the hub's. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonMap = { [key: string]: Json };

/** A node or an edge; times are ms since the epoch. */
export interface Element {
  ID: string;
  Metadata: JsonMap;
  Host: string;
  Origin: string;
  CreatedAt: number;
  UpdatedAt: number;
  DeletedAt: number | null;
  Revision: number;
  ArchivedAt?: number;
  /** Of an edge: IDs of the nodes at its ends. */
  Parent?: string;
  Child?: string;
}

export interface Part {
  Nodes: Element[];
  Edges: Element[];
}

/** Counters over a time, ms. */
export type Metric = Record<string, number>;

/** By UUID of a flow or ID of a node. */
export type Metrics = Array<Record<string, Metric[]>>;

export type Flow = JsonMap;

/** /api/v1/diff */
export interface Difference {
  Change: 'added' | 'removed' | 'changed';
  Element: Element & { Ends?: [string, string] };
  Keys?: Record<string, [Json, Json]>;
}

/** /api/v1/path */
export interface Path {
  Source: Place;
  Destination: Place;
  Hops: Hop[];
  End: { Kind: 'arrives' | 'stops' | 'unknown'; Reason: string; Host: string; Namespace: string; Interface: string };
  Narrowest: { MTU: number; Host: string; Namespace: string; Interface: string } | null;
  Warnings: string[];
  Back: Path | null;
  SameBack: boolean;
}

export interface Place {
  Address: string;
  Host: string;
  Namespace: string;
  ID: string;
}

export interface Hop {
  Host: string;
  Namespace: string;
  Interface: string;
  ID: string;
  TID: string;
  Kind: string;
  Direction: 'out' | 'in' | 'through';
  Decision: string;
  Depth: number;
  Vlans: number[];
  MTU: number;
  Room: number | null;
  State: string;
  Routed: boolean;
  Guessed: boolean;
  Asked: boolean;
}

/** /api/v1/trace */
export interface Trace {
  TrackingID: string;
  Others: string[];
  Protocol: string;
  Source: string;
  Destination: string;
  Client: Process;
  Server: Process;
  Start: number;
  Last: number;
  RTT: number | null;
  Forth: Way;
  Back: Way;
  ICMP: string[];
  Verdict: Verdict;
  Missing: Record<string, string>;
  Since: Record<string, number>;
  Gaps: Record<string, Array<[number, number]>>;
  Conversations: string[];
}

export interface Process {
  Host: string;
  Name: string;
  Pid: number;
  Container: string;
  Pod: string;
}

export interface Way {
  Points: Point[];
  Losses: Loss[];
  Arrives: boolean | null;
}

export interface Point {
  Host: string;
  Namespace: string;
  Interface: string;
  TID: string;
  Type: string;
  Hook: string;
  Packets: number;
  Bytes: number;
  TTL: number;
  TrackingID: string;
  Source: string;
  Destination: string;
  Tunnel: { Kind: string; Number: number; Source: string; Destination: string; TTL: number; TrackingID: string } | null;
  Since: number | null;
  RoundTrip: number | null;
}

export interface Loss {
  Packets: number;
  After: number | null;
  Before: number | null;
  Causes: Array<{ Reason: string; Packets: number; Host: string; Namespace: string | null; Interface: string }>;
  Text: string;
}

export interface Verdict {
  Kind: 'well' | 'lost' | 'refused' | 'unanswered' | 'unknown';
  Text: string;
  Way: string;
  Host: string;
  Namespace: string | null;
  Interface: string;
  Reason: string;
}

/** /api/status */
export interface Status {
  service: string;
  version: string;
  store?: { elements: number; revisions: number };
  Agents?: Record<string, { IsConnected: boolean }>;
}

/** /readyz */
export interface Readiness {
  ready: boolean;
  waiting: Record<string, string>;
}

/** /api/v1/complete */
export interface Words {
  Skydive: Grammar;
  TinkerPop: Grammar;
  Keys: Record<Owner, string[]>;
}

/** By name: what each step and predicate takes, a text for each way. */
export interface Grammar {
  Steps: Record<string, string[]>;
  Predicates: Record<string, string[]>;
}

/** Whose keys. */
export type Owner = 'nodes' | 'edges' | 'flows';

/** /api/v1/complete?key=… */
export interface ValuesOfKey {
  Values: Array<string | number | boolean>;
  More: boolean;
}

/** GraphSON without types, as /gremlin answers it. */
export interface GremlinAnswer {
  result: { data: Json[] };
  status: { attributes: JsonMap };
}

export function isMap(value: Json | undefined): value is JsonMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isElement(value: unknown): value is Element {
  return typeof value === 'object' && value !== null && 'Metadata' in value && 'ID' in value;
}

export function isPart(value: unknown): value is Part {
  return typeof value === 'object' && value !== null && 'Nodes' in value && 'Edges' in value;
}

/** What a map has at a key: dots lead into maps; a key that is there with its dots is looked at first. */
export function valueAt(map: JsonMap, key: string): Json | undefined {
  if (key in map) {
    return map[key];
  }
  for (let dot = key.indexOf('.'); dot > 0; dot = key.indexOf('.', dot + 1)) {
    const inner = map[key.slice(0, dot)];
    const found = isMap(inner) ? valueAt(inner, key.slice(dot + 1)) : undefined;
    if (found !== undefined) {
      return found;
    }
  }
  return undefined;
}

/** The same of an element: `@Host`, `@UpdatedAt` … are beside its metadata. */
export function valueOf(element: Element, key: string): Json | undefined {
  return key.startsWith('@') ? (element as unknown as JsonMap)[key.slice(1)] : valueAt(element.Metadata, key);
}

/** A value in a line. */
export function shown(value: Json | undefined): string {
  if (value === null || value === undefined) {
    return '';
  }
  if (Array.isArray(value) && value.every((one) => typeof one !== 'object')) {
    return value.join(', ');
  }
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** How nodes and edges look, by Type and state: tables. */

import type { IconName } from '@grafana/data';

/** An arc around a node; its colour's name is one of Grafana's. */
export interface Arc {
  name: string;
  label: string;
  color: string;
}

export const ARCS: Arc[] = [
  { name: 'up', label: 'Up', color: 'green' },
  { name: 'down', label: 'Down', color: 'red' },
  { name: 'host', label: 'Host', color: 'purple' },
  { name: 'namespace', label: 'Network namespace', color: 'blue' },
  { name: 'workload', label: 'Container, pod, service', color: 'orange' },
  { name: 'cluster', label: 'Cluster', color: 'super-light-blue' },
  { name: 'other', label: 'Other', color: 'gray' },
];

interface Look {
  icon: IconName;
  /** Where a node has no state. */
  arc: string;
}

const OTHER: Look = { icon: 'circle', arc: 'other' };

const LOOKS: Record<string, Look> = {
  host: { icon: 'monitor', arc: 'host' },
  netns: { icon: 'layers-alt', arc: 'namespace' },
  bridge: { icon: 'exchange-alt', arc: 'other' },
  ovsbridge: { icon: 'exchange-alt', arc: 'other' },
  ovsport: { icon: 'plug', arc: 'other' },
  ovsmirror: { icon: 'copy', arc: 'other' },
  ofrule: { icon: 'list-ul', arc: 'other' },
  ofgroup: { icon: 'list-ul', arc: 'other' },
  veth: { icon: 'link', arc: 'other' },
  device: { icon: 'plug', arc: 'other' },
  bond: { icon: 'link', arc: 'other' },
  vlan: { icon: 'tag-alt', arc: 'other' },
  vxlan: { icon: 'cloud', arc: 'other' },
  geneve: { icon: 'cloud', arc: 'other' },
  gre: { icon: 'cloud', arc: 'other' },
  gretap: { icon: 'cloud', arc: 'other' },
  network: { icon: 'sitemap', arc: 'cluster' },
  container: { icon: 'docker', arc: 'workload' },
  pod: { icon: 'cube', arc: 'workload' },
  service: { icon: 'sitemap', arc: 'workload' },
  namespace: { icon: 'folder', arc: 'cluster' },
  cluster: { icon: 'kubernetes', arc: 'cluster' },
  node: { icon: 'monitor', arc: 'cluster' },
  deployment: { icon: 'apps', arc: 'cluster' },
  ingress: { icon: 'globe', arc: 'cluster' },
  networkpolicy: { icon: 'shield', arc: 'cluster' },
};

/** Of `State`, in any case. */
const STATES: Record<string, string> = { up: 'up', down: 'down', running: 'up', exited: 'down', dead: 'down' };

export function iconOf(type: string): IconName {
  return (LOOKS[type] ?? OTHER).icon;
}

/** The name of the one arc that a node has. */
export function arcOf(type: string, state: string): string {
  return STATES[state.toLowerCase()] ?? (LOOKS[type] ?? OTHER).arc;
}

export interface Line {
  /** One of CSS. */
  color: string;
  dashes: string;
  thickness: number;
}

const PLAIN: Line = { color: 'gray', dashes: '', thickness: 1 };

export const LINES: Record<string, Line> = {
  ownership: { color: 'gray', dashes: '4 4', thickness: 1 },
  layer2: { color: 'green', dashes: '', thickness: 2 },
  tunnel: { color: 'purple', dashes: '8 3', thickness: 2 },
  underlay: { color: 'purple', dashes: '2 3', thickness: 1 },
  neighbour: { color: 'deepskyblue', dashes: '6 3', thickness: 1 },
  nexthop: { color: 'blue', dashes: '10 4', thickness: 1 },
  mirror: { color: 'yellow', dashes: '2 2', thickness: 1 },
  connection: { color: 'orange', dashes: '', thickness: 2 },
};

export function lineOf(relation: string): Line {
  return LINES[relation] ?? PLAIN;
}

/** Of the two ways of a conversation. */
export const WAY_COLORS = { forth: 'blue', back: 'orange' };

export const ICONS: IconName[] = [OTHER, ...Object.values(LOOKS)].map((look) => look.icon);

/** Whose Open vSwitch this is already: another OVN's, another installation's of Isthmus. Looks, and changes nothing. */
import { ownerKey } from '../dataplane/ovn/rows.ts';
import { externalIds, list, type PrintedRow } from './local-ovsdb.ts';

/** What tells our own from another's. */
export interface Own {
  /** Remotes of the southbound database: those that are wanted, and those of before. */
  readonly southbound: readonly string[];
  /** The name that OVN is to know this machine by; undefined when any is well. */
  readonly name: string | undefined;
  /** Of the region that is joined; undefined: it is not known, and every one is another. */
  readonly installationId: string | undefined;
}

/** One server has one address, by TLS or not. */
const addressOf = (remote: string): string => remote.trim().replace(/^(tcp|ssl):/, '');
const mostNamed = 4;
const named = (names: readonly string[]): string =>
  names.slice(0, mostNamed).join(', ') + (names.length > mostNamed ? ` and ${names.length - mostNamed} more` : '');

/** What Open vSwitch's own database says of who uses it. */
export interface Found {
  readonly host: PrintedRow | undefined;
  readonly bridges: readonly PrintedRow[];
  readonly interfaces: readonly PrintedRow[];
}

/** @returns a line for each thing that is another's */
export async function foreignClaims(runDirectory: string, own: Own): Promise<readonly string[]> {
  const [host] = await list(runDirectory, 'Open_vSwitch', ['external_ids']);
  const bridges = await list(runDirectory, 'Bridge', ['name', 'external_ids']);
  const interfaces = await list(runDirectory, 'Interface', ['name', 'external_ids']);
  return claimsIn({ host, bridges, interfaces }, own);
}

/** The same, of what was found. Pure. */
export function claimsIn({ host, bridges, interfaces }: Found, own: Own): readonly string[] {
  const owned = new Map<string, string[]>();
  for (const [kind, rows] of [
    ['bridge', bridges],
    ['interface', interfaces],
  ] as const) {
    for (const one of rows) {
      const owner = externalIds(one).get(ownerKey);
      if (owner === undefined || owner === own.installationId) continue;
      owned.set(owner, [...(owned.get(owner) ?? []), `${kind} ${String(one['name'])}`]);
    }
  }
  const ofIsthmus = [...owned].map(([owner, names]) => `Isthmus installation ${owner} has ${named(names)}`);
  return [...ofOvn(externalIds(host), own), ...ofIsthmus];
}

function ofOvn(ids: ReadonlyMap<string, string>, own: Own): readonly string[] {
  const systemId = ids.get('system-id');
  const known = systemId === undefined ? '' : `, as chassis '${systemId}'`;
  const ours = new Set(own.southbound.map(addressOf));
  const remote = ids.get(`ovn-remote-${systemId}`) ?? ids.get('ovn-remote') ?? '';
  // Distributions give every machine a system-id: by itself it says nothing.
  if (remote === '') return [];
  if (!remote.split(',').some((one) => ours.has(addressOf(one)))) {
    return [`another OVN uses it: ovn-remote=${remote}${known}`];
  }
  if (own.name === undefined || systemId === undefined || systemId === own.name) return [];
  return [`the region's OVN knows this machine by another name: system-id=${systemId}, not ${own.name}`];
}

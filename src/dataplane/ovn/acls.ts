/**
 * What ports may send and receive beyond OVN's own port security. Pure.
 *
 * The destination guard drops, on the receiver's host, what comes from neither the VPC nor one that it is joined with. A
 * host that missed a disconnect still sends; here it ends.
 *
 * OVN's port security also checks what a port is sent, and drops without a word what is not to its own addresses. So the
 * next hop of a route, which is sent what is for others, has its sources checked here instead. So has an appliance what it
 * says by ARP: who may forward for others may not take their addresses over. Of neighbour discovery no access list of OVN's may
 * judge; advertisements of such ports it drops all, for their port security names no address.
 */
import type { PortId } from '../../model/ids.ts';
import { type Address, familyOf, linkLocalOf, type Prefix } from '../../model/ip.ts';
import type { InterfaceSpec, VpcSpec } from '../../model/network-spec.ts';
import { byText, rangesOf } from './segments.ts';

export const safeName = (text: string): string => text.replaceAll('-', '_');

export const ofFamily = <T extends Prefix | Address>(family: 4 | 6, list: readonly T[]): T[] =>
  [...new Set(list)].filter((one) => familyOf(one) === family).sort(byText);
/** Matches what has this field in one of these, of either family. */
export const matches = (field: 'src' | 'dst', list: readonly (Prefix | Address)[]): string =>
  ([4, 6] as const)
    .map((family) => ({ family, own: ofFamily(family, list) }))
    .filter(({ own }) => own.length > 0)
    .map(({ family, own }) => `ip${family}.${field} == {${own.join(', ')}}`)
    .join(' || ');

/** The interfaces that routes of a VPC lead to. */
export const nextHops = ({ routeTables }: VpcSpec): ReadonlySet<PortId> =>
  new Set(
    routeTables.flatMap(({ routes }) =>
      routes.flatMap(({ target }) => (target.kind === 'interface' ? [target.portId] : [])),
    ),
  );
/** Whether OVN's own port security cannot judge a port: the next hop of a route, and an appliance. */
export const isOpen = ({ id, sanityCheck }: InterfaceSpec, hops: ReadonlySet<PortId>): boolean =>
  !sanityCheck || hops.has(id);

type List = (direction: 'to-lport' | 'from-lport', priority: number, of: string, match: string, action: string) => void;

/** Makes a row of that table for that purpose. @returns its uuid */
export type Put = (
  table: 'ACL' | 'Address_Set' | 'Port_Group',
  id: string,
  columns: { readonly [column: string]: string | number | readonly string[] },
) => string;

/**
 * @param theirs ranges of the VPCs that it is joined with
 * @param ports uuids of the VPC's interfaces
 */
export function accessLists(spec: VpcSpec, theirs: readonly Prefix[], ports: readonly string[], put: Put): void {
  const { vpcId } = spec;
  const group = `pg_${safeName(vpcId)}`;
  const acls: string[] = [];
  const list: List = (direction, priority, of, match, action) => {
    acls.push(put('ACL', `${vpcId}|${direction}|${priority}|${of}`, { direction, priority, match, action }));
  };
  guard(spec, theirs, put, list);
  const hops = nextHops(spec);
  for (const port of spec.interfaces) {
    if (!isOpen(port, hops)) continue;
    ownArp(port, list);
    if (port.sanityCheck) ownSources(port, list);
    // Whatever is neither IP nor ARP.
    list('from-lport', 998, port.id, `inport == "${port.id}"`, 'drop');
  }
  put('Port_Group', vpcId, { name: group, ports: [...ports].sort(byText), acls: acls.sort(byText) });
}

/**
 * Who has no source check (an appliance) may send with any address, but inside its own VPC only: its packets to a peer
 * leave its port with its own addresses or not at all. So nobody else's guard need open for it.
 */
function guard(spec: VpcSpec, theirs: readonly Prefix[], put: Put, list: List): void {
  const name = safeName(spec.vpcId);
  const set = (what: string, family: 4 | 6, prefixes: readonly Prefix[]): void => {
    const addresses = ofFamily(family, prefixes);
    put('Address_Set', `${spec.vpcId}|${what}|${family}`, { name: `${what}_${name}_${family}`, addresses });
  };
  for (const family of [4, 6] as const) set('reach', family, [...rangesOf(spec), ...theirs]);
  const appliances = spec.interfaces.filter(({ sanityCheck }) => !sanityCheck);
  // What is link-local is of this link: it goes to nobody by an address that others could send to.
  const near = 'ip6.src == fe80::/10 && ip6.dst == {fe80::/10, ff02::/16}';
  const from = `(ip4.src == $reach_${name}_4 || ip6.src == $reach_${name}_6 || (${near}))`;
  list('to-lport', 1001, '', `outport == @pg_${name} && ${from}`, 'allow-stateless');
  list('to-lport', 1000, '', `outport == @pg_${name} && ip`, appliances.length > 0 ? 'allow-stateless' : 'drop');
  if (appliances.length === 0) return;
  for (const family of [4, 6] as const) set('peers', family, theirs);
  const to = `(ip4.dst == $peers_${name}_4 || ip6.dst == $peers_${name}_6)`;
  for (const { id, addresses } of appliances) {
    const own = matches(
      'src',
      addresses.map(({ address }) => address),
    );
    list('from-lport', 1001, id, `inport == "${id}" && (${own})`, 'allow-stateless');
    list('from-lport', 1000, id, `inport == "${id}" && ${to}`, 'drop');
    list('from-lport', 999, id, `inport == "${id}" && ip`, 'allow-stateless');
  }
}

/** In ARP only its own addresses: its neighbours would believe it. OVN lets no access list judge neighbour discovery. */
function ownArp({ id, addresses }: InterfaceSpec, list: List): void {
  const own = ofFamily(
    4,
    addresses.map(({ address }) => address),
  );
  const from = `inport == "${id}"`;
  if (own.length > 0) {
    list('from-lport', 1003, id, `${from} && arp.spa == {${own.join(', ')}}`, 'allow-stateless');
  }
  list('from-lport', 1002, id, `${from} && arp`, 'drop');
}

/** Its own source addresses in IP, as port security has it. */
function ownSources({ id, mac, addresses }: InterfaceSpec, list: List): void {
  const own = [...addresses.map(({ address }) => address), linkLocalOf(mac)];
  const joins = 'ip6.src == :: && ip6.dst == ff02::/16 && icmp6.type == {131, 143}';
  list('from-lport', 1001, id, `inport == "${id}" && (${matches('src', own)} || (${joins}))`, 'allow-stateless');
  list('from-lport', 1000, id, `inport == "${id}" && ip`, 'drop');
}

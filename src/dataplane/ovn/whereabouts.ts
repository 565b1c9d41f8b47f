/** On which hosts the interfaces of VPCs are, as the southbound database and the hosts themselves say. */
import type { VpcId } from '../../model/ids.ts';
import type { VpcSpec } from '../../model/network-spec.ts';
import type { Hosts } from './hosts.ts';
import type { Ovsdb } from './ovsdb.ts';

export interface Binding {
  readonly host: string | undefined;
  /** Of the port's flows: 8 hexadecimal digits. */
  readonly cookie: string;
}
type Specs = ReadonlyMap<VpcId, VpcSpec>;

/** A VPC and those that it is, or was, joined with: whoever has both halves. */
function around(specs: Specs, vpcId: VpcId): readonly VpcSpec[] {
  const own = specs.get(vpcId);
  if (own === undefined) return [];
  const remotes = own.halves.flatMap(({ remoteVpcId }) => specs.get(remoteVpcId) ?? []);
  return [own, ...remotes.filter(({ halves }) => halves.some((half) => half.remoteVpcId === vpcId))];
}

export class Whereabouts {
  readonly #hosts: Pick<Hosts, 'attachments'>;
  readonly #south: Pick<Ovsdb, 'rows'>;

  constructor(hosts: Pick<Hosts, 'attachments'>, south: Pick<Ovsdb, 'rows'>) {
    this.#hosts = hosts;
    this.#south = south;
  }

  /** Where each port is bound. */
  bindings(): ReadonlyMap<string, Binding> {
    const names = new Map([...this.#south.rows('Chassis')].map(([uuid, row]) => [uuid, String(row['name'])]));
    return new Map(
      [...this.#south.rows('Port_Binding')].map(([uuid, row]) => {
        const [chassis] = (row['chassis'] ?? []) as readonly string[];
        const host = chassis === undefined ? undefined : names.get(chassis);
        return [String(row['logical_port']), { host, cookie: uuid.slice(0, 8) }];
      }),
    );
  }

  /** Of each VPC the hosts that must carry out what changes of it, as things are now. */
  of(specs: Specs, vpcIds: Iterable<VpcId>): ReadonlyMap<VpcId, ReadonlySet<string>> {
    const places = new Map<string, Set<string>>();
    const put = (port: string, host: string): void => {
      const at = places.get(port);
      if (at === undefined) places.set(port, new Set([host]));
      else at.add(host);
    };
    for (const [port, { host }] of this.bindings()) if (host !== undefined) put(port, host);
    // A host that says it has one may not be known to the database yet.
    for (const { host, portId } of this.#hosts.attachments()) put(portId, host);
    const hostsOf = (vpcId: VpcId): ReadonlySet<string> =>
      new Set(
        around(specs, vpcId).flatMap(({ interfaces }) => interfaces.flatMap(({ id }) => [...(places.get(id) ?? [])])),
      );
    return new Map([...vpcIds].map((vpcId) => [vpcId, hostsOf(vpcId)]));
  }
}

/** What either says. */
export function together(
  ...all: readonly ReadonlyMap<VpcId, ReadonlySet<string>>[]
): ReadonlyMap<VpcId, ReadonlySet<string>> {
  const sum = new Map<VpcId, Set<string>>();
  for (const one of all) {
    for (const [vpcId, hosts] of one) sum.set(vpcId, new Set([...(sum.get(vpcId) ?? []), ...hosts]));
  }
  return sum;
}

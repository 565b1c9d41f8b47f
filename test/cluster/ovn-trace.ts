/**
 * What OVN itself says of a packet: `ovn-trace` over the logical flows, as a daemon, and which row of ours is
 * behind the flow that dropped it. Shares no code with `explain` or the driver.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { ClusterBed } from '../../src/cli/demo/cluster-bed.ts';
import { askDaemon } from '../../src/dataplane/ovn/control-socket.ts';
import { Ovsdb } from '../../src/dataplane/ovn/ovsdb.ts';
import type { Packet } from '../../src/explain/explain.ts';
import type { DropReason } from '../../src/model/drop-reason.ts';
import type { PortId } from '../../src/model/ids.ts';
import { familyOf } from '../../src/model/ip.ts';

const patience = 10_000;

export type OvnVerdict =
  | { readonly kind: 'delivered'; readonly to: PortId; readonly ttl: number }
  | {
      readonly kind: 'dropped';
      /** The stage of OVN's pipeline, such as `lr_in_ip_routing`. */
      readonly stage: string;
      /** null: the stage does not tell. */
      readonly reason: DropReason | null;
    };

const flowOf = (packet: Packet): string => {
  const version = familyOf(packet.source);
  return [
    `inport == "${packet.from}" && eth.src == ${packet.sourceMac} && eth.dst == ${packet.destinationMac}`,
    `ip${version}.src == ${packet.source} && ip${version}.dst == ${packet.destination} && ip.ttl == ${packet.ttl}`,
    'udp.dst == 9',
  ].join(' && ');
};
export class OvnTrace {
  readonly #bed: ClusterBed;
  readonly #north: Ovsdb;
  readonly #south: Ovsdb;
  /** Asked for once: whoever leads, this member follows closely enough. */
  #leader: number | undefined;

  private constructor(bed: ClusterBed) {
    this.#bed = bed;
    const tables = {
      Logical_Router_Port: ['name', 'options'],
      Logical_Router_Static_Route: ['route_table', 'ip_prefix', 'external_ids'],
    };
    this.#north = new Ovsdb({ remotes: bed.northbound, database: 'OVN_Northbound', tables });
    const bindings = { Port_Binding: ['logical_port', 'chassis'] };
    this.#south = new Ovsdb({ remotes: bed.southbound, database: 'OVN_Southbound', tables: bindings });
  }

  static async start(bed: ClusterBed): Promise<OvnTrace> {
    const trace = new OvnTrace(bed);
    await Promise.all([trace.#north, trace.#south].map((client) => client.whenConnected(patience)));
    return trace;
  }
  stop(): void {
    this.#north.close();
    this.#south.close();
  }

  /** What the databases have now says of these packets. */
  async verdicts(packets: readonly Packet[]): Promise<readonly OvnVerdict[]> {
    return (await this.#texts(packets)).map((text, at) => this.#read(text, packets[at]?.ttl ?? 0));
  }

  /** It reads the database once, when it starts; so it lives for one question. */
  async #texts(packets: readonly Packet[]): Promise<readonly string[]> {
    this.#leader ??= this.#bed.leader('sb') ?? 1;
    const leader = this.#leader;
    const control = join(this.#bed.folder(leader), 'trace.ctl');
    const database = `--db=unix:${join(this.#bed.folder(leader), 'sb.sock')}`;
    const options = [
      database,
      `--unixctl=${control}`,
      '--no-leader-only',
      '--detach',
      '--no-chdir',
      '--log-file=/dev/null',
    ];
    const child = spawn('ovn-trace', options, { stdio: 'ignore' });
    const [code] = (await once(child, 'exit')) as [number | null];
    if (code !== 0) throw new Error(`ovn-trace ended with ${code}`);
    const texts: string[] = [];
    try {
      for (const packet of packets) texts.push(await askDaemon(control, 'trace', [flowOf(packet)], patience));
    } finally {
      await askDaemon(control, 'exit', [], patience);
    }
    return texts;
  }

  #read(text: string, sentTtl: number): OvnVerdict {
    let [stage, match, inport, ttl] = ['', '', '', sentTtl];
    const dropped = (): OvnVerdict => ({ kind: 'dropped', stage, reason: this.#reasonOf(stage, match, inport) });
    for (const line of text.split('\n')) {
      const step = /^ *\d+\. (\w+) \([^)]*\): (.*), priority \d+, uuid [0-9a-f]{8}$/.exec(line);
      if (step !== null) [, stage = '', match = ''] = step;
      inport = /^ingress\(.*inport="([^"]+)"/.exec(line)?.[1] ?? inport;
      if (/^ *ip\.ttl--;/.test(line)) ttl--;
      // Asked for instead of sent, or answered to the sender: the packet itself ends here.
      if (/^ *drop;/.test(line) || /^ *(arp|nd_ns|icmp[46]|tcp_reset) \{/.test(line)) return dropped();
      const output = /\/\* output to "(port-[^"]+)", type "" \*\//.exec(line);
      if (output === null) continue;
      const to = output[1] as PortId;
      if (this.#isBound(to)) return { kind: 'delivered', to, ttl };
      return { kind: 'dropped', stage: 'output', reason: 'TargetGone' };
    }
    return dropped();
  }

  #isBound(portId: PortId): boolean {
    const rows = [...this.#south.rows('Port_Binding').values()];
    return rows.some((row) => row['logical_port'] === portId && (row['chassis'] as readonly string[]).length > 0);
  }
  #reasonOf(stage: string, match: string, inport: string): DropReason | null {
    switch (stage) {
      case 'ls_in_apply_port_sec':
      case 'ls_in_acl':
        return 'SpoofedAddress';
      case 'lr_in_ip_input':
        // Or it is to an address of the router itself.
        return match.includes('ip.ttl == {0, 1}') ? 'TtlExpired' : 'NoSuchAddress';
      case 'lr_in_policy':
        return 'NoSuchAddress';
      case 'lr_in_ip_routing': {
        // What came over a peering finds the subnets of that VPC and nothing else.
        if (inport.startsWith('pcx-')) return 'NoSuchAddress';
        const prefix = /ip[46]\.dst == (\S+)$/.exec(match)?.[1];
        return prefix === undefined ? 'NoRoute' : this.#reasonOfRoute(inport, prefix);
      }
      default:
        return null;
    }
  }
  /** @param inport of the router: its table is the one that was asked */
  #reasonOfRoute(inport: string, prefix: string): DropReason | null {
    const port = [...this.#north.rows('Logical_Router_Port').values()].find(({ name }) => name === inport);
    const table = (port?.['options'] as { readonly route_table?: string } | undefined)?.route_table;
    const route = [...this.#north.rows('Logical_Router_Static_Route').values()].find(
      (row) => row['route_table'] === table && row['ip_prefix'] === prefix,
    );
    if (route === undefined) return null;
    const { 'isthmus:spec': spec } = route['external_ids'] as { readonly [key: string]: string };
    // A route of our own making: what is the VPC's and in no subnet.
    if (spec === undefined) return 'NoSuchAddress';
    return /"kind":"peering"/.test(spec) ? 'NoPeering' : 'BlackHole';
  }
}

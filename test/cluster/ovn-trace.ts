/**
 * What OVN itself says of a packet: `ovn-trace` over the logical flows, as a daemon, and which row of ours the flow that
 * dropped it was made for. Shares no code with `explain` or the driver.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { ClusterBed } from '../../src/cli/demo/cluster-bed.ts';
import { askDaemon } from '../../src/dataplane/ovn/control-socket.ts';
import { Ovsdb } from '../../src/dataplane/ovn/ovsdb.ts';
import type { Row } from '../../src/dataplane/ovn/ovsdb-wire.ts';
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

const idsOf = (row: Row | undefined): { readonly [key: string]: string } =>
  (row?.['external_ids'] ?? {}) as { readonly [key: string]: string };

export class OvnTrace {
  readonly #control: string;
  readonly #north: Ovsdb;
  readonly #south: Ovsdb;

  private constructor(control: string, north: Ovsdb, south: Ovsdb) {
    this.#control = control;
    this.#north = north;
    this.#south = south;
  }

  static async start(bed: ClusterBed): Promise<OvnTrace> {
    const control = join(bed.folder(1), 'ovn-trace.ctl');
    const database = bed.southbound.join(',');
    const options = ['--no-leader-only', '--detach', '--no-chdir', `--pidfile=${join(bed.folder(1), 'ovn-trace.pid')}`];
    const child = spawn('ovn-trace', [`--db=${database}`, `--unixctl=${control}`, ...options], { stdio: 'ignore' });
    const [code] = (await once(child, 'exit')) as [number | null];
    if (code !== 0) throw new Error(`ovn-trace ended with ${code}`);
    const tables = { Logical_Router_Static_Route: ['external_ids'] };
    const north = new Ovsdb({ remotes: bed.northbound, database: 'OVN_Northbound', tables });
    const flows = { Logical_Flow: ['external_ids'], Port_Binding: ['logical_port', 'chassis'] };
    const south = new Ovsdb({ remotes: bed.southbound, database: 'OVN_Southbound', tables: flows });
    await Promise.all([north.whenConnected(patience), south.whenConnected(patience)]);
    return new OvnTrace(control, north, south);
  }
  async stop(): Promise<void> {
    this.#north.close();
    this.#south.close();
    await askDaemon(this.#control, 'exit', [], patience);
  }

  /** The text of a trace. */
  text(packet: Packet): Promise<string> {
    const version = familyOf(packet.source);
    const flow = [
      `inport == "${packet.from}" && eth.src == ${packet.sourceMac} && eth.dst == ${packet.destinationMac}`,
      `ip${version}.src == ${packet.source} && ip${version}.dst == ${packet.destination} && ip.ttl == ${packet.ttl}`,
      'udp.dst == 9',
    ];
    return askDaemon(this.#control, 'trace', [flow.join(' && ')], patience);
  }

  async verdict(packet: Packet): Promise<OvnVerdict> {
    const text = await this.text(packet);
    let [stage, flow, ttl] = ['', '', packet.ttl];
    for (const line of text.split('\n')) {
      const step = /^ *\d+\. (\w+) \(.*priority \d+, uuid ([0-9a-f]{8})$/.exec(line);
      if (step !== null) [, stage = '', flow = ''] = step;
      if (/^ *ip\.ttl--;/.test(line)) ttl--;
      // Asked for instead of sent, or answered to the sender: the packet itself ends here.
      if (/^ *drop;/.test(line) || /^ *(arp|nd_ns|icmp[46]|tcp_reset) \{/.test(line)) return this.#dropped(stage, flow);
      const output = /\/\* output to "(port-[^"]+)", type "" \*\//.exec(line);
      if (output === null) continue;
      const to = output[1] as PortId;
      if (this.#isBound(to)) return { kind: 'delivered', to, ttl };
      return { kind: 'dropped', stage: 'output', reason: 'TargetGone' };
    }
    return this.#dropped(stage, flow);
  }

  #isBound(portId: PortId): boolean {
    const rows = [...this.#south.rows('Port_Binding').values()];
    return rows.some((row) => row['logical_port'] === portId && (row['chassis'] as readonly string[]).length > 0);
  }
  #dropped(stage: string, flow: string): OvnVerdict {
    return { kind: 'dropped', stage, reason: this.#reasonOf(stage, flow) };
  }
  #reasonOf(stage: string, flow: string): DropReason | null {
    switch (stage) {
      case 'ls_in_apply_port_sec':
      case 'ls_in_acl':
        return 'SpoofedAddress';
      case 'lr_in_ip_input': // to an address of the router itself
      case 'lr_in_policy':
        return 'NoSuchAddress';
      case 'lr_in_ip_routing': {
        const made = [...this.#south.rows('Logical_Flow')].find(([uuid]) => uuid.startsWith(flow));
        const hint = idsOf(made?.[1])['stage-hint'];
        if (hint === undefined) return 'NoRoute';
        const route = [...this.#north.rows('Logical_Router_Static_Route')].find(([uuid]) => uuid.startsWith(hint));
        const spec = idsOf(route?.[1])['isthmus:spec'];
        if (spec === undefined) return 'NoSuchAddress';
        return /"kind":"peering"/.test(spec) ? 'NoPeering' : 'BlackHole';
      }
      default:
        return null;
    }
  }
}

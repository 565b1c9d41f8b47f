/**
 * Disconnects and connects under streams, on a bed of hosts: within the sending host and to another, IPv4 and IPv6. On
 * the hosts a bystander may have many decisions cached, so that it takes Open vSwitch long to look at all of them again:
 * with a few, every fence seems to hold.
 */
import type { Driver } from '../../src/dataplane/driver.ts';
import { flowsIn } from '../../src/dataplane/ovn/barrier.ts';
import { OvnDriver } from '../../src/dataplane/ovn/driver.ts';
import type { HostReading, Hosts, MeterRequest } from '../../src/dataplane/ovn/hosts.ts';
import { Ovsdb } from '../../src/dataplane/ovn/ovsdb.ts';
import type { HalfId, PortId, VpcId } from '../../src/model/ids.ts';
import { type Mac, macOf } from '../../src/model/ip.ts';
import type { InterfaceSpec } from '../../src/model/network-spec.ts';
import { udpFrame } from '../wire/frame.ts';
import { address, Sketch } from '../wire/sketch.ts';
import type { Ground } from './ground.ts';
import { type Line, milliseconds, Streams, wallClock } from './streams.ts';

const pause = (time: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, time));

export interface Disconnect {
  /** Milliseconds from the call to its reply, and to the last packet that was received; 0 when none was. */
  readonly reply: number;
  readonly lastPacket: number;
  /** Packets received after the reply, by line. */
  readonly late: readonly number[];
  /** Milliseconds after the reply of the last of them. */
  readonly lateBy: number;
  /** Decisions cached on the sending host before the call. */
  readonly cached: number;
}

/** A fence that leaves the barrier out: each host has installed the change, as OVN itself acknowledges it. */
class InstalledOnly implements Hosts {
  readonly #ground: Ground;
  constructor(ground: Ground) {
    this.#ground = ground;
  }
  connected(): ReadonlySet<string> {
    return this.#ground.hosts.connected();
  }
  async fence(host: string, number: number): Promise<number> {
    const agent = this.#ground.agent(
      this.#ground.bed.hosts.find((one) => this.#ground.bed.hostName(one) === host) ?? 0,
    );
    while (agent.installed < number) await pause(1);
    return agent.installed;
  }
  async meter(_host: string, _request: MeterRequest): Promise<HostReading> {
    return { running: [], retired: [] };
  }
  attachments(): ReturnType<Hosts['attachments']> {
    return this.#ground.hosts.attachments();
  }
  async follow(_host: string, _spec: InterfaceSpec): Promise<void> {}
  async release(_host: string, _portId: PortId): Promise<void> {}
  onConnected(): void {}
  onAttachment(): void {}
  onDetached(): void {}
  async close(): Promise<void> {}
}

export class FenceTrial {
  readonly #ground: Ground;
  readonly #vpcs: readonly [VpcId, VpcId];
  readonly #halves: readonly [HalfId, HalfId];
  readonly #sender: PortId;
  readonly #streams: Streams;
  /** How many MACs the bystander has used up. */
  #sentMacs = 0;

  private constructor(
    ground: Ground,
    of: {
      readonly vpcs: readonly [VpcId, VpcId];
      readonly halves: readonly [HalfId, HalfId];
      readonly sender: PortId;
      readonly streams: Streams;
    },
  ) {
    this.#ground = ground;
    this.#vpcs = of.vpcs;
    this.#halves = of.halves;
    this.#sender = of.sender;
    this.#streams = of.streams;
  }

  /** @param gap milliseconds between two packets of a line */
  static async start(ground: Ground, gap: number): Promise<FenceTrial> {
    const sketch = new Sketch();
    const red = sketch.vpc('red', '10.1.0.0/16', 'fd00:1::/64');
    const blue = sketch.vpc('blue', '10.2.0.0/16', 'fd00:2::/64');
    const green = sketch.vpc('green', '10.3.0.0/16');
    const gray = sketch.vpc('gray', '10.4.0.0/16');
    const r1 = sketch.port(red, 'r1', ['10.1.0.4', 'fd00:1::4']);
    const b1 = sketch.port(blue, 'b1', ['10.2.0.4', 'fd00:2::4']);
    const b2 = sketch.port(blue, 'b2', ['10.2.0.5', 'fd00:2::5']);
    const sender = sketch.port(green, 'g1', ['10.3.0.4']);
    const y1 = sketch.port(gray, 'y1', ['10.4.0.4']);
    const halves = sketch.join(red, blue);
    sketch.join(green, gray);
    await ground.become(sketch.network());
    const from = await ground.attach(r1, { host: 1 });
    const [far, near] = [await ground.attach(b1, { host: 2 }), await ground.attach(b2, { host: 1 })];
    await ground.attach(sender, { host: 1 });
    await ground.attach(y1, { host: 1 });
    await uncheck(ground, sender);
    ground.bed.vsctl(1, 'set', 'Open_vSwitch', '.', 'other_config:max-idle=120000');
    const line = (name: string, to: typeof far, text: string): Line => ({ name, from, to, address: address(text) });
    const streams = await Streams.start(
      [
        line('to another host, IPv4', far, '10.2.0.4'),
        line('to another host, IPv6', far, 'fd00:2::4'),
        line('inside the host, IPv4', near, '10.2.0.5'),
        line('inside the host, IPv6', near, 'fd00:2::5'),
      ],
      gap,
    );
    await streams.flow();
    return new FenceTrial(ground, { vpcs: [red, blue], halves, sender, streams });
  }

  get names(): readonly string[] {
    return this.#streams.names;
  }
  /** A driver over the same plane whose reply does not wait for the barrier. */
  withoutBarrier(): OvnDriver {
    const { bed, installationId } = this.#ground;
    const { northbound, southbound } = bed;
    return new OvnDriver({ installationId, northbound, southbound, hosts: new InstalledOnly(this.#ground) });
  }

  /** Decisions that the sending host has cached. */
  #cached(): number {
    return flowsIn(this.#ground.bed.appctl(1, 'ovs-vswitchd', 'upcall/show'));
  }
  /** Lets the bystander send with a MAC of its own for each packet until so many decisions are cached. */
  async fill(count: number): Promise<void> {
    const frames = this.#ground.workload(this.#sender).frames();
    const [source, destination] = [address('10.3.0.4'), address('10.4.0.4')];
    const frame = udpFrame(
      { sourceMac: macOf(0xcan << 40n) as Mac, source, destination },
      { from: 7, to: 7 },
      Buffer.alloc(8),
    );
    const most = this.#sentMacs + 20 * count;
    try {
      while (this.#cached() < count) {
        if (this.#sentMacs > most) throw new Error(`only ${this.#cached()} decisions are cached`);
        for (let batch = 0; batch < 40; batch++) {
          for (let packet = 0; packet < 50; packet++) {
            frame.writeUInt32BE(this.#sentMacs++, 8); // the last bytes of the source
            frames.send(frame);
          }
          await pause(8);
        }
      }
    } finally {
      frames.close();
    }
  }

  /** Both halves live. @returns milliseconds until the first packet of each line */
  async connect(driver: Driver = this.#ground.driver): Promise<readonly number[]> {
    const began = wallClock();
    await driver.apply({
      make: this.#vpcs.map((vpcId, side) => {
        const half = {
          id: this.#halves[side] ?? this.#halves[0],
          remoteVpcId: this.#vpcs[1 - side] ?? vpcId,
          live: true,
        };
        return { step: 'put-half', vpcId, half } as const;
      }),
      break: [],
    });
    await this.#streams.flow();
    return this.names.map((_, line) => milliseconds(began, this.#streams.after(line, began)[0] ?? began));
  }

  /** @param settle milliseconds after the reply in which packets are looked for */
  async disconnect(driver: Driver = this.#ground.driver, settle = 300): Promise<Disconnect> {
    await this.#streams.flow();
    const cached = this.#cached();
    const began = wallClock();
    await driver.apply({
      make: [],
      break: this.#vpcs.map(
        (vpcId, side) => ({ step: 'kill-half', vpcId, halfId: this.#halves[side] ?? this.#halves[0] }) as const,
      ),
    });
    const replied = wallClock();
    const sent = this.names.map((_, line) => this.#streams.sent(line));
    await pause(settle);
    const stuck = this.names.filter((_, line) => this.#streams.sent(line) === sent[line]);
    if (stuck.length > 0) throw new Error(`nobody tried after the reply: ${stuck.join(', ')}`);
    const last = this.names.flatMap((_, line) => this.#streams.after(line, began).at(-1) ?? []);
    const late = this.names.map((_, line) => this.#streams.after(line, replied).length);
    const newest = last.sort((a, b) => Number(a - b)).at(-1) ?? began;
    return {
      reply: milliseconds(began, replied),
      lastPacket: milliseconds(began, newest),
      late,
      lateBy: Math.max(0, milliseconds(replied, newest)),
      cached,
    };
  }

  async stop(): Promise<void> {
    await this.#streams.stop();
  }
}

/** Takes the source check off a port by hand, so that it may send with any MAC. */
async function uncheck(ground: Ground, portId: PortId): Promise<void> {
  const north = new Ovsdb({ remotes: ground.bed.northbound, database: 'OVN_Northbound', tables: { NB_Global: [] } });
  try {
    await north.whenConnected(5_000);
    const row = { port_security: ['set', []] };
    await north.transact([{ op: 'update', table: 'Logical_Switch_Port', where: [['name', '==', portId]], row }]);
    await ground.settled();
  } finally {
    north.close();
  }
}

/**
 * Where the numbered edge cases are played: a world on every carrier, or one in the kernel together with the laboratory
 * that it stands on, for what only real frames and sockets can show.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Driver } from '../../src/dataplane/driver.ts';
import type { EbpfOptions } from '../../src/dataplane/ebpf/driver.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import { PlaneView } from '../../src/explain/plane-view.ts';
import type { PortId } from '../../src/model/ids.ts';
import { type Address, familyOf } from '../../src/model/ip.ts';
import { type MakeCarrier, onEbpf, onFake } from '../matrix/carriers.ts';
import { World } from '../matrix/world.ts';
import { cannotRun, type Ending, Lab } from '../wire/lab.ts';
import { address } from '../wire/sketch.ts';
import { Stream } from '../wire/stream.ts';

const timeout = 60_000;
export const pause = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));

/** The same case on every carrier. */
export function onBoth(title: string, play: (world: World, t: TestContext) => Promise<void>): void {
  for (const [name, make, skip] of [
    ['in memory', onFake, false],
    ['in the kernel', onEbpf, cannotRun],
  ] as const) {
    test(`${title} (${name})`, { skip, timeout }, async (t) => play(await World.start(make, t), t));
  }
}

export interface KernelOptions {
  readonly lab?: Partial<EbpfOptions>;
  readonly skip?: string | false;
  /** What stands between the reconciler and the driver. */
  readonly between?: (driver: Driver) => Driver;
}
/** The case on real packets alone. */
export function inKernel(
  title: string,
  play: (world: World, lab: Lab, t: TestContext) => Promise<void>,
  options: KernelOptions = {},
): void {
  test(`${title} (in the kernel)`, { skip: cannotRun || options.skip || false, timeout }, async (t) => {
    const { world, lab } = await kernelWorld(t, options);
    try {
      await play(world, lab, t);
    } finally {
      // Before the workloads end: a stream left running would go on with descriptors that are no longer its own.
      for (const stream of running) await stopped(stream);
    }
  });
}

export async function kernelWorld(ending: Ending, options: KernelOptions = {}): Promise<{ world: World; lab: Lab }> {
  const lab = await Lab.start(ending, options.lab);
  return { world: await World.start(carrierOf(lab, options.between), ending), lab };
}

const carrierOf =
  (lab: Lab, between: (driver: Driver) => Driver = (driver) => driver): MakeCarrier =>
  async () => {
    const plane = new Reconciler(between(lab.driver), { driftInterval: 0 });
    return {
      name: 'ebpf',
      plane,
      attach: async (portId, mtu) => {
        await lab.attach(portId, { attach: (request) => plane.attach(request), ...(mtu === undefined ? {} : { mtu }) });
      },
      detach: async (portId) => {
        await plane.detach(portId);
        lab.forget(portId);
      },
      forget: (portId) => lab.forget(portId),
      probe: (from, to, handedOnly) => lab.sendProbe(from, to, handedOnly ? 20 : 2000),
      tamper: (plan) => lab.driver.apply(plan),
      observed: async () => {
        const { network, attachments } = await lab.driver.observe();
        const attached = attachments.filter(({ state }) => state === 'attached');
        return { view: new PlaneView(network), attached: new Map(attached.map(({ portId, mtu }) => [portId, mtu])) };
      },
    };
  };

export type Site = Awaited<ReturnType<World['site']>>;
/** VPCs of a tenant each, with a workload each, peered with nobody yet: 10.1.0.0/16, 10.2.0.0/16 and so on. */
export async function sites(world: World, ...names: readonly string[]): Promise<readonly Site[]> {
  const made: Site[] = [];
  for (const name of names) made.push(await world.site(name, name, made.length + 1));
  return made;
}
export async function pair(world: World): Promise<readonly [Site, Site]> {
  const [a, b] = await sites(world, 'red', 'blue');
  return [a ?? assert.fail(), b ?? assert.fail()];
}
export async function three(world: World): Promise<readonly [Site, Site, Site]> {
  const [a, b, c] = await sites(world, 'red', 'blue', 'green');
  return [a ?? assert.fail(), b ?? assert.fail(), c ?? assert.fail()];
}

export const stateOf = (world: World, halfId: string): string => world.state.get('peering', halfId)?.state ?? 'gone';

/** What becomes of a probe to that very address: 'delivered', 'to' somebody else, or the exit. */
export async function reaches(world: World, from: PortId, to: Address | string, who?: PortId): Promise<string> {
  const probe = await world.carrier.probe(from, address(to), false);
  if (!('delivered' in probe)) return probe.exit;
  return who === undefined || probe.delivered === who ? 'delivered' : `to ${probe.delivered}`;
}
/** The addresses of a site's workload, one of each family. */
export const addressesOf = (world: World, { portId }: Site): readonly Address[] => world.interface(portId).primary;
export const gatewayOf = (site: Site, family: 4 | 6): Address => {
  const cidr = site.cidrs.find((text) => (text.includes(':') ? 6 : 4) === family) ?? assert.fail();
  return address(cidr.replace(/0\.0\/16$/, '0.1').replace(/::\/64$/, '::1'));
};
export const oneFamily = (addresses: readonly Address[], family: 4 | 6): Address =>
  addresses.find((own) => familyOf(own) === family) ?? assert.fail(`no IPv${family} address`);

const running = new Set<Stream>();
/** Datagrams from one interface's workload to another's, one a millisecond unless told. Stopped with the case. */
export async function streaming(
  world: World,
  lab: Lab,
  from: PortId,
  to: PortId,
  family: 4 | 6,
  gap = 1,
): Promise<Stream> {
  const target = oneFamily(world.interface(to).primary, family);
  const stream = await Stream.udp(lab.workload(from), lab.workload(to), target, gap);
  running.add(stream);
  return stream;
}
/** One TCP connection, as fast as it goes. Stopped with the case. */
export async function connected(world: World, lab: Lab, from: PortId, to: PortId, family: 4 | 6): Promise<Stream> {
  const stream = await Stream.tcp(lab.workload(from), lab.workload(to), oneFamily(world.interface(to).primary, family));
  running.add(stream);
  return stream;
}
export function stopped(stream: Stream): Promise<{ readonly sent: number; readonly received: number }> {
  running.delete(stream);
  return stream.stop();
}
/** Waits until each has sent so many, however slow the machine is; the case's time limit is the bound. */
export async function enough(streams: readonly Stream[], least: number): Promise<void> {
  while (streams.some(({ sent }) => sent < least)) await pause(5);
}
/** Stops the streams once they have sent enough to tell; all that was sent has arrived. */
export async function noneLost(streams: readonly Stream[], least: number): Promise<void> {
  await enough(streams, least);
  for (const stream of streams) {
    const { sent, received } = await stopped(stream);
    assert.equal(received, sent, 'datagrams arrived');
  }
}

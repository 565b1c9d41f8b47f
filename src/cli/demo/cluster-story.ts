/**
 * The story of `demo --cluster`: two tenants on three hosts join, a third is refused, then things are killed while packets
 * flow and what was lost is shown, and at last a host is cut off and a peering ended without it.
 */
import type { Page } from './page.ts';
import type { Tenant } from './stage.ts';
import type { Heard } from './workload.ts';

export interface ClusterWorkload {
  readonly name: string;
  readonly portId: string;
  readonly address: string;
  readonly host: string;
  ping(address: string, patience?: number): Promise<boolean>;
  beat(name: string, address: string): Promise<unknown>;
  /** @returns how many were sent */
  stopBeat(name: string): Promise<number>;
  heard(name: string): Promise<Heard>;
  /** Packets that have entered it. */
  entered(): Promise<number>;
}

/** Something to kill, and to bring back. */
export interface Fault {
  readonly what: string;
  /** Whether commands are carried out while it lasts. */
  readonly commands: boolean;
  begin(): Promise<void>;
  end(): Promise<void>;
}

export interface ClusterStage {
  readonly description: string;
  /** How long it took to start, and what there is. */
  readonly started: readonly { readonly text: string; readonly milliseconds: number }[];
  /** The hosts as the region sees them. */
  hosts(): Promise<readonly { readonly name: string; readonly connected: boolean }[]>;
  tenant(name: string): Promise<Tenant>;
  workload(name: string, portId: string, address: string, host: string): Promise<ClusterWorkload>;
  readonly faults: readonly Fault[];
  /** What is measured, for it does lose packets. */
  readonly switchRestart: Fault;
  cut(host: string): Promise<void>;
  heal(host: string): Promise<void>;
  suggestions(tenants: readonly Tenant[], workloads: readonly ClusterWorkload[]): readonly string[];
  close(): Promise<void>;
}

interface Site {
  readonly tenant: Tenant;
  readonly vpcId: string;
  readonly cidr: string;
  readonly routeTableId: string;
  readonly subnetId: string;
}
interface Half {
  readonly vpcPeeringId: string;
  readonly vpcPeeringState: string;
  readonly notFencedOn?: readonly string[];
}

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
/** How long something stays dead, in milliseconds. */
const deadFor = 2000;

export async function playClusterStory(
  stage: ClusterStage,
  page: Page,
): Promise<{ readonly tenants: readonly Tenant[]; readonly workloads: readonly ClusterWorkload[] }> {
  const check = async <T>(work: () => Promise<T>, says: (result: T) => readonly [boolean, string]): Promise<T> => {
    const start = performance.now();
    const result = await work();
    const milliseconds = performance.now() - start;
    const [held, text] = says(result);
    page.check(text, held, milliseconds);
    return result;
  };
  const until = async (holds: () => Promise<boolean>, patience: number): Promise<boolean> => {
    for (const end = performance.now() + patience; performance.now() < end; await pause(50)) {
      if (await holds()) return true;
    }
    return false;
  };

  page.chapter('Three hosts, two API servers');
  for (const { text, milliseconds } of stage.started) page.check(text, true, milliseconds);
  await check(
    async () => (await stage.hosts()).filter(({ connected }) => connected).map(({ name }) => name),
    (names) => [names.length === 3, `joined and connected: ${names.join(', ')}`],
  );

  const site = async (label: string, cidr: string): Promise<Site> => {
    const tenant = await stage.tenant(label);
    const { vpcId } = await tenant.call<{ vpcId: string }>('POST', '/vpcs/', { vpcName: label, addressPrefix: cidr });
    const { subnetId } = await tenant.call<{ subnetId: string }>('POST', '/subnets/', {
      ...{ vpcId, subnetName: label, addressPrefix: cidr.replace('.0.0/16', '.1.0/24') },
    });
    const { vpc } = await tenant.call<{ vpc: { routeTableIds: string[] } }>('GET', `/vpcs/${vpcId}`);
    return { tenant, vpcId, cidr, routeTableId: vpc.routeTableIds[0] ?? '', subnetId };
  };
  const workloads: ClusterWorkload[] = [];
  const place = async (of: Site, name: string, host: string): Promise<ClusterWorkload> => {
    const { networkInterfaceId } = await of.tenant.call<{ networkInterfaceId: string }>('POST', '/networkInterfaces/', {
      ...{ subnetId: of.subnetId, networkInterfaceName: name },
    });
    const { networkInterface } = await of.tenant.call<{
      networkInterface: { primaryIp: { privateIpAddress: string } };
    }>('GET', `/networkInterfaces/${networkInterfaceId}`);
    const { privateIpAddress } = networkInterface.primaryIp;
    const made = await check(
      () => stage.workload(name, networkInterfaceId, privateIpAddress, host),
      () => [true, `${name.padEnd(7)} ${privateIpAddress.padEnd(10)} on ${host}`],
    );
    workloads.push(made);
    return made;
  };
  const half = (from: Site, to: Site): Promise<Half> =>
    from.tenant
      .call<{ vpcPeering: Half }>('POST', '/vpcPeerings/', {
        vpcPeeringName: `${from.tenant.name}-to-${to.tenant.name}`,
        vpcId: from.vpcId,
        remoteVpcId: to.vpcId,
      })
      .then(({ vpcPeering }) => vpcPeering);
  const shown = async (of: Site, { vpcPeeringId }: Half): Promise<Half> =>
    (await of.tenant.call<{ vpcPeering: Half }>('GET', `/vpcPeerings/${vpcPeeringId}`)).vpcPeering;
  const route = (of: Site, destination: string, { vpcPeeringId }: Half): Promise<unknown> =>
    of.tenant.call('POST', `/routeTables/${of.routeTableId}:addRouteTableRules`, {
      routeTableRuleSpecs: [{ nextHopType: 'vpc_peering', nextHopId: vpcPeeringId, addressPrefix: destination }],
    });
  const pings = (from: ClusterWorkload, to: ClusterWorkload, wanted: boolean): Promise<boolean> =>
    check(
      // Where an answer is wanted, a host may still be asking for the tunnel's neighbour.
      () => (wanted ? until(() => from.ping(to.address, 500), 5000) : from.ping(to.address, 500)),
      (answered) => [
        answered === wanted,
        `ping ${from.name} (${from.host}) → ${to.name} (${to.host}): ${answered ? 'answered' : 'no answer'}`,
      ],
    );

  page.chapter('Two tenants, a VPC each, workloads on different hosts');
  const red = await site('red', '10.0.0.0/16');
  const blue = await site('blue', '10.1.0.0/16');
  const red1 = await place(red, 'red-1', 'h1');
  const blue2 = await place(blue, 'blue-2', 'h2');
  const blue3 = await place(blue, 'blue-3', 'h3');
  await pings(blue2, blue3, true);
  await pings(red1, blue2, false);

  page.chapter('Both consent, both route');
  const redHalf = await check(
    () => half(red, blue),
    (one) => [one.vpcPeeringState === 'Initiated', `red asks: ${one.vpcPeeringState}`],
  );
  const blueHalf = await check(
    () => half(blue, red),
    (one) => [one.vpcPeeringState === 'Connected', `blue consents: ${one.vpcPeeringState}`],
  );
  await pings(red1, blue2, false);
  await check(
    () => Promise.all([route(red, blue.cidr, redHalf), route(blue, red.cidr, blueHalf)]),
    () => [true, 'a route on each side'],
  );
  await pings(red1, blue2, true);
  await pings(blue3, red1, true);

  page.chapter('Not transitive: green peers with blue, and plays foul');
  const green = await site('green', '10.2.0.0/16');
  const green3 = await place(green, 'green-3', 'h3');
  const greenHalf = await half(green, blue);
  const blueGreen = await half(blue, green);
  await route(green, blue.cidr, greenHalf);
  await route(blue, green.cidr, blueGreen);
  await route(green, red.cidr, greenHalf);
  await route(red, green.cidr, redHalf);
  await pings(green3, blue2, true);
  await pings(green3, red1, false);
  await pings(red1, green3, false);

  page.chapter('Blue leaves, under a running stream');
  await red1.beat('leave', blue2.address);
  await pause(500);
  await check(
    () => blue2.heard('leave'),
    ({ count }) => [count > 0, `a datagram every 2 ms, red-1 (h1) → blue-2 (h2): ${count} so far`],
  );
  const before = await check(
    async () => {
      await blue.tenant.call('DELETE', `/vpcPeerings/${blueHalf.vpcPeeringId}`);
      return blue2.entered();
    },
    () => [true, 'blue deletes its half; the reply comes when both hosts have forgotten it'],
  );
  await check(
    async () => {
      await pause(1200);
      return (await blue2.entered()) - before;
    },
    (late) => [late === 0, `packets after the reply: ${late}`],
  );
  await check(
    () => half(blue, red),
    (one) => [
      one.vpcPeeringState === 'Connected' && one.vpcPeeringId === blueHalf.vpcPeeringId,
      `blue returns: ${one.vpcPeeringState}, with its old id`,
    ],
  );
  const silent = (await blue2.heard('leave')).count;
  await check(
    () => until(async () => (await blue2.heard('leave')).count > silent, 5000),
    (again) => [again, 'and the stream goes on'],
  );
  await red1.stopBeat('leave');

  page.chapter('Killed, while a datagram flows every 2 ms three ways');
  const streams = [
    { name: 'ab', from: red1, to: blue2 },
    { name: 'ba', from: blue3, to: red1 },
    { name: 'bb', from: blue2, to: blue3 },
  ] as const;
  for (const { name, from, to } of streams) await from.beat(name, to.address);
  await pause(300);
  /** Of numbers 1 to the highest that arrived: what did not. */
  const lost = async (): Promise<number> => {
    const all = await Promise.all(streams.map(({ name, to }) => to.heard(name)));
    return all.reduce((sum, { count, highest }) => sum + highest - count, 0);
  };
  const through = async (): Promise<number> =>
    (await Promise.all(streams.map(({ name, to }) => to.heard(name)))).reduce((sum, { count }) => sum + count, 0);
  /** Until every stream carries: only then its numbers tell what was lost. */
  const flowing = async (): Promise<void> => {
    const before = await Promise.all(streams.map(({ name, to }) => to.heard(name)));
    await until(async () => {
      const now = await Promise.all(streams.map(({ name, to }) => to.heard(name)));
      return now.every(({ count }, at) => count > (before[at]?.count ?? 0));
    }, 60_000);
  };
  let commands = 0;
  const strike = async (fault: Fault): Promise<{ lost: number; carried: number; command: string }> => {
    const [lostBefore, carriedBefore] = [await lost(), await through()];
    await fault.begin();
    let command = '';
    const end = performance.now() + deadFor;
    if (fault.commands) {
      const name = `while-${++commands}`;
      const done = await until(async () => {
        try {
          await red.tenant.call('POST', '/vpcs/', { vpcName: name, addressPrefix: `10.${100 + commands}.0.0/16` });
          return true;
        } catch {
          return false;
        }
      }, 20_000);
      command = done ? '; a command is carried out' : '; NO command is carried out';
    }
    await pause(Math.max(0, end - performance.now()));
    await fault.end();
    await pause(deadFor / 2);
    await flowing();
    return { lost: (await lost()) - lostBefore, carried: (await through()) - carriedBefore, command };
  };
  for (const fault of stage.faults) {
    await check(
      () => strike(fault),
      (of) => [
        of.lost === 0 && of.carried > 0 && !of.command.includes('NO'),
        `${fault.what}: lost ${of.lost} of ${of.carried}${of.command}`,
      ],
    );
  }
  await check(
    () => strike(stage.switchRestart),
    (of) => [of.carried > 0, `${stage.switchRestart.what}: lost ${of.lost} of ${of.lost + of.carried}, and it goes on`],
  );
  page.note('The one that does lose packets: what forwards on that host was gone, and begins from nothing.');

  page.chapter('A host is cut off from the region, and the peering ends without it');
  await check(
    async () => {
      await stage.cut('h3');
      const [lostBefore, carriedBefore] = [await lost(), await through()];
      await pause(deadFor);
      return { lost: (await lost()) - lostBefore, carried: (await through()) - carriedBefore };
    },
    (of) => [of.lost === 0 && of.carried > 0, `h3 is cut off; its traffic goes on: lost ${of.lost} of ${of.carried}`],
  );
  for (const { name, from } of streams.slice(0, 1)) await from.stopBeat(name);
  const cut = await check(
    async () => {
      const answer = await red.tenant.call<{ notFencedOn?: readonly string[] }>(
        'DELETE',
        `/vpcPeerings/${redHalf.vpcPeeringId}`,
      );
      return { answer, entered: await red1.entered() };
    },
    ({ answer: { notFencedOn = [] } }) => [
      notFencedOn.join() === 'h3',
      `red deletes its half: 202, not yet fenced on: ${notFencedOn.join(', ') || 'nobody'}`,
    ],
  );
  await check(
    async () => {
      await pause(1000);
      return (await red1.entered()) - cut.entered;
    },
    (late) => [late === 0, `blue-3 on h3 still sends; what enters red-1 on h1: ${late} packets`],
  );
  await check(
    () => shown(blue, blueHalf),
    ({ vpcPeeringState: state, notFencedOn = [] }) => [
      state === 'Disconnected' && notFencedOn.join() === 'h3',
      `blue sees it: ${state}, not fenced on ${notFencedOn.join(', ')}`,
    ],
  );
  await check(
    async () => {
      await stage.heal('h3');
      return until(async () => ((await shown(blue, blueHalf)).notFencedOn ?? []).length === 0, 60_000);
    },
    (fenced) => [fenced, 'h3 is back, and is fenced without help'],
  );
  for (const { name, from } of streams) await from.stopBeat(name);
  return { tenants: [red.tenant, blue.tenant, green.tenant], workloads };
}

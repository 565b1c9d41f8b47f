/**
 * The story of the demo, from two strangers to a measured goodbye. Every line is a check made with packets; a check that
 * does not hold is shown and counted, and the story goes on where it can.
 */
import { type Exit, exits } from '../../model/drop-reason.ts';
import type { Page } from './page.ts';
import { ApiRefusal, type Stage, type Tenant, type Workload } from './stage.ts';

interface Side {
  readonly tenant: Tenant;
  readonly vpcId: string;
  readonly cidr: string;
  readonly routeTableId: string;
  readonly workload: Workload;
}
interface Half {
  readonly vpcPeeringId: string;
  readonly vpcPeeringState: string;
}
interface Usage {
  readonly sent: { readonly packets: number; readonly bytes: number };
  readonly price: string;
}

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
const gigabits = (bits: number): string => `${(bits / 1e9).toFixed(1)} Gbit/s`;

export async function playStory(
  stage: Stage,
  page: Page,
): Promise<{ readonly tenants: readonly Tenant[]; readonly workloads: readonly Workload[] }> {
  const timed = async <T>(work: () => Promise<T>): Promise<readonly [T, number]> => {
    const start = performance.now();
    const result = await work();
    return [result, performance.now() - start];
  };
  /** Makes a check of some work: its text may depend on the result. */
  const check = async <T>(work: () => Promise<T>, says: (result: T) => readonly [boolean, string]): Promise<T> => {
    const [result, milliseconds] = await timed(work);
    const [held, text] = says(result);
    page.check(text, held, milliseconds);
    return result;
  };
  const ip = (side: Side): string => side.workload.address;
  const name = (side: Side): string => side.tenant.name;

  /** Pings, and says which drops of the sender's interface grew. A workload's own stack may speak in between. */
  const pingAndSee = async (from: Side, to: Side): Promise<{ answered: boolean; drops: readonly Exit[] }> => {
    const before = await stage.exits(from.tenant, from.workload.portId);
    const answered = await from.workload.ping(ip(to));
    const after = await stage.exits(from.tenant, from.workload.portId);
    const grown = [...after].filter(([exit, packets]) => exits[exit].drop && packets > (before.get(exit) ?? 0));
    return { answered, drops: grown.map(([exit]) => exit) };
  };
  const expectDrop = async (from: Side, to: Side, wanted: Exit): Promise<void> => {
    await check(
      () => pingAndSee(from, to),
      ({ answered, drops }) => {
        if (answered) return [false, `${name(from)} reached ${name(to)} (${ip(to)}), which must not be`];
        const seen = drops.includes(wanted) ? wanted : drops.join(', ') || 'nothing that was counted';
        return [seen === wanted, `${name(from)} → ${name(to)} (${ip(to)}): no answer, dropped as ${seen}`];
      },
    );
  };

  const side = async (label: string, cidr: string, subnet: string): Promise<Side> => {
    const [made, milliseconds] = await timed(async () => {
      const tenant = await stage.tenant(label);
      const { vpcId } = await tenant.call<{ vpcId: string }>('POST', '/vpcs/', { vpcName: label, addressPrefix: cidr });
      const { subnetId } = await tenant.call<{ subnetId: string }>('POST', '/subnets/', {
        vpcId,
        subnetName: label,
        addressPrefix: subnet,
      });
      const { networkInterfaceId } = await tenant.call<{ networkInterfaceId: string }>('POST', '/networkInterfaces/', {
        subnetId,
        networkInterfaceName: label,
      });
      const { networkInterface } = await tenant.call<{
        networkInterface: { primaryIp: { privateIpAddress: string } };
      }>('GET', `/networkInterfaces/${networkInterfaceId}`);
      const { vpc } = await tenant.call<{ vpc: { routeTableIds: string[] } }>('GET', `/vpcs/${vpcId}`);
      const address = networkInterface.primaryIp.privateIpAddress;
      const workload = await stage.workload(label, networkInterfaceId, address);
      return { tenant, vpcId, cidr, routeTableId: vpc.routeTableIds[0] ?? '', workload };
    });
    page.check(`${label.padEnd(6)} ${made.vpcId}  ${cidr}, workload at ${ip(made)}`, true, milliseconds);
    return made;
  };
  const createHalf = (from: Side, to: Side): Promise<Half> =>
    from.tenant
      .call<{ vpcPeering: Half }>('POST', '/vpcPeerings/', {
        vpcPeeringName: `${name(from)}-to-${name(to)}`,
        vpcId: from.vpcId,
        remoteVpcId: to.vpcId,
      })
      .then(({ vpcPeering }) => vpcPeering);
  const stateOf = async (of: Side, half: Half): Promise<string> => {
    const answer = await of.tenant.call<{ vpcPeering: Half }>('GET', `/vpcPeerings/${half.vpcPeeringId}`);
    return answer.vpcPeering.vpcPeeringState;
  };
  const addRoute = (of: Side, destination: string, half: Half): Promise<unknown> =>
    of.tenant.call('POST', `/routeTables/${of.routeTableId}:addRouteTableRules`, {
      routeTableRuleSpecs: [{ nextHopType: 'vpc_peering', nextHopId: half.vpcPeeringId, addressPrefix: destination }],
    });
  const usage = (of: Side, half: Half): Promise<Usage> =>
    of.tenant.call<Usage>('GET', `/vpcPeerings/${half.vpcPeeringId}/usage`);

  page.chapter('Two tenants, a VPC each');
  const red = await side('red', '10.0.0.0/16', '10.0.1.0/24');
  const blue = await side('blue', '10.1.0.0/16', '10.1.1.0/24');
  await expectDrop(red, blue, 'BlackHole');
  page.note('Only the default rule 0.0.0.0/0 matches, and no internet egress exists.');

  page.chapter('One half: red asks');
  const redHalf = await check(
    () => createHalf(red, blue),
    (half) => [half.vpcPeeringState === 'Initiated', `red creates ${half.vpcPeeringId}: ${half.vpcPeeringState}`],
  );
  await expectDrop(red, blue, 'BlackHole');
  await expectDrop(blue, red, 'BlackHole');

  page.chapter('Both halves: blue consents');
  const blueHalf = await check(
    () => createHalf(blue, red),
    (half) => [half.vpcPeeringState === 'Connected', `blue creates ${half.vpcPeeringId}: ${half.vpcPeeringState}`],
  );
  await check(
    () => stateOf(red, redHalf),
    (state) => [state === 'Connected', `red's half shows ${state}`],
  );
  await expectDrop(red, blue, 'BlackHole');
  page.note(`Connected, but no route: ${red.routeTableId} has no rule that leads to ${blue.cidr}.`);

  page.chapter('A route on one side');
  await check(
    () => addRoute(red, blue.cidr, redHalf),
    () => [true, `red routes ${blue.cidr} to ${redHalf.vpcPeeringId}`],
  );
  const seenBefore = await blue.workload.requestsSeen();
  const blueBefore = await stage.exits(blue.tenant, blue.workload.portId);
  await check(
    () => red.workload.ping(ip(blue)),
    (answered) => [!answered, answered ? 'red was answered, which must not be' : 'red → blue: no answer'],
  );
  await check(
    async () => (await blue.workload.requestsSeen()) - seenBefore,
    (arrived) => [arrived === 1, `yet the request arrived at blue (${arrived} seen)`],
  );
  await check(
    async () => (await stage.exits(blue.tenant, blue.workload.portId)).get('BlackHole') ?? 0,
    (dropped) => [dropped > (blueBefore.get('BlackHole') ?? 0), 'and its reply was dropped at blue: BlackHole'],
  );
  page.note(`Missing: a rule for ${red.cidr} in blue's table ${blue.routeTableId}.`);

  page.chapter('Routes on both sides');
  await check(
    () => addRoute(blue, red.cidr, blueHalf),
    () => [true, `blue routes ${red.cidr} to ${blueHalf.vpcPeeringId}`],
  );
  await check(
    () => red.workload.ping(ip(blue)),
    (answered) => [answered, `ping red → blue: ${answered ? 'answered' : 'no answer'}`],
  );
  await check(
    () => blue.workload.ping(ip(red)),
    (answered) => [answered, `ping blue → red: ${answered ? 'answered' : 'no answer'}`],
  );
  await check(
    () => red.workload.fetch(ip(blue)),
    (answer) => [answer === 'hello from blue', `HTTP red → blue: ${answer === null ? 'no answer' : `"${answer}"`}`],
  );
  const [speed, speedTime] = await timed(() => stage.throughput(red.workload, blue.workload));
  if (speed === null) page.note('No throughput figure: there is no wire in memory.');
  else {
    const ratio = speed.peered / speed.raw;
    page.check(
      `TCP: ${gigabits(speed.peered)} peered, ${gigabits(speed.raw)} bare veth pair (${ratio.toFixed(2)}×)`,
      speed.peered > 0,
      speedTime,
    );
  }

  page.chapter('Not transitive: green peers with blue, and plays foul');
  const green = await side('green', '10.2.0.0/16', '10.2.1.0/24');
  const greenHalf = await createHalf(green, blue);
  const blueGreen = await check(
    () => createHalf(blue, green),
    (half) => [
      half.vpcPeeringState === 'Connected',
      `green and blue are ${half.vpcPeeringState}, routes on both sides`,
    ],
  );
  await addRoute(green, blue.cidr, greenHalf);
  await addRoute(blue, green.cidr, blueGreen);
  await check(
    () => green.workload.ping(ip(blue)),
    (answered) => [answered, `ping green → blue: ${answered ? 'answered' : 'no answer'}`],
  );
  await check(
    async () => {
      await addRoute(green, red.cidr, greenHalf);
      await addRoute(red, green.cidr, redHalf);
    },
    () => [true, 'hostile routes: green and red both point at each other through blue'],
  );
  await expectDrop(green, red, 'NoSuchAddress');
  await expectDrop(red, green, 'NoSuchAddress');
  page.note("What comes over a peering is looked up among blue's own interfaces, never in its routes.");

  page.chapter('Overlap is refused');
  const twin = await red.tenant.call<{ vpcId: string }>('POST', '/vpcs/', {
    vpcName: 'twin',
    addressPrefix: '10.0.128.0/20',
  });
  await check(
    async (): Promise<string> => {
      try {
        await red.tenant.call('POST', '/vpcPeerings/', {
          vpcPeeringName: 'twin',
          vpcId: twin.vpcId,
          remoteVpcId: red.vpcId,
        });
        return '';
      } catch (error) {
        if (error instanceof ApiRefusal) return error.message;
        throw error;
      }
    },
    (message) => [
      message.includes('10.0.128.0/20') && message.includes(red.cidr),
      message === '' ? 'the overlapping peering was accepted, which must not be' : `refused: ${message}`,
    ],
  );

  page.chapter('Blue leaves, under a running TCP stream');
  const stream = await red.workload.stream(ip(blue));
  await pause(700);
  await check(
    () => stream.received(),
    (bytes) => [bytes > 0, `one TCP stream red → blue is running: ${megabytes(bytes)} so far`],
  );
  await check(
    () => blue.tenant.call('DELETE', `/vpcPeerings/${blueHalf.vpcPeeringId}`),
    () => [true, 'blue deletes its half; the reply comes after the fence'],
  );
  const atReply = await usage(red, redHalf);
  const refusedBefore = (await stage.exits(red.tenant, red.workload.portId)).get('NoPeering') ?? 0;
  await check(
    () => stateOf(red, redHalf),
    (state) => [state === 'Disconnected', `red's half shows ${state}`],
  );
  await check(
    async () => {
      await pause(1200);
      return (await usage(red, redHalf)).sent.packets - atReply.sent.packets;
    },
    (late) => [late === 0, `packets after the reply: ${late}`],
  );
  await check(
    async () => (await stage.exits(red.tenant, red.workload.portId)).get('NoPeering') ?? 0,
    (dropped) => [dropped > refusedBefore, `while red kept sending: ${dropped} packets dropped as NoPeering`],
  );

  page.chapter('Blue returns: the same stream goes on');
  const stopped = await stream.received();
  await check(
    () => createHalf(blue, red),
    (half) => [
      half.vpcPeeringState === 'Connected' && half.vpcPeeringId === blueHalf.vpcPeeringId,
      `blue creates its half again: ${half.vpcPeeringState}, with its old id ${half.vpcPeeringId}`,
    ],
  );
  await check(
    async () => {
      for (let waited = 0; waited < 8000; waited += 50) {
        const more = (await stream.received()) - stopped;
        if (more > 0) return more;
        await pause(50);
      }
      return 0;
    },
    (more) => [more > 0, "the same TCP connection carries data again (TCP's own retry sets the time)"],
  );
  await stream.close();

  page.chapter('The bill');
  await check(
    () => usage(red, redHalf),
    ({ sent, price }) => [
      sent.bytes > 0 && price === '0.00',
      `red → blue: ${sent.bytes} bytes in ${sent.packets} packets. Price ${price}`,
    ],
  );
  return { tenants: [red.tenant, blue.tenant, green.tenant], workloads: [red.workload, blue.workload, green.workload] };
}

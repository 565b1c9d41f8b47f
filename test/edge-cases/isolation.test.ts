/** Isolation: what two owners have agreed on is theirs alone, whatever routes, addresses and frames others try. */
import assert from 'node:assert/strict';
import type { PortId } from '../../src/model/ids.ts';
import type { Address, Mac } from '../../src/model/ip.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import type { World } from '../matrix/world.ts';
import { type FrameOptions, udpFrame } from '../wire/frame.ts';
import type { Lab } from '../wire/lab.ts';
import { address } from '../wire/sketch.ts';
import {
  addressesOf,
  gatewayOf,
  inKernel,
  onBoth,
  oneFamily,
  pair,
  pause,
  reaches,
  type Site,
  three,
} from './ground.ts';

const families = [4, 6] as const;
const everywhere = ['0.0.0.0/0', '::/0'] as const;
const elsewhere = { 4: address('198.51.100.7'), 6: address('2001:db8::7') } as const;

onBoth('31. A–B and B–C do not make A–C, with hostile routes on all three', async (w) => {
  const [a, b, c] = await three(w);
  const [ab] = await w.join(a.vpcId, b.vpcId);
  const [bc, cb] = await w.join(b.vpcId, c.vpcId);
  const single = (site: Site): string[] => addressesOf(w, site).map((to) => `${to}/${to.includes(':') ? 128 : 32}`);
  await w.route(a.tableId, ab, ...c.cidrs, ...single(c));
  await w.route(c.tableId, cb, ...a.cidrs, ...single(a));
  await w.route(b.tableId, bc, ...single(a)); // B itself would send what is A's to C
  for (const [from, to] of [
    [a, c],
    [c, a],
  ] as const) {
    assert.equal(await w.sends(from.portId, to.portId), 'NoSuchAddress');
  }
  for (const [from, to] of [
    [a, b],
    [b, c],
    [c, b],
  ] as const) {
    assert.equal(await w.sends(from.portId, to.portId), 'delivered', 'control');
  }
  await w.matrix();
});

// There is no internet gateway; the nearest thing is an appliance that forwards, as next hop of B's default route.
onBoth('32. a default route and an appliance in B serve B, and nobody who comes over a peering', async (w) => {
  const [a, b, c] = await three(w);
  const [ab] = await w.join(a.vpcId, b.vpcId);
  const [bc] = await w.join(b.vpcId, c.vpcId);
  await w.unroute(a.tableId, everywhere[0]);
  await w.route(a.tableId, ab, ...everywhere);
  const outside = async (from: PortId, family: 4 | 6): Promise<string> => reaches(w, from, elsewhere[family]);
  const appliance = await w.port(b.subnetId, { sanityCheck: false });
  await w.unroute(b.tableId, everywhere[0]);
  for (const hop of [appliance, bc] as const) {
    await w.route(b.tableId, hop, ...everywhere);
    for (const family of families) {
      assert.equal(await outside(a.portId, family), 'NoSuchAddress', 'not beyond B');
      const control = await w.carrier.probe(b.portId, elsewhere[family], true);
      const words = 'delivered' in control ? control.delivered : control.exit;
      const expected = hop === appliance ? [appliance, 'Forwarded'] : ['NoSuchAddress'];
      assert.ok(expected.includes(words), `control: B itself is served, got ${words}`);
    }
    assert.equal(await w.sends(a.portId, c.portId), 'NoSuchAddress');
    await w.matrix();
    for (const destination of everywhere) await w.unroute(b.tableId, destination);
  }
  assert.equal(await w.sends(a.portId, b.portId), 'delivered', 'control');
});

// No VPC has a router address towards a peer here; what could answer are the gateways of subnets.
inKernel('33. no gateway but that of the own subnet answers, over any peering', async (w, lab) => {
  const [a, b, c] = await three(w);
  const [ab] = await w.join(a.vpcId, b.vpcId);
  await w.join(b.vpcId, c.vpcId);
  await w.route(a.tableId, ab, ...c.cidrs);
  for (const family of families) {
    const echo = lab.workload(a.portId).echo(family);
    const answered = async (to: Address, patience: number): Promise<boolean> => {
      const sequence = echo.request(to);
      for (const end = performance.now() + patience; performance.now() < end; await pause(1)) {
        for (let got = echo.receive(); got !== undefined; got = echo.receive()) {
          const type = got.message.readUInt8(0);
          if ((type === 0 || type === 129) && got.message.readUInt16BE(6) === sequence) return true;
        }
      }
      return false;
    };
    assert.equal(await answered(gatewayOf(a, family), 2000), true, 'control: its own');
    assert.equal(await answered(oneFamily(addressesOf(w, b), family), 2000), true, 'control: a workload of the peer');
    for (const far of [b, c]) {
      const before = lab.exits(a.portId);
      assert.equal(await answered(gatewayOf(far, family), 50), false);
      const counted = lab.since(before, a.portId);
      assert.equal(counted.get('NoSuchAddress'), 1);
      assert.equal(counted.get('Forwarded'), undefined, 'and the packet went nowhere');
    }
  }
});

interface Sent extends Partial<FrameOptions> {
  readonly source: Address;
  readonly destination: Address;
}
/** Sends a frame of the sender's own making to port 7. @returns who heard it, else the exit that counted it */
async function frame(w: World, lab: Lab, from: PortId, listeners: readonly PortId[], of: Sent): Promise<string> {
  const ears = listeners.map((portId) => [portId, lab.workload(portId).frames()] as const);
  const data = Buffer.from(`frame ${Math.random()}`);
  const before = lab.exits(from);
  lab
    .workload(from)
    .frames()
    .send(udpFrame({ sourceMac: w.interface(from).mac, ...of }, { from: 7, to: 7 }, data));
  let words = '';
  await lab.until('the frame has a fate', () => {
    for (const [portId, socket] of ears) {
      for (let got = socket.receive(); got !== undefined; got = socket.receive()) {
        if (got.includes(data)) words = `heard by ${portId}`;
      }
    }
    // Handed over and not heard yet is no fate; and what the stack says to all on its link is not this frame.
    const quiet = [
      'Forwarded',
      'Answered',
      ...((of.destinationMac ?? gatewayMac) === gatewayMac ? ['NotToGateway'] : []),
    ];
    const [exit] = [...lab.since(before, from).keys()].filter((name) => !quiet.includes(name));
    if (words === '' && exit !== undefined) words = exit;
    return words !== '';
  });
  for (const [, socket] of ears) {
    for (let got = socket.receive(); got !== undefined; got = socket.receive()) {
      assert.ok(!got.includes(data), 'heard twice');
    }
  }
  return words;
}

inKernel('34. VPCs that never peered share a host and do not reach each other, by any frame', async (w, lab) => {
  const [a, b] = await pair(w);
  const everybody = [a.portId, b.portId];
  const attempts = async (): Promise<string[]> => {
    const words = new Set<string>();
    for (const family of families) {
      const [source, destination] = [a, b].map((site) => oneFamily(addressesOf(w, site), family));
      assert.ok(source !== undefined && destination !== undefined);
      for (const destinationMac of [gatewayMac, w.interface(b.portId).mac, 'ff:ff:ff:ff:ff:ff' as Mac]) {
        words.add(await frame(w, lab, a.portId, everybody, { source, destination, destinationMac }));
      }
      words.add(await frame(w, lab, a.portId, everybody, { source: destination, destination }));
    }
    return [...words].sort();
  };
  assert.deepEqual(await attempts(), ['BlackHole', 'NoRoute', 'NotToGateway', 'SpoofedAddress']);
  await w.half(a.vpcId, b.vpcId);
  assert.deepEqual(await attempts(), ['BlackHole', 'NoRoute', 'NotToGateway', 'SpoofedAddress'], 'one half is none');
  await w.matrix();
  // Control: peered and routed, the same frames to the gateway arrive on the same wires.
  const halves = [...w.state.all('peering')].map(({ id }) => id);
  await w.half(b.vpcId, a.vpcId);
  await w.route(a.tableId, halves[0] ?? '', ...b.cidrs);
  assert.deepEqual(await attempts(), ['NotToGateway', 'SpoofedAddress', `heard by ${b.portId}`]);
});

onBoth('35. the same range in two VPCs that are not peered: no cross-talk, and counters of their own', async (w) => {
  const [one, two] = [await w.site('red', 'one', 1), await w.site('blue', 'two', 1)];
  const seconds = [await w.port(one.subnetId), await w.port(two.subnetId)] as const;
  assert.deepEqual(addressesOf(w, one), addressesOf(w, two));
  assert.deepEqual(w.interface(seconds[0]).primary, w.interface(seconds[1]).primary, 'twins throughout');
  const sent = async (portId: PortId): Promise<number> => {
    const exits = (await w.region.counters()).exits.get(portId);
    return exits?.get('Forwarded')?.packets ?? 0;
  };
  const all = [one.portId, two.portId, ...seconds];
  for (const [from, to] of [
    [one.portId, seconds[0]],
    [two.portId, seconds[1]],
    [seconds[0], one.portId],
    [seconds[1], two.portId],
  ] as const) {
    const before = await Promise.all(all.map(sent));
    for (let n = 0; n < 3; n++) assert.equal(await w.sends(from, to), 'delivered'); // to that very one
    const after = await Promise.all(all.map(sent));
    const grown = all.filter((_, at) => (after[at] ?? 0) !== (before[at] ?? 0));
    assert.deepEqual(grown, [from], 'only the sender counts');
  }
  await w.matrix();
});

inKernel('36. spoofed sources are dropped, and arrive once the guard is off', async (w, lab) => {
  const [a, b, c] = await three(w);
  await w.join(a.vpcId, b.vpcId);
  await w.join(b.vpcId, c.vpcId);
  const neighbour = await w.port(a.subnetId);
  const everybody = [a.portId, b.portId, c.portId, neighbour];
  const send = (source: Address, destination: Address): Promise<string> =>
    frame(w, lab, a.portId, everybody, { source, destination });
  for (const family of families) {
    const own = oneFamily(addressesOf(w, a), family);
    const inside = oneFamily(w.interface(neighbour).primary, family);
    const peer = oneFamily(addressesOf(w, b), family);
    const third = oneFamily(addressesOf(w, c), family);
    const spoofed = [inside, peer, third, gatewayOf(a, family), elsewhere[family]];
    for (const to of [inside, peer]) {
      for (const source of spoofed) assert.equal(await send(source, to), 'SpoofedAddress', `${source} to ${to}`);
      assert.equal(await send(own, to), `heard by ${to === inside ? neighbour : b.portId}`, 'control: its own');
    }
    await w.give(a.vpcId, { kind: 'modify-interface', portId: a.portId, sanityCheck: false });
    // The negative control: without the guard the very same frames arrive inside the VPC; into a peer's they never do.
    for (const source of spoofed) {
      if (source !== inside) assert.equal(await send(source, inside), `heard by ${neighbour}`, `${source} unguarded`);
      assert.equal(await send(source, peer), 'SpoofedAddress', 'a peer has not agreed to that');
    }
    await w.give(a.vpcId, { kind: 'modify-interface', portId: a.portId, sanityCheck: true });
    assert.equal(await send(third, inside), 'SpoofedAddress');
  }
});

/** Details of the data plane that bit others: counters, odd packets, addresses that move, addresses beside the first. */
import assert from 'node:assert/strict';
import type { PortId } from '../../src/model/ids.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import type { World } from '../matrix/world.ts';
import { ethernet, protocols, seen, udpFrame } from '../wire/frame.ts';
import type { Lab } from '../wire/lab.ts';
import { address } from '../wire/sketch.ts';
import type { Workload } from '../wire/workload.ts';
import { addressesOf, inKernel, onBoth, oneFamily, pair, reaches, stopped, streaming } from './ground.ts';

const families = [4, 6] as const;

/** What the workload's own device counted: received and sent. */
function deviceCounts(workload: Workload): { readonly received: number; readonly sent: number } {
  const row = /eth0:\s*(.*)/.exec(workload.proc('net/dev'))?.[1]?.trim().split(/\s+/).map(Number) ?? [];
  return { received: row[1] ?? Number.NaN, sent: row[9] ?? Number.NaN };
}

inKernel(
  '55. the devices of both ends count, and a peering’s totals are the sender’s to the packet',
  async (w, lab) => {
    const [a, b] = await pair(w);
    const [ab, ba] = await w.join(a.vpcId, b.vpcId);
    const size = 64; // of the stream's datagrams
    for (const family of families) {
      const half = async (id: typeof ab) => (await w.region.counters()).halves.get(id) ?? { packets: 0, bytes: 0 };
      const before = { near: deviceCounts(lab.workload(a.portId)), far: deviceCounts(lab.workload(b.portId)) };
      const [there, back] = [await half(ab), await half(ba)];
      const stream = await streaming(
        w,
        lab,
        family === 4 ? a.portId : b.portId,
        family === 4 ? b.portId : a.portId,
        family,
      );
      await lab.until('enough was sent', () => stream.sent >= 200);
      const { sent, received } = await stopped(stream);
      assert.equal(received, sent);
      const [busy, quiet] = family === 4 ? [ab, ba] : [ba, ab];
      const counted = await half(busy);
      const was = family === 4 ? there : back;
      assert.equal(counted.packets - was.packets, sent, 'packets');
      const headers = 14 + (family === 4 ? 20 : 40) + 8;
      assert.equal(counted.bytes - was.bytes, sent * (size + headers), 'bytes, as on a wire');
      assert.deepEqual(await half(quiet), family === 4 ? back : there, 'and nothing in the other direction');
      // Neighbour questions are counted by the devices as well, so there it is at least so many.
      const now = { near: deviceCounts(lab.workload(a.portId)), far: deviceCounts(lab.workload(b.portId)) };
      const [from, to] = family === 4 ? (['near', 'far'] as const) : (['far', 'near'] as const);
      assert.ok(now[from].sent - before[from].sent >= sent, 'the sender’s device');
      assert.ok(now[to].received - before[to].received >= sent, 'the receiver’s device');
    }
  },
);

/** The exits that counted frames of this interface since then, what its stack says to its link aside. */
const exitsSince = (lab: Lab, before: ReturnType<Lab['exits']>, portId: PortId): string[] =>
  [...lab.since(before, portId)]
    .filter(([exit]) => exit !== 'NotToGateway' && exit !== 'Answered')
    .map(([exit]) => exit);

inKernel(
  '56. fragments, ICMP errors, jumbo frames, VLAN tags and what is not IP: each as documented',
  async (w, lab) => {
    const a = await w.site('red', 'a', 1);
    const b = await w.site('blue', 'b', 2);
    await w.join(a.vpcId, b.vpcId);
    // Jumbo: a second pair of workloads whose devices take 9000 bytes.
    const [bigA, bigB] = [await w.port(a.subnetId, { attach: false }), await w.port(b.subnetId, { attach: false })];
    for (const portId of [bigA, bigB]) await w.attach(portId, 9000);
    const [near, far] = [lab.workload(a.portId), lab.workload(b.portId)];
    const [sink, bigSink] = [far.udp(7007), lab.workload(bigB).udp(7007)];
    for (const family of families) {
      const to = oneFamily(addressesOf(w, b), family);
      const arrives = async (what: string, by: typeof sink, payload: Buffer): Promise<void> => {
        await lab.until(`${what} arrives`, () => {
          for (let got = by.receive(); got !== undefined; got = by.receive())
            if (got.payload.equals(payload)) return true;
          return false;
        });
      };
      const large = Buffer.alloc(4000, `${family}`);
      const ears = far.frames();
      const sender = near.udp();
      sender.send(to, 7007, large);
      await arrives('a datagram in fragments', sink, large);
      let pieces = 0;
      for (let got = ears.receive(); got !== undefined; got = ears.receive()) {
        const { source } = seen(got);
        if (source === oneFamily(addressesOf(w, a), family)) pieces++;
      }
      assert.ok(pieces >= 3, `control: it came in ${pieces} pieces`);
      const jumbo = Buffer.alloc(8900, `${family}`);
      lab
        .workload(bigA)
        .udp()
        .send(oneFamily(w.interface(bigB).primary, family), 7007, jumbo);
      await arrives('a jumbo frame', bigSink, jumbo);
      // An error about a peered flow finds its way back: nobody listens on that port.
      const back = near.frames();
      near.udp().send(to, 7999, Buffer.from('anybody?'));
      await lab.until('the ICMP error comes back', () => {
        for (let got = back.receive(); got !== undefined; got = back.receive()) {
          const { source, protocol, payload, checksumsRight } = seen(got);
          const wanted = family === 4 ? [protocols.icmp, 3, 3] : [protocols.icmp6, 1, 4];
          const found = [protocol, payload[0], payload[1]];
          if (source === to && checksumsRight && found.join() === wanted.join()) return true;
        }
        return false;
      });
    }
    const { mac } = w.interface(a.portId);
    const raw = near.frames();
    const good = udpFrame(
      { sourceMac: mac, source: oneFamily(addressesOf(w, a), 4), destination: oneFamily(addressesOf(w, b), 4) },
      { from: 7, to: 7007 },
      Buffer.from('tagged or not'),
    );
    const tagged = (...tags: readonly number[]): Buffer =>
      Buffer.concat([
        good.subarray(0, 12),
        Buffer.from(tags.map((tag) => tag.toString(16).padStart(4, '0')).join(''), 'hex'),
        good.subarray(12),
      ]);
    for (const [what, frame, exit] of [
      ['a VLAN tag', tagged(0x8100, 0x0001), 'BadEtherType'],
      ['a priority tag', tagged(0x8100, 0xe000), 'BadEtherType'],
      ['two tags', tagged(0x88a8, 0x0001, 0x8100, 0x0002), 'BadEtherType'],
      ['LLDP', ethernet(mac, gatewayMac, 0x88cc, Buffer.alloc(60)), 'BadEtherType'],
      ['no type at all', ethernet(mac, gatewayMac, 0x0026, Buffer.alloc(60)), 'BadEtherType'],
      ['a frame cut short', good.subarray(0, 20), 'Short'],
      ['the same without a tag', good, 'Forwarded'],
    ] as const) {
      const before = lab.exits(a.portId);
      raw.send(frame);
      await lab.until(`${what} is counted`, () => exitsSince(lab, before, a.portId).length > 0);
      assert.deepEqual(exitsSince(lab, before, a.portId), [exit], what);
    }
    await lab.until('the untagged one arrives', () => String(sink.receive()?.payload) === 'tagged or not');
    assert.equal(sink.receive(), undefined, 'and only that one');
  },
);

const holds = async (w: World, from: PortId, targets: readonly string[], who: PortId): Promise<void> => {
  for (const to of targets) assert.equal(await reaches(w, from, to, who), 'delivered', to);
};

onBoth('57. an address that passes to another interface is the new one’s for peers from the answer on', async (w) => {
  const [a, b] = await pair(w);
  await w.join(a.vpcId, b.vpcId);
  const primary = addressesOf(w, b);
  let holder = b.portId;
  await holds(w, a.portId, primary, holder);
  for (let round = 0; round < 3; round++) {
    await w.give(b.vpcId, { kind: 'delete-interface', portId: holder });
    for (const to of primary) assert.equal(await reaches(w, a.portId, to), 'NoSuchAddress', 'nobody’s meanwhile');
    const heir = await w.port(b.subnetId, { primary });
    assert.notEqual(heir, holder);
    holder = heir;
    await holds(w, a.portId, primary, holder);
  }
  // A restart of the workload's device: another one, behind the same interface.
  for (let round = 0; round < 3; round++) {
    await w.carrier.detach(holder);
    for (const to of primary) assert.equal(await reaches(w, a.portId, to), 'TargetGone');
    await w.attach(holder);
    await holds(w, a.portId, primary, holder);
  }
  // A secondary address that moves between two that stay.
  const other = await w.port(b.subnetId);
  const addresses = ['10.2.9.9', 'fd00:2::9:9'].map(address);
  for (const [from, to] of [
    [null, holder],
    [holder, other],
    [other, holder],
  ] as const) {
    if (from !== null) await w.give(b.vpcId, { kind: 'unassign-secondary', portId: from, addresses });
    await w.give(b.vpcId, { kind: 'assign-secondary', portId: to, addresses, count: 0 });
    await holds(w, a.portId, addresses, to);
  }
  await w.matrix();
});

onBoth('58. a secondary address is reached over a peering exactly when it is inside the VPC', async (w) => {
  const [a, b] = await pair(w);
  await w.join(a.vpcId, b.vpcId);
  const neighbour = await w.port(b.subnetId);
  const addresses = ['10.2.7.7', 'fd00:2::7:7'].map(address);
  const everywhere = async (): Promise<string[]> => {
    const words = new Set<string>();
    for (const from of [a.portId, neighbour])
      for (const to of addresses) words.add(await reaches(w, from, to, b.portId));
    return [...words];
  };
  assert.deepEqual(await everywhere(), ['NoSuchAddress']);
  await w.give(b.vpcId, { kind: 'assign-secondary', portId: b.portId, addresses, count: 0 });
  assert.deepEqual(await everywhere(), ['delivered']);
  await w.matrix();
  await w.give(b.vpcId, { kind: 'unassign-secondary', portId: b.portId, addresses });
  assert.deepEqual(await everywhere(), ['NoSuchAddress']);
});

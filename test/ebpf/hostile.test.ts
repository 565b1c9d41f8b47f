/**
 * A workload with root in its namespace sends whatever it likes: nothing crosses a boundary, and every frame is counted.
 * The frames come from a seeded generator; on failure the seed is in the message, and SEED repeats it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressBytes, macBytes } from '../../src/kernel/link.ts';
import { type Mac, macOf } from '../../src/model/ip.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import { seen, udpFrame } from '../wire/frame.ts';
import { cannotRun, Lab } from '../wire/lab.ts';
import { address, Sketch } from '../wire/sketch.ts';

const frames = 100_000;
/** Mulberry32: small, seeded, and good enough to wander. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Frames that left eth0. */
const framesOf = (workload: { proc(path: string): string }): number =>
  Number(/eth0:(?:\s+\d+){9}\s+(\d+)/.exec(workload.proc('net/dev'))?.[1]);

test(`${frames} generated frames: none crosses a boundary, none is uncounted`, { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const sketch = new Sketch();
  const red = sketch.vpc('red', '10.1.0.0/16', 'fd00:1::/64');
  const blue = sketch.vpc('blue', '10.2.0.0/16', 'fd00:2::/64'); // peered, with routes
  const green = sketch.vpc('green', '10.3.0.0/16', 'fd00:3::/64'); // peered with blue only
  const twin = sketch.vpc('twin', '10.1.0.0/16', 'fd00:1::/64'); // the same addresses, nobody's peer
  const evil = sketch.port(red, 'evil', ['10.1.0.4', 'fd00:1::4']);
  const mate = sketch.port(red, 'mate', ['10.1.0.5', 'fd00:1::5']);
  const peer = sketch.port(blue, 'peer', ['10.2.0.4', 'fd00:2::4']);
  const stranger = sketch.port(green, 'stranger', ['10.3.0.4', 'fd00:3::4']);
  const double = sketch.port(twin, 'double', ['10.1.0.5', 'fd00:1::5']);
  const [toBlue] = sketch.join(red, blue);
  sketch.join(blue, green);
  // Hostile routes: red points at what only blue reaches, and at a half that was never answered.
  for (const net of ['10.3.0.0/16', 'fd00:3::/64']) sketch.route(red, net, { kind: 'peering', halfId: toBlue });
  const lonely = sketch.half(red, twin, false);
  sketch.route(red, '10.9.0.0/16', { kind: 'peering', halfId: lonely });
  await lab.become(sketch.network());

  const workload = await lab.attach(evil);
  const mac = sketch.spec(red, evil).mac;
  const friends = [mate, peer];
  const others = [stranger, double];
  const ears = new Map<string, ReturnType<typeof workload.frames>>();
  for (const port of [...friends, ...others]) ears.set(port, (await lab.attach(port)).frames());
  const mine = workload.frames();

  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
  const random = generator(seed);
  const below = (n: number): number => Math.floor(random() * n);
  const pick = <T>(...of: readonly [T, ...T[]]): T => of[below(of.length)] ?? of[0];
  const any4 = () =>
    address(
      pick(
        '10.1.0.4',
        '10.1.0.5',
        '10.1.0.1',
        '10.2.0.4',
        '10.3.0.4',
        '10.9.0.1',
        '255.255.255.255',
        '224.0.0.1',
        '127.0.0.1',
        '0.0.0.0',
        '192.0.2.1',
      ),
    );
  const any6 = () =>
    address(
      pick(
        'fd00:1::4',
        'fd00:1::5',
        'fd00:1::1',
        'fd00:2::4',
        'fd00:3::4',
        'ff02::1',
        '::1',
        '::',
        'fe80::1',
        '2001::1',
      ),
    );
  const anyMac = (): Mac =>
    pick(
      mac,
      gatewayMac,
      'ff:ff:ff:ff:ff:ff' as Mac,
      '33:33:00:00:00:01' as Mac,
      sketch.spec(twin, double).mac,
      macOf(9n),
    );
  const own = (v6: boolean) => address(v6 ? 'fd00:1::4' : '10.1.0.4');

  const make = (): Buffer => {
    const v6 = below(2) === 0;
    const frame = udpFrame(
      {
        sourceMac: below(10) === 0 ? anyMac() : mac,
        destinationMac: below(10) === 0 ? anyMac() : gatewayMac,
        source: below(4) > 0 ? own(v6) : v6 ? any6() : any4(),
        destination: v6 ? any6() : any4(),
        ttl: pick(64, 64, 64, 2, 1, 0, 255),
        dontFragment: below(2) === 0,
      },
      { from: below(65_536), to: pick(9, 53, below(65_536)) },
      Buffer.alloc(pick(0, 1, 8, 32, 1440, below(1450)), below(256)),
    );
    switch (below(9)) {
      case 0: // bits flipped anywhere in the headers
        for (let n = 1 + below(4); n > 0; n--) {
          const at = below(Math.min(frame.length, 62));
          frame.writeUInt8(frame.readUInt8(at) ^ (1 << below(8)), at);
        }
        return frame;
      case 1: // cut anywhere; the kernel itself refuses less than a header
        return frame.subarray(0, 14 + below(frame.length - 14));
      case 2: // another ether type: VLAN, QinQ, MPLS, LLDP, ARP, the other family
        frame.writeUInt16BE(pick(0x8100, 0x88a8, 0x8847, 0x88cc, 0x0806, 0x0800, 0x86dd, below(65_536)), 12);
        return frame;
      case 3: // another protocol: ICMP, IGMP, TCP, fragments, hop-by-hop, ESP
        frame.writeUInt8(pick(0, 1, 2, 6, 43, 44, 47, 50, 51, 58, 60, below(256)), v6 ? 20 : 23);
        return frame;
      case 4: // options, lengths that lie, fragments
        if (v6) frame.writeUInt16BE(below(65_536), 18);
        else if (below(2) === 0) frame.writeUInt8(pick(0x40 | below(16), below(256)), 14);
        else frame.writeUInt16BE(below(65_536), pick(16, 20));
        return frame;
      case 5: {
        // ARP of any kind
        const arp = Buffer.alloc(42);
        frame.copy(arp, 0, 0, 12);
        arp.write('08060001080006040001', 12, 'hex');
        macBytes(below(2) === 0 ? mac : anyMac()).copy(arp, 22);
        addressBytes(below(2) === 0 ? own(false) : any4()).copy(arp, 28);
        addressBytes(any4()).copy(arp, 38);
        if (below(4) === 0) arp.writeUInt8(below(256), 12 + below(10));
        return arp;
      }
      case 6: {
        // neighbour discovery of any kind: solicitations, advertisements, redirects, router advertisements
        const source = below(2) === 0 ? own(true) : any6();
        const nd = udpFrame(
          { sourceMac: mac, destinationMac: anyMac(), source, destination: any6(), ttl: pick(255, 64) },
          { from: 0, to: 0 },
          Buffer.alloc(24),
        );
        nd.writeUInt8(58, 20);
        nd.writeUInt8(pick(133, 134, 135, 136, 137), 54);
        addressBytes(any6()).copy(nd, 62);
        return nd;
      }
      case 7: // noise
        return Buffer.from(Array.from({ length: 14 + below(80) }, () => below(256)));
      default:
        return frame;
    }
  };

  const strangersBefore = others.map((port) => lab.exits(port));
  const before = lab.exits(evil);
  const sentBefore = framesOf(workload);
  const heard = { friends: 0, others: [] as string[] };
  const listen = () => {
    for (const port of friends) {
      for (let frame = ears.get(port)?.receive(); frame !== undefined; frame = ears.get(port)?.receive()) {
        assert.equal(frame.toString('hex', 6, 12), gatewayMac.replaceAll(':', ''));
        const { source, destination, protocol, payload } = seen(frame);
        // Friends reply to some of what they hear, and the gateway answers what they ask for that.
        const answered = frame.readUInt16BE(12) === 0x0806 && frame.readUInt16BE(20) === 2;
        const advertised = protocol === 58 && payload[0] === 136 && payload.includes(macBytes(gatewayMac));
        if (answered || advertised) continue;
        // All else that friends hear is from evil under its own name, and for them.
        const shown = `seed ${seed}: ${port} heard ${frame.toString('hex')}`;
        assert.ok(source === '10.1.0.4' || source === 'fd00:1::4', shown);
        const { addresses } = sketch.spec(port === mate ? red : blue, port);
        const forThem = addresses.some((one) => one.address === destination);
        assert.ok(forThem, shown);
        heard.friends++;
      }
    }
    for (const port of others) {
      for (let frame = ears.get(port)?.receive(); frame !== undefined; frame = ears.get(port)?.receive()) {
        heard.others.push(`${port}: ${frame.toString('hex', 0, 60)}`);
      }
    }
    while (mine.receive() !== undefined);
    while (workload.probe.receive() !== undefined);
    for (const port of friends) while (lab.workload(port).probe.receive() !== undefined);
  };
  let refused = 0;
  for (let n = 0; n < frames; n++) {
    if (mine.send(make()) !== 0) refused++;
    if (n % 500 === 499) {
      listen();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  // The workload's own stack may say something between the two readings: then they are read again.
  let delta = lab.since(before, evil);
  let counted = 0;
  let left = -1;
  for (let tries = 0; tries < 20 && counted !== left; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    delta = lab.since(before, evil);
    counted = [...delta.values()].reduce((sum, packets) => sum + packets, 0);
    left = framesOf(workload) - sentBefore;
  }
  listen();
  assert.deepEqual(heard.others, [], `seed ${seed}`);
  assert.ok(heard.friends > 100, 'the positive control: some frames were fine');
  assert.equal(counted, left, `seed ${seed}: every frame that left is counted once`);
  assert.ok(counted >= frames - refused);
  assert.ok(refused < frames / 10, `the kernel refused ${refused}`);
  for (const [at, port] of others.entries()) {
    assert.equal(lab.since(strangersBefore[at] ?? new Map(), port).get('Forwarded'), undefined);
  }
  assert.deepEqual((await lab.driver.observe()).damage, []);
  const shares = [...delta].map(([exit, packets]) => `${exit} ${packets}`).join(', ');
  t.diagnostic(`seed ${seed}: ${shares}; refused by the kernel ${refused}`);
});

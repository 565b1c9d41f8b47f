/** Disconnect is a fence: once it is answered nothing of the peering passes, whatever was flowing; and it touches no other. */
import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { closeFd } from '../../src/kernel/bpf.ts';
import { acceptTcp, connectTcp, listenTcp } from '../../src/kernel/socket.ts';
import type { PortId } from '../../src/model/ids.ts';
import type { World } from '../matrix/world.ts';
import type { Lab } from '../wire/lab.ts';
import {
  connected,
  inKernel,
  noneLost,
  oneFamily,
  pair,
  pause,
  type Site,
  stopped,
  streaming,
  three,
} from './ground.ts';

const families = [4, 6] as const;

/** Parts and joins two sites, each time at the hand of the other side. */
function breaker(w: World, a: Site, b: Site) {
  const halves = [w.state.half(a.vpcId, b.vpcId)?.id, w.state.half(b.vpcId, a.vpcId)?.id] as const;
  const [ab, ba] = [halves[0] ?? assert.fail(), halves[1] ?? assert.fail()];
  let turn = 0;
  return {
    halves: [ab, ba] as const,
    part: async (): Promise<void> => {
      const mine = turn % 2 === 0;
      await w.give(mine ? a.vpcId : b.vpcId, { kind: 'delete-peering', halfId: mine ? ab : ba });
    },
    join: async (): Promise<void> => {
      const mine = turn++ % 2 === 0;
      await (mine ? w.half(a.vpcId, b.vpcId) : w.half(b.vpcId, a.vpcId));
    },
  };
}
/** Else each reconnect would wait the 200 ms of the standard's smallest retransmission timer. */
const impatient = (lab: Lab, portId: PortId): void => lab.workload(portId).sysctl('ipv4/tcp_rto_min_us', '4000');

inKernel(
  '38. 100 times, nothing of a UDP flood and a TCP stream passes after the answer to a delete',
  async (w, lab, t) => {
    const [a, b] = await pair(w);
    await w.join(a.vpcId, b.vpcId);
    impatient(lab, a.portId);
    const { halves, part, join } = breaker(w, a, b);
    const flood = await streaming(w, lab, a.portId, b.portId, 4, 0);
    const connection = await connected(w, lab, a.portId, b.portId, 6);
    const took: number[] = [];
    let late = 0;
    const refused = lab.exits(a.portId);
    for (let run = 0; run < 100; run++) {
      const [udp, tcp] = [flood.received, connection.received];
      const busy = () => flood.received > udp && (run % 10 !== 0 || connection.received > tcp);
      await lab.until('both flow', busy);
      const start = performance.now();
      await part();
      took.push(performance.now() - start);
      const atAnswer = halves.map((half) => lab.half(half).packets);
      await pause(3);
      for (const [side, half] of halves.entries()) late += lab.half(half).packets - (atAnswer[side] ?? 0);
      await join();
    }
    const met = lab.since(refused, a.portId).get('NoPeering') ?? 0;
    took.sort((one, two) => one - two);
    t.diagnostic(`delete answered within ${took[50]?.toFixed(1)} ms (p50), ${took[98]?.toFixed(1)} ms (p99)`);
    assert.equal(late, 0);
    assert.ok(met >= 100, `control: ${met} packets met the dead half`);
    await stopped(flood);
    const { sent, received } = await stopped(connection);
    assert.ok(received > 0 && received <= sent);
  },
);

/** Ways to speak that need nothing but the peering; each sends one thing and says when the other side has it. */
async function ways(w: World, lab: Lab, a: Site, b: Site, family: 4 | 6) {
  const [near, far] = [lab.workload(a.portId), lab.workload(b.portId)];
  const [from, to] = [a, b].map(({ portId }) => oneFamily(w.interface(portId).primary, family));
  assert.ok(from !== undefined && to !== undefined);
  /** An open connection, its two ends and what each has heard. */
  const connect = (port: number) => {
    const listening = listenTcp(far.namespace, port);
    const fds = [connectTcp(near.namespace, to, port, 2000), acceptTcp(listening) ?? assert.fail()] as const;
    closeFd(listening);
    const heard = ['', ''];
    const ends = fds.map((fd, at) => {
      const socket = near.owned(Object.assign(new Socket({ fd }), { close: () => void socket.destroy() })) as Socket;
      socket.setNoDelay(true).on('error', () => {});
      return socket.on('data', (data) => {
        heard[at] += data.toString();
      });
    });
    return { ends, heard };
  };
  const [busy, idle] = [connect(7001 + family), connect(7100 + family)];
  const quic = [near.udp(4430 + family), far.udp(4430 + family)] as const;
  const heard = ['', ''];
  let serial = 0;
  const overTcp =
    ({ ends, heard }: typeof busy) =>
    (side: 0 | 1) => {
      const word = `<${++serial}>`;
      ends[side]?.write(word);
      return () => (heard[1 - side] ?? '').includes(word);
    };
  const known = {
    icmp: (side: 0 | 1) => {
      const echo = (side === 0 ? near : far).echo(family);
      const sequence = echo.request(side === 0 ? to : from);
      let back = false;
      return () => {
        for (let got = echo.receive(); got !== undefined; got = echo.receive()) {
          const type = got.message.readUInt8(0);
          if ((type === 0 || type === 129) && got.message.readUInt16BE(6) === sequence) back = true;
        }
        return back;
      };
    },
    'a TCP connection in use': overTcp(busy),
    // There is no connection tracking that could forget: a second without a word is as good as a minute.
    'a TCP connection that was idle': overTcp(idle),
    'UDP both ways between two ports': (side: 0 | 1) => {
      const word = `<${++serial}>`;
      quic[side]?.send(side === 0 ? to : from, 4430 + family, Buffer.from(word));
      return () => {
        const socket = quic[side === 0 ? 1 : 0];
        for (let got = socket.receive(); got !== undefined; got = socket.receive()) heard[side] += String(got.payload);
        return (heard[side] ?? '').includes(word);
      };
    },
  };
  return Object.entries(known);
}

inKernel('39. after a disconnect no protocol passes, in neither direction, however it was going', async (w, lab) => {
  const [a, b] = await pair(w);
  await w.join(a.vpcId, b.vpcId);
  for (const { portId } of [a, b]) impatient(lab, portId);
  const { part, join } = breaker(w, a, b);
  for (const family of families) {
    const all = await ways(w, lab, a, b, family);
    for (let round = 0; round < 2; round++) {
      for (const [way, speak] of all) {
        if (way.includes('idle')) continue;
        for (const side of [0, 1] as const) await lab.until(`control: ${way} passes`, speak(side));
      }
      await pause(1000 * (1 - round)); // idle
      await part();
      const tried = [];
      for (const [way, speak] of all) {
        for (const side of [0, 1] as const) {
          const portId = side === 0 ? a.portId : b.portId;
          const before = lab.exits(portId);
          tried.push([`IPv${family}, ${way}, side ${side}`, speak(side)] as const);
          await lab.until(`${way} is refused`, () => (lab.since(before, portId).get('NoPeering') ?? 0) > 0);
        }
      }
      await pause(20);
      const passed = tried.filter(([, arrived]) => arrived()).map(([what]) => what);
      assert.deepEqual(passed, []);
      await join();
      // TCP says again what was lost; the others are simply used again.
      for (const [what, arrived] of tried)
        if (what.includes('TCP')) await lab.until(`${what} arrives now`, arrived, 20_000);
    }
  }
});

inKernel('40. a TCP connection that both ends kept goes on after a reconnect, without a byte lost', async (w, lab) => {
  const [a, b] = await pair(w);
  await w.join(a.vpcId, b.vpcId);
  impatient(lab, a.portId);
  const { halves, part, join } = breaker(w, a, b);
  for (const family of families) {
    const stream = await connected(w, lab, a.portId, b.portId, family);
    for (let round = 0; round < 4; round++) {
      const before = stream.received;
      await lab.until('it flows', () => stream.received > before);
      const refused = lab.exits(a.portId);
      await part();
      await lab.until('it was cut', () => (lab.since(refused, a.portId).get('NoPeering') ?? 0) > 0);
      const cut = halves.map((half) => lab.half(half).packets);
      await pause(30);
      const later = halves.map((half) => lab.half(half).packets);
      assert.deepEqual(later, cut, 'nothing passes meanwhile');
      await join();
      const again = stream.received;
      await lab.until('the same connection flows again', () => stream.received > again + (1 << 20), 20_000);
    }
    const { sent, received } = await stopped(stream);
    assert.equal(received, sent, 'every byte arrived');
  }
});

inKernel('41. deleting one peering does nothing to flows of another on the same VPC', async (w, lab) => {
  const [a, b, c] = await three(w);
  await w.join(a.vpcId, b.vpcId);
  await w.join(a.vpcId, c.vpcId);
  const connection = await connected(w, lab, a.portId, c.portId, 4);
  const streams = [await streaming(w, lab, a.portId, c.portId, 6), await streaming(w, lab, c.portId, a.portId, 4)];
  const { part, join } = breaker(w, a, b);
  for (let round = 0; round < 20; round++) {
    const before = connection.received;
    assert.equal(await w.sends(a.portId, b.portId), 'delivered', 'control');
    await part();
    assert.equal(await w.sends(a.portId, b.portId), 'NoPeering', 'control: this one is really gone');
    await lab.until('the connection goes on meanwhile', () => connection.received > before);
    await join();
  }
  await noneLost(streams, 200);
  const { sent, received } = await stopped(connection);
  assert.equal(received, sent, 'every byte of the connection arrived');
});

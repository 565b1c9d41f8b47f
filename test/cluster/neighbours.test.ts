/**
 * Neighbours in one subnet, which speak to each other without a gateway between them: an address that passes to another
 * interface is the new one's at once, and the next hop of a route is handed what is for others and says nothing false.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { announcement } from '../../src/kernel/announce.ts';
import { PacketSocket } from '../../src/kernel/socket.ts';
import type { PortId, VpcId } from '../../src/model/ids.ts';
import type { Mac } from '../../src/model/ip.ts';
import type { InterfaceSpec } from '../../src/model/network-spec.ts';
import { ethernet } from '../wire/frame.ts';
import { address, Sketch } from '../wire/sketch.ts';
import { byHand } from '../wire/workload.ts';
import { cannotRun, Ground } from './ground.ts';

const both = (n: number): readonly [string, string] => [`10.1.0.${n}`, `fd00:1::${n}`];

test('neighbours in a subnet across hosts', { skip: cannotRun, timeout: 120_000 }, async (t) => {
  const ground = await Ground.start(t, { alone: true, hosts: 2 });
  await t.test('an address that passes to another interface', () => passing(ground));
  await ground.clear();
  await t.test('a next hop with source check', () => nextHop(ground));
});

async function passing(ground: Ground): Promise<void> {
  const sketch = new Sketch();
  const vpc = sketch.vpc('a', '10.1.0.0/16', 'fd00:1::/64');
  const macOf = (port: PortId): string => sketch.spec(vpc, port).mac;
  const near = sketch.port(vpc, 'near', both(4));
  const first = sketch.port(vpc, 'first', both(5), { secondary: both(9) });
  const second = sketch.port(vpc, 'second', both(6));
  await ground.become(sketch.network());
  await ground.attach(near, { host: 1, soon: true });
  await ground.attach(first, { host: 1, soon: true });
  await ground.attach(second, { host: 2 });
  /** Whom the near one believes at these addresses. */
  const believed = (own: readonly string[]): readonly string[] =>
    own.map((text) => {
      const line = byHand('ip', ground.workload(near).name, 'neigh', 'show', 'to', text, 'dev', 'eth0');
      return /lladdr (\S+)/.exec(line)?.[1] ?? '';
    });
  const receivers = async (own: readonly string[], awaited = true) =>
    ground.sendAll(own.map((text) => ({ from: near, to: address(text), awaited })));

  assert.deepEqual(await receivers([...both(9), ...both(5)]), [first, first, first, first]);
  assert.deepEqual(believed(both(9)), [macOf(first), macOf(first)], 'control: it remembers who has them');

  sketch.port(vpc, 'first', both(5));
  sketch.port(vpc, 'second', both(6), { secondary: both(9) });
  await ground.become(sketch.network());
  await ground.until('it is told', () => believed(both(9)).every((mac) => mac === macOf(second)));
  assert.deepEqual(await receivers(both(9)), [second, second]);

  // The same with an interface that comes in the place of one that goes.
  assert.deepEqual(believed(both(5)), [macOf(first), macOf(first)]);
  const gone = macOf(first);
  sketch.site(vpc).ports.delete(first);
  const third = sketch.port(vpc, 'third', both(5));
  await ground.become(sketch.network());
  ground.forget(first);
  assert.deepEqual(believed(both(5)), [gone, gone], 'control: nobody told it yet');
  assert.deepEqual(await receivers(both(5), false), [null, null]);
  await ground.attach(third, { host: 2 });
  assert.deepEqual(believed(both(5)), [macOf(third), macOf(third)]);
  assert.deepEqual(await receivers(both(5)), [third, third]);
}

async function nextHop(ground: Ground): Promise<void> {
  const sketch = new Sketch();
  const vpc: VpcId = sketch.vpc('a', '10.1.0.0/16', 'fd00:1::/64');
  const hop = sketch.port(vpc, 'hop', both(4));
  const near = sketch.port(vpc, 'near', both(5));
  const far = sketch.port(vpc, 'far', both(6));
  const appliance = sketch.port(vpc, 'open', both(7), { sanityCheck: false });
  await ground.become(sketch.network());
  for (const [at, port] of [hop, near, far, appliance].entries())
    await ground.attach(port, { host: (at % 2) + 1, soon: true });
  const shots = ['192.0.2.7', '2001:db8::7'].map((to) => ({ from: near, to: address(to), handed: true }));
  const handed = async (awaited: boolean) => ground.sendAll(shots.map((shot) => ({ ...shot, awaited })));
  const forged = async (source: readonly string[], awaited: boolean) =>
    ground.sendAll(
      both(6).map((to, family) => ({ from: hop, to: address(to), awaited, source: address(source[family] ?? '') })),
    );
  assert.deepEqual(await handed(false), [null, null], 'control: there is no route');

  const target = { kind: 'interface', portId: hop } as const;
  sketch.route(vpc, '192.0.2.0/24', target);
  sketch.route(vpc, '2001:db8::/64', target);
  await ground.become(sketch.network());
  assert.deepEqual(await handed(true), [hop, hop], 'what is for others');
  assert.deepEqual(await forged(both(4), true), [far, far], 'control: its own addresses');
  for (const source of [both(5), ['192.0.2.7', '2001:db8::7']]) {
    assert.deepEqual(await forged(source, false), [null, null], source.join());
  }

  for (const speaker of [hop, appliance, near]) {
    await poisonsNobody(ground, sketch.spec(vpc, speaker), far, speaker === near);
  }
}

const lldp = (mac: Mac): Buffer => ethernet(mac, '01:80:c2:00:00:0e' as Mac, 0x88cc, Buffer.alloc(50));

/**
 * What is at nobody's own address is not heard, nor what is no IP; control: what is said of itself is.
 * @param plain whether OVN's own port security judges it
 */
async function poisonsNobody(ground: Ground, { id, mac, addresses }: InterfaceSpec, far: PortId, plain: boolean) {
  const [speaker, listener] = [ground.workload(id), ground.workload(far)];
  const out = new PacketSocket(speaker.namespace, speaker.link().ifindex);
  const frames = new PacketSocket(listener.namespace, listener.link().ifindex);
  const [own4, own6] = addresses.map(({ address }) => announcement(mac, address)) as [Buffer, Buffer];
  try {
    /** Whether it is heard, said again and again until what is said after it has been heard three times. */
    const heard = async (said: Buffer): Promise<boolean> => {
      let [found, times] = [false, 0];
      await ground.until('what is said after it is heard', () => {
        out.send(said);
        out.send(own4);
        for (let frame = frames.receive(); frame !== undefined; frame = frames.receive()) {
          if (frame.equals(said)) found = true;
          if (frame.equals(own4)) times++;
        }
        return times >= 3;
      });
      return found;
    };
    assert.equal(await heard(own6), plain, 'what it says of itself');
    for (const other of ['10.1.0.8', 'fd00:1::8', 'fd00:1::1'])
      assert.equal(await heard(announcement(mac, address(other))), false, other);
    assert.equal(await heard(lldp(mac)), false, 'no IP');
  } finally {
    out.close();
    frames.close();
  }
}

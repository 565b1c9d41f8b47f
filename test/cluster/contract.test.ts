/** The contract on OVN across three hosts: every promise, on one bed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Packet } from '../../src/explain/explain.ts';
import { PlaneView } from '../../src/explain/plane-view.ts';
import type { PortId } from '../../src/model/ids.ts';
import { type Address, familyOf } from '../../src/model/ip.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import { promises } from '../contract/promises.ts';
import type { Subject } from '../contract/subjects.ts';
import type { Probe } from '../wire/lab.ts';
import { cannotRun, Ground } from './ground.ts';
import type { OvnTrace } from './ovn-trace.ts';

/** As a workload's own stack sends it. */
async function packetOf(ground: Ground, from: PortId, to: Address): Promise<Packet> {
  const spec = new PlaneView((await ground.driver.observe()).network).interface(from)?.spec;
  const source = spec?.addresses.find(({ address, primary }) => primary && familyOf(address) === familyOf(to));
  assert.ok(spec !== undefined && source !== undefined, `${from} can send to ${to}`);
  const frame = { from, sourceMac: spec.mac, destinationMac: gatewayMac, ttl: 64, length: 60 } as const;
  return { ...frame, source: source.address, destination: to, protocol: 'udp' };
}

function subjectOn(ground: Ground, ovn: OvnTrace): Subject {
  return {
    get driver() {
      return ground.driver;
    },
    joinsPairs: true,
    countsExits: false,
    become: (wanted) => ground.become(wanted),
    attach: async (portId, of) => {
      await ground.attach(portId, of);
    },
    forget: (portId) => ground.forget(portId),
    request: (request) => ground.request(request),
    detach: (portId) => ground.detach(portId),
    /** Who received it; and of what nobody received, why OVN says so. */
    send: async (from, to): Promise<Probe> => {
      const packet = await packetOf(ground, from, to);
      const explained = await ground.driver.trace(packet);
      const received = await ground.sendProbe(from, to, explained.kind === 'delivered');
      const verdict = await ovn.verdict(packet);
      if (received !== null) {
        assert.deepEqual([verdict.kind, verdict.kind === 'delivered' && verdict.to], ['delivered', received]);
        return { delivered: received };
      }
      assert.ok(verdict.kind === 'dropped', 'nobody received what ovn-trace delivers');
      assert.ok(verdict.reason !== null, `dropped at ${verdict.stage}`);
      return { exit: verdict.reason };
    },
    counted: () => ground.counted(),
    reopen: async () => {
      for (const host of ground.bed.hosts) await ground.reopenAgent(host);
      return ground.reopen();
    },
  };
}

test('the contract on OVN across three hosts', { skip: cannotRun, timeout: 180_000 }, async (t) => {
  const ground = await Ground.start(t);
  const ovn = await ground.ovnTrace();
  for (const [promise, keep] of Object.entries(promises)) {
    await t.test(promise, { timeout: 30_000 }, async () => {
      try {
        await keep(subjectOn(ground, ovn));
      } finally {
        await ground.clear();
      }
    });
  }
});

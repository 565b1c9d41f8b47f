/** Usage and metrics of a whole service: exact over kills of either process, and over a plane that is lost. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { purgePlane } from '../../src/dataplane/ebpf/driver.ts';
import { cannotRun } from '../wire/lab.ts';
import { House, type Pair } from './house.ts';

const options = { skip: cannotRun, timeout: 120_000 } as const;
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

interface Row {
  readonly vpcPeeringId: string;
  readonly sent: { readonly packets: number; readonly bytes: number };
  readonly received: { readonly packets: number };
}
const rows = async (house: House, by: 'total' | 'half', vpcPeeringId: string): Promise<Row | undefined> => {
  const { usage } = (await house.admin.call('GET', `/usage?by=${by}`)) as { usage: readonly Row[] };
  return usage.find((row) => row.vpcPeeringId === vpcPeeringId);
};

/** Datagrams from red to blue while something happens. @returns how many were sent; none is lost */
async function under(house: House, { red, blue }: Pair, work: () => Promise<void>): Promise<number> {
  const stream = await house.stream(red, blue);
  await pause(100);
  await work();
  await pause(100);
  const { sent, lost } = await house.lost([stream]);
  assert.ok(sent > 50);
  assert.equal(lost, 0);
  return sent;
}

test('usage is exact over kills, a half made again, a VPC that goes, and a plane that is lost', options, async (t) => {
  const house = await House.start(t);
  const pair = await house.peered();
  const { red, blue, redHalf, blueHalf } = pair;
  let sent = 0;
  const holds = async (what: string): Promise<void> => {
    const [total, hours] = [await rows(house, 'total', redHalf), await rows(house, 'half', redHalf)];
    assert.deepEqual([total?.sent.packets, hours?.sent.packets], [sent, sent], what);
    assert.equal(total?.sent.bytes, sent * (14 + 20 + 8 + 64), what);
    assert.equal((await rows(house, 'total', blueHalf))?.received.packets, sent, what);
  };
  const killed = async (part: 'agent' | 'region'): Promise<void> => {
    const before = house.syncs().length;
    house.kill(part);
    await house.met(before);
  };
  sent += await under(house, pair, () => killed('region'));
  sent += await under(house, pair, () => killed('agent'));
  sent += await under(house, pair, async () => {
    await killed('agent');
    await killed('region');
  });
  await holds('after kills');

  await red.client.delete(`/vpcPeerings/${redHalf}`);
  assert.equal((await rows(house, 'total', redHalf))?.sent.packets, sent, 'of a deleted half too');
  assert.equal(await house.half(red, blue), redHalf);
  sent += await under(house, pair, async () => {});
  await holds('of a half made again');
  const own = (await red.client.get(`/vpcPeerings/${redHalf}/usage`)) as Row;
  assert.equal(own.sent.packets, sent);

  // As a reboot: the processes end, and what is in the kernel is gone. The store is not.
  await house.down();
  purgePlane({ bpffsPath: `${house.places.runDir}/bpf`, namespaceName: house.places.namespace });
  assert.ok(!existsSync(`${house.places.runDir}/bpf/meta`));
  await house.up();
  await house.settled();
  await holds('with a plane made anew');
  for (const site of [red, blue]) {
    await house.onHost('attach', { portId: site.portId, target: { kind: 'netns', name: site.workload.name } });
  }
  sent += await under(house, pair, async () => {});
  await holds('and on');

  // The VPC goes with its half, the agent is killed before anybody has read the last counts: they wait in the kernel.
  sent += await under(house, pair, async () => {});
  await red.client.delete(`/vpcs/${red.vpcId}`, [['cascade', 'true']]);
  const before = house.syncs().length;
  house.kill('agent');
  await house.met(before);
  await holds('of a VPC that is gone');
});

test('metrics are served where asked for, and speak of the plane', options, async (t) => {
  const house = await House.start(t, { metrics: '127.0.0.1:0' });
  const pair = await house.peered();
  const sent = await under(house, pair, async () => {});
  await pair.blue.client.delete(`/vpcPeerings/${pair.blueHalf}`);
  await house.half(pair.blue, pair.red);
  const url = house.service.ready.metrics;
  assert.ok(url !== undefined);
  const text = await (await fetch(url)).text();
  assert.match(
    text,
    new RegExp(`^isthmus_half_packets_total\\{half="${pair.redHalf}",direction="sent"\\} ${sent}$`, 'm'),
  );
  assert.match(
    text,
    new RegExp(`^isthmus_half_packets_total\\{half="${pair.blueHalf}",direction="received"\\} ${sent}$`, 'm'),
  );
  assert.match(text, /^isthmus_attached_interfaces 2$/m);
  assert.match(text, /^isthmus_fences_total [1-9]\d*$/m);
  const forwarded = /^isthmus_exit_packets_total\{exit="Forwarded",drop="false"\} (\d+)$/m.exec(text);
  assert.equal(Number(forwarded?.[1]), sent);
  assert.equal((await fetch(url.replace('/metrics', '/status'))).status, 404);
});

/**
 * A host that is cut off from the control plane keeps its traffic. A peering that is deleted meanwhile is cut on every
 * host that can be reached, also for what the lost one still sends; the lost one is named, and catches up by itself.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ovsdb } from '../../src/dataplane/ovn/ovsdb.ts';
import { address, twoSites } from '../wire/sketch.ts';
import { cannotRun, Ground } from './ground.ts';
import { persist } from './persist.ts';
import { type Line, lossesOf, Streams, wallClock } from './streams.ts';

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Takes every rule of the destination guard away by hand. */
async function dropGuard(ground: Ground): Promise<void> {
  const north = new Ovsdb({
    remotes: ground.bed.northbound,
    database: 'OVN_Northbound',
    tables: { Port_Group: ['name'] },
  });
  try {
    await north.whenConnected(10_000);
    await north.transact([{ op: 'update', table: 'Port_Group', where: [], row: { acls: ['set', []] } }]);
  } finally {
    north.close();
  }
}

test('a host cut off from the control plane', { skip: cannotRun, timeout: 180_000 }, async (t) => {
  const ground = await Ground.start(t);
  const { bed } = ground;
  // Not one that leads: that is another fault.
  const leaders = [bed.leader('nb'), bed.leader('sb')];
  const lost = bed.hosts.findLast((host) => !leaders.includes(host)) ?? 3;
  const [near = 1] = bed.hosts.filter((host) => host !== lost);
  const name = bed.hostName(lost);

  const { sketch, red, blue, r1, b1, halves } = twoSites();
  const r2 = sketch.port(red, 'r2', ['10.1.0.5', 'fd00:1::5']);
  const b2 = sketch.port(blue, 'b2', ['10.2.0.5', 'fd00:2::5']);
  await ground.become(sketch.network());
  const [red1, blue1] = [await ground.attach(r1, { host: near }), await ground.attach(b1, { host: near })];
  const [red2, blue2] = [await ground.attach(r2, { host: lost }), await ground.attach(b2, { host: lost })];
  const line = (text: string, from: typeof red1, to: typeof red1, ip: string): Line => {
    return { name: text, from, to, address: address(ip) };
  };
  const own = await Streams.start(
    [
      line('inside the VPC, from the lost host, IPv4', red2, red1, '10.1.0.4'),
      line('inside the VPC, from the lost host, IPv6', red2, red1, 'fd00:1::4'),
      line('inside the VPC, to the lost host, IPv4', red1, red2, '10.1.0.5'),
      line('inside the VPC, to the lost host, IPv6', blue1, blue2, 'fd00:2::5'),
    ],
    5,
    5100,
  );
  const peered = await Streams.start(
    [
      line('from the lost host, IPv4', red2, blue1, '10.2.0.4'),
      line('from the lost host, IPv6', red2, blue1, 'fd00:2::4'),
      line('to the lost host, IPv4', red1, blue2, '10.2.0.5'),
      line('within the lost host, IPv4', red2, blue2, '10.2.0.5'),
    ],
    5,
    5200,
  );
  const across = [0, 1, 2];
  const within = 3;
  /** Packets that came after a moment, while all lines were tried. */
  const after = async (moment: bigint, lines: readonly number[]): Promise<readonly number[]> => {
    const sent = lines.map((at) => peered.sent(at));
    await pause(700);
    for (const [at, one] of lines.entries()) assert.ok(peered.sent(one) > (sent[at] ?? 0), 'nobody tries');
    return lines.map((one) => peered.after(one, moment).length);
  };
  const steps = (['put-half', 'kill-half'] as const).map((step) =>
    [red, blue].map((vpcId, side) => {
      const id = halves[side] ?? halves[0];
      const remoteVpcId = side === 0 ? blue : red;
      return step === 'put-half' ? { step, vpcId, half: { id, remoteVpcId, live: true } } : { step, vpcId, halfId: id };
    }),
  );
  const [make = [], kill = []] = steps;
  try {
    await own.flow();
    await peered.flow();
    bed.cut(lost);
    ground.hosts.lose(name);

    await t.test('keeps its traffic', async () => {
      await pause(2_000);
      await peered.flow();
      assert.deepEqual(lossesOf(await own.count()), []);
      assert.deepEqual(lossesOf(await peered.count()), []);
    });

    await t.test('a disconnect is cut on every other host, and the lost one is named', async () => {
      await ground.driver.apply({ make: [], break: kill });
      const replied = wallClock();
      assert.deepEqual(await after(replied, across), [0, 0, 0]);
      assert.deepEqual(
        ground.driver.owed(),
        [blue, red].map((vpcId) => ({ vpcId, notFencedOn: [name], notInstalledOn: [] })),
      );
      // Nothing pretends: inside the lost host it is still there.
      await peered.flow([within]);
    });

    await t.test('the control: without the destination guard, what the lost host sends arrives', async () => {
      await dropGuard(ground);
      await peered.flow([0, 1]);
      assert.ok((await ground.driver.observe()).damage.length > 0);
      await ground.driver.repair();
      assert.deepEqual(await after(wallClock(), across), [0, 0, 0]);
    });

    await t.test('back, it is fenced without help', async () => {
      let paid: bigint | undefined;
      ground.driver.onOwedChange(() => {
        if (ground.driver.owed().length === 0) paid ??= wallClock();
      });
      const began = performance.now();
      bed.heal(lost);
      ground.hosts.regain(name);
      await ground.until('nothing is owed', () => paid !== undefined, 60_000);
      t.diagnostic(`fenced ${((performance.now() - began) / 1000).toFixed(1)} s after it was back`);
      assert.deepEqual(await after(paid ?? 0n, [...across, within]), [0, 0, 0, 0]);
    });

    await t.test('and carries the peering when it is made again', async () => {
      // A member that comes back may make the others choose a leader anew.
      await persist(ground.driver, { make, break: [] });
      assert.deepEqual(ground.driver.owed(), []);
      await peered.flow();
    });
    assert.deepEqual(lossesOf(await own.count()), [], 'all the time');
  } finally {
    await own.stop();
    await peered.stop();
  }
});

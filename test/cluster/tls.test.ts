/** OVN's databases by TLS alone, and everything by the real command line. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { ClusterHouse, pkiArguments } from './cluster-house.ts';
import { cannotRun } from './ground.ts';

test('databases by TLS', { skip: cannotRun, timeout: 180_000 }, async (t) => {
  const house = await ClusterHouse.start(t, 1, { secure: true });
  const { northbound, southbound } = house.bed.remotes;
  assert.match(`${northbound},${southbound}`, /^ssl:[^,]+,ssl:[^,]+$/);

  await t.test('the region does not start with an authority of nobody', async () => {
    const pki = house.pki ?? assert.fail();
    const remotes = ['--ovn-nb', northbound, '--ovn-sb', southbound];
    const empty = [...pkiArguments({ ...pki, authority: '/dev/null' }), '--run-dir', join(house.folder, 'other')];
    const { status, stderr } = await house.on(1, 'up', '--driver', 'ovn', ...remotes, ...empty);
    assert.equal(status, 2, stderr);
    assert.match(stderr, /ssl:10\.99\.0\.101:6641: --ovn-ca holds no certificate/);
  });

  await house.up();
  await t.test('the region writes a VPC', async () => {
    await house.done(1, 'account', 'create', 'red');
    await house.done(1, 'key', 'create', 'red', '--save-profile', 'default');
    const made = await house.done(1, 'vpc', 'create', 'v', '--cidr', '10.1.0.0/16', '--json');
    const { vpcId } = JSON.parse(made) as { vpcId: string };
    await house.done(1, 'subnet', 'create', 's', '--vpc', vpcId, '--cidr', '10.1.1.0/24');
    const rows = execFileSync('ovn-nbctl', [`--db=${house.bed.northbound[0]}`, 'show'], { timeout: 10_000 }).toString();
    assert.match(rows, new RegExp(`router .*${vpcId}`));
  });
});

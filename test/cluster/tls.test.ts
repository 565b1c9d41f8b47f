/** OVN's databases by TLS alone, and everything by the real command line. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { OvsPki } from '../ovn/ovs-pki.ts';
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

  const invitation = await house.invite(1);
  const pki = house.pki ?? assert.fail();
  const unspent = async (words: RegExp, ...more: readonly string[]): Promise<void> => {
    const { status, stderr } = await house.joinBy(1, invitation, ...more);
    assert.equal(status, 2, stderr);
    assert.match(stderr, words);
    assert.match(stderr, /the token is not spent/);
    assert.equal((await house.host(1))?.state, 'invited');
  };
  await t.test(
    'a host without certificates does not join, and is told the command; its token is not spent',
    async () => {
      house.bed.vsctl(1, 'del-ssl');
      await unspent(/ssl:10\.99\.0\.101:6642 needs some.*ovs-vsctl set-ssl KEY CERTIFICATE CA.*--ovn-key/);
    },
  );
  await t.test('nor with those of another authority, in the table or given', async () => {
    const foreign = new OvsPki(join(house.folder, 'foreign')).files('h1');
    const words = new RegExp(`does not accept our certificate, ${foreign.certificate}`);
    await unspent(words, ...pkiArguments({ ...foreign, authority: pki.authority }));
    house.bed.vsctl(1, 'set-ssl', foreign.key, foreign.certificate, foreign.authority);
    await unspent(new RegExp(`its certificate is not of the authority in ${foreign.authority}`));
    await unspent(/\/nowhere cannot be read: ENOENT/, ...pkiArguments({ ...pki, key: '/nowhere' }));
  });
  await t.test('with those that are given it joins, and tells Open vSwitch', async () => {
    const { status, stdout, stderr } = await house.joinBy(1, invitation, ...pkiArguments(pki));
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, new RegExp(`certificates: ${pki.certificate}, which the southbound database takes`));
    assert.match(stdout, /set {8}Open vSwitch: set-ssl /);
    for (const path of [pki.key, pki.certificate, pki.authority])
      assert.ok(house.bed.vsctl(1, 'get-ssl').includes(`: ${path}\n`));
    await house.startAgent(1);
    await house.bed.killDaemon('controller', 1);
    house.bed.startDaemon('controller', 1);
    await house.done(1, 'vpc', 'create', 'w', '--cidr', '10.2.0.0/16');
    const level = async (): Promise<boolean> => (await house.host(1))?.behind === 0;
    await house.until('the controller has met the database anew', level);
  });
  await t.test('those of the table are found when the line is repeated', async () => {
    const { status, stdout } = await house.joinBy(1, invitation);
    assert.equal(status, 0);
    assert.match(stdout, /which the southbound database takes[\s\S]*every setting is right already/);
  });
});

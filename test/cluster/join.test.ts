/** Hosts as operators see them: joined, used, drained and removed by the real command line, on a bed. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Workload } from '../wire/workload.ts';
import { ClusterHouse } from './cluster-house.ts';
import { cannotRun } from './ground.ts';

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);
const fieldOf = (json: string, name: string): string => String((JSON.parse(json) as { [name: string]: unknown })[name]);

test('hosts join, carry workloads, and leave', { skip: cannotRun, timeout: 180_000 }, async (t) => {
  const house = await ClusterHouse.start(t, 2);
  // As an agent leaves it that was there before the region.
  mkdirSync(house.run(1), { mode: 0o700 });
  await house.up();
  const umask = process.umask(0);
  t.after(() => process.umask(umask));
  for (const host of [1, 2]) {
    assert.match(await house.join(host), new RegExp(`joined {5}as h${host}; key and certificate`));
    await house.startAgent(host);
  }
  await t.test('what join and the agent make is root’s alone, whatever the umask they are started with', () => {
    for (const folder of [house.run(2), house.state(2)]) {
      assert.equal(modeOf(folder), '700', folder);
      for (const name of readdirSync(folder)) assert.match(modeOf(join(folder, name)), /^[67]00$/, name);
    }
    assert.equal(modeOf(house.run(1)), '711', 'the region’s user gets to its own folder in there, and sees no other');
  });
  await house.done(1, 'account', 'create', 'red');
  await house.done(1, 'key', 'create', 'red', '--save-profile', 'default');
  const vpc = fieldOf(await house.done(1, 'vpc', 'create', 'v', '--cidr', '10.1.0.0/16', '--json'), 'vpcId');
  const cidr = ['--cidr', '10.1.1.0/24'];
  await house.done(1, 'subnet', 'create', 's', '--vpc', vpc, ...cidr);
  const ports: string[] = [];
  for (const n of [1, 2]) {
    const place = ['--subnet', 's', '--address', `10.1.1.1${n}`, '--json'];
    ports.push(fieldOf(await house.done(1, 'interface', 'create', `i${n}`, ...place), 'networkInterfaceId'));
  }
  const [first = '', second = ''] = ports;
  const [a, b] = [new Workload('a'), new Workload('b')];
  t.after(() => {
    a.close();
    b.close();
  });
  const attached = async (host: number, port: string, netns: string): Promise<void> => {
    const { status, stdout, stderr } = await house.local(host, 'attach', port, '--netns', netns);
    assert.equal(status, 0, stdout + stderr);
  };
  const ping = (): string =>
    execFileSync('nsenter', [`--net=/run/netns/${a.name}`, 'ping', '-c4', '-i0.5', '-W1', '10.1.1.12']).toString();

  await t.test(
    'a workload is attached by its host’s agent, without a key of the tenant, and reaches the other',
    async () => {
      await attached(1, first, a.name);
      await attached(2, second, b.name);
      assert.match(ping(), / 0% packet loss/);
      assert.deepEqual((await house.host(2))?.workloads, [second]);
    },
  );

  await t.test('a name is not known on a host, which says so', async () => {
    const { status, stderr } = await house.local(2, 'attach', 'i1', '--netns', b.name);
    assert.equal(status, 2);
    assert.match(stderr, /names are not known on a host.*isthmus interface list/s);
  });

  await t.test('it is attached in one place, which the refusal names', async () => {
    const { status, stderr } = await house.local(2, 'attach', first, '--netns', b.name, '--device', 'eth1');
    assert.equal(status, 1);
    assert.match(stderr, /is attached on host h1/);
  });

  await t.test('the region away: packets flow on; back: it knows what is attached', async () => {
    await house.down();
    assert.match(ping(), / 0% packet loss/);
    await house.up();
    for (const host of [1, 2]) {
      await house.until(`h${host} is connected again`, async () => (await house.host(host))?.connected === true);
    }
    assert.deepEqual((await house.host(1))?.workloads, [first]);
  });

  await t.test('a draining host takes nothing new, and goes only when it is empty', async () => {
    assert.equal((await house.on(1, 'host', 'remove', 'h2')).status, 1, 'not drained');
    assert.match(await house.done(1, 'host', 'drain', 'h2'), new RegExp(second));
    assert.match((await house.on(1, 'host', 'remove', 'h2')).stderr, /still has workloads/);
    assert.equal((await house.local(2, 'detach', second)).status, 0);
    const { status, stderr } = await house.local(2, 'attach', second, '--netns', b.name);
    assert.equal(status, 1);
    assert.match(stderr, /is draining/);
    await house.until('the region knows', async () => (await house.host(2))?.workloads?.length === 0);
    await house.done(1, 'host', 'remove', 'h2');
    assert.equal(await house.host(2), undefined);
  });

  await t.test('a purge of the server says that the network of the hosts stays', async () => {
    const { status, stdout, stderr } = await house.local(1, 'down', '--purge', '--yes');
    assert.equal(status, 0, stderr);
    assert.match(stdout, /What was on this machine is removed/);
    assert.match(stderr, /OVN's rows stay.*docs\/cluster\.md/);
    assert.doesNotMatch(stderr, /PostgreSQL/, 'its store was here');
  });
});

test('Open vSwitch that is another’s is left as it is, and the token unspent, until it is to be taken over', {
  skip: cannotRun,
  timeout: 180_000,
}, async (t) => {
  const house = await ClusterHouse.start(t, 1);
  await house.up();
  const { bed } = house;
  const invitation = await house.invite(1);
  const set = (...ids: readonly string[]): string =>
    bed.vsctl(1, 'set', 'Open_vSwitch', '.', ...ids.map((one) => `external_ids:${one}`));
  // What others count in there changes by itself.
  const everything = (): string =>
    [
      ['next_cfg,external_ids,ssl,bridges', 'Open_vSwitch'],
      ['name,ports', 'Bridge'],
      ['name,external_ids', 'Interface'],
    ]
      .map(([columns, table = '']) => bed.vsctl(1, `--columns=${columns}`, 'list', table))
      .join();
  const refused = async (...words: readonly RegExp[]): Promise<void> => {
    const before = everything();
    for (const more of [[], ['--dry-run']]) {
      const { status, stderr } = await house.joinBy(1, invitation, ...more);
      assert.equal(status, 1, stderr);
      assert.match(stderr, /belongs to somebody else[\s\S]*token is not spent.*--take-over/);
      for (const word of words) assert.match(stderr, word);
    }
    assert.equal(everything(), before);
    assert.equal(existsSync(house.state(1)), false);
    assert.equal((await house.host(1))?.state, 'invited');
  };
  const remote = 'ovn-remote="tcp:192.0.2.1:6642,tcp:192.0.2.2:6642"';

  await t.test('another OVN: its remotes and the name it knows the machine by are named', async () => {
    set(remote, 'system-id=theirs');
    await refused(/another OVN uses it: ovn-remote=tcp:192\.0\.2\.1:6642,tcp:192\.0\.2\.2:6642, as chassis 'theirs'/);
  });
  await t.test('the region’s own OVN, by another name', async () => {
    set(`ovn-remote="${bed.remotes.southbound}"`);
    await refused(/knows this machine by another name: system-id=theirs, not h1/);
  });
  await t.test('bridges and interfaces of another installation', async () => {
    set('system-id=h1');
    const owner = (id: string): string => `external_ids:"isthmus:owner"=${id}`;
    bed.vsctl(1, 'add-br', 'br-else', '--', 'set', 'Bridge', 'br-else', 'datapath_type=netdev', owner('0123456789'));
    const port = ['add-port', 'br-int', 'left', '--', 'set', 'Interface', 'left', 'type=internal'];
    bed.vsctl(1, ...port, owner('0123456789'));
    await refused(/Isthmus installation 0123456789 has bridge br-else, interface left/);
  });
  await t.test('--take-over says what it takes, and joins with the same token', async () => {
    set(remote, 'system-id=theirs');
    const { status, stdout, stderr } = await house.joinBy(1, invitation, '--take-over');
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /take over {2}another OVN uses it.*\n.*take over {2}Isthmus installation 0123456789/);
    assert.match(stdout, /set {8}Open vSwitch: system-id=h1 \(was theirs\)/);
    await house.startAgent(1);
    assert.match(bed.vsctl(1, 'list-ports', 'br-int'), /^left$/m, 'what is not ours stays');
  });
  await t.test('what is ours is no reason: the same line again finds nothing to do', async () => {
    bed.vsctl(1, 'del-port', 'left', '--', 'del-br', 'br-else');
    const { status, stdout } = await house.joinBy(1, invitation);
    assert.equal(status, 0);
    assert.match(stdout, /every setting is right already/);
  });
  await t.test('a machine that no OVN uses joins, whatever its distribution called it', async () => {
    const probe = ['--state', join(house.folder, 'fresh'), '--dry-run'];
    bed.vsctl(1, 'remove', 'Open_vSwitch', '.', 'external_ids', 'ovn-remote');
    set('system-id=3f0c1d5e-0000-4000-8000-0000000000ab');
    const { status, stdout, stderr } = await house.joinBy(1, invitation, ...probe);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /would {6}Open vSwitch: system-id=h1/);
  });
  await t.test('an address without the database is refused before the token is shown', async () => {
    const fresh = ['--state', join(house.folder, 'fresh'), '--ovn-remote'];
    const north = bed.remotes.northbound;
    const { status, stderr } = await house.joinBy(1, invitation, ...fresh, north);
    assert.equal(status, 2, stderr);
    assert.match(stderr, new RegExp(`${north} has .*OVN_Northbound.* and not OVN_Southbound.*--ovn-remote`));
    assert.match(stderr, /the token is not spent/);
    const nobody = await house.joinBy(1, invitation, ...fresh, 'tcp:127.0.0.1:9');
    assert.equal(nobody.status, 2);
    assert.match(nobody.stderr, /none answers from here: tcp:127\.0\.0\.1:9/);
    assert.equal(existsSync(join(house.folder, 'fresh')), false);
  });
  await t.test('doctor tells of a host that OVN does not know, on the server and there', async () => {
    const doctor = async () => {
      const { stdout } = await house.on(1, 'doctor', '--json', '--run-dir', house.run(1));
      return JSON.parse(stdout) as readonly { what: string; state: string; detail: string }[];
    };
    const bad = async () => (await doctor()).filter(({ state }) => state === 'bad').map(({ what }) => what);
    set(`ovn-remote="${bed.remotes.southbound}"`, 'system-id=h1');
    await house.until('all is well', async () => (await bad()).length === 0);
    // What is in OVN's books of it goes; as long as it finds the database it would come back.
    set('ovn-remote="tcp:127.0.0.1:9"');
    execFileSync('ovn-sbctl', [`--db=unix:${join(bed.folder(1), 'sb.sock')}`, 'chassis-del', 'h1'], {
      timeout: 10_000,
    });
    const both = async () => {
      const now = await bad();
      return now.includes('host h1') && now.includes('ovn-controller connected');
    };
    await house.until('both tell', both);
    set(`ovn-remote="${bed.remotes.southbound}"`);
    await house.until('all is well again', async () => (await bad()).length === 0);
  });
  await t.test('without the database’s address it asks for the whole line', async () => {
    const at = invitation.indexOf('--ovn-remote');
    const { status, stderr } = await house.joinBy(
      1,
      invitation.toSpliced(at, 2),
      '--state',
      join(house.folder, 'fresh'),
    );
    assert.equal(status, 2);
    assert.match(stderr, /southbound database is was not said/);
  });
});

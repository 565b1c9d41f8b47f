/** Hosts that join on trial and again, rest and come back, and are lost, by the real command line. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Workload } from '../wire/workload.ts';
import { ClusterHouse } from './cluster-house.ts';
import { cannotRun } from './ground.ts';

const fieldOf = (json: string, name: string): string => String((JSON.parse(json) as { [name: string]: unknown })[name]);

test('hosts join on trial and again, rest, and are lost', { skip: cannotRun, timeout: 400_000 }, async (t) => {
  const house = await ClusterHouse.start(t, 2);
  const { bed } = house;
  await house.up();
  await house.join(1);
  await house.startAgent(1);
  const settings = (): string => bed.vsctl(2, '--no-wait', 'get', 'Open_vSwitch', '.', 'external_ids');
  const invited = await house.done(1, 'host', 'invite', 'h2', '--json');
  const line = fieldOf(invited, 'command').split(' ').slice(2);
  const joining = (...more: readonly string[]) => house.on(2, ...line, '--encap-ip', bed.tunnelAddress(2), ...more);
  const home = ['--state', house.state(2)];

  await t.test('join --dry-run says what it would do, and does none of it', async () => {
    const before = settings();
    const { status, stdout, stderr } = await joining(...home, '--dry-run');
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^would {6}join: a key is made here/m);
    assert.match(stdout, /^would {6}Open vSwitch: ovn-ofctrl-wait-before-clear=8000 \(was /m);
    assert.equal(settings(), before);
    assert.ok(!existsSync(house.state(2)), 'no key was made');
    const other = line.with(line.indexOf('--ca-fingerprint') + 1, `sha256:${'0'.repeat(64)}`);
    const strange = await house.on(2, ...other, '--encap-ip', bed.tunnelAddress(2), ...home);
    assert.equal(strange.status, 2);
    assert.match(strange.stderr, /shows another authority than that of --ca-fingerprint[\s\S]*nothing was told to it/);
    assert.equal((await house.host(2))?.state, 'invited', 'and the token is not spent');
  });

  await t.test(
    'the same line joins; run again without its end it goes on, and another machine’s is refused',
    async () => {
      const { status, stdout, stderr } = await joining(...home);
      assert.equal(status, 0, stderr);
      assert.match(stdout, /^joined {5}as h2/m);
      assert.match(stdout, /^set {8}Open vSwitch: ovn-ofctrl-wait-before-clear=8000/m);
      assert.match(settings(), /ovn-ofctrl-wait-before-clear="8000"/);
      // As if the answer had been lost: the key is there, and no more.
      renameSync(join(house.state(2), 'key.pem'), join(house.state(2), 'joining.pem'));
      for (const name of ['host.json', 'certificate.pem', 'authority.pem']) rmSync(join(house.state(2), name));
      const other = await joining('--state', `${house.state(2)}-other`);
      assert.equal(other.status, 1);
      assert.match(other.stderr, /was used/);
      assert.match((await joining(...home)).stdout, /^joined {5}as h2/m);
      await house.startAgent(2);
      const bogus = line.with(line.indexOf('--token') + 1, 'bogus');
      const again = await house.on(2, ...bogus, '--encap-ip', bed.tunnelAddress(2), ...home);
      assert.match(again.stdout, /^joined {5}before, as h2: the token was not needed/m);
      assert.equal((await house.host(2))?.connected, true, 'its agent keeps its connection');
    },
  );

  await house.done(1, 'account', 'create', 'red');
  await house.done(1, 'key', 'create', 'red', '--save-profile', 'default');
  const vpc = fieldOf(await house.done(1, 'vpc', 'create', 'v', '--cidr', '10.1.0.0/16', '--json'), 'vpcId');
  await house.done(1, 'subnet', 'create', 's', '--vpc', vpc, '--cidr', '10.1.1.0/24');
  const make = async (name: string): Promise<string> =>
    fieldOf(await house.done(1, 'interface', 'create', name, '--subnet', 's', '--json'), 'networkInterfaceId');
  const [first, second] = [await make('i1'), await make('i2')];
  const workloads = [new Workload('a'), new Workload('b'), new Workload('c')];
  const [a = '', b = '', c = ''] = workloads.map(({ name }) => name);
  t.after(() => {
    for (const workload of workloads) workload.close();
  });
  const attach = (host: number, port: string, netns: string) => house.local(host, 'attach', port, '--netns', netns);
  assert.equal((await attach(1, first, a)).status, 0);

  await t.test('drain takes nothing new until it is undone; a plan of it changes nothing', async () => {
    assert.match(await house.done(1, 'host', 'drain', 'h2', '--plan'), /~ change host {2}h2/);
    assert.equal((await house.host(2))?.state, 'active');
    await house.done(1, 'host', 'drain', 'h2');
    assert.equal((await house.host(2))?.state, 'draining');
    const refused = await attach(2, second, b);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /is draining.*drain h2 --undo/s);
    await house.done(1, 'host', 'drain', 'h2', '--undo');
    assert.equal((await house.host(2))?.state, 'active');
    const { status, stderr } = await attach(2, second, b);
    assert.equal(status, 0, stderr);
  });

  const owes = async (): Promise<readonly string[]> => (await house.host(2))?.owes?.map(({ what }) => what) ?? [];
  /** A change that takes something away, and what was said of it. */
  const change = async (name: string): Promise<string> => {
    const made = await make(name);
    const { status, stderr } = await house.on(1, 'interface', 'delete', made);
    assert.equal(status, 0, stderr);
    return stderr;
  };

  await t.test('a host that is away is owed by name, and goes only as lost', async () => {
    assert.doesNotMatch(await change('i3'), /not yet fenced/, 'the control: it is there');
    const { status, stderr } = await house.on(1, 'host', 'remove', 'h2', '--lost');
    assert.equal(status, 1);
    assert.match(stderr, /is not lost: its agent is connected.*stop its agent first/s);
    await house.stopAgent(2);
    await bed.killDaemon('controller', 2);
    assert.match(await change('i4'), /not yet fenced on h2/);
    const list = await house.done(1, 'host', 'list');
    assert.match(list, /^h1 +active +yes +0 /m);
    assert.match(list, /^h2 +active +no +([0-9]+ ms|[0-9.]+ s) /m, 'a duration');
    assert.deepEqual(await owes(), ['cut']);
    assert.match((await house.on(1, 'host', 'remove', 'h2')).stderr, /still takes workloads/);
    await house.done(1, 'host', 'drain', 'h2');
    assert.match((await house.on(1, 'host', 'remove', 'h2')).stderr, /agent of host h2 is not connected/);
    const plan = await house.on(1, 'host', 'remove', 'h2', '--lost', '--plan');
    assert.match(plan.stdout, /- delete host {2}h2/);
    assert.match(plan.stderr, new RegExp(`${second} was attached there when it was last heard`));
    assert.deepEqual(await owes(), ['cut'], 'a plan of it changes nothing');
  });

  await t.test(
    'remove --lost: what it had is told, its debts are gone, and its certificate is worth nothing',
    async () => {
      const { status, stdout, stderr } = await house.on(1, 'host', 'remove', 'h2', '--lost');
      assert.equal(status, 0, stderr);
      const said = stdout + stderr;
      assert.match(said, new RegExp(`${second} was attached there when it was last heard`));
      assert.match(said, new RegExp(`never proved that it has cut what was taken from ${vpc}`));
      assert.equal(await house.host(2), undefined);
      const shown = JSON.parse(await house.done(1, 'vpc', 'show', vpc, '--json')) as {
        notFencedOn?: readonly string[];
      };
      assert.deepEqual(shown.notFencedOn ?? [], [], 'nothing is owed by it any more');
      assert.doesNotMatch(await change('i5'), /not yet/, 'nor waited for');
      const again = await attach(1, second, c);
      assert.equal(again.status, 0, `what it had may be elsewhere: ${again.stderr}`);
      await assert.rejects(house.startAgent(2, 3_000), /gave up|ended/);
      assert.equal((await house.host(1))?.connected, true, 'the control');
      await house.stopAgent(2);
    },
  );

  await t.test('the machine joins again under its name, with another invitation, over what it kept', async () => {
    const kept = readFileSync(join(house.state(2), 'key.pem'), 'utf8');
    const invitation = await house.invite(2);
    const spent = invitation.with(invitation.indexOf('--token') + 1, 'bogus');
    assert.match((await house.joinBy(2, spent)).stderr, /is unknown|was used|expired/, 'it is not taken for joined');
    assert.equal(readFileSync(join(house.state(2), 'key.pem'), 'utf8'), kept, 'what it has stays until it has joined');
    const { status, stdout, stderr } = await house.joinBy(2, invitation);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^removed {4}the region does not know this machine as h2 any more/m);
    assert.match(stdout, /^joined {5}as h2; /m);
    assert.match(
      stderr,
      /Not yet: daemon ovn-controller does not run.*systemctl start ovn-host[\s\S]*restart its agent/,
    );
    assert.notEqual(readFileSync(join(house.state(2), 'key.pem'), 'utf8'), kept);
    await house.startAgent(2);
    bed.startDaemon('controller', 2);
    assert.equal((await house.host(2))?.state, 'active');
  });
});

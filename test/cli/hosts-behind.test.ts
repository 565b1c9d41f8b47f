/** What the command line says while a host has not proven a change: the reply, the sheets, the events and the doctor. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { OwingDriver } from '../hosts/owing-driver.ts';
import { startService, type TestService } from './service.ts';
import { speaker, tenant } from './speaker.ts';

let service: TestService;
const driver = new OwingDriver();
const speak = speaker(() => service);
const { as, id, json } = speak;
before(async () => {
  service = await startService(driver);
  await tenant(speak, 'alice');
  await tenant(speak, 'bob');
});
after(() => service.stop());

test('a disconnect that a host has not fenced is done, with one line that says which, what it means and what to do', async () => {
  const [a, b] = [
    await id('alice', 'vpc', 'create', 'web', '--cidr', '10.0.0.0/16'),
    await id('bob', 'vpc', 'create', 'db', '--cidr', '10.1.0.0/16'),
  ];
  await as('alice', 'peering', 'create', 'to-db', '--vpc', a, '--remote', b);
  await as('bob', 'peering', 'create', 'to-web', '--vpc', b, '--remote', a);
  driver.leave('h3');
  const answer = await service.run(['peering', 'delete', 'to-db', '--profile', 'alice', '--json']);
  assert.equal(answer.status, 0, answer.stderr);
  assert.deepEqual(JSON.parse(answer.stdout).notFencedOn, ['h3']);
  assert.match(
    answer.stderr,
    /^Stored, but not yet fenced on h3\. The peering is cut at its other end: every other host drops what still comes\. It is fenced by itself once it is back\. .*isthmus doctor\n$/,
  );
  const sheet = await as('bob', 'peering', 'show', 'to-web');
  assert.match(sheet, / State +Disconnected: .*\n(.*\n)* +Not fenced on +h3\n/);
  assert.match(await as('alice', 'vpc', 'show', 'web'), / Not fenced on +h3\n/);
  assert.match(await as('bob', 'events'), / hosts +vpcpr-\S+ +not fenced on h3\n/);
  const doctor = await service.run(['doctor', '--run-dir', service.folder]);
  assert.match(doctor.stdout, /host h3 is behind +missing +2 VPCs not fenced, 0 not installed, since 20/);

  driver.comeBack('h3');
  for (let tries = 0; tries < 50; tries++) {
    if (!('notFencedOn' in (await json<object>('bob', 'peering', 'show', 'to-web')))) break;
  }
  assert.doesNotMatch(await as('bob', 'peering', 'show', 'to-web'), /h3/);
  assert.doesNotMatch(await as('alice', 'vpc', 'show', 'web'), /h3/);
  assert.match(await as('bob', 'events'), / hosts +vpcpr-\S+ +all hosts have caught up\n/);
  const control = await service.run(['peering', 'delete', 'to-web', '--profile', 'bob']);
  assert.deepEqual(
    [control.status, /Stored, but/.test(control.stderr)],
    [0, false],
    'with every host there it is done',
  );
});

test('what a host has not installed is said so, and is not said to be cut', async () => {
  await as('alice', 'vpc', 'create', 'net', '--cidr', '10.2.0.0/16');
  await as('alice', 'subnet', 'create', 'net-a', '--vpc', 'net', '--cidr', '10.2.1.0/24');
  driver.leave('h2');
  const answer = await service.run(['interface', 'create', 'one', '--subnet', 'net-a', '--profile', 'alice']);
  assert.equal(answer.status, 0);
  assert.match(answer.stderr, /^Stored, but not yet installed on h2\. It follows by itself once it is back\./);
  assert.doesNotMatch(answer.stderr, /cut/);
  assert.match(await as('alice', 'vpc', 'show', 'net'), / Not installed on +h2\n/);
  driver.comeBack('h2');
});

/** The tenant's commands against a real region: what they do and what they print. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startService, type TestService } from './service.ts';
import { speaker, tenant } from './speaker.ts';

let service: TestService;
const speak = speaker(() => service);
const { as, id, json, fails } = speak;
before(async () => {
  service = await startService();
  await tenant(speak, 'alice');
  await tenant(speak, 'bob');
});
after(() => service.stop());

test('a VPC is created, shown, listed, modified and deleted, by name as well as by id', async () => {
  const vpc = await id('alice', 'vpc', 'create', 'web', '--cidr', '10.0.0.0/16', '--cidr', 'fd00:1::/48');
  assert.match(vpc, /^vpc-[a-z0-9]{10}$/);
  assert.equal(await as('alice', 'vpc', 'show', 'web'), await as('alice', 'vpc', 'show', vpc));
  const table = await as('alice', 'vpc', 'list');
  assert.match(table, new RegExp(`^ID +NAME +CIDRS +SUBNETS\n${vpc} +web +10.0.0.0/16 +0\n +fd00:1::/48\n`));
  const [shown] = await json<{ vpcId: string; addressPrefixes: string[] }[]>('alice', 'vpc', 'list');
  assert.deepEqual([shown?.vpcId, shown?.addressPrefixes], [vpc, ['10.0.0.0/16', 'fd00:1::/48']]);
  await as('alice', 'vpc', 'modify', 'web', '--name', 'site', '--description', 'front');
  const sheet = await as('alice', 'vpc', 'show', 'site');
  assert.match(sheet, new RegExp(`^${vpc} {2}site\n(.*\n)* +Description +front\n`));
  await as('alice', 'vpc', 'delete', 'site');
  assert.equal(await as('alice', 'vpc', 'list', '-q'), '');
});

test('ranges are added, listed and removed', async () => {
  await as('alice', 'vpc', 'create', 'grow', '--cidr', '10.0.0.0/16');
  assert.match(await as('alice', 'cidr', 'add', 'grow', '10.9.0.0/16'), /10\.0\.0\.0\/16\n10\.9\.0\.0\/16\n/);
  assert.deepEqual(await json('alice', 'cidr', 'list', 'grow'), ['10.0.0.0/16', '10.9.0.0/16']);
  await as('alice', 'cidr', 'remove', 'grow', '10.0.0.0/16');
  assert.deepEqual(await json('alice', 'cidr', 'list', 'grow'), ['10.9.0.0/16']);
  await as('alice', 'vpc', 'modify', 'grow', '--unlimited');
  assert.deepEqual(await json('alice', 'cidr', 'list', 'grow'), []);
  await as('alice', 'vpc', 'delete', 'grow');
});

test('a dual-stack subnet, and a VPC that goes with everything in it', async () => {
  await as('alice', 'vpc', 'create', 'dual', '--cidr', '10.0.0.0/16', '--cidr', 'fd00:1::/48');
  const ranges = ['--cidr', 'fd00:1::/64', '--cidr', '10.0.1.0/24'];
  const subnet = await as('alice', 'subnet', 'create', 'a', '--vpc', 'dual', ...ranges);
  assert.match(subnet, / Ranges +10\.0\.1\.0\/24\n +fd00:1::\/64\n/);
  await as('alice', 'subnet', 'modify', 'a', '--name', 'b');
  const port = await as('alice', 'interface', 'create', 'i', '--subnet', 'b');
  assert.match(port, / Primary +10\.0\.1\.\d+\n +fd00:1::[0-9a-f:]+\n/);
  const refused = await fails(1, 'vpc', 'delete', 'dual', '--profile', 'alice');
  assert.match(refused.stderr, /^refused: VPC vpc-\S+ still has subnet subnet-/);
  await as('alice', 'vpc', 'delete', 'dual', '--cascade');
  assert.deepEqual(await json('alice', 'subnet', 'list'), []);
});

test('an interface with addresses of its own choice and others, assigned and taken away', async () => {
  await as('alice', 'vpc', 'create', 'net', '--cidr', '10.0.0.0/16');
  await as('alice', 'subnet', 'create', 'net-a', '--vpc', 'net', '--cidr', '10.0.1.0/24');
  const chosen = ['--address', '10.0.1.10', '--secondary', '10.0.1.11'];
  await as('alice', 'interface', 'create', 'one', '--subnet', 'net-a', ...chosen);
  const shown = await as('alice', 'interface', 'assign', 'one', '10.0.1.12');
  assert.match(shown, / Primary +10\.0\.1\.10\n +Secondary +10\.0\.1\.11\n +10\.0\.1\.12\n/);
  await as('alice', 'interface', 'assign', 'one', '--count', '2');
  const now = await json<{ secondaryIps: { privateIpAddress: string }[] }>('alice', 'interface', 'show', 'one');
  assert.equal(now.secondaryIps.length, 4);
  await as('alice', 'interface', 'unassign', 'one', ...now.secondaryIps.map((ip) => ip.privateIpAddress));
  assert.match(await as('alice', 'interface', 'modify', 'one', '--source-check', 'off'), / Source check +off/);
  const listed = await as('alice', 'interface', 'list', '--vpc', 'net');
  assert.match(listed, /one +10\.0\.1\.10 +subnet-\S+ +detached/);
  assert.deepEqual(await json('alice', 'interface', 'counters', 'one'), []);
  // Nothing is attached, so a packet could only come from nowhere; the list of reasons says what helps.
  const trace = await as('alice', 'interface', 'trace', 'one', '8.8.8.8');
  assert.match(trace, /to 8\.8\.8\.8: dropped\n(.*\n)* +Reason +NoPort port-\S+\n(.*\n)* +Attach the workload/);
  const held = await fails(1, 'subnet', 'delete', 'net-a', '--profile', 'alice');
  assert.match(held.stderr, /still holds network interface port-/);
  await as('alice', 'vpc', 'delete', 'net', '--cascade');
});

test('two tenants join and part; the list of routes says what carries', async () => {
  const left = await id('alice', 'vpc', 'create', 'left', '--cidr', '10.1.0.0/16');
  const right = await id('bob', 'vpc', 'create', 'right', '--cidr', '10.2.0.0/16');
  const half = await id('alice', 'peering', 'create', 'to-bob', '--vpc', 'left', '--remote', right);
  const table = (await json<{ routeTableIds: string[] }>('alice', 'vpc', 'show', 'left')).routeTableIds[0] ?? '';
  const added = await as('alice', 'route', 'add', table, '10.2.0.0/16', '--via', 'to-bob');
  assert.match(added, /10\.2\.0\.0\/16 +vpcpr-\S+ +no: Initiated/);
  await as('bob', 'peering', 'create', 'to-alice', '--vpc', 'right', '--remote', left);
  const halves = await as('alice', 'peering', 'list');
  assert.match(halves, new RegExp(`${half} +to-bob +Connected +blocked +${left} +${right}\n`));
  assert.match(await as('alice', 'route', 'list', table), /10\.2\.0\.0\/16 +vpcpr-\S+ +yes/);
  assert.match(await as('alice', 'peering', 'modify', 'to-bob', '--name', 'bob'), /State +Connected/);
  const usage = await as('alice', 'usage', 'bob');
  assert.match(usage, /BYTES SENT +BYTES RECEIVED +PRICE\nvpcpr-\S+ +bob +0 +0 +0\.00\n/);
  assert.match(await as('alice', 'usage'), /\bbob\b/);
  await as('bob', 'peering', 'delete', 'to-alice');
  assert.match(await as('alice', 'peering', 'show', half), /Disconnected: the other side deleted its half/);
  const modified = await as('alice', 'route', 'modify', table, '10.2.0.0/16', '--via', 'internet');
  assert.match(modified, /10\.2\.0\.0\/16 +internet +no: no egress/);
  assert.match(await as('alice', 'route', 'list', 'left'), /10\.2\.0\.0\/16/, 'a VPC stands for its default table');
  assert.doesNotMatch(await as('alice', 'route', 'remove', table, '10.2.0.0/16'), /10\.2\.0\.0/);
  await as('alice', 'peering', 'delete', half);
  await as('alice', 'vpc', 'delete', 'left');
  await as('bob', 'vpc', 'delete', 'right');
});

test('a subnet moves between tables', async () => {
  await as('alice', 'vpc', 'create', 'tables', '--cidr', '10.3.0.0/16');
  await as('alice', 'subnet', 'create', 'front', '--vpc', 'tables', '--cidr', '10.3.1.0/24');
  const front = () => json<{ subnetId: string; routeTableId: string }>('alice', 'subnet', 'show', 'front');
  const { subnetId, routeTableId: first } = await front();
  const custom = await id('alice', 'route-table', 'create', 'custom', '--vpc', 'tables');
  assert.ok((await as('alice', 'route-table', 'associate', 'custom', 'front')).includes(subnetId));
  assert.equal((await front()).routeTableId, custom);
  assert.deepEqual((await json<unknown[]>('alice', 'subnet', 'list', '--route-table', 'custom')).length, 1);
  assert.match((await fails(1, 'route-table', 'delete', 'custom', '--profile', 'alice')).stderr, /is used by subnet/);
  await as('alice', 'route-table', 'disassociate', 'custom', 'front');
  assert.equal((await front()).routeTableId, first);
  await as('alice', 'route-table', 'modify', 'custom', '--name', 'spare');
  await as('alice', 'route-table', 'delete', 'spare');
  await as('alice', 'vpc', 'delete', 'tables', '--cascade');
});

test("quotas are listed with what is used of them, and the operator's change shows", async () => {
  await speak.done('quota', 'set', 'alice', 'vpc', '3');
  assert.match(await as('alice', 'quota', 'list'), /vpc +– +0 +3 +VPCs\n/);
  await speak.done('quota', 'set', 'alice', 'vpc', 'default');
  assert.match(await as('alice', 'quota', 'list'), /vpc +– +0 +10 +VPCs\n/);
});

test('completion knows commands, options, names and ids', async () => {
  const vpc = await id('alice', 'vpc', 'create', 'complete-me');
  const complete = async (...words: readonly string[]): Promise<readonly string[]> =>
    (await service.run(['__complete', '--', ...words], { ISTHMUS_PROFILE: 'alice' })).stdout.trim().split('\n');
  assert.deepEqual(await complete('rou'), ['route-table', 'route']);
  assert.deepEqual(await complete('vpc', 'cr'), ['create']);
  assert.ok((await complete('vpc', 'create', '--')).includes('--cidr'));
  assert.deepEqual(await complete('vpc', 'show', 'complete'), ['complete-me']);
  assert.deepEqual(await complete('subnet', 'create', 'x', '--vpc', 'vpc-'), [vpc]);
  assert.deepEqual(await complete('vpc', 'list', '--profile', ''), ['alice', 'bob']);
  await as('alice', 'vpc', 'delete', vpc);
});

/** How the command line says no: exit codes, the block on stderr, and what a hostile name may not do. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { escapeText } from '../../src/cli/terminal.ts';
import { startService, type TestService } from './service.ts';
import { speaker, tenant } from './speaker.ts';

let service: TestService;
const speak = speaker(() => service);
const { as, done, id, json, fails } = speak;
before(async () => {
  service = await startService();
  await tenant(speak, 'alice');
  await tenant(speak, 'bob');
});
after(() => service.stop());

test('a refusal is one block: what was refused, what is in the way, what to do, and the request id', async () => {
  await as('alice', 'vpc', 'create', 'no', '--cidr', '10.0.0.0/16');
  const outside = ['subnet', 'create', 'x', '--vpc', 'no', '--cidr', '10.1.0.0/24', '--profile', 'alice'];
  assert.match(
    (await fails(1, ...outside)).stderr,
    /^refused: 10\.1\.0\.0\/24 lies outside the CIDRs of VPC vpc-\S+: 10\.0\.0\.0\/16\.\n {2}→ Choose a range inside, or add a CIDR to the VPC\.\n {2}400 INVALID_ARGUMENT · request \S+\n$/,
  );
  await as('alice', 'vpc', 'delete', 'no');
});

test('a refusal speaks of the options and arguments that were given, not of the fields of the API', async () => {
  await as('alice', 'vpc', 'create', 'words', '--cidr', '10.0.0.0/16');
  const add = ['route', 'add', 'words', '10.1.0.5', '--via', 'internet', '--profile', 'alice'];
  const { stderr } = await fails(1, ...add);
  assert.match(stderr, /^refused: the destination: .*10\.1\.0\.5/);
  assert.doesNotMatch(stderr, /Specs|addressPrefix/);
  const rate = await fails(1, 'account', 'modify', 'alice', '--rate', '0');
  assert.match(rate.stderr, /--rate/);
  await as('alice', 'vpc', 'delete', 'words');
});

test('a key is not saved over another profile', async () => {
  const { stderr } = await fails(2, 'key', 'create', 'bob', '--save-profile', 'bob');
  assert.match(stderr, /There is a profile 'bob' already/);
});

test('a name that two objects have is refused with both named; an id still works', async () => {
  const ids: string[] = [];
  for (const cidr of ['10.0.0.0/16', '10.1.0.0/16']) {
    ids.push(await id('alice', 'vpc', 'create', 'twin', '--cidr', cidr));
  }
  const { stderr } = await fails(2, 'vpc', 'show', 'twin', '--profile', 'alice');
  for (const one of ids) assert.ok(stderr.includes(one), stderr);
  assert.equal((await json<{ vpcId: string }>('alice', 'vpc', 'show', ids[1] ?? '')).vpcId, ids[1]);
  for (const one of ids) await as('alice', 'vpc', 'delete', one);
});

test('what belongs to another tenant is not there: by name and by id', async () => {
  const secret = await id('bob', 'vpc', 'create', 'secret');
  assert.match((await fails(1, 'vpc', 'show', 'secret', '--profile', 'alice')).stderr, /There is no VPC 'secret'/);
  assert.match((await fails(1, 'vpc', 'show', secret, '--profile', 'alice')).stderr, /404 NOT_FOUND/);
  await as('bob', 'vpc', 'delete', 'secret');
});

test('wrong usage exits 2 before anything is sent', async () => {
  const wrong = [['vpc'], ['vpc', 'nonsense'], ['nonsense'], ['subnet', 'create', 'x'], ['vpc', 'list', '--nonsense']];
  for (const args of wrong) assert.equal((await service.run(args)).status, 2, args.join(' '));
  assert.match((await fails(2, 'vpc', 'modify', 'x', '--profile', 'alice')).stderr, /Nothing to change/);
});

test('a hostile description reaches neither the terminal nor the shape of the sheet', async () => {
  const hostile = 'a\u001b]0;owned\u0007\u009b31m\nroot# \u202e';
  await as('alice', 'vpc', 'create', 'hostile', '--description', hostile);
  const sheet = await as('alice', 'vpc', 'show', 'hostile');
  assert.ok(sheet.includes(`Description   ${escapeText(hostile)}\n`), sheet);
  const text = await as('alice', 'vpc', 'show', 'hostile', '--json');
  assert.equal((JSON.parse(text) as { description: string }).description, hostile);
  for (const printed of [sheet, text]) {
    assert.equal(escapeText(printed.replaceAll('\n', '')), printed.replaceAll('\n', ''));
  }
  await as('alice', 'vpc', 'delete', 'hostile');
});

test('a key from the environment works without any profile, and a wrong or deleted one is refused', async () => {
  interface Key {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
  }
  const key = JSON.parse(await done('key', 'create', 'alice', '--json')) as Key;
  const env = {
    XDG_CONFIG_HOME: `${service.folder}/nobody`,
    ISTHMUS_ACCESS_KEY: key.accessKeyId,
    ISTHMUS_SECRET_KEY: key.secretAccessKey,
    ISTHMUS_ENDPOINT: service.endpoint,
    ISTHMUS_REGION: service.region,
  };
  assert.deepEqual(await service.run(['vpc', 'list', '--json'], env), { status: 0, stdout: '[]\n', stderr: '' });
  const wrong = await service.run(['vpc', 'list'], { ...env, ISTHMUS_SECRET_KEY: 'x' });
  assert.equal(wrong.status, 1);
  assert.match(wrong.stderr, /401 UNAUTHENTICATED/);
  assert.equal((await service.run(['vpc', 'list'], { ...env, ISTHMUS_SECRET_KEY: '' })).status, 2);
  await done('key', 'delete', key.accessKeyId);
  assert.equal((await service.run(['vpc', 'list'], env)).status, 1, 'a deleted key is refused');
});

test('without a profile or a service it says what is missing', async () => {
  const none = await service.run(['vpc', 'list'], { XDG_CONFIG_HOME: `${service.folder}/nobody` });
  assert.equal(none.status, 2);
  assert.match(none.stderr, /There is no profile 'default'/);
  // Port 9 (discard) of loopback: nothing listens there.
  const gone = await service.run(['vpc', 'list', '--profile', 'alice', '--endpoint', 'http://127.0.0.1:9']);
  assert.equal(gone.status, 2);
  assert.match(gone.stderr, /http:\/\/127\.0\.0\.1:9 cannot be reached/);
});

test('a database is not reached by ssl: without all three certificates, and the remote is named', async () => {
  const up = ['up', '--driver', 'ovn', '--ovn-nb', 'tcp:127.0.0.1:1', '--ovn-sb', 'ssl:db.example:6642'];
  for (const part of [[], ['--ovn-ca', '/nowhere']]) {
    const { stderr } = await fails(2, ...up, ...part);
    assert.match(
      stderr,
      /certificates for ssl:db\.example:6642 are not complete.*\n.*--ovn-ca, --ovn-cert and --ovn-key/,
    );
  }
});

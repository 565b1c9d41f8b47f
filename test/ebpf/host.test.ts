/** What the driver asks of a host, and what it leaves on it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { EbpfDriver, purgePlane } from '../../src/dataplane/ebpf/driver.ts';
import * as bpf from '../../src/kernel/bpf.ts';
import { cannotRun, Lab } from '../wire/lab.ts';
import { twoSites } from '../wire/sketch.ts';

test('the probe finds all that is required here, and leaves nothing behind', { skip: cannotRun }, async () => {
  const places = () => [
    readdirSync('/run/netns').filter((name) => name.startsWith('isthmus-probe')),
    mounts('isthmus-probe'),
  ];
  const rows = await EbpfDriver.probe();
  const missing = rows.filter(({ required, state }) => required && state !== 'yes');
  assert.deepEqual(missing, []);
  assert.ok(rows.length >= 10);
  assert.deepEqual(places(), [[], []]);
});
const mounts = (mark: string): readonly string[] =>
  readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((row) => row.includes(mark));

test('45. a purge takes our pins out of a shared bpffs and leaves the rest as it is', {
  skip: cannotRun,
}, async (t) => {
  const shared = mkdtempSync(join(tmpdir(), 'isthmus-shared-'));
  execFileSync('mount', ['-t', 'bpf', 'somebody', shared], { timeout: 10_000 });
  t.after(() => {
    execFileSync('umount', [shared], { timeout: 10_000 });
    rmdirSync(shared);
  });
  const lab = await Lab.start(t);
  const foreign = bpf.createMap({ type: bpf.mapTypes.array, keySize: 4, valueSize: 4, maxEntries: 1 });
  bpf.pin(foreign, join(shared, 'theirs'));
  bpf.closeFd(foreign);
  const options = {
    ...lab.options,
    bpffsPath: shared,
    namespaceName: `${lab.options.namespaceName}-b`,
    installationId: 'second',
  };
  const driver = new EbpfDriver(options);
  await driver.apply({ make: [{ step: 'put-vpc', vpcId: twoSites().red }], break: [] });
  assert.ok(existsSync(join(shared, 'meta')), 'ours are there');
  await driver.purge();
  const left = readdirSync(shared).filter((name) => !name.endsWith('.debug')); // bpffs makes those itself
  assert.deepEqual(left, ['theirs']);
  assert.equal(mounts(shared).length, 1, 'their mount stays');
});

test('a purge never removes what lies in a directory that is no mount', { skip: cannotRun }, async (t) => {
  const lab = await Lab.start(t);
  const place = join(lab.scratch, 'precious');
  mkdirSync(place);
  writeFileSync(join(place, 'meta'), 'a file that happens to have the name of a pin');
  purgePlane({ bpffsPath: place, namespaceName: 'isthmus-no-such' });
  assert.deepEqual(readdirSync(place), ['meta']);
});

/** A network in a file, by command: planned, applied as planned, refused when it moved, in parts when it is long. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startService, type TestService } from './service.ts';
import { speaker, tenant } from './speaker.ts';

let service: TestService;
const speak = speaker(() => service);
const { as, done, json } = speak;
before(async () => {
  service = await startService();
  await tenant(speak, 'alice');
});
after(() => service.stop());

const written = (name: string, text: string): string => {
  const path = join(service.folder, name);
  writeFileSync(path, text);
  return path;
};
const shop = (description: string): string => `network: shop
vpcs:
  - name: front
    description: ${description}
    cidrs: [10.1.0.0/16]
    subnets: [{name: web, cidrs: [10.1.1.0/24], interfaces: [{name: web-1}]}]
`;

test('what plan shows is what apply does; twice changes nothing; an empty file takes away what is its own alone', async () => {
  const file = written('shop.yaml', shop('first'));
  const planned = await as('alice', 'plan', '-f', file);
  assert.match(planned, / {2}\+ create vpc {2}front\n(.*\n)* {2}\+ create subnet {2}web\n/);
  assert.equal(await as('alice', 'vpc', 'list', '-q'), '', 'a plan changes nothing');
  const basis = (await as('alice', 'plan', '-f', file, '-q')).trim();
  assert.match(await as('alice', 'apply', '-f', file, '--basis', basis), /\+ create vpc {2}front/);
  const again = await json<{ steps: number }>('alice', 'apply', '-f', file);
  assert.equal(again.steps, 0);
  await as('alice', 'vpc', 'create', 'by-hand', '--cidr', '10.9.0.0/16');
  await as('alice', 'apply', '-f', written('empty.yaml', 'network: shop\n'));
  const left = await json<readonly { vpcName: string }[]>('alice', 'vpc', 'list');
  assert.deepEqual(
    left.map(({ vpcName }) => vpcName),
    ['by-hand'],
  );
  await as('alice', 'vpc', 'delete', 'by-hand');
});

test('a plan that moved is refused, and nothing of it is done', async () => {
  await as('alice', 'apply', '-f', written('shop.yaml', shop('first')));
  const file = written('shop.yaml', shop('second'));
  const basis = (await as('alice', 'plan', '-f', file, '-q')).trim();
  await as('alice', 'vpc', 'modify', 'front', '--description', 'hand');
  const refused = await service.run(['apply', '-f', file, '--basis', basis, '--profile', 'alice']);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /not what was planned: the network has changed/);
  assert.match(await as('alice', 'vpc', 'show', 'front'), /Description +hand\n/);
  await as('alice', 'apply', '-f', file, '-q');
  assert.match(await as('alice', 'vpc', 'show', 'front'), /Description +second\n/, 'control');
  await as('alice', 'apply', '-f', written('empty.yaml', 'network: shop\n'));
});

test('more than 500 steps are done in parts, and each part is told', async () => {
  const interfaces = Array.from({ length: 600 }, (_, n) => ({ name: `i${n}` }));
  const subnets = [{ name: 's', cidrs: ['10.1.0.0/20'], interfaces }];
  const network = { network: 'long', vpcs: [{ name: 'v', cidrs: ['10.1.0.0/16'], subnets }] };
  const file = written('long.json', JSON.stringify(network));
  await done('quota', 'set', 'alice', 'network_interface', '1000');
  const { status, stderr } = await service.run(['apply', '-f', file, '--profile', 'alice']);
  assert.equal(status, 0, stderr);
  assert.match(stderr, /^500 of 602 steps\nDone: 602 steps\.\n$/);
  assert.equal((await json<{ steps: number }>('alice', 'apply', '-f', file)).steps, 0);
  assert.equal((await as('alice', 'interface', 'list', '-q')).trim().split('\n').length, 600);
});

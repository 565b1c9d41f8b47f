/** What is written about the API says what the API does: the page of errors, the page of coverage, the OpenAPI document. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { errorsPage } from '../../src/api/errors-doc.ts';
import { jdcloudOperations } from '../../src/api/jdcloud/operations.ts';
import { blockerRows } from '../../src/explain/blockers-doc.ts';
import { errors } from '../../src/model/errors.ts';
import { quotas } from '../../src/model/quota.ts';
import { Api } from './api.ts';

const root = resolve(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/jdcloud-api.md'), 'utf8');

test('docs/errors.md is made from the registry', () => {
  assert.equal(readFileSync(join(root, 'docs/errors.md'), 'utf8'), errorsPage());
});

test('every entry of the registry is raised by the sources', () => {
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && name !== 'model/errors.ts')
    .map((name) => readFileSync(join(root, 'src', name), 'utf8'))
    .join('\n');
  const raised = (code: string): boolean => new RegExp(`(refuse|reject|Refused)\\(\\s*'${code}'`).test(sources);
  const elsewhere = Object.keys(errors).filter((code) => !raised(code) && !sources.includes(`'${code}'`));
  assert.deepEqual(elsewhere, []);
  assert.ok(!raised('no-such-code'), 'control');
});

test('docs/jdcloud-api.md lists every operation as it is, and none that is not', () => {
  const rows = [...page.matchAll(/^\| `(\w+)` \| (GET|POST|PUT|PATCH|DELETE) \| `([^`]+)` \|/gm)];
  const listed = rows.map(([, name, method, path]) => `${name} ${method} ${path}`);
  assert.deepEqual(
    listed,
    jdcloudOperations.map(({ name, method, path }) => `${name} ${method} ${path}`),
  );
});

test('docs/jdcloud-api.md gives the quotas in force', () => {
  const rows = [...page.matchAll(/^\| `(\w+)` \| (\d+)(?: \(ours\))? \| (?:the|a)/gm)];
  assert.deepEqual(
    rows.map(([, type, limit]) => [type, Number(limit)]),
    Object.entries(quotas).map(([type, { limit }]) => [type, limit]),
  );
});

test('docs/jdcloud-api.md gives the filters of every list', async (t) => {
  const api = await Api.start(t);
  const red = await api.tenant('red');
  const { vpcId } = await api.done(red, 'POST', '/vpcs', { vpcName: 'v' });
  const table = api.region.state.get('vpc', vpcId)?.defaultRouteTableId ?? '';
  const rows = [...page.matchAll(/^\| `(\/[^`]+)` \| ((?:`\w+`(?:, )?)+) \|$/gm)];
  assert.equal(rows.length, 6);
  for (const [, path = '', names = ''] of rows) {
    const asked = path.replace('{routeTableId}', table);
    const answer = await api.call(red, 'GET', `${asked}?filters.1.name=nothing&filters.1.values.1=x`);
    const known = answer.json.error.details[0].params.known as string;
    assert.equal(names.replaceAll('`', ''), known, path);
  }
});

test('/openapi.json has every operation, and every reference in it leads somewhere', async (t) => {
  const api = await Api.start(t);
  const document = (await (await fetch(`${api.url}/openapi.json`)).json()) as {
    openapi: string;
    info: { title: string; version: string };
    paths: {
      [path: string]: { [method: string]: { operationId: string; parameters?: { name: string; in: string }[] } };
    };
  };
  assert.match(document.openapi, /^3\.1\./);
  assert.ok(document.info.title.length > 0 && document.info.version.length > 0);
  const found = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId, parameters = [] }]) => {
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const declared = parameters.filter((one) => one.in === 'path').map((one) => one.name);
      assert.deepEqual(declared.sort(), named.sort(), path);
      return `${operationId} ${method.toUpperCase()} ${path.replace('/v1/regions/{regionId}', '')}`;
    }),
  );
  const wanted = jdcloudOperations.map(({ name, method, path }) => `${name} ${method} ${path}`);
  assert.deepEqual(found.sort(), wanted.sort());
  const text = JSON.stringify(document);
  for (const [, at = ''] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
    const target = at
      .split('/')
      .reduce<unknown>((node, part) => (node as { [part: string]: unknown })?.[part], document);
    assert.notEqual(target, undefined, at);
  }
});

test('links between the documents lead to files that exist', () => {
  const pages = [
    'README.md',
    'CONTRIBUTING.md',
    'deploy/README.md',
    ...readdirSync(join(root, 'docs'))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `docs/${name}`),
  ];
  const broken: string[] = [];
  for (const name of pages) {
    for (const [, link = ''] of readFileSync(join(root, name), 'utf8').matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
      if (/^https?:/.test(link)) continue;
      try {
        readdirSync(resolve(root, name, '..', link));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') broken.push(`${name}: ${link}`);
      }
    }
  }
  assert.deepEqual(broken, []);
});

test('docs/trace.md lists every blocker as it is', () => {
  assert.ok(readFileSync(join(root, 'docs/trace.md'), 'utf8').endsWith(`|---|---|---|\n${blockerRows()}\n`));
});

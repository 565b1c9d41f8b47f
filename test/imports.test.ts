/**
 * The import rule of the layers, and that no module imports itself by a detour. `cli → api → region, agent → store,
 * dataplane → rules, compile, explain → kernel → model`: a folder imports only from folders further down, and model
 * imports nothing. Two doors are narrower still: only the agent opens the kernel driver, and only what touches the
 * kernel opens src/kernel. Reads the sources; the rule itself is a pure function, tried below on sources that break it.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';

/** Layers from the top down. Folders of one layer do not import each other, except where all of them are pure. */
const layers: readonly (readonly string[])[] = [
  ['cli'],
  ['api'],
  ['region', 'agent'],
  ['store', 'dataplane'],
  ['rules', 'compile', 'explain'],
  ['kernel'],
  ['model'],
];
const layerOf = new Map(layers.flatMap((folders, depth) => folders.map((folder) => [folder, depth] as const)));
const pure = new Set(['rules', 'compile', 'explain']);

/** What may open src/kernel (system calls, netlink), by the beginning of its path. */
const kernelUsers = [
  ...['src/kernel/', 'src/dataplane/ebpf/', 'src/dataplane/ovn/host-pair.ts', 'src/dataplane/workload-end.ts'],
  ...['src/agent/', 'src/cli/demo/', 'src/cli/live/'],
];

/** Module specifiers of import and export declarations, dynamic imports included; comments are not read. */
function importsOf(source: string): readonly string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  const found = code.matchAll(
    /(?:^|[\s;}])(?:import|export)\s+(?:type\s+)?(?:[\w*{}\s,$]+?\s+from\s+)?['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]\s*\)/g,
  );
  return [...found].map((match) => match[1] ?? match[2] ?? '');
}

/** Breaches of the rule in a set of files, by path below the repository's root; empty when it holds. */
function breaches(files: ReadonlyMap<string, string>): readonly string[] {
  const found: string[] = [];
  const edges = new Map<string, readonly string[]>();
  for (const [path, source] of files) {
    const targets = importsOf(source).filter((specifier) => specifier.startsWith('.'));
    const local = targets.map((specifier) => relative('.', resolve(dirname(path), specifier)));
    edges.set(path, local);
    const test = path.endsWith('.test.ts') || !path.startsWith('src/');
    for (const target of local) {
      if (!files.has(target) && target.endsWith('.ts')) found.push(`${path} imports ${target}, which does not exist`);
      if (!test) found.push(...breach(path, target));
    }
    const model = path.startsWith('src/model/') && !test;
    const outside = model ? importsOf(source).filter((specifier) => !specifier.startsWith('.')) : [];
    found.push(...outside.map((specifier) => `${path} imports ${specifier}: model imports nothing`));
  }
  return [...found, ...cycles(edges)];
}

/** What is wrong with one import of a module that is not a test. */
function breach(path: string, target: string): readonly string[] {
  const from = path.split('/')[1] ?? '';
  const to = target.split('/')[1] ?? '';
  if (!target.startsWith('src/')) {
    return target.endsWith('.ts') ? [`${path} imports ${target}: src imports only from src`] : [];
  }
  const [above, below] = [layerOf.get(from), layerOf.get(to)];
  if (above === undefined) return [`${path}: folder ${from} is in no layer`];
  if (below === undefined) return [`${path} imports ${target}: folder ${to} is in no layer`];
  if (below < above) return [`${path} imports ${target}: ${from} lies below ${to}`];
  if (below === above && from !== to && !pure.has(from)) {
    return [`${path} imports ${target}: ${from} and ${to} lie side by side`];
  }
  const opensDriver = target.startsWith('src/dataplane/ebpf/') && !path.startsWith('src/dataplane/ebpf/');
  if (opensDriver && from !== 'agent') return [`${path} imports ${target}: only the agent opens the kernel driver`];
  const opensKernel = to === 'kernel' && !kernelUsers.some((user) => path.startsWith(user));
  if (opensKernel) return [`${path} imports ${target}: ${from} must not touch the kernel`];
  return [];
}

/** Import cycles, each named once by the modules on it. */
function cycles(edges: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const state = new Map<string, 'open' | 'done'>();
  const found: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (state.get(path) === 'done') return;
    if (state.get(path) === 'open') {
      found.push(`cycle: ${[...trail.slice(trail.indexOf(path)), path].join(' → ')}`);
      return;
    }
    state.set(path, 'open');
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path]);
    state.set(path, 'done');
  };
  for (const path of edges.keys()) visit(path, []);
  return found;
}

function sources(root: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const folder of ['src', 'test', 'bench', 'bpf'].filter((name) => existsSync(join(root, name)))) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
      const path = join(entry.parentPath, entry.name);
      // This file holds forbidden imports as text.
      if (path !== import.meta.filename) files.set(relative(root, path), readFileSync(path, 'utf8'));
    }
  }
  return files;
}

test('every module imports only from the layers below its own, without a cycle', () => {
  const files = sources(resolve(import.meta.dirname, '..'));
  assert.ok(files.size > 30, 'the sources were found');
  assert.ok(files.has('src/model/ip.ts'));
  assert.deepEqual(breaches(files), []);
});

test('whoever else may open the kernel does', () => {
  const opening = [...sources(resolve(import.meta.dirname, '..'))]
    .filter(([, source]) => importsOf(source).some((specifier) => specifier.includes('/kernel/')))
    .map(([path]) => path);
  const others = kernelUsers.filter((user) => user !== 'src/kernel/');
  const idle = others.filter((user) => !opening.some((path) => path.startsWith(user)));
  assert.deepEqual(idle, []);
});

const modules = new Map([
  ['src/model/ip.ts', 'export const a = 1;'],
  ['src/kernel/netlink.ts', "import { a } from '../model/ip.ts';"],
  ['src/rules/decide.ts', "import type { A } from '../model/ip.ts';"],
  ['src/dataplane/driver.ts', "import {\n  a,\n} from '../rules/decide.ts';"],
  ['src/dataplane/ebpf/maps.ts', "import '../../kernel/netlink.ts';\nimport * as d from '../driver.ts';"],
  ['src/agent/ebpf-commands.ts', "export { open } from '../dataplane/ebpf/maps.ts';"],
  ['src/region/region.ts', "import { a } from '../dataplane/driver.ts';"],
  ['src/api/server.ts', "import { region } from '../region/region.ts';"],
  ['src/cli/main.ts', "const vpc = () => import('../api/server.ts');\nimport { readFileSync } from 'node:fs';"],
]);

test('the control: a set of modules that keeps the rule has no breach', () => {
  assert.deepEqual(breaches(modules), []);
});

for (const { what, path, source, says } of [
  { what: 'upwards', path: 'src/rules/x.ts', source: "import '../region/region.ts';", says: 'rules lies below region' },
  { what: 'of the command line', path: 'src/api/x.ts', source: "import '../cli/main.ts';", says: 'api lies below cli' },
  {
    what: 'lazily upwards',
    path: 'src/region/x.ts',
    source: "const x = await import('../api/server.ts');",
    says: 'region lies below api',
  },
  {
    what: 'of a type upwards',
    path: 'src/store/x.ts',
    source: "import type { R } from '../region/region.ts';",
    says: 'store lies below region',
  },
  {
    what: 'as a re-export upwards',
    path: 'src/model/x.ts',
    source: "export * from '../rules/decide.ts';",
    says: 'model lies below rules',
  },
  {
    what: 'sideways',
    path: 'src/region/x.ts',
    source: "import '../agent/ebpf-commands.ts';",
    says: 'region and agent lie side by side',
  },
  {
    what: 'of the kernel driver from the region',
    path: 'src/region/x.ts',
    source: "import { open } from '../dataplane/ebpf/maps.ts';",
    says: 'only the agent opens the kernel driver',
  },
  {
    what: 'of the kernel driver from the command line',
    path: 'src/cli/x.ts',
    source: "import { open } from '../dataplane/ebpf/maps.ts';",
    says: 'only the agent opens the kernel driver',
  },
  {
    what: 'of the kernel from rules',
    path: 'src/rules/x.ts',
    source: "import '../kernel/netlink.ts';",
    says: 'rules must not touch the kernel',
  },
  {
    what: 'of the kernel from the api',
    path: 'src/api/main.ts',
    source: "import '../kernel/netlink.ts';",
    says: 'api must not touch the kernel',
  },
  {
    what: 'of the kernel from a command of the operator',
    path: 'src/cli/x.ts',
    source: "import '../kernel/netlink.ts';",
    says: 'cli must not touch the kernel',
  },
  {
    what: 'of a package from model',
    path: 'src/model/x.ts',
    source: "import { readFileSync } from 'node:fs';",
    says: 'model imports nothing',
  },
  {
    what: 'from an unknown folder',
    path: 'src/misc/x.ts',
    source: "import '../model/ip.ts';",
    says: 'folder misc is in no layer',
  },
  { what: 'of a missing module', path: 'src/rules/x.ts', source: "import './gone.ts';", says: 'does not exist' },
  {
    what: 'in a circle',
    path: 'src/model/ip.ts',
    source: "import './ids.ts';",
    says: 'cycle: src/model/ip.ts → src/model/ids.ts → src/model/ip.ts',
  },
]) {
  test(`an import ${what} is a breach`, () => {
    const files = what === 'in a circle' ? new Map([...modules, ['src/model/ids.ts', "import './ip.ts';"]]) : modules;
    const found = breaches(new Map([...files, [path, `${files.get(path) ?? ''}\n${source}`]]));
    assert.ok(
      found.some((line) => line.includes(says)),
      `expected '${says}' in ${JSON.stringify(found)}`,
    );
  });
}

test('a test may import the kernel driver, and what a comment says is not an import', () => {
  const withModule = (path: string, source: string): readonly string[] =>
    breaches(new Map([...modules, [path, source]]));
  assert.deepEqual(withModule('test/ebpf/x.test.ts', "import '../../src/dataplane/ebpf/maps.ts';"), []);
  assert.deepEqual(
    withModule('src/rules/x.ts', "// import '../region/region.ts';\n/** import '../cli/main.ts'; */"),
    [],
  );
});

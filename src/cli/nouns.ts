/**
 * What the tenant's nouns have in common: how the API calls them, how a name becomes an id, and the verbs that are the
 * same for all (list, show, delete). What differs is in the file of each noun.
 */
import type { Command } from 'commander';
import { idPrefixes, isId } from '../model/ids.ts';
import { behindIn } from './behind.ts';
import { type Client, changeVerb, clientFor, type Filter, type TenantOptions, tenantVerb } from './client.ts';
import { Failure } from './failure.ts';
import type { InterfaceObject, PeeringObject, RouteTableObject, SubnetObject, VpcObject } from './objects.ts';
import {
  type OutputOptions,
  type Properties,
  printJson,
  printList,
  printNote,
  printObject,
  printText,
} from './output.ts';
import type { Column } from './table.ts';

export interface Objects {
  readonly vpc: VpcObject;
  readonly subnet: SubnetObject;
  readonly 'route-table': RouteTableObject;
  readonly peering: PeeringObject;
  readonly interface: InterfaceObject;
}
export type Kind = keyof Objects;

interface Words {
  readonly many: string;
  readonly one: string;
  readonly id: string;
  readonly name: string;
  readonly noun: string;
  readonly plural: string;
}
/** The API's words for a kind: of the collection, of one object, of its fields; and ours for people. */
export const words = {
  vpc: { many: 'vpcs', one: 'vpc', id: 'vpcId', name: 'vpcName', noun: 'VPC', plural: 'VPCs' },
  subnet: { many: 'subnets', one: 'subnet', id: 'subnetId', name: 'subnetName', noun: 'subnet', plural: 'subnets' },
  'route-table': {
    many: 'routeTables',
    one: 'routeTable',
    id: 'routeTableId',
    name: 'routeTableName',
    noun: 'route table',
    plural: 'route tables',
  },
  peering: {
    many: 'vpcPeerings',
    one: 'vpcPeering',
    id: 'vpcPeeringId',
    name: 'vpcPeeringName',
    noun: 'peering half',
    plural: 'peering halves',
  },
  interface: {
    many: 'networkInterfaces',
    one: 'networkInterface',
    id: 'networkInterfaceId',
    name: 'networkInterfaceName',
    noun: 'network interface',
    plural: 'network interfaces',
  },
} as const satisfies Record<Kind, Words>;

const field = (object: object, name: string): string => String((object as { [name: string]: unknown })[name] ?? '');

export const list = <K extends Kind>(
  client: Client,
  kind: K,
  filters: readonly Filter[] = [],
): Promise<readonly Objects[K][]> => client.all<Objects[K]>(words[kind].many, words[kind].many, filters);

export async function read<K extends Kind>(client: Client, kind: K, id: string): Promise<Objects[K]> {
  const answer = (await client.get(pathOf(kind, id))) as { readonly [name: string]: unknown };
  return answer[words[kind].one] as Objects[K];
}

/** Path of one object, or of an operation on it. */
export const pathOf = (kind: Kind, id: string, operation?: string): string =>
  `/${words[kind].many}/${encodeURIComponent(id)}${operation === undefined ? '' : `:${operation}`}`;

interface Found {
  readonly kind: Kind;
  readonly id: string;
  readonly object: object;
}

/** Every object of these kinds with that name. */
async function named(client: Client, kinds: readonly Kind[], name: string): Promise<readonly Found[]> {
  const found = await Promise.all(
    kinds.map(async (kind) => {
      const objects = await list(client, kind, [{ name: `${words[kind].name}s`, values: [name] }]);
      return objects
        .filter((object) => field(object, words[kind].name) === name)
        .map((object) => ({ kind, id: field(object, words[kind].id), object }));
    }),
  );
  return found.flat();
}

/** The id that a text means: an id itself, or the name of exactly one object of the kinds. */
export async function resolve(
  client: Client,
  kinds: readonly Kind[],
  text: string,
): Promise<{ readonly kind: Kind; readonly id: string }> {
  const shaped = kinds.find((kind) => isId(kind, text));
  if (shaped !== undefined) return { kind: shaped, id: text };
  const nouns = kinds.map((kind) => words[kind].noun).join(' or ');
  const found = await named(client, kinds, text);
  const only = found[0];
  if (only === undefined) {
    const like = kinds.find((kind) => text.startsWith(idPrefixes[kind]));
    throw new Failure(1, `There is no ${nouns} '${text}'.`, {
      remedy:
        like === undefined
          ? `List them with: isthmus ${kinds[0]} list`
          : `Is it an id? That is ${idPrefixes[like]} and ten of a-z and 0-9, letter for letter.`,
    });
  }
  if (found.length > 1) {
    throw new Failure(2, `'${text}' is the name of ${found.length} objects; use an id:`, {
      lines: found.map(
        ({ kind, id, object }) => `${id}  ${words[kind].noun}${kind === 'vpc' ? '' : ` in ${parentOf(object)}`}`,
      ),
    });
  }
  return { kind: only.kind, id: only.id };
}

const parentOf = (object: object): string =>
  field(object, 'vpcId') || ((object as Partial<PeeringObject>).vpcInfo?.vpcId ?? 'another VPC');

export const idOf = async (client: Client, kind: Kind, text: string): Promise<string> =>
  (await resolve(client, [kind], text)).id;

/** How a kind is shown. */
export interface Layout<K extends Kind> {
  readonly kind: K;
  readonly columns: readonly Column<Objects[K]>[];
  readonly properties: (object: Objects[K]) => Properties;
}

const idIn =
  <K extends Kind>(kind: K) =>
  (object: Objects[K]): string =>
    field(object, words[kind].id);

export function show<K extends Kind>(options: OutputOptions, layout: Layout<K>, object: Objects[K]): void {
  const { kind, properties } = layout;
  const title = (of: Objects[K]): string => `${idIn(kind)(of)}  ${field(of, words[kind].name)}`.trimEnd();
  printObject(options, object, { id: idIn(kind), title, properties });
}

/** `list`, filtered by the parents that have an option. */
export function listVerb<K extends Kind>(noun: Command, layout: Layout<K>, parents: readonly Kind[]): void {
  const { kind, columns } = layout;
  const verb = tenantVerb(noun, 'list', `list your ${words[kind].plural}`).alias('ls');
  for (const parent of parents) verb.option(`--${parent} <${parent}>`, `only of this ${words[parent].noun}`);
  verb.action(async (options: TenantOptions & { readonly [parent: string]: string | undefined }) => {
    const client = clientFor(options);
    const filters: Filter[] = [];
    for (const parent of parents) {
      const text = options[parent.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())];
      if (text !== undefined) filters.push({ name: words[parent].id, values: [await idOf(client, parent, text)] });
    }
    const none = `No ${words[kind].noun} here.`;
    printList(options, await list(client, kind, filters), { columns, id: idIn(kind), none });
  });
}

export function showVerb<K extends Kind>(noun: Command, layout: Layout<K>): void {
  const { kind } = layout;
  tenantVerb(noun, `show <${kind}>`, `show one ${words[kind].noun}, by id or name`).action(
    async (text: string, options: TenantOptions) => {
      const client = clientFor(options);
      show(options, layout, await read(client, kind, await idOf(client, kind, text)));
    },
  );
}

/** `delete`. @param query further query parameters from the options */
export function deleteVerb(
  noun: Command,
  kind: Kind,
  query?: (options: object) => readonly (readonly [string, string])[],
): Command {
  return changeVerb(noun, `delete <${kind}>`, `delete a ${words[kind].noun}, by id or name`)
    .alias('rm')
    .action(async (text: string, options: TenantOptions) => {
      const client = clientFor(options);
      const id = await idOf(client, kind, text);
      const result = await client.delete(pathOf(kind, id), query?.(options));
      gone(options, { [words[kind].id]: id, ...behindIn(result) }, id);
    });
}

/** Says that something is no more: the object of ids with `--json`, the id alone when quiet. */
export function gone(options: OutputOptions, ids: { readonly [name: string]: unknown }, shown: string): void {
  if (options.json === true) printJson(ids);
  else if (options.quiet === true) printText(`${shown}\n`);
  else printNote(`Deleted ${shown}.`);
}

/** Collects a repeatable option. */
export const collect = (value: string, before: readonly string[] | undefined): readonly string[] => [
  ...(before ?? []),
  value,
];

/** The members that are set; the API takes an absent one as unchanged. */
export const present = (members: { readonly [name: string]: unknown }): object =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));

/** For a modify without anything to modify. */
export function demandChange(body: object): void {
  if (Object.keys(body).length > 0) return;
  throw new Failure(2, 'Nothing to change was given.', { remedy: 'See --help for what can be.' });
}

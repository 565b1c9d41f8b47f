/**
 * Declared networks: the schema of the file, how it becomes the words of the system, and the operation that carries it
 * out. The schema is published as docs/network.schema.json; a test compares the two.
 */
import Type, { type Static } from 'typebox';
import type { DeclaredHop, DeclaredNetwork, DeclaredRoute, DeclaredVpc } from '../../model/declared.ts';
import { isRefusal } from '../../model/errors.ts';
import { isId } from '../../model/ids.ts';
import { familyOf } from '../../model/ip.ts';
import type { NetworkPlan } from '../../region/service.ts';
import type { NetworkCommand } from '../../rules/commands.ts';
import { budget } from '../budget.ts';
import { addressIn, descriptionIn, nameIn, networkIn, prefixIn } from '../fields.ts';
import { type Operation, Planned, submit, tenantOf, withBody } from '../operation.ts';
import { Refused, reject, rejectField } from '../refused.ts';

const strict = { additionalProperties: false } as const;
const Named = Type.String({ description: "1 to 32 letters, digits, Chinese characters, '_' or '-'" });
const Description = Type.Optional(Type.String({ description: 'At most 256 characters' }));
const Ranges = (description: string) => Type.Array(Type.String(), { description, maxItems: 20 });

const Hop = Type.Union(
  [
    Type.Literal('internet'),
    Type.Object({ peering: Type.String({ description: 'Name of a peering of this file' }) }, strict),
    Type.Object({ interface: Type.String({ description: 'SUBNET/INTERFACE of the same VPC' }) }, strict),
  ],
  { description: 'Where the rule leads' },
);
const Route = Type.Object(
  { to: Type.String({ description: 'A CIDR' }), via: Hop, description: Description },
  { ...strict, description: 'A rule of a route table' },
);
const Routes = Type.Optional(Type.Array(Route, { maxItems: 200 }));
const Interface = Type.Object(
  {
    name: Named,
    addresses: Type.Optional(Ranges('Primary addresses, one of each family; picked when left out')),
    secondary: Type.Optional(Type.Array(Type.String(), { description: 'Secondary addresses', maxItems: 200 })),
    sourceCheck: Type.Optional(
      Type.Boolean({ default: true, description: 'false lets it send from foreign addresses inside its VPC' }),
    ),
    description: Description,
  },
  strict,
);
const Subnet = Type.Object(
  {
    name: Named,
    cidrs: Type.Array(Type.String(), { minItems: 1, maxItems: 2, description: 'One range of each family at most' }),
    routeTable: Type.Optional(
      Type.String({ description: 'Name of a table of this VPC; the default table if left out' }),
    ),
    interfaces: Type.Optional(Type.Array(Interface)),
    description: Description,
  },
  strict,
);
const Vpc = Type.Object(
  {
    name: Named,
    cidrs: Type.Optional(Ranges('None: unlimited')),
    routes: Routes,
    routeTables: Type.Optional(
      Type.Array(Type.Object({ name: Named, routes: Routes, description: Description }, strict)),
    ),
    subnets: Type.Optional(Type.Array(Subnet)),
    description: Description,
  },
  strict,
);
const Peering = Type.Object(
  {
    name: Named,
    vpc: Type.String({ description: 'Name of a VPC of this file' }),
    remote: Type.String({ description: 'Id of any VPC, or the name of another one of this file' }),
    description: Description,
  },
  strict,
);
export const NetworkFile = Type.Object(
  {
    network: Type.String({ description: 'Its name: the label of everything that is made for it' }),
    vpcs: Type.Optional(Type.Array(Vpc)),
    peerings: Type.Optional(Type.Array(Peering)),
  },
  {
    ...strict,
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Isthmus network',
    description: 'A network as its owner declares it, for isthmus plan and apply.',
  },
);

type File = Static<typeof NetworkFile>;

/** Names that must be unique among their like. @throws Refused naming the second */
function distinct(at: string, names: readonly string[]): void {
  for (const [index, name] of names.entries()) {
    if (names.indexOf(name) < index) rejectField(`${at}[${index}].name`, `'${name.slice(0, 64)}' is declared twice`);
  }
}

const routesIn = (at: string, routes: Static<typeof Routes> = []): readonly DeclaredRoute[] => {
  const parsed = routes.map(({ to, via, description = '' }, index): DeclaredRoute => {
    const field = `${at}[${index}]`;
    return {
      to: prefixIn(`${field}.to`, to),
      via: hopIn(`${field}.via`, via),
      description: descriptionIn(`${field}.description`, description),
    };
  });
  for (const [index, { to }] of parsed.entries()) {
    const first = parsed.findIndex((other) => other.to === to);
    if (first < index) rejectField(`${at}[${index}].to`, `${to} is declared twice`);
  }
  return parsed;
};

function hopIn(field: string, via: Static<typeof Hop>): DeclaredHop {
  if (via === 'internet') return { kind: 'internet' };
  if ('peering' in via) return { kind: 'peering', peering: via.peering };
  const [subnet = '', port = '', ...more] = via.interface.split('/');
  if (port === '' || more.length > 0) rejectField(`${field}.interface`, 'it is not SUBNET/INTERFACE');
  return { kind: 'interface', subnet, interface: port };
}

function vpcIn(at: string, vpc: Static<typeof Vpc>): DeclaredVpc {
  const described = (field: string, text = ''): string => descriptionIn(`${field}.description`, text);
  const { routeTables = [], subnets = [] } = vpc;
  distinct(
    `${at}.routeTables`,
    routeTables.map(({ name }) => name),
  );
  distinct(
    `${at}.subnets`,
    subnets.map(({ name }) => name),
  );
  return {
    name: nameIn(`${at}.name`, vpc.name),
    description: described(at, vpc.description),
    cidrs: (vpc.cidrs ?? []).map((cidr, index) => networkIn(`${at}.cidrs[${index}]`, cidr)),
    routes: routesIn(`${at}.routes`, vpc.routes),
    routeTables: routeTables.map((table, index) => {
      const field = `${at}.routeTables[${index}]`;
      return {
        name: nameIn(`${field}.name`, table.name),
        description: described(field, table.description),
        routes: routesIn(`${field}.routes`, table.routes),
      };
    }),
    subnets: subnets.map((subnet, index) => {
      const field = `${at}.subnets[${index}]`;
      const { interfaces = [], routeTable = null } = subnet;
      distinct(
        `${field}.interfaces`,
        interfaces.map(({ name }) => name),
      );
      if (routeTable !== null && !routeTables.some(({ name }) => name === routeTable)) {
        rejectField(`${field}.routeTable`, `no route table '${routeTable.slice(0, 64)}' is declared in this VPC`);
      }
      const cidrs = subnet.cidrs.map((cidr, n) => networkIn(`${field}.cidrs[${n}]`, cidr));
      if (new Set(cidrs.map(familyOf)).size < cidrs.length) rejectField(`${field}.cidrs`, 'two are of one family');
      return {
        name: nameIn(`${field}.name`, subnet.name),
        description: described(field, subnet.description),
        cidrs,
        routeTable,
        interfaces: interfaces.map((port, n) => {
          const place = `${field}.interfaces[${n}]`;
          return {
            name: nameIn(`${place}.name`, port.name),
            description: described(place, port.description),
            addresses: (port.addresses ?? []).map((address, m) => addressIn(`${place}.addresses[${m}]`, address)),
            secondary: (port.secondary ?? []).map((address, m) => addressIn(`${place}.secondary[${m}]`, address)),
            sourceCheck: port.sourceCheck ?? true,
          };
        }),
      };
    }),
  };
}

/** Every name that a rule or peering refers to is declared. */
function checkReferences(network: DeclaredNetwork): void {
  const vpcs = new Set(network.vpcs.map(({ name }) => name));
  for (const [index, { vpc, remote }] of network.peerings.entries()) {
    if (!vpcs.has(vpc)) rejectField(`peerings[${index}].vpc`, `no VPC '${vpc.slice(0, 64)}' is declared`);
    if (!isId('vpc', remote) && !vpcs.has(remote)) {
      rejectField(`peerings[${index}].remote`, `'${remote.slice(0, 64)}' is neither a VPC's id nor declared here`);
    }
  }
  for (const [index, vpc] of network.vpcs.entries()) {
    const tables = [['routes', vpc.routes] as const].concat(
      vpc.routeTables.map(({ routes }, n) => [`routeTables[${n}].routes`, routes] as never),
    );
    for (const [at, routes] of tables) {
      for (const [n, { via }] of routes.entries()) {
        const field = `vpcs[${index}].${at}[${n}].via`;
        if (via.kind === 'peering') {
          const peering = network.peerings.find(({ name }) => name === via.peering);
          if (peering?.vpc !== vpc.name)
            rejectField(field, `VPC ${vpc.name} declares no peering '${via.peering.slice(0, 64)}'`);
        }
        if (via.kind === 'interface') {
          const subnet = vpc.subnets.find(({ name }) => name === via.subnet);
          const port = subnet?.interfaces.find(({ name }) => name === via.interface);
          if (port === undefined)
            rejectField(field, `VPC ${vpc.name} declares no interface '${via.subnet}/${via.interface}'`);
        }
      }
    }
  }
}

/** The file in the words of the system. @throws Refused naming the first field that is wrong */
export function declaredIn(file: File): DeclaredNetwork {
  const { vpcs = [], peerings = [] } = file;
  distinct(
    'vpcs',
    vpcs.map(({ name }) => name),
  );
  distinct(
    'peerings',
    peerings.map(({ name }) => name),
  );
  const network: DeclaredNetwork = {
    name: nameIn('network', file.network),
    vpcs: vpcs.map((vpc, index) => vpcIn(`vpcs[${index}]`, vpc)),
    peerings: peerings.map((peering, index) => ({
      name: nameIn(`peerings[${index}].name`, peering.name),
      description: descriptionIn(`peerings[${index}].description`, peering.description ?? ''),
      vpc: peering.vpc,
      remote: peering.remote,
    })),
  };
  checkReferences(network);
  return network;
}

/** Steps that one request carries out: what more there is, the next one does. */
const mostSteps = 500;

export const networkOperations: readonly Operation[] = [
  withBody(
    {
      name: 'applyNetwork',
      method: 'POST',
      path: '/networks',
      tag: 'networks',
      summary: 'Make what is declared true, as one change; plan=true says what that would be (extension)',
      result: Type.Object({
        steps: Type.Integer({ description: 'Carried out' }),
        left: Type.Integer({ description: 'Left for the next request: a long plan takes several' }),
        basis: Type.String({ description: "Of the plan of what is left; '' when nothing is" }),
      }),
    },
    Type.Object({
      network: NetworkFile,
      basis: Type.Optional(
        Type.String({ description: 'Of the plan that was looked at: refused when the network has moved since' }),
      ),
      most: Type.Optional(Type.Integer({ minimum: 1, maximum: mostSteps, description: 'Steps at once' })),
    }),
    async (call) => {
      const { basis, most = mostSteps } = call.body;
      const { principal } = call;
      const { accountId } = tenantOf(call);
      const command: NetworkCommand = { kind: 'apply-network', network: declaredIn(call.body.network), most };
      const plan = (): NetworkPlan => {
        const found = budget.spend(accountId, () => call.region.planNetwork(command, principal));
        if (isRefusal(found)) throw new Refused(found);
        return found;
      };
      if (call.planOnly) throw new Planned(plan());
      // Between the comparison and the decision nothing waits.
      if (basis !== undefined && plan().basis !== basis) return reject('plan-moved', {});
      const { steps = 0, left = 0 } = await budget.spend(accountId, () => submit(call, command));
      return { steps, left, basis: left === 0 ? '' : plan().basis };
    },
  ),
];

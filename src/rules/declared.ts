/**
 * From what is to what is declared: the commands that lead there, each decided by the same rules as if a person gave it,
 * all folded into one change. Touches only objects that carry the network's label; what others made stays, also inside
 * its VPCs. Applied a second time it finds nothing to do.
 */
import type {
  DeclaredHop,
  DeclaredInterface,
  DeclaredNetwork,
  DeclaredPeering,
  DeclaredRoute,
  DeclaredSubnet,
  DeclaredVpc,
} from '../model/declared.ts';
import { isRefusal, type Refusal, refuse } from '../model/errors.ts';
import { type AccountId, type HalfId, isId, type RouteRuleId, type VpcId } from '../model/ids.ts';
import type {
  Change,
  Labels,
  NetworkInterface,
  NextHop,
  PeeringHalf,
  Resource,
  RouteRule,
  RouteTable,
  Subnet,
  Vpc,
} from '../model/resources.ts';
import type { StateView } from '../model/state.ts';
import type { Command, NetworkCommand, TenantCommand } from './commands.ts';
import { accountOf, type Decision, type RuleContext } from './draft.ts';
import { Overlay } from './overlay.ts';

type Step = TenantCommand | Refusal;
type Steps = Generator<Step, void, void>;
interface Labelled {
  readonly labels?: Labels;
}

/** What there is of a declared network, read anew at each question: earlier steps show. */
class Existing {
  readonly state: StateView;
  readonly accountId: AccountId;
  readonly network: string;
  constructor(state: StateView, accountId: AccountId, network: string) {
    this.state = state;
    this.accountId = accountId;
    this.network = network;
  }
  isMine = ({ labels }: Labelled): boolean => labels?.network === this.network;
  vpcs = (): readonly Vpc[] => this.state.children('vpc', this.accountId).filter(this.isMine);
  vpc = (name: string): Vpc | undefined => this.vpcs().find((vpc) => vpc.name === name);
  tables = (vpc: Vpc): readonly RouteTable[] => this.state.children('route-table', vpc.id);
  table(vpc: Vpc, name: string | null): RouteTable | undefined {
    const tables = this.tables(vpc);
    return name === null
      ? tables.find(({ id }) => id === vpc.defaultRouteTableId)
      : tables.find((table) => this.isMine(table) && table.type === 'custom' && table.name === name);
  }
  subnets = (vpc: Vpc): readonly Subnet[] => this.state.children('subnet', vpc.id).filter(this.isMine);
  subnet = (vpc: Vpc, name: string): Subnet | undefined => this.subnets(vpc).find((subnet) => subnet.name === name);
  ports = (subnet: Subnet): readonly NetworkInterface[] =>
    this.state.children('interface', subnet.id).filter(this.isMine);
  port = (subnet: Subnet, name: string): NetworkInterface | undefined =>
    this.ports(subnet).find((port) => port.name === name);
  halves = (): readonly PeeringHalf[] => this.state.children('peering', this.accountId).filter(this.isMine);
  remote = (text: string): VpcId | undefined => (isId('vpc', text) ? text : this.vpc(text)?.id);
}

/** Every step from what is to what is declared, in order. Reads what earlier steps made. */
function* stepsOf(declared: DeclaredNetwork, is: Existing): Steps {
  yield* withdrawn(declared, is);
  for (const vpc of declared.vpcs) yield* vpcSteps(vpc, is);
  for (const peering of declared.peerings) yield* peeringSteps(peering, is);
  for (const vpc of declared.vpcs) yield* routeSteps(vpc, is);
  for (const vpc of declared.vpcs) yield* leftOver(vpc, is);
}

/** What carries the label and is declared no more. First, so that its names, ranges and quota are free. */
function* withdrawn(declared: DeclaredNetwork, is: Existing): Steps {
  for (const half of is.halves()) {
    const wanted = declared.peerings.find(({ name }) => name === half.name);
    const same =
      wanted !== undefined &&
      is.vpc(wanted.vpc)?.id === half.localVpcId &&
      is.remote(wanted.remote) === half.remoteVpcId;
    if (!same) yield { kind: 'delete-peering', halfId: half.id };
  }
  for (const vpc of is.vpcs()) {
    const wanted = declared.vpcs.find(({ name }) => name === vpc.name);
    for (const table of is.tables(vpc)) {
      const name = table.id === vpc.defaultRouteTableId ? null : table.name;
      const routes = name === null ? wanted?.routes : wanted?.routeTables.find((one) => one.name === name)?.routes;
      const ruleIds = table.rules
        .filter((rule) => is.isMine(rule) && routes?.some(({ to }) => to === rule.destination) !== true)
        .map(({ id }) => id);
      if (ruleIds.length > 0) yield { kind: 'remove-routes', routeTableId: table.id, ruleIds };
    }
    for (const subnet of is.subnets(vpc)) {
      const kept = wanted?.subnets.find(({ name }) => name === subnet.name);
      for (const port of is.ports(subnet)) {
        const stays = kept?.interfaces.some(({ name }) => name === port.name) === true;
        if (!stays) yield { kind: 'delete-interface', portId: port.id };
      }
      if (kept === undefined) yield { kind: 'delete-subnet', subnetId: subnet.id };
    }
    if (wanted === undefined) yield { kind: 'delete-vpc', vpcId: vpc.id, cascade: false };
  }
}

function* vpcSteps(wanted: DeclaredVpc, is: Existing): Steps {
  const { name, description, cidrs } = wanted;
  if (is.vpc(name) === undefined) yield { kind: 'create-vpc', name, description, cidrs };
  const vpc = is.vpc(name);
  if (vpc === undefined) return;
  if (vpc.description !== description) yield { kind: 'modify-vpc', vpcId: vpc.id, description };
  if (cidrs.length === 0 && vpc.cidrs.length > 0) yield { kind: 'modify-vpc', vpcId: vpc.id, unlimited: true };
  const [cidr, ...more] = cidrs.filter((one) => !vpc.cidrs.includes(one));
  if (cidr !== undefined) yield { kind: 'add-cidr', vpcId: vpc.id, cidr, more };
  for (const table of wanted.routeTables) {
    const { name: tableName, description: text } = table;
    const known = is.table(vpc, tableName);
    if (known === undefined) yield { kind: 'create-route-table', vpcId: vpc.id, name: tableName, description: text };
    else if (known.description !== text)
      yield { kind: 'modify-route-table', routeTableId: known.id, description: text };
  }
  for (const subnet of wanted.subnets) yield* subnetSteps(vpc, subnet, is);
}

const alike = (a: readonly string[], b: readonly string[]): boolean => [...a].sort().join() === [...b].sort().join();

function* subnetSteps(vpc: Vpc, wanted: DeclaredSubnet, is: Existing): Steps {
  const { name, description, cidrs } = wanted;
  const routeTableId = is.table(vpc, wanted.routeTable)?.id ?? vpc.defaultRouteTableId;
  const known = is.subnet(vpc, name);
  if (known === undefined) yield { kind: 'create-subnet', vpcId: vpc.id, name, description, cidrs, routeTableId };
  else {
    if (!alike(known.cidrs, cidrs)) yield fixed(`subnet ${vpc.name}/${name}`, 'cidrs', known.cidrs, cidrs, known.id);
    if (known.description !== description) yield { kind: 'modify-subnet', subnetId: known.id, description };
    if (known.routeTableId !== routeTableId)
      yield { kind: 'associate-route-table', routeTableId, subnetIds: [known.id] };
  }
  const subnet = is.subnet(vpc, name);
  if (subnet === undefined) return;
  for (const port of wanted.interfaces) yield* interfaceSteps(vpc, subnet, port, is);
}

function* interfaceSteps(vpc: Vpc, subnet: Subnet, wanted: DeclaredInterface, is: Existing): Steps {
  const { name, description, addresses, secondary, sourceCheck: sanityCheck } = wanted;
  const known = is.port(subnet, name);
  if (known === undefined) {
    const { id: subnetId } = subnet;
    const base = { name, description, primary: addresses, secondary, secondaryCount: 0, sanityCheck };
    yield { kind: 'create-interface', subnetId, ...base };
    return;
  }
  const other = addresses.filter((address) => !known.primary.includes(address));
  if (other.length > 0)
    yield fixed(`interface ${vpc.name}/${subnet.name}/${name}`, 'addresses', known.primary, addresses, known.id);
  if (known.description !== description || known.sanityCheck !== sanityCheck) {
    yield { kind: 'modify-interface', portId: known.id, description, sanityCheck };
  }
  const gone = known.secondary.filter((address) => !secondary.includes(address));
  if (gone.length > 0) yield { kind: 'unassign-secondary', portId: known.id, addresses: gone };
  const added = secondary.filter((address) => !known.secondary.includes(address));
  if (added.length > 0) yield { kind: 'assign-secondary', portId: known.id, addresses: added, count: 0 };
}

const fixed = (
  what: string,
  field: string,
  is: readonly string[],
  wanted: readonly string[],
  object: string,
): Refusal =>
  refuse('declared-fixed', { field: `${field} of ${what}`, object, is: is.join(', '), wanted: wanted.join(', ') });

function* peeringSteps(wanted: DeclaredPeering, is: Existing): Steps {
  const { name, description } = wanted;
  const known = is.halves().find((half) => half.name === name);
  if (known !== undefined) {
    if (known.description !== description) yield { kind: 'modify-peering', halfId: known.id, description };
    return;
  }
  const vpcId = is.vpc(wanted.vpc)?.id;
  const remoteVpcId = is.remote(wanted.remote);
  if (vpcId === undefined || remoteVpcId === undefined) return; // parsed: both names are declared
  yield { kind: 'create-peering', name, description, vpcId, remoteVpcId };
}

function nextHopOf(vpc: Vpc, hop: DeclaredHop, is: Existing): NextHop | undefined {
  switch (hop.kind) {
    case 'internet':
      return { kind: 'internet' };
    case 'peering': {
      const halfId: HalfId | undefined = is.halves().find(({ name }) => name === hop.peering)?.id;
      return halfId === undefined ? undefined : { kind: 'peering', halfId };
    }
    case 'interface': {
      const subnet = is.subnet(vpc, hop.subnet);
      const port = subnet === undefined ? undefined : is.port(subnet, hop.interface);
      return port === undefined ? undefined : { kind: 'interface', portId: port.id };
    }
  }
}

/** A rule by hand for the same destination, in a table of the network, is taken over. */
function* routeSteps(wanted: DeclaredVpc, is: Existing): Steps {
  const vpc = is.vpc(wanted.name);
  if (vpc === undefined) return;
  const tables: readonly (readonly [string | null, readonly DeclaredRoute[]])[] = [
    [null, wanted.routes],
    ...wanted.routeTables.map(({ name, routes }) => [name, routes] as const),
  ];
  for (const [name, routes] of tables) {
    const table = is.table(vpc, name);
    if (table === undefined) continue;
    const added: { destination: DeclaredRoute['to']; nextHop: NextHop; description: string }[] = [];
    const changed: { ruleId: RouteRuleId; nextHop: NextHop; description: string }[] = [];
    for (const { to: destination, via, description } of routes) {
      const nextHop = nextHopOf(vpc, via, is);
      if (nextHop === undefined) continue;
      const rule = table.rules.find((one) => one.destination === destination);
      if (rule === undefined) added.push({ destination, nextHop, description });
      else if (!is.isMine(rule) || rule.description !== description || !sameHop(rule.nextHop, nextHop)) {
        changed.push({ ruleId: rule.id, nextHop, description });
      }
    }
    if (changed.length > 0) yield { kind: 'modify-routes', routeTableId: table.id, routes: changed };
    if (added.length > 0) yield { kind: 'add-routes', routeTableId: table.id, routes: added };
  }
}
const sameHop = (a: NextHop, b: NextHop): boolean => JSON.stringify(a) === JSON.stringify(b);

/** What could not go before its users had moved: route tables, and ranges. */
function* leftOver(wanted: DeclaredVpc, is: Existing): Steps {
  const vpc = is.vpc(wanted.name);
  if (vpc === undefined) return;
  for (const table of is.tables(vpc)) {
    if (table.type !== 'custom' || !is.isMine(table)) continue;
    const stays = wanted.routeTables.some(({ name }) => name === table.name);
    if (!stays) yield { kind: 'delete-route-table', routeTableId: table.id };
  }
  if (wanted.cidrs.length === 0) return;
  for (const cidr of vpc.cidrs) {
    if (!wanted.cidrs.includes(cidr)) yield { kind: 'remove-cidr', vpcId: vpc.id, cidr };
  }
}

const labelledKinds: ReadonlySet<Resource['kind']> = new Set(['vpc', 'subnet', 'route-table', 'peering', 'interface']);

/** Puts the label on what a step made: objects that were not there, and rules that it added or took over. */
function stamped(changes: readonly Change[], step: Command, before: StateView, labels: Labels): readonly Change[] {
  return changes.map((change): Change => {
    if (change.op === 'delete' || !labelledKinds.has(change.resource.kind)) return change;
    let { resource } = change;
    const old = before.get(resource.kind, resource.id) as Resource | undefined;
    if (old === undefined) resource = { ...resource, labels } as Resource;
    if (resource.kind === 'route-table' && (step.kind === 'add-routes' || step.kind === 'modify-routes')) {
      const known = new Set((old?.kind === 'route-table' ? old.rules : []).map(({ id }) => id));
      const named = new Set(step.kind === 'modify-routes' ? step.routes.map(({ ruleId }) => ruleId) : []);
      const own = (rule: RouteRule): boolean => named.has(rule.id) || !known.has(rule.id);
      resource = { ...resource, rules: resource.rules.map((rule) => (own(rule) ? { ...rule, labels } : rule)) };
    }
    return { op: 'put', resource };
  });
}

/** Decides all steps as one change. @param decide the door to the rules of single commands */
export function applyNetwork(
  command: NetworkCommand,
  context: RuleContext,
  decide: (command: Command, context: RuleContext) => Decision,
): Decision {
  const account = accountOf(context);
  if (isRefusal(account)) return account;
  const overlay = new Overlay(context.state);
  const { network, most } = command;
  let steps = 0;
  let changes: readonly Change[] | null = null;
  for (const step of stepsOf(network, new Existing(overlay, account.id, network.name))) {
    if (isRefusal(step)) return step;
    if (steps === most) changes = overlay.changes;
    const decision = decide(step, { ...context, state: overlay });
    if (isRefusal(decision)) return decision;
    overlay.apply(stamped(decision.changes, step, overlay, { network: network.name }));
    steps++;
  }
  const done = Math.min(steps, most);
  return { changes: changes ?? overlay.changes, result: { id: network.name, steps: done, left: steps - done } };
}

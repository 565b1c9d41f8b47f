/**
 * Network interfaces and their addresses. In a subnet the first address is the network, the last the broadcast (IPv4),
 * the second the gateway, the third kept for DHCP ("JD Cloud: Restrictions"): a /24 has 252 to give.
 */
import { isRefusal, type Refusal, refuse } from '../model/errors.ts';
import {
  type Address,
  addressAt,
  addressOf,
  bitsOf,
  containsAddress,
  type Family,
  familyOf,
  macOf,
  type Prefix,
  rangeOf,
} from '../model/ip.ts';
import type { Subnet } from '../model/resources.ts';
import type { StateView } from '../model/state.ts';
import type { TenantCommand } from './commands.ts';
import { type Decision, Draft, owned, type RuleContext } from './draft.ts';
import { checkQuota } from './quotas.ts';

type Of<K extends TenantCommand['kind']> = Extract<TenantCommand, { kind: K }>;

/** The gateway of a subnet's prefix: its second address. */
export const gatewayOf = (cidr: Prefix): Address => addressAt(cidr, 1);
/** First and last address that an interface can have. IPv6 knows no broadcast. */
export const usableRange = (cidr: Prefix): { readonly first: Address; readonly last: Address } => ({
  first: addressAt(cidr, 3),
  last: addressAt(cidr, familyOf(cidr) === 4 ? -2 : -1),
});

/** How many addresses of a subnet's prefix are still free, at most 2^31 − 1. */
export function availableAddresses(state: StateView, subnet: Subnet, cidr: Prefix): number {
  const { first, last } = rangeOf(cidr);
  const usable = last - first + 1n - (familyOf(cidr) === 4 ? 4n : 3n);
  let used = 0n;
  for (const port of state.children('interface', subnet.id)) {
    for (const address of [...port.primary, ...port.secondary]) if (containsAddress(cidr, address)) used++;
  }
  const free = usable - used;
  return Number(free > 0x7fffffffn ? 0x7fffffffn : free);
}

function reservedAs(cidr: Prefix, address: Address): string | null {
  if (address === addressAt(cidr, 0)) return 'the network';
  if (address === addressAt(cidr, 1)) return 'the gateway';
  if (address === addressAt(cidr, 2)) return 'DHCP';
  return familyOf(cidr) === 4 && address === addressAt(cidr, -1) ? 'the broadcast address' : null;
}

function checkAddress(context: RuleContext, subnet: Subnet, address: Address): Refusal | null {
  const cidr = subnet.cidrs.find((own) => containsAddress(own, address));
  if (cidr === undefined) {
    return refuse('address-outside-subnet', { address, subnet: subnet.id, cidrs: subnet.cidrs.join(', ') });
  }
  const what = reservedAs(cidr, address);
  if (what !== null) return refuse('address-reserved', { address, subnet: subnet.id, what, ...usableRange(cidr) });
  const holder = context.state.interfaceAt(subnet.vpcId, address);
  return holder === undefined ? null : refuse('address-in-use', { address, interface: holder });
}

/** The lowest free address of the subnet's prefix. Walks past at most as many as are used. */
function pickAddress(
  context: RuleContext,
  subnet: Subnet,
  cidr: Prefix,
  taken: ReadonlySet<Address>,
): Address | Refusal {
  const { first, last } = usableRange(cidr);
  const family: Family = familyOf(cidr);
  for (let bits = bitsOf(first).bits; bits <= bitsOf(last).bits; bits++) {
    const address = addressOf(family, bits);
    if (!taken.has(address) && context.state.interfaceAt(subnet.vpcId, address) === undefined) return address;
  }
  return refuse('subnet-full', { subnet: subnet.id, cidr });
}

/** Named addresses, then `count` picked ones; refuses the first that cannot be had. */
function gather(
  context: RuleContext,
  subnet: Subnet,
  named: readonly Address[],
  count: number,
  taken: Set<Address>,
): readonly Address[] | Refusal {
  const gathered: Address[] = [];
  for (const address of named) {
    const refusal = checkAddress(context, subnet, address);
    if (refusal !== null) return refusal;
    if (taken.has(address)) {
      return refuse('invalid-argument', { field: 'secondaryIpAddresses', problem: `${address} is given twice` });
    }
    taken.add(address);
    gathered.push(address);
  }
  const cidr = subnet.cidrs.find((own) => familyOf(own) === 4) ?? subnet.cidrs[0];
  for (let i = 0; i < count && cidr !== undefined; i++) {
    const picked = pickAddress(context, subnet, cidr, taken);
    if (isRefusal(picked)) return picked;
    taken.add(picked);
    gathered.push(picked);
  }
  return gathered;
}

export function createInterface(command: Of<'create-interface'>, context: RuleContext): Decision {
  const { state } = context;
  const subnet = owned(context, 'subnet', command.subnetId);
  if (isRefusal(subnet)) return subnet;
  const { accountId } = subnet;
  const over = checkQuota(state, accountId, 'network_interface', null, state.count('interface', accountId));
  if (over !== null) return over;
  const id = context.ids.fresh('interface');
  const wanted = command.secondary.length + command.secondaryCount;
  const overSecondary = checkQuota(state, accountId, 'secondary_ip', id, 0, wanted);
  if (overSecondary !== null) return overSecondary;

  // Named addresses first, so that no picked one takes a named one's place.
  const taken = new Set<Address>([...command.primary, ...command.secondary]);
  const primary: Address[] = [];
  for (const address of command.primary) {
    const refusal = checkAddress(context, subnet, address);
    if (refusal !== null) return refusal;
  }
  for (const cidr of subnet.cidrs) {
    const named = command.primary.find((address) => containsAddress(cidr, address));
    const address = named ?? pickAddress(context, subnet, cidr, taken);
    if (isRefusal(address)) return address;
    taken.add(address);
    primary.push(address);
  }
  for (const address of command.secondary) {
    if (primary.includes(address)) {
      const problem = `${address} is the primary address`;
      return refuse('invalid-argument', { field: 'secondaryIpAddresses', problem });
    }
    taken.delete(address);
  }
  const secondary = gather(context, subnet, command.secondary, command.secondaryCount, taken);
  if (isRefusal(secondary)) return secondary;
  const draft = new Draft(state);
  draft.put({
    kind: 'interface',
    id,
    accountId,
    vpcId: subnet.vpcId,
    subnetId: subnet.id,
    name: command.name,
    description: command.description,
    mac: macOf(context.ids.macSeed()),
    primary,
    secondary,
    sanityCheck: command.sanityCheck,
    createdTime: context.now,
  });
  return draft.done({ id });
}

export function modifyInterface(command: Of<'modify-interface'>, context: RuleContext): Decision {
  const port = owned(context, 'interface', command.portId);
  if (isRefusal(port)) return port;
  const draft = new Draft(context.state);
  const { name = port.name, description = port.description, sanityCheck = port.sanityCheck } = command;
  if (name !== port.name || description !== port.description || sanityCheck !== port.sanityCheck) {
    draft.put({ ...port, name, description, sanityCheck });
  }
  return draft.done({ id: port.id });
}

/** Rules that name it stay and drop, as for a peering half. An attached workload loses its device. */
export function deleteInterface(command: Of<'delete-interface'>, context: RuleContext): Decision {
  const port = owned(context, 'interface', command.portId);
  if (isRefusal(port)) return port;
  const draft = new Draft(context.state);
  draft.delete('interface', port.id);
  return draft.done({ id: port.id });
}

export function assignSecondary(command: Of<'assign-secondary'>, context: RuleContext): Decision {
  const { state } = context;
  const port = owned(context, 'interface', command.portId);
  if (isRefusal(port)) return port;
  const subnet = owned(context, 'subnet', port.subnetId);
  if (isRefusal(subnet)) return subnet;
  const more = command.addresses.length + command.count;
  const over = checkQuota(state, port.accountId, 'secondary_ip', port.id, port.secondary.length, more);
  if (over !== null) return over;
  const added = gather(context, subnet, command.addresses, command.count, new Set());
  if (isRefusal(added)) return added;
  const draft = new Draft(state);
  if (added.length > 0) draft.put({ ...port, secondary: [...port.secondary, ...added] });
  return draft.done({ id: port.id, ids: added });
}

export function unassignSecondary(command: Of<'unassign-secondary'>, context: RuleContext): Decision {
  const port = owned(context, 'interface', command.portId);
  if (isRefusal(port)) return port;
  const missing = command.addresses.find((address) => !port.secondary.includes(address));
  if (missing !== undefined) {
    const secondary = port.secondary.join(', ') || 'none';
    return refuse('address-not-assigned', { address: missing, interface: port.id, secondary });
  }
  const draft = new Draft(context.state);
  if (command.addresses.length > 0) {
    draft.put({ ...port, secondary: port.secondary.filter((address) => !command.addresses.includes(address)) });
  }
  return draft.done({ id: port.id });
}

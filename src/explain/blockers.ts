/**
 * The one closed list of what can keep two places from talking, with the sentence for each and the command that mends
 * it. Trace, plan and health name a blocker only from here. Where the object in the way belongs to somebody else, the
 * sentence of `hidden` is used: it says no more than what the caller's own packets would tell him.
 *
 * `{name}` in a text is a parameter. Words in capitals inside a command are for the reader to choose.
 */

/** Whose consent or hand is needed: the caller's own, the peer's, the operator's; 'owner' when the operator asks. */
export type Hand = 'you' | 'peer' | 'operator' | 'owner';

/** How `isthmus attach` is told of a workload that a fact names as `netns:NAME` or `pid:N`. */
export const whereOf = (target: string): string => {
  const [kind = '', name = ''] = target.split(/:(.*)/s);
  return `--${kind} ${name}`;
};

interface Entry {
  /** 'owner': of the VPC in which the blocker lies. */
  readonly by: 'owner' | 'operator';
  readonly text: string;
  readonly hidden: string;
  readonly commands: readonly string[];
  /** What the peer is to be asked for, without what only he knows. */
  readonly hiddenCommands: readonly string[];
}

export const blockers = {
  'no-half': {
    by: 'owner',
    text: '{vpc} has no half towards {remote}.',
    hidden: 'The owner of {vpc} has not created a half towards {remote}.',
    commands: ['isthmus peering create {name} --vpc {vpc} --remote {remote}'],
    hiddenCommands: ['isthmus peering create NAME --vpc {vpc} --remote {remote}'],
  },
  overlap: {
    by: 'owner',
    text: '{range} is in the own range of {vpc}: Local wins, and such VPCs cannot be peered.',
    hidden: '{range} is in the own range of {vpc}: Local wins, and such VPCs cannot be peered.',
    commands: [],
    hiddenCommands: [],
  },
  'unknown-destination': {
    by: 'owner',
    text: '{range} belongs to no VPC that you own or are peered with.{pending}',
    hidden: '{range} belongs to no VPC that is known here.',
    commands: [],
    hiddenCommands: [],
  },
  'not-transitive': {
    by: 'owner',
    text: '{vpc} and {remote} are both peered with {middle}, but peering is not transitive: {vpc} needs a half of its own.',
    hidden: 'Peering is not transitive.',
    commands: ['isthmus peering create {name} --vpc {vpc} --remote {remote}'],
    hiddenCommands: [],
  },
  'no-route': {
    by: 'owner',
    text: 'Route table {table} has no rule for {range}{taken}.',
    hidden: 'The peer has no route to {range}.',
    commands: ['isthmus route add {table} {range} --via {half}'],
    hiddenCommands: ['isthmus route add ROUTE-TABLE {range} --via THEIR-HALF'],
  },
  'wrong-next-hop': {
    by: 'owner',
    text: 'In route table {table} the rule for {destination} leads to {hop}, not to {half}.',
    hidden: "The peer's route to {range} leads elsewhere.",
    commands: ['isthmus route modify {table} {destination} --via {half}'],
    hiddenCommands: ['isthmus route modify ROUTE-TABLE RULE --via THEIR-HALF'],
  },
  shadowed: {
    by: 'owner',
    text: 'In route table {table} the rule for {destination} leads to {hop} and wins over the one for {shorter}, because it is more specific.',
    hidden: 'A more specific route of the peer takes {range} elsewhere.',
    commands: ['isthmus route remove {table} {destination}'],
    hiddenCommands: ['isthmus route remove ROUTE-TABLE RULE'],
  },
  'no-address': {
    by: 'owner',
    text: 'No interface of {vpc} has {address}.',
    hidden: 'No interface of {vpc} has {address}.',
    commands: ['isthmus interface create --subnet {subnet} --address {address}'],
    hiddenCommands: ['isthmus interface create --subnet SUBNET --address {address}'],
  },
  'no-subnet': {
    by: 'owner',
    text: '{address} lies in no subnet of {vpc}.',
    hidden: 'No interface of {vpc} has {address}.',
    commands: [
      'isthmus subnet create NAME --vpc {vpc} --cidr RANGE',
      'isthmus interface create --subnet NAME --address {address}',
    ],
    hiddenCommands: ['isthmus interface create --subnet SUBNET --address {address}'],
  },
  'reserved-address': {
    by: 'owner',
    text: '{address} is the {what} of a subnet: no workload can have it.',
    hidden: 'No interface of {vpc} has {address}.',
    commands: [],
    hiddenCommands: [],
  },
  'no-family': {
    by: 'owner',
    text: '{port} has no IPv{family} address, because its subnet has no IPv{family} range.',
    hidden: '{vpc} has no IPv{family} there.',
    commands: [
      'isthmus subnet create NAME --vpc {vpc} --cidr IPV{family}-RANGE',
      'isthmus interface create --subnet NAME',
    ],
    hiddenCommands: [],
  },
  detached: {
    by: 'operator',
    text: 'No workload is attached to {port}.',
    hidden: 'No workload is attached to the interface with {address} in {vpc}.',
    commands: ['sudo isthmus attach {port} --netns NAME'],
    hiddenCommands: ['sudo isthmus attach INTERFACE --netns NAME'],
  },
  vanished: {
    by: 'operator',
    text: 'The workload of {port} ({target}) is gone.',
    hidden: 'No workload is attached to the interface with {address} in {vpc}.',
    commands: ['sudo isthmus attach {port} --netns NAME'],
    hiddenCommands: ['sudo isthmus attach INTERFACE --netns NAME'],
  },
  'link-down': {
    by: 'operator',
    text: 'The device {device} of {port} is down inside its workload ({target}).',
    hidden: 'The workload with {address} in {vpc} has its device down.',
    // With the link its routes went, and IPv6 addresses: attached anew it has all of them.
    commands: ['sudo isthmus detach {port}', 'sudo isthmus attach {port} {where} --device {device} --mtu {mtu}'],
    hiddenCommands: ['ip link set dev DEVICE up'],
  },
  'too-big': {
    by: 'operator',
    text: 'A packet of {size} bytes is larger than the MTU of {port}, {mtu} bytes.',
    hidden: 'A packet of {size} bytes is larger than the workload with {address} in {vpc} takes, {mtu} bytes.',
    commands: ['sudo isthmus detach {port}', 'sudo isthmus attach {port} {where} --mtu {size}'],
    hiddenCommands: [],
  },
  'plane-behind': {
    by: 'operator',
    text: 'The data plane has not carried out the newest changes: {problem}.',
    hidden: 'The data plane has not carried out the newest changes.',
    commands: ['sudo isthmus doctor'],
    hiddenCommands: ['sudo isthmus doctor'],
  },
  'host-behind': {
    by: 'operator',
    text: 'The newest changes to {vpc} are not proven on {hosts}: workloads there may be carried as before them.',
    hidden: 'A host has not carried out the newest changes to {vpc}.',
    commands: ['sudo isthmus doctor'],
    hiddenCommands: ['sudo isthmus doctor'],
  },
  'plane-differs': {
    by: 'operator',
    text: 'The data plane does not hold what was asked for: it answers {reason}, because of {blamed}.',
    hidden: 'The data plane does not hold what was asked for.',
    commands: ['sudo isthmus doctor --heal'],
    hiddenCommands: ['sudo isthmus doctor --heal'],
  },
  // What only real packets show: the workload's own business, named as such.
  'workload-no-device': {
    by: 'operator',
    text: 'The workload of {port} ({target}) has no device {device}.',
    hidden: '',
    commands: ['sudo isthmus detach {port}', 'sudo isthmus attach {port} {where}'],
    hiddenCommands: [],
  },
  'workload-no-address': {
    by: 'operator',
    text: 'The workload of {port} ({target}) does not have {address} on {device}.',
    hidden: '',
    commands: ['sudo isthmus exec {port} -- ip addr add {address}/{length} dev {device}'],
    hiddenCommands: [],
  },
  'workload-no-default-route': {
    by: 'operator',
    text: 'The workload of {port} ({target}) has no default route by {device}.',
    hidden: '',
    commands: ['sudo isthmus exec {port} -- ip -{family} route replace default via {gateway} dev {device}'],
    hiddenCommands: [],
  },
  'workload-foreign-source': {
    by: 'operator',
    text: 'The workload of {port} ({target}) sends from {source}, which is not an address of the interface: it is dropped as spoofed.',
    hidden: '',
    commands: [
      'sudo isthmus exec {port} -- ip -{family} route replace default via {gateway} dev {device} src {address}',
    ],
    hiddenCommands: [],
  },
  'workload-sends-not': {
    by: 'operator',
    text: 'The probe did not leave the workload of {port} ({target}): its own firewall or routing keeps it in{why}.',
    hidden: '',
    commands: [
      'sudo isthmus exec {port} -- nft list ruleset',
      'sudo isthmus exec {port} -- ip -{family} route get {other}',
    ],
    hiddenCommands: [],
  },
  'workload-answers-not': {
    by: 'operator',
    text: 'The probe reached the workload of {port} ({target}), which did not answer: its own firewall or routing is in the way.',
    hidden: '',
    commands: [
      'sudo isthmus exec {port} -- nft list ruleset',
      'sudo isthmus exec {port} -- ip -{family} route get {other}',
    ],
    hiddenCommands: [],
  },
  'workload-takes-not': {
    by: 'operator',
    text: 'The answer came back to the workload of {port} ({target}), but its own firewall keeps it from the program.',
    hidden: '',
    commands: ['sudo isthmus exec {port} -- nft list ruleset'],
    hiddenCommands: [],
  },
  'plane-drops': {
    by: 'operator',
    text: 'The data plane dropped the probe of {port}: {reason}. {meaning}',
    hidden: '',
    commands: ['sudo isthmus doctor --heal'],
    hiddenCommands: [],
  },
} as const satisfies { readonly [code: string]: Entry };

export type BlockerCode = keyof typeof blockers;

/** What is in the way, in words, and what mends it. */
export interface Blocker {
  readonly code: BlockerCode;
  /** The one id to blame; the VPC where the rest is not the caller's to see. */
  readonly object: string;
  readonly text: string;
  readonly by: Hand;
  /** In the order to run them. */
  readonly commands: readonly string[];
}

export type Facts = { readonly [name: string]: string };

const fill = (template: string, facts: Facts): string =>
  template.replaceAll(/\{([a-z-]+)\}/g, (_, name: string) => facts[name] ?? name.toUpperCase());

/**
 * Words a blocker.
 * @param place the VPC in which it lies, and whether the caller may see into it
 * @param object the id to blame
 */
export function blocker(
  code: BlockerCode,
  place: { readonly vpc: string; readonly seen: boolean },
  object: string,
  facts: Facts,
): Blocker {
  const entry: Entry = blockers[code];
  const known = { vpc: place.vpc, ...facts };
  const { seen } = place;
  return {
    code,
    object: seen || code === 'no-half' ? object : place.vpc,
    text: fill(seen ? entry.text : entry.hidden, known),
    by: entry.by === 'operator' ? 'operator' : seen ? 'you' : 'peer',
    commands: (seen ? entry.commands : entry.hiddenCommands).map((command) => fill(command, known)),
  };
}

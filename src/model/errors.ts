/**
 * The registry of refusals: every way Isthmus can say no to a request, with its HTTP status, the vendor's status word
 * ("JD Cloud: error codes") and the sentence for the user: what was refused, what is in the way, what to do. Nothing
 * else may word a refusal. `docs/errors.md` is generated from it; a test compares the two.
 *
 * `{name}` in a text is a parameter; TypeScript demands exactly those at every call of `refuse`.
 */
export const errors = {
  // Shape of the request
  'invalid-argument': {
    http: 400,
    status: 'INVALID_ARGUMENT',
    text: '{field}: {problem}.',
    remedy: 'Correct {field} and send the request again.',
  },
  'missing-argument': {
    http: 400,
    status: 'INVALID_ARGUMENT',
    text: 'Request field {field} is missing.',
    remedy: 'Add {field}.',
  },
  'unknown-filter': {
    http: 400,
    status: 'INVALID_ARGUMENT',
    text: "'{filter}' is not a filter of this operation.",
    remedy: 'Use one of: {known}.',
  },
  'page-out-of-range': {
    http: 400,
    status: 'OUT_OF_RANGE',
    text: '{field} is {value}.',
    remedy: 'Use a number in {range}.',
  },
  'malformed-json': {
    http: 400,
    status: 'INVALID_ARGUMENT',
    text: 'The body is not JSON: {problem}.',
    remedy: 'Send one JSON object.',
  },
  'body-too-large': {
    http: 413,
    status: 'OUT_OF_RANGE',
    text: 'The body is larger than 1 MB.',
    remedy: 'Send a smaller request.',
  },
  'unsupported-media-type': {
    http: 415,
    status: 'INVALID_ARGUMENT',
    text: 'The body is not application/json.',
    remedy: 'Send JSON with content-type application/json.',
  },
  'no-such-operation': {
    http: 404,
    status: 'NOT_FOUND',
    text: 'No operation at {method} {path}.',
    remedy: 'See /openapi.json for what exists.',
  },
  'method-not-allowed': {
    http: 405,
    status: 'INVALID_ARGUMENT',
    text: '{method} is not allowed at {path}.',
    remedy: 'Use one of: {allowed}.',
  },
  'unknown-region': {
    http: 404,
    status: 'NOT_FOUND',
    text: "Region '{region}' is not served here.",
    remedy: 'This service is region {served}.',
  },

  // Who is asking
  'no-authorization': {
    http: 401,
    status: 'ACCESS_ERROR',
    text: 'lack of header authorization.',
    remedy: 'Sign the request with an access key.',
  },
  unauthenticated: {
    http: 401,
    status: 'UNAUTHENTICATED',
    text: 'The signature was not accepted: {problem}.',
    remedy: 'Check the access key, the clock and the signing region.',
  },
  'rate-limited': {
    http: 429,
    status: 'RATE_LIMIT',
    text: 'More than {limit} requests a second with this access key.',
    remedy: 'Slow down, or ask the operator for a higher rate.',
  },
  'too-many-unknown-ids': {
    http: 429,
    status: 'RATE_LIMIT',
    text: 'Too many peering attempts towards VPC ids that do not exist.',
    remedy: 'Check the VPC id with its owner and wait a minute.',
  },
  forbidden: {
    http: 403,
    status: 'HTTP_FORBIDDEN',
    text: 'Only the operator may do this.',
    remedy: 'Use the admin socket as root.',
  },

  // Objects
  'not-found': {
    http: 404,
    status: 'NOT_FOUND',
    text: 'Resource not found: {id}.',
    remedy: 'Check the id; objects of other accounts are not shown.',
  },
  'account-name-taken': {
    http: 409,
    status: 'ALREADY_EXISTS',
    text: "An account named '{name}' exists: {existing}.",
    remedy: 'Choose another name.',
  },
  'account-in-use': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: 'Account {account} still owns {what}.',
    remedy: 'Delete it first, or delete the account with force.',
  },
  'quota-exceeded': {
    http: 429,
    status: 'QUOTA_EXCEEDED',
    text: 'Quota limit exceeded: {limit} {noun}{scope}.',
    remedy: 'Delete one, or ask the operator to raise quota {type}.',
  },
  'too-many-tokens': {
    http: 429,
    status: 'RATE_LIMIT',
    text: 'More than {limit} client tokens of this account were used within 24 hours.',
    remedy: 'Send creates without a token, or wait until some are a day old.',
  },
  'no-such-source': {
    http: 404,
    status: 'NOT_FOUND',
    text: 'No interface of yours has {address}, and no VPC of yours holds it.',
    remedy: 'Name the interface, subnet or VPC to start from by its id.',
  },
  'ambiguous-source': {
    http: 400,
    status: 'INVALID_ARGUMENT',
    text: 'source: several of your VPCs hold {address}: {candidates}.',
    remedy: 'Name the interface to start from by its id.',
  },
  'declared-fixed': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: '{field}: {object} has {is}, the file says {wanted}; that cannot be changed.',
    remedy: 'Give the new one another name: the old one is then deleted and the new one made.',
  },
  'plan-moved': {
    http: 409,
    status: 'ABORTED',
    text: 'What this would do is not what was planned: the network has changed in the meantime.',
    remedy: 'Look at a new plan, and apply that.',
  },
  'too-much-work': {
    http: 429,
    status: 'RATE_LIMIT',
    text: 'Traces, plans and health of this account have taken more than {share} % of the service for a while.',
    remedy: 'Wait a few seconds; ask about single interfaces or subnets instead of whole VPCs.',
  },
  'too-many-streams': {
    http: 429,
    status: 'RATE_LIMIT',
    text: 'More than {limit} event streams of this account are open.',
    remedy: 'Close one, or let several readers share one.',
  },
  'too-many-readings': {
    http: 429,
    status: 'RATE_LIMIT',
    text: 'More than {limit} readings of the counters by this account are under way.',
    remedy: 'Wait for one to end.',
  },
  'too-many-traces': {
    http: 429,
    status: 'RATE_LIMIT',
    text: 'More than {limit} traces of this account are under way.',
    remedy: 'Wait for one to end.',
  },
  'token-reused': {
    http: 409,
    status: 'ABORTED',
    text: 'Client token {token} was used with another request.',
    remedy: 'Use a new token for a new request.',
  },

  // VPCs and subnets
  'cidr-overlap': {
    http: 409,
    status: 'ALREADY_EXISTS',
    text: '{cidr} overlaps {other}, a CIDR of the same VPC {vpc}.',
    remedy: 'Choose a range that is free in the VPC.',
  },
  'cidr-not-found': {
    http: 404,
    status: 'NOT_FOUND',
    text: '{cidr} is not a CIDR of VPC {vpc}.',
    remedy: 'Its CIDRs are: {cidrs}.',
  },
  'cidr-last': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: '{cidr} is the last CIDR of VPC {vpc}.',
    remedy: "Set the VPC to unlimited instead: modifyVpc with addressPrefix ''.",
  },
  'cidr-in-use': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: '{cidr} holds subnet {subnet} ({subnetCidr}).',
    remedy: 'Delete the subnet first.',
  },
  'cidr-excludes-subnet': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: '{cidr} would limit VPC {vpc}, but subnet {subnet} ({subnetCidr}) lies outside.',
    remedy: 'Add in one step CIDRs that together hold every subnet, or delete the subnet.',
  },
  'vpc-has-subnets': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: 'VPC {vpc} still has subnet {subnet}.',
    remedy: 'Delete its subnets first, or delete with cascade.',
  },
  'vpc-has-peerings': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: 'VPC {vpc} still has peering half {half} ({state}).',
    remedy: 'Delete the half first, or delete with cascade.',
  },
  'subnet-outside-vpc': {
    http: 400,
    status: 'INVALID_ARGUMENT',
    text: '{cidr} lies outside the CIDRs of VPC {vpc}: {cidrs}.',
    remedy: 'Choose a range inside, or add a CIDR to the VPC.',
  },
  'subnet-overlap': {
    http: 409,
    status: 'ALREADY_EXISTS',
    text: '{cidr} overlaps {other} of subnet {subnet}.',
    remedy: 'Choose a range that is free in the VPC.',
  },
  'subnet-in-use': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: 'Subnet {subnet} still holds network interface {interface}.',
    remedy: 'Delete its interfaces first.',
  },

  // Routes
  'default-table': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: 'Route table {table} is the default table of VPC {vpc}.',
    remedy: 'It goes with the VPC.',
  },
  'table-in-use': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: 'Route table {table} is used by subnet {subnet}.',
    remedy: 'Associate the subnet with another table first.',
  },
  'not-same-vpc': {
    http: 409,
    status: 'ABORTED',
    text: '{object} belongs to VPC {theirs}, {table} to VPC {ours}: RouteTable rules not in the same vpc.',
    remedy: 'Use objects of one VPC.',
  },
  'destination-taken': {
    http: 409,
    status: 'ALREADY_EXISTS',
    text: 'Route table {table} already has rule {rule} for {destination}.',
    remedy: 'Modify that rule, or remove it first.',
  },
  'destination-local': {
    http: 400,
    status: 'INVALID_ARGUMENT',
    text: '{destination} lies inside {local}, an own range of VPC {vpc}: Local always wins.',
    remedy: 'Route a destination outside the VPC.',
  },
  'destination-reserved': {
    http: 400,
    status: 'INVALID_ARGUMENT',
    text: '{destination} is {what}, which no route can lead to.',
    remedy: 'Route a unicast destination.',
  },
  'local-rule': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: 'Rule {rule} is the Local rule of route table {table}.',
    remedy: 'It cannot be changed or removed.',
  },

  // Peering
  'peering-self': {
    http: 400,
    status: 'INVALID_ARGUMENT',
    text: 'VPC {vpc} cannot peer with itself.',
    remedy: 'Name another VPC as remoteVpcId.',
  },
  'peering-exists': {
    http: 409,
    status: 'ALREADY_EXISTS',
    text: 'Already has VpcPeering with param: {half} leads from {local} to {remote}.',
    remedy: 'Use that half, or delete it first.',
  },
  'peering-name-taken': {
    http: 409,
    status: 'ALREADY_EXISTS',
    text: "The name '{name}' is used by peering half {half} of this account.",
    remedy: 'Choose another name.',
  },
  'peering-overlap': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: '{ours} of VPC {local} overlaps {theirs} of VPC {remote}.',
    remedy: 'Peer VPCs whose ranges are disjoint: renumber one of them.',
  },
  'peering-overlap-hidden': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: '{ours} of VPC {local} overlaps a range of VPC {remote}.',
    remedy: 'Agree on disjoint ranges with its owner.',
  },
  'growth-overlaps-peer': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: '{cidr} overlaps {theirs} of VPC {remote}, which is Connected by {half}.',
    remedy: 'Choose a disjoint range, or delete the peering half first.',
  },

  // Interfaces
  'address-outside-subnet': {
    http: 400,
    status: 'INVALID_ARGUMENT',
    text: '{address} is not an address of subnet {subnet} ({cidrs}).',
    remedy: 'Choose an address inside the subnet.',
  },
  'address-reserved': {
    http: 400,
    status: 'INVALID_ARGUMENT',
    text: '{address} is reserved in subnet {subnet}: {what}.',
    remedy: 'Use {first} to {last}.',
  },
  'address-in-use': {
    http: 409,
    status: 'ALREADY_EXISTS',
    text: 'Address {address} already be used: by network interface {interface}.',
    remedy: 'Choose another address.',
  },
  'subnet-full': {
    http: 429,
    status: 'QUOTA_EXCEEDED',
    text: 'Subnet {subnet} ({cidr}) has no free address.',
    remedy: 'Delete an interface, or use another subnet.',
  },
  'address-not-assigned': {
    http: 404,
    status: 'NOT_FOUND',
    text: '{address} is not a secondary address of {interface}.',
    remedy: 'Its secondary addresses are: {secondary}.',
  },

  // Hosts
  'no-hosts': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: 'This region has no hosts to join: {why}.',
    remedy: 'Start it with --driver ovn and --hosts-listen.',
  },
  'host-exists': {
    http: 409,
    status: 'ALREADY_EXISTS',
    text: 'Host {name} has joined already.',
    remedy: 'Choose another name, or remove that host first.',
  },
  'host-token-refused': {
    http: 403,
    status: 'HTTP_FORBIDDEN',
    text: 'The token does not let a host join: it is unknown, has expired, or was used.',
    remedy: 'Let the operator make another: isthmus host invite NAME.',
  },
  'host-not-joined': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: 'Host {name} has not joined yet.',
    remedy: 'Run the command of its invitation on it, or remove it.',
  },
  'host-not-drained': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: 'Host {name} still takes workloads.',
    remedy: 'Drain it first: isthmus host drain {name}.',
  },
  'host-in-use': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: 'Host {name} still has workloads: {what}.',
    remedy: 'Detach them there first: isthmus detach.',
  },
  'host-away': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: 'The agent of host {name} is not connected: nobody can tell what is attached there.',
    remedy: 'Start its agent. If the machine is gone for good, remove it as lost.',
  },
  'host-unknown': {
    http: 404,
    status: 'NOT_FOUND',
    text: 'There is no host {name}.',
    remedy: 'See which there are: isthmus host list.',
  },
  'host-connected': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: 'Host {name} is not lost: its agent is connected.',
    remedy: 'Drain it, detach its workloads there, and remove it without --lost; or stop its agent first.',
  },
  'host-draining': {
    http: 400,
    status: 'FAILED_PRECONDITION',
    text: 'Host {name} is draining: it takes no new workloads.',
    remedy: 'Attach on another host, or end the draining: isthmus host drain {name} --undo.',
  },
  'attached-elsewhere': {
    http: 409,
    status: 'ALREADY_EXISTS',
    text: 'Interface {id} is attached on host {host}.',
    remedy: 'Detach it there first.',
  },

  // The service itself
  internal: { http: 500, status: 'INTERNAL', text: 'The service failed.', remedy: 'Give the operator the requestId.' },
  'store-unavailable': {
    http: 503,
    status: 'UNAVAILABLE',
    text: 'The store of the service cannot be reached: nothing was changed.',
    remedy: 'Send the request again in a few seconds.',
  },
  'store-uncertain': {
    http: 503,
    status: 'UNAVAILABLE',
    text: 'The store of the service was lost while it was written: the change may have been made, or not.',
    remedy: 'Look whether it was, or send the request again with the same clientToken.',
  },
  behind: {
    http: 503,
    status: 'UNAVAILABLE',
    text: 'Revision {revision} is not known here yet; this server is at {known}.',
    remedy: 'Send the request again in a second.',
  },
  unavailable: {
    http: 503,
    status: 'UNAVAILABLE',
    text: 'The service cannot answer now: {problem}.',
    remedy: 'Try again.',
  },
} as const satisfies Record<string, { http: number; status: string; text: string; remedy: string }>;

export type ErrorCode = keyof typeof errors;

type Placeholders<T extends string> = T extends `${string}{${infer P}}${infer Rest}` ? P | Placeholders<Rest> : never;
/** The parameters that the texts of an error need. */
export type ErrorParams<C extends ErrorCode> = {
  readonly [P in Placeholders<(typeof errors)[C]['text'] | (typeof errors)[C]['remedy']>]: string;
};

/** A "no" with everything a client needs. Returned by rules, thrown by nobody but the API layer's edge. */
export interface Refusal {
  readonly kind: 'refusal';
  readonly code: ErrorCode;
  readonly http: number;
  readonly status: string;
  /** What was refused and what is in the way. */
  readonly text: string;
  /** What to do about it. */
  readonly remedy: string;
  readonly params: { readonly [name: string]: string };
}

const fill = (template: string, params: { readonly [name: string]: string }): string =>
  template.replace(/\{(\w+)\}/g, (_, name: string) => params[name] ?? '');

/** Builds the refusal of that registry entry. */
export function refuse<C extends ErrorCode>(code: C, params: ErrorParams<C>): Refusal {
  const { http, status, text, remedy } = errors[code];
  return { kind: 'refusal', code, http, status, text: fill(text, params), remedy: fill(remedy, params), params };
}

export const isRefusal = (value: unknown): value is Refusal =>
  typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'refusal';

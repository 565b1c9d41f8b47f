/**
 * The vendor's objects: schemas, and how each is read from the state. Views only: nothing is decided here, and nothing
 * of another account is shown beyond what consent allows (`peeringView`).
 */
import Type, { type Static } from 'typebox';
import { familyOf, type Prefix } from '../../model/ip.ts';
import type { NetworkInterface, NextHop, PeeringHalf, RouteTable, Subnet, Vpc } from '../../model/resources.ts';
import type { StateView } from '../../model/state.ts';
import type { Behind } from '../../region/owed-book.ts';
import type { RegionService } from '../../region/service.ts';
import { availableAddresses, usableRange } from '../../rules/interfaces.ts';
import { behindMembers } from '../envelope.ts';
import { byAge } from '../listing.ts';

const Text = Type.String();
const Texts = Type.Array(Text);

/** Whose an object is (extension): `network` names the declared network that made it. */
const LabelsObject = Type.Object({ network: Type.Optional(Text) });

/** Hosts that have not proven the newest changes (extension); there only while there are some. */
const NotFencedOn = Type.Optional(
  Type.Array(Text, {
    description: 'Hosts that may still carry what was taken away; absent when there are none (extension)',
  }),
);
const NotInstalledOn = Type.Optional(
  Type.Array(Text, {
    description: 'Hosts that may not carry yet what was added; absent when there are none (extension)',
  }),
);

export const SubnetObject = Type.Object({
  subnetId: Text,
  subnetName: Text,
  vpcId: Text,
  addressPrefix: Type.String({ description: 'The IPv4 range; of an IPv6-only subnet its IPv6 range' }),
  ipv6AddressPrefix: Type.String({ description: "The IPv6 range, '' for none (extension)" }),
  availableIpCount: Type.Integer(),
  ipMaskLen: Type.Integer(),
  description: Text,
  routeTableId: Text,
  aclId: Text,
  startIp: Text,
  endIp: Text,
  createdTime: Text,
  subnetType: Text,
  az: Text,
  labels: LabelsObject,
});
export const VpcObject = Type.Object({
  vpcId: Text,
  vpcName: Text,
  addressPrefix: Type.String({ description: "The first IPv4 CIDR, else the first one; '' for unlimited" }),
  addressPrefixes: Type.Array(Text, { description: 'All CIDRs (extension)' }),
  description: Text,
  aclIds: Texts,
  routeTableIds: Texts,
  subnets: Type.Array(SubnetObject),
  createdTime: Text,
  labels: LabelsObject,
  notFencedOn: NotFencedOn,
  notInstalledOn: NotInstalledOn,
});
export const RouteRuleObject = Type.Object({
  ruleId: Text,
  priority: Type.Integer(),
  nextHopType: Text,
  nextHopId: Text,
  addressPrefix: Text,
  origin: Text,
  description: Text,
  ipVersion: Type.Integer(),
  labels: LabelsObject,
});
export const RouteTableObject = Type.Object({
  routeTableId: Text,
  routeTableName: Text,
  routeTableType: Text,
  description: Text,
  vpcId: Text,
  routeTableRules: Type.Array(RouteRuleObject, { description: 'Local is always the first' }),
  routePropagations: Type.Array(Type.Unknown()),
  subnetIds: Texts,
  createdTime: Text,
  labels: LabelsObject,
});
const PeeringVpcInfo = Type.Object({
  vpcId: Text,
  vpcName: Text,
  addressPrefix: Type.Array(Text, { description: 'The CIDRs of the VPC; none when it is unlimited or not shown' }),
});
export const PeeringObject = Type.Object({
  vpcPeeringId: Text,
  vpcPeeringName: Text,
  vpcPeeringState: Type.Enum(['Initiated', 'Connected', 'Disconnected']),
  description: Text,
  vpcInfo: PeeringVpcInfo,
  remoteVpcInfo: PeeringVpcInfo,
  createdTime: Text,
  health: Type.String({ description: "open, partly or blocked; '' while it is not Connected (extension)" }),
  labels: LabelsObject,
  notFencedOn: NotFencedOn,
});
const IpObject = Type.Object({ privateIpAddress: Text, elasticIpId: Text, elasticIpAddress: Text });
export const InterfaceObject = Type.Object({
  networkInterfaceId: Text,
  networkInterfaceName: Text,
  az: Text,
  role: Text,
  macAddress: Text,
  vpcId: Text,
  subnetId: Text,
  networkSecurityGroupIds: Texts,
  sanityCheck: Type.Integer(),
  primaryIp: IpObject,
  primaryIpv6Address: Type.String({ description: "Of a dual-stack subnet, '' otherwise (extension)" }),
  secondaryIps: Type.Array(IpObject),
  secondaryCidrs: Texts,
  instanceType: Text,
  instanceId: Text,
  instanceOwnerId: Text,
  deviceIndex: Type.Integer(),
  description: Text,
  attachmentStatus: Text,
  networkInterfaceStatus: Text,
  createdTime: Text,
  labels: LabelsObject,
});

/** @see behindMembers */
function shown(behind: Behind): { notFencedOn?: string[]; notInstalledOn?: string[] } {
  const { notFencedOn, notInstalledOn } = behindMembers(behind);
  return {
    ...(notFencedOn === undefined ? {} : { notFencedOn: [...notFencedOn] }),
    ...(notInstalledOn === undefined ? {} : { notInstalledOn: [...notInstalledOn] }),
  };
}

const firstV4 = (cidrs: readonly Prefix[]): Prefix | undefined =>
  cidrs.find((cidr) => familyOf(cidr) === 4) ?? cidrs[0];

export function subnetView(state: StateView, subnet: Subnet): Static<typeof SubnetObject> {
  const main = firstV4(subnet.cidrs);
  const range = main === undefined ? undefined : usableRange(main);
  return {
    subnetId: subnet.id,
    subnetName: subnet.name,
    vpcId: subnet.vpcId,
    addressPrefix: main ?? '',
    ipv6AddressPrefix: subnet.cidrs.find((cidr) => familyOf(cidr) === 6) ?? '',
    availableIpCount: main === undefined ? 0 : availableAddresses(state, subnet, main),
    ipMaskLen: 0,
    description: subnet.description,
    routeTableId: subnet.routeTableId,
    aclId: '',
    startIp: range?.first ?? '',
    endIp: range?.last ?? '',
    createdTime: subnet.createdTime,
    subnetType: 'standard',
    az: '',
    labels: subnet.labels ?? {},
  };
}

export function vpcView(region: RegionService, vpc: Vpc): Static<typeof VpcObject> {
  const { state } = region;
  const tables = [...state.children('route-table', vpc.id)].sort(byAge);
  return {
    vpcId: vpc.id,
    vpcName: vpc.name,
    addressPrefix: firstV4(vpc.cidrs) ?? '',
    addressPrefixes: [...vpc.cidrs],
    description: vpc.description,
    aclIds: [],
    routeTableIds: tables.map(({ id }) => id),
    subnets: [...state.children('subnet', vpc.id)].sort(byAge).map((subnet) => subnetView(state, subnet)),
    createdTime: vpc.createdTime,
    labels: vpc.labels ?? {},
    ...shown(region.behind(vpc.id)),
  };
}

export const nextHopWords = {
  internet: 'internet',
  peering: 'vpc_peering',
  interface: 'elastic_network_interface',
} as const satisfies Record<NextHop['kind'], string>;

const nextHopId = (hop: NextHop): string =>
  hop.kind === 'internet' ? 'internet' : hop.kind === 'peering' ? hop.halfId : hop.portId;

/** The rules of a table as clients see them. Local comes first: the vendor's Terraform provider drops element 0. */
export function rulesView(table: RouteTable): Static<typeof RouteRuleObject>[] {
  const local = {
    ruleId: table.localRuleId,
    priority: 1,
    nextHopType: 'local',
    nextHopId: 'local',
    addressPrefix: 'local',
    origin: 'static',
    description: '',
    ipVersion: 4,
    labels: {},
  };
  const others = table.rules.map((rule) => ({
    ruleId: rule.id,
    priority: rule.priority,
    nextHopType: nextHopWords[rule.nextHop.kind],
    nextHopId: nextHopId(rule.nextHop),
    addressPrefix: rule.destination,
    origin: 'static',
    description: rule.description,
    ipVersion: familyOf(rule.destination),
    labels: rule.labels ?? {},
  }));
  return [local, ...others];
}

export const routeTableView = (state: StateView, table: RouteTable): Static<typeof RouteTableObject> => ({
  routeTableId: table.id,
  routeTableName: table.name,
  routeTableType: table.type,
  description: table.description,
  vpcId: table.vpcId,
  routeTableRules: rulesView(table),
  routePropagations: [],
  subnetIds: [...state.children('subnet', table.id)].sort(byAge).map(({ id }) => id),
  createdTime: table.createdTime,
  labels: table.labels ?? {},
});

/**
 * A half as its owner sees it. Of the remote VPC only the id is shown until its owner has consented with a half of his
 * own (or is the same account), and never who he is (docs/jdcloud-api.md).
 */
export function peeringView(region: RegionService, half: PeeringHalf): Static<typeof PeeringObject> {
  const { state } = region;
  const local = state.get('vpc', half.localVpcId);
  const remote = state.get('vpc', half.remoteVpcId);
  const consented = state.half(half.remoteVpcId, half.localVpcId) !== undefined;
  const open = remote !== undefined && (consented || remote.accountId === half.accountId);
  return {
    vpcPeeringId: half.id,
    vpcPeeringName: half.name,
    vpcPeeringState: half.state,
    description: half.description,
    vpcInfo: { vpcId: half.localVpcId, vpcName: local?.name ?? '', addressPrefix: [...(local?.cidrs ?? [])] },
    remoteVpcInfo: {
      vpcId: half.remoteVpcId,
      vpcName: open ? remote.name : '',
      addressPrefix: open ? [...remote.cidrs] : [],
    },
    createdTime: half.createdTime,
    health: region.health(half)?.state ?? '',
    labels: half.labels ?? {},
    ...shown({ notFencedOn: region.notFenced(half), notInstalledOn: [] }),
  };
}

const ipView = (privateIpAddress: string): Static<typeof IpObject> => ({
  privateIpAddress,
  elasticIpId: '',
  elasticIpAddress: '',
});

export function interfaceView(region: RegionService, port: NetworkInterface): Static<typeof InterfaceObject> {
  const attached = region.attachment(port.id)?.state === 'attached';
  const main = port.primary.find((address) => familyOf(address) === 4) ?? port.primary[0] ?? '';
  return {
    networkInterfaceId: port.id,
    networkInterfaceName: port.name,
    az: '',
    role: 'Secondary',
    macAddress: port.mac,
    vpcId: port.vpcId,
    subnetId: port.subnetId,
    networkSecurityGroupIds: [],
    sanityCheck: port.sanityCheck ? 1 : 0,
    primaryIp: ipView(main),
    primaryIpv6Address: port.primary.find((address) => familyOf(address) === 6 && address !== main) ?? '',
    secondaryIps: port.secondary.map(ipView),
    secondaryCidrs: [],
    instanceType: '',
    instanceId: '',
    instanceOwnerId: '',
    deviceIndex: attached ? 2 : 0,
    description: port.description,
    attachmentStatus: attached ? 'attached' : 'detached',
    networkInterfaceStatus: 'enabled',
    createdTime: port.createdTime,
    labels: port.labels ?? {},
  };
}

/**
 * What an interface's owner may ask of the data plane: the counters of its exits, and a trace. Beyond a peering the
 * trace ends: what a peer's VPC does with a packet is its owner's to see.
 */
import Type from 'typebox';
import { type Address, bitsOf, containsAddress, familyOf, type Mac, type Prefix, rangeOf } from '../../model/ip.ts';
import { gatewayMac } from '../../model/network-spec.ts';
import { addressIn } from '../fields.ts';
import { type Call, type Operation, own, Text, tenantOf, withoutBody } from '../operation.ts';
import { reject, rejectField } from '../refused.ts';
import { UnderWay } from '../under-way.ts';
import { answered, countersOf } from './counters.ts';

const tag = 'networkInterfaces';

const Trace = Type.Object({
  verdict: Type.Enum(['delivered', 'answered', 'dropped', 'handed-to-peer']),
  reason: Type.Union([Text, Type.Null()], { description: 'Of a drop; see docs/drops.md' }),
  object: Type.Union([Text, Type.Null()], { description: 'The id that a drop is to be blamed on' }),
  path: Type.Array(
    Type.Object({ hop: Text, object: Text, destination: Type.Optional(Text), target: Type.Optional(Text) }),
  ),
});

const broadcastMac = 'ff:ff:ff:ff:ff:ff' as Mac;
const manyStations = ['224.0.0.0/4', '255.255.255.255/32', 'ff00::/8'] as readonly string[] as readonly Prefix[];

/** Whether a workload sends this to one station: multicast and the broadcast of its subnet it sends to all. */
function oneStation(call: Call, subnetId: string, destination: Address): boolean {
  const cidrs = call.region.state.get('subnet', subnetId)?.cidrs ?? [];
  const { bits, family } = bitsOf(destination);
  const broadcast = cidrs.some((own) => rangeOf(own).family === family && family === 4 && rangeOf(own).last === bits);
  return !broadcast && !manyStations.some((range) => containsAddress(range, destination));
}

/** Each reads the whole plane. */
const traces = new UnderWay(2, 'too-many-traces');

/** Does a piece of work that reads the plane, unless the account has too much of it under way. @throws Refused */
export const limited = <T>(call: Call, work: () => Promise<T>): Promise<T> =>
  traces.within(tenantOf(call).accountId, work);

async function trace(call: Call): Promise<object> {
  const port = own(call, 'interface', call.params['networkInterfaceId'] ?? '');
  const text = call.query.get('destination');
  if (text === undefined) return reject('missing-argument', { field: 'destination' });
  const destination = addressIn('destination', text);
  const source = port.primary.find((address) => familyOf(address) === familyOf(destination));
  if (source === undefined) return rejectField('destination', `${port.id} has no address of the family of ${text}`);
  const verdict = await answered(() =>
    call.region.trace({
      from: port.id,
      sourceMac: port.mac,
      destinationMac: oneStation(call, port.subnetId, destination) ? gatewayMac : broadcastMac,
      source,
      destination,
      ttl: 64,
      length: 84, // a ping
      protocol: 'icmp-echo',
    }),
  );
  const state = call.region.state;
  const { accountId } = tenantOf(call);
  const crossing = verdict.path.find((hop) => hop.hop === 'peering');
  const foreign =
    crossing !== undefined &&
    'remoteVpcId' in crossing &&
    state.get('vpc', crossing.remoteVpcId)?.accountId !== accountId;
  const shown = foreign ? verdict.path.slice(0, verdict.path.indexOf(crossing) + 1) : verdict.path;
  const path = shown.map((hop) =>
    hop.hop === 'route'
      ? { hop: hop.hop, object: hop.object, destination: hop.destination, target: hop.target }
      : { hop: hop.hop, object: hop.object },
  );
  if (foreign) return { verdict: 'handed-to-peer', reason: null, object: null, path };
  const dropped = verdict.kind === 'dropped';
  return {
    verdict: verdict.kind,
    reason: dropped ? verdict.reason : null,
    object: dropped ? verdict.object : null,
    path,
  };
}

export const observationOperations: readonly Operation[] = [
  withoutBody(
    {
      name: 'describeNetworkInterfaceCounters',
      method: 'GET',
      path: '/networkInterfaces/{networkInterfaceId}/counters',
      tag,
      summary: 'What became of every packet that the interface sent (extension)',
      result: Type.Object({
        exits: Type.Array(Type.Object({ exit: Text, packets: Type.Integer(), bytes: Type.Integer() })),
      }),
    },
    async (call) => {
      const port = own(call, 'interface', call.params['networkInterfaceId'] ?? '');
      const { exits } = await countersOf(call);
      const counts = [...(exits.get(port.id) ?? [])].map(([exit, { packets, bytes }]) => ({ exit, packets, bytes }));
      return { exits: counts };
    },
  ),
  withoutBody(
    {
      name: 'traceNetworkInterface',
      method: 'GET',
      path: '/networkInterfaces/{networkInterfaceId}:trace',
      tag,
      summary: 'Where a packet of the interface would go, and why (extension)',
      query: Type.Object({ destination: Text }),
      result: Trace,
    },
    (call) => limited(call, () => trace(call)),
  ),
];

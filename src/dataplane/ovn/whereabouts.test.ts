/** Which hosts a change concerns. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HalfId, PortId, RouteTableId, VpcId } from '../../model/ids.ts';
import type { Address, Mac } from '../../model/ip.ts';
import type { VpcSpec } from '../../model/network-spec.ts';
import type { Row } from './ovsdb-wire.ts';
import { together, Whereabouts } from './whereabouts.ts';

const a = 'vpc-a' as VpcId;
const b = 'vpc-b' as VpcId;
const stranger = 'vpc-stranger' as VpcId;

function spec(vpcId: VpcId, remotes: readonly VpcId[]): VpcSpec {
  const address = { address: '10.0.0.2' as Address, primary: true, gateway: '10.0.0.1' as Address, prefixLength: 24 };
  const port = { id: `port-${vpcId}` as PortId, mac: '02:00:00:00:00:01' as Mac, addresses: [address] };
  return {
    vpcId,
    interfaces: [{ ...port, routeTableId: 'rtb-1' as RouteTableId, sanityCheck: true }],
    routeTables: [],
    halves: remotes.map((remoteVpcId) => ({ id: `h-${vpcId}-${remoteVpcId}` as HalfId, remoteVpcId, live: true })),
  };
}
const specs = new Map([spec(a, [b]), spec(b, [a]), spec(stranger, [a])].map((one) => [one.vpcId, one]));

function whereabouts(): Whereabouts {
  const tables: { readonly [table: string]: ReadonlyMap<string, Row> } = {
    Chassis: new Map([
      ['c1', { name: 'h1' }],
      ['c2', { name: 'h2' }],
    ]),
    Port_Binding: new Map<string, Row>([
      ['aaaaaaaa-1', { logical_port: `port-${a}`, chassis: ['c1'] }],
      ['bbbbbbbb-2', { logical_port: `port-${b}`, chassis: ['c2'] }],
    ]),
  };
  const fact = { state: 'attached', target: 'netns:x', device: 'eth0', mtu: 1500, up: true } as const;
  return new Whereabouts(
    { attachments: () => [{ ...fact, portId: `port-${stranger}` as PortId, host: 'h3' }] },
    { rows: (table) => tables[table] ?? new Map() },
  );
}

test('a change concerns the hosts of the VPC and of those it is joined with', () => {
  const of = whereabouts().of(specs, [a, b]);
  assert.deepEqual([...(of.get(a) ?? [])].sort(), ['h1', 'h2']);
  assert.deepEqual([...(of.get(b) ?? [])].sort(), ['h1', 'h2']);
});

test('who points at a VPC that never answered waits for no host of it, and hears of none', () => {
  const of = whereabouts().of(specs, [stranger]);
  assert.deepEqual([...(of.get(stranger) ?? [])], ['h3'], 'its own, which the database does not know yet');
});

test('before and after are added up, VPC by VPC', () => {
  const sum = together(
    new Map([[a, new Set(['h1'])]]),
    new Map([
      [a, new Set(['h2'])],
      [b, new Set(['h3'])],
    ]),
  );
  assert.deepEqual([...(sum.get(a) ?? [])], ['h1', 'h2']);
  assert.deepEqual([...(sum.get(b) ?? [])], ['h3']);
});

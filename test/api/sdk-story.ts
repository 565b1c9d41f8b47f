/**
 * The story of two tenants as the vendor's own SDK tells it: every operation it has and we cover, for two accounts, with
 * packets asserted after each step. Generic over what carries the packets.
 */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

/** A reply of the SDK: the vendor's envelope. */
interface Reply {
  readonly requestId: string;
  readonly result: Record<string, never>;
}
type Call = (options: object, region: string) => Promise<Reply>;
export type Sdk = Record<string, Call>;

export interface SdkWorld {
  /** `host:port` */
  readonly host: string;
  readonly region: string;
  /** A fresh account's key. */
  readonly key: (name: string) => Promise<{ readonly accessKeyId: string; readonly secretAccessKey: string }>;
  /** Puts a workload on an interface. */
  readonly attach: (portId: string) => Promise<void>;
  /** Sends one UDP packet from an interface to an address: 'Forwarded', or why not. */
  readonly probe: (portId: string, to: string) => Promise<string>;
}

const require = createRequire(import.meta.url);

/** The vendor's client, unmodified; its log of every request is switched off. */
function sdkFor(world: SdkWorld, key: { readonly accessKeyId: string; readonly secretAccessKey: string }): Sdk {
  const JDCloud = require('jdcloud-sdk-js') as {
    config: { update(options: object): void };
    VPC: new (options: object) => Sdk;
  };
  JDCloud.config.update({ logger: () => {} });
  return new JDCloud.VPC({
    credentials: key,
    regionId: world.region,
    endpoint: { protocol: 'http', host: world.host },
  });
}

/** Plays it. @returns the SDK's operations that were called */
export async function playSdkStory(world: SdkWorld): Promise<ReadonlySet<string>> {
  const called = new Set<string>();
  const clientOf = async (name: string) => {
    const sdk = sdkFor(world, await world.key(name));
    const call = async <T>(operation: string, options: object = {}): Promise<T> => {
      called.add(operation);
      const method = sdk[operation];
      assert.ok(method !== undefined, operation);
      const reply = await method.call(sdk, options, world.region);
      assert.ok(reply.requestId.length > 0, operation);
      return reply.result as unknown as T;
    };
    const refused = async (operation: string, options: object): Promise<{ code: number; status: string }> => {
      const error = await call(operation, options).then(
        () => null,
        (reason: { requestId: string; error: { code: number; status: string } }) => reason,
      );
      assert.ok(error !== null, `${operation} was not refused`);
      assert.ok(error.requestId.length > 0);
      return error.error;
    };
    return { call, refused };
  };
  type Client = Awaited<ReturnType<typeof clientOf>>;
  const side = async (name: string, cidr: string, subnetCidr: string) => {
    const client: Client = await clientOf(name);
    const { call } = client;
    const { vpcId } = await call<{ vpcId: string }>('createVpc', { vpcName: name, addressPrefix: cidr });
    const { vpc } = await call<{ vpc: { vpcName: string; routeTableIds: string[] } }>('describeVpc', { vpcId });
    assert.equal(vpc.vpcName, name);
    const draft = { vpcId, subnetName: name, addressPrefix: subnetCidr };
    const { subnetId } = await call<{ subnetId: string }>('createSubnet', draft);
    const { networkInterfaceId } = await call<{ networkInterfaceId: string }>('createNetworkInterface', { subnetId });
    const { networkInterface } = await call<{ networkInterface: { primaryIp: { privateIpAddress: string } } }>(
      'describeNetworkInterface',
      { networkInterfaceId },
    );
    await world.attach(networkInterfaceId);
    const address = networkInterface.primaryIp.privateIpAddress;
    return {
      client,
      call,
      vpcId,
      subnetId,
      portId: networkInterfaceId,
      address,
      tableId: vpc.routeTableIds[0] ?? '',
      cidr,
    };
  };
  type Side = Awaited<ReturnType<typeof side>>;
  const red: Side = await side('red', '10.0.0.0/16', '10.0.1.0/24');
  const blue: Side = await side('blue', '10.1.0.0/16', '10.1.1.0/24');
  const cross = async (from: Side, to: Side, wanted: string, why: string): Promise<void> => {
    assert.equal(await world.probe(from.portId, to.address), wanted, why);
  };
  await cross(red, blue, 'BlackHole', 'strangers');

  // Halves.
  interface Half {
    readonly vpcPeeringId: string;
    readonly vpcPeeringState: string;
    readonly remoteVpcInfo: { readonly vpcName: string; readonly addressPrefix: readonly string[] };
  }
  const half = async (from: Side, to: Side, name: string): Promise<Half> => {
    const options = { vpcPeeringName: name, vpcId: from.vpcId, remoteVpcId: to.vpcId };
    return (await from.call<{ vpcPeering: Half }>('createVpcPeering', options)).vpcPeering;
  };
  const shown = async (of: Side, vpcPeeringId: string): Promise<Half> =>
    (await of.call<{ vpcPeering: Half }>('describeVpcPeering', { vpcPeeringId })).vpcPeering;
  const ab = await half(red, blue, 'to-blue');
  assert.equal(ab.vpcPeeringState, 'Initiated');
  assert.deepEqual(ab.remoteVpcInfo.addressPrefix, [], "hidden until blue's half exists");
  assert.equal(
    (await red.client.refused('createVpcPeering', { vpcPeeringName: 'x', vpcId: red.vpcId, remoteVpcId: blue.vpcId }))
      .code,
    409,
  );
  assert.equal((await blue.client.refused('describeVpcPeering', { vpcPeeringId: ab.vpcPeeringId })).code, 404);
  await cross(red, blue, 'BlackHole', 'one half');
  const ba = await half(blue, red, 'to-red');
  assert.equal(ba.vpcPeeringState, 'Connected');
  assert.deepEqual((await shown(red, ab.vpcPeeringId)).remoteVpcInfo.addressPrefix, ['10.1.0.0/16']);
  await red.call('modifyVpcPeering', { vpcPeeringId: ab.vpcPeeringId, vpcPeeringName: 'renamed' });
  await cross(red, blue, 'BlackHole', 'connected, no route');

  // Routes.
  const rule = (halfId: string, addressPrefix: string) => ({
    routeTableRuleSpecs: [{ nextHopType: 'vpc_peering', nextHopId: halfId, addressPrefix }],
  });
  await red.call('addRouteTableRules', { routeTableId: red.tableId, ...rule(ab.vpcPeeringId, blue.cidr) });
  await cross(red, blue, 'Forwarded', 'a route on one side');
  await cross(blue, red, 'BlackHole', 'no route back');
  await blue.call('addRouteTableRules', { routeTableId: blue.tableId, ...rule(ba.vpcPeeringId, '10.0.0.0/17') });
  await cross(blue, red, 'Forwarded', 'routes on both sides');
  interface Rule {
    readonly ruleId: string;
    readonly nextHopType: string;
    readonly addressPrefix: string;
  }
  const rules = async (of: Side, routeTableId: string): Promise<readonly Rule[]> =>
    (await of.call<{ routeTable: { routeTableRules: readonly Rule[] } }>('describeRouteTable', { routeTableId }))
      .routeTable.routeTableRules;
  const listed = await rules(blue, blue.tableId);
  assert.equal(listed[0]?.nextHopType, 'local', 'Local is the first');
  const back = listed.find(({ nextHopType }) => nextHopType === 'vpc_peering');
  assert.ok(back !== undefined);
  const narrower = [{ ruleId: back.ruleId, addressPrefix: '10.0.2.0/24' }];
  await blue.call('modifyRouteTableRules', { routeTableId: blue.tableId, modifyRouteTableRuleSpecs: narrower });
  await cross(blue, red, 'BlackHole', 'the rule leads elsewhere');
  const wider = [{ ruleId: back.ruleId, addressPrefix: '10.0.0.0/16' }];
  await blue.call('modifyRouteTableRules', { routeTableId: blue.tableId, modifyRouteTableRuleSpecs: wider });
  await cross(blue, red, 'Forwarded', 'and back');

  // A table of its own for the subnet.
  const { routeTableId } = await red.call<{ routeTableId: string }>('createRouteTable', {
    vpcId: red.vpcId,
    routeTableName: 'own',
  });
  await red.call('modifyRouteTable', { routeTableId, routeTableName: 'own-table' });
  await red.call('associateRouteTable', { routeTableId, subnetIds: [red.subnetId] });
  await cross(red, blue, 'NoRoute', 'a custom table holds Local only');
  assert.equal((await red.client.refused('deleteRouteTable', { routeTableId })).code, 400);
  await red.call('disassociateRouteTable', { routeTableId, subnetId: red.subnetId });
  await cross(red, blue, 'Forwarded', 'back on the default table');
  await red.call('deleteRouteTable', { routeTableId });

  // Secondary addresses.
  await blue.call('assignSecondaryIps', { networkInterfaceId: blue.portId, secondaryIps: ['10.1.1.77'] });
  assert.equal(await world.probe(red.portId, '10.1.1.77'), 'Forwarded');
  await blue.call('unassignSecondaryIps', { networkInterfaceId: blue.portId, secondaryIps: ['10.1.1.77'] });
  assert.equal(await world.probe(red.portId, '10.1.1.77'), 'NoSuchAddress');

  // Lists, small changes, quota.
  const lists = [
    ['describeVpcs', 'vpcs'],
    ['describeSubnets', 'subnets'],
    ['describeRouteTables', 'routeTables'],
    ['describeVpcPeerings', 'vpcPeerings'],
    ['describeNetworkInterfaces', 'networkInterfaces'],
  ] as const;
  for (const [operation, key] of lists) {
    const page = await red.call<Record<string, unknown> & { totalCount: number }>(operation, { pageSize: 10 });
    assert.equal(page.totalCount, 1, operation);
    assert.equal((page[key] as readonly unknown[]).length, 1, operation);
  }
  const filters = [{ name: 'vpcPeeringNames', values: ['renamed'] }];
  const found = await red.call<{ vpcPeerings: readonly Half[] }>('describeVpcPeerings', { filters });
  assert.deepEqual(
    found.vpcPeerings.map(({ vpcPeeringId }) => vpcPeeringId),
    [ab.vpcPeeringId],
  );
  assert.equal(
    (await red.client.refused('describeVpcs', { filters: [{ name: 'colour', values: ['red'] }] })).code,
    400,
  );
  await red.call('modifyVpc', { vpcId: red.vpcId, vpcName: 'red-vpc' });
  await red.call('describeSubnet', { subnetId: red.subnetId });
  await red.call('modifySubnet', { subnetId: red.subnetId, description: '对等' });
  await red.call('modifyNetworkInterface', { networkInterfaceId: red.portId, description: 'one' });
  const { quota } = await red.call<{ quota: { count: number; maxLimit: number } }>('describeQuota', {
    type: 'vpcpeering',
    parentResourceId: red.vpcId,
  });
  assert.deepEqual([quota.count, quota.maxLimit], [1, 10]);
  await cross(red, blue, 'Forwarded', 'nothing of that touched the network');

  // Apart, together, and the end.
  await blue.call('deleteVpcPeering', { vpcPeeringId: ba.vpcPeeringId });
  assert.equal((await shown(red, ab.vpcPeeringId)).vpcPeeringState, 'Disconnected');
  await cross(red, blue, 'NoPeering', 'blue left');
  await cross(blue, red, 'NoPeering', 'both ways');
  const again = await half(blue, red, 'to-red');
  assert.equal(again.vpcPeeringId, ba.vpcPeeringId, 'the old id');
  await cross(red, blue, 'Forwarded', 'blue is back');
  await cross(blue, red, 'Forwarded', 'both ways, no rule was touched');
  await red.call('removeRouteTableRules', {
    routeTableId: red.tableId,
    ruleIds: (await rules(red, red.tableId))
      .filter(({ nextHopType }) => nextHopType === 'vpc_peering')
      .map(({ ruleId }) => ruleId),
  });
  await cross(red, blue, 'BlackHole', 'the rule is gone');
  assert.equal((await red.client.refused('deleteSubnet', { subnetId: red.subnetId })).code, 400);
  for (const owner of [red, blue]) {
    await owner.call('deleteNetworkInterface', { networkInterfaceId: owner.portId });
    await owner.call('deleteSubnet', { subnetId: owner.subnetId });
  }
  assert.equal((await blue.client.refused('deleteVpc', { vpcId: blue.vpcId })).code, 400);
  await blue.call('deleteVpcPeering', { vpcPeeringId: ba.vpcPeeringId });
  await blue.call('deleteVpc', { vpcId: blue.vpcId });
  await red.call('deleteVpc', { vpcId: red.vpcId });
  return called;
}

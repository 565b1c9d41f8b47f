/** What turns a driver's plane into a network, by reading the plane first. */
import { diff } from '../../src/dataplane/diff.ts';
import type { Driver, Plan } from '../../src/dataplane/driver.ts';
import type { VpcId } from '../../src/model/ids.ts';
import type { NetworkSpec } from '../../src/model/network-spec.ts';

export async function planFor(driver: Pick<Driver, 'observe'>, wanted: NetworkSpec): Promise<Plan> {
  const { network } = await driver.observe();
  const before = new Map(network.vpcs.map((vpc) => [vpc.vpcId, vpc]));
  const after = new Map(wanted.vpcs.map((vpc) => [vpc.vpcId, vpc]));
  const ids = [...new Set<VpcId>([...before.keys(), ...after.keys()])];
  return diff(ids.map((vpcId) => ({ vpcId, observed: before.get(vpcId) ?? null, wanted: after.get(vpcId) ?? null })));
}

/** Which VPCs a command's changes touch, so that the cost of a command grows with what it touches. */
import type { VpcId } from '../model/ids.ts';
import type { Change, Resource } from '../model/resources.ts';

const vpcsOf = (resource: Resource): readonly VpcId[] => {
  switch (resource.kind) {
    case 'vpc':
      return [resource.id];
    case 'subnet':
    case 'route-table':
    case 'interface':
      return [resource.vpcId];
    case 'peering':
    case 'half-identity':
      return [resource.localVpcId];
    case 'account':
    case 'key':
    case 'client-token':
    case 'host':
    case 'host-authority':
      return [];
  }
};

/**
 * The VPCs to compile again.
 * @param before looks a resource up as it was before the changes: what is deleted must be known by what it was
 */
export function dirtyVpcs(
  changes: readonly Change[],
  before: (kind: Resource['kind'], id: string) => Resource | undefined,
): ReadonlySet<VpcId> {
  const dirty = new Set<VpcId>();
  for (const change of changes) {
    const [kind, id] =
      change.op === 'put' ? [change.resource.kind, change.resource.id] : ([change.kind, change.id] as const);
    const old = before(kind, id);
    if (old !== undefined) for (const vpcId of vpcsOf(old)) dirty.add(vpcId);
    if (change.op === 'put') for (const vpcId of vpcsOf(change.resource)) dirty.add(vpcId);
  }
  return dirty;
}

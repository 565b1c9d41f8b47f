/** The API's objects, as its own schemas define them. */
import type { Static } from 'typebox';
import type * as schemas from '../api/jdcloud/objects.ts';
import type * as traces from '../api/jdcloud/trace.ts';

export type VpcObject = Static<typeof schemas.VpcObject>;
export type SubnetObject = Static<typeof schemas.SubnetObject>;
export type RouteRuleObject = Static<typeof schemas.RouteRuleObject>;
export type RouteTableObject = Static<typeof schemas.RouteTableObject>;
export type PeeringObject = Static<typeof schemas.PeeringObject>;
export type InterfaceObject = Static<typeof schemas.InterfaceObject>;
export type TraceObject = Static<typeof traces.TraceObject>;
export type BlockerObject = Static<typeof traces.BlockerObject>;

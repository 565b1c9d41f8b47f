/** Every operation of the JD Cloud API that this service has; nothing is routed that is not in this list. */
import type { Operation } from '../operation.ts';
import { eventOperations } from './events.ts';
import { interfaceOperations } from './interfaces.ts';
import { journalOperations } from './journal.ts';
import { networkOperations } from './network.ts';
import { observationOperations } from './observations.ts';
import { peeringOperations } from './peerings.ts';
import { quotaOperations } from './quotas.ts';
import { routeRuleOperations } from './route-rules.ts';
import { routeTableOperations } from './route-tables.ts';
import { subnetOperations } from './subnets.ts';
import { traceOperations } from './trace.ts';
import { trafficOperations } from './traffic.ts';
import { usageOperations } from './usage.ts';
import { vpcOperations } from './vpcs.ts';

export const jdcloudOperations: readonly Operation[] = [
  ...vpcOperations,
  ...subnetOperations,
  ...routeTableOperations,
  ...routeRuleOperations,
  ...peeringOperations,
  ...usageOperations,
  ...trafficOperations,
  ...interfaceOperations,
  ...networkOperations,
  ...observationOperations,
  ...traceOperations,
  ...quotaOperations,
  ...journalOperations,
  ...eventOperations,
];

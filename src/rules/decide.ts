/**
 * The one door to the rules: (state, command, context) → changes or a refusal. Pure: time and ids are arguments, and
 * nothing is written here. What a command means stands in the file of its noun.
 */
import { refuse } from '../model/errors.ts';
import * as accounts from './accounts.ts';
import { type Command, operatorCommands } from './commands.ts';
import { applyNetwork } from './declared.ts';
import type { Decision, RuleContext } from './draft.ts';
import * as hosts from './hosts.ts';
import * as interfaces from './interfaces.ts';
import * as peering from './peering.ts';
import * as tables from './route-tables.ts';
import * as routes from './routes.ts';
import * as subnets from './subnets.ts';
import * as vpcs from './vpcs.ts';

/** Decides one command. A tenant's context never carries out an operator's command. */
export function decide(command: Command, context: RuleContext): Decision {
  if (command.kind in operatorCommands && context.accountId !== null) return refuse('forbidden', {});
  switch (command.kind) {
    case 'create-account':
      return accounts.createAccount(command, context);
    case 'modify-account':
      return accounts.modifyAccount(command, context);
    case 'delete-account':
      return accounts.deleteAccount(command, context);
    case 'set-quota':
      return accounts.setQuota(command, context);
    case 'create-key':
      return accounts.createKey(command, context);
    case 'delete-key':
      return accounts.deleteKey(command, context);
    case 'create-host-authority':
      return hosts.createAuthority(command, context);
    case 'invite-host':
      return hosts.inviteHost(command, context);
    case 'admit-host':
      return hosts.admitHost(command, context);
    case 'drain-host':
      return hosts.drainHost(command, context);
    case 'undrain-host':
      return hosts.undrainHost(command, context);
    case 'remove-host':
      return hosts.removeHost(command, context);
    case 'create-vpc':
      return vpcs.createVpc(command, context);
    case 'modify-vpc':
      return vpcs.modifyVpc(command, context);
    case 'add-cidr':
      return vpcs.addCidr(command, context);
    case 'remove-cidr':
      return vpcs.removeCidr(command, context);
    case 'delete-vpc':
      return vpcs.deleteVpc(command, context);
    case 'create-subnet':
      return subnets.createSubnet(command, context);
    case 'modify-subnet':
      return subnets.modifySubnet(command, context);
    case 'delete-subnet':
      return subnets.deleteSubnet(command, context);
    case 'create-route-table':
      return tables.createRouteTable(command, context);
    case 'modify-route-table':
      return tables.modifyRouteTable(command, context);
    case 'delete-route-table':
      return tables.deleteRouteTable(command, context);
    case 'associate-route-table':
      return tables.associateRouteTable(command, context);
    case 'disassociate-route-table':
      return tables.disassociateRouteTable(command, context);
    case 'add-routes':
      return routes.addRoutes(command, context);
    case 'modify-routes':
      return routes.modifyRoutes(command, context);
    case 'remove-routes':
      return routes.removeRoutes(command, context);
    case 'create-peering':
      return peering.createPeering(command, context);
    case 'modify-peering':
      return peering.modifyPeering(command, context);
    case 'delete-peering':
      return peering.deletePeering(command, context);
    case 'create-interface':
      return interfaces.createInterface(command, context);
    case 'modify-interface':
      return interfaces.modifyInterface(command, context);
    case 'delete-interface':
      return interfaces.deleteInterface(command, context);
    case 'assign-secondary':
      return interfaces.assignSecondary(command, context);
    case 'apply-network':
      return applyNetwork(command, context, decide);
    case 'unassign-secondary':
      return interfaces.unassignSecondary(command, context);
  }
}

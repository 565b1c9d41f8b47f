/** Commands that a tenant asks of the API with a profile, and the operator (`--operator`) of the admin socket. */
import type { Command } from 'commander';
import { AdminClient, type AdminOptions } from './admin.ts';
import { Client, profileFor, type Query, type TenantOptions, tenantOptions } from './client.ts';
import { commonOptions } from './command.ts';
import { instanceOption } from './places.ts';

export interface EitherOptions extends TenantOptions, AdminOptions {
  readonly operator?: true;
}

export const eitherOptions = (command: Command): Command =>
  tenantOptions(command)
    .optionsGroup(commonOptions)
    .option('--operator', 'the whole region, as its operator')
    .option(...instanceOption)
    .option('--socket <path>', "with --operator: the service's admin socket (ISTHMUS_SOCKET)")
    .optionsGroup('Options:');

/** Reads one path: the operator's with `--operator`, else the tenant's. @throws Failure */
export function reader(
  options: EitherOptions,
): (tenants: string, operators: string, query?: Query) => Promise<unknown> {
  if (options.operator === true) {
    const admin = new AdminClient(options);
    return (_tenants, operators, query = []) => {
      const search = query.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
      return admin.call('GET', search === '' ? operators : `${operators}?${search}`);
    };
  }
  const client = new Client(profileFor(options));
  return (tenants, _operators, query = []) => client.get(tenants, query);
}

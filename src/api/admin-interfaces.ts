/** The operator's look-up of interfaces by name: what `isthmus attach NAME` needs, since attaching is no tenant's call. */
import Type from 'typebox';
import { type Operation, Text, withoutBody } from './operation.ts';

export const adminInterfaceOperations: readonly Operation[] = [
  withoutBody(
    {
      name: 'findInterfaces',
      method: 'GET',
      path: '/interfaces',
      tag: 'admin',
      summary: 'Interfaces of all accounts, or those of one name',
      query: Type.Object({ name: Type.Optional(Text) }),
    },
    async ({ region: { state }, query }) => {
      const name = query.get('name');
      const interfaces = [...state.all('interface')]
        .filter((port) => name === undefined || port.name === name)
        .map((port) => ({
          networkInterfaceId: port.id,
          networkInterfaceName: port.name,
          accountId: port.accountId,
          accountName: state.get('account', port.accountId)?.name ?? '',
          vpcId: port.vpcId,
          addresses: [...port.primary, ...port.secondary],
        }));
      return { interfaces };
    },
  ),
];

/** A tenant of the demo: signed calls through the same client that the command line uses. */
import type { Exit } from '../../model/drop-reason.ts';
import { Client } from '../client.ts';
import { Failure } from '../failure.ts';
import { ApiRefusal, type Tenant } from './stage.ts';

export interface TenantKey {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export function tenantWith(name: string, accountId: string, key: TenantKey): Tenant {
  // The story says itself what is not carried out yet.
  const client = new Client(key, false, () => {});
  return {
    name,
    accountId,
    async call<T>(method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body: object = {}): Promise<T> {
      try {
        switch (method) {
          case 'GET':
            return (await client.get(path)) as T;
          case 'DELETE':
            return (await client.delete(path)) as T;
          case 'POST':
            return (await client.post(path, body)) as T;
          case 'PUT':
            return (await client.put(path, body)) as T;
          case 'PATCH':
            return (await client.patch(path, body)) as T;
        }
      } catch (error) {
        if (error instanceof Failure && error.exitCode === 1) throw new ApiRefusal(error.message);
        throw error;
      }
    },
  };
}

/** Packets of an interface by exit, as its owner reads them. */
export async function exitsOf(tenant: Tenant, portId: string): Promise<ReadonlyMap<Exit, number>> {
  const { exits } = await tenant.call<{ exits: readonly { exit: Exit; packets: number }[] }>(
    'GET',
    `/networkInterfaces/${portId}/counters`,
  );
  return new Map(exits.map(({ exit, packets }) => [exit, packets]));
}

/** The operator's operations on hosts: invite, list, drain, remove. What is asked of them is decided by the rules. */
import { randomBytes, X509Certificate } from 'node:crypto';
import Type from 'typebox';
import type { Owed } from '../dataplane/driver.ts';
import type { ChassisBook } from '../dataplane/ovn/chassis.ts';
import { refuse } from '../model/errors.ts';
import { type HostName, isHostName } from '../model/ids.ts';
import type { Host } from '../model/resources.ts';
import { tokenHashOf } from './hosts/admission.ts';
import type { HostGateway } from './hosts/gateway.ts';
import { type Call, type Operation, submit, Text, withBody, withoutBody } from './operation.ts';
import { Refused, rejectField } from './refused.ts';

/** What of the region's process concerns hosts; null for a driver that has none. */
export interface HostsOfRegion {
  readonly gateway: Pick<HostGateway, 'roster'>;
  readonly chassis: Pick<ChassisBook, 'states' | 'remove'>;
  /** What hosts have not proven yet. */
  readonly owed: () => readonly Owed[];
  /** Why a host does not prove what it owes; null: nothing is known. */
  readonly problemOf: (host: string) => string | null;
  /** `HOST:PORT` at which hosts reach the servers, as far as this one knows. */
  readonly advertised: readonly string[];
  readonly southbound: readonly string[];
}

/** How long a token is good for, in seconds. */
const tokenLife = { fallback: 3600, most: 7 * 86_400 } as const;

export function adminHostOperations(hosts: HostsOfRegion | null): readonly Operation[] {
  const demanded = (): HostsOfRegion => {
    if (hosts !== null) return hosts;
    throw new Refused(refuse('no-hosts', { why: 'its network is in this machine' }));
  };
  const named = (call: Call): HostName => {
    demanded();
    const name = call.params['name'] ?? '';
    if (!isHostName(name)) throw new Refused(refuse('host-unknown', { name: name.slice(0, 64) }));
    return name;
  };
  const hostIn = (call: Call): Host => {
    const name = named(call);
    const host = call.region.state.get('host', name);
    if (host === undefined) throw new Refused(refuse('host-unknown', { name }));
    return host;
  };
  const view = ({ id, state, tokenExpires, createdTime }: Host): object => {
    const { gateway, chassis, owed, problemOf } = demanded();
    const facts = gateway.roster.of(id);
    const since = gateway.roster.since(id);
    const known = chassis.states().get(id);
    return {
      name: id,
      state,
      connected: since !== undefined,
      connectedSince: since === undefined ? null : `${new Date(since).toISOString().slice(0, 19)}Z`,
      knownToOvn: known !== undefined,
      /** Milliseconds between the configuration that it has installed and the newest; null: it has installed none. */
      behind: known?.behind ?? null,
      /** null: it has told nothing since this server runs. */
      workloads: facts === null ? null : facts.map(({ portId }) => portId).sort(),
      owes: owed()
        .filter(({ notFencedOn, notInstalledOn }) => notFencedOn.includes(id) || notInstalledOn.includes(id))
        .map(({ vpcId, notFencedOn }) => ({ vpcId, what: notFencedOn.includes(id) ? 'cut' : 'install' })),
      /** Why it does not prove what it owes. */
      problem: problemOf(id),
      invitationExpires: state === 'invited' ? tokenExpires : null,
      createdTime,
    };
  };
  const tag = 'admin';
  return [
    withoutBody({ name: 'listHosts', method: 'GET', path: '/hosts', tag, summary: 'The hosts' }, async (call) => {
      demanded();
      return { hosts: [...call.region.state.all('host')].sort((a, b) => (a.id < b.id ? -1 : 1)).map(view) };
    }),
    withoutBody({ name: 'showHost', method: 'GET', path: '/hosts/{name}', tag, summary: 'One host' }, async (call) => ({
      host: view(hostIn(call)),
    })),
    withBody(
      { name: 'inviteHost', method: 'POST', path: '/hosts', tag, summary: 'Let a machine join, once' },
      Type.Object({
        name: Text,
        seconds: Type.Optional(Type.Integer({ minimum: 60, maximum: tokenLife.most })),
      }),
      async (call) => {
        const { advertised, southbound } = demanded();
        const { name, seconds = tokenLife.fallback } = call.body;
        if (!isHostName(name)) {
          const problem = "is not 1 to 63 of a-z, 0-9, '-' and '.', a letter or digit first";
          return rejectField('name', `'${name.slice(0, 64)}' ${problem}`);
        }
        const token = randomBytes(32).toString('base64url');
        const expires = `${new Date(Date.now() + seconds * 1000).toISOString().slice(0, 19)}Z`;
        await submit(call, { kind: 'invite-host', name, tokenHash: tokenHashOf(token), expires });
        const authority = call.region.state.get('host-authority', 'host-authority')?.certificate ?? '';
        const fingerprint = new X509Certificate(authority).fingerprint256.replaceAll(':', '').toLowerCase();
        return { name, token, expires, authorityFingerprint: `sha256:${fingerprint}`, regions: advertised, southbound };
      },
    ),
    withoutBody(
      { name: 'drainHost', method: 'POST', path: '/hosts/{name}/drain', tag, summary: 'It takes no new workloads' },
      async (call) => {
        await submit(call, { kind: 'drain-host', name: named(call) });
        return { host: view(hostIn(call)) };
      },
    ),
    withoutBody(
      { name: 'undrainHost', method: 'POST', path: '/hosts/{name}/undrain', tag, summary: 'It takes workloads again' },
      async (call) => {
        await submit(call, { kind: 'undrain-host', name: named(call) });
        return { host: view(hostIn(call)) };
      },
    ),
    withoutBody(
      {
        name: 'removeHost',
        method: 'DELETE',
        path: '/hosts/{name}',
        tag,
        summary: 'Take it out of the region: drained and empty, or lost for good',
        query: Type.Object({ lost: Type.Optional(Type.Boolean()) }),
      },
      async (call) => {
        const name = named(call);
        const lost = call.query.flag('lost');
        const { gateway, chassis } = demanded();
        // What it told before it went away may have changed since.
        const facts = gateway.roster.connected.has(name) ? gateway.roster.of(name) : null;
        const unproven = lost ? hosts?.owed().filter(({ notFencedOn }) => notFencedOn.includes(name)) : [];
        const lastSeen = gateway.roster.of(name);
        await submit(call, {
          kind: 'remove-host',
          name,
          attached: facts === null ? null : facts.map(({ portId }) => portId).sort(),
          lost,
        });
        const problem = await chassis.remove(name).then(
          () => null,
          (error: Error) => error.message,
        );
        return {
          name,
          /** Why OVN may still count on the host. */
          chassisProblem: problem,
          /** Peered VPCs of which nobody can say any more that the host has cut what was taken away. */
          unproven: unproven?.map(({ vpcId }) => vpcId) ?? [],
          /** Interfaces that were attached there when it was last heard. */
          lastWorkloads: lost && lastSeen !== null ? lastSeen.map(({ portId }) => portId).sort() : [],
        };
      },
    ),
  ];
}

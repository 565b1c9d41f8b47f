/** A gateway of hosts on a region in memory, and real TLS clients of it. */
import assert from 'node:assert/strict';
import type { TLSSocket } from 'node:tls';
import pino from 'pino';
import { join, makeKey } from '../../src/agent/join.ts';
import { type Credentials, dial } from '../../src/agent/region-caller.ts';
import { tokenHashOf } from '../../src/api/hosts/admission.ts';
import { HostGateway } from '../../src/api/hosts/gateway.ts';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import { LinkToRegion } from '../../src/dataplane/ovn/host-link.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import type { HostName } from '../../src/model/ids.ts';
import { Region } from '../../src/region/region.ts';
import { SqliteStore } from '../../src/store/sqlite.ts';
import type { Ending } from '../wire/lab.ts';

export const operator = { principal: { kind: 'operator' }, requestId: 'test' } as const;
export const pause = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));

/** @param heard called with each line of the gateway's log */
export async function start(t: Ending, heard?: (line: string) => void) {
  const store = new SqliteStore(':memory:');
  const plane = new Reconciler(new FakeDriver(), { driftInterval: 0 });
  const region = await Region.start({ name: 'r', version: '0', store, plane });
  const gateway = new HostGateway();
  const log = heard === undefined ? pino({ level: 'silent' }) : pino({}, { write: heard });
  const options = { host: '127.0.0.1', installationId: store.installationId, southbound: ['tcp:10.0.0.1:6642'] };
  await gateway.open(region, { ...options, port: 0, log });
  t.after(async () => {
    await gateway.close();
    await region.close();
  });
  const address = `127.0.0.1:${gateway.port}`;
  const authority = region.state.get('host-authority', 'host-authority')?.certificate ?? '';
  const invite = async (name: string, expires = '2999-01-01T00:00:00Z'): Promise<string> => {
    const token = `token-of-${name}-${Math.random()}`;
    await region.submit(
      { kind: 'invite-host', name: name as HostName, tokenHash: tokenHashOf(token), expires },
      operator,
    );
    return token;
  };
  const admit = async (name: string): Promise<Credentials> => {
    const { key, certificate } = await join(address, { token: await invite(name), authority, key: makeKey() });
    return { key, certificate, authority };
  };
  /** A connection that has said hello. */
  const connected = async (credentials: Credentials): Promise<LinkToRegion> => {
    const link = linkOn(await dial(address, credentials));
    await link.call('hello', { attachments: [] });
    return link;
  };
  return { region, gateway, address, authority, invite, admit, connected, installationId: store.installationId };
}
export const linkOn = (socket: TLSSocket): LinkToRegion =>
  new LinkToRegion({ socket, serve: async () => ({}), onEnd: () => {} });
/** Whether the other end ends it. */
export const isCut = (socket: TLSSocket): Promise<true> =>
  new Promise((done) => {
    socket.once('close', () => done(true));
    socket.resume();
  });
export async function until(ready: () => boolean): Promise<void> {
  for (const end = performance.now() + 10_000; !ready(); await pause(10)) {
    assert.ok(performance.now() < end, `gave up waiting until ${ready}`);
  }
}

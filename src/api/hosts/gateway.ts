/**
 * Where the hosts of a region call in: TLS on both sides, certificates of the region's own authority. Who has none may
 * only ask to join, with a token that works once. A host speaks for itself alone: its name is that of its certificate,
 * and its certificate that which the store knows it by. To the driver this is the hosts (`Hosts`).
 */
import { createHash, createPublicKey, type KeyObject, verify, type X509Certificate } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import { type AttachmentFact, DriverError } from '../../dataplane/driver.ts';
import { type LinkOptions, LinkToHost } from '../../dataplane/ovn/host-link.ts';
import type { Params, RegionCalls, Result } from '../../dataplane/ovn/host-wire.ts';
import type { HostReading, Hosts, MeterRequest } from '../../dataplane/ovn/hosts.ts';
import { type PlainReading, readingFrom } from '../../dataplane/wire.ts';
import type { View } from '../../explain/plane-view.ts';
import { isRefusal, type Refusal, refuse } from '../../model/errors.ts';
import { type HostName, isHostName, isId, type PortId } from '../../model/ids.ts';
import type { InterfaceSpec } from '../../model/network-spec.ts';
import type { Change, Host } from '../../model/resources.ts';
import type { StateView } from '../../model/state.ts';
import type { CommandContext, Outcome } from '../../region/service.ts';
import type { Command } from '../../rules/commands.ts';
import { ListenError } from '../address.ts';
import { type Authority, certifyHost, makeAuthority, makeGateway } from './certificates.ts';
import { Roster } from './roster.ts';

/** What the gateway needs of the region. */
export interface HostsRegion {
  readonly state: StateView;
  readonly view: Pick<View, 'interface'>;
  secretOf(keyId: string): string | undefined;
  submit(command: Command, context: CommandContext): Promise<Outcome>;
  onChanges(listener: (changes: readonly Change[]) => void): void;
}
export interface GatewayOptions {
  readonly host: string;
  readonly port: number;
  readonly installationId: string;
  /** The southbound database as hosts reach it. */
  readonly southbound: readonly string[];
  readonly log: Logger;
}

interface Open {
  readonly region: HostsRegion;
  readonly options: GatewayOptions;
  readonly server: Server;
}

/** Connections that have not said who they are yet, and how long one may take to, in milliseconds. */
const mostPending = 128;
const greetPatience = 10_000;
/** Of those that have not said who they are, so many from one address: no address keeps the others out. */
const mostPendingOfOne = 16;
/** Without a certificate: a line of a request to join. */
const longestOfStranger = 4096;
const mostConnections = 4096;
const callPatience = 15_000;
const meterPatience = 60_000;
/** Between the word that a host may attach an interface and its word that it has, in milliseconds. */
const reservation = 30_000;

const authorityId = 'host-authority';
/** What the registry knows a host's key by. */
export const keyHashOf = (key: KeyObject): string =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex');
export const tokenHashOf = (token: string): string => createHash('sha256').update(token).digest('hex');

const refused = (refusal: Refusal, code: DriverError['code'] = 'not-supported'): DriverError =>
  new DriverError(code, `${refusal.text} ${refusal.remedy}`);
const hostNameIn = (certificate: X509Certificate): HostName | null => {
  const name = /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? '';
  return isHostName(name) ? name : null;
};

export class HostGateway implements Hosts {
  readonly #roster: Roster;
  readonly #connectedListeners: ((host: string) => void)[] = [];
  readonly #attachmentListeners: ((fact: AttachmentFact) => void)[] = [];
  readonly #detachedListeners: ((portId: PortId) => void)[] = [];
  readonly #reserved = new Map<PortId, { readonly host: HostName; readonly until: number }>();
  readonly #pending = new Set<string>();
  /** Connections with a certificate, and the key that each of them has shown. */
  readonly #shown = new Map<TLSSocket, { readonly host: HostName; readonly keyHash: string }>();
  readonly #sockets = new Set<TLSSocket>();
  #of: Open | null = null;

  constructor() {
    this.#roster = new Roster({
      changed: (fact) => {
        for (const listener of this.#attachmentListeners) listener(fact);
      },
      detached: (portId) => {
        for (const listener of this.#detachedListeners) listener(portId);
      },
    });
  }

  get roster(): Pick<Roster, 'connected' | 'since' | 'of' | 'place'> {
    return this.#roster;
  }

  /** Begins to listen. @throws ListenError */
  async open(region: HostsRegion, options: GatewayOptions): Promise<void> {
    const authority = await this.#authority(region);
    const { certificate, privateKey } = makeGateway(authority);
    const server = createServer(
      {
        cert: certificate,
        key: privateKey,
        ca: authority.certificate,
        minVersion: 'TLSv1.3',
        requestCert: true,
        // Who has none may ask to join; one that does not hold is turned away below.
        rejectUnauthorized: false,
        handshakeTimeout: greetPatience,
      },
      (socket) => this.#welcome(socket),
    );
    server.maxConnections = mostConnections;
    server.on('connection', (socket) => {
      const who = placeOf(socket);
      const ofOne = [...this.#pending].filter((one) => one.startsWith(`${socket.remoteAddress} `)).length;
      if (this.#pending.size >= mostPending || ofOne >= mostPendingOfOne) {
        socket.destroy();
        return;
      }
      this.#pending.add(who);
      socket.on('close', () => this.#pending.delete(who));
    });
    server.on('tlsClientError', () => {});
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: options.host, port: options.port }, resolve);
    }).catch((error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'something else listens there' : error.message;
      throw new ListenError(
        `Hosts cannot be heard on ${options.host}:${options.port}: ${why}.`,
        'Choose another address.',
      );
    });
    this.#of = { region, options, server };
    region.onChanges((changes) => this.#look(changes));
  }

  /** The port that was taken. */
  get port(): number {
    return (this.#of?.server.address() as AddressInfo | null)?.port ?? 0;
  }

  /** Made when there is none yet; of several servers that do so one wins. */
  async #authority(region: HostsRegion): Promise<Authority> {
    if (region.state.get('host-authority', authorityId) === undefined) {
      const outcome = await region.submit(
        { kind: 'create-host-authority', ...makeAuthority() },
        { principal: { kind: 'operator' }, requestId: 'start' },
      );
      if (isRefusal(outcome)) throw new ListenError(outcome.text, outcome.remedy);
    }
    const certificate = region.state.get('host-authority', authorityId)?.certificate;
    const privateKey = region.secretOf(authorityId);
    if (certificate === undefined || privateKey === undefined) {
      throw new ListenError('The store has no authority for hosts.', 'Restore it from a backup.');
    }
    return { certificate, privateKey };
  }

  #open(): Open {
    if (this.#of === null) throw new DriverError('unavailable', 'the gateway of the hosts is not open');
    return this.#of;
  }

  #welcome(socket: TLSSocket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setNoDelay(true);
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) {
      this.#stranger(socket);
      return;
    }
    const host = socket.authorized ? hostNameIn(certificate) : null;
    const keyHash = keyHashOf(certificate.publicKey);
    if (host === null || !this.#isKeyOf(host, keyHash)) {
      const { log } = this.#open().options;
      log.warn(
        { from: socket.remoteAddress, subject: certificate.subject },
        'a host that is not known was turned away',
      );
      socket.destroy();
      return;
    }
    this.#shown.set(socket, { host, keyHash });
    socket.on('close', () => this.#shown.delete(socket));
    this.#greet(socket, host, keyHash);
  }
  #isKeyOf(host: HostName, keyHash: string): boolean {
    const known = this.#open().region.state.get('host', host);
    return known !== undefined && known.state !== 'invited' && known.keyHash === keyHash;
  }

  /** Ends a connection that does not come to the point. @returns to be called when it has */
  #impatient(socket: TLSSocket): () => void {
    const timer = setTimeout(() => socket.destroy(), greetPatience);
    socket.on('close', () => clearTimeout(timer));
    return () => {
      clearTimeout(timer);
      this.#pending.delete(placeOf(socket));
    };
  }

  /** Somebody without a certificate: one question, one answer. */
  #stranger(socket: TLSSocket): void {
    this.#impatient(socket);
    const link = new LinkToHost({
      socket,
      longest: longestOfStranger,
      onEnd: () => {},
      serve: async (name, params) => {
        if (name !== 'join') throw new DriverError('not-supported', 'a certificate is needed for that');
        const answer = await this.#join(params as Params<RegionCalls, 'join'>, socket.remoteAddress ?? '');
        setTimeout(() => link.close('it has joined'), 1000).unref();
        return answer;
      },
    });
  }

  async #join(
    { token, publicKey, proof }: Params<RegionCalls, 'join'>,
    from: string,
  ): Promise<Result<RegionCalls, 'join'>> {
    const { region, options } = this.#open();
    const key = provenKey(publicKey, token, proof);
    if (key === null) throw new DriverError('not-supported', 'the key of the host is not a P-256 key, or not its own');
    const outcome = await region.submit(
      { kind: 'admit-host', tokenHash: tokenHashOf(token), keyHash: keyHashOf(key) },
      { principal: { kind: 'operator' }, requestId: `join from ${from}` },
    );
    if (isRefusal(outcome)) {
      options.log.warn({ from, code: outcome.code }, 'a host may not join');
      throw refused(outcome);
    }
    const host = outcome.result.id ?? '';
    options.log.info({ host, from }, 'a host has joined');
    const certificate = certifyHost(await this.#authority(region), host, key);
    return { host, installationId: options.installationId, certificate, southbound: [...options.southbound] };
  }

  #greet(socket: TLSSocket, host: HostName, keyHash: string): void {
    const { installationId, log } = this.#open().options;
    const greeted = this.#impatient(socket);
    const options: LinkOptions = {
      socket,
      onEnd: (why) => {
        if (this.#roster.disconnect(host, link)) log.warn({ host, why }, 'a host is away');
      },
      serve: async (name, params) => {
        // With every word: the host may have been removed, or its name given to another machine, since it called.
        if (!this.#isKeyOf(host, keyHash)) {
          socket.destroy();
          throw new DriverError('not-supported', `this machine is not host ${host} any more`);
        }
        if (name !== 'hello' && this.#roster.link(host) !== link) {
          throw new DriverError('unavailable', 'hello comes first');
        }
        switch (name) {
          case 'hello': {
            greeted();
            const { attachments } = params as Params<RegionCalls, 'hello'>;
            this.#roster.connect(host, link, attachments.map(factFrom));
            for (const { portId } of attachments) this.#settle(portIn(portId));
            log.info({ host, from: socket.remoteAddress, workloads: attachments.length }, 'a host is connected');
            // After the answer, so that the host knows that it is heard before it is asked.
            setImmediate(() => {
              for (const listener of this.#connectedListeners) listener(host);
            });
            return { installationId };
          }
          case 'attachment': {
            const { portId, fact } = params as Params<RegionCalls, 'attachment'>;
            const of = portIn(portId);
            if (fact !== null && fact.portId !== portId) {
              throw new DriverError('unknown-interface', `what is told of ${portId} is of another interface`);
            }
            if (this.#reserved.get(of)?.host === host) this.#reserved.delete(of);
            this.#roster.tell(host, of, fact === null ? null : factFrom(fact));
            this.#settle(of);
            return {};
          }
          case 'interface':
            return { spec: await this.#grant(host, portIn((params as Params<RegionCalls, 'interface'>).portId)) };
          default:
            throw new DriverError('not-supported', `a host that has joined does not ask for '${name}'`);
        }
      },
    };
    const link: LinkToHost = new LinkToHost(options);
  }

  /** The interface that a host is about to attach. @throws DriverError saying why it may not */
  async #grant(host: HostName, portId: PortId): Promise<InterfaceSpec> {
    const { region } = this.#open();
    if (region.state.get('host', host)?.state !== 'active') throw refused(refuse('host-draining', { name: host }));
    const there = this.#roster.place(portId);
    if (there !== undefined && there.host !== host) {
      if (there.state === 'attached') {
        throw refused(refuse('attached-elsewhere', { id: portId, host: there.host }), 'already-attached');
      }
      // What has vanished there would be in the way of what comes here.
      await this.release(there.host, portId).catch(() => {});
    }
    const spec = region.view.interface(portId)?.spec;
    if (spec === undefined) throw new DriverError('unknown-interface', `no interface ${portId} in the network`);
    const now = performance.now();
    const other = this.#reserved.get(portId);
    if (other !== undefined && other.host !== host && other.until > now) {
      throw refused(refuse('attached-elsewhere', { id: portId, host: other.host }), 'already-attached');
    }
    for (const [id, { until }] of this.#reserved) if (until <= now) this.#reserved.delete(id);
    this.#reserved.set(portId, { host, until: now + reservation });
    return spec;
  }

  /**
   * Two hosts that asked two servers at the same moment may both have been told that they may. The one whose name comes first
   * keeps the interface: the same on every server, whatever it heard first.
   */
  #settle(portId: PortId): void {
    const [keeper, ...others] = this.#roster
      .all()
      // What one that is away told last may no longer be so; it is settled when it is back.
      .filter((one) => one.portId === portId && one.state === 'attached' && this.#roster.connected.has(one.host))
      .map(({ host }) => host)
      .sort();
    for (const host of others) {
      this.#open().options.log.warn({ portId, keeper, host }, 'an interface is attached on two hosts');
      this.release(host, portId).catch(() => {}); // it has let go already, or is away and will be asked when it is back
    }
  }

  /** A host that was removed, or has another key now, is cut at once. */
  #look(changes: readonly Change[]): void {
    for (const change of changes) {
      const before = change.op === 'delete' && change.kind === 'host' ? change.id : null;
      const now: Host | null = change.op === 'put' && change.resource.kind === 'host' ? change.resource : null;
      const host = now?.id ?? before ?? '';
      if (!isHostName(host)) continue;
      const gone = now === null || now.state === 'invited';
      // Those as well that have not said a word yet.
      for (const [socket, shown] of this.#shown) {
        if (shown.host === host && (gone || shown.keyHash !== now.keyHash)) socket.destroy();
      }
      if (gone) {
        this.#roster.link(host)?.close('it was removed');
        this.#roster.forget(host);
      }
    }
  }

  // What the driver asks.

  #link(host: string): LinkToHost {
    const link = isHostName(host) ? this.#roster.link(host) : undefined;
    if (link === undefined) throw new DriverError('unavailable', `the agent of host ${host} is not connected`);
    return link;
  }
  connected(): ReadonlySet<string> {
    return this.#roster.connected;
  }
  async fence(host: string, number: number): Promise<number> {
    const { proven } = await this.#link(host).call('fence', { number });
    return proven;
  }
  async meter(host: string, { epoch, halves, booked }: MeterRequest): Promise<HostReading> {
    const params = { epoch, halves: halves.map(([id, cookie]): [string, string] => [id, cookie]), booked: [...booked] };
    const answer: unknown = await this.#link(host).call('meter', params, meterPatience);
    // Checked against the schema of the answer.
    return readingFrom(answer as PlainReading);
  }
  attachments(): readonly (AttachmentFact & { readonly host: string })[] {
    return this.#roster.all();
  }
  async follow(host: string, spec: InterfaceSpec): Promise<void> {
    const plain = { ...spec, addresses: spec.addresses.map((one) => ({ ...one })) };
    await this.#link(host).call('follow', { spec: plain }, callPatience);
  }
  async release(host: string, portId: PortId): Promise<void> {
    await this.#link(host).call('release', { portId }, callPatience);
  }
  onConnected(listener: (host: string) => void): void {
    this.#connectedListeners.push(listener);
  }
  onAttachment(listener: (fact: AttachmentFact) => void): void {
    this.#attachmentListeners.push(listener);
  }
  onDetached(listener: (portId: PortId) => void): void {
    this.#detachedListeners.push(listener);
  }

  async close(): Promise<void> {
    if (this.#of === null) return;
    const { server } = this.#of;
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    this.#of = null;
  }
}

const placeOf = ({
  remoteAddress,
  remotePort,
}: {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}): string => `${remoteAddress} ${remotePort}`;

/** The key, if it is of the right kind and its owner has signed the token. */
function provenKey(text: string, token: string, proof: string): KeyObject | null {
  try {
    const key = createPublicKey(text);
    if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') return null;
    return verify('sha256', Buffer.from(token), key, Buffer.from(proof, 'base64')) ? key : null;
  } catch {
    return null;
  }
}

function portIn(text: string): PortId {
  if (!isId('interface', text)) throw new DriverError('unknown-interface', `'${text}' is not an interface's id`);
  return text;
}
const factFrom = (fact: Params<RegionCalls, 'hello'>['attachments'][number]): AttachmentFact => ({
  ...fact,
  portId: portIn(fact.portId),
});

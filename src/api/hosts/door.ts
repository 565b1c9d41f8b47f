/**
 * The door at which hosts call: TLS on both sides, certificates of the region's own authority. Who says nothing keeps
 * nobody else out; who shows a certificate has that by which the store knows the host. What is said then is not heard here.
 */
import { createHash, type KeyObject, type X509Certificate } from 'node:crypto';
import type { AddressInfo, Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import { type HostName, isHostName } from '../../model/ids.ts';
import { ListenError } from '../address.ts';
import { type Authority, makeGateway } from './certificates.ts';
import { Crowd } from './crowd.ts';
import { sourceOf } from './source.ts';
import { SparingLog } from './sparing-log.ts';

/** Connections that have not said who they are yet, and how long one may take to, in milliseconds. */
const mostPending = 128;
const greetPatience = 10_000;
/** Of those that have not said who they are, so many from one source. */
const mostPendingOfOne = 16;
/** Connections with the certificate of a host that have not come to the point, in all and of one host. */
const mostShown = 1024;
const mostShownOfOne = 4;
const mostConnections = 4096;

/** Somebody with the certificate of a host. */
export interface Caller {
  readonly socket: TLSSocket;
  readonly host: HostName;
  readonly keyHash: string;
  /** To be called when it has come to the point; else it is cut off. */
  readonly greeted: () => void;
}
export interface DoorOptions {
  readonly host: string;
  readonly port: number;
  readonly authority: Authority;
  readonly installationId: string;
  readonly log: Logger;
  readonly isKeyOf: (host: HostName, keyHash: string) => boolean;
  readonly onHost: (caller: Caller) => void;
  /** Somebody without a certificate. */
  readonly onStranger: (socket: TLSSocket) => void;
}

/** What the registry knows a host's key by. */
export const keyHashOf = (key: KeyObject): string =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex');
const hostNameIn = (certificate: X509Certificate): HostName | null => {
  const name = /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? '';
  return isHostName(name) ? name : null;
};
const placeOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;

export class Door {
  readonly #options: DoorOptions;
  readonly #server: Server;
  readonly #log: SparingLog;
  /** Those that have not said who they are, by where they come from; and by their places. */
  readonly #pending = new Crowd<Socket>(mostPending, mostPendingOfOne);
  readonly #places = new Map<string, Socket>();
  /** Those with a host's certificate that have not come to the point, by host. */
  readonly #mute = new Crowd<TLSSocket>(mostShown, mostShownOfOne);
  /** Connections with a certificate, and the key that each of them has shown. */
  readonly #shown = new Map<TLSSocket, { readonly host: HostName; readonly keyHash: string }>();
  readonly #sockets = new Set<TLSSocket>();

  private constructor(options: DoorOptions) {
    this.#options = options;
    this.#log = new SparingLog(options.log);
    const { certificate, privateKey } = makeGateway(options.authority, options.installationId);
    this.#server = createServer(
      {
        cert: certificate,
        key: privateKey,
        ca: options.authority.certificate,
        minVersion: 'TLSv1.3',
        requestCert: true,
        // Who has none may ask to join; one that does not hold is turned away below.
        rejectUnauthorized: false,
        handshakeTimeout: greetPatience,
      },
      (socket) => this.#welcome(socket),
    );
    this.#server.maxConnections = mostConnections;
    this.#server.on('connection', (socket) => this.#count(socket));
    this.#server.on('tlsClientError', () => {});
  }

  /** Begins to listen. @throws ListenError */
  static async open(options: DoorOptions): Promise<Door> {
    const door = new Door(options);
    const { host, port } = options;
    await new Promise<void>((resolve, reject) => {
      door.#server.once('error', reject);
      door.#server.listen({ host, port }, resolve);
    }).catch((error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'something else listens there' : error.message;
      throw new ListenError(`Hosts cannot be heard on ${host}:${port}: ${why}.`, 'Choose another address.');
    });
    return door;
  }

  /** The port that was taken. */
  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? 0;
  }

  #count(socket: Socket): void {
    const [place, source] = [placeOf(socket), sourceOf(socket.remoteAddress)];
    this.#places.set(place, socket);
    socket.on('close', () => {
      this.#pending.leave(source, socket);
      if (this.#places.get(place) === socket) this.#places.delete(place);
    });
    this.#pending.enter(source, socket);
  }

  #welcome(socket: TLSSocket): void {
    const { isKeyOf, onHost, onStranger } = this.#options;
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setNoDelay(true);
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) {
      this.#impatient(socket);
      onStranger(socket);
      return;
    }
    const host = socket.authorized ? hostNameIn(certificate) : null;
    const keyHash = keyHashOf(certificate.publicKey);
    if (host === null || !isKeyOf(host, keyHash)) {
      const { subject } = certificate;
      this.#log.warn({ from: socket.remoteAddress, subject }, 'a host that is not known was turned away');
      socket.destroy();
      return;
    }
    const raw = this.#places.get(placeOf(socket));
    if (raw !== undefined) this.#pending.leave(sourceOf(socket.remoteAddress), raw);
    this.#shown.set(socket, { host, keyHash });
    this.#mute.enter(host, socket);
    const calm = this.#impatient(socket);
    const greeted = (): void => {
      calm();
      this.#mute.leave(host, socket);
    };
    socket.on('close', () => {
      this.#shown.delete(socket);
      this.#mute.leave(host, socket);
    });
    onHost({ socket, host, keyHash, greeted });
  }

  /** Ends a connection that does not come to the point. @returns to be called when it has */
  #impatient(socket: TLSSocket): () => void {
    const timer = setTimeout(() => socket.destroy(), greetPatience);
    socket.on('close', () => clearTimeout(timer));
    return () => clearTimeout(timer);
  }

  /** Ends the connections of a host, also those that have not said a word yet. @param but the key that may stay */
  cut(host: HostName, but: string | null): void {
    for (const [socket, shown] of this.#shown) {
      if (shown.host === host && shown.keyHash !== but) socket.destroy();
    }
  }

  async close(): Promise<void> {
    for (const socket of [...this.#sockets, ...this.#places.values()]) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

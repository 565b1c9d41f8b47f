/**
 * Keeps one connection to one API server of the region: dials, says hello, dials again when it ends, ever less often and
 * never in step with the other hosts. The server is who the region's authority says it is, or nobody.
 */
import { connect, type TLSSocket } from 'node:tls';
import { type LinkOptions, LinkToRegion } from '../dataplane/ovn/host-link.ts';
import { gatewayName, type Params, type RegionCalls } from '../dataplane/ovn/host-wire.ts';

export interface Credentials {
  readonly key: string;
  readonly certificate: string;
  readonly authority: string;
}
export interface CallerOptions {
  /** `HOST:PORT`. */
  readonly address: string;
  readonly credentials: Credentials;
  readonly installationId: string;
  readonly hello: () => Params<RegionCalls, 'hello'>;
  readonly serve: LinkOptions['serve'];
  readonly onChange: (state: 'connected' | 'away', why: string) => void;
}

/** Pauses between two tries, in milliseconds. */
const pauses = { first: 250, longest: 5_000 } as const;
const connectPatience = 5_000;
const helloPatience = 10_000;

export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const form = /^(?:\[([^\]]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(address);
  return { host: form?.[1] ?? form?.[2] ?? '', port: Number(form?.[3] ?? 0) };
}

/** @throws Error when nobody answers, or somebody else does. @param credentials without: nothing is shown, and nobody is believed */
export function dial(
  address: string,
  credentials: Partial<Credentials> & { readonly believe?: 'anybody' },
): Promise<TLSSocket> {
  const { key, certificate, authority, believe } = credentials;
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...splitAddress(address),
      servername: gatewayName,
      minVersion: 'TLSv1.3',
      rejectUnauthorized: believe !== 'anybody',
      ...(authority === undefined ? {} : { ca: authority }),
      ...(key === undefined || certificate === undefined ? {} : { key, cert: certificate }),
    });
    socket.setTimeout(connectPatience, () => socket.destroy(new Error(`no answer from ${address}`)));
    socket.once('secureConnect', () => {
      socket.setTimeout(0);
      socket.setNoDelay(true);
      socket.off('error', reject);
      socket.on('error', () => {});
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

export class RegionCaller {
  readonly #options: CallerOptions;
  #link: LinkToRegion | null = null;
  #pause: number = pauses.first;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #told = '';

  constructor(options: CallerOptions) {
    this.#options = options;
    void this.#dial();
  }

  get address(): string {
    return this.#options.address;
  }
  /** null while the server is away. */
  get link(): LinkToRegion | null {
    return this.#link;
  }

  async #dial(): Promise<void> {
    const { address, credentials, serve, hello, installationId } = this.#options;
    let link: LinkToRegion | undefined;
    try {
      const socket = await dial(address, credentials);
      if (this.#closed) {
        socket.destroy();
        return;
      }
      link = new LinkToRegion({ socket, serve, onEnd: (why) => this.#away(why) });
      const said = link.call('hello', hello(), helloPatience);
      // From its sending on: what changes until the answer is there is told after it, and in no list.
      this.#link = link;
      const { installationId: theirs } = await said;
      if (theirs !== installationId) link.close(`the region is installation ${theirs}, not ${installationId}`);
      if (link.closed) return;
      this.#pause = pauses.first;
      this.#tell('connected', '');
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (link === undefined) this.#away(why);
      else link.close(why);
    }
  }

  #away(why: string): void {
    this.#link = null;
    if (this.#closed) return;
    this.#tell('away', why);
    // Thousands of hosts lose a server at the same moment.
    const pause = this.#pause * (0.5 + Math.random());
    this.#pause = Math.min(this.#pause * 2, pauses.longest);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#dial(), pause);
  }
  #tell(state: 'connected' | 'away', why: string): void {
    const text = `${state} ${why}`;
    if (this.#told === text) return;
    this.#told = text;
    this.#options.onChange(state, why);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#link?.close('the agent is stopping');
  }
}

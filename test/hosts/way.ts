/** A way between two ends that a test can cut, or close for what comes back. Sees bytes alone. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { Ending } from '../wire/lab.ts';

export class Way {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [near: Socket, far: Socket]>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** To a port of this machine. */
  static async open(t: Ending, port: number): Promise<Way> {
    const way = new Way(createServer((near) => way.#carry(near, connect({ host: '127.0.0.1', port }))));
    way.#server.listen(0, '127.0.0.1');
    await once(way.#server, 'listening');
    t.after(() => {
      way.#server.close();
      way.cut();
    });
    return way;
  }
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #carry(near: Socket, far: Socket): void {
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    near.pipe(far).pipe(near);
    for (const end of pair) {
      end.on('error', () => {});
      end.on('close', () => {
        for (const other of pair) other.destroy();
        this.#pairs.delete(pair);
      });
    }
  }

  /** Ends what there is; whoever comes later gets through. */
  cut(): void {
    for (const pair of this.#pairs) for (const end of pair) end.destroy();
  }
  /** What the far end sends waits here. */
  hold(): void {
    for (const [near, far] of this.#pairs) far.unpipe(near);
  }
  release(): void {
    for (const [near, far] of this.#pairs) far.pipe(near);
  }
}

/** One connection of a host, from its hello on: what it tells, and what it asks for. It speaks for itself alone. */
import type { Logger } from 'pino';
import { type AttachmentFact, DriverError } from '../../dataplane/driver.ts';
import { LinkToHost } from '../../dataplane/ovn/host-link.ts';
import { mostWorkloads, type Params, type RegionCalls } from '../../dataplane/ovn/host-wire.ts';
import { type HostName, isId, type PortId } from '../../model/ids.ts';
import type { Caller } from './door.ts';
import type { Placement } from './placement.ts';
import type { Roster } from './roster.ts';
import type { SparingLog } from './sparing-log.ts';

export interface SessionOptions {
  readonly installationId: string;
  readonly roster: Roster;
  readonly placement: Placement;
  readonly isKeyOf: (host: HostName, keyHash: string) => boolean;
  readonly onConnected: (host: HostName) => void;
  readonly log: Logger;
  readonly refusals: SparingLog;
}

export class Session {
  readonly #caller: Caller;
  readonly #options: SessionOptions;
  readonly #link: LinkToHost;
  #heard = false;

  constructor(caller: Caller, options: SessionOptions) {
    this.#caller = caller;
    this.#options = options;
    const { socket, host } = caller;
    this.#link = new LinkToHost({
      socket,
      serve: (name, params) => this.#serve(name, params),
      onEnd: (why) => {
        options.placement.ended(this);
        if (options.roster.disconnect(host, this.#link)) options.log.warn({ host, why }, 'a host is away');
        else if (!this.#heard) options.refusals.warn({ host, why }, 'a host has ended before it said hello');
      },
    });
  }

  async #serve(name: string, params: unknown): Promise<object> {
    const { socket, host, keyHash } = this.#caller;
    const { isKeyOf, roster, placement } = this.#options;
    // With every word: the host may have been removed, or its name given to another machine, since it called.
    if (!isKeyOf(host, keyHash)) {
      socket.destroy();
      throw new DriverError('not-supported', `this machine is not host ${host} any more`);
    }
    if (name !== 'hello' && roster.link(host) !== this.#link) {
      throw new DriverError('unavailable', 'hello comes first');
    }
    switch (name) {
      case 'hello':
        return this.#hello(params as Params<RegionCalls, 'hello'>);
      case 'attachment':
        return this.#attachment(params as Params<RegionCalls, 'attachment'>);
      case 'interface':
        return { spec: await placement.grant(host, portIn((params as Params<RegionCalls, 'interface'>).portId), this) };
      default:
        throw new DriverError('not-supported', `a host that has joined does not ask for '${name}'`);
    }
  }

  #hello({ attachments }: Params<RegionCalls, 'hello'>): object {
    const { socket, host, greeted } = this.#caller;
    const { installationId, roster, placement, onConnected, log } = this.#options;
    greeted();
    this.#heard = true;
    const facts = attachments.map(factFrom);
    roster.connect(host, this.#link, facts);
    placement.settle(new Set(facts.map(({ portId }) => portId)));
    log.info({ host, from: socket.remoteAddress, workloads: attachments.length }, 'a host is connected');
    // After the answer, so that the host knows that it is heard before it is asked.
    setImmediate(() => onConnected(host));
    return { installationId };
  }

  #attachment({ portId, fact }: Params<RegionCalls, 'attachment'>): object {
    const { host } = this.#caller;
    const { roster, placement } = this.#options;
    const of = portIn(portId);
    if (fact !== null && fact.portId !== portId) {
      throw new DriverError('unknown-interface', `what is told of ${portId} is of another interface`);
    }
    if (fact !== null && roster.isFull(host, of)) {
      const why = `it tells of more than ${mostWorkloads} workloads`;
      this.#link.close(why);
      throw new DriverError('does-not-fit', why);
    }
    placement.told(host, of);
    roster.tell(host, of, fact === null ? null : factFrom(fact));
    placement.settle([of]);
    return {};
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

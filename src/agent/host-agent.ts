/**
 * The agent of a host of OVN's: what root asks for at its door, and what the region asks for over the network, done on
 * this host. Carries on when the region is gone: what is attached stays so, and what the region missed it is told when it
 * is back.
 */
import type { Logger } from 'pino';
import { type AttachmentFact, type AttachRequest, DriverError, type ProbeRow } from '../dataplane/driver.ts';
import type { OvsHost } from '../dataplane/ovn/host.ts';
import type { HostCalls, Params, RegionCalls } from '../dataplane/ovn/host-wire.ts';
import type { MeterRequest } from '../dataplane/ovn/hosts.ts';
import { checkSpec } from '../dataplane/spec-check.ts';
import { type Answer, type Method, plainReading } from '../dataplane/wire.ts';
import { isId, type PortId, type VpcId } from '../model/ids.ts';
import type { InterfaceSpec } from '../model/network-spec.ts';
import { type Credentials, RegionCaller } from './region-caller.ts';
import { Places, Turns } from './turns.ts';

export interface HostAgentOptions {
  readonly name: string;
  readonly installationId: string;
  readonly regions: readonly string[];
  readonly credentials: Credentials;
  readonly host: Pick<
    OvsHost,
    | 'attach'
    | 'attachments'
    | 'carried'
    | 'close'
    | 'detach'
    | 'fence'
    | 'follow'
    | 'meter'
    | 'onAttachment'
    | 'onDetached'
  >;
  readonly log: Logger;
  readonly onEvent: (event: Extract<Answer, { event: string }>) => void;
  /** What this host offers, for `isthmus doctor`. */
  readonly probe: () => Promise<readonly ProbeRow[]>;
}

const askPatience = 10_000;
/** Interfaces that the region is asked for at once: it answers 64 calls of a connection at a time. */
const mostAsking = 16;
/** How long OVN may take until an interface is carried, in milliseconds. */
const carryPatience = 10_000;

type PlainFact = Params<RegionCalls, 'hello'>['attachments'][number];
type PlainSpec = Params<HostCalls, 'follow'>['spec'];

export class HostAgent {
  readonly #options: HostAgentOptions;
  readonly #callers: readonly RegionCaller[];
  /** One change of an interface's attachment after the other. One that waits for the region holds up no other. */
  readonly #turns = new Turns();
  readonly #asking = new Places(mostAsking);
  /** Why the last configuration could not be proven; '': it could. */
  #unproven = '';

  constructor(options: HostAgentOptions) {
    this.#options = options;
    const { host, regions, credentials, installationId, log } = options;
    host.onAttachment((fact) => this.#tell(fact.portId, fact));
    host.onDetached((portId) => this.#tell(portId, null));
    this.#callers = regions.map(
      (address) =>
        new RegionCaller({
          address,
          credentials,
          installationId,
          hello: () => ({ attachments: host.attachments().map(plainFact) }),
          serve: (name, params) => this.#serve(name, params),
          onChange: (state, why) => log.info({ region: address, ...(why === '' ? {} : { why }) }, state),
        }),
    );
  }

  #tell(portId: PortId, fact: AttachmentFact | null): void {
    this.#options.log.info({ portId, state: fact?.state ?? 'detached' }, 'attachment');
    this.#options.onEvent({ event: 'attachment', data: { portId, fact } });
    this.#inform(portId, fact);
  }
  #inform(portId: PortId, fact: AttachmentFact | null): void {
    const plain = fact === null ? null : plainFact(fact);
    // Whoever does not hear it now is told everything when he is back.
    for (const { link } of this.#callers) {
      link?.call('attachment', { portId, fact: plain }, askPatience).catch((error: Error) => link.close(error.message));
    }
  }

  /** What the region asks. */
  async #serve(name: string, params: unknown): Promise<object> {
    const { host } = this.#options;
    switch (name) {
      case 'fence': {
        const { number } = params as Params<HostCalls, 'fence'>;
        return { proven: await this.#fence(number) };
      }
      case 'meter':
        // Checked against the schema of the call.
        return plainReading(await host.meter(params as MeterRequest));
      case 'follow': {
        const spec = specFrom((params as Params<HostCalls, 'follow'>).spec);
        await this.#turns.take(spec.id, () => host.follow(spec));
        return {};
      }
      case 'release': {
        const portId = portIn((params as Params<HostCalls, 'release'>).portId);
        await this.#turns.take(portId, () => host.detach(portId));
        return {};
      }
      default:
        throw new DriverError('not-supported', `the agent of a host has no call '${name}'`);
    }
  }

  /** What keeps it from proving is said here too, once for each other reason. */
  async #fence(number: number): Promise<number> {
    const { host, log } = this.#options;
    try {
      const proven = await host.fence(number);
      if (this.#unproven !== '') log.info({ proven }, 'a configuration is proven again');
      this.#unproven = '';
      return proven;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (why !== this.#unproven) log.warn({ number, why }, 'a configuration cannot be proven');
      this.#unproven = why;
      throw error;
    }
  }

  /** What root asks at the door. */
  handle = async (method: Method, params: unknown): Promise<unknown> => {
    switch (method) {
      case 'attach': {
        const request = params as AttachRequest;
        const fact = await this.#turns.take(request.portId, () => this.#attach(request));
        if (!(await this.#options.host.carried(fact.portId, carryPatience))) {
          // It will be, once OVN is well: the device is there, and the region knows of it.
          const { portId } = fact;
          this.#options.log.warn({ portId }, 'OVN does not carry it yet: is ovn-controller connected?');
        }
        return fact;
      }
      case 'detach': {
        const portId = portIn((params as { readonly portId: string }).portId);
        return this.#turns.take(portId, () => this.#options.host.detach(portId));
      }
      case 'attachments':
        return this.#options.host.attachments();
      case 'probe':
        return this.#probe();
      default:
        throw new DriverError('not-supported', `the agent of a host of OVN's has no ${method}: ask the region`);
    }
  };

  async #attach(request: AttachRequest): Promise<AttachmentFact> {
    const { host } = this.#options;
    const portId = portIn(request.portId);
    const there = this.#there(portId);
    if (there?.state === 'attached') {
      throw new DriverError('already-attached', `${portId} is attached to ${there.target}`);
    }
    try {
      const spec = await this.#asking.within(() => this.#interface(portId));
      return await host.attach(request, spec).catch((error: unknown) => {
        throw error instanceof DriverError && error.code === 'unavailable' ? notCarried(error) : error;
      });
    } catch (error) {
      // The region keeps an interface for who was told that he may attach it.
      this.#inform(portId, this.#there(portId) ?? null);
      throw error;
    }
  }
  #there(portId: PortId): AttachmentFact | undefined {
    return this.#options.host.attachments().find((fact) => fact.portId === portId);
  }

  /** Asks the servers in turn. @throws DriverError as one of them refuses, or when none answers */
  async #interface(portId: PortId): Promise<InterfaceSpec> {
    let last = new DriverError(
      'unavailable',
      'no server of the region can be reached: nobody can say what the interface is',
    );
    for (const { link } of this.#callers) {
      if (link === null) continue;
      try {
        return specFrom((await link.call('interface', { portId }, askPatience)).spec);
      } catch (error) {
        if (!(error instanceof DriverError)) throw error;
        last = error;
        // A server that is behind the others may not know it yet.
        if (error.code !== 'unavailable' && error.code !== 'unknown-interface') throw error;
      }
    }
    throw last;
  }

  async #probe(): Promise<readonly ProbeRow[]> {
    const rows = this.#callers.map(({ address, link }): ProbeRow => {
      const connected = link !== null;
      const detail = connected
        ? 'connected'
        : 'not connected; what is attached is carried on, nothing new can be attached';
      return { feature: `region ${address}`, state: connected ? 'yes' : 'no', required: false, detail };
    });
    return [...(await this.#options.probe()), ...rows];
  }

  /** Stops; what is attached stays so. */
  async close(): Promise<void> {
    for (const caller of this.#callers) caller.close();
    await this.#turns.idle();
    this.#options.host.close();
  }
}

/** Open vSwitch is there, and does not do what it is told: its database says why. */
const notCarried = ({ message }: DriverError): DriverError =>
  new DriverError(
    'unavailable',
    `${/[.?]$/.test(message) ? message : `${message}.`} See the errors that ovs-vsctl show names. Without the kernel module openvswitch, set ` +
      'external-ids:ovn-bridge-datapath-type=netdev in Open_vSwitch: ovn-controller makes its bridge anew then.',
  );

const plainFact = (fact: AttachmentFact): PlainFact => ({ ...fact });
function portIn(text: string): PortId {
  if (!isId('interface', text)) throw new DriverError('unknown-interface', `'${text}' is not an interface's id`);
  return text;
}

/** What the region says of an interface is looked at before anything is done with it. @throws DriverError */
function specFrom(plain: PlainSpec): InterfaceSpec {
  const spec = plain as unknown as InterfaceSpec;
  const alone = { vpcId: 'vpc-0000000000' as VpcId, interfaces: [spec], halves: [] };
  const problem = checkSpec({ ...alone, routeTables: [{ id: spec.routeTableId, routes: [] }] });
  if (problem !== null) throw new DriverError('kernel', `the region's word for the interface is not right: ${problem}`);
  return spec;
}

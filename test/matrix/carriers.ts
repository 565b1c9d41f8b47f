/**
 * What moves the packets of a test world: the fake driver, or the kernel. Both stand behind a reconciler, as in the
 * service; a probe is a UDP packet that an attached workload sends, and what became of it.
 */
import type { Driver, Plan } from '../../src/dataplane/driver.ts';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import { Reconciler } from '../../src/dataplane/reconciler.ts';
import { PlaneView } from '../../src/explain/plane-view.ts';
import type { PortId } from '../../src/model/ids.ts';
import { type Address, familyOf } from '../../src/model/ip.ts';
import { gatewayMac } from '../../src/model/network-spec.ts';
import { type Ending, Lab, type Probe } from '../wire/lab.ts';

/** A probe to send. */
export interface Shot {
  readonly from: PortId;
  readonly to: Address;
  /** Somebody should receive it: it is worth waiting for. */
  readonly awaited: boolean;
  /** Nobody receives it in the end, though it is handed over: it is sent on by an appliance, say. */
  readonly handed: boolean;
}

export interface Carrier {
  readonly name: Driver['name'];
  readonly plane: Reconciler;
  attach(portId: PortId, mtu?: number): Promise<void>;
  detach(portId: PortId): Promise<void>;
  /** The interface is gone, and its workload with it. */
  forget(portId: PortId): void;
  /** @param handedOnly nobody receives it in the end, though it is handed over: it is sent on by an appliance, say */
  probe(from: PortId, to: Address, handedOnly: boolean): Promise<Probe>;
  /** Many of them at once, of a plane that can tell them apart. */
  probeAll?(shots: readonly Shot[]): Promise<readonly Probe[]>;
  /** Writes to the plane behind the region's back, as somebody with root could. */
  tamper(plan: Plan): Promise<void>;
  /** The plane as it is now, read back. */
  observed(): Promise<{ readonly view: PlaneView; readonly attached: ReadonlyMap<PortId, number> }>;
}

/** How a carrier is made; what it holds ends with `ending`. */
export type MakeCarrier = (ending: Ending) => Promise<Carrier>;

export const observedOf = async (
  driver: Pick<Driver, 'observe'>,
): Promise<{ readonly view: PlaneView; readonly attached: ReadonlyMap<PortId, number> }> => {
  const { network, attachments } = await driver.observe();
  const attached = attachments.filter(({ state }) => state === 'attached');
  return { view: new PlaneView(network), attached: new Map(attached.map(({ portId, mtu }) => [portId, mtu])) };
};

export const onFake: MakeCarrier = async () => {
  const driver = new FakeDriver();
  const plane = new Reconciler(driver, { driftInterval: 0 });
  return {
    name: 'fake',
    plane,
    attach: async (portId, mtu) => {
      const target = { kind: 'netns', name: portId } as const;
      await plane.attach(mtu === undefined ? { portId, target } : { portId, target, mtu });
    },
    detach: (portId) => plane.detach(portId),
    forget: () => {},
    probe: async (from, to) => {
      const { network } = await driver.observe();
      const spec = new PlaneView(network).interface(from)?.spec;
      const source = spec?.addresses.find(({ address, primary }) => primary && familyOf(address) === familyOf(to));
      if (spec === undefined || source === undefined) return { exit: 'NoPort' };
      const verdict = driver.send({
        from,
        sourceMac: spec.mac,
        destinationMac: gatewayMac,
        source: source.address,
        destination: to,
        ttl: 64,
        length: 60,
        protocol: 'udp',
      });
      if (verdict.kind === 'dropped') return { exit: verdict.reason };
      return verdict.kind === 'delivered' ? { delivered: verdict.to } : { exit: 'Answered' };
    },
    tamper: (plan) => driver.apply(plan),
    observed: () => observedOf(driver),
  };
};

export const onEbpf: MakeCarrier = async (ending) => {
  const lab = await Lab.start(ending);
  const plane = new Reconciler(lab.driver, { driftInterval: 0 });
  return {
    name: 'ebpf',
    plane,
    attach: async (portId, mtu) => {
      await lab.attach(portId, { attach: (request) => plane.attach(request), ...(mtu === undefined ? {} : { mtu }) });
    },
    detach: async (portId) => {
      await plane.detach(portId);
      lab.forget(portId);
    },
    forget: (portId) => lab.forget(portId),
    probe: (from, to, handedOnly) => lab.sendProbe(from, to, handedOnly ? 20 : 2000),
    tamper: (plan) => lab.driver.apply(plan),
    observed: () => observedOf(lab.driver),
  };
};

/** A cell in words: whom the packet reached, or the exit that counted it. */
export const wordsOf = (probe: Probe): string => ('delivered' in probe ? `to ${probe.delivered}` : probe.exit);

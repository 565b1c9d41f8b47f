/** A data plane under the contract: a driver, workloads on it, and packets. One for each driver. */
import type { AttachmentFact, AttachRequest, Driver, Plan } from '../../src/dataplane/driver.ts';
import { FakeDriver } from '../../src/dataplane/fake/driver.ts';
import { PlaneView } from '../../src/explain/plane-view.ts';
import type { PortId } from '../../src/model/ids.ts';
import { type Address, familyOf } from '../../src/model/ip.ts';
import { gatewayMac, type NetworkSpec } from '../../src/model/network-spec.ts';
import { type Ending, Lab, type Probe } from '../wire/lab.ts';
import { planFor } from '../wire/plan-for.ts';

/** Room for four of everything and a few more; see the test of plans that do not fit. */
export const tight = { interfaces: 4, addresses: 8, routeTables: 4, halves: 4 } as const;

export interface Subject {
  readonly driver: Driver;
  /** The plane knows a peering as one object: it carries both ways or none. */
  readonly joinsPairs: boolean;
  /** The plane counts every exit for the interface that sent. */
  readonly countsExits: boolean;
  /** @returns the plan that was carried out */
  become(wanted: NetworkSpec): Promise<Plan>;
  /** @param of a workload of its own by default */
  attach(portId: PortId, of?: Partial<Pick<AttachRequest, 'device' | 'mtu'>>): Promise<void>;
  forget(portId: PortId): void;
  /** What root asks for, without a workload of this test. */
  request(request: AttachRequest): Promise<AttachmentFact>;
  detach(portId: PortId): Promise<void>;
  send(from: PortId, to: Address): Promise<Probe>;
  /** Resolves once what was sent is in the counts. */
  counted(): Promise<void>;
  /** Ends the driver as a restart of its process does, and opens it again. @param of.purged it has ended already */
  reopen(of?: { readonly purged: boolean }): Promise<Driver>;
}
export type MakeSubject = (ending: Ending, room?: typeof tight) => Promise<Subject>;

export const fake: MakeSubject = async (_ending, room) => {
  const driver = new FakeDriver(room);
  return {
    driver,
    become: async (wanted) => {
      const plan = await planFor(driver, wanted);
      await driver.apply(plan);
      return plan;
    },
    attach: async (portId, of = {}) => {
      await driver.attach({ portId, target: { kind: 'netns', name: portId }, ...of });
    },
    joinsPairs: false,
    countsExits: true,
    forget: () => {},
    request: (request) => driver.attach(request),
    detach: (portId) => driver.detach(portId),
    counted: async () => {},
    send: async (from, to) => {
      const spec = new PlaneView((await driver.observe()).network).interface(from)?.spec;
      const source = spec?.addresses.find(({ address, primary }) => primary && familyOf(address) === familyOf(to));
      if (spec === undefined || source === undefined) return { exit: 'NoPort' };
      const frame = { from, sourceMac: spec.mac, destinationMac: gatewayMac, ttl: 64, length: 60 } as const;
      const verdict = driver.send({ ...frame, source: source.address, destination: to, protocol: 'udp' });
      if (verdict.kind === 'delivered') return { delivered: verdict.to };
      return { exit: verdict.kind === 'dropped' ? verdict.reason : 'Answered' };
    },
    reopen: async () => driver, // its memory is the plane: a process that ended has none
  };
};

export const ebpf: MakeSubject = async (ending, room) => {
  // The kernel's tables keep their first entry for nobody.
  const limits = room && { ...room, interfaces: 5, routeTables: 5, halves: 5, routesPerTable: 16 };
  const lab = await Lab.start(ending, limits === undefined ? {} : { limits });
  return {
    get driver() {
      return lab.driver;
    },
    become: (wanted) => lab.become(wanted),
    attach: async (portId, of) => {
      await lab.attach(portId, of);
    },
    joinsPairs: false,
    countsExits: true,
    forget: (portId) => lab.forget(portId),
    request: (request) => lab.driver.attach(request),
    detach: async (portId) => {
      await lab.driver.detach(portId);
      lab.forget(portId);
    },
    counted: async () => {},
    send: (from, to) => lab.sendProbe(from, to),
    reopen: ({ purged } = { purged: false }) => lab.reopen({}, !purged),
  };
};

/** What a host's agent does on its machine, kept in memory: attachments come and go as the test says. */
import { type AttachmentFact, type AttachRequest, DriverError } from '../../src/dataplane/driver.ts';
import type { HostReading } from '../../src/dataplane/ovn/hosts.ts';
import type { PortId } from '../../src/model/ids.ts';

export const factOf = (portId: PortId, state: AttachmentFact['state'] = 'attached'): AttachmentFact => ({
  ...{ portId, state, target: 'netns:a', device: 'eth0', mtu: 1442, up: true },
});

export class KeptHost {
  readonly #facts = new Map<PortId, AttachmentFact>();
  readonly #attachmentListeners: ((fact: AttachmentFact) => void)[] = [];
  readonly #detachedListeners: ((portId: PortId) => void)[] = [];
  /** Called in the middle of an attach; what it throws is why that fails. */
  onAttach: (portId: PortId) => Promise<void> = async () => {};
  /** Called when a configuration is to be proven; what it throws is why it cannot be. */
  onFence: () => Promise<void> = async () => {};
  /** Called when all attachments are asked for. */
  onLook: () => void = () => {};

  constructor(...facts: readonly AttachmentFact[]) {
    for (const fact of facts) this.#facts.set(fact.portId, fact);
  }
  get portIds(): readonly PortId[] {
    return [...this.#facts.keys()].sort();
  }

  attachments(): readonly AttachmentFact[] {
    this.onLook();
    return [...this.#facts.values()];
  }
  appear(fact: AttachmentFact): void {
    this.#facts.set(fact.portId, fact);
    for (const listener of this.#attachmentListeners) listener(fact);
  }
  go(portId: PortId): void {
    if (!this.#facts.delete(portId)) return;
    for (const listener of this.#detachedListeners) listener(portId);
  }

  async attach({ portId }: AttachRequest): Promise<AttachmentFact> {
    await this.onAttach(portId);
    this.go(portId);
    this.appear(factOf(portId));
    return factOf(portId);
  }
  async detach(portId: PortId): Promise<void> {
    if (!this.#facts.has(portId)) throw new DriverError('not-attached', `${portId} is not attached on this host`);
    this.go(portId);
  }
  async carried(): Promise<boolean> {
    return true;
  }
  async follow(): Promise<void> {}
  async fence(number: number): Promise<number> {
    await this.onFence();
    return number;
  }
  async meter(): Promise<HostReading> {
    return { running: [], retired: [] };
  }
  onAttachment(listener: (fact: AttachmentFact) => void): void {
    this.#attachmentListeners.push(listener);
  }
  onDetached(listener: (portId: PortId) => void): void {
    this.#detachedListeners.push(listener);
  }
  close(): void {}
}

/**
 * What hosts count, as far as each of them may be believed: of halves of VPCs that it has an interface of, under lives of
 * its own. So a host can tell nothing of what does not concern it, and not speak for another.
 */
import type { HalfId, VpcId } from '../../model/ids.ts';
import type { VpcSpec } from '../../model/network-spec.ts';
import type { HostReading, Hosts, MeterRequest } from './hosts.ts';
import type { Binding } from './whereabouts.ts';

type Specs = ReadonlyMap<VpcId, VpcSpec>;
/** By host the halves that it may carry packets of. */
export type Parties = ReadonlyMap<string, ReadonlySet<HalfId>>;
/** Final counts that are taken of one host at once. The others it keeps, and tells with the next reading. */
const mostRetired = 4096;
const nobody: ReadonlySet<never> = new Set();

/** Both sides are party to a half: what one's router answers the other with is sent where the question was. */
export function partiesOf(specs: Specs, bindings: ReadonlyMap<string, Pick<Binding, 'host'>>): Parties {
  const hosts = new Map<VpcId, Set<string>>();
  for (const { vpcId, interfaces } of specs.values()) {
    const bound = interfaces.flatMap(({ id }) => bindings.get(id)?.host ?? []);
    if (bound.length > 0) hosts.set(vpcId, new Set(bound));
  }
  const parties = new Map<string, Set<HalfId>>();
  for (const { vpcId, halves } of specs.values()) {
    for (const { id, remoteVpcId } of halves) {
      const joined = specs.get(remoteVpcId)?.halves.some((half) => half.remoteVpcId === vpcId) === true;
      for (const host of (hosts.get(vpcId) ?? nobody).union((joined && hosts.get(remoteVpcId)) || nobody)) {
        const own = parties.get(host);
        if (own === undefined) parties.set(host, new Set([id]));
        else own.add(id);
      }
    }
  }
  return parties;
}

/** The host's own lives of those, as it knows them. */
export const livesOf = (host: string, lives: readonly string[]): readonly string[] =>
  lives.filter((life) => life.startsWith(`${host}/`)).map((life) => life.slice(host.length + 1));

/** @param own halves that it may tell of; of others it is doubted */
export function believed(host: string, reading: HostReading, own: ReadonlySet<HalfId>): HostReading {
  const named = (one: HostReading['running'][number]): HostReading['running'][number] => ({
    ...one,
    life: `${host}/${one.life}`,
    ...(own.has(one.halfId) ? {} : { doubtful: true }),
  });
  // A host has one count of a half that grows.
  const seen = new Set<HalfId>();
  const first = reading.running.filter(({ halfId }) => !seen.has(halfId) && seen.add(halfId));
  return {
    running: first.map(named),
    retired: reading.retired.slice(0, mostRetired).map(named),
  };
}

export class HostCounts implements Pick<Hosts, 'connected' | 'meter'> {
  readonly #hosts: Pick<Hosts, 'connected' | 'meter'>;
  readonly #parties = new Map<string, Set<HalfId>>();

  constructor(hosts: Pick<Hosts, 'connected' | 'meter'>) {
    this.#hosts = hosts;
  }

  /** Where the interfaces are now. Where they were is remembered: a host may still have to tell of it. */
  look(specs: Specs, bindings: ReadonlyMap<string, Pick<Binding, 'host'>>): void {
    for (const [host, halves] of partiesOf(specs, bindings)) {
      const own = this.#parties.get(host) ?? new Set();
      for (const halfId of halves) own.add(halfId);
      this.#parties.set(host, own);
    }
  }
  connected(): ReadonlySet<string> {
    return this.#hosts.connected();
  }
  async meter(host: string, request: MeterRequest): Promise<HostReading> {
    const before = [...(this.#parties.get(host) ?? nobody)];
    const reading = await this.#hosts.meter(host, { ...request, booked: livesOf(host, request.booked) });
    const own = this.#parties.get(host) ?? new Set<HalfId>();
    const answer = believed(host, reading, own);
    // Halves that are no more, and of which it has no final count.
    const wanted = new Set([
      ...request.halves.map(([halfId]) => halfId),
      ...reading.retired.map(({ halfId }) => halfId),
    ]);
    for (const halfId of before) if (!wanted.has(halfId)) own.delete(halfId);
    return answer;
  }
}

/**
 * What the halves carried, over all hosts. A reading changes nothing, so it waits for no change and no change for it. One
 * is under way at a time: whoever asks meanwhile shares the next, which begins after he asked.
 */
import type { HalfId } from '../../model/ids.ts';
import type { Count, MeterReading } from '../driver.ts';
import type { HostReading, Hosts, MeterRequest } from './hosts.ts';

export interface CountsPlace {
  readonly hosts: Pick<Hosts, 'connected' | 'meter'>;
  /** What every host is asked for, as things are now. */
  readonly request: () => Omit<MeterRequest, 'booked'>;
}
const defaultPatience = 5_000;
/** The same, of a change that waits for the reading. */
const defaultCutPatience = 300;
/** Between two readings hosts rest, as many times as long as the last one took; at most so many milliseconds. */
const rests = 4;
const longestRest = 1_000;

export interface Reading extends MeterReading {
  /** Hosts that answered. */
  readonly from: ReadonlySet<string>;
}

/** What a host is asked, one question after the other: it has no use for two at once. */
interface Line {
  /** When it was asked what it has not answered yet, on the clock of `performance`. */
  since: number;
  last: Promise<HostReading | null>;
}

export class Counts {
  readonly #place: CountsPlace;
  readonly #patience: number;
  readonly #cutPatience: number;
  #current: Promise<unknown> = Promise.resolve();
  #next: { readonly booked: Set<string>; readonly reading: Promise<Reading> } | null = null;
  /** Of the hosts that have not answered everything. */
  readonly #lines = new Map<string, Line>();
  /** What each host told last of this plane. */
  readonly #told = new Map<string, HostReading>();
  #epoch = '';

  /**
   * @param patience milliseconds that a reading waits for a host
   * @param cutPatience the same, of a change that waits for the reading
   */
  constructor(place: CountsPlace, patience = defaultPatience, cutPatience = defaultCutPatience) {
    this.#place = place;
    this.#patience = patience;
    this.#cutPatience = cutPatience;
  }

  /** Asks every host that is connected. @param booked lives that hosts may forget */
  read(booked: Iterable<string>): Promise<Reading> {
    if (this.#next === null) {
      const lives = new Set<string>();
      const reading = this.#current.then(() => {
        this.#next = null;
        const began = performance.now();
        const round = this.#round([...lives]);
        const rested = (): Promise<void> => {
          const rest = Math.min(longestRest, rests * (performance.now() - began));
          return new Promise((resolve) => setTimeout(resolve, rest));
        };
        this.#current = round.then(rested, rested);
        return round;
      });
      this.#next = { booked: lives, reading };
    }
    for (const life of booked) this.#next.booked.add(life);
    return this.#next.reading;
  }

  async #round(booked: readonly string[]): Promise<Reading> {
    const request = this.#request(booked);
    const hosts = [...this.#place.hosts.connected()];
    const answers = await Promise.all(hosts.map((host) => this.#ask(host, request, this.#patience)));
    const readings = answers.filter((answer) => answer !== null);
    return {
      running: readings.flatMap(({ running }) => running),
      retired: readings.flatMap(({ retired }) => retired),
      from: new Set(hosts.filter((_, at) => answers[at] !== null)),
    };
  }

  /** Each half's sum. A host that is away, or does not answer in time, counts with what it told last. */
  async sums(): Promise<ReadonlyMap<HalfId, Count>> {
    await this.read([]);
    const exist = new Set(this.#place.request().halves.map(([halfId]) => halfId));
    const sums = new Map<HalfId, Count>();
    for (const { halfId, packets, bytes, doubtful } of [...this.#told.values()].flatMap(({ running }) => running)) {
      if (doubtful === true || !exist.has(halfId)) continue;
      const sum = sums.get(halfId) ?? { packets: 0, bytes: 0 };
      sums.set(halfId, { packets: sum.packets + Number(packets), bytes: sum.bytes + Number(bytes) });
    }
    return sums;
  }

  /**
   * Resolves once these hosts have counted what is in flight, before the rules that count it go. What a host that does
   * not answer at once carries from its last reading to its end is lost to the count.
   */
  async beforeCut(hosts: ReadonlySet<string>): Promise<void> {
    const able = [...hosts.intersection(this.#place.hosts.connected())];
    if (able.length === 0) return;
    const request = this.#request([]);
    await Promise.all(able.map((host) => this.#ask(host, request, this.#cutPatience)));
  }

  #request(booked: readonly string[]): MeterRequest {
    const request = { ...this.#place.request(), booked };
    if (request.epoch !== this.#epoch) this.#told.clear();
    this.#epoch = request.epoch;
    return request;
  }

  /** @returns null when it does not answer in time. A host that has let somebody wait for as long already is not asked. */
  async #ask(host: string, request: MeterRequest, patience: number): Promise<HostReading | null> {
    const line = this.#lines.get(host) ?? { since: performance.now(), last: Promise.resolve(null) };
    if (performance.now() - line.since > patience) return null;
    let over = false;
    const answer = line.last.then(() => {
      line.since = performance.now();
      // Nobody waits for it any more, and nothing has been asked.
      return over ? null : this.#meter(host, request);
    });
    line.last = answer;
    this.#lines.set(host, line);
    void answer.then(() => {
      if (line.last === answer) this.#lines.delete(host);
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(resolve, patience, null);
    });
    const told = await Promise.race([answer, late]);
    clearTimeout(timer);
    over = true;
    return told;
  }
  async #meter(host: string, request: MeterRequest): Promise<HostReading | null> {
    try {
      const reading = await this.#place.hosts.meter(host, request);
      if (request.epoch === this.#epoch) this.#told.set(host, reading);
      return reading;
    } catch {
      return null;
    }
  }
}

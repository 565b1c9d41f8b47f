/** Clients of two servers, all at the same few VPCs: they make, join, change and delete, and look at what came of it. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { HalfId, RouteTableId, VpcId } from '../../src/model/ids.ts';
import type { NextHop } from '../../src/model/resources.ts';
import { prefix } from '../wire/sketch.ts';
import { type Answer, type Asked, type Caller, type Given, isQuestion, type Question } from './caller.ts';
import { type Deed, Notebook, Site } from './notebook.ts';

/** VPCs at a time: few, so that several clients are at the same one. */
const alive = 5;
const ranges = 3;
/** How often each command is tried. */
const weights = [
  ['create-vpc', 4],
  ['delete-vpc', 3],
  ['modify-vpc', 14],
  ['add-cidr', 10],
  ['remove-cidr', 10],
  ['create-subnet', 20],
  ['delete-subnet', 14],
  ['create-interface', 24],
  ['delete-interface', 20],
  ['add-routes', 26],
  ['remove-routes', 16],
  ['create-peering', 26],
  ['delete-peering', 14],
] as const satisfies readonly (readonly [Given['kind'], number])[];

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Numbers from a seed. */
export function numbersFrom(seed: number): (below: number) => number {
  let state = seed & 0x7fffffff;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
}

export class Clients {
  readonly notebook = new Notebook();
  readonly #caller: Caller;
  readonly #urls: readonly [string, string];
  readonly #told: (asked: Asked, answer: Answer) => Promise<void>;
  /** The newest revision that each server has answered at. */
  readonly #answered = [0, 0];
  /** What anybody was told. A read that carries it must know all that was answered before it. */
  #newest = 0;
  #sites = 0;
  #tags = 0;
  commands = 0;
  nobody = 0;
  unknown = 0;
  pending = 0;
  /** Reads without a revision that were behind. */
  stale = 0;
  /** Milliseconds that answered commands took. */
  readonly took: number[] = [];

  /** @param answered told of each answer to a command before its client goes on */
  constructor(
    caller: Caller,
    urls: readonly [string, string],
    answered: (asked: Asked, answer: Answer) => Promise<void>,
  ) {
    this.#caller = caller;
    this.#urls = urls;
    this.#told = answered;
  }

  /** On the record. @param demanding of a question: the server must know all that anybody was told */
  async #ask(server: number, asked: Asked, demanding = !isQuestion(asked)): Promise<Answer | null> {
    const called = { asked, demanding, called: performance.now(), told: this.#newest };
    const end = await this.#met(server, called);
    this.notebook.write({ ...called, end });
    return end?.answer ?? null;
  }

  /** Makes something. Who is in a hurry asks both servers for the same: it is made once. */
  async #create(server: number, asked: Asked, hurry: boolean): Promise<Answer | null> {
    const token = randomUUID();
    const called = { asked, demanding: true, called: performance.now(), told: this.#newest };
    const servers = hurry ? [server, 1 - server] : [server];
    const met = await Promise.all(servers.map((one) => this.#met(one, called, token)));
    const ends = met.filter((end) => end !== null).sort((a, b) => a.returned - b.returned);
    const made = ends.filter(({ answer }) => answer.output === 'done');
    assert.ok(new Set(made.map(({ answer }) => answer.made)).size <= 1, `made twice: ${JSON.stringify(ends)}`);
    // Of the answers that tell of it the first is one: from then on it is known.
    const [end = null] = made;
    for (const other of ends.filter((one) => !made.includes(one))) this.notebook.write({ ...called, end: other });
    if (end !== null) this.notebook.write({ ...called, end });
    return end?.answer ?? null;
  }

  /**
   * Asks that server, or the other when nobody is there. @param token with it, it is asked until somebody answers
   * @returns null when the answer is lost
   */
  async #met(first: number, { asked, demanding, called, told }: Omit<Deed, 'end'>, token?: string) {
    for (let server = first; ; server = 1 - server) {
      const known = this.#answered[server] ?? 0;
      const atLeast = isQuestion(asked) && demanding ? { atLeast: told } : {};
      const options = { ...(token === undefined ? {} : { token }), ...atLeast };
      const answer = await this.#caller.ask(this.#urls[server] ?? '', asked, options);
      const returned = performance.now();
      if (answer === 'unknown') this.unknown++;
      if (answer === 'nobody') this.nobody++;
      if (answer === 'unknown' && token === undefined) return null;
      if (typeof answer === 'string') {
        await pause(5);
        continue;
      }
      const { revision } = answer;
      assert.ok(Number.isInteger(revision), `every answer says its revision: ${asked.kind} ${answer.output}`);
      assert.ok(revision >= known, 'a server never goes back, also when it was killed');
      this.#answered[server] = Math.max(this.#answered[server] ?? 0, revision);
      if (demanding) this.#newest = Math.max(this.#newest, revision);
      else if (revision < told) this.stale++;
      if (answer.pending) this.pending++;
      if (!isQuestion(asked)) {
        this.took.push(returned - called);
        await this.#told(asked, answer);
      }
      return { returned, answer };
    }
  }

  async #createSite(server: number, hurry: boolean): Promise<void> {
    const number = this.#sites++;
    const cidrs = [Site.rangeOf(number)];
    const asked = { kind: 'create-vpc', name: `v${number}`, description: 'new', cidrs } as const;
    const made = await this.#create(server, asked, hurry);
    const vpcId = made?.made as VpcId;
    const vpc = await this.#ask(server, { kind: 'read-vpc', vpcId }, true);
    const tableId = vpc?.body.result?.vpc?.routeTableIds[0];
    // The server was lost meanwhile: then nobody works on this one.
    if (tableId !== undefined) this.notebook.site(new Site(vpcId, number, tableId as RouteTableId));
  }
  async begin(): Promise<void> {
    for (let n = 0; n < alive; n++) await this.#createSite(n % 2, false);
  }

  /** Leaves two VPCs that are joined and have an interface and a route each, whatever chance has left. */
  async end(): Promise<void> {
    await this.#createSite(0, false);
    await this.#createSite(1, false);
    const [one, other] = this.notebook.sites.slice(-2);
    assert.ok(one !== undefined && other !== undefined);
    for (const [site, remote] of [
      [one, other],
      [other, one],
    ] as const) {
      const { vpcId, tableId: routeTableId } = site;
      const named = { name: `end-${site.number}`, description: '' };
      await this.#create(0, { kind: 'create-subnet', vpcId, ...named, cidrs: [site.range(0)] }, false);
      const rest = { primary: [], secondary: [], secondaryCount: 0, sanityCheck: true };
      const subnetId = site.subnets.at(-1);
      const asked = { kind: 'create-peering', ...named, vpcId, remoteVpcId: remote.vpcId } as const;
      const half = await this.#create(1, asked, false);
      assert.ok(subnetId !== undefined && half?.made != null);
      await this.#create(1, { kind: 'create-interface', subnetId, ...named, ...rest }, false);
      const nextHop = { kind: 'peering', halfId: half.made as HalfId } as const;
      const route = { destination: Site.rangeOf(remote.number), nextHop, description: `tag-${this.#tags++}` };
      await this.#ask(0, { kind: 'add-routes', routeTableId, routes: [route] });
    }
  }

  /** Gives so many commands, and looks now and then. */
  async work(seed: number, commands: number, meanwhile: () => void): Promise<void> {
    const below = numbersFrom(seed);
    for (let n = 0; n < commands; n++) {
      const asked = this.#choose(below);
      const hurry = below(4) === 0;
      if (asked.kind === 'create-vpc') await this.#createSite(below(2), hurry);
      else if (asked.kind.startsWith('create-')) await this.#create(below(2), asked, hurry);
      else await this.#ask(below(2), asked);
      this.commands++;
      const question = this.#questionAbout(asked);
      if (question !== null && below(2) === 0) await this.#ask(below(2), question, true);
      if (question !== null && below(4) === 0) await this.#ask(below(2), question, false);
      meanwhile();
    }
  }

  #choose(below: (n: number) => number): Given {
    let word = below(weights.reduce((sum, [, weight]) => sum + weight, 0));
    const [kind] = weights.find(([, weight]) => {
      word -= weight;
      return word < 0;
    }) ?? ['modify-vpc'];
    // Now and then one that is gone.
    const sites = this.notebook.sites.filter(({ ending }) => !ending || below(10) === 0).slice(-alive);
    if (sites.length < 3) return { kind: 'create-vpc', name: '', description: '', cidrs: [] };
    const site = sites[below(sites.length)];
    assert.ok(site !== undefined);
    return this.#command(kind, site, sites, below) ?? this.#describe(site, below);
  }
  #describe = ({ vpcId }: Site, below: (n: number) => number): Given => ({
    kind: 'modify-vpc',
    vpcId,
    description: `d${below(3)}`,
  });
  /** @returns null when there is nothing yet to do it to */
  #command(kind: Given['kind'], site: Site, sites: readonly Site[], below: (n: number) => number): Given | null {
    const { vpcId, tableId: routeTableId } = site;
    const recent = <T>(of: readonly T[], most: number): T | undefined =>
      of.at(-1 - below(Math.min(most, of.length || 1)));
    const named = (letter: string) => ({ name: `${letter}-${site.number}-${this.#tags++}`, description: '' });
    switch (kind) {
      case 'create-vpc':
        return { kind, name: '', description: '', cidrs: [] };
      case 'delete-vpc':
        return { kind, vpcId, cascade: true };
      case 'modify-vpc':
        return null;
      case 'add-cidr':
      case 'remove-cidr':
        return { kind, vpcId, cidr: site.cidr(below(2)) };
      case 'create-subnet':
        return { kind, vpcId, ...named('s'), cidrs: [site.range(below(ranges))] };
      case 'delete-subnet': {
        const subnetId = recent(site.subnets, ranges + 1);
        return subnetId === undefined ? null : { kind, subnetId };
      }
      case 'create-interface': {
        const subnetId = recent(site.subnets, ranges);
        const rest = { primary: [], secondary: [], secondaryCount: 0, sanityCheck: true };
        return subnetId === undefined ? null : { kind, subnetId, ...named('p'), ...rest };
      }
      case 'delete-interface': {
        const portId = recent(site.ports, 8);
        return portId === undefined ? null : { kind, portId };
      }
      case 'add-routes': {
        const other = sites[below(sites.length)];
        if (other === undefined) return null;
        const destination = other === site ? prefix(`192.168.${below(3)}.0/24`) : Site.rangeOf(other.number);
        const nextHop = this.#hop(site, other, below);
        return { kind, routeTableId, routes: [{ destination, nextHop, description: `tag-${this.#tags++}` }] };
      }
      case 'remove-routes': {
        const ruleId = recent(site.ruleIds, 6);
        return ruleId === undefined ? null : { kind, routeTableId, ruleIds: [ruleId] };
      }
      case 'create-peering': {
        // Mostly an answer to somebody, or hardly anything would ever be Connected.
        const asking = sites.filter(({ halves }) => halves.has(vpcId));
        const remotes = asking.length > 0 && below(3) > 0 ? asking : sites;
        const remote = remotes[below(remotes.length)];
        // Ids that nobody has may be named a few times only.
        if (remote === undefined || remote === site || remote.ending) return null;
        return { kind, ...named('h'), vpcId, remoteVpcId: remote.vpcId };
      }
      case 'delete-peering': {
        const halfId = recent([...site.halves.values()], alive);
        return halfId === undefined ? null : { kind, halfId };
      }
    }
  }
  #hop(site: Site, towards: Site, below: (n: number) => number): NextHop {
    const halfId = site.halves.get(towards.vpcId) ?? [...site.halves.values()].at(-1);
    const portId = site.ports.at(-1);
    if (halfId !== undefined && below(4) > 0) return { kind: 'peering', halfId };
    return portId === undefined ? { kind: 'internet' } : { kind: 'interface', portId };
  }

  /** About the object of a command, or one near it. */
  #questionAbout(asked: Given): Question | null {
    switch (asked.kind) {
      case 'create-vpc':
        return null;
      case 'create-subnet': {
        const subnetId = this.notebook.sites.find(({ vpcId }) => vpcId === asked.vpcId)?.subnets.at(-1);
        return subnetId === undefined ? null : { kind: 'read-ports', subnetId };
      }
      case 'delete-subnet':
      case 'create-interface':
        return { kind: 'read-ports', subnetId: asked.subnetId };
      case 'delete-interface': {
        const subnetId = this.notebook.sites.find(({ ports }) => ports.includes(asked.portId))?.subnets.at(-1);
        return subnetId === undefined ? null : { kind: 'read-ports', subnetId };
      }
      case 'add-routes':
      case 'remove-routes':
        return { kind: 'read-table', routeTableId: asked.routeTableId };
      case 'create-peering': {
        const halfId = this.notebook.sites.find(({ vpcId }) => vpcId === asked.vpcId)?.halves.get(asked.remoteVpcId);
        return halfId === undefined ? null : { kind: 'read-half', halfId };
      }
      case 'delete-peering':
        return { kind: 'read-half', halfId: asked.halfId };
      default:
        return { kind: 'read-vpc', vpcId: asked.vpcId };
    }
  }
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDone, turns } from '../../../test/wire/turns.ts';
import type { PortId } from '../../model/ids.ts';
import type { InterfaceSpec } from '../../model/network-spec.ts';
import { type AttachmentFact, DriverError } from '../driver.ts';
import { type Interfaces, Workloads } from './workloads.ts';

const hour = 3_600_000;
const [a, b, c] = ['port-a', 'port-b', 'port-c'] as readonly string[] as readonly [PortId, PortId, PortId];

const spec = (id: PortId, address: string): InterfaceSpec =>
  ({ id, addresses: [{ address }] }) as unknown as InterfaceSpec;
const all = (...specs: readonly InterfaceSpec[]): Interfaces => new Map(specs.map((one) => [one.id, one]));

interface Word {
  readonly host: string;
  readonly text: string;
  readonly answer: (error?: Error) => void;
}
/** Hosts that answer when the test says so. */
class ToldHosts {
  readonly up: Set<string>;
  readonly places: readonly (readonly [host: string, portId: PortId])[];
  readonly words: Word[] = [];
  constructor(...places: readonly (readonly [string, PortId])[]) {
    this.places = places;
    this.up = new Set(places.map(([host]) => host));
  }
  connected(): ReadonlySet<string> {
    return this.up;
  }
  attachments(): readonly (AttachmentFact & { readonly host: string })[] {
    return this.places.map(([host, portId]) => ({ host, portId }) as AttachmentFact & { readonly host: string });
  }
  #told(host: string, text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.words.push({ host, text, answer: (error) => (error === undefined ? resolve() : reject(error)) });
    });
  }
  follow(host: string, { id, addresses }: InterfaceSpec): Promise<void> {
    return this.#told(host, `${id} ${addresses[0]?.address}`);
  }
  release(host: string, portId: PortId): Promise<void> {
    return this.#told(host, `${portId} gone`);
  }
  get texts(): readonly string[] {
    return this.words.map(({ host, text }) => `${host}: ${text}`);
  }
  /** Answers the newest word. */
  async answer(host: string, error?: Error): Promise<void> {
    const word = this.words.findLast((one) => one.host === host);
    assert.ok(word, `${host} was told nothing`);
    word.answer(error);
    await turns();
  }
}

test('hosts are told at once, each one word after the other; the change is over when all are', async () => {
  const hosts = new ToldHosts(['h1', a], ['h1', b], ['h2', c]);
  const workloads = new Workloads(hosts, hour, hour);
  const over = workloads.changed(all(spec(a, '1'), spec(b, '1'), spec(c, '1')), all(spec(a, '2'), spec(b, '2')));
  assert.deepEqual(hosts.texts, ['h1: port-a 2', 'h2: port-c gone']);
  await hosts.answer('h1');
  await hosts.answer('h2');
  assert.deepEqual(hosts.texts.slice(2), ['h1: port-b 2']);
  assert.equal(await isDone(over), false);
  await hosts.answer('h1');
  await over;
});

test('of an interface the newest word is the last, and what it took the place of is never said', async () => {
  const hosts = new ToldHosts(['h1', a]);
  const workloads = new Workloads(hosts, hour, hour);
  const first = workloads.changed(all(spec(a, '1')), all(spec(a, '2')));
  const second = workloads.changed(all(spec(a, '2')), all(spec(a, '3')));
  const third = workloads.changed(all(spec(a, '3')), all(spec(a, '4')));
  await hosts.answer('h1');
  assert.deepEqual(hosts.texts, ['h1: port-a 2', 'h1: port-a 4']);
  assert.deepEqual([await isDone(second), await isDone(third)], [false, false]);
  await hosts.answer('h1');
  await Promise.all([first, second, third]);
});

test('nobody waits for a host that does not answer, but the first, and he not for ever', async () => {
  const hosts = new ToldHosts(['h1', a], ['h2', b]);
  const workloads = new Workloads(hosts, hour, 5);
  await workloads.changed(all(spec(a, '1')), all(spec(a, '2')));
  const next = workloads.changed(all(spec(a, '2'), spec(b, '1')), all(spec(a, '3'), spec(b, '2')));
  assert.deepEqual(hosts.texts, ['h1: port-a 2', 'h2: port-b 2']);
  await hosts.answer('h2');
  await next;
  await hosts.answer('h1', new DriverError('unavailable', 'it was not answered'));
  assert.equal(hosts.words.length, 2, 'it is not asked again at once');
  workloads.look(all(spec(a, '3'), spec(b, '2')));
  assert.deepEqual(hosts.texts.slice(2), ['h1: port-a 3']);
  await hosts.answer('h1');
});

test('an interface whose workload cannot follow keeps no other waiting, and is tried again', async () => {
  const hosts = new ToldHosts(['h1', a], ['h1', b]);
  const workloads = new Workloads(hosts, hour, hour);
  const over = workloads.changed(all(spec(a, '1'), spec(b, '1')), all(spec(a, '2'), spec(b, '2')));
  await hosts.answer('h1', new DriverError('kernel', 'no'));
  await hosts.answer('h1');
  await over;
  workloads.look(all(spec(a, '2'), spec(b, '2')));
  assert.deepEqual(hosts.texts, ['h1: port-a 2', 'h1: port-b 2', 'h1: port-a 2']);
  await hosts.answer('h1');
});

test('a host that is away is waited for by nobody, and told everything when it is back', async () => {
  const hosts = new ToldHosts(['h1', a], ['h1', b]);
  const workloads = new Workloads(hosts, hour, hour);
  hosts.up.delete('h1');
  await workloads.changed(all(spec(a, '1')), all(spec(a, '2')));
  assert.deepEqual(hosts.texts, []);
  hosts.up.add('h1');
  workloads.returned('h1', all(spec(a, '2'), spec(b, '1')));
  await hosts.answer('h1');
  await hosts.answer('h1');
  assert.deepEqual(hosts.texts, ['h1: port-a 2', 'h1: port-b 1']);
});

test('a workload that could not be taken off is a stray: it is left if its interface is there again', async () => {
  const hosts = new ToldHosts(['h1', a]);
  const workloads = new Workloads(hosts, 0, hour);
  const over = workloads.changed(all(spec(a, '1')), all());
  await hosts.answer('h1', new DriverError('unavailable', 'away'));
  await over;
  workloads.look(all(spec(a, '1')));
  await turns();
  assert.deepEqual(hosts.texts, ['h1: port-a gone']);
  workloads.look(all());
  assert.deepEqual(hosts.texts.slice(1), ['h1: port-a gone']);
  await hosts.answer('h1');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import pino from 'pino';
import type { AttachmentFact } from '../../dataplane/driver.ts';
import type { LinkToHost } from '../../dataplane/ovn/host-link.ts';
import type { HostName, PortId } from '../../model/ids.ts';
import type { HostsRegion } from './hosts-region.ts';
import { Placement } from './placement.ts';
import { type HostFact, Roster } from './roster.ts';

const [h1, h2, h3] = ['h1', 'h2', 'h3'] as HostName[] as [HostName, HostName, HostName];
const [p, q] = ['port-aaaaaaaaaa', 'port-bbbbbbbbbb'] as PortId[] as [PortId, PortId];
const refusal = (host: HostName): object => ({ code: 'already-attached', message: new RegExp(`on host ${host}`) });

/** Hosts that are active, interfaces that exist, and releases that end when the test says so. */
function make() {
  const roster = new Roster({ changed: () => {}, detached: () => {} });
  const releases: { readonly host: HostName; readonly portId: PortId; readonly done: () => void }[] = [];
  const draining = new Set<string>();
  const region = {
    state: { get: (_: string, id: string) => ({ id, state: draining.has(id) ? 'draining' : 'active' }) },
    view: { interface: (id: PortId) => ({ spec: { id } }) },
  };
  const placement = new Placement({
    region: region as unknown as HostsRegion,
    roster,
    release: (host, portId) => new Promise((done) => releases.push({ host, portId, done })),
    log: pino({ level: 'silent' }),
  });
  const fact = (portId: PortId, state: HostFact['state']): AttachmentFact => ({
    ...{ portId, state, target: 'netns:a', device: 'eth0', mtu: 1442, up: true },
  });
  /** A host that is there and tells that. */
  const connect = (host: HostName, facts: readonly AttachmentFact[]): void => {
    roster.connect(host, { close: () => {} } as unknown as LinkToHost, facts);
  };
  return { roster, releases, draining, placement, fact, connect };
}

test('an interface is kept for the host that asked first, until it says what became of it', async () => {
  const { placement } = make();
  assert.deepEqual(await placement.grant(h2, p, {}), { id: p });
  await assert.rejects(placement.grant(h1, p, {}), refusal(h2));
  await placement.grant(h1, q, {});
  placement.told(h1, p);
  await assert.rejects(placement.grant(h1, p, {}), refusal(h2), 'what another says of it changes nothing');
  placement.told(h2, p);
  await placement.grant(h1, p, {});
});

test('nothing is kept for a connection that has ended, and what others have asked for stays', async () => {
  const { placement } = make();
  const [one, two] = [{}, {}];
  await placement.grant(h1, p, one);
  await placement.grant(h2, q, two);
  placement.ended(one);
  await placement.grant(h3, p, {});
  await assert.rejects(placement.grant(h3, q, {}), refusal(h2), 'the control');
});

test('while another host lets go of what vanished there, others are answered, and the interface is kept', async () => {
  const { placement, roster, releases, fact } = make();
  roster.tell(h2, p, fact(p, 'vanished'));
  const waiting = placement.grant(h1, p, {});
  assert.deepEqual(
    releases.map(({ host, portId }) => [host, portId]),
    [[h2, p]],
  );
  await placement.grant(h1, q, {});
  await assert.rejects(placement.grant(h3, p, {}), refusal(h1));
  await assert.rejects(placement.grant(h2, p, {}), refusal(h1), 'nor may it come back there meanwhile');
  roster.tell(h2, p, null);
  releases[0]?.done();
  assert.deepEqual(await waiting, { id: p });
});

test('a connection that ends while it waits gets nothing, and the next one does at once', async () => {
  const { placement, roster, releases, fact } = make();
  roster.tell(h2, p, fact(p, 'vanished'));
  const gone = {};
  const waiting = assert.rejects(placement.grant(h1, p, gone), { code: 'unavailable', message: /h1 has let go/ });
  placement.ended(gone);
  const next = placement.grant(h3, p, {});
  for (const { done } of releases) done();
  await waiting;
  assert.deepEqual(await next, { id: p });
  await assert.rejects(placement.grant(h1, p, {}), refusal(h3));
});

test('what changed while it was waited for counts: the refusal is of then, and nothing stays kept', async () => {
  const { placement, roster, releases, draining, fact } = make();
  roster.tell(h2, p, fact(p, 'vanished'));
  const waiting = assert.rejects(placement.grant(h1, p, {}), /is draining/);
  draining.add(h1);
  releases[0]?.done();
  await waiting;
  const again = assert.rejects(placement.grant(h3, p, {}), refusal(h2));
  roster.tell(h2, p, fact(p, 'attached'));
  releases[1]?.done();
  await again;
});

const ports = (count: number): readonly PortId[] =>
  Array.from({ length: count }, (_, at) => `port-${String(at).padStart(10, '0')}` as PortId);

test('to settle what a host tells costs a look at each fact, however many there are', () => {
  const { placement, roster, fact, connect } = make();
  const all = ports(500);
  let looks = 0;
  const counted = (portId: PortId): AttachmentFact => ({
    ...fact(portId, 'attached'),
    get state() {
      looks++;
      return 'attached' as const;
    },
  });
  connect(h2, all.map(counted));
  looks = 0;
  placement.settle(all);
  for (const portId of all) roster.place(portId);
  assert.ok(looks >= all.length, 'the control: looks are counted');
  assert.ok(looks <= 8 * all.length, `${looks} looks`);
});

test('a host is asked to let go of one interface after the other, and of none that it has no more', async () => {
  const { placement, roster, releases, fact, connect } = make();
  const all = ports(100);
  const facts = all.map((portId) => fact(portId, 'attached'));
  connect(h1, facts);
  connect(h2, facts);
  placement.settle(all);
  for (const portId of all) placement.settle([portId]);
  const [, gone] = all;
  if (gone !== undefined) roster.tell(h2, gone, null);
  for (let at = 0; at < all.length - 1; at++) {
    assert.equal(releases.length, at + 1, 'one at a time');
    const { host, portId, done } = releases[at] ?? assert.fail();
    assert.equal(host, h2);
    roster.tell(h2, portId, null);
    done();
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(
    releases.map(({ portId }) => portId),
    all.filter((portId) => portId !== gone),
  );
});

/** Agents of hosts and the gateway together: where an interface may be attached, and what each knows of the other. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import { HostAgent } from '../../src/agent/host-agent.ts';
import { type AttachmentFact, DriverError } from '../../src/dataplane/driver.ts';
import { isRefusal } from '../../src/model/errors.ts';
import type { AccountId, PortId, SubnetId, VpcId } from '../../src/model/ids.ts';
import { parsePrefix } from '../../src/model/ip.ts';
import type { Principal } from '../../src/region/service.ts';
import type { Command } from '../../src/rules/commands.ts';
import { operator, pause, start, until } from '../hosts/gateway.ts';
import { factOf, KeptHost } from '../hosts/kept-host.ts';
import { Way } from '../hosts/way.ts';

/** A gateway, three interfaces, and agents on request. */
async function site(t: TestContext) {
  const of = await start(t);
  const give = async (command: Command, principal: Principal = operator.principal): Promise<string> => {
    const outcome = await of.region.submit(command, { principal, requestId: 'test' });
    assert.ok(!isRefusal(outcome), JSON.stringify(outcome));
    return outcome.result.id ?? '';
  };
  const accountId = (await give({ kind: 'create-account', name: 'red' })) as AccountId;
  const red: Principal = { kind: 'tenant', accountId, keyId: 'k' as never };
  const named = { name: 'x', description: '' };
  const prefix = (text: string) => {
    const parsed = parsePrefix(text);
    assert.ok(parsed.ok);
    return [parsed.value];
  };
  const vpcId = (await give({ kind: 'create-vpc', ...named, cidrs: prefix('10.1.0.0/16') }, red)) as VpcId;
  const cidrs = prefix('10.1.1.0/24');
  const subnetId = (await give({ kind: 'create-subnet', vpcId, ...named, cidrs }, red)) as SubnetId;
  const port = async (): Promise<PortId> => {
    const addresses = { primary: [], secondary: [], secondaryCount: 0, sanityCheck: true };
    return (await give({ kind: 'create-interface', subnetId, ...named, ...addresses }, red)) as PortId;
  };
  const agent = async (name: string, host: KeptHost, address = of.address) => {
    const told: string[] = [];
    const { installationId } = of;
    const made = new HostAgent({
      ...{ name, installationId, host, regions: [address], credentials: await of.admit(name) },
      log: pino({}, { write: (line) => told.push((JSON.parse(line) as { msg: string }).msg) }),
      onEvent: () => {},
      probe: async () => [],
    });
    let open = true;
    const close = async (): Promise<void> => {
      if (open) await made.close();
      open = false;
    };
    t.after(close);
    const target = { kind: 'netns', name: 'a' } as const;
    return { told, close, attach: (portId: PortId) => made.handle('attach', { portId, target }) };
  };
  const connected = (...names: readonly string[]): Promise<void> =>
    until(() => names.every((name) => of.gateway.connected().has(name)));
  /** Where the region has each interface. */
  const places = (): readonly string[] =>
    of.gateway
      .attachments()
      .map(({ host, portId, state }) => `${portId} ${host} ${state}`)
      .sort();
  return {
    ...of,
    ports: [await port(), await port(), await port()].sort() as [PortId, PortId, PortId],
    agent,
    connected,
    places,
  };
}

test('an attach that fails on a host lets go of the interface, and one that is under way does not', async (t) => {
  const [begun, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  t.after(() => over.resolve());
  const { ports, agent, connected } = await site(t);
  const [one, two] = [new KeptHost(), new KeptHost()];
  const [h1, h2] = [await agent('h1', one), await agent('h2', two)];
  await connected('h1', 'h2');
  const [port] = ports;
  one.onAttach = async () => {
    begun.resolve();
    await over.promise;
    throw new DriverError('no-such-target', 'there is no namespace a');
  };
  const first = assert.rejects(h1.attach(port), { code: 'no-such-target' });
  await begun.promise;
  await assert.rejects(h2.attach(port), { code: 'already-attached', message: /on host h1/ }, 'the control');
  over.resolve();
  await first;
  // It says so when it has failed: the region hears of it a moment later, and not only with the end of its patience.
  for (const end = performance.now() + 10_000; two.portIds.length === 0; await pause(10)) {
    await h2.attach(port).catch((error: Error) => assert.ok(performance.now() < end, error));
  }
  assert.deepEqual(two.portIds, [port]);
});

test('a host whose connection ends while it attaches holds up nobody', async (t) => {
  const [begun, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  t.after(() => over.resolve());
  const { ports, gateway, agent, connected } = await site(t);
  const [one, two] = [new KeptHost(), new KeptHost()];
  const way = await Way.open(t, gateway.port);
  const [h1, h2] = [await agent('h1', one, way.address), await agent('h2', two)];
  await connected('h1', 'h2');
  const [port] = ports;
  one.onAttach = async () => {
    begun.resolve();
    await over.promise;
    throw new DriverError('kernel', 'it was killed');
  };
  const first = assert.rejects(h1.attach(port), /killed/);
  await begun.promise;
  await assert.rejects(h2.attach(port), /on host h1/, 'the control');
  way.cut();
  await until(() => h1.told.includes('away'));
  await h2.attach(port);
  assert.deepEqual(two.portIds, [port]);
  over.resolve();
  await first;
});

test('two hosts that each attach what vanished on the other do not wait for each other', async (t) => {
  const { ports, agent, connected, places } = await site(t);
  const [p, q, r] = ports;
  const [one, two] = [new KeptHost(factOf(p, 'vanished')), new KeptHost(factOf(q, 'vanished'))];
  const [h1, h2] = [await agent('h1', one), await agent('h2', two)];
  await connected('h1', 'h2');
  await Promise.all([h1.attach(q), h2.attach(p), h1.attach(r)]);
  await until(() => places().length === 3);
  assert.deepEqual(places(), [`${p} h2 attached`, `${q} h1 attached`, `${r} h1 attached`]);
  assert.deepEqual([one.portIds, two.portIds], [[q, r].sort(), [p]]);
});

test('what comes and goes between hello and its answer is told once, and nothing is lost', async (t) => {
  const { ports, gateway, agent, places } = await site(t);
  const [stays, comes, goes] = ports;
  const changed: AttachmentFact[] = [];
  const detached: PortId[] = [];
  gateway.onAttachment((fact) => changed.push(fact));
  gateway.onDetached((portId) => detached.push(portId));
  const way = await Way.open(t, gateway.port);
  const host = new KeptHost(factOf(stays), factOf(goes));
  // The first that looks is the hello, which is sent next.
  host.onLook = () => {
    host.onLook = () => {};
    way.hold();
  };
  const { told } = await agent('h1', host, way.address);
  await until(() => gateway.connected().has('h1'));
  assert.deepEqual(places(), [`${stays} h1 attached`, `${goes} h1 attached`].sort());
  host.appear(factOf(comes));
  host.go(goes);
  await until(() => detached.length > 0);
  assert.ok(!told.includes('connected'), 'the control: the answer is not there yet');
  way.release();
  await until(() => told.includes('connected'));
  assert.ok(!told.includes('away'), 'on that very connection');
  assert.deepEqual(places(), [`${stays} h1 attached`, `${comes} h1 attached`].sort());
  assert.deepEqual(changed.map(({ portId }) => portId).sort(), [...ports].sort(), 'each once');
  assert.deepEqual(detached, [goes]);
  host.go(stays);
  await until(() => detached.length > 1);
  assert.deepEqual(places(), [`${comes} h1 attached`], 'and what comes later is heard');
});

test('an agent says why it cannot prove a configuration, once for each other reason, and when it can again', async (t) => {
  const { gateway, agent, connected } = await site(t);
  const host = new KeptHost();
  const { told } = await agent('h1', host);
  await connected('h1');
  const proof = (): readonly string[] => told.filter((line) => /configuration/.test(line));
  for (const why of ['no vswitchd', 'no vswitchd', 'no socket']) {
    host.onFence = async () => {
      throw new DriverError('kernel', why);
    };
    await assert.rejects(gateway.fence('h1', 5), { message: why });
  }
  host.onFence = async () => {};
  assert.equal(await gateway.fence('h1', 5), 5);
  const cannot = 'a configuration cannot be proven';
  assert.deepEqual(proof(), [cannot, cannot, 'a configuration is proven again']);
});

/**
 * What hosts owe is not forgotten when another server begins to write: on OVN's databases alone, with hosts that answer
 * as the test says.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import type { AttachmentFact, Owed } from '../../src/dataplane/driver.ts';
import { OvnDriver } from '../../src/dataplane/ovn/driver.ts';
import type { HostReading, Hosts } from '../../src/dataplane/ovn/hosts.ts';
import type { PortId } from '../../src/model/ids.ts';
import type { NetworkSpec } from '../../src/model/network-spec.ts';
import { planFor } from '../wire/plan-for.ts';
import { twoSites } from '../wire/sketch.ts';
import { database } from './central.ts';
import { cannotRun } from './ground.ts';

/** The same hosts, as one server sees them. */
class ToldHosts implements Hosts {
  readonly #up: Set<string>;
  readonly #ports: ReadonlyMap<PortId, string>;
  readonly #listeners: ((host: string) => void)[] = [];
  /** Hosts that were asked to prove a configuration. */
  readonly asked: string[] = [];
  constructor(up: Set<string>, ports: ReadonlyMap<PortId, string>) {
    this.#up = up;
    this.#ports = ports;
  }
  connected(): ReadonlySet<string> {
    return this.#up;
  }
  async fence(host: string, number: number): Promise<number> {
    if (!this.#up.has(host)) throw new Error('away');
    this.asked.push(host);
    return number;
  }
  async meter(): Promise<HostReading> {
    return { running: [], retired: [] };
  }
  attachments(): readonly (AttachmentFact & { readonly host: string })[] {
    const fact = { state: 'attached', target: 'netns:w', device: 'eth0', mtu: 1442, up: true } as const;
    return [...this.#ports].map(([portId, host]) => ({ ...fact, portId, host }));
  }
  async follow(): Promise<void> {}
  async release(): Promise<void> {}
  onConnected(listener: (host: string) => void): void {
    this.#listeners.push(listener);
  }
  onAttachment(): void {}
  onDetached(): void {}
  async close(): Promise<void> {}
  connect(host: string): void {
    this.#up.add(host);
    for (const listener of this.#listeners) listener(host);
  }
}

/** Two joined VPCs with a workload on a host each, and servers that may write them. */
async function region(t: TestContext) {
  const [north, south] = [await database(t, 'nb'), await database(t, 'sb')];
  const sites = twoSites();
  const up = new Set(['h1', 'h3']);
  const ports = new Map([
    [sites.r1, 'h1'],
    [sites.b1, 'h3'],
  ]);
  const server = (): Server => {
    const hosts = new ToldHosts(up, ports);
    const remotes = { northbound: [north.remote], southbound: [south.remote] };
    const driver = new OvnDriver({ installationId: 'abcdef0123', ...remotes, hosts, fencePatience: 200 });
    t.after(() => driver.close());
    return { driver, hosts };
  };
  return { ...sites, up, north, server };
}
interface Server {
  readonly driver: OvnDriver;
  readonly hosts: ToldHosts;
}
const become = async ({ driver }: Server, network: NetworkSpec): Promise<void> =>
  driver.apply(await planFor(driver, network));
const behind = (owed: readonly Owed[]): readonly string[] =>
  owed.flatMap(({ vpcId, notFencedOn }) => notFencedOn.map((host) => `${vpcId} ${host}`));

test('a server that takes over owes what the one before it owed', { skip: cannotRun }, async (t) => {
  const { sketch, red, blue, up, server } = await region(t);
  const [leader, standby] = [server(), server()];
  await become(leader, sketch.network());
  await standby.driver.observe(); // as every server does at its start, whether it leads or not
  assert.deepEqual([leader.driver.owed(), standby.driver.owed()], [[], []], 'all hosts are there: nothing is owed');

  up.delete('h3');
  sketch.peer(red, blue, false);
  await become(leader, sketch.network());
  assert.deepEqual(behind(leader.driver.owed()), [`${blue} h3`, `${red} h3`]);
  await leader.driver.close();

  standby.hosts.asked.length = 0;
  await standby.driver.observe();
  assert.deepEqual(behind(standby.driver.owed()), [`${blue} h3`, `${red} h3`]);
  assert.deepEqual(standby.hosts.asked, ['h1'], 'a host that is there has proven it before anything is said');
  await standby.driver.observe();
  assert.deepEqual(standby.hosts.asked, ['h1'], 'once is enough');

  // A VPC that is gone has no interface that tells its hosts: of it only the leader's last word is left.
  const gone = 'vpc-gone000000' as typeof red;
  await standby.driver.inherit([{ vpcId: gone, notFencedOn: ['h3'], notInstalledOn: [] }]);
  assert.deepEqual(behind(standby.driver.owed()), [`${blue} h3`, `${gone} h3`, `${red} h3`]);

  const caughtUp = new Promise<void>((resolve) => standby.driver.onOwedChange(resolve));
  standby.hosts.connect('h3');
  await caughtUp;
  assert.deepEqual(standby.driver.owed(), []);
  const before = standby.hosts.asked.length;
  sketch.peer(red, blue, true);
  await become(standby, sketch.network());
  await standby.driver.observe();
  assert.deepEqual(standby.hosts.asked.slice(before).sort(), ['h1', 'h3'], 'its own writes it need not inherit');
});

test('a database that came back from a backup gives no number again that hosts have proven', {
  skip: cannotRun,
}, async (t) => {
  const { sketch, red, blue, north, server } = await region(t);
  const one = server();
  await become(one, sketch.network());
  const backup = readFileSync(north.file);
  for (const live of [false, true, false, true]) {
    sketch.peer(red, blue, live);
    await become(one, sketch.network());
  }
  await north.kill();
  writeFileSync(north.file, backup);
  await north.start();
  one.hosts.asked.length = 0;
  sketch.peer(red, blue, false);
  // It is connected again when it says so.
  for (let tries = 0; ; tries++) {
    try {
      await become(one, sketch.network());
      break;
    } catch (error) {
      if (tries === 20) throw error;
    }
  }
  assert.deepEqual([...new Set(one.hosts.asked)].sort(), ['h1', 'h3'], 'the cut is proven, not believed');
});

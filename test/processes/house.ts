/**
 * A whole service for one test: both processes, a store, two peered tenants with a workload each. Everything carries a
 * random name and goes with the test, also after a failure.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { AdminClient } from '../../src/cli/admin.ts';
import { Client } from '../../src/cli/client.ts';
import { purge } from '../../src/cli/down.ts';
import { type Places, placesOf, sockets } from '../../src/cli/places.ts';
import { type Service, startService, type UpOptions } from '../../src/cli/up.ts';
import { AgentClient } from '../../src/dataplane/agent-client.ts';
import type { Observed } from '../../src/dataplane/driver.ts';
import type { Address } from '../../src/model/ip.ts';
import { Stream } from '../wire/stream.ts';
import { Workload } from '../wire/workload.ts';

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

export interface Site {
  readonly client: Client;
  readonly vpcId: string;
  readonly routeTableId: string;
  readonly portId: string;
  readonly address: Address;
  readonly workload: Workload;
}
export interface Pair {
  readonly red: Site;
  readonly blue: Site;
  readonly redHalf: string;
  readonly blueHalf: string;
}

export class House {
  readonly home: string;
  readonly options: UpOptions & { readonly runDir: string; readonly data: string };
  readonly places: Places;
  readonly admin: AdminClient;
  #service: Service | null = null;
  readonly #workloads: Workload[] = [];
  readonly #streams = new Set<Stream>();
  #ports = 0;

  private constructor(options: Partial<UpOptions>) {
    this.home = mkdtempSync(join(tmpdir(), 'house-'));
    chmodSync(this.home, 0o755);
    const [runDir, data] = [join(this.home, 'run'), join(this.home, 'data')];
    // A port that stays the same over restarts of the region.
    const listen = `127.0.0.1:${20_000 + (randomBytes(2).readUInt16LE() % 10_000)}`;
    this.options = { listen, region: 'test-1', driver: 'ebpf', ...options, runDir, data };
    this.places = placesOf(this.options);
    this.admin = new AdminClient({ socket: sockets(runDir).admin });
  }

  static async start(t: TestContext, options: Partial<UpOptions> = {}): Promise<House> {
    const house = new House(options);
    t.after(() => house.#end());
    await house.up();
    return house;
  }

  async up(): Promise<void> {
    this.#service = await startService(this.options, () => {});
  }
  get service(): Service {
    if (this.#service === null) throw new Error('the service is not up');
    return this.#service;
  }
  /** Stops the service as a signal would; the network stays. */
  async down(): Promise<void> {
    await this.#service?.stop();
    this.#service = null;
  }
  async #end(): Promise<void> {
    // A stream that a failed test left running would go on with descriptors that are no longer its own.
    for (const stream of this.#streams) await stream.stop();
    await this.down();
    for (const workload of this.#workloads) workload.close();
    await purge(this.places); // refuses to delete what something is mounted in
    rmdirSync(this.home); // empty now, or a test left something and shall hear of it
  }

  /** The lines that the processes wrote, oldest first. */
  get log(): readonly Record<string, unknown>[] {
    const text = readFileSync(join(this.options.runDir, 'isthmus.log'), 'utf8').trim();
    return text.split('\n').flatMap((line) => {
      try {
        return [JSON.parse(line) as Record<string, unknown>];
      } catch {
        return []; // a line that a killed process did not finish
      }
    });
  }

  async onHost<T>(method: 'attach' | 'detach' | 'observe' | 'attachments', params: object): Promise<T> {
    const client = await AgentClient.connect(sockets(this.options.runDir).host);
    try {
      return await client.call<T>(method, params);
    } finally {
      client.close();
    }
  }
  observe(): Promise<Observed> {
    return this.onHost('observe', {});
  }
  /** Whether each half in the plane is live. */
  async live(): Promise<readonly boolean[]> {
    return (await this.observe()).network.vpcs.flatMap(({ halves }) => halves.map(({ live }) => live));
  }

  /** Datagrams from one site to the other, one a millisecond. */
  async stream(from: Site, to: Site): Promise<Stream> {
    // A port of its own: the sockets live as long as the workload.
    const stream = await Stream.udp(from.workload, to.workload, to.address, 1, 64, 5001 + this.#ports++);
    this.#streams.add(stream);
    return stream;
  }
  /** Stops streams and adds up. */
  async lost(running: readonly Stream[]): Promise<{ readonly sent: number; readonly lost: number }> {
    const results = await Promise.all(
      running.map((stream) => {
        this.#streams.delete(stream);
        return stream.stop();
      }),
    );
    return {
      sent: results.reduce((sum, { sent }) => sum + sent, 0),
      lost: results.reduce((sum, one) => sum + one.sent - one.received, 0),
    };
  }

  /** Lines of the log that tell of a sync, from the given one on. */
  syncs(from = 0): readonly Record<string, unknown>[] {
    return this.log.filter(({ msg }) => msg === 'sync').slice(from);
  }
  /** Waits for a full sync after the given number of syncs: both processes have met again. */
  async met(after: number): Promise<void> {
    for (let tries = 0; tries < 800; tries++) {
      if (this.syncs(after).some(({ full }) => full === true)) return this.settled();
      await pause(25);
    }
    throw new Error('region and agent did not meet again within 20 s');
  }

  /** Kills a process the hard way. */
  kill(part: 'agent' | 'region'): void {
    const pid = this.service.pids()[part];
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
  }
  /** Waits until both processes are there again and agree. */
  async settled(): Promise<void> {
    for (let tries = 0; tries < 800; tries++) {
      await pause(25);
      try {
        const status = (await this.admin.call('GET', '/status')) as {
          revision: number;
          appliedRevision: number;
          planeProblem: string | null;
        };
        await this.onHost('attachments', {});
        if (status.planeProblem === null && status.appliedRevision === status.revision) return;
      } catch {
        // Not there yet.
      }
    }
    throw new Error('the service did not come back within 20 s');
  }

  async site(name: string, cidr: string): Promise<Site> {
    const { accountId } = (await this.admin.call('POST', '/accounts', { name })) as { accountId: string };
    const key = (await this.admin.call('POST', `/accounts/${accountId}/keys`, {})) as {
      accessKeyId: string;
      secretAccessKey: string;
    };
    await this.admin.call('PUT', `/accounts/${accountId}/quotas/vpc`, { maxLimit: 10_000 });
    const client = new Client({ endpoint: this.service.ready.url, region: 'test-1', ...key });
    const { vpcId } = (await client.post('/vpcs/', { vpcName: name, addressPrefix: cidr })) as { vpcId: string };
    const subnet = { vpcId, subnetName: name, addressPrefix: cidr };
    const { subnetId } = (await client.post('/subnets/', subnet)) as { subnetId: string };
    const { networkInterfaceId: portId } = (await client.post('/networkInterfaces/', { subnetId })) as {
      networkInterfaceId: string;
    };
    const { networkInterface } = (await client.get(`/networkInterfaces/${portId}`)) as {
      networkInterface: { primaryIp: { privateIpAddress: Address } };
    };
    const { vpc } = (await client.get(`/vpcs/${vpcId}`)) as { vpc: { routeTableIds: readonly [string] } };
    const workload = new Workload(name);
    this.#workloads.push(workload);
    await this.onHost('attach', { portId, target: { kind: 'netns', name: workload.name } });
    const address = networkInterface.primaryIp.privateIpAddress;
    return { client, vpcId, routeTableId: vpc.routeTableIds[0], portId, address, workload };
  }

  /** @returns the id of the half */
  async half(from: Site, to: Site): Promise<string> {
    const { vpcPeering } = (await from.client.post('/vpcPeerings/', {
      vpcPeeringName: `to-${to.vpcId}`,
      vpcId: from.vpcId,
      remoteVpcId: to.vpcId,
    })) as { vpcPeering: { vpcPeeringId: string } };
    return vpcPeering.vpcPeeringId;
  }
  async route(from: Site, cidr: string, halfId: string): Promise<void> {
    await from.client.post(`/routeTables/${from.routeTableId}:addRouteTableRules`, {
      routeTableRuleSpecs: [{ nextHopType: 'vpc_peering', nextHopId: halfId, addressPrefix: cidr }],
    });
  }
  /** Two tenants, peered and routed both ways. */
  async peered(): Promise<Pair> {
    const red = await this.site('red', '10.0.1.0/24');
    const blue = await this.site('blue', '10.1.1.0/24');
    const redHalf = await this.half(red, blue);
    const blueHalf = await this.half(blue, red);
    await this.route(red, '10.1.1.0/24', redHalf);
    await this.route(blue, '10.0.1.0/24', blueHalf);
    return { red, blue, redHalf, blueHalf };
  }
}

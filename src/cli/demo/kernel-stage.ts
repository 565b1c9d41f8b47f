/**
 * The demo's world in the kernel: a service of its own (two processes, a store and sockets in a temporary directory),
 * workloads in namespaces, real packets. Everything it makes carries one random name and goes with it.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { AgentClient } from '../../dataplane/agent-client.ts';
import { addAddress, createPair, linkNamed, setUp } from '../../kernel/link.ts';
import { Netlink } from '../../kernel/netlink.ts';
import { closeNamespace, createNamed, deleteNamed, inside, openNamed } from '../../kernel/netns.ts';
import { type Address, macOf } from '../../model/ip.ts';
import { defaultMtu } from '../../model/network-spec.ts';
import { AdminClient } from '../admin.ts';
import { purge } from '../down.ts';
import { placesOf, sockets } from '../places.ts';
import { startService } from '../up.ts';
import type { Stage, Throughput, Workload } from './stage.ts';
import { exitsOf, type TenantKey, tenantWith } from './tenant.ts';
import { WorkloadProcess } from './workload-process.ts';

const region = 'demo-1';
/** Each throughput measurement lasts this long, in milliseconds; both wires are measured in turn, several times. */
const blastTime = 400;
const rounds = 4;

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

export async function kernelStage(): Promise<Stage> {
  const mark = randomBytes(3).toString('hex');
  const home = mkdtempSync(join(tmpdir(), 'isthmus-demo-'));
  chmodSync(home, 0o755); // the region's user must reach its own directories in it
  const runDir = join(home, 'run');
  const options = {
    listen: '127.0.0.1:0',
    region,
    driver: 'ebpf',
    runDir,
    data: join(home, 'data'),
  };
  const namespaces: string[] = [];
  const processes = new Map<string, WorkloadProcess>();
  const keys = new Map<string, TenantKey>();
  const environments: string[] = [];
  const removeAll = async (): Promise<void> => {
    for (const process_ of processes.values()) await process_.close();
    for (const name of namespaces) if (existsSync(`/run/netns/${name}`)) deleteNamed(name);
    await purge(placesOf(options));
    for (const path of environments) rmSync(path, { force: true });
    rmdirSync(home);
  };
  const service = await startService(options, (text) => void process.stderr.write(`isthmus: ${text}\n`)).catch(
    async (error) => {
      await removeAll();
      throw error;
    },
  );
  const admin = new AdminClient({ socket: sockets(runDir).admin });

  const namespace = (name: string): string => {
    const full = `demo-${mark}-${name}`;
    createNamed(full);
    namespaces.push(full);
    return full;
  };
  const startProcess = async (inNamespace: string, name: string): Promise<WorkloadProcess> => {
    const process_ = await WorkloadProcess.start(inNamespace, name);
    processes.set(inNamespace, process_);
    return process_;
  };
  const processOf = (workload: Workload): WorkloadProcess => {
    const found = processes.get(`demo-${mark}-${workload.name}`);
    if (found === undefined) throw new Error(`no workload ${workload.name}`);
    return found;
  };

  /** A bare veth pair between two namespaces of its own: what the peering is compared with. */
  const rawPair = async (): Promise<{ from: WorkloadProcess; address: string }> => {
    const [left, right] = [namespace('raw-a'), namespace('raw-b')];
    const [leftEnd, rightEnd] = [openNamed(left), openNamed(right)];
    const near = inside(leftEnd, () => new Netlink());
    const far = inside(rightEnd, () => new Netlink());
    const device = 'raw0';
    createPair(
      near,
      { name: device, mac: macOf(1n), mtu: defaultMtu },
      { name: device, mac: macOf(2n), mtu: defaultMtu, namespace: rightEnd },
    );
    for (const [net, address] of [
      [near, '10.9.0.1'],
      [far, '10.9.0.2'],
    ] as const) {
      const ifindex = linkNamed(net, device)?.ifindex ?? 0;
      addAddress(net, ifindex, address as Address, 24);
      setUp(net, ifindex);
      net.close();
    }
    closeNamespace(leftEnd);
    closeNamespace(rightEnd);
    await startProcess(right, 'raw-b');
    return { from: await startProcess(left, 'raw-a'), address: '10.9.0.2' };
  };

  const throughput = async (from: Workload, to: Workload): Promise<Throughput> => {
    const raw = await rawPair();
    const blast = async (process_: WorkloadProcess, address: string): Promise<number> => {
      const { bytes, seconds } = await process_.ask<{ bytes: number; seconds: number }>({
        ask: 'blast',
        address,
        milliseconds: blastTime,
      });
      return (bytes * 8) / seconds;
    };
    const peered: number[] = [];
    const bare: number[] = [];
    const measures = [
      async () => peered.push(await blast(processOf(from), to.address)),
      async () => bare.push(await blast(raw.from, raw.address)),
    ];
    // In turn and in both orders: whoever goes first in a round has no advantage.
    for (let round = 0; round < rounds; round++) {
      for (const measure of round % 2 === 0 ? measures : measures.toReversed()) await measure();
    }
    return { peered: median(peered), raw: median(bare) };
  };

  const workloads = new Set<Workload>();
  const workload = (name: string, portId: string, address: string, process_: WorkloadProcess): Workload => ({
    name,
    portId,
    address,
    ping: (to, patience = 300) => process_.ask({ ask: 'ping', address: to, patience }),
    requestsSeen: () => process_.ask({ ask: 'requests-seen' }),
    fetch: (to) => process_.ask({ ask: 'fetch', address: to }),
    async stream(to) {
      await process_.ask({ ask: 'stream', address: to });
      const receiver = [...workloads].find((one) => one.address === to);
      return {
        received: () =>
          receiver === undefined ? Promise.resolve(0) : processOf(receiver).ask<number>({ ask: 'received' }),
        close: () => process_.ask({ ask: 'stop-stream' }),
      };
    },
  });

  return {
    kind: 'kernel',
    region,
    description: `eBPF data plane on kernel ${release()}: real packets between network namespaces`,
    async tenant(name) {
      const { accountId } = (await admin.call('POST', '/accounts', { name })) as { accountId: string };
      const key = (await admin.call('POST', `/accounts/${accountId}/keys`, {})) as {
        accessKeyId: string;
        secretAccessKey: string;
      };
      const full = { endpoint: service.ready.url, region, ...key };
      keys.set(name, full);
      return tenantWith(name, accountId, full);
    },
    async workload(name, portId, address) {
      const full = namespace(name);
      const agent = await AgentClient.connect(sockets(runDir).host);
      try {
        await agent.call('attach', { portId, target: { kind: 'netns', name: full } });
      } finally {
        agent.close();
      }
      const made = workload(name, portId, address, await startProcess(full, name));
      workloads.add(made);
      return made;
    },
    exits: exitsOf,
    throughput,
    suggestions(tenants, all) {
      const [red, blue] = all;
      const lines: string[] = [];
      for (const { name } of tenants) {
        const key = keys.get(name);
        if (key === undefined) continue;
        const path = join(home, `${name}.env`);
        environments.push(path);
        writeFileSync(
          path,
          [
            `export ISTHMUS_ENDPOINT=${key.endpoint}`,
            `export ISTHMUS_REGION=${key.region}`,
            `export ISTHMUS_ACCESS_KEY=${key.accessKeyId}`,
            `export ISTHMUS_SECRET_KEY=${key.secretAccessKey}`,
            '',
          ].join('\n'),
          { mode: 0o600 },
        );
      }
      lines.push(`. ${join(home, 'red.env')}         # be red; blue and green have theirs`);
      lines.push('bin/isthmus peering list');
      lines.push('bin/isthmus usage');
      if (red !== undefined && blue !== undefined) {
        lines.push(`bin/isthmus interface counters ${red.portId}   # every exit`);
        lines.push(`bin/isthmus exec ${red.portId} --run-dir ${runDir} -- ping -c 3 ${blue.address}`);
      }
      lines.push(`bin/isthmus doctor --run-dir ${runDir}`);
      return lines;
    },
    async close() {
      await service.stop();
      await removeAll();
    },
  };
}

/** The demo's world in memory: the same region and API, on the fake driver. Its packets are values. */
import { pino } from 'pino';
import { createServer } from '../../api/server.ts';
import { FakeDriver } from '../../dataplane/fake/driver.ts';
import { Reconciler } from '../../dataplane/reconciler.ts';
import type { Packet } from '../../explain/explain.ts';
import { isRefusal } from '../../model/errors.ts';
import type { AccountId, PortId } from '../../model/ids.ts';
import type { Address } from '../../model/ip.ts';
import { gatewayMac } from '../../model/network-spec.ts';
import { Region } from '../../region/region.ts';
import type { Command } from '../../rules/commands.ts';
import { SqliteStore } from '../../store/sqlite.ts';
import type { RunningStream, Stage, Workload } from './stage.ts';
import { exitsOf, tenantWith } from './tenant.ts';

const region = 'demo-1';
const echoBytes = 84;
const segmentBytes = 1500;

export async function memoryStage(): Promise<Stage> {
  const driver = new FakeDriver();
  const plane = new Reconciler(driver, { driftInterval: 0 });
  const store = new SqliteStore(':memory:');
  const service = await Region.start({ name: region, version: 'demo', store, plane });
  const app = await createServer({ region: service, log: pino({ level: 'silent' }) });
  const endpoint = await app.listen({ host: '127.0.0.1', port: 0 });
  const owners = new Map<string, { name: string; address: string; seen: number; received: number }>();
  const timers = new Set<NodeJS.Timeout>();

  const operate = async (command: Command): Promise<{ id: string; secret: string }> => {
    const outcome = await service.submit(command, { principal: { kind: 'operator' }, requestId: 'demo' });
    if (isRefusal(outcome)) throw new Error(outcome.text);
    return { id: outcome.result.id ?? '', secret: outcome.secret ?? '' };
  };
  /** Sends one packet; @returns the interface that received it */
  const send = (from: string, to: string, protocol: Packet['protocol'], length: number): string | null => {
    const port = service.state.get('interface', from);
    if (port === undefined) return null;
    const verdict = driver.send({
      from: port.id,
      sourceMac: port.mac,
      destinationMac: gatewayMac,
      source: port.primary[0] as Address,
      destination: to as Address,
      ttl: 64,
      length,
      protocol,
    });
    return verdict.kind === 'delivered' ? verdict.to : null;
  };
  const thereAndBack = (from: string, to: string, protocol: Packet['protocol'], length: number): string | null => {
    const arrived = send(from, to, protocol, length);
    const target = arrived === null ? undefined : owners.get(arrived);
    if (arrived === null || target === undefined) return null;
    target.seen++;
    const back = owners.get(from)?.address ?? '';
    return send(arrived, back, protocol === 'icmp-echo' ? 'other' : protocol, length) === from ? arrived : null;
  };

  const workload = (name: string, portId: string, address: string): Workload => ({
    name,
    portId,
    address,
    ping: async (to) => thereAndBack(portId, to, 'icmp-echo', echoBytes) !== null,
    requestsSeen: async () => owners.get(portId)?.seen ?? 0,
    fetch: async (to) => {
      const arrived = thereAndBack(portId, to, 'tcp', segmentBytes);
      return arrived === null ? null : `hello from ${owners.get(arrived)?.name}`;
    },
    stream: async (to): Promise<RunningStream> => {
      const peer = [...owners.values()].find((owner) => owner.address === to);
      const timer = setInterval(() => {
        if (thereAndBack(portId, to, 'tcp', segmentBytes) !== null && peer !== undefined) peer.received += segmentBytes;
      }, 5);
      timers.add(timer);
      return {
        received: async () => peer?.received ?? 0,
        close: async () => {
          clearInterval(timer);
          timers.delete(timer);
        },
      };
    },
  });

  return {
    kind: 'memory',
    region,
    description: 'fake data plane: every packet is a value in memory, nothing touches the kernel',
    async tenant(name) {
      const { id } = await operate({ kind: 'create-account', name });
      const key = await operate({ kind: 'create-key', accountId: id as AccountId, description: 'demo' });
      return tenantWith(name, id, { endpoint, region, accessKeyId: key.id, secretAccessKey: key.secret });
    },
    async workload(name, portId, address) {
      await plane.attach({ portId: portId as PortId, target: { kind: 'netns', name } });
      owners.set(portId, { name, address, seen: 0, received: 0 });
      return workload(name, portId, address);
    },
    exits: exitsOf,
    throughput: async () => null,
    suggestions: () => ['Play it with real packets: sudo bin/isthmus demo'],
    async close() {
      for (const timer of timers) clearInterval(timer);
      await app.close();
      await service.close();
    },
  };
}

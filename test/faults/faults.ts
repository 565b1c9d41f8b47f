/**
 * Faults made on purpose between two peered workloads, each with the word that a trace has for it. Owns how a fault is
 * made; what it is called and what mends it must come from the trace.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { decodeRegistration, idKey, sizes, u32 } from '../../src/dataplane/ebpf/layout.ts';
import type { BlockerCode } from '../../src/explain/blockers.ts';
import * as bpf from '../../src/kernel/bpf.ts';
import type { House, Pair, Site } from '../processes/house.ts';
import { byHand } from '../wire/workload.ts';

export interface Scene extends Pair {
  readonly house: House;
  readonly redCidr: string;
  readonly blueCidr: string;
  /** A namespace to attach to, for an interface whose workload died. */
  readonly spare: Map<string, string>;
}

export interface Fault {
  readonly name: string;
  /** What the trace calls it. */
  readonly code: BlockerCode;
  readonly make: (scene: Scene) => Promise<void> | void;
  /** Bytes of the packet that is traced. */
  readonly size?: number;
  /** The printed remedy only says where to look: this mends it. Such a fault is outside what Isthmus can see or touch. */
  readonly outside?: (scene: Scene) => void;
  /** What it works on: two faults of a pair must not be the same place. */
  readonly place: string;
  /** Of a fault in the plane's copy of something: where mending that writes the copy anew, and hides this fault. */
  readonly copyOf?: string;
}

const ip = (site: Site, ...args: readonly string[]): void => void byHand('ip', site.workload.name, ...args);
const nft = (site: Site, ...args: readonly string[]): void => {
  execFileSync('nsenter', [`--net=/run/netns/${site.workload.name}`, 'nft', ...args], {
    timeout: 10_000,
    stdio: 'pipe',
  });
};
const firewall = (site: Site, hook: 'input' | 'output'): void => {
  nft(site, 'add table inet f');
  nft(site, `add chain inet f c { type filter hook ${hook} priority 0 ; policy drop ; }`);
};
const mapOf = (house: House, name: string): number => {
  const fd = bpf.getPinned(join(house.options.runDir, 'bpf', name));
  if (fd === undefined) throw new Error(`no map ${name}`);
  return fd;
};
/** Does something to a pinned map of the running service, as somebody with root could. */
function strike(house: House, name: string, work: (fd: number) => void): void {
  const fd = mapOf(house, name);
  try {
    work(fd);
  } finally {
    bpf.closeFd(fd);
  }
}
function slotOf(house: House, id: string): number {
  let slot = 0;
  strike(house, 'ids', (fd) => {
    slot = decodeRegistration(bpf.lookup(fd, idKey(id), 144) ?? Buffer.alloc(144))?.slot ?? 0;
  });
  return slot;
}

const rules = async (site: Site): Promise<readonly { ruleId: string; addressPrefix: string }[]> =>
  (
    (await site.client.get(`/routeTables/${site.routeTableId}/routeTableRules`)) as {
      routeTableRules: readonly { ruleId: string; addressPrefix: string }[];
    }
  ).routeTableRules;
const ruleFor = async (site: Site, cidr: string): Promise<string> => {
  const found = (await rules(site)).find(({ addressPrefix }) => addressPrefix === cidr);
  if (found === undefined) throw new Error(`no rule for ${cidr}`);
  return found.ruleId;
};
const unroute = async (site: Site, cidr: string): Promise<void> => {
  const ruleIds = [await ruleFor(site, cidr)];
  await site.client.post(`/routeTables/${site.routeTableId}:removeRouteTableRules`, { ruleIds });
};
const turn = async (site: Site, cidr: string, nextHopType: string, nextHopId: string): Promise<void> => {
  const ruleId = await ruleFor(site, cidr);
  const change = { ruleId, nextHopType, nextHopId };
  await site.client.post(`/routeTables/${site.routeTableId}:modifyRouteTableRules`, {
    modifyRouteTableRuleSpecs: [change],
  });
};
const add = async (site: Site, addressPrefix: string, nextHopType: string, nextHopId: string): Promise<void> => {
  const routeTableRuleSpecs = [{ addressPrefix, nextHopType, nextHopId }];
  await site.client.post(`/routeTables/${site.routeTableId}:addRouteTableRules`, { routeTableRuleSpecs });
};
/** Puts the site's subnet on a table of its own, which knows nothing. */
const emptyTable = async (site: Site): Promise<void> => {
  const { subnets } = (await site.client.get('/subnets/')) as {
    subnets: readonly { subnetId: string; vpcId: string }[];
  };
  const subnet = subnets.find(({ vpcId }) => vpcId === site.vpcId);
  const made = await site.client.post('/routeTables/', { vpcId: site.vpcId, routeTableName: 'empty' });
  const { routeTableId } = made as { routeTableId: string };
  await site.client.post(`/routeTables/${routeTableId}:associateRouteTable`, { subnetIds: [subnet?.subnetId] });
};
/** A half towards a VPC that nobody answers from. */
const deadHalf = async (site: Site): Promise<string> => {
  const { vpcId } = (await site.client.post('/vpcs/', { vpcName: 'third', addressPrefix: '10.250.0.0/16' })) as {
    vpcId: string;
  };
  const { vpcPeering } = (await site.client.post('/vpcPeerings/', {
    vpcPeeringName: `third-${vpcId.slice(4)}`,
    vpcId: site.vpcId,
    remoteVpcId: vpcId,
  })) as { vpcPeering: { vpcPeeringId: string } };
  return vpcPeering.vpcPeeringId;
};
const dropHalf = async (site: Site, id: string): Promise<void> => void (await site.client.delete(`/vpcPeerings/${id}`));
const vanish = async ({ house, spare }: Scene, site: Site): Promise<void> => {
  ip(site, 'link', 'delete', 'eth0');
  for (let tries = 0; tries < 200; tries++) {
    const facts = await house.onHost<readonly { portId: string; state: string }[]>('attachments', {});
    if (facts.some(({ portId, state }) => portId === site.portId && state === 'vanished')) break;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  spare.set(site.portId, site.workload.name);
};
const gatewayOf = (site: Site): string => site.address.replace(/\.\d+$/, '.1');
const hostOf = (site: Site): string => `${site.address}/32`;

export const faults: readonly Fault[] = [
  { name: 'no route there', place: 'red routes', code: 'no-route', make: (s) => unroute(s.red, s.blueCidr) },
  { name: 'no route back', place: 'blue routes', code: 'no-route', make: (s) => unroute(s.blue, s.redCidr) },
  { name: 'no half of the sender', place: 'halves', code: 'no-half', make: (s) => dropHalf(s.red, s.redHalf) },
  { name: 'no half of the peer', place: 'halves', code: 'no-half', make: (s) => dropHalf(s.blue, s.blueHalf) },
  {
    name: 'no half at all',
    place: 'halves',
    code: 'no-half',
    make: async (s) => {
      await dropHalf(s.red, s.redHalf);
      await dropHalf(s.blue, s.blueHalf);
    },
  },
  {
    name: 'route to the internet',
    place: 'red routes',
    code: 'wrong-next-hop',
    make: (s) => turn(s.red, s.blueCidr, 'internet', 'internet'),
  },
  {
    name: 'return route to the internet',
    place: 'blue routes',
    code: 'wrong-next-hop',
    make: (s) => turn(s.blue, s.redCidr, 'internet', 'internet'),
  },
  {
    name: 'route to an appliance',
    place: 'red routes',
    code: 'wrong-next-hop',
    make: (s) => turn(s.red, s.blueCidr, 'elastic_network_interface', s.red.portId),
  },
  {
    name: 'route to a dead half',
    place: 'red routes',
    code: 'wrong-next-hop',
    make: async (s) => turn(s.red, s.blueCidr, 'vpc_peering', await deadHalf(s.red)),
  },
  {
    name: 'return route to a dead half',
    place: 'blue routes',
    code: 'wrong-next-hop',
    make: async (s) => turn(s.blue, s.redCidr, 'vpc_peering', await deadHalf(s.blue)),
  },
  {
    name: 'a shadowing route to the internet',
    place: 'red routes',
    code: 'shadowed',
    make: (s) => add(s.red, hostOf(s.blue), 'internet', 'internet'),
  },
  {
    name: 'a shadowing return route to a dead half',
    place: 'blue routes',
    code: 'shadowed',
    make: async (s) => add(s.blue, hostOf(s.red), 'vpc_peering', await deadHalf(s.blue)),
  },
  {
    name: 'a shadowing route to an appliance',
    place: 'red routes',
    code: 'shadowed',
    make: (s) => add(s.red, hostOf(s.blue), 'elastic_network_interface', s.red.portId),
  },
  { name: 'the wrong table', place: 'red routes', code: 'no-route', make: (s) => emptyTable(s.red) },
  { name: 'the wrong table of the peer', place: 'blue routes', code: 'no-route', make: (s) => emptyTable(s.blue) },
  {
    name: 'a route to half of the range only',
    place: 'red routes',
    code: 'no-route',
    make: async (s) => {
      await unroute(s.red, s.blueCidr);
      await add(s.red, s.blueCidr.replace('.0/24', '.128/25'), 'vpc_peering', s.redHalf);
    },
  },
  {
    name: 'sender detached',
    place: 'red workload',
    code: 'detached',
    make: async (s) => {
      await s.house.onHost('detach', { portId: s.red.portId });
      s.spare.set(s.red.portId, s.red.workload.name);
    },
  },
  {
    name: 'target detached',
    place: 'blue workload',
    code: 'detached',
    make: async (s) => {
      await s.house.onHost('detach', { portId: s.blue.portId });
      s.spare.set(s.blue.portId, s.blue.workload.name);
    },
  },
  { name: 'sender vanished', place: 'red workload', code: 'vanished', make: (s) => vanish(s, s.red) },
  { name: 'target vanished', place: 'blue workload', code: 'vanished', make: (s) => vanish(s, s.blue) },
  {
    name: "sender's device down",
    place: 'red workload',
    code: 'link-down',
    make: (s) => ip(s.red, 'link', 'set', 'eth0', 'down'),
  },
  {
    name: "target's device down",
    place: 'blue workload',
    code: 'link-down',
    make: (s) => ip(s.blue, 'link', 'set', 'eth0', 'down'),
  },
  {
    name: "sender's address removed",
    place: 'red workload',
    code: 'workload-no-address',
    make: (s) => ip(s.red, 'addr', 'flush', 'dev', 'eth0'),
  },
  {
    name: "target's address removed",
    place: 'blue workload',
    code: 'workload-no-address',
    make: (s) => ip(s.blue, 'addr', 'flush', 'dev', 'eth0'),
  },
  {
    name: 'another address in the workload',
    place: 'blue workload',
    code: 'workload-no-address',
    make: (s) => {
      ip(s.blue, 'addr', 'flush', 'dev', 'eth0');
      ip(s.blue, 'addr', 'add', `${s.blue.address.replace(/\d+$/, '77')}/24`, 'dev', 'eth0');
      ip(s.blue, 'route', 'add', 'default', 'via', gatewayOf(s.blue), 'dev', 'eth0');
    },
  },
  {
    name: "sender's default route removed",
    place: 'red workload',
    code: 'workload-no-default-route',
    make: (s) => ip(s.red, 'route', 'delete', 'default'),
  },
  {
    name: "target's default route removed",
    place: 'blue workload',
    code: 'workload-no-default-route',
    make: (s) => ip(s.blue, 'route', 'delete', 'default'),
  },
  {
    name: 'a spoofed source',
    place: 'red workload',
    code: 'workload-foreign-source',
    make: (s) => {
      const foreign = s.red.address.replace(/\d+$/, '66');
      ip(s.red, 'addr', 'add', `${foreign}/24`, 'dev', 'eth0');
      ip(s.red, 'route', 'replace', 'default', 'via', gatewayOf(s.red), 'dev', 'eth0', 'src', foreign);
    },
  },
  {
    name: 'an MTU too small for the packet',
    place: 'blue workload',
    code: 'too-big',
    size: 1500,
    make: async (s) => {
      await s.house.onHost('detach', { portId: s.blue.portId });
      await s.house.onHost('attach', {
        portId: s.blue.portId,
        target: { kind: 'netns', name: s.blue.workload.name },
        mtu: 1400,
      });
    },
  },
  {
    name: 'a map entry deleted: the address of the target',
    place: 'plane',
    code: 'plane-differs',
    make: (s) =>
      strike(s.house, 'addrs', (fd) => {
        const slot = slotOf(s.house, s.blue.portId);
        for (const [key, value] of [...bpf.entries(fd, sizes.addressKey, sizes.target)]) {
          if (value.readUInt32LE(4) === slot) bpf.remove(fd, key);
        }
      }),
  },
  {
    name: 'a map entry cleared: the half',
    place: 'plane',
    copyOf: 'halves',
    code: 'plane-differs',
    make: (s) => strike(s.house, 'halves', (fd) => bpf.update(fd, u32(slotOf(s.house, s.redHalf)), Buffer.alloc(8))),
  },
  {
    name: 'a map entry cleared: the half of the peer',
    place: 'plane',
    copyOf: 'halves',
    code: 'plane-differs',
    make: (s) => strike(s.house, 'halves', (fd) => bpf.update(fd, u32(slotOf(s.house, s.blueHalf)), Buffer.alloc(8))),
  },
  {
    name: "a firewall that keeps the sender's packets in",
    place: 'red firewall',
    code: 'workload-sends-not',
    make: (s) => firewall(s.red, 'output'),
    outside: (s) => nft(s.red, 'delete table inet f'),
  },
  {
    name: 'a firewall in front of the target',
    place: 'blue firewall',
    code: 'workload-answers-not',
    make: (s) => firewall(s.blue, 'input'),
    outside: (s) => nft(s.blue, 'delete table inet f'),
  },
  {
    name: "a firewall that keeps the target's answers in",
    place: 'blue firewall',
    code: 'workload-answers-not',
    make: (s) => firewall(s.blue, 'output'),
    outside: (s) => nft(s.blue, 'delete table inet f'),
  },
  {
    name: 'a firewall that keeps the answers from the sender',
    place: 'red firewall',
    code: 'workload-takes-not',
    make: (s) => firewall(s.red, 'input'),
    outside: (s) => nft(s.red, 'delete table inet f'),
  },
];

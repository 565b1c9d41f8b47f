/**
 * Puts BPF programs on a device's ingress and egress (clsact). Fixed handle and priority, so that a new version replaces
 * the old one in place without a packet in between.
 */
import { attribute, attributes, flags, type Netlink, nested } from './netlink.ts';

const newQdisc = 36;
const newFilter = 44;
const getFilter = 46;
const clsact = 0xfffffff1;
const hooks = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const;
export type Hook = keyof typeof hooks;
const priority = 1;
const handle = 1;
const allProtocols = 0x0300; // ETH_P_ALL in network order

function tcHeader(ifindex: number, of: { handle: number; parent: number; info: number }): Buffer {
  const header = Buffer.alloc(20);
  header.writeInt32LE(ifindex, 4);
  header.writeUInt32LE(of.handle, 8);
  header.writeUInt32LE(of.parent, 12);
  header.writeUInt32LE(of.info, 16);
  return header;
}

/** Makes the place for programs; keeps one that exists. */
export function addHooks(netlink: Netlink, ifindex: number): void {
  const header = tcHeader(ifindex, { handle: 0xffff0000, parent: clsact, info: 0 });
  netlink.request('adding clsact', newQdisc, flags.create, Buffer.concat([header, attribute(1, 'clsact')]));
}

/** Attaches a program, or replaces the one that is there. @param program a descriptor */
export function attachProgram(netlink: Netlink, ifindex: number, hook: Hook, program: number): void {
  const info = ((priority << 16) | allProtocols) >>> 0;
  const options = nested(2, attribute(6, program), attribute(7, `isthmus_${hook}`), attribute(8, 1)); // direct action
  const body = Buffer.concat([tcHeader(ifindex, { handle, parent: hooks[hook], info }), attribute(1, 'bpf'), options]);
  netlink.request(`attaching the ${hook} program`, newFilter, flags.create | flags.replace, body);
}

/** Ids of the programs that sit on a hook; what else is there counts as 0. */
export function programsOn(netlink: Netlink, ifindex: number, hook: Hook): readonly number[] {
  const header = tcHeader(ifindex, { handle: 0, parent: hooks[hook], info: 0 });
  return netlink
    .request('listing programs', getFilter, flags.dump, header)
    .map(({ body }) => attributes(body.subarray(20)).get(2))
    .filter((options) => options !== undefined)
    .map((options) => attributes(options).get(11)?.readUInt32LE(0) ?? 0);
}

/**
 * Frames that tell the neighbours of a workload who has its addresses now: a neighbour that remembers another MAC for one
 * of them would go on sending there. Pure, but for the sending.
 */
import { type Address, familyOf, type Mac } from '../model/ip.ts';
import { addressBytes, macBytes } from './link.ts';
import { checksum, PacketSocket } from './socket.ts';

const broadcast = Buffer.alloc(6, 0xff);
const allNodes = Buffer.from('ff020000000000000000000000000001', 'hex');
const allNodesMac = Buffer.from('333300000001', 'hex');

/** An ARP announcement (RFC 5227, section 3) or an unsolicited neighbour advertisement (RFC 4861, section 7.2.6). */
export function announcement(mac: Mac, address: Address): Buffer {
  return familyOf(address) === 4
    ? arp(macBytes(mac), addressBytes(address))
    : advertisement(macBytes(mac), addressBytes(address));
}

function arp(mac: Buffer, address: Buffer): Buffer {
  const header = Buffer.from('0806' + '0001' + '0800' + '06' + '04' + '0001', 'hex');
  return Buffer.concat([broadcast, mac, header, mac, address, Buffer.alloc(6), address]);
}

function advertisement(mac: Buffer, address: Buffer): Buffer {
  // Type 136, override; the target's address; its link-layer address as option 2.
  const message = Buffer.concat([Buffer.from('8800000020000000', 'hex'), address, Buffer.from('0201', 'hex'), mac]);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  const pseudo = Buffer.concat([address, allNodes, Buffer.from([0, 0]), length, Buffer.from([0, 0, 0, 58])]);
  message.writeUInt16BE(checksum(Buffer.concat([pseudo, message])), 2);
  const ip = Buffer.concat([Buffer.from('60000000', 'hex'), length, Buffer.from([58, 255]), address, allNodes]);
  return Buffer.concat([allNodesMac, mac, Buffer.from('86dd', 'hex'), ip, message]);
}

/** Sends the announcements of these addresses. @param namespace a descriptor @throws KernelError when it cannot */
export function announce(namespace: number, ifindex: number, mac: Mac, addresses: readonly Address[]): void {
  const socket = new PacketSocket(namespace, ifindex);
  try {
    for (const address of addresses) socket.send(announcement(mac, address));
  } finally {
    socket.close();
  }
}

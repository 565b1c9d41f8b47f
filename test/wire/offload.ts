/** Switches a device's offloads, as `ethtool -K` does. Works on the legacy ioctl, which every kernel has. */
import koffi from 'koffi';
import { KernelError } from '../../src/kernel/bpf.ts';
import type { Workload } from './workload.ts';

const ioctl = koffi.load('libc.so.6').func('int ioctl(int, ulong, void *)');
const siocEthtool = 0x8946;
const set = { checksums: 0x17, segmentation: 0x1f, genericSegmentation: 0x24 } as const;

/** Transmit checksums and segmentation on or off, in the order in which the one depends on the other. */
export function setOffloads(of: Workload, on: boolean, device = 'eth0'): void {
  const socket = of.udp();
  const order = ['checksums', 'segmentation', 'genericSegmentation'] as const;
  for (const name of on ? order : order.toReversed()) {
    const value = Buffer.from(Uint32Array.of(set[name], on ? 1 : 0).buffer);
    const request = Buffer.alloc(40);
    request.write(device, 0, 15);
    request.writeBigUInt64LE(BigInt(koffi.address(value) as number | bigint), 16);
    if (Number(ioctl(socket.fd, siocEthtool, request)) < 0) throw new KernelError(`switching ${name}`, koffi.errno());
    if (value.length !== 8) throw new Error('kept until here: the kernel reads it through the pointer');
  }
}

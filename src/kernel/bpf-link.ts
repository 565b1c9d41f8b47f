/**
 * Programs on a device by tcx links (Linux 6.6): pinned, they stay where nobody can take them off by accident. The data
 * plane uses clsact in its private namespace, which attaches eight times faster; libbpf 1.1 knows no tcx, hence bpf(2).
 */
import { attr, must } from './bpf.ts';

const attachTypes = { ingress: 46, egress: 47 } as const;

/** @param ifindex in this thread's namespace @returns descriptor of the link: closing it unpinned detaches @throws KernelError */
export const createLink = (program: number, ifindex: number, hook: keyof typeof attachTypes): number =>
  must(
    `attaching to ${hook} of device ${ifindex}`,
    'linkCreate',
    attr(64, (at) => {
      at.writeUInt32LE(program, 0);
      at.writeUInt32LE(ifindex, 4);
      at.writeUInt32LE(attachTypes[hook], 8);
    }),
  );

/** Puts another program in the place of the one there, with no packet in between. @throws KernelError */
export function updateLink(link: number, program: number): void {
  must(
    'replacing a program',
    'linkUpdate',
    attr(16, (at) => {
      at.writeUInt32LE(link, 0);
      at.writeUInt32LE(program, 4);
    }),
  );
}

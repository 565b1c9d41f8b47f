/**
 * The one closed list of ways a packet can leave the data plane. The C header `bpf/drop_reason.h`, the tracer, the
 * counters and `docs/drops.md` are generated from it or checked against it; nothing else may name a reason.
 *
 * `code` is the byte the BPF program counts under: 0 forwarded, 1–15 answered by the gateway, 16 and up dropped. The
 * order of the drops is the order in which both the program and `explain` check them, so the first reason that holds wins.
 */
export const exits = {
  Forwarded: { code: 0, drop: false, meaning: 'Handed to the target interface.', remedy: '' },
  Answered: {
    code: 1,
    drop: false,
    meaning: 'Answered by the gateway itself: ARP, neighbour discovery or an echo to the gateway address.',
    remedy: '',
  },
  NoPort: {
    code: 16,
    drop: true,
    meaning: 'The packet came from a device that belongs to no interface.',
    remedy: 'Attach the workload to an interface: isthmus attach INTERFACE --netns NAME.',
  },
  Short: { code: 17, drop: true, meaning: 'The frame ends before its headers do.', remedy: 'Send whole frames.' },
  BadEtherType: {
    code: 18,
    drop: true,
    meaning: 'Neither IPv4, IPv6 nor ARP, or a VLAN tag is present.',
    remedy: 'A VPC carries untagged IP only: remove the tag or the foreign protocol.',
  },
  WrongSourceMac: {
    code: 19,
    drop: true,
    meaning: "The source MAC is not the interface's own.",
    remedy: 'Use the MAC that the interface was given.',
  },
  BadHeader: {
    code: 20,
    drop: true,
    meaning: 'The IP or ARP header contradicts itself, or carries IPv4 options.',
    remedy: 'Send a well-formed header without options.',
  },
  SpoofedAddress: {
    code: 21,
    drop: true,
    meaning: "The source address is not one of the interface's own.",
    remedy: 'Assign the address to the interface, or set its sanityCheck to 0 for forwarding inside the VPC.',
  },
  NotToGateway: {
    code: 22,
    drop: true,
    meaning:
      'Not for the gateway: broadcast, multicast, a foreign station, or a neighbour message to another workload.',
    remedy: 'Send to the gateway; VPCs carry unicast only.',
  },
  NoRoute: {
    code: 23,
    drop: true,
    meaning: "The subnet's route table has no rule for the destination.",
    remedy: "Add a rule to the source subnet's route table.",
  },
  BlackHole: {
    code: 24,
    drop: true,
    meaning: 'The rule leads nowhere: the internet (no egress exists) or an interface that is gone.',
    remedy: 'Point the rule at a live next hop, or remove it.',
  },
  NoPeering: {
    code: 25,
    drop: true,
    meaning: 'The rule names a peering half that is not Connected.',
    remedy: 'Both owners must have created their half.',
  },
  NoSuchAddress: {
    code: 26,
    drop: true,
    meaning: 'No interface of the target VPC has the destination address.',
    remedy: 'Check the address; create the interface.',
  },
  StaleEntry: {
    code: 27,
    drop: true,
    meaning: 'A table entry was stored for another identity and is being replaced.',
    remedy: 'None needed: transient while a change is applied.',
  },
  TargetGone: {
    code: 28,
    drop: true,
    meaning: 'The target interface has no workload attached, or its device vanished.',
    remedy: 'Attach the workload: isthmus attach INTERFACE --netns NAME.',
  },
  TtlExpired: {
    code: 29,
    drop: true,
    meaning: 'The TTL or hop limit ran out at the gateway; the sender was told.',
    remedy: 'Send with a larger TTL.',
  },
  TooBig: {
    code: 30,
    drop: true,
    meaning: 'Larger than the MTU of the target interface; the sender was told where the protocol allows it.',
    remedy: 'Send smaller packets, or allow fragmentation.',
  },
  FromHost: {
    code: 31,
    drop: true,
    meaning: "The host's own stack tried to send into a workload.",
    remedy: 'None: hosts never talk to workloads through their interface.',
  },
  Internal: {
    code: 32,
    drop: true,
    meaning: 'A helper of the kernel failed.',
    remedy: 'Report it, with the output of isthmus doctor.',
  },
} as const satisfies Record<string, { code: number; drop: boolean; meaning: string; remedy: string }>;

/** Every way out of the data plane, drops included. */
export type Exit = keyof typeof exits;

/** The exits that lose the packet. */
export type DropReason = { [E in Exit]: (typeof exits)[E]['drop'] extends true ? E : never }[Exit];

export const exitNames = Object.keys(exits) as readonly Exit[];
export const dropReasons = exitNames.filter((name): name is DropReason => exits[name].drop);

const byCode = new Map<number, Exit>(exitNames.map((name) => [exits[name].code, name]));

/** The exit a counter slot stands for, or undefined for a code that no program may count. */
export const exitOfCode = (code: number): Exit | undefined => byCode.get(code);

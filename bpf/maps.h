/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The tables that the agent writes and the program reads. Every value names the identity it was stored for, because the
 * kernel reuses freed elements at once and a running program may see another key's value.
 */
#pragma once

#define MAX_PORTS 65536
#define MAX_INTERFACES 8192
#define MAX_TABLES 16384
#define MAX_HALVES 16384
#define MAX_ADDRESSES 65536
#define MAX_ROUTES 256
#define EXITS_PER_INTERFACE 64

struct addr {
	__u32 w[4]; /* network order; IPv4 as ::ffff:a.b.c.d */
};

/* interface flags */
#define IF_SANITY 1

struct iface {
	__u32 ifindex; /* host end; 0 while detached */
	__u32 vpc;
	__u32 table;
	__u32 generation;
	__u8 mac[6];
	__u16 flags;
	__u32 mtu;
	struct addr gateway4, gateway6; /* all zero: no such family */
	struct addr primary4, primary6;
};

enum { TO_LOCAL = 1, TO_HALF = 2, TO_INTERFACE = 3, TO_BLACK_HOLE = 4 };

struct route_key {
	__u32 length; /* in bits, the family included */
	__u32 family; /* 4 or 6: without it, a route to ::/0 would carry IPv4 too */
	struct addr addr;
};

struct route {
	__u32 vpc; /* whose table; written first, checked last */
	__u32 kind;
	__u32 slot; /* in halves or interfaces; 0 is never used */
	__u32 generation;
};

struct addr_key {
	__u32 vpc;
	struct addr addr;
};

struct target {
	__u32 vpc; /* written first, checked last */
	__u32 slot;
	__u32 mtu;
	__u8 mac[6];
	__u16 flags;
};

struct count {
	__u64 packets;
	__u64 bytes;
};

#define GATEWAY_MAC {0x02, 0x00, 0x5e, 0x00, 0x00, 0x01}

/*
 * Faults for test objects only, which prove that each guard is needed: NO_IDENTITY_CHECK and NO_DEVMAP leave one out;
 * WIDEN_US spins between check and hand-over, so that a missing fence shows.
 */
#ifdef WIDEN_US
#define WIDEN()                                                              \
	do {                                                                 \
		__u64 until = bpf_ktime_get_ns() + WIDEN_US * 1000;          \
		for (int spin = 0; spin < 3000; spin++)                      \
			if (bpf_ktime_get_ns() > until)                      \
				break;                                       \
	} while (0)
#else
#define WIDEN() do { } while (0)
#endif

#define table_of(kind, k, v, max)                                            \
	{                                                                    \
		__uint(type, kind);                                          \
		__uint(key_size, k);                                         \
		__uint(value_size, v);                                       \
		__uint(max_entries, max);                                    \
	}

/* What this installation is; see layout.ts. Written once. */
struct table_of(BPF_MAP_TYPE_ARRAY, 4, 128, 1) meta SEC(".maps");
/* Resource id (32 bytes, zero padded) -> what slot stands for it, and whose it is; see layout.ts. The agent only. */
struct table_of(BPF_MAP_TYPE_HASH, 32, 144, 131072) ids SEC(".maps");
/* ifindex of a host end -> interface slot; 0 is nobody's. An array saves 25 ns a packet over a hash (measured); */
struct table_of(BPF_MAP_TYPE_ARRAY, 4, 4, MAX_PORTS) ports SEC(".maps");
/* this holds the ifindexes beyond it, which a namespace reaches after as many attachments. */
struct table_of(BPF_MAP_TYPE_HASH, 4, 4, MAX_INTERFACES) far_ports SEC(".maps");
struct table_of(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct iface), MAX_INTERFACES) interfaces SEC(".maps");
/* half slot -> peer VPC (low 32 bits) and generation; 0 is dead. One write is the disconnect. */
struct table_of(BPF_MAP_TYPE_ARRAY, 4, 8, MAX_HALVES) halves SEC(".maps");
struct table_of(BPF_MAP_TYPE_HASH, sizeof(struct addr_key), sizeof(struct target), MAX_ADDRESSES) addrs SEC(".maps");
/* interface slot -> device. The kernel clears an entry when its device goes; a stored ifindex could be reused. */
struct table_of(BPF_MAP_TYPE_DEVMAP, 4, 4, MAX_INTERFACES) devs SEC(".maps");
/* Arrays, so that nothing can go uncounted. Slot 0 counts what belongs to no interface. */
struct table_of(BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(struct count), MAX_HALVES) half_counts SEC(".maps");
struct table_of(BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(struct count), MAX_INTERFACES *EXITS_PER_INTERFACE)
	exits SEC(".maps");

struct lpm {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(key_size, sizeof(struct route_key));
	__uint(value_size, sizeof(struct route));
	__uint(max_entries, MAX_ROUTES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
};
/* route table slot -> its routes: the cost of a lookup does not grow with the number of tables. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, MAX_TABLES);
	__array(values, struct lpm);
} tables SEC(".maps");

struct dummy table_of(BPF_MAP_TYPE_ARRAY, 4, 4, 1);
/* Updating an element of a map of maps waits for an RCU grace period: this one exists for that alone. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 1);
	__array(values, struct dummy);
} fence SEC(".maps");

#ifdef FLOWS
/* What became of one packet; layout: src/dataplane/ebpf/flows.ts. */
struct flow {
	__u64 time; /* CLOCK_MONOTONIC, nanoseconds */
	__u32 slot, half;
	__u32 segments, bytes;
	__u8 exit, v6, proto, pad;
	__u32 ports; /* source and destination, network order */
	struct addr src, dst;
};
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} flows SEC(".maps");
/* 0: one packet in how many is told of, 0 for none. 1: records for which there was no room. */
struct table_of(BPF_MAP_TYPE_ARRAY, 4, 8, 2) flow_config SEC(".maps");
#endif

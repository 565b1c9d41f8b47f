/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One packet on its way through the program: what its headers say, how it is counted, how it leaves. Packet pointers are
 * never kept: every function asks for them anew, because helpers that resize a packet make them invalid.
 */
#pragma once

/* linux/icmp.h and linux/if_arp.h pull in libc headers; these few are all we need. */
struct arp {
	__be16 htype, ptype;
	__u8 hlen, plen;
	__be16 op;
	__u8 sha[6];
	__be32 spa;
	__u8 tha[6];
	__be32 tpa;
} __attribute__((packed));
struct icmp {
	__u8 type, code;
	__u16 check;
	__be32 rest;
};
struct fragment {
	__u8 next, reserved;
	__be16 offset;
	__be32 id;
};
struct solicitation {
	struct icmp icmp;
	struct addr target;
	__u8 option, units, mac[6];
};

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMP6 58
#define NEXT_HOP_BY_HOP 0
#define NEXT_FRAGMENT 44
#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET 0x1fff
#define GATEWAY_TTL 64
/* Every header that is ever read: Ethernet, IP, and a fragment header or the fixed part of TCP's. No more: a small TCP
 * segment has its payload on a page, and asking for more than its headers would copy it. */
#define HEADERS(v6) (14 + ((v6) ? 40 : 20) + 20)

static const __u8 gateway_mac[6] = GATEWAY_MAC;

struct packet {
	struct __sk_buff *skb;
	struct iface *from;
	__u32 slot;            /* the sender's interface; 0 while unknown */
	__u32 segments, bytes; /* as on the wire, Ethernet headers included */
	__u32 length;          /* of the IP packet as its header says; of the largest segment when segmented */
	__u32 l4;              /* offset of the transport header */
	struct addr src, dst;
	__u8 v6, proto, ttl;
	__u8 own;                      /* the source address is the sender's own */
	__u8 fragment, later_fragment; /* any; any but the first */
	__u8 may_tell;                 /* the protocol wants "too big" reported: IPv6, or IPv4 with DF */
#ifdef FLOWS
	__u32 half; /* that it goes over, or was to; 0 for none */
#endif
};

/* In assembly, because the compiler would move or merge these two loads and the verifier then refuses the program. */
static __always_inline void *head(struct __sk_buff *skb)
{
	void *at;

	asm volatile("%0 = *(u32 *)(%1 + 76)" : "=r"(at) : "r"(skb));
	return at;
}
static __always_inline void *tail(struct __sk_buff *skb)
{
	void *at;

	asm volatile("%0 = *(u32 *)(%1 + 80)" : "=r"(at) : "r"(skb));
	return at;
}

static __always_inline void count(void *map, __u32 key, __u64 packets, __u64 bytes)
{
	struct count *c = bpf_map_lookup_elem(map, &key);

	if (c) {
		c->packets += packets;
		c->bytes += bytes;
	}
}

#ifdef FLOWS
/* Tells of one packet in so many. Only the object with FLOWS has it: the other knows nothing of flow records. */
static __noinline int tell_flow(struct packet *p, __u32 exit)
{
	__u32 rate = 0, lost = 1;
	__u64 *every = bpf_map_lookup_elem(&flow_config, &rate);
	struct flow *flow;

	if (!every || !*every || bpf_get_prandom_u32() % (__u32)*every)
		return 0;
	flow = bpf_ringbuf_reserve(&flows, sizeof(*flow), 0);
	if (!flow) {
		every = bpf_map_lookup_elem(&flow_config, &lost);
		if (every)
			__sync_fetch_and_add(every, 1);
		return 0;
	}
	flow->time = bpf_ktime_get_ns();
	flow->slot = p->slot;
	flow->half = p->half;
	flow->segments = p->segments;
	flow->bytes = p->bytes;
	flow->exit = exit;
	flow->v6 = p->v6;
	flow->proto = p->proto;
	flow->pad = 0;
	flow->ports = 0;
	if ((p->proto == PROTO_TCP || p->proto == PROTO_UDP) && !p->later_fragment)
		bpf_skb_load_bytes(p->skb, p->l4, &flow->ports, 4);
	flow->src = p->src;
	flow->dst = p->dst;
	bpf_ringbuf_submit(flow, 0);
	return 0;
}
#endif

/* The one way out: every packet passes here, once. */
static __always_inline int leave(struct packet *p, __u32 exit, int verdict)
{
	count(&exits, p->slot * EXITS_PER_INTERFACE + exit, p->segments, p->bytes);
#ifdef FLOWS
	tell_flow(p, exit);
#endif
	return verdict;
}
#define DROP(p, reason) return leave(p, EXIT_##reason, TC_ACT_SHOT)

/* What the program sets would reach the workload (the sender's own was cleared on the way here): set nothing. */
static __always_inline int hand_over(struct packet *p, __u32 ifindex)
{
	p->skb->mark = 0;
	p->skb->priority = 0;
	return bpf_redirect_peer(ifindex, 0);
}

static __always_inline int same(const struct addr *a, const struct addr *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}
static __always_inline int given(const struct addr *a)
{
	return a->w[0] || a->w[1] || a->w[2] || a->w[3];
}
static __always_inline int link_local(const struct addr *a)
{
	return bpf_ntohl(a->w[0]) >> 22 == 0xfe80 >> 6;
}
static __always_inline struct addr mapped(__be32 v4)
{
	struct addr a = {{0, 0, bpf_htonl(0xffff), v4}};

	return a;
}
static __always_inline int multicast(const struct packet *p)
{
	return p->v6 ? bpf_ntohl(p->dst.w[0]) >> 24 == 0xff : bpf_ntohl(p->dst.w[3]) >= 0xe0000000;
}
static __always_inline int same_mac(const __u8 *a, const __u8 *b)
{
	return *(__u16 *)a == *(__u16 *)b && *(__u16 *)(a + 2) == *(__u16 *)(b + 2) && *(__u16 *)(a + 4) == *(__u16 *)(b + 4);
}
static __always_inline void put_mac(__u8 *to, const __u8 *from)
{
	*(__u16 *)to = *(__u16 *)from;
	*(__u16 *)(to + 2) = *(__u16 *)(from + 2);
	*(__u16 *)(to + 4) = *(__u16 *)(from + 4);
}

/* Reads the IP header, which is there in full. Returns an exit to drop with, or 0. */
static __always_inline __u32 parse(struct packet *p)
{
	struct ethhdr *eth = head(p->skb);
	__u32 frame = p->skb->len - sizeof(*eth);

	if (p->v6) {
		struct ipv6hdr *ip = (void *)(eth + 1);
		struct fragment *part = (void *)(ip + 1);

		if ((void *)(ip + 1) > tail(p->skb))
			return EXIT_Internal;
		p->length = sizeof(*ip) + bpf_ntohs(ip->payload_len);
		if (ip->version != 6 || p->length > frame)
			return EXIT_BadHeader;
		/* Options that every router must read are refused like those of IPv4; multicast reports carry them by right. */
		if (ip->nexthdr == NEXT_HOP_BY_HOP && !(eth->h_dest[0] & 1))
			return EXIT_BadHeader;
		p->src = *(struct addr *)&ip->saddr;
		p->dst = *(struct addr *)&ip->daddr;
		/* ::ffff:a.b.c.d stands for IPv4 in every table; on a wire no IPv6 packet may carry it (RFC 4942, 2.2). */
		if ((!p->src.w[0] && !p->src.w[1] && p->src.w[2] == bpf_htonl(0xffff)) ||
		    (!p->dst.w[0] && !p->dst.w[1] && p->dst.w[2] == bpf_htonl(0xffff)))
			return EXIT_BadHeader;
		p->proto = ip->nexthdr;
		p->ttl = ip->hop_limit;
		p->may_tell = 1;
		p->l4 = sizeof(*eth) + sizeof(*ip);
		if (p->proto == NEXT_FRAGMENT) {
			if (p->length < sizeof(*ip) + sizeof(*part))
				return EXIT_BadHeader;
			if ((void *)(part + 1) > tail(p->skb))
				return EXIT_Internal;
			p->fragment = 1;
			p->later_fragment = (part->offset & bpf_htons(0xfff8)) != 0;
			p->proto = part->next;
			p->l4 += sizeof(*part);
		}
	} else {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > tail(p->skb))
			return EXIT_Internal;
		p->length = bpf_ntohs(ip->tot_len);
		if (ip->version != 4 || ip->ihl != 5 || p->length < sizeof(*ip) || p->length > frame)
			return EXIT_BadHeader;
		p->src = mapped(ip->saddr);
		p->dst = mapped(ip->daddr);
		p->proto = ip->protocol;
		p->ttl = ip->ttl;
		p->fragment = (ip->frag_off & bpf_htons(IP_OFFSET | IP_MF)) != 0;
		p->later_fragment = (ip->frag_off & bpf_htons(IP_OFFSET)) != 0;
		p->may_tell = (ip->frag_off & bpf_htons(IP_DF)) != 0;
		p->l4 = sizeof(*eth) + sizeof(*ip);
	}
	return 0;
}

/* A segmented packet counts as what leaves on a wire: each segment with its own headers. */
static __always_inline void measure(struct packet *p)
{
	__u32 size = p->skb->gso_size, headers = p->l4 + 8;

	if (!size)
		return;
	if (p->proto == PROTO_TCP) {
		struct tcphdr *tcp = head(p->skb) + p->l4;

		if ((void *)(tcp + 1) <= tail(p->skb))
			headers = p->l4 + tcp->doff * 4;
	}
	p->length = headers - sizeof(struct ethhdr) + size;
	/* A sender may leave their number open (0). */
	if (p->segments < 2 && p->skb->len > headers)
		p->segments = (p->skb->len - headers + size - 1) / size;
	if (p->segments > 1)
		p->bytes = p->skb->len + (p->segments - 1) * headers;
}

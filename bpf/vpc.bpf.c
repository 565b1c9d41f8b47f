// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The whole data plane. One program on the ingress of each interface's host end decides what becomes of a packet, in the
 * order of drop_reason.h, and hands it to the target's workload; one on the egress drops what the host itself would send.
 * No policy lives here: the tables say who reaches whom. Every exit counts. Nothing ever reaches the host's own stack.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "drop_reason.h"
#include "maps.h"

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
struct solicitation {
	struct icmp icmp;
	struct addr target;
	__u8 option, units, mac[6];
};

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_ICMP6 58
#define NEXT_HOP_BY_HOP 0
#define NEXT_FRAGMENT 44
#define IP_DF 0x4000
#define IP_OFFSET 0x1fff
#define GATEWAY_TTL 64
/* Bytes of the original in an ICMP error: enough for both headers, and never cut into a TCP checksum field. */
#define QUOTE 40
#define QUOTE6 64

struct packet {
	struct __sk_buff *skb;
	struct iface *from;
	__u32 slot;
	__u32 length; /* of the IP packet, as its header says; of the largest segment when segmented */
	__u32 l4;     /* offset of the transport header */
	__u32 segments, bytes; /* as on the wire */
	struct addr src, dst;
	__u8 v6, proto, ttl, own, later_fragment, may_tell;
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

static __always_inline int leave(struct packet *p, __u32 exit, int verdict)
{
	count(&exits, p->slot * EXITS_PER_INTERFACE + exit, p->segments, p->bytes);
	return verdict;
}
#define DROP(p, reason) return leave(p, EXIT_##reason, TC_ACT_SHOT)

static __always_inline int same(const struct addr *a, const struct addr *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}
static __always_inline int given(const struct addr *a)
{
	return a->w[0] | a->w[1] | a->w[2] | a->w[3];
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
static __always_inline struct addr mapped(__be32 v4)
{
	struct addr a = {{0, 0, bpf_htonl(0xffff), v4}};
	return a;
}
static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

/* Back to the sender, from the gateway. */
static __always_inline void address_frame(struct packet *p, struct ethhdr *eth)
{
	const __u8 gateway[6] = GATEWAY_MAC;

	put_mac(eth->h_dest, p->from->mac);
	put_mac(eth->h_source, gateway);
}
static __always_inline int hand_back(struct packet *p)
{
	p->skb->mark = 0;
	p->skb->priority = 0;
	return bpf_redirect_peer(p->skb->ifindex, 0);
}

/* Is this one of the sender's own addresses? The primary ones stand in its entry; others cost a lookup. */
static __always_inline int own_address(struct packet *p, const struct addr *a)
{
	struct addr_key key;
	struct target *t;

	if (same(a, &p->from->primary4) || same(a, &p->from->primary6))
		return 1;
	key.vpc = p->from->vpc;
	key.addr = *a;
	t = bpf_map_lookup_elem(&addrs, &key);
	return t && t->slot == p->slot && *(volatile __u32 *)&t->vpc == p->from->vpc;
}

/* Every address but the sender's own is behind the gateway, those of its own subnet too: nothing is ever flooded. */
static __always_inline int answer_arp(struct packet *p)
{
	const __u8 gateway[6] = GATEWAY_MAC;
	struct ethhdr *eth = head(p->skb);
	struct arp *arp = (void *)(eth + 1);
	struct addr sender, wanted;

	if ((void *)(arp + 1) > tail(p->skb))
		DROP(p, Short);
	if (arp->htype != bpf_htons(1) || arp->ptype != bpf_htons(ETH_P_IP) || arp->hlen != 6 || arp->plen != 4)
		DROP(p, BadHeader);
	if (arp->op != bpf_htons(1))
		DROP(p, NotToGateway);
	sender = mapped(arp->spa);
	wanted = mapped(arp->tpa);
	/* A probe for duplicates (sender 0.0.0.0) or a question for oneself must stay unanswered. */
	if (!arp->spa || own_address(p, &wanted))
		DROP(p, NoSuchAddress);
	if (!same_mac(arp->sha, p->from->mac) || !own_address(p, &sender))
		DROP(p, SpoofedAddress);
	arp->op = bpf_htons(2);
	arp->tpa = arp->spa;
	arp->spa = wanted.w[3];
	put_mac(arp->tha, p->from->mac);
	put_mac(arp->sha, gateway);
	address_frame(p, eth);
	return leave(p, EXIT_Answered, hand_back(p));
}

/* Sum of the IPv6 pseudo header that a checksum covers. */
static __always_inline __u64 pseudo(const struct ipv6hdr *ip, __u32 length, __u8 proto)
{
	const __u32 *w = (const void *)&ip->saddr;
	__u64 sum = bpf_htonl(length);

	sum += bpf_htonl(proto);
#pragma unroll
	for (int i = 0; i < 8; i++)
		sum += w[i];
	return sum;
}

static __always_inline int answer_solicitation(struct packet *p)
{
	const __u32 size = sizeof(struct ethhdr) + sizeof(struct ipv6hdr) + sizeof(struct solicitation);
	const __u8 gateway[6] = GATEWAY_MAC;
	struct ethhdr *eth = head(p->skb);
	struct ipv6hdr *ip = (void *)(eth + 1);
	struct solicitation *nd = (void *)(ip + 1);
	struct addr wanted;
	__u64 sum;

	if ((void *)nd + 24 > tail(p->skb))
		DROP(p, Short);
	if (nd->icmp.code != 0 || p->ttl != 255)
		DROP(p, BadHeader);
	wanted = nd->target;
	/* Detection of duplicates (sender ::) and questions for oneself must stay unanswered. */
	if (!given(&p->src) || own_address(p, &wanted) || bpf_ntohl(wanted.w[0]) >> 22 == 0x3fa)
		DROP(p, NoSuchAddress);
	if (bpf_ntohl(p->src.w[0]) >> 22 != 0x3fa && !own_address(p, &p->src))
		DROP(p, SpoofedAddress);
	if (bpf_skb_change_tail(p->skb, size, 0))
		DROP(p, Internal);
	eth = head(p->skb);
	ip = (void *)(eth + 1);
	nd = (void *)(ip + 1);
	if ((void *)(nd + 1) > tail(p->skb))
		DROP(p, Internal);
	address_frame(p, eth);
	ip->payload_len = bpf_htons(sizeof(*nd));
	*(struct addr *)&ip->daddr = p->src;
	*(struct addr *)&ip->saddr = wanted;
	nd->icmp.type = 136;
	nd->icmp.check = 0;
	nd->icmp.rest = bpf_htonl(0xe0000000); /* router, solicited, override */
	nd->target = wanted;
	nd->option = 2;
	nd->units = 1;
	put_mac(nd->mac, gateway);
	sum = pseudo(ip, sizeof(*nd), PROTO_ICMP6);
#pragma unroll
	for (int i = 0; i < sizeof(*nd) / 4; i++)
		sum += ((__u32 *)nd)[i];
	nd->icmp.check = fold(sum);
	return leave(p, EXIT_Answered, hand_back(p));
}

/* The gateway of the sender's own subnet answers pings. Only the type changes, so the checksum is patched. */
static __always_inline int answer_echo(struct packet *p)
{
	struct ethhdr *eth = head(p->skb);
	struct icmp *icmp;

	if (p->v6) {
		struct ipv6hdr *ip = (void *)(eth + 1);

		icmp = (void *)(ip + 1);
		if ((void *)(icmp + 1) > tail(p->skb))
			DROP(p, Short);
		*(struct addr *)&ip->saddr = p->dst;
		*(struct addr *)&ip->daddr = p->src;
		ip->hop_limit = GATEWAY_TTL;
		icmp->type = 129;
		icmp->check = fold((__u64)(__u16)~icmp->check + (__u16)~bpf_htons(128 << 8) + bpf_htons(129 << 8));
	} else {
		struct iphdr *ip = (void *)(eth + 1);

		icmp = (void *)(ip + 1);
		if ((void *)(icmp + 1) > tail(p->skb))
			DROP(p, Short);
		ip->check = fold((__u64)(__u16)~ip->check + (__u16)~bpf_htons(ip->ttl << 8) + bpf_htons(GATEWAY_TTL << 8));
		ip->ttl = GATEWAY_TTL;
		ip->saddr = p->dst.w[3];
		ip->daddr = p->src.w[3];
		icmp->type = 0;
		icmp->check = fold((__u64)(__u16)~icmp->check + (__u16)~bpf_htons(8 << 8));
	}
	address_frame(p, eth);
	return leave(p, EXIT_Answered, hand_back(p));
}

/*
 * Tells the sender why, from its gateway. `type` and `code` of ICMP or ICMPv6, `rest` the second word. The drop is
 * counted whether or not the sender can be told.
 */
static __always_inline int tell4(struct packet *p, __u8 type, __u8 code, __be32 rest, __u32 exit)
{
	__u32 quote = p->length < QUOTE ? p->length & ~3 : QUOTE;
	struct ethhdr *eth;
	struct iphdr *ip;
	struct icmp *icmp;
	__u64 sum = 0;

	if (bpf_skb_change_tail(p->skb, sizeof(*eth) + quote, 0) ||
	    bpf_skb_adjust_room(p->skb, sizeof(*ip) + sizeof(*icmp), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_pull_data(p->skb, 0))
		return leave(p, exit, TC_ACT_SHOT);
	eth = head(p->skb);
	ip = (void *)(eth + 1);
	icmp = (void *)(ip + 1);
	if ((void *)(icmp + 1) > tail(p->skb))
		return leave(p, exit, TC_ACT_SHOT);
	address_frame(p, eth);
	eth->h_proto = bpf_htons(ETH_P_IP);
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = 5;
	ip->ttl = GATEWAY_TTL;
	ip->protocol = PROTO_ICMP;
	ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(*icmp) + quote);
	ip->saddr = p->from->gateway4.w[3];
	ip->daddr = p->src.w[3];
#pragma unroll
	for (int i = 0; i < 5; i++)
		sum += ((__u32 *)ip)[i];
	ip->check = fold(sum);
	icmp->type = type;
	icmp->code = code;
	icmp->check = 0;
	icmp->rest = rest;
	sum = (__u64)((__u32 *)icmp)[0] + ((__u32 *)icmp)[1];
#pragma unroll
	for (int i = 0; i < QUOTE / 4; i++) {
		__u32 *w = (__u32 *)(icmp + 1) + i;

		if (i * 4 < quote && (void *)(w + 1) <= tail(p->skb))
			sum += *w;
	}
	icmp->check = fold(sum);
	return leave(p, exit, hand_back(p));
}

static __always_inline int tell6(struct packet *p, __u8 type, __u8 code, __be32 rest, __u32 exit)
{
	__u32 quote = p->length < QUOTE6 ? p->length & ~3 : QUOTE6;
	__u32 payload = sizeof(struct icmp) + quote;
	struct ethhdr *eth;
	struct ipv6hdr *ip;
	struct icmp *icmp;
	__u64 sum;

	if (bpf_skb_change_tail(p->skb, sizeof(*eth) + quote, 0) ||
	    bpf_skb_adjust_room(p->skb, sizeof(*ip) + sizeof(*icmp), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_pull_data(p->skb, 0))
		return leave(p, exit, TC_ACT_SHOT);
	eth = head(p->skb);
	ip = (void *)(eth + 1);
	icmp = (void *)(ip + 1);
	if ((void *)(icmp + 1) > tail(p->skb))
		return leave(p, exit, TC_ACT_SHOT);
	address_frame(p, eth);
	eth->h_proto = bpf_htons(ETH_P_IPV6);
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->payload_len = bpf_htons(payload);
	ip->nexthdr = PROTO_ICMP6;
	ip->hop_limit = GATEWAY_TTL;
	*(struct addr *)&ip->saddr = p->from->gateway6;
	*(struct addr *)&ip->daddr = p->src;
	icmp->type = type;
	icmp->code = code;
	icmp->check = 0;
	icmp->rest = rest;
	sum = pseudo(ip, payload, PROTO_ICMP6) + ((__u32 *)icmp)[0] + ((__u32 *)icmp)[1];
#pragma unroll
	for (int i = 0; i < QUOTE6 / 4; i++) {
		__u32 *w = (__u32 *)(icmp + 1) + i;

		if (i * 4 < quote && (void *)(w + 1) <= tail(p->skb))
			sum += *w;
	}
	icmp->check = fold(sum);
	return leave(p, exit, hand_back(p));
}

/* Reads the IP header into `p`. Returns an exit to drop with, or 0. */
static __always_inline __u32 parse(struct packet *p)
{
	struct ethhdr *eth = head(p->skb);
	__u32 frame = p->skb->len - sizeof(*eth);

	if (p->v6) {
		struct ipv6hdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > tail(p->skb))
			return EXIT_Short;
		p->length = sizeof(*ip) + bpf_ntohs(ip->payload_len);
		if (ip->version != 6 || p->length > frame)
			return EXIT_BadHeader;
		/* Multicast reports carry such options and are no mistake: see below. */
		if (ip->nexthdr == NEXT_HOP_BY_HOP && !(eth->h_dest[0] & 1))
			return EXIT_BadHeader;
		p->src = *(struct addr *)&ip->saddr;
		p->dst = *(struct addr *)&ip->daddr;
		p->proto = ip->nexthdr;
		p->ttl = ip->hop_limit;
		p->later_fragment = ip->nexthdr == NEXT_FRAGMENT;
		p->may_tell = 1;
		p->l4 = sizeof(*eth) + sizeof(*ip);
	} else {
		struct iphdr *ip = (void *)(eth + 1);

		if ((void *)(ip + 1) > tail(p->skb))
			return EXIT_Short;
		p->length = bpf_ntohs(ip->tot_len);
		if (ip->version != 4 || ip->ihl != 5 || p->length < sizeof(*ip) || p->length > frame)
			return EXIT_BadHeader;
		p->src = mapped(ip->saddr);
		p->dst = mapped(ip->daddr);
		p->proto = ip->protocol;
		p->ttl = ip->ttl;
		p->later_fragment = (ip->frag_off & bpf_htons(IP_OFFSET)) != 0;
		p->may_tell = (ip->frag_off & bpf_htons(IP_DF)) != 0;
		p->l4 = sizeof(*eth) + sizeof(*ip);
	}
	return 0;
}

/* An error about an error, about a later fragment, or to nobody in particular must not be sent. */
static __always_inline int tellable(struct packet *p)
{
	struct icmp *icmp = head(p->skb) + p->l4;

	if (p->later_fragment || !p->own)
		return 0;
	if (p->proto != (p->v6 ? PROTO_ICMP6 : PROTO_ICMP))
		return 1;
	if ((void *)(icmp + 1) > tail(p->skb))
		return 0;
	return p->v6 ? icmp->type >= 128 : icmp->type == 8 || icmp->type == 0;
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
	if (p->segments < 2 && p->skb->len > headers)
		p->segments = (p->skb->len - headers + size - 1) / size;
	if (p->segments > 1)
		p->bytes = p->skb->len + (p->segments - 1) * headers;
}

static __always_inline int deliver(struct packet *p, __u32 slot, __u32 mtu, const __u8 *mac, __u32 half)
{
	const __u8 gateway[6] = GATEWAY_MAC;
	struct ethhdr *eth;
	__u32 *device = bpf_map_lookup_elem(&devs, &slot);
	__u32 ifindex;

	if (!device)
		DROP(p, TargetGone);
	ifindex = *device;
	if (half && p->ttl <= 1) {
		if (!tellable(p))
			DROP(p, TtlExpired);
		return p->v6 ? tell6(p, 3, 0, 0, EXIT_TtlExpired) : tell4(p, 11, 0, 0, EXIT_TtlExpired);
	}
	if (p->length > mtu) {
		if (!p->may_tell || !tellable(p))
			DROP(p, TooBig);
		return p->v6 ? tell6(p, 2, 0, bpf_htonl(mtu), EXIT_TooBig) : tell4(p, 3, 4, bpf_htonl(mtu), EXIT_TooBig);
	}
	eth = head(p->skb);
	if ((void *)(eth + 1) + sizeof(struct iphdr) > tail(p->skb))
		DROP(p, Internal);
	put_mac(eth->h_dest, mac);
	put_mac(eth->h_source, gateway);
	if (half) {
		if (p->v6) {
			((struct ipv6hdr *)(eth + 1))->hop_limit = p->ttl - 1;
		} else {
			struct iphdr *ip = (void *)(eth + 1);
			__u32 sum = ip->check + bpf_htons(0x0100);

			ip->check = sum + (sum >= 0xffff);
			ip->ttl = p->ttl - 1;
		}
		count(&half_counts, half, p->segments, p->bytes);
	}
	/* What the program sets would reach the workload; the sender's own was cleared on the way here. */
	p->skb->mark = 0;
	p->skb->priority = 0;
	/* Counted before the hand-over, in the same RCU section: after the fence the figures are final. */
	return leave(p, EXIT_Forwarded, bpf_redirect_peer(ifindex, 0));
}

static __always_inline int forward(struct packet *p)
{
	struct route_key key = {.length = 128, .addr = p->dst};
	void *table = bpf_map_lookup_elem(&tables, &p->from->table);
	struct addr_key wanted;
	struct route *route;
	struct target *target;
	__u32 vpc = p->from->vpc, half = 0, slot, mtu;
	__u8 mac[6];

	if (!table)
		DROP(p, StaleEntry);
	route = bpf_map_lookup_elem(table, &key);
	if (!route)
		DROP(p, NoRoute);
	if (route->vpc != vpc)
		DROP(p, StaleEntry);
	if (route->kind == TO_BLACK_HOLE)
		DROP(p, BlackHole);
	if (route->kind == TO_INTERFACE) {
		struct iface *to = bpf_map_lookup_elem(&interfaces, &route->slot);

		if (!to || to->generation != route->generation || to->vpc != vpc)
			DROP(p, BlackHole);
		put_mac(mac, to->mac);
		return deliver(p, route->slot, to->mtu, mac, 0);
	}
	if (route->kind == TO_HALF) {
		__u64 *entry = bpf_map_lookup_elem(&halves, &route->slot);
		/* One read: peer VPC below, generation above. 0 is dead. */
		__u64 live = entry ? *(volatile __u64 *)entry : 0;

		if (!(__u32)live || live >> 32 != route->generation)
			DROP(p, NoPeering);
		/* An appliance forwards foreign addresses inside its VPC, never into a peer's. */
		if (!p->own)
			DROP(p, SpoofedAddress);
		vpc = live;
		half = route->slot;
		WIDEN();
	}
	/* The only lookup in the target VPC: no route of it is asked, so nothing goes on from there. */
	wanted.vpc = vpc;
	wanted.addr = p->dst;
	target = bpf_map_lookup_elem(&addrs, &wanted);
	if (!target)
		DROP(p, NoSuchAddress);
	put_mac(mac, target->mac);
	slot = target->slot;
	mtu = target->mtu;
	barrier();
	if (*(volatile __u32 *)&target->vpc != vpc)
		DROP(p, StaleEntry);
	return deliver(p, slot, mtu, mac, half);
}

SEC("tc")
int ingress(struct __sk_buff *skb)
{
	const __u8 gateway[6] = GATEWAY_MAC;
	struct packet p = {.skb = skb, .segments = skb->gso_segs ?: 1, .bytes = skb->len};
	__u32 device = skb->ifindex;
	__u32 *slot = bpf_map_lookup_elem(&ports, &device);
	struct ethhdr *eth;
	__u32 bad;

	if (!slot || !*slot)
		DROP(&p, NoPort);
	p.from = bpf_map_lookup_elem(&interfaces, slot);
	if (!p.from || p.from->ifindex != device)
		DROP(&p, NoPort);
	p.slot = *slot;
	if (head(skb) + 14 + 60 > tail(skb) && skb->len > tail(skb) - head(skb))
		bpf_skb_pull_data(skb, skb->len < 14 + 60 ? skb->len : 14 + 60);
	eth = head(skb);
	if ((void *)(eth + 1) > tail(skb))
		DROP(&p, Short);
	p.v6 = eth->h_proto == bpf_htons(ETH_P_IPV6);
	if (skb->vlan_present ||
	    (!p.v6 && eth->h_proto != bpf_htons(ETH_P_IP) && eth->h_proto != bpf_htons(ETH_P_ARP)))
		DROP(&p, BadEtherType);
	if (!same_mac(eth->h_source, p.from->mac))
		DROP(&p, WrongSourceMac);
	if (eth->h_proto == bpf_htons(ETH_P_ARP))
		return answer_arp(&p);
	bad = parse(&p);
	if (bad)
		return leave(&p, bad, TC_ACT_SHOT);
	measure(&p);
	eth = head(skb);
	if ((void *)(eth + 1) > tail(skb))
		DROP(&p, Short);
	if (p.v6 && p.proto == PROTO_ICMP6) {
		struct icmp *icmp = head(skb) + sizeof(*eth) + sizeof(struct ipv6hdr);

		if ((void *)(icmp + 1) <= tail(skb) && icmp->type == 135)
			return answer_solicitation(&p);
		eth = head(skb);
		if ((void *)(eth + 1) > tail(skb))
			DROP(&p, Short);
	}
	/* What every IPv6 stack says on its link (router solicitations, multicast reports) comes from a link-local source. */
	if (p.v6 && (eth->h_dest[0] & 1) && (!given(&p.src) || bpf_ntohl(p.src.w[0]) >> 22 == 0x3fa))
		DROP(&p, NotToGateway);
	p.own = own_address(&p, &p.src);
	if (!p.own && (p.from->flags & IF_SANITY))
		DROP(&p, SpoofedAddress);
	eth = head(skb);
	if ((void *)(eth + 1) > tail(skb))
		DROP(&p, Short);
	if (!same_mac(eth->h_dest, gateway))
		DROP(&p, NotToGateway);
	if (!p.later_fragment && p.proto == (p.v6 ? PROTO_ICMP6 : PROTO_ICMP) &&
	    same(&p.dst, p.v6 ? &p.from->gateway6 : &p.from->gateway4)) {
		struct icmp *icmp = head(skb) + (p.v6 ? 54 : 34);

		if ((void *)(icmp + 1) <= tail(skb) && icmp->type == (p.v6 ? 128 : 8) && icmp->code == 0)
			return answer_echo(&p);
	}
	return forward(&p);
}

/* The host's own stack has no business with a workload. */
SEC("tc")
int egress(struct __sk_buff *skb)
{
	struct packet p = {.skb = skb, .segments = skb->gso_segs ?: 1, .bytes = skb->len};

	DROP(&p, FromHost);
}

char _license[] SEC("license") = "Dual BSD/GPL";

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the gateway says: answers to ARP, neighbour solicitations and pings, and the two errors that a router owes a
 * sender. All are made from the sender's own packet, in place, and handed back to the sender alone.
 */
#pragma once

/* Bytes of the original in an error: enough for both headers, and never cut into a checksum field that a device would
 * still fill in (CHECKSUM_PARTIAL): the kernel refuses that. */
#define QUOTE 40
#define QUOTE6 64

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}
/* A checksum after one of its words changed (RFC 1624, equation 3). */
static __always_inline __u16 patched(__u16 check, __u16 was, __u16 is)
{
	return fold((__u64)(__u16)~check + (__u16)~was + is);
}
/* Sum of the IPv6 pseudo header that a checksum covers. */
static __always_inline __u64 pseudo(const struct ipv6hdr *ip, __u32 length)
{
	const __u32 *w = (const void *)&ip->saddr;
	__u64 sum = (__u64)bpf_htonl(length) + bpf_htonl(PROTO_ICMP6);

#pragma unroll
	for (int i = 0; i < 8; i++)
		sum += w[i];
	return sum;
}

/* Back to the sender, from the gateway. */
static __always_inline void address_frame(struct packet *p, struct ethhdr *eth)
{
	put_mac(eth->h_dest, p->from->mac);
	put_mac(eth->h_source, gateway_mac);
}
static __always_inline int hand_back(struct packet *p)
{
	return hand_over(p, p->skb->ifindex);
}

/* Is this one of the sender's own addresses? The primary ones stand in its entry; others cost a lookup. */
static __always_inline int own_address(struct packet *p, const struct addr *a)
{
	struct addr_key key = {.vpc = p->from->vpc, .addr = *a};
	struct target *t;
	__u32 slot;

	if (!given(a)) /* would match a primary address that does not exist */
		return 0;
	if (same(a, &p->from->primary4) || same(a, &p->from->primary6))
		return 1;
	t = bpf_map_lookup_elem(&addrs, &key);
	if (!t)
		return 0;
	slot = t->slot;
	barrier();
	return slot == p->slot && *(volatile __u32 *)&t->vpc == key.vpc;
}

/*
 * Every address but the sender's own is behind the gateway, those of its own subnet too: nothing is ever flooded. A probe
 * for duplicates (sender 0.0.0.0) and a question for oneself stay unanswered, or stacks would believe in a duplicate.
 */
static __always_inline int answer_arp(struct packet *p)
{
	struct ethhdr *eth = head(p->skb);
	struct arp *arp = (void *)(eth + 1);
	struct addr sender, wanted;

	if ((void *)(arp + 1) > tail(p->skb))
		DROP(p, Internal);
	if (arp->htype != bpf_htons(1) || arp->ptype != bpf_htons(ETH_P_IP) || arp->hlen != 6 || arp->plen != 4)
		DROP(p, BadHeader);
	sender = mapped(arp->spa);
	wanted = mapped(arp->tpa);
	if (!same_mac(arp->sha, p->from->mac) || (arp->spa && !own_address(p, &sender)))
		DROP(p, SpoofedAddress);
	if (arp->op != bpf_htons(1) || (!(eth->h_dest[0] & 1) && !same_mac(eth->h_dest, gateway_mac)))
		DROP(p, NotToGateway);
	if (!arp->spa || own_address(p, &wanted))
		DROP(p, NoSuchAddress);
	arp->op = bpf_htons(2);
	arp->tpa = arp->spa;
	arp->spa = wanted.w[3];
	put_mac(arp->tha, p->from->mac);
	put_mac(arp->sha, gateway_mac);
	address_frame(p, eth);
	return leave(p, EXIT_Answered, hand_back(p));
}

/* The same for IPv6. The answer carries the gateway's MAC as an option, and room is made for it. */
static __always_inline int answer_solicitation(struct packet *p)
{
	const __u32 size = sizeof(struct ethhdr) + sizeof(struct ipv6hdr) + sizeof(struct solicitation);
	struct ethhdr *eth = head(p->skb);
	struct ipv6hdr *ip = (void *)(eth + 1);
	struct solicitation *nd = (void *)(ip + 1);
	struct addr wanted;
	__u64 sum;

	if (p->length < sizeof(*ip) + sizeof(struct icmp) + sizeof(struct addr))
		DROP(p, BadHeader);
	if ((void *)nd + sizeof(struct icmp) + sizeof(struct addr) > tail(p->skb))
		DROP(p, Internal);
	wanted = nd->target;
	if (nd->icmp.code != 0 || p->ttl != 255 || bpf_ntohl(wanted.w[0]) >> 24 == 0xff)
		DROP(p, BadHeader);
	if (given(&p->src) && !link_local(&p->src) && !own_address(p, &p->src))
		DROP(p, SpoofedAddress);
	if (!(eth->h_dest[0] & 1) && !same_mac(eth->h_dest, gateway_mac))
		DROP(p, NotToGateway);
	if (!given(&p->src) || link_local(&wanted) || own_address(p, &wanted))
		DROP(p, NoSuchAddress);
	if (bpf_skb_change_tail(p->skb, size, 0) || bpf_skb_pull_data(p->skb, size))
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
	put_mac(nd->mac, gateway_mac);
	sum = pseudo(ip, sizeof(*nd));
#pragma unroll
	for (int i = 0; i < sizeof(*nd) / 4; i++)
		sum += ((__u32 *)nd)[i];
	nd->icmp.check = fold(sum);
	return leave(p, EXIT_Answered, hand_back(p));
}

/* The gateway of the sender's own subnet answers pings. Only type, TTL and direction change: checksums are patched. */
static __always_inline int answer_echo(struct packet *p)
{
	struct ethhdr *eth = head(p->skb);
	struct icmp *icmp;

	if (p->v6) {
		struct ipv6hdr *ip = (void *)(eth + 1);

		icmp = (void *)(ip + 1);
		if ((void *)(icmp + 1) > tail(p->skb))
			DROP(p, Internal);
		*(struct addr *)&ip->saddr = p->dst;
		*(struct addr *)&ip->daddr = p->src;
		ip->hop_limit = GATEWAY_TTL;
		icmp->type = 129;
		icmp->check = patched(icmp->check, bpf_htons(128 << 8), bpf_htons(129 << 8));
	} else {
		struct iphdr *ip = (void *)(eth + 1);

		icmp = (void *)(ip + 1);
		if ((void *)(icmp + 1) > tail(p->skb))
			DROP(p, Internal);
		ip->check = patched(ip->check, bpf_htons(ip->ttl << 8), bpf_htons(GATEWAY_TTL << 8));
		ip->ttl = GATEWAY_TTL;
		ip->saddr = p->dst.w[3];
		ip->daddr = p->src.w[3];
		icmp->type = 0;
		icmp->check = patched(icmp->check, bpf_htons(8 << 8), 0);
	}
	address_frame(p, eth);
	return leave(p, EXIT_Answered, hand_back(p));
}

/* An error about an error, about a later fragment, or to nobody in particular must not be sent (RFC 1812, 4.3.2.7). */
static __always_inline int tellable(struct packet *p)
{
	struct icmp *icmp = head(p->skb) + p->l4;

	if (p->later_fragment || !p->own || multicast(p))
		return 0;
	if (p->proto != (p->v6 ? PROTO_ICMP6 : PROTO_ICMP))
		return 1;
	if ((void *)(icmp + 1) > tail(p->skb))
		return 0;
	return p->v6 ? icmp->type >= 128 : icmp->type == 8 || icmp->type == 0;
}

/* Cuts the packet down to what an error quotes and makes room for the error in front of that. */
static __always_inline int make_room(struct packet *p, __u32 quote, __u32 headers)
{
	return bpf_skb_change_tail(p->skb, sizeof(struct ethhdr) + quote, 0) ||
	       bpf_skb_adjust_room(p->skb, headers, BPF_ADJ_ROOM_MAC, 0) ||
	       bpf_skb_pull_data(p->skb, sizeof(struct ethhdr) + headers + quote);
}
/* Type, code and second word of the error; then its checksum over itself and the quoted bytes. */
static __always_inline void write_error(struct packet *p, struct icmp *icmp, __u16 type, __be32 rest, __u32 quote, __u64 sum)
{
	icmp->type = type >> 8;
	icmp->code = type & 0xff;
	icmp->check = 0;
	icmp->rest = rest;
	sum += (__u64)((__u32 *)icmp)[0] + ((__u32 *)icmp)[1];
#pragma unroll
	for (int i = 0; i < QUOTE6 / 4; i++) {
		__u32 *w = (__u32 *)(icmp + 1) + i;

		if (i * 4 < quote && (void *)(w + 1) <= tail(p->skb))
			sum += *w;
	}
	icmp->check = fold(sum);
}

/*
 * Tells the sender why, from its gateway: type << 8 | code, and the second word of the error. The drop is counted whether
 * or not the sender can be told.
 */
static __always_inline int tell4(struct packet *p, __u16 type, __be32 rest, __u32 exit)
{
	__u32 quote = p->length < QUOTE ? p->length & ~3 : QUOTE;
	struct ethhdr *eth;
	struct iphdr *ip;
	struct icmp *icmp;
	__u64 sum = 0;

	if (make_room(p, quote, sizeof(*ip) + sizeof(*icmp)))
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
	write_error(p, icmp, type, rest, quote, 0);
	return leave(p, exit, hand_back(p));
}

static __always_inline int tell6(struct packet *p, __u16 type, __be32 rest, __u32 exit)
{
	__u32 quote = p->length < QUOTE6 ? p->length & ~3 : QUOTE6;
	struct ethhdr *eth;
	struct ipv6hdr *ip;
	struct icmp *icmp;

	if (make_room(p, quote, sizeof(*ip) + sizeof(*icmp)))
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
	ip->payload_len = bpf_htons(sizeof(*icmp) + quote);
	ip->nexthdr = PROTO_ICMP6;
	ip->hop_limit = GATEWAY_TTL;
	*(struct addr *)&ip->saddr = p->from->gateway6;
	*(struct addr *)&ip->daddr = p->src;
	write_error(p, icmp, type, rest, quote, pseudo(ip, sizeof(*icmp) + quote));
	return leave(p, exit, hand_back(p));
}

#define TIME_EXCEEDED (11 << 8)
#define TIME_EXCEEDED6 (3 << 8)
#define FRAGMENTATION_NEEDED (3 << 8 | 4)
#define PACKET_TOO_BIG (2 << 8)

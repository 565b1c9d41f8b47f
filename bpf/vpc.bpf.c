// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The whole data plane. One program on the ingress of each interface's host end decides what becomes of a packet, in the
 * order of drop_reason.h, and hands it to the target's workload; one on the egress drops what the host itself would send.
 * No policy lives here: the tables (maps.h) say who reaches whom. packet.h reads headers and counts, answer.h is what the
 * gateway says. Every exit counts. Nothing ever reaches the host's own stack: each packet is redirected or dropped.
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
#include "packet.h"
#include "answer.h"

/*
 * May there be a neighbour message behind a header that is not read here? Such a message counts only with hop limit 255
 * (RFC 4861), so a packet that may hide one is handed on with less.
 */
static __always_inline int may_hide(const struct packet *p)
{
	return p->fragment || (p->proto != PROTO_TCP && p->proto != PROTO_UDP && p->proto != PROTO_ICMP6);
}

/*
 * Hands the packet to an interface's workload; `half` is the peering half it came over, or 0 inside its own VPC. The
 * device is asked of the DEVMAP at the last moment, because the kernel clears that entry when the device goes: an ifindex
 * kept anywhere else may by now be a stranger's.
 */
static __always_inline int deliver(struct packet *p, __u32 slot, __u32 mtu, const __u8 *mac, __u32 half)
{
	struct ethhdr *eth;
	__u32 *device, ifindex;

#ifdef NO_DEVMAP
	struct iface *to = bpf_map_lookup_elem(&interfaces, &slot);
	device = to ? &to->ifindex : 0;
#else
	device = bpf_map_lookup_elem(&devs, &slot);
#endif
	if (!device)
		DROP(p, TargetGone);
	ifindex = *device;
	if (half && p->ttl <= 1) {
		if (!tellable(p))
			DROP(p, TtlExpired);
		return p->v6 ? tell6(p, TIME_EXCEEDED6, 0, EXIT_TtlExpired) : tell4(p, TIME_EXCEEDED, 0, EXIT_TtlExpired);
	}
	/* IPv4 without DF would have to be cut into fragments; no router of ours does, so it is dropped untold. */
	if (p->length > mtu) {
		if (!p->may_tell || !tellable(p))
			DROP(p, TooBig);
		return p->v6 ? tell6(p, PACKET_TOO_BIG, bpf_htonl(mtu), EXIT_TooBig)
			     : tell4(p, FRAGMENTATION_NEEDED, bpf_htonl(mtu), EXIT_TooBig);
	}
	eth = head(p->skb);
	if ((void *)(eth + 1) + sizeof(struct iphdr) > tail(p->skb))
		DROP(p, Internal);
	put_mac(eth->h_dest, mac);
	put_mac(eth->h_source, gateway_mac);
	if (!half && p->v6 && p->ttl == 255 && may_hide(p)) {
		((struct ipv6hdr *)(eth + 1))->hop_limit = 254;
	} else if (half) {
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
	/* Counted before the hand-over, in the same RCU section: after the fence the figures are final. */
	return leave(p, EXIT_Forwarded, hand_over(p, ifindex));
}

/*
 * Route, half, address: one lookup each. A freed element may be reused for another key while we read it, so values are
 * copied first and their identity, which is written first, is read last (measured: that order never missed a reuse).
 */
static __always_inline int forward(struct packet *p)
{
	struct route_key key = {.length = 160, .family = p->v6 ? 6 : 4, .addr = p->dst};
	void *table = bpf_map_lookup_elem(&tables, &p->from->table);
	struct addr_key wanted;
	struct route *entry, route;
	struct target *target;
	__u32 vpc = p->from->vpc, half = 0, slot, mtu;
	__u8 mac[6];

	if (!table)
		DROP(p, StaleEntry);
	entry = bpf_map_lookup_elem(table, &key);
	if (!entry)
		DROP(p, NoRoute);
	route.kind = *(volatile __u32 *)&entry->kind;
	route.slot = *(volatile __u32 *)&entry->slot;
	route.generation = *(volatile __u32 *)&entry->generation;
	barrier();
#ifndef NO_IDENTITY_CHECK
	if (*(volatile __u32 *)&entry->vpc != vpc)
		DROP(p, StaleEntry);
#endif
	if (route.kind == TO_BLACK_HOLE)
		DROP(p, BlackHole);
	if (route.kind == TO_INTERFACE) {
		/* To that interface, whatever the destination: an appliance. Its slot may have passed to another by now. */
		struct iface *to = bpf_map_lookup_elem(&interfaces, &route.slot);

		if (!to || to->generation != route.generation || to->vpc != vpc)
			DROP(p, BlackHole);
		put_mac(mac, to->mac);
		return deliver(p, route.slot, to->mtu, mac, 0);
	}
	if (route.kind == TO_HALF) {
		__u64 *word = bpf_map_lookup_elem(&halves, &route.slot);
		/* One read: peer VPC below, generation above. 0 is dead. */
		__u64 live = word ? *(volatile __u64 *)word : 0;

#ifdef FLOWS
		p->half = route.slot;
#endif
		if (!(__u32)live || live >> 32 != route.generation)
			DROP(p, NoPeering);
		/* An appliance forwards foreign addresses inside its VPC, never into a peer's. */
		if (!p->own)
			DROP(p, SpoofedAddress);
		vpc = live;
		half = route.slot;
		WIDEN();
	}
	/* The only lookup in the target VPC: no route of it is asked, so nothing goes on from there. */
	wanted.vpc = vpc;
	wanted.addr = p->dst;
	target = bpf_map_lookup_elem(&addrs, &wanted);
	if (!target)
		DROP(p, NoSuchAddress);
	put_mac(mac, target->mac);
	slot = *(volatile __u32 *)&target->slot;
	mtu = *(volatile __u32 *)&target->mtu;
	barrier();
#ifndef NO_IDENTITY_CHECK
	if (*(volatile __u32 *)&target->vpc != vpc)
		DROP(p, StaleEntry);
#endif
	return deliver(p, slot, mtu, mac, half);
}

SEC("tc")
int ingress(struct __sk_buff *skb)
{
	struct packet p = {.skb = skb, .segments = skb->gso_segs ?: 1, .bytes = skb->len};
	__u32 device = skb->ifindex, headers = HEADERS(skb->protocol == bpf_htons(ETH_P_IPV6)), need, bad;
	__u32 *slot = bpf_map_lookup_elem(&ports, &device);
	struct ethhdr *eth;
	struct icmp *icmp;
	int neighbour = 0;

	if (!slot)
		slot = bpf_map_lookup_elem(&far_ports, &device);
	if (!slot || !*slot)
		DROP(&p, NoPort);
	p.from = bpf_map_lookup_elem(&interfaces, slot);
	if (!p.from || p.from->ifindex != device)
		DROP(&p, NoPort);
	p.slot = *slot;

	/* What is not in the packet's linear part yet is there after this, or memory is short: then Internal, below. */
	if (head(skb) + headers > tail(skb) && skb->len > tail(skb) - head(skb))
		bpf_skb_pull_data(skb, skb->len < headers ? skb->len : headers);
	eth = head(skb);
	if ((void *)(eth + 1) > tail(skb))
		DROP(&p, Short);
	p.v6 = eth->h_proto == bpf_htons(ETH_P_IPV6);
	need = p.v6 ? sizeof(struct ipv6hdr)
	     : eth->h_proto == bpf_htons(ETH_P_IP) ? sizeof(struct iphdr)
	     : eth->h_proto == bpf_htons(ETH_P_ARP) ? sizeof(struct arp) : 0;
	if (skb->len < sizeof(*eth) + need)
		DROP(&p, Short);
	/* The outer tag is already out of the frame. */
	if (skb->vlan_present || !need)
		DROP(&p, BadEtherType);
	if (!same_mac(eth->h_source, p.from->mac))
		DROP(&p, WrongSourceMac);
	if (eth->h_proto == bpf_htons(ETH_P_ARP))
		return answer_arp(&p);
	bad = parse(&p);
	if (bad)
		return leave(&p, bad, TC_ACT_SHOT);
	measure(&p);

	icmp = head(skb) + sizeof(*eth) + sizeof(struct ipv6hdr);
	if (p.v6 && p.proto == PROTO_ICMP6 && !p.fragment && (void *)(icmp + 1) <= tail(skb)) {
		if (icmp->type == 135)
			return answer_solicitation(&p);
		/* Advertisements and redirects are between a workload and its gateway; a neighbour would believe them. */
		neighbour = icmp->type >= 133 && icmp->type <= 137;
	}
	eth = head(skb);
	if ((void *)(eth + 1) > tail(skb))
		DROP(&p, Internal);
	/* What every IPv6 stack says on its link (router solicitations, multicast reports) comes from a link-local source. */
	if (p.v6 && (eth->h_dest[0] & 1) && (!given(&p.src) || link_local(&p.src)))
		DROP(&p, NotToGateway);
	p.own = own_address(&p, &p.src);
	if (!p.own && (p.from->flags & IF_SANITY))
		DROP(&p, SpoofedAddress);
	eth = head(skb);
	if ((void *)(eth + 1) > tail(skb))
		DROP(&p, Internal);
	if (!same_mac(eth->h_dest, gateway_mac) || neighbour)
		DROP(&p, NotToGateway);

	icmp = head(skb) + (p.v6 ? 54 : 34);
	if (!p.fragment && p.proto == (p.v6 ? PROTO_ICMP6 : PROTO_ICMP) &&
	    same(&p.dst, p.v6 ? &p.from->gateway6 : &p.from->gateway4) && (void *)(icmp + 1) <= tail(skb) &&
	    icmp->type == (p.v6 ? 128 : 8) && icmp->code == 0)
		return answer_echo(&p);
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

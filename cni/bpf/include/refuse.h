/* Clients outside whose Service has nobody are refused at once, in its name: TCP by a reset, UDP by ICMP. To a reset alone every
 * client listens: Linux itself takes an ICMP error that comes while it still holds the socket for a passing one, and tries again
 * after a second. */
#pragma once
#include "icmp_error.h"

#define ICMP_PORT_UNREACH 3
#define ICMPV6_PORT_UNREACH 4

/* How many may ask in vain in a second and be told at once; at the turn of a second two processors may let a few more through. */
static __always_inline int may_refuse(void)
{
	__u32 zero = 0, now = seconds();
	struct refusals *refusals = bpf_map_lookup_elem(&refusal_map, &zero);
	if (!refusals)
		return 0;
	if (refusals->second != now) {
		refusals->second = now;
		refusals->count = 0;
	}
	if (refusals->count >= REFUSALS_PER_S_MAX)
		return 0;
	__sync_fetch_and_add(&refusals->count, 1);
	return 1;
}

struct tcp_header {
	__u16 source_port, destination_port;
	__u32 sequence, acknowledged;
	__u8 words_4, flags;
	__u16 window, sum, urgent;
};

/* What a closed port says to a SYN (RFC 9293, section 3.5.2): it acknowledges the SYN and whatever came with it, a FIN as well. 0, or -1: then it can
 * only be dropped, as what has options or extension headers. */
verified_alone int become_reset(struct __sk_buff *skb, const struct packet *p)
{
	struct tcp_header asked;
	if (!p)
		return -1;
	if (p->transport != ETH_HLEN + header_bytes(p->family) || bpf_skb_load_bytes(skb, p->transport, &asked, sizeof(asked)))
		return -1;
	__u32 head = (asked.words_4 >> 4) * 4, length = p->end - p->transport;
	if (head < sizeof(asked) || head > length)
		return -1;
	struct tcp_header reset = { .source_port = asked.destination_port, .destination_port = asked.source_port, .words_4 = 5 << 4 };
	reset.flags = TCP_RST | TCP_ACK;
	reset.acknowledged = bpf_htonl(bpf_ntohl(asked.sequence) + 1 + length - head + (asked.flags & TCP_FIN));
	__s64 sum = pseudo_sum(&p->destination, &p->source, sizeof(reset), IPPROTO_TCP);
	if (is_sum_pending(skb, p))
		reset.sum = ~folded(sum);
	else
		reset.sum = folded(bpf_csum_diff(0, 0, (__be32 *)&reset, sizeof(reset), sum));
	if (bpf_skb_change_tail(skb, p->transport + sizeof(reset), 0) ||
	    write_ip_header(skb, p, &p->destination, IPPROTO_TCP, sizeof(reset)) ||
	    bpf_skb_store_bytes(skb, p->transport, &reset, sizeof(reset), 0))
		return -1;
	skb->mark = 0;
	return 0;
}

/* What begins a connection, or is a whole datagram. */
static __always_inline int refuse(struct __sk_buff *skb, const struct packet *p, const struct node_config *node)
{
	struct said unreachable = { ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, 0 };
	int tcp = p->protocol == IPPROTO_TCP;
	if (p->fragment || (tcp ? !p->opening : p->protocol != IPPROTO_UDP) || !may_answer(skb, p) || !may_refuse())
		return TC_ACT_SHOT;
	if (!tcp)
		return tell_client(skb, p, node, &unreachable);
	return become_reset(skb, p) ? TC_ACT_SHOT : bpf_redirect_neigh(node->uplink_ifindex, 0, 0, 0);
}

/* Packets whose sender is told by ICMP why they go no further: the packet becomes the error about it, and goes back. */
#pragma once
#include "forward.h"
#include "answer.h"

#define ICMP_FRAG_NEEDED 4
#define ICMPV6_PKT_TOOBIG 2
/* Of a whole error: RFC 1812, section 4.3.2.3; RFC 4443, section 2.4(c). */
#define ERROR_V4_BYTES_MAX 576
#define ERROR_V6_BYTES_MAX 1280
#define IPV6_MTU_BYTES_MIN 1280

/* Of both families, whose second word means what the type says. */
struct icmp_error {
	__u8 type, code;
	__u16 sum;
	__u32 rest;
};

/* What an error of each family says. */
struct said {
	__u8 type4, code4, type6, code6;
	__u32 mtu; /* of what is too big, bytes; else 0 */
};

/* Where a device has yet to sum the packet up, it will write into what is quoted, behind the back of the error's own sum. So the field
 * gets the one value which that doesn't change: twice it makes up for the rest, and a half is a turn by one bit. */
static __always_inline int settle_sum(struct __sk_buff *skb, const struct packet *p, __u32 quoted)
{
	__u32 at = sum_at(p);
	__u16 field, none = 0;
	__s64 sum = 0;
	if (!is_sum_pending(skb, p))
		return 0;
	if (bpf_skb_store_bytes(skb, at, &none, sizeof(none), 0) ||
	    add_bytes(skb, p->transport, ETH_HLEN + quoted - p->transport, &sum))
		return -1;
	__u16 missing = folded(sum);
	field = missing >> 1 | missing << 15;
	if (!field)
		field = 0xffff;
	return bpf_skb_store_bytes(skb, at, &field, sizeof(field), 0);
}

/* The headers before what is quoted. */
static __always_inline int write_error(struct __sk_buff *skb, const struct packet *p, const struct address *from, const struct said *said, __u32 quoted)
{
	int four = p->family == 4;
	__u32 at = ETH_HLEN + header_bytes(p->family);
	struct icmp_error error = { .type = four ? said->type4 : said->type6, .code = four ? said->code4 : said->code6 };
	error.rest = bpf_htonl(said->mtu);
	__s64 sum = four ? 0 : pseudo_sum(from, &p->source, sizeof(error) + quoted, IPPROTO_ICMPV6);
	if (add_bytes(skb, at + sizeof(error), quoted, &sum))
		return -1;
	error.sum = folded(bpf_csum_diff(0, 0, (__be32 *)&error, sizeof(error), sum));
	if (bpf_skb_store_bytes(skb, at, &error, sizeof(error), 0))
		return -1;
	return write_ip_header(skb, p, from, four ? IPPROTO_ICMP : IPPROTO_ICMPV6, sizeof(error) + quoted);
}

/* Makes of a whole TCP or UDP packet the error about it, from `from` to its sender. It quotes as much as it may, in whole words. 0, or
 * -1: then the packet can only be dropped. */
verified_alone int become_error(struct __sk_buff *skb, const struct packet *p, const struct address *from, const struct said *said)
{
	if (!p || !from || !said)
		return -1;
	__u32 headers = header_bytes(p->family) + sizeof(struct icmp_error);
	__u32 max = (p->family == 4 ? ERROR_V4_BYTES_MAX : ERROR_V6_BYTES_MAX) - headers;
	__u32 bytes = p->end - ETH_HLEN;
	__u32 quoted = (bytes < max ? bytes : max) & ~3;
	__u32 least = p->transport - ETH_HLEN + (p->protocol == IPPROTO_TCP ? TCP_HEADER_BYTES : SHORT_HEADER_BYTES);
	if (quoted < least || bpf_skb_change_tail(skb, ETH_HLEN + quoted, 0) || settle_sum(skb, p, quoted) ||
	    bpf_skb_adjust_room(skb, headers, BPF_ADJ_ROOM_MAC, 0) || write_error(skb, p, from, said, quoted))
		return -1;
	skb->mark = 0;
	return 0;
}

/* A client outside, by the route to it; in the name of whom it asked. */
static __always_inline int tell_client(struct __sk_buff *skb, const struct packet *p, const struct node_config *node, const struct said *said)
{
	if (!may_answer(skb, p) || become_error(skb, p, &p->destination, said))
		return TC_ACT_SHOT;
	return bpf_redirect_neigh(node->uplink_ifindex, 0, 0, 0);
}

/* What the sender is told to keep to. Below IPv6's least size nobody heeds it: the kernel fragments the outer packet then. */
static __always_inline __u32 tunnel_mtu_for(const struct packet *p, const struct node_config *node)
{
	return p->family == 6 && node->tunnel_mtu < IPV6_MTU_BYTES_MIN ? IPV6_MTU_BYTES_MIN : node->tunnel_mtu;
}

/* Whether a packet, or each segment of several that the kernel joined, doesn't fit into the tunnel and its sender wants to hear of
 * it. What is a fragment, or may become one, the kernel fragments once more, outside. */
verified_alone int is_too_big(struct __sk_buff *skb, const struct packet *p, const struct node_config *node)
{
	if (!p || !node || !node->tunnel_ifindex || p->fragment || (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP))
		return 0;
	__u32 bytes = p->end - ETH_HLEN;
	if (bytes <= tunnel_mtu_for(p, node))
		return 0;
	if (skb->gso_size) {
		__u8 words = 0;
		if (p->protocol == IPPROTO_TCP && bpf_skb_load_bytes(skb, p->transport + 12, &words, 1))
			return 0;
		bytes = p->transport - ETH_HLEN + (p->protocol == IPPROTO_TCP ? (words >> 4) * 4 : SHORT_HEADER_BYTES) + skb->gso_size;
		if (bytes <= tunnel_mtu_for(p, node))
			return 0;
	}
	__u16 flags;
	return p->family == 6 || (!bpf_skb_load_bytes(skb, ETH_HLEN + 6, &flags, 2) && flags & bpf_htons(IPV4_DONT_FRAGMENT));
}

static __always_inline struct said too_big_for(const struct packet *p, const struct node_config *node)
{
	struct said said = { ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, ICMPV6_PKT_TOOBIG, 0, tunnel_mtu_for(p, node) };
	return said;
}

static __always_inline int too_big_of_client(struct __sk_buff *skb, struct packet *p, const struct node_config *node)
{
	struct said said = too_big_for(p, node);
	dropped(skb, p, DROP_TOO_BIG, DIRECTION_INGRESS, 0);
	return tell_client(skb, p, node, &said);
}

/* By its node's address, or by whom it wrote to where the node has none of the family. */
static __always_inline int too_big_of_pod(struct __sk_buff *skb, struct packet *p, const struct endpoint *pod, const struct node_config *node)
{
	struct said said = too_big_for(p, node);
	struct address from = p->family == 4 ? node->node4 : node->node6;
	dropped(skb, p, DROP_TOO_BIG, DIRECTION_EGRESS, 0);
	if (no_address(&from))
		from = p->destination;
	if (become_error(skb, p, &from, &said) || to_veth(skb, pod))
		return TC_ACT_SHOT;
	return bpf_redirect_peer(pod->ifindex, 0);
}

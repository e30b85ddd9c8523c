/* The overlay: VXLAN by a device that takes its key from each packet. */
#pragma once
#include "verdict.h"

#define VNI_PODS 1
#define VNI_EXTERNAL 2 /* to and from clients outside, between the node they came in by and a backend's */
#define TUNNEL_TTL 64
#define VXLAN_PORT bpf_htons(4789)

/* Without the fields that Linux 5.17 doesn't know: it refuses a size of which it has never heard. */
#define TUNNEL_KEY_BYTES __builtin_offsetof(struct bpf_tunnel_key, local_ipv4)

static __always_inline int set_tunnel(struct __sk_buff *skb, const struct address *node, __u32 vni)
{
	struct bpf_tunnel_key key = { .tunnel_id = vni, .tunnel_ttl = TUNNEL_TTL };
	if (is_v4(node)) {
		key.remote_ipv4 = bpf_ntohl(node->word[3]);
		return bpf_skb_set_tunnel_key(skb, &key, TUNNEL_KEY_BYTES, BPF_F_ZERO_CSUM_TX);
	}
	__builtin_memcpy(key.remote_ipv6, node->word, 16);
	return bpf_skb_set_tunnel_key(skb, &key, TUNNEL_KEY_BYTES, BPF_F_TUNINFO_IPV6);
}

/* To another node. The mark would choose the outer packet's route. */
static __always_inline int send_through_tunnel(struct __sk_buff *skb, struct packet *p, const struct node_config *node, const struct address *to, __u32 vni, __u8 direction)
{
	skb->mark = 0;
	if (!node->tunnel_ifindex)
		return dropped(skb, p, DROP_NO_ROUTE, direction, 0);
	if (set_tunnel(skb, to, vni))
		return dropped(skb, p, DROP_INTERNAL, direction, 0);
	return bpf_redirect(node->tunnel_ifindex, 0);
}

/* Who sent the outer packet, and by which VNI. */
static __always_inline int read_tunnel(struct __sk_buff *skb, struct address *outer, __u32 *vni)
{
	struct bpf_tunnel_key key = {};
	if (!bpf_skb_get_tunnel_key(skb, &key, TUNNEL_KEY_BYTES, 0))
		*outer = mapped(bpf_htonl(key.remote_ipv4));
	else if (!bpf_skb_get_tunnel_key(skb, &key, TUNNEL_KEY_BYTES, BPF_F_TUNINFO_IPV6))
		__builtin_memcpy(outer, key.remote_ipv6, 16);
	else
		return -1;
	*vni = key.tunnel_id;
	return 0;
}

/* The node that has an address; zero for this one. 0 where no node has it. */
static __always_inline int node_of(const struct endpoint *e, const struct address *address, struct address *node)
{
	if (e && !no_address(&e->node)) {
		*node = e->node;
		return 1;
	}
	struct prefix key = { .bits = 128, .address = *address };
	struct address *block = bpf_map_lookup_elem(&block_map, &key);
	if (!block)
		return 0;
	*node = *block;
	return 1;
}

/* Whether an address is one that only this node's pods may have, known or not. */
static __always_inline int is_here(const struct endpoint *e, const struct address *address)
{
	struct address node;
	return node_of(e, address, &node) && no_address(&node);
}

/* By it alone a packet from the underlay is believed. */
static __always_inline int is_node_of(const struct address *outer, const struct endpoint *sender, const struct address *address)
{
	struct address node;
	return node_of(sender, address, &node) && same_address(&node, outer);
}

/* The last line of capture: a connection that a meshed pod opens past its sidecar goes nowhere. */
#pragma once
#include "drop.h"

#define TAG_SIDECAR 1 /* a confirmed sidecar's; the other tag is an app's on its way to what it may reach by itself */

/* The tag of the socket that sent this, 0 without; known here, at the node's end of the veth. */
always_inline __u32 sender_tag(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	if (!sk)
		return 0;
	sk = bpf_sk_fullsock(sk);
	__u32 *tag = sk ? bpf_sk_storage_get(&sidecar_socket_map, sk, 0, 0) : 0;
	return tag ? *tag : 0;
}

always_inline int is_dns(const struct packet *p, const struct node_config *node)
{
	return p->destination_port == bpf_htons(53) &&
	       (same_address(&p->destination, &node->dns4) || same_address(&p->destination, &node->dns6));
}

/* Capture was evaded by a mark, a raw socket or another trick. */
always_inline int goes_round_sidecar(struct __sk_buff *skb, const struct packet *p, const struct endpoint *sender, const struct node_config *node)
{
	if (!(sender->flags & EP_MESHED) || p->protocol != IPPROTO_TCP || !p->opening)
		return 0;
	if (sender_tag(skb) || is_dns(p, node))
		return 0;
	struct skipped_port_key port = { .pod_id = sender->pod_id, .port = p->destination_port, .direction = DIRECTION_EGRESS };
	if (bpf_map_lookup_elem(&skipped_port_map, &port))
		return 0;
	struct skipped_prefix prefix = { .bits = 160, .pod_id = sender->pod_id, .address = p->destination };
	return !bpf_map_lookup_elem(&skipped_prefix_map, &prefix);
}

/* A sidecar can't do without the control plane. */
always_inline int is_exempt(struct __sk_buff *skb, const struct endpoint *sender, const struct endpoint *receiver)
{
	return receiver && receiver->flags & EP_CONTROL_PLANE && sender->flags & EP_MESHED && sender_tag(skb) == TAG_SIDECAR;
}

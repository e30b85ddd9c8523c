/* The last line of capture: a connection that a meshed pod opens past its sidecar goes nowhere. */
#pragma once
#include "drop.h"
#include "skipped.h"

/* The tag of the socket that sent this, 0 without; known here, at the node's end of the veth. */
static __always_inline __u32 sender_tag(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	if (!sk)
		return 0;
	sk = bpf_sk_fullsock(sk);
	__u32 *tag = sk ? bpf_sk_storage_get(&sidecar_socket_map, sk, 0, 0) : 0;
	return tag ? *tag : 0;
}

/* Capture was evaded by a mark, a raw socket or another trick. */
static __always_inline int goes_round_sidecar(struct __sk_buff *skb, const struct packet *p, const struct endpoint *sender, const struct node_config *node)
{
	if (!(sender->flags & EP_MESHED) || p->protocol != IPPROTO_TCP || !p->opening)
		return 0;
	if (sender_tag(skb) || is_cluster_dns(node, &p->destination, p->destination_port))
		return 0;
	return !is_skipped_outbound(sender->pod_id, &p->destination, p->destination_port);
}

/* A sidecar can't do without the control plane. */
static __always_inline int is_exempt(struct __sk_buff *skb, const struct endpoint *sender, const struct endpoint *receiver)
{
	return receiver && receiver->flags & EP_CONTROL_PLANE && sender->flags & EP_MESHED && sender_tag(skb) == TAG_SIDECAR;
}

/* Where an admitted packet goes on. */
#pragma once
#include "bypass.h"
#include "tunnel.h"

#define PACKET_HOST 0

/* Answers to clients outside: the host's connection tracking hasn't seen the question, which went past it, and must not take
 * the answer for a new connection and masquerade it. cni/setup/masquerade.ts names the same mark. */
#define MARK_ANSWERS 0x100

static __always_inline struct node_config *this_node(void)
{
	__u32 zero = 0;
	struct node_config *node = bpf_map_lookup_elem(&node_map, &zero);
	return node && (!no_address(&node->node4) || !no_address(&node->node6)) ? node : 0;
}

/* A verdict for `pod`, reported and counted where it is to drop. 0, or what the program returns. */
static __always_inline int admit(struct __sk_buff *skb, struct packet *p, struct endpoint *pod, struct peer *peer, __u8 direction)
{
	int reason = p->error ? judge_error(skb, p, pod, direction) : judge(p, pod, peer, direction);
	return reason ? dropped(skb, p, reason, direction, p->denied_set) : 0;
}

/* A frame of its veth. */
static __always_inline int to_veth(struct __sk_buff *skb, const struct endpoint *pod)
{
	__u8 macs[12];
	__builtin_memcpy(macs, pod->mac, 6);
	__builtin_memcpy(macs + 6, pod->host_mac, 6);
	/* The mark would survive the change of namespace: a sender must not choose its receiver's. */
	skb->mark = 0;
	/* Before Linux 6.15 redirect_peer leaves it as the outer frame was. */
	bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0);
}

/* `to` is a pod of this node. Its own node is always admitted ("Network Policies", Kubernetes documentation). */
static __always_inline int admit_and_deliver(struct __sk_buff *skb, struct packet *p, struct endpoint *to, struct peer *peer)
{
	if (!(peer->flags & EP_OWN_NODE)) {
		int done = admit(skb, p, to, peer, DIRECTION_INGRESS);
		if (done)
			return done;
	}
	count(skb, 0, DIRECTION_INGRESS);
	return to_veth(skb, to) ? dropped(skb, p, DROP_INTERNAL, DIRECTION_INGRESS, 0) : bpf_redirect_peer(to->ifindex, 0);
}

/* Not to a pod of this node: through the tunnel, or by the host's own routes. */
static __always_inline int to_elsewhere(struct __sk_buff *skb, struct packet *p, const struct endpoint *receiver, const struct node_config *node)
{
	struct address at;
	if (!node_of(receiver, &p->destination, &at)) {
		/* It may be an address of another node that its Node object doesn't name: masqueraded, it would come from this node, and
		 * be believed there whatever pod it says it is from. */
		if (p->protocol == IPPROTO_UDP && p->destination_port == VXLAN_PORT && !p->error)
			return dropped(skb, p, DROP_TUNNEL_PORT, DIRECTION_EGRESS, 0);
		skb->mark = p->answers ? MARK_ANSWERS : 0;
		return TC_ACT_OK;
	}
	if (no_address(&at))
		return receiver ? TC_ACT_OK : dropped(skb, p, DROP_NO_ROUTE, DIRECTION_EGRESS, 0);
	if (!(node->flags & NODE_TUNNEL))
		return TC_ACT_OK;
	return send_through_tunnel(skb, p, node, &at, VNI_PODS, DIRECTION_EGRESS);
}

/* Where an admitted packet goes on. */
#pragma once
#include "verdict.h"

#define VNI_PODS 1
#define ND_ROUTER_SOLICIT 133
#define ND_SOLICIT 135
#define ND_ADVERTISE 136

always_inline struct node_config *this_node(void)
{
	__u32 zero = 0;
	struct node_config *node = bpf_map_lookup_elem(&node_map, &zero);
	return node && (!no_address(&node->node4) || !no_address(&node->node6)) ? node : 0;
}

always_inline int is_link_local(const struct address *a)
{
	return (a->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000) || no_address(a);
}

/* ARP stays on its veth: a pod has one neighbour there, the node. */
always_inline int not_ip(struct __sk_buff *skb, struct packet *p)
{
	return skb->protocol == bpf_htons(ETH_P_ARP) ? TC_ACT_OK : dropped(skb, p, DROP_UNSUPPORTED, DIRECTION_EGRESS, 0);
}

/* Neighbour discovery, questions for routers and listener reports reach the node's end of the veth and no further; routers a pod can't be. */
always_inline int link_local(struct __sk_buff *skb, const struct packet *p)
{
	__u8 type = 0;
	bpf_skb_load_bytes(skb, p->transport, &type, 1);
	int listener = type == ICMPV6_MGM_REPORT || type == ICMPV6_MGM_REDUCTION || type == ICMPV6_MLD2_REPORT;
	if (p->protocol == IPPROTO_ICMPV6 && (type == ND_SOLICIT || type == ND_ADVERTISE || type == ND_ROUTER_SOLICIT || listener))
		return TC_ACT_OK;
	return dropped(skb, p, DROP_SPOOFED, DIRECTION_EGRESS, 0);
}

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

/* A connection that a meshed pod opens past its sidecar: capture was evaded by a mark, a raw socket or another trick. */
always_inline int goes_round_sidecar(struct __sk_buff *skb, const struct packet *p, const struct endpoint *sender, const struct node_config *node)
{
	if (!(sender->flags & EP_MESHED) || p->protocol != IPPROTO_TCP || (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return 0;
	if (sender_tag(skb) || is_dns(p, node))
		return 0;
	struct skipped_port_key port = { .pod_id = sender->pod_id, .port = p->destination_port, .direction = DIRECTION_EGRESS };
	if (bpf_map_lookup_elem(&skipped_port_map, &port))
		return 0;
	struct skipped_prefix prefix = { .bits = 160, .pod_id = sender->pod_id, .address = p->destination };
	return !bpf_map_lookup_elem(&skipped_prefix_map, &prefix);
}

/* The pod's own node ("Network Policies", Kubernetes documentation), and what a sidecar can't do without. */
always_inline int always_admitted(struct __sk_buff *skb, const struct endpoint *sender, const struct endpoint *receiver)
{
	if (!receiver)
		return 0;
	if (receiver->flags & EP_OWN_NODE)
		return 1;
	return receiver->flags & EP_CONTROL_PLANE && sender->flags & EP_MESHED && sender_tag(skb) == TAG_SIDECAR;
}

/* `to` is a pod of this node. */
always_inline int admit_and_deliver(struct __sk_buff *skb, struct packet *p, struct endpoint *to, __u32 identity)
{
	if (identity != IDENTITY_NODE) {
		struct peer peer = { &p->source, identity };
		int reason = judge(skb, p, to, &peer, DIRECTION_INGRESS);
		if (reason)
			return dropped(skb, p, reason, DIRECTION_INGRESS, to->ingress_set);
	}
	count(skb, 0, DIRECTION_INGRESS);
	__u8 macs[12];
	__builtin_memcpy(macs, to->mac, 6);
	__builtin_memcpy(macs + 6, to->host_mac, 6);
	if (bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0))
		return dropped(skb, p, DROP_INTERNAL, DIRECTION_INGRESS, 0);
	/* The mark would survive the change of namespace: a sender must not choose its receiver's. */
	skb->mark = 0;
	return bpf_redirect_peer(to->ifindex, 0);
}

/* The node that has an address; zero for this one. 0 where no node has it. */
always_inline int node_of(const struct endpoint *e, const struct address *address, struct address *node)
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

always_inline int set_tunnel(struct __sk_buff *skb, const struct address *node)
{
	struct bpf_tunnel_key key = { .tunnel_id = VNI_PODS, .tunnel_ttl = 64 };
	if (node->word[0] == 0 && node->word[1] == 0 && node->word[2] == bpf_htonl(0xffff)) {
		key.remote_ipv4 = bpf_ntohl(node->word[3]);
		return bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX);
	}
	__builtin_memcpy(key.remote_ipv6, node->word, 16);
	return bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6);
}

/* Whether the outer source is the node that has the inner one; by it alone a packet from the underlay is believed. */
always_inline int came_from_its_node(struct __sk_buff *skb, const struct packet *p, const struct endpoint *sender)
{
	struct bpf_tunnel_key key = {};
	struct address outer, node;
	if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		map_v4(&outer, bpf_htonl(key.remote_ipv4));
	else if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6))
		__builtin_memcpy(&outer, key.remote_ipv6, 16);
	else
		return 0;
	return node_of(sender, &p->source, &node) && same_address(&node, &outer);
}

/* Not to a pod of this node: through the tunnel, or by the host's own routes. */
always_inline int to_elsewhere(struct __sk_buff *skb, struct packet *p, const struct endpoint *receiver, const struct node_config *node)
{
	struct address at;
	if (!node_of(receiver, &p->destination, &at))
		return TC_ACT_OK;
	if (no_address(&at))
		return receiver ? TC_ACT_OK : dropped(skb, p, DROP_NO_ROUTE, DIRECTION_EGRESS, 0);
	if (!(node->flags & NODE_TUNNEL))
		return TC_ACT_OK;
	skb->mark = 0;
	if (set_tunnel(skb, &at))
		return dropped(skb, p, DROP_INTERNAL, DIRECTION_EGRESS, 0);
	return bpf_redirect(node->tunnel_ifindex, 0);
}

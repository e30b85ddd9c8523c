/* The ways of packets between pods, nodes and the world: cni/README.md, "Ways of packets". */
#include <linux/udp.h>
#include "external.h"
#include "neighbour.h"

/* Chained over another CNI the programs after ours decide. */
#define NEXT_PROGRAM -1

static __always_inline int not_ip(struct __sk_buff *skb, struct packet *p)
{
	return skb->protocol == bpf_htons(ETH_P_ARP) ? arp_of_pod(skb) : dropped(skb, p, DROP_UNSUPPORTED, DIRECTION_EGRESS, 0);
}

/* A packet of the pod's own address: its way on. */
static __always_inline int leave_pod(struct __sk_buff *skb, struct packet *p, struct endpoint *sender, const struct node_config *node)
{
	struct endpoint *receiver = bpf_map_lookup_elem(&endpoint_map, &p->destination);
	struct peer peer;
	peer_of(&peer, receiver, &p->destination);
	if (!(peer.flags & EP_OWN_NODE)) {
		p->exempt = is_exempt(skb, sender, receiver);
		int done = admit(skb, p, sender, &peer, DIRECTION_EGRESS);
		if (done)
			return done;
	}
	if (receiver && receiver->flags & EP_LOCAL) {
		count(skb, 0, DIRECTION_EGRESS);
		struct peer from = { p->source, sender->identity, sender->flags };
		p->exempt = 0;
		return admit_and_deliver(skb, p, receiver, &from);
	}
	int done = NOT_EXTERNAL;
	if (peer.identity == IDENTITY_WORLD || peer.flags & EP_OTHER_NODE)
		done = answer_outside(skb, p, node, 0);
	if (done == TOO_BIG)
		return too_big_of_pod(skb, p, sender, node);
	if (done == NOT_EXTERNAL)
		done = to_elsewhere(skb, p, receiver, node);
	return forwarded(skb, done, DIRECTION_EGRESS);
}

SEC("tc")
int from_pod(struct __sk_buff *skb)
{
	struct packet p = {};
	int reason = parse(skb, &p);
	struct node_config *node = this_node();
	struct endpoint *sender = bpf_map_lookup_elem(&endpoint_map, &p.source);
	if (node && node->flags & NODE_CAPTURE_ONLY) {
		int round = !reason && sender && goes_round_sidecar(skb, &p, sender, node);
		return round ? dropped(skb, &p, DROP_BYPASS, DIRECTION_EGRESS, 0) : NEXT_PROGRAM;
	}
	if (reason == PARSED_OTHER)
		return not_ip(skb, &p);
	if (reason)
		return dropped(skb, &p, reason, DIRECTION_EGRESS, 0);
	int among_neighbours = neighbours_of_pod(skb, &p);
	if (among_neighbours != NOT_NEIGHBOURS)
		return among_neighbours;
	if (!node)
		return dropped(skb, &p, DROP_INTERNAL, DIRECTION_EGRESS, 0);
	if (!sender || !(sender->flags & EP_LOCAL) || sender->ifindex != skb->ingress_ifindex)
		return dropped(skb, &p, DROP_SPOOFED, DIRECTION_EGRESS, 0);
	if (goes_round_sidecar(skb, &p, sender, node))
		return dropped(skb, &p, DROP_BYPASS, DIRECTION_EGRESS, 0);
	return leave_pod(skb, &p, sender, node);
}

SEC("tc")
int to_pod(struct __sk_buff *skb)
{
	struct packet p = {};
	int reason = parse(skb, &p);
	struct node_config *node = this_node();
	if (node && node->flags & NODE_CAPTURE_ONLY)
		return NEXT_PROGRAM;
	if (reason == PARSED_OTHER)
		return TC_ACT_OK;
	if (reason)
		return dropped(skb, &p, reason, DIRECTION_INGRESS, 0);
	/* No other than the node is on this link. */
	if (is_link_local(&p.source) || is_for_neighbours(skb, &p))
		return TC_ACT_OK;
	struct endpoint *receiver = bpf_map_lookup_elem(&endpoint_map, &p.destination);
	if (!receiver || !(receiver->flags & EP_LOCAL))
		return TC_ACT_OK;
	struct peer peer;
	peer_of(&peer, bpf_map_lookup_elem(&endpoint_map, &p.source), &p.source);
	if (!(peer.flags & EP_OWN_NODE)) {
		int done = admit(skb, &p, receiver, &peer, DIRECTION_INGRESS);
		if (done)
			return done;
	}
	count(skb, 0, DIRECTION_INGRESS);
	return TC_ACT_OK;
}

/* By the node that a client outside came in by, or by a backend's node with its answer. */
static __always_inline int external_by_overlay(struct __sk_buff *skb, struct packet *p, const struct node_config *node, const struct address *outer)
{
	struct endpoint *through = bpf_map_lookup_elem(&endpoint_map, outer);
	struct endpoint *sender = bpf_map_lookup_elem(&endpoint_map, &p->source);
	struct endpoint *receiver = bpf_map_lookup_elem(&endpoint_map, &p->destination);
	struct peer peer;
	peer_of(&peer, sender, &p->source);
	int outside = peer.identity == IDENTITY_WORLD || peer.flags & EP_OTHER_NODE;
	if (!through || !(through->flags & EP_OTHER_NODE) || (!outside && !is_node_of(outer, sender, &p->source)))
		return dropped(skb, p, DROP_SPOOFED, DIRECTION_INGRESS, 0);
	if (outside && receiver && receiver->flags & EP_LOCAL) {
		if (remember_entry_node(p, outer))
			return dropped(skb, p, DROP_INTERNAL, DIRECTION_INGRESS, 0);
		return admit_and_deliver(skb, p, receiver, &peer);
	}
	int done = outside ? NOT_EXTERNAL : answer_outside(skb, p, node, 1);
	return done == NOT_EXTERNAL ? dropped(skb, p, DROP_NO_ROUTE, DIRECTION_INGRESS, 0) : forwarded(skb, done, DIRECTION_INGRESS);
}

SEC("tc")
int from_overlay(struct __sk_buff *skb)
{
	struct packet p = {};
	struct address outer;
	__u32 vni;
	int reason = parse(skb, &p);
	struct node_config *node = this_node();
	if (reason)
		return dropped(skb, &p, reason == PARSED_OTHER ? DROP_UNSUPPORTED : reason, DIRECTION_INGRESS, 0);
	if (!node || read_tunnel(skb, &outer, &vni))
		return dropped(skb, &p, DROP_INTERNAL, DIRECTION_INGRESS, 0);
	if (vni == VNI_EXTERNAL)
		return external_by_overlay(skb, &p, node, &outer);
	struct endpoint *sender = bpf_map_lookup_elem(&endpoint_map, &p.source);
	if (vni != VNI_PODS || !(node->flags & NODE_TUNNEL) || !is_node_of(&outer, sender, &p.source))
		return dropped(skb, &p, DROP_SPOOFED, DIRECTION_INGRESS, 0);
	struct endpoint *receiver = bpf_map_lookup_elem(&endpoint_map, &p.destination);
	if (receiver && receiver->flags & EP_LOCAL) {
		struct peer peer;
		peer_of(&peer, sender, &p.source);
		return admit_and_deliver(skb, &p, receiver, &peer);
	}
	if (!receiver || !(receiver->flags & EP_OWN_NODE))
		return dropped(skb, &p, DROP_NO_ROUTE, DIRECTION_INGRESS, 0);
	/* The inner frame has the address of a veth, not of this device. */
	bpf_skb_change_type(skb, PACKET_HOST);
	count(skb, 0, DIRECTION_INGRESS);
	return TC_ACT_OK;
}

SEC("tc")
int to_overlay(struct __sk_buff *skb)
{
	/* What from_pod and from_uplink redirected has its key, and its verdict. */
	struct address known;
	__u32 vni;
	if (!read_tunnel(skb, &known, &vni))
		return TC_ACT_OK;
	struct packet p = {};
	struct node_config *node = this_node();
	int reason = parse(skb, &p);
	if (reason == PARSED_OTHER || !node)
		return TC_ACT_SHOT;
	if (reason)
		return dropped(skb, &p, reason, DIRECTION_EGRESS, 0);
	/* The host greets its neighbours on every device, and here it has none: nothing that anybody would miss. */
	if (is_link_local(&p.destination) || is_multicast(&p.destination))
		return TC_ACT_SHOT;
	struct endpoint *receiver = bpf_map_lookup_elem(&endpoint_map, &p.destination);
	struct address at;
	if (!(node->flags & NODE_TUNNEL) || !node_of(receiver, &p.destination, &at) || no_address(&at))
		return dropped(skb, &p, DROP_NO_ROUTE, DIRECTION_EGRESS, 0);
	if (set_tunnel(skb, &at, VNI_PODS))
		return dropped(skb, &p, DROP_INTERNAL, DIRECTION_EGRESS, 0);
	return forwarded(skb, TC_ACT_OK, DIRECTION_EGRESS);
}

#define PLAIN_UNDERLAY_BYTES (sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr))

static __always_inline int is_underlay(const struct packet *p, const struct node_config *node)
{
	return p->protocol == IPPROTO_UDP && p->destination_port == VXLAN_PORT && node->tunnel_ifindex &&
	       (same_address(&p->destination, &node->node4) || same_address(&p->destination, &node->node6));
}

/* What nearly all packets between nodes look like: known without reading them whole. */
static __always_inline int is_plain_underlay(struct __sk_buff *skb, const struct node_config *node)
{
	__u8 *frame = (void *)(long)skb->data;
	if (!node || !node->tunnel_ifindex || frame + PLAIN_UNDERLAY_BYTES > (__u8 *)(long)skb->data_end)
		return 0;
	const struct ethhdr *ethernet = (void *)frame;
	const struct iphdr *ip = (void *)(ethernet + 1);
	const struct udphdr *udp = (void *)(ip + 1);
	return ethernet->h_proto == bpf_htons(ETH_P_IP) && ip->version == 4 && ip->ihl == 5 && ip->protocol == IPPROTO_UDP &&
	       !(ip->frag_off & bpf_htons(IPV4_FRAGMENT_OFFSET | IPV4_MORE_FRAGMENTS)) && udp->dest == VXLAN_PORT &&
	       is_v4(&node->node4) && ip->daddr == node->node4.word[3];
}

SEC("tc")
int from_uplink(struct __sk_buff *skb)
{
	struct packet p = {};
	struct node_config *node = this_node();
	if (is_plain_underlay(skb, node))
		return TC_ACT_OK;
	int reason = parse(skb, &p);
	/* What isn't about pods is the host's own affair, broken packets included. */
	if (reason || !node || node->flags & NODE_CAPTURE_ONLY)
		return NEXT_PROGRAM;
	if (is_underlay(&p, node))
		return TC_ACT_OK;
	struct endpoint *sender = bpf_map_lookup_elem(&endpoint_map, &p.source);
	struct endpoint *receiver = bpf_map_lookup_elem(&endpoint_map, &p.destination);
	struct peer peer;
	peer_of(&peer, sender, &p.source);
	int is_pod = peer.identity == IDENTITY_UNKNOWN || peer.identity >= IDENTITY_FIRST_POD;
	if (peer.flags & (EP_LOCAL | EP_OWN_NODE | EP_DNS) || (is_pod && (node->flags & NODE_TUNNEL || is_here(sender, &p.source))))
		return dropped(skb, &p, DROP_SPOOFED, DIRECTION_INGRESS, 0);
	if (receiver && receiver->flags & EP_LOCAL)
		return admit_and_deliver(skb, &p, receiver, &peer);
	int done = to_backend(skb, &p, receiver && receiver->flags & EP_OWN_NODE, node);
	if (done == NOT_EXTERNAL)
		return TC_ACT_OK;
	if (done == REFUSED)
		return refuse(skb, &p, node);
	if (done == TOO_BIG)
		return too_big_of_client(skb, &p, node);
	return done ? done : forward_to_backend(skb, &p, &peer, node);
}

char _license[] SEC("license") = "GPL";

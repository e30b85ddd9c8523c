/* The ways of packets between pods, nodes and the world: cni/README.md, "Ways of packets". */
#include "verdict.h"
#include "forward.h"

SEC("tc")
int from_pod(struct __sk_buff *skb)
{
	struct packet p = {};
	int reason = parse(skb, &p);
	if (reason == PARSED_OTHER)
		return not_ip(skb, &p);
	if (reason)
		return dropped(skb, &p, reason, DIRECTION_EGRESS, 0);
	if (is_link_local(&p.source))
		return link_local(skb, &p);
	struct node_config *node = this_node();
	struct endpoint *sender = bpf_map_lookup_elem(&endpoint_map, &p.source);
	if (!node)
		return dropped(skb, &p, DROP_INTERNAL, DIRECTION_EGRESS, 0);
	if (!sender || !(sender->flags & EP_LOCAL) || sender->ifindex != skb->ifindex)
		return dropped(skb, &p, DROP_SPOOFED, DIRECTION_EGRESS, 0);
	if (goes_round_sidecar(skb, &p, sender, node))
		return dropped(skb, &p, DROP_BYPASS, DIRECTION_EGRESS, 0);
	struct endpoint *receiver = bpf_map_lookup_elem(&endpoint_map, &p.destination);
	if (!always_admitted(skb, sender, receiver)) {
		struct peer peer = { &p.destination, identity_of(receiver, &p.destination) };
		reason = judge(skb, &p, sender, &peer, DIRECTION_EGRESS);
		if (reason)
			return dropped(skb, &p, reason, DIRECTION_EGRESS, sender->egress_set);
	}
	count(skb, 0, DIRECTION_EGRESS);
	if (receiver && receiver->flags & EP_LOCAL)
		return admit_and_deliver(skb, &p, receiver, sender->identity);
	return to_elsewhere(skb, &p, receiver, node);
}

SEC("tc")
int to_pod(struct __sk_buff *skb)
{
	struct packet p = {};
	int reason = parse(skb, &p);
	if (reason == PARSED_OTHER || is_link_local(&p.source))
		return TC_ACT_OK;
	if (reason)
		return dropped(skb, &p, reason, DIRECTION_INGRESS, 0);
	struct endpoint *receiver = bpf_map_lookup_elem(&endpoint_map, &p.destination);
	if (!receiver || !(receiver->flags & EP_LOCAL))
		return TC_ACT_OK;
	struct endpoint *sender = bpf_map_lookup_elem(&endpoint_map, &p.source);
	if (!sender || !(sender->flags & EP_OWN_NODE)) {
		struct peer peer = { &p.source, identity_of(sender, &p.source) };
		reason = judge(skb, &p, receiver, &peer, DIRECTION_INGRESS);
		if (reason)
			return dropped(skb, &p, reason, DIRECTION_INGRESS, receiver->ingress_set);
	}
	count(skb, 0, DIRECTION_INGRESS);
	return TC_ACT_OK;
}

SEC("tc")
int from_overlay(struct __sk_buff *skb)
{
	struct packet p = {};
	int reason = parse(skb, &p);
	if (reason)
		return dropped(skb, &p, reason == PARSED_OTHER ? DROP_UNSUPPORTED : reason, DIRECTION_INGRESS, 0);
	struct endpoint *sender = bpf_map_lookup_elem(&endpoint_map, &p.source);
	if (!came_from_its_node(skb, &p, sender))
		return dropped(skb, &p, DROP_SPOOFED, DIRECTION_INGRESS, 0);
	struct endpoint *receiver = bpf_map_lookup_elem(&endpoint_map, &p.destination);
	bpf_skb_change_type(skb, 0); /* PACKET_HOST; before Linux 6.15 redirect_peer leaves it as the outer frame was */
	if (receiver && receiver->flags & EP_LOCAL)
		return admit_and_deliver(skb, &p, receiver, identity_of(sender, &p.source));
	if (receiver && receiver->flags & EP_OWN_NODE)
		return TC_ACT_OK;
	return dropped(skb, &p, DROP_NO_ROUTE, DIRECTION_INGRESS, 0);
}

SEC("tc")
int to_overlay(struct __sk_buff *skb)
{
	struct packet p = {};
	struct node_config *node = this_node();
	int reason = parse(skb, &p);
	if (reason == PARSED_OTHER || !node)
		return TC_ACT_SHOT;
	if (reason)
		return dropped(skb, &p, reason, DIRECTION_EGRESS, 0);
	struct endpoint *receiver = bpf_map_lookup_elem(&endpoint_map, &p.destination);
	struct address at;
	if (!node_of(receiver, &p.destination, &at) || no_address(&at))
		return dropped(skb, &p, DROP_NO_ROUTE, DIRECTION_EGRESS, 0);
	if (set_tunnel(skb, &at))
		return dropped(skb, &p, DROP_INTERNAL, DIRECTION_EGRESS, 0);
	return TC_ACT_OK;
}

SEC("tc")
int from_uplink(struct __sk_buff *skb)
{
	struct packet p = {};
	int reason = parse(skb, &p);
	struct node_config *node = this_node();
	/* What isn't about pods is the host's own affair, broken packets included. */
	if (reason || !node)
		return TC_ACT_OK;
	struct endpoint *sender = bpf_map_lookup_elem(&endpoint_map, &p.source);
	__u32 identity = identity_of(sender, &p.source);
	int is_pod = identity == IDENTITY_UNKNOWN || identity >= IDENTITY_FIRST_POD;
	if (is_pod && (node->flags & NODE_TUNNEL || (sender && sender->flags & EP_LOCAL)))
		return dropped(skb, &p, DROP_SPOOFED, DIRECTION_INGRESS, 0);
	struct endpoint *receiver = bpf_map_lookup_elem(&endpoint_map, &p.destination);
	if (!receiver || !(receiver->flags & EP_LOCAL))
		return TC_ACT_OK;
	return admit_and_deliver(skb, &p, receiver, identity);
}

char _license[] SEC("license") = "GPL";

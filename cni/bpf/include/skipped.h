/* What apps of a meshed pod may reach by themselves: asked where they dial, and again of the packets they send. */
#pragma once
#include "address.h"

#define PORT_DNS 53

/* Ports are in network order. */
static __always_inline bool is_cluster_dns(const struct node_config *node, const struct address *address, __u16 port)
{
	return node && port == bpf_htons(PORT_DNS) &&
	       (same_address(address, &node->dns4) || same_address(address, &node->dns6));
}

/* By the pod's annotations heddle.dev/skip-outbound-ports and -cidrs. */
static __always_inline bool is_skipped_outbound(__u32 pod_id, const struct address *address, __u16 port)
{
	struct skipped_port_key by_port = {.pod_id = pod_id, .port = port, .direction = DIRECTION_EGRESS};
	if (bpf_map_lookup_elem(&skipped_port_map, &by_port))
		return true;
	struct skipped_prefix by_prefix = {.bits = 32 + 128, .pod_id = pod_id, .address = *address};
	return bpf_map_lookup_elem(&skipped_prefix_map, &by_prefix) != 0;
}

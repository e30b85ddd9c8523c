/* sk_lookup in the namespace of a captured pod, one instance for each: new TCP connections go to the sidecar's listeners, wherever they
 * were addressed to. Without a listener they are refused; they never pass by. */
#pragma once
#include <linux/in.h>
#include "address.h"

#define AF_INET 2
/* Of a network namespace, always: the kernel makes lo first. Test runs can give no device, they say 0. */
#ifndef LO_IFINDEX
#define LO_IFINDEX 1
#endif
#define PORT_OUTBOUND 15001
#define PORT_INBOUND 15006
/* The sidecar's own, never captured. */
#define PORT_ADMIN_MTLS 15009
#define PORT_METRICS 15020
#define PORT_HEALTH 15021

/* Set by the loader. An address that the pod doesn't have is zero. */
const volatile __u32 pod_id = 0;
const volatile struct address ip4 = {};
const volatile struct address ip6 = {};

/* Within the pod: loopback, its own addresses, and the link-local ones that only it can have on lo. */
static __always_inline bool stays4(const struct bpf_sk_lookup *ctx)
{
	__u32 local = ctx->local_ip4;

	return (local & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) || local == ip4.word[3];
}

static __always_inline bool stays6(const struct bpf_sk_lookup *ctx)
{
	struct address local = {.word = {ctx->local_ip6[0], ctx->local_ip6[1], ctx->local_ip6[2], ctx->local_ip6[3]}};
	struct address own = {.word = {ip6.word[0], ip6.word[1], ip6.word[2], ip6.word[3]}};

	return is_loopback(&local) || is_link_local(&local) || same_address(&local, &own);
}

static __always_inline bool is_skipped(__u16 port)
{
	if (port == PORT_ADMIN_MTLS || port == PORT_METRICS || port == PORT_HEALTH)
		return true;
	struct skipped_port_key key = {.pod_id = pod_id, .port = bpf_htons(port), .direction = DIRECTION_INGRESS};
	return bpf_map_lookup_elem(&skipped_port_map, &key) != NULL;
}

SEC("sk_lookup")
int steer(struct bpf_sk_lookup *ctx)
{
	bool v4 = ctx->family == AF_INET;
	struct listener_key key = {.pod_id = pod_id, .family = v4 ? 4 : 6};

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	if (ctx->ingress_ifindex == LO_IFINDEX) {
		if (v4 ? stays4(ctx) : stays6(ctx))
			return SK_PASS;
		key.port = PORT_OUTBOUND;
	} else {
		if (is_skipped(ctx->local_port))
			return SK_PASS;
		key.port = PORT_INBOUND;
	}
	struct bpf_sock *listener = bpf_map_lookup_elem(&listener_map, &key);
	if (!listener)
		return SK_DROP;
	long failed = bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	return failed ? SK_DROP : SK_PASS;
}

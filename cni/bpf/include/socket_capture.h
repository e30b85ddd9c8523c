/* Capture at the socket: TCP of a meshed pod's apps is marked, and the pod's routing rules lead what is marked to lo, where
 * steer.bpf.c hands it to the sidecar. */
#pragma once
#include "skipped.h"
#include "socket_sidecar.h"

#define CAPTURE_MARK 0x1

/* What becomes of a connection of an app. */
#define CAPTURED 0
#define LEFT_ALONE 1 /* within the pod, or to the cluster's DNS */
#define SKIPPED 2    /* as if the pod weren't meshed */

static __always_inline int capture_of(const struct pod *pod, const struct place *to)
{
	__u32 zero = 0;
	struct node_config *node = bpf_map_lookup_elem(&node_map, &zero);

	if (is_loopback(&to->address) || is_unspecified(&to->address) || is_own(pod, &to->address) ||
	    is_cluster_dns(node, &to->address, to->port))
		return LEFT_ALONE;
	return is_skipped_outbound(pod->pod_id, &to->address, to->port) ? SKIPPED : CAPTURED;
}

static __always_inline int set_mark(struct bpf_sock_addr *ctx, __u32 mark)
{
	return bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
}

/* A socket's device or a link-local address would choose the way before the mark does: refused. A mark of the app's own
 * gives way to ours. */
static __always_inline int capture(struct bpf_sock_addr *ctx, const struct place *to)
{
	if (ctx->sk->bound_dev_if > LO_IFINDEX || is_link_local(&to->address))
		return refused(EPERM);
	return set_mark(ctx, CAPTURE_MARK) ? refused(EPERM) : ALLOW;
}

/* A socket that was captured before and dials again. */
static __always_inline void release_mark(struct bpf_sock_addr *ctx)
{
	if (ctx->sk->mark == CAPTURE_MARK)
		set_mark(ctx, 0);
}

static __always_inline struct address source_of(struct bpf_sock *sk)
{
	if (sk->family == AF_INET)
		return mapped(sk->src_ip4);
	struct address source = {.word = {sk->src_ip6[0], sk->src_ip6[1], sk->src_ip6[2], sk->src_ip6[3]}};
	return source;
}

/* The sidecar dials its app from the client's address: such a connection must stay on lo, whatever address it has. */
static __always_inline bool is_for_a_client(const struct pod *pod, struct bpf_sock *sk)
{
	struct address source = source_of(sk);

	return !is_unspecified(&source) && !is_loopback(&source) && !is_own(pod, &source);
}

static __always_inline void bind_to(struct bpf_sock_ops *ctx, const char *device, int bytes)
{
	bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, (void *)device, bytes);
}

/* What the sidecar accepts from a client and what the app accepts from the sidecar in that client's name have addresses of one kind, and
 * ports that two namespaces chose: sooner or later the four are equal. Bound to the device it came in by, each connection
 * sees its own packets only. Connections within the pod without a mark can't meet others. */
static __always_inline void on_accepted(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return;
	struct pod *pod = pod_of_netns(bpf_get_netns_cookie(ctx));
	if (!pod || !(pod->flags & POD_MESHED))
		return;
	/* net.ipv4.tcp_fwmark_accept hands the SYN's mark on. */
	if (sk->mark & CAPTURE_MARK) {
		char lo[] = "lo";
		bind_to(ctx, lo, sizeof(lo));
		return;
	}
	struct address client = mapped(ctx->remote_ip4);
	if (ctx->family == AF_INET6) {
		client.word[0] = ctx->remote_ip6[0];
		client.word[1] = ctx->remote_ip6[1];
		client.word[2] = ctx->remote_ip6[2];
		client.word[3] = ctx->remote_ip6[3];
	}
	if (sk->bound_dev_if || is_loopback(&client) || is_own(pod, &client))
		return;
	char eth0[] = "eth0";
	bind_to(ctx, eth0, sizeof(eth0));
}

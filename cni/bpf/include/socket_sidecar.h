/* Who is the sidecar: a socket made by uid 1337 in the cgroup that the agent confirmed as the container heddle-proxy of this pod. The
 * uid alone would let an app's root become it. Both are taken when the socket is made and can't be forged later. */
#pragma once
#include "socket_pod.h"

#define SIDECAR_UID 1337
#define PORT_OUTBOUND 15001
#define PORT_INBOUND 15006

#define CANDIDATES_PER_SECOND_MAX 16 /* of one namespace: a sidecar has four listeners */

/* Sockets of uid 1337 outside a confirmed cgroup: their maker, should the agent confirm it or wish to look at it. */
struct maker {
	__u64 cgroup;
	__u32 pid;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct maker);
} maker_map SEC(".maps");

struct candidate_rate {
	__u64 second;
	__u64 count;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, __u64); /* namespace cookie */
	__type(value, struct candidate_rate);
	__uint(max_entries, 8192);
} candidate_rate_map SEC(".maps");

/* Only TCP is ever tagged: a raw socket that writes its own SYN must not pass as the sidecar. */
static __always_inline void note_maker(struct bpf_sock *ctx)
{
	if ((__u32)bpf_get_current_uid_gid() != SIDECAR_UID || ctx->type != SOCK_STREAM || ctx->protocol != IPPROTO_TCP)
		return;
	struct pod *pod = pod_of_netns(bpf_get_netns_cookie(ctx));
	if (!pod || !(pod->flags & POD_MESHED))
		return;
	struct maker maker = {.cgroup = bpf_get_current_cgroup_id(), .pid = bpf_get_current_pid_tgid() >> 32};
	if (pod->sidecar_cgroup && pod->sidecar_cgroup == maker.cgroup) {
		__u32 tag = TAG_SIDECAR;
		bpf_sk_storage_get(&sidecar_socket_map, ctx, &tag, BPF_SK_STORAGE_GET_F_CREATE);
	} else {
		bpf_sk_storage_get(&maker_map, ctx, &maker, BPF_SK_STORAGE_GET_F_CREATE);
	}
}

/* Sockets older than their cgroup's confirmation get their tag when they are used. */
static __always_inline bool is_sidecar(const struct pod *pod, struct bpf_sock *sk)
{
	__u32 *known = bpf_sk_storage_get(&sidecar_socket_map, sk, NULL, 0);
	if (known && *known == TAG_SIDECAR)
		return true;
	struct maker *maker = bpf_sk_storage_get(&maker_map, sk, NULL, 0);
	if (!maker || !pod->sidecar_cgroup || maker->cgroup != pod->sidecar_cgroup)
		return false;
	__u32 tag = TAG_SIDECAR;
	__u32 *made = bpf_sk_storage_get(&sidecar_socket_map, sk, &tag, BPF_SK_STORAGE_GET_F_CREATE);
	if (!made)
		return false;
	*made = TAG_SIDECAR;
	return true;
}

static __always_inline bool candidate_allowed(__u64 netns_cookie)
{
	struct candidate_rate fresh = {.second = bpf_ktime_get_boot_ns() / 1000000000, .count = 1};
	struct candidate_rate *rate = bpf_map_lookup_elem(&candidate_rate_map, &netns_cookie);

	if (!rate || rate->second != fresh.second) {
		bpf_map_update_elem(&candidate_rate_map, &netns_cookie, &fresh, BPF_ANY);
		return true;
	}
	/* Before it is added to, so that it can't run over; callers at the same moment may exceed the limit by their number. */
	if (rate->count >= CANDIDATES_PER_SECOND_MAX)
		return false;
	__sync_fetch_and_add(&rate->count, 1);
	return true;
}

static __always_inline void tell_candidate(struct bpf_sock_ops *ctx, __u64 netns_cookie, const struct maker *maker)
{
	if (!candidate_allowed(netns_cookie))
		return;
	struct candidate *event = bpf_ringbuf_reserve(&candidate_ring, sizeof(*event), 0);
	if (!event)
		return; /* Full: the agent looks at all pods when it is back. */
	event->netns_cookie = netns_cookie;
	event->cgroup = maker->cgroup;
	event->pid = maker->pid;
	event->port = ctx->local_port;
	event->family = ctx->family == AF_INET ? 4 : 6;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void register_listener(struct bpf_sock_ops *ctx, const struct pod *pod)
{
	struct listener_key key = {.pod_id = pod->pod_id, .port = ctx->local_port, .family = 4};

	if (ctx->family == AF_INET) {
		if (ctx->local_ip4 == bpf_htonl(0x7f000001) || !ctx->local_ip4)
			bpf_sock_hash_update(ctx, &listener_map, &key, BPF_ANY);
		return;
	}
	bool rest = ctx->local_ip6[0] || ctx->local_ip6[1] || ctx->local_ip6[2];
	if (rest || (ctx->local_ip6[3] && ctx->local_ip6[3] != bpf_htonl(1)))
		return;
	/* One at :: may serve both families; one that is IPv4's own comes before it. Where it is IPv6 only, the kernel refuses
	 * to give it an IPv4 connection, which then ends as without a listener. */
	if (!ctx->local_ip6[3])
		bpf_sock_hash_update(ctx, &listener_map, &key, BPF_NOEXIST);
	key.family = 6;
	bpf_sock_hash_update(ctx, &listener_map, &key, BPF_ANY);
}

static __always_inline void on_listen(struct bpf_sock_ops *ctx)
{
	if (ctx->local_port != PORT_OUTBOUND && ctx->local_port != PORT_INBOUND)
		return;
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return;
	__u64 netns_cookie = bpf_get_netns_cookie(ctx);
	struct pod *pod = pod_of_netns(netns_cookie);
	if (!pod || !(pod->flags & POD_MESHED))
		return;
	if (is_sidecar(pod, sk)) {
		register_listener(ctx, pod);
		return;
	}
	struct maker *maker = bpf_sk_storage_get(&maker_map, sk, NULL, 0);
	if (maker)
		tell_candidate(ctx, netns_cookie, maker);
}

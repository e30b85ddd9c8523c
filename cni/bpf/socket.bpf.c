/* Programs on cgroup hooks, attached once above all pods and to the node's own programs. They act only for sockets of network
 * namespaces in pod_map, so that several nodes can share one kernel. */
#include "socket_capture.h"
#include "socket_service.h"

static __always_inline int on_connect(struct bpf_sock_addr *ctx, struct place *to, bool *changed)
{
	__u64 netns_cookie = bpf_get_netns_cookie(ctx);
	struct pod *pod = pod_of_netns(netns_cookie);
	if (!pod)
		return ALLOW;

	bool skipped = false;
	if ((pod->flags & POD_MESHED) && ctx->type == SOCK_STREAM) {
		if (is_sidecar(pod, ctx->sk)) {
			if (is_for_a_client(pod, ctx->sk))
				return set_mark(ctx, CAPTURE_MARK) ? refused(EPERM) : ALLOW;
		} else {
			int kind = capture_of(pod, to);
			skipped = kind == SKIPPED;
			/* Of what this socket dialled before. */
			bpf_sk_storage_delete(&sidecar_socket_map, ctx->sk);
			if (kind == CAPTURED)
				return capture(ctx, to);
			release_mark(ctx);
			if (kind == LEFT_ALONE)
				return ALLOW;
		}
	}
	int outcome = translate(ctx, pod, netns_cookie, to, bpf_get_prandom_u32());
	*changed = outcome == TRANSLATED;
	if (skipped && *changed) {
		__u32 tag = TAG_SKIPPED;
		bpf_sk_storage_get(&sidecar_socket_map, ctx->sk, &tag, BPF_SK_STORAGE_GET_F_CREATE);
	}
	return outcome == NO_BACKEND ? refused(ECONNREFUSED) : ALLOW;
}

static __always_inline int on_sendmsg(struct bpf_sock_addr *ctx, struct place *to, bool *changed)
{
	__u64 netns_cookie = bpf_get_netns_cookie(ctx);
	struct pod *pod = pod_of_netns(netns_cookie);
	if (!pod)
		return ALLOW;
	int outcome = translate(ctx, pod, netns_cookie, to, hashed(bpf_get_socket_cookie(ctx)));
	*changed = outcome == TRANSLATED;
	return outcome == NO_BACKEND ? refused(ECONNREFUSED) : ALLOW;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	struct place to = place4(ctx);
	bool changed = false;
	int verdict = on_connect(ctx, &to, &changed);

	if (changed)
		set_place4(ctx, &to.address, to.port);
	return verdict;
}

/* IPv4 destinations of IPv6 sockets too, as ::ffff:a.b.c.d. */
SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	struct place to = place6(ctx);
	bool changed = false;
	int verdict = on_connect(ctx, &to, &changed);

	if (changed)
		set_place6(ctx, &to.address, to.port);
	return verdict;
}

/* IPv4 destinations of IPv6 sockets come here, unlike connect's. */
SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	struct place to = place4(ctx);
	bool changed = false;
	int verdict = on_sendmsg(ctx, &to, &changed);

	if (changed)
		set_place4(ctx, &to.address, to.port);
	return verdict;
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	struct place to = place6(ctx);
	bool changed = false;
	int verdict = on_sendmsg(ctx, &to, &changed);

	if (changed)
		set_place6(ctx, &to.address, to.port);
	return verdict;
}

static __always_inline int show_service4(struct bpf_sock_addr *ctx)
{
	struct place from = place4(ctx);

	if (translate_back(ctx, &from))
		set_place4(ctx, &from.address, from.port);
	return ALLOW;
}

static __always_inline int show_service6(struct bpf_sock_addr *ctx)
{
	struct place from = place6(ctx);

	if (translate_back(ctx, &from))
		set_place6(ctx, &from.address, from.port);
	return ALLOW;
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return show_service4(ctx);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return show_service6(ctx);
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	return show_service4(ctx);
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	return show_service6(ctx);
}

SEC("cgroup/sock_create")
int sock_create(struct bpf_sock *ctx)
{
	note_maker(ctx);
	return ALLOW;
}

SEC("sockops")
int sock_ops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		on_listen(ctx);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		on_accepted(ctx);
		break;
	}
	return ALLOW;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

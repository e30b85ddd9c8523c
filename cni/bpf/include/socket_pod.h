/* What all socket programs share: whose socket it is, and where it goes. */
#pragma once
#include <linux/in.h>
#include "address.h"

/* Not in the UAPI headers that eBPF can include. */
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOL_SOCKET 1
#define SO_BINDTODEVICE 25
#define SO_MARK 36
#define EPERM 1
#define ECONNREFUSED 111

/* Of a network namespace, always: the kernel makes lo first. */
#define LO_IFINDEX 1

/* What a program on connect and sendmsg answers. */
#define REFUSE 0
#define ALLOW 1

/* Whether bpf_set_retval exists for these hooks. The loader tries with 1 and, where the verifier refuses, with 0: the call is then
 * dead code, which the verifier never looks at, and the caller gets EPERM. */
const volatile __u8 can_refuse = 0;

static __always_inline int refused(int error)
{
	if (can_refuse)
		bpf_set_retval(-error);
	return REFUSE;
}

static __always_inline struct pod *pod_of_netns(__u64 netns_cookie)
{
	return bpf_map_lookup_elem(&pod_map, &netns_cookie);
}

static __always_inline bool is_own(const struct pod *pod, const struct address *address)
{
	return same_address(address, &pod->ip4) || same_address(address, &pod->ip6);
}

/* Where a socket goes, or, in recvmsg and getpeername, where it comes from. */
struct place {
	struct address address;
	__u16 port;
};

static __always_inline struct place place4(const struct bpf_sock_addr *ctx)
{
	struct place place = {.address = mapped(ctx->user_ip4), .port = (__u16)ctx->user_port};
	return place;
}

static __always_inline struct place place6(const struct bpf_sock_addr *ctx)
{
	struct place place = {
		.address = {.word = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]}},
		.port = (__u16)ctx->user_port,
	};
	return place;
}

static __always_inline void set_place4(struct bpf_sock_addr *ctx, const struct address *address, __u16 port)
{
	ctx->user_ip4 = address->word[3];
	ctx->user_port = port;
}

/* Word by word: the verifier refuses the 64-bit stores that the compiler would make of pairs. */
static __always_inline void set_place6(struct bpf_sock_addr *ctx, const struct address *address, __u16 port)
{
	volatile __u32 *words = ctx->user_ip6;

	words[0] = address->word[0];
	words[1] = address->word[1];
	words[2] = address->word[2];
	words[3] = address->word[3];
	ctx->user_port = port;
}

/* Addresses in the one form that maps have, as all programs look at them. */
#pragma once
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include "layout.h"

static __always_inline struct address mapped(__u32 ip4)
{
	struct address address = {.word = {0, 0, bpf_htonl(0xffff), ip4}};
	return address;
}

static __always_inline bool is_v4(const struct address *address)
{
	return !address->word[0] && !address->word[1] && address->word[2] == bpf_htonl(0xffff);
}

static __always_inline bool same_address(const struct address *one, const struct address *other)
{
	return one->word[0] == other->word[0] && one->word[1] == other->word[1] && one->word[2] == other->word[2] &&
	       one->word[3] == other->word[3];
}

static __always_inline bool no_address(const struct address *address)
{
	return !(address->word[0] | address->word[1] | address->word[2] | address->word[3]);
}

/* :: and 0.0.0.0, which mean this host where they are dialled. */
static __always_inline bool is_unspecified(const struct address *address)
{
	return !address->word[0] && !address->word[1] && !address->word[3] &&
	       (!address->word[2] || address->word[2] == bpf_htonl(0xffff));
}

/* Of a frontend: every address of its family that the node has. */
static __always_inline struct address every_address_like(const struct address *address)
{
	struct address any = {.word = {0, 0, is_v4(address) ? bpf_htonl(0xffff) : 0, 0}};
	return any;
}

static __always_inline bool is_loopback(const struct address *address)
{
	if (is_v4(address))
		return (address->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !address->word[0] && !address->word[1] && !address->word[2] && address->word[3] == bpf_htonl(1);
}

/* Both of IPv6; IPv4's have no part in the pod network. */
static __always_inline bool is_link_local(const struct address *address)
{
	return (address->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline bool is_multicast(const struct address *address)
{
	return (address->word[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

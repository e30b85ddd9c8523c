/* The Internet checksum (RFC 1071). Sums are of bytes as they lie in memory: it is the same in either order. */
#pragma once
#include "packet.h"

/* What the sums of TCP, UDP and ICMPv6 count beside their own bytes (RFC 8200, section 8.1). It serves for IPv4 as well: the two
 * words ffff of mapped addresses are 0 in this arithmetic. */
struct pseudo_header {
	struct address source, destination;
	__u32 length, next;
};

static __always_inline __s64 pseudo_sum(const struct address *source, const struct address *destination, __u32 length, __u8 protocol)
{
	struct pseudo_header counted = { .source = *source, .destination = *destination };
	counted.length = bpf_htonl(length);
	counted.next = bpf_htonl(protocol);
	return bpf_csum_diff(0, 0, (__be32 *)&counted, sizeof(counted), 0);
}

static __always_inline __u16 folded(__s64 sum)
{
	__u32 rest = (__u32)sum;
	rest = (rest & 0xffff) + (rest >> 16);
	rest = (rest & 0xffff) + (rest >> 16);
	return (__u16)~rest;
}

#define SUM_CHUNK_BYTES 32

/* Adds a part of a packet, at most `SUM_CHUNKS_MAX` chunks of it; `bytes` is a multiple of 4. -1 where it isn't there. */
#define SUM_CHUNKS_MAX 40
static __always_inline int add_bytes(struct __sk_buff *skb, __u32 at, __u32 bytes, __s64 *sum)
{
	for (__u32 n = 0; n < SUM_CHUNKS_MAX && n * SUM_CHUNK_BYTES < bytes; n++) {
		__u8 chunk[SUM_CHUNK_BYTES] = {};
		__u32 left = bytes - n * SUM_CHUNK_BYTES;
		if (left > SUM_CHUNK_BYTES)
			left = SUM_CHUNK_BYTES;
		asm volatile("" : "+r"(left)); /* the verifier must see the bounds on the value that is used */
		if (!left || left > SUM_CHUNK_BYTES || bpf_skb_load_bytes(skb, at + n * SUM_CHUNK_BYTES, chunk, left))
			return -1;
		*sum = bpf_csum_diff(0, 0, (__be32 *)chunk, sizeof(chunk), *sum);
	}
	return 0;
}

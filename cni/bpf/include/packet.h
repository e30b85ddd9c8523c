/* A packet as the programs see it: whose, to whom, which ports. */
#pragma once
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include "layout.h"

#define always_inline static __attribute__((always_inline)) inline
/* A function of its own to the verifier, which looks at it once and takes what it was given and gives back for unknown: without
 * them it would follow every way of parsing through every verdict. Their pointers may be null to it. Linux 5.13. */
#define verified_alone __attribute__((noinline))

struct packet {
	struct address source;
	struct address destination;
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	__u8 family;     /* 4 or 6 */
	__u8 tcp_flags;
	__u8 opening;    /* begins a connection, so is never a reply: a SYN alone, or an echo request */
	__u32 transport; /* offset of the transport header */
	__u32 end;       /* offset behind the IP packet, as far as its header tells */
	__u32 fragment_id;
	__u8 fragment;   /* of a fragmented datagram */
	__u8 later;      /* and not its first */
	__u8 error;      /* an ICMP error */
	__u8 exempt;     /* policy doesn't apply to what the sidecar sends to the control plane */
	__u32 denied_set; /* the set by which it was refused */
};

always_inline void map_v4(struct address *to, __u32 from)
{
	to->word[0] = 0;
	to->word[1] = 0;
	to->word[2] = bpf_htonl(0xffff);
	to->word[3] = from;
}

always_inline int same_address(const struct address *a, const struct address *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] && a->word[3] == b->word[3];
}

always_inline int no_address(const struct address *a)
{
	return !(a->word[0] | a->word[1] | a->word[2] | a->word[3]);
}

always_inline int is_v4(const struct address *a)
{
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == bpf_htonl(0xffff);
}

always_inline int is_link_local(const struct address *a)
{
	return (a->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* Straight from the packet where the bytes are in its first part, as nearly always; `at` and `bytes` must be constants.
 * Else by the helper, which looks everywhere and costs three times as much. */
always_inline int take(struct __sk_buff *skb, __u32 at, void *to, __u32 bytes)
{
	void *data = (void *)(long)skb->data;
	if (data + at + bytes > (void *)(long)skb->data_end)
		return bpf_skb_load_bytes(skb, at, to, bytes);
	__builtin_memcpy(to, data + at, bytes);
	return 0;
}

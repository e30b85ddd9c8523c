/* A packet as the programs see it: whose, to whom, which ports. */
#pragma once
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include "address.h"

/* A function of its own to the verifier, which looks at it once and takes what it was given and gives back for unknown: without
 * them it would follow every way of parsing through every verdict. Their pointers may be null to it. Linux 5.12. */
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
	__u8 answers;    /* a connection that the other side began */
	__u32 denied_set; /* the set by which it was refused */
};

/* Straight from the packet where the bytes are in its first part, as nearly always; `at` and `bytes` must be constants.
 * Else by the helper, which looks everywhere and costs three times as much. */
static __always_inline int take(struct __sk_buff *skb, __u32 at, void *to, __u32 bytes)
{
	void *data = (void *)(long)skb->data;
	if (data + at + bytes > (void *)(long)skb->data_end)
		return bpf_skb_load_bytes(skb, at, to, bytes);
	__builtin_memcpy(to, data + at, bytes);
	return 0;
}

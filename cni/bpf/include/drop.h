/* What becomes of a packet is counted, once for each direction that a pod or a node's address is judged in: as forwarded, or as one
 * drop, which is also told at once. What is the host's own affair, and what neighbours say to each other, isn't counted. */
#pragma once
#include "parse.h"

static __always_inline void count(struct __sk_buff *skb, __u32 reason, __u32 direction)
{
	__u32 slot = reason * 2 + direction;
	struct counter *counter = bpf_map_lookup_elem(&counter_map, &slot);
	if (!counter)
		return;
	counter->packets++;
	counter->bytes += skb->len;
}

/* Where the ring is full the drop is only counted: a flood costs its receiver no more than that. */
verified_alone int dropped(struct __sk_buff *skb, const struct packet *p, __u32 reason, __u32 direction, __u32 set)
{
	if (!p)
		return TC_ACT_SHOT;
	count(skb, reason, direction);
	struct drop *drop = bpf_ringbuf_reserve(&drop_ring, sizeof(*drop), 0);
	if (drop) {
		drop->at_ns = bpf_ktime_get_boot_ns();
		drop->source = p->source;
		drop->destination = p->destination;
		drop->source_port = p->source_port;
		drop->destination_port = p->destination_port;
		drop->protocol = p->protocol;
		drop->direction = direction;
		drop->reason = reason;
		drop->family = p->family;
		drop->set = set;
		drop->bytes = skb->len;
		bpf_ringbuf_submit(drop, 0);
	}
	return TC_ACT_SHOT;
}

/* A program's last word, counted where it isn't a drop: that was when it was told. */
static __always_inline int forwarded(struct __sk_buff *skb, int verdict, __u32 direction)
{
	if (verdict != TC_ACT_SHOT)
		count(skb, 0, direction);
	return verdict;
}

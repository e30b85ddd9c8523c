/* One end of a packet gets another address and port, its checksums with it; of an ICMP error also that end in what it quotes. */
#pragma once
#include "drop.h"

#define ICMP_SUM_AT 2
#define TCP_SUM_AT 16
#define UDP_SUM_AT 6
#define IPV4_SUM_AT 10

struct change {
	struct address to;
	__u16 port;
	__u16 old_port;
	__u32 destination;      /* whether the destination changes, else the source */
	__u32 quoted;           /* offset of the quoted IP header; 0 where nothing is quoted */
	__u32 quoted_transport;
};

static __always_inline __u32 address_at(__u8 family, int destination)
{
	if (family == 4)
		return destination ? __builtin_offsetof(struct iphdr, daddr) : __builtin_offsetof(struct iphdr, saddr);
	return destination ? __builtin_offsetof(struct ipv6hdr, daddr) : __builtin_offsetof(struct ipv6hdr, saddr);
}

/* An IP header's address at `at`, and an IPv4 header's own sum. */
static __always_inline int store_address(struct __sk_buff *skb, __u8 family, __u32 at, int destination, const struct address *from, const struct address *to, __u64 flags)
{
	__u32 place = at + address_at(family, destination);
	if (family == 6)
		return bpf_skb_store_bytes(skb, place, to, sizeof(*to), flags);
	return bpf_l3_csum_replace(skb, at + IPV4_SUM_AT, from->word[3], to->word[3], 4) ||
	       bpf_skb_store_bytes(skb, place, &to->word[3], 4, 0);
}

static __always_inline __s64 difference(__u8 family, struct address *from, struct address *to)
{
	return family == 4 ? bpf_csum_diff(&from->word[3], 4, &to->word[3], 4, 0) : bpf_csum_diff(from->word, 16, to->word, 16, 0);
}

static __always_inline int replace_port(struct __sk_buff *skb, __u32 at, const struct change *c)
{
	return bpf_skb_store_bytes(skb, at, &c->port, sizeof(c->port), 0);
}

/* Of a first fragment too: the sum of the whole datagram stands in it and changes by the same. */
static __always_inline int rewrite_transport(struct __sk_buff *skb, const struct packet *p, const struct change *c, __s64 by)
{
	int udp = p->protocol == IPPROTO_UDP;
	__u64 flags = udp ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 sum = p->transport + (udp ? UDP_SUM_AT : TCP_SUM_AT);
	if (p->protocol == IPPROTO_SCTP) /* its sum counts ports but no addresses, and can't be changed by a difference */
		return c->port != c->old_port;
	if (bpf_l4_csum_replace(skb, sum, 0, by, flags | BPF_F_PSEUDO_HDR))
		return -1;
	if (c->port == c->old_port)
		return 0;
	return bpf_l4_csum_replace(skb, sum, c->old_port, c->port, flags | 2) || replace_port(skb, p->transport + (c->destination ? 2 : 0), c);
}

/* What is quoted was sent by whom the error goes to: the ends stand the other way round. */
static __always_inline int rewrite_quoted(struct __sk_buff *skb, const struct packet *p, const struct change *c, struct address *from, __s64 by)
{
	struct address to = c->to;
	__u32 sum = p->transport + ICMP_SUM_AT;
	if (store_address(skb, p->family, c->quoted, !c->destination, from, &to, 0))
		return -1;
	/* ICMPv6 counts the outer address and the quoted one; in ICMP the quoted header's own sum makes up for its address. */
	if (p->family == 6 && (bpf_l4_csum_replace(skb, sum, 0, by, BPF_F_PSEUDO_HDR) || bpf_l4_csum_replace(skb, sum, 0, by, 0)))
		return -1;
	return bpf_l4_csum_replace(skb, sum, c->old_port, c->port, 2) || replace_port(skb, c->quoted_transport + (c->destination ? 0 : 2), c);
}

/* 0, or the reason to drop. `p` tells of the packet as it is afterwards. */
verified_alone int rewrite(struct __sk_buff *skb, struct packet *p, const struct change *c)
{
	if (!p || !c)
		return DROP_INTERNAL;
	struct address from = c->destination ? p->destination : p->source;
	struct address to = c->to;
	__s64 by = difference(p->family, &from, &to);
	/* IPv6 has no sum of its own to make up for the address in the sum that a device counted. */
	if (store_address(skb, p->family, ETH_HLEN, c->destination, &from, &to, BPF_F_RECOMPUTE_CSUM))
		return DROP_INTERNAL;
	if (c->quoted) {
		if (rewrite_quoted(skb, p, c, &from, by))
			return DROP_INTERNAL;
	} else if (!p->later && rewrite_transport(skb, p, c, by)) {
		return p->protocol == IPPROTO_SCTP ? DROP_UNSUPPORTED : DROP_INTERNAL;
	}
	if (c->destination) {
		p->destination = to;
		if (!c->quoted)
			p->destination_port = c->port;
	} else {
		p->source = to;
		if (!c->quoted)
			p->source_port = c->port;
	}
	return 0;
}

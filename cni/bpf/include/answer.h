/* Packets that become the answer to themselves: what all such answers have in common. */
#pragma once
#include "rewrite.h"
#include "sum.h"

#define ANSWER_TTL 64
#define IPV4_DONT_FRAGMENT 0x4000

static __always_inline __u32 header_bytes(__u8 family)
{
	return family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

static __always_inline __u32 sum_at(const struct packet *p)
{
	return p->transport + (p->protocol == IPPROTO_TCP ? TCP_SUM_AT : UDP_SUM_AT);
}

/* Whether a device has yet to sum a TCP or UDP packet up (CHECKSUM_PARTIAL), which programs aren't told of: its field holds the
 * pseudo header's sum alone then. It will be done to the answer as well. */
static __always_inline int is_sum_pending(struct __sk_buff *skb, const struct packet *p)
{
	__u16 field;
	__u16 pending = ~folded(pseudo_sum(&p->source, &p->destination, p->end - p->transport, p->protocol));
	return !bpf_skb_load_bytes(skb, sum_at(p), &field, sizeof(field)) && field == pending;
}

/* Nobody answers for an address that stands for none or for many (RFC 1122, section 3.2.2; RFC 4443, section 2.4(e)). A network's
 * own broadcast address is known to the route back alone, which isn't taken there. */
static __always_inline int is_one_host(const struct address *address)
{
	__u8 first = bpf_ntohl(address->word[3]) >> 24;
	if (is_v4(address))
		return first != 0 && first != 127 && first < 224;
	return !no_address(address) && !is_loopback(address) && !is_multicast(address);
}

/* Whether a client outside may be answered: it is one host, and its frame was for this node alone. */
static __always_inline int may_answer(struct __sk_buff *skb, const struct packet *p)
{
	return skb->pkt_type == PACKET_HOST && is_one_host(&p->source);
}

/* Of an answer from `from` to the packet's sender, with `bytes` behind it. */
static __always_inline int write_ip_header(struct __sk_buff *skb, const struct packet *p, const struct address *from, __u8 protocol, __u32 bytes)
{
	if (p->family == 6) {
		struct ipv6hdr ip = { .version = 6, .payload_len = bpf_htons(bytes), .nexthdr = protocol, .hop_limit = ANSWER_TTL };
		__builtin_memcpy(&ip.saddr, from, 16);
		__builtin_memcpy(&ip.daddr, &p->source, 16);
		return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0);
	}
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = ANSWER_TTL, .protocol = protocol };
	ip.tot_len = bpf_htons(sizeof(ip) + bytes);
	ip.frag_off = bpf_htons(IPV4_DONT_FRAGMENT);
	ip.saddr = from->word[3];
	ip.daddr = p->source.word[3];
	ip.check = folded(bpf_csum_diff(0, 0, (__be32 *)&ip, sizeof(ip), 0));
	return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0);
}

/* From bytes to `struct packet`, with bounds on everything that a sender chooses. Also of packets that ICMP errors quote. */
#pragma once
#include "packet.h"

/* Of linux/icmp.h and linux/icmpv6.h, which would bring in the C library's headers. */
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PARAMPROB 4
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129

#define IPV4_FRAGMENT_OFFSET 0x1fff
#define IPV4_MORE_FRAGMENTS 0x2000
/* Extension headers that are looked through; a packet with more is malformed to us, as to most hosts' filters. */
#define EXTENSIONS_MAX 6
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define TCP_HEADER_BYTES 20
#define SCTP_HEADER_BYTES 12
#define SHORT_HEADER_BYTES 8 /* UDP and ICMP */

#define PARSED 0
#define PARSED_OTHER -1 /* ARP and the like: not IP */

/* Only where the kernel joined segments may the length field be 0: they are more than it can tell. */
static __always_inline int ends_outside(struct __sk_buff *skb, struct packet *p, __u32 at, __u32 bytes, int unknown)
{
	p->end = unknown && skb->gso_size ? skb->len : at + bytes;
	return p->end > skb->len;
}

/* Both return 0, or the reason to drop. `at` is the offset of the IP header. */
static __always_inline int parse_ipv4(struct __sk_buff *skb, __u32 at, struct packet *p, const int quoted)
{
	struct iphdr ip;
	if ((quoted ? bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) : take(skb, ETH_HLEN, &ip, sizeof(ip))) || ip.version != 4 || ip.ihl < 5)
		return DROP_MALFORMED;
	if (!quoted && (ends_outside(skb, p, at, bpf_ntohs(ip.tot_len), !ip.tot_len) || p->end < at + ip.ihl * 4))
		return DROP_MALFORMED;
	p->family = 4;
	p->source = mapped(ip.saddr);
	p->destination = mapped(ip.daddr);
	p->protocol = ip.protocol;
	p->transport = at + ip.ihl * 4;
	p->fragment_id = ip.id;
	__u16 offset = bpf_ntohs(ip.frag_off);
	p->fragment = (offset & (IPV4_FRAGMENT_OFFSET | IPV4_MORE_FRAGMENTS)) != 0;
	p->later = (offset & IPV4_FRAGMENT_OFFSET) != 0;
	/* It would write over flags and ports that the first one was judged by (RFC 1858, section 4.2). */
	if (p->later && (offset & IPV4_FRAGMENT_OFFSET) * 8 < TCP_HEADER_BYTES && ip.protocol == IPPROTO_TCP)
		return DROP_MALFORMED;
	return 0;
}

struct fragment_extension {
	__u8 next;
	__u8 reserved;
	__u16 offset;
	__u32 id;
};

static __always_inline int is_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS || next == IPPROTO_FRAGMENT || next == IPPROTO_AH;
}

/* One extension header: what follows it, and where. 0, or the reason to drop. */
static __always_inline int parse_extension(struct __sk_buff *skb, struct packet *p, __u8 *next)
{
	__u8 head[8];
	if (bpf_skb_load_bytes(skb, p->transport, head, sizeof(head)))
		return DROP_MALFORMED;
	if (*next == IPPROTO_FRAGMENT) {
		struct fragment_extension *fragment = (void *)head;
		__u16 offset = bpf_ntohs(fragment->offset);
		/* An atomic one is whole: neither an offset nor more to come (RFC 6946). */
		p->fragment = (offset & ~6) != 0;
		p->later = (offset & 0xfff8) != 0;
		p->fragment_id = fragment->id;
		p->transport += sizeof(head);
		if (p->later && (offset & 0xfff8) < TCP_HEADER_BYTES && fragment->next == IPPROTO_TCP)
			return DROP_MALFORMED;
	} else if (*next == IPPROTO_AH) {
		p->transport += (head[1] + 2) * 4;
	} else {
		/* With segments left its destination is not the one that is judged here. */
		if (*next == IPPROTO_ROUTING && head[3])
			return DROP_UNSUPPORTED;
		p->transport += (head[1] + 1) * 8;
	}
	*next = head[0];
	return 0;
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, __u32 at, struct packet *p, const int quoted)
{
	struct ipv6hdr ip;
	if ((quoted ? bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) : take(skb, ETH_HLEN, &ip, sizeof(ip))) || ip.version != 6)
		return DROP_MALFORMED;
	if (!quoted && ends_outside(skb, p, at + sizeof(ip), bpf_ntohs(ip.payload_len), !ip.payload_len))
		return DROP_MALFORMED;
	p->family = 6;
	__builtin_memcpy(&p->source, &ip.saddr, 16);
	__builtin_memcpy(&p->destination, &ip.daddr, 16);
	__u8 next = ip.nexthdr;
	p->transport = at + sizeof(ip);
	for (int n = 0; n < EXTENSIONS_MAX && is_extension(next); n++) {
		int reason = parse_extension(skb, p, &next);
		if (reason)
			return reason;
		/* Later fragments wouldn't tell the protocol behind it, so none may stand there (RFC 7112 asks no more). */
		if (p->fragment && is_extension(next))
			return DROP_UNSUPPORTED;
	}
	if (is_extension(next))
		return DROP_MALFORMED;
	p->protocol = next;
	return 0;
}

static __always_inline void tcp_ports(struct packet *p, const __u8 *tcp)
{
	__builtin_memcpy(&p->source_port, tcp, 2);
	__builtin_memcpy(&p->destination_port, tcp + 2, 2);
	p->tcp_flags = tcp[13];
	p->opening = (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* TCP behind a header without options, at a place that the compiler knows. */
#define TAKE_TCP(skb, p, at) \
	({ \
		__u8 tcp[14]; \
		int failed = take(skb, at, tcp, sizeof(tcp)) || (p)->end < (at) + TCP_HEADER_BYTES; \
		if (!failed) \
			tcp_ports(p, tcp); \
		failed ? DROP_MALFORMED : 0; \
	})

static __always_inline int parse_tcp(struct __sk_buff *skb, struct packet *p)
{
	if (p->transport == ETH_HLEN + sizeof(struct iphdr))
		return TAKE_TCP(skb, p, ETH_HLEN + sizeof(struct iphdr));
	if (p->transport == ETH_HLEN + sizeof(struct ipv6hdr))
		return TAKE_TCP(skb, p, ETH_HLEN + sizeof(struct ipv6hdr));
	__u8 tcp[14];
	if (bpf_skb_load_bytes(skb, p->transport, tcp, sizeof(tcp)) || p->end < p->transport + TCP_HEADER_BYTES)
		return DROP_MALFORMED;
	tcp_ports(p, tcp);
	return 0;
}

/* Of an echo its identifier in both. */
static __always_inline void icmp_ports(struct packet *p, const __u8 *head)
{
	int four = p->protocol == IPPROTO_ICMP;
	p->opening = head[0] == (four ? ICMP_ECHO : ICMPV6_ECHO_REQUEST);
	if (p->opening || head[0] == (four ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY)) {
		__builtin_memcpy(&p->source_port, head + 4, 2);
		p->destination_port = p->source_port;
	}
	p->error = four ? head[0] == ICMP_DEST_UNREACH || head[0] == ICMP_TIME_EXCEEDED || head[0] == ICMP_PARAMETERPROB
			: head[0] >= ICMPV6_DEST_UNREACH && head[0] <= ICMPV6_PARAMPROB;
}

/* Ports of TCP, UDP and SCTP, or the identifier of an echo. Other protocols have none. */
static __always_inline int parse_ports(struct __sk_buff *skb, struct packet *p)
{
	if (p->protocol == IPPROTO_TCP)
		return parse_tcp(skb, p);
	int icmp = (p->protocol == IPPROTO_ICMP && p->family == 4) || (p->protocol == IPPROTO_ICMPV6 && p->family == 6);
	if (!icmp && p->protocol != IPPROTO_UDP && p->protocol != IPPROTO_SCTP)
		return 0;
	__u8 head[SHORT_HEADER_BYTES];
	__u32 least = p->protocol == IPPROTO_SCTP ? SCTP_HEADER_BYTES : SHORT_HEADER_BYTES;
	if (bpf_skb_load_bytes(skb, p->transport, head, sizeof(head)) || p->end < p->transport + least)
		return DROP_MALFORMED;
	if (icmp) {
		icmp_ports(p, head);
		return 0;
	}
	__builtin_memcpy(&p->source_port, head, 2);
	__builtin_memcpy(&p->destination_port, head + 2, 2);
	return 0;
}

/* Later fragments get the ports that the first one left behind. */
static __always_inline int fragment_ports_of(struct __sk_buff *skb, struct packet *p)
{
	struct fragment_key key = { .source = p->source, .destination = p->destination, .id = p->fragment_id, .protocol = p->protocol };
	if (p->later) {
		struct fragment_ports *known = bpf_map_lookup_elem(&fragment_map, &key);
		if (!known)
			return DROP_FRAGMENT;
		p->source_port = known->source_port;
		p->destination_port = known->destination_port;
		return 0;
	}
	int reason = parse_ports(skb, p);
	if (reason)
		return reason;
	struct fragment_ports ports = { p->source_port, p->destination_port };
	bpf_map_update_elem(&fragment_map, &key, &ports, BPF_ANY);
	return 0;
}

/* PARSED, PARSED_OTHER, or the reason to drop. */
verified_alone int parse(struct __sk_buff *skb, struct packet *p)
{
	__u16 kind;
	if (!p || take(skb, 12, &kind, sizeof(kind)))
		return DROP_MALFORMED;
	int reason;
	if (kind == bpf_htons(ETH_P_IP))
		reason = parse_ipv4(skb, ETH_HLEN, p, 0);
	else if (kind == bpf_htons(ETH_P_IPV6))
		reason = parse_ipv6(skb, ETH_HLEN, p, 0);
	else
		return PARSED_OTHER;
	if (reason)
		return reason;
	return p->fragment ? fragment_ports_of(skb, p) : parse_ports(skb, p);
}

/* The packet that an ICMP error quotes. Its sender may have cut it behind the ports. Returns the offset of its IP header in
 * `at`, 0 where it can't be read. */
verified_alone __u32 parse_quoted(struct __sk_buff *skb, const struct packet *p, struct packet *quoted)
{
	if (!p || !quoted)
		return 0;
	__u32 at = p->transport + SHORT_HEADER_BYTES;
	if (p->family == 4 ? parse_ipv4(skb, at, quoted, 1) : parse_ipv6(skb, at, quoted, 1))
		return 0;
	__u8 head[SHORT_HEADER_BYTES];
	if (quoted->later || bpf_skb_load_bytes(skb, quoted->transport, head, sizeof(head)))
		return 0;
	if (quoted->protocol == IPPROTO_ICMP || quoted->protocol == IPPROTO_ICMPV6) {
		icmp_ports(quoted, head);
	} else if (quoted->protocol == IPPROTO_TCP || quoted->protocol == IPPROTO_UDP || quoted->protocol == IPPROTO_SCTP) {
		__builtin_memcpy(&quoted->source_port, head, 2);
		__builtin_memcpy(&quoted->destination_port, head + 2, 2);
	}
	return at;
}

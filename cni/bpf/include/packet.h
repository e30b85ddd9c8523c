/* A packet as the programs see it: whose, to whom, which ports. Fragments and quoted packets are told apart here. */
#pragma once
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include "layout.h"

#define always_inline static __attribute__((always_inline)) inline

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
#define ICMPV6_MGM_REPORT 131
#define ICMPV6_MGM_REDUCTION 132
#define ICMPV6_MLD2_REPORT 143

#define IPV4_FRAGMENT_OFFSET 0x1fff
#define IPV4_MORE_FRAGMENTS 0x2000
/* Extension headers that are looked through; a packet with more is malformed to us, as to most hosts' filters. */
#define EXTENSIONS_MAX 6
#define TCP_SYN 0x02
#define TCP_ACK 0x10
#define TCP_FIN_OR_RST 0x05

struct packet {
	struct address source;
	struct address destination;
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	__u8 family;      /* 4 or 6 */
	__u8 tcp_flags;
	__u8 quotes;      /* an ICMP error: source to destination is the connection it is about, as its sender sent it */
	__u32 transport;  /* offset of the transport header */
	__u32 fragment_id;
	__u8 fragment;    /* of a fragmented datagram */
	__u8 later;       /* and not its first */
};

#define PARSED 0
#define PARSED_OTHER -1 /* ARP and the like: not IP */

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

/* Both return 0, or the reason to drop. `at` is the offset of the IP header; `quoted`, of one inside an ICMP error. */
always_inline int parse_ipv4(struct __sk_buff *skb, __u32 at, struct packet *p)
{
	struct iphdr ip;
	if (take(skb, at, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return DROP_MALFORMED;
	p->family = 4;
	map_v4(&p->source, ip.saddr);
	map_v4(&p->destination, ip.daddr);
	p->protocol = ip.protocol;
	p->transport = at + ip.ihl * 4;
	p->fragment_id = ip.id;
	p->fragment = (ip.frag_off & bpf_htons(IPV4_FRAGMENT_OFFSET | IPV4_MORE_FRAGMENTS)) != 0;
	p->later = (ip.frag_off & bpf_htons(IPV4_FRAGMENT_OFFSET)) != 0;
	return 0;
}

struct extension {
	__u8 next;
	__u8 length;
};

struct fragment_extension {
	__u8 next;
	__u8 reserved;
	__u16 offset;
	__u32 id;
};

always_inline int parse_ipv6(struct __sk_buff *skb, __u32 at, struct packet *p)
{
	struct ipv6hdr ip;
	if (take(skb, at, &ip, sizeof(ip)) || ip.version != 6)
		return DROP_MALFORMED;
	p->family = 6;
	__builtin_memcpy(&p->source, &ip.saddr, 16);
	__builtin_memcpy(&p->destination, &ip.daddr, 16);
	__u8 next = ip.nexthdr;
	__u32 offset = at + sizeof(ip);
	for (int n = 0; n < EXTENSIONS_MAX; n++) {
		if (next == IPPROTO_FRAGMENT) {
			struct fragment_extension fragment;
			if (bpf_skb_load_bytes(skb, offset, &fragment, sizeof(fragment)))
				return DROP_MALFORMED;
			p->fragment = 1;
			p->later = (fragment.offset & bpf_htons(0xfff8)) != 0;
			p->fragment_id = fragment.id;
			next = fragment.next;
			offset += sizeof(fragment);
			if (p->later)
				break;
			continue;
		}
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS)
			break;
		struct extension extension;
		if (bpf_skb_load_bytes(skb, offset, &extension, sizeof(extension)))
			return DROP_MALFORMED;
		next = extension.next;
		offset += (extension.length + 1) * 8;
	}
	if (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS)
		return DROP_MALFORMED;
	p->protocol = next;
	p->transport = offset;
	return 0;
}

/* Ports of TCP, UDP and SCTP; of an echo its identifier in both. Other protocols have none. */
always_inline int parse_ports(struct __sk_buff *skb, struct packet *p)
{
	if (p->protocol == IPPROTO_TCP && p->transport == ETH_HLEN + sizeof(struct iphdr) && !p->quotes) {
		__u8 tcp[14];
		if (take(skb, ETH_HLEN + sizeof(struct iphdr), tcp, sizeof(tcp)))
			return DROP_MALFORMED;
		__builtin_memcpy(&p->source_port, tcp, 2);
		__builtin_memcpy(&p->destination_port, tcp + 2, 2);
		p->tcp_flags = tcp[13];
		return 0;
	}
	if (p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP || p->protocol == IPPROTO_SCTP) {
		__u16 ports[2];
		if (bpf_skb_load_bytes(skb, p->transport, ports, sizeof(ports)))
			return DROP_MALFORMED;
		p->source_port = ports[0];
		p->destination_port = ports[1];
		if (p->protocol == IPPROTO_TCP && bpf_skb_load_bytes(skb, p->transport + 13, &p->tcp_flags, 1))
			return p->quotes ? 0 : DROP_MALFORMED;
		return 0;
	}
	if (p->protocol != IPPROTO_ICMP && p->protocol != IPPROTO_ICMPV6)
		return 0;
	__u8 head[8];
	if (bpf_skb_load_bytes(skb, p->transport, head, sizeof(head)))
		return DROP_MALFORMED;
	int echo = p->protocol == IPPROTO_ICMP ? head[0] == ICMP_ECHO || head[0] == ICMP_ECHOREPLY
					       : head[0] == ICMPV6_ECHO_REQUEST || head[0] == ICMPV6_ECHO_REPLY;
	if (echo) {
		__builtin_memcpy(&p->source_port, head + 4, 2);
		p->destination_port = p->source_port;
	}
	return 0;
}

always_inline int is_icmp_error(struct __sk_buff *skb, const struct packet *p)
{
	__u8 type;
	if (p->later || bpf_skb_load_bytes(skb, p->transport, &type, 1))
		return 0;
	if (p->protocol == IPPROTO_ICMP)
		return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
	return p->protocol == IPPROTO_ICMPV6 && type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB;
}

/* The packet that an ICMP error quotes, into `quoted`. */
always_inline int parse_quoted(struct __sk_buff *skb, const struct packet *p, struct packet *quoted)
{
	__u32 at = p->transport + 8;
	int reason = p->family == 4 ? parse_ipv4(skb, at, quoted) : parse_ipv6(skb, at, quoted);
	if (reason)
		return reason;
	quoted->quotes = 1;
	return quoted->later ? DROP_FRAGMENT : parse_ports(skb, quoted);
}

/* Later fragments get the ports that the first one left behind. */
always_inline int fragment_ports_of(struct __sk_buff *skb, struct packet *p)
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
always_inline int parse(struct __sk_buff *skb, struct packet *p)
{
	__u16 kind;
	if (take(skb, 12, &kind, sizeof(kind)))
		return DROP_MALFORMED;
	int reason;
	if (kind == bpf_htons(ETH_P_IP))
		reason = parse_ipv4(skb, ETH_HLEN, p);
	else if (kind == bpf_htons(ETH_P_IPV6))
		reason = parse_ipv6(skb, ETH_HLEN, p);
	else
		return PARSED_OTHER;
	if (reason)
		return reason;
	return p->fragment ? fragment_ports_of(skb, p) : parse_ports(skb, p);
}

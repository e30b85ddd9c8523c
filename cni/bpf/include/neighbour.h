/* A pod has one neighbour, its node, by permanent entries for 169.254.1.1 and fe80::1. Who asks for them all the same (an
 * address probe, arping) is answered here, so that nothing depends on the host's stack. What else neighbours say to each
 * other goes no further than the node's end of the veth, and nothing that would make a pod speak for another or route. */
#pragma once
#include "forward.h"
#include "sum.h"

#define ARP_REQUEST 1
#define ARP_REPLY 2
#define GATEWAY_V4 bpf_htonl(0xa9fe0101)
#define MLD_REPORT 131
#define MLD_DONE 132
#define ND_ROUTER_SOLICIT 133
#define ND_ROUTER_ADVERTISE 134
#define ND_SOLICIT 135
#define ND_ADVERTISE 136
#define ND_REDIRECT 137
#define MLD2_REPORT 143
#define ND_SOLICITED_OVERRIDE 0x60
#define ND_TARGET_LINK_ADDRESS 2
#define ND_HOPS 255

static const __u8 HOST_MAC[6] = { 0xee, 0xee, 0xee, 0xee, 0xee, 0xee };

struct arp {
	__u16 hardware, protocol;
	__u8 hardware_bytes, protocol_bytes;
	__u16 operation;
	__u8 sender_mac[6];
	__u32 sender;
	__u8 target_mac[6];
	__u32 target;
} __attribute__((packed));

/* RFC 4861, section 4.4, with one option. */
struct advertisement {
	__u8 type, code;
	__u16 sum;
	__u8 flags, reserved[3];
	struct address target;
	__u8 option, option_words;
	__u8 mac[6];
};

static __always_inline int is_own(struct __sk_buff *skb, const struct address *address)
{
	struct endpoint *pod = bpf_map_lookup_elem(&endpoint_map, address);
	return pod && pod->flags & EP_LOCAL && pod->ifindex == skb->ingress_ifindex;
}

/* Back to the pod's end of the veth. */
static __always_inline int answer_pod(struct __sk_buff *skb)
{
	__u8 macs[12];
	if (bpf_skb_load_bytes(skb, 6, macs, 6))
		return TC_ACT_SHOT;
	__builtin_memcpy(macs + 6, HOST_MAC, 6);
	if (bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline int arp_of_pod(struct __sk_buff *skb)
{
	struct arp arp;
	struct address sender;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)) || arp.protocol != bpf_htons(ETH_P_IP) || arp.protocol_bytes != 4)
		return TC_ACT_SHOT;
	sender = mapped(arp.sender);
	if (!is_own(skb, &sender))
		return TC_ACT_SHOT;
	if (arp.operation == bpf_htons(ARP_REPLY))
		return TC_ACT_OK; /* the node asked */
	if (arp.operation != bpf_htons(ARP_REQUEST) || arp.target != GATEWAY_V4)
		return TC_ACT_SHOT;
	arp.operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(arp.target_mac, arp.sender_mac, 6);
	__builtin_memcpy(arp.sender_mac, HOST_MAC, 6);
	arp.target = arp.sender;
	arp.sender = GATEWAY_V4;
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &arp, sizeof(arp), 0))
		return TC_ACT_SHOT;
	return answer_pod(skb);
}

/* Who asks for fe80::1 by an address of its own; without one (address detection) nobody can be told. */
static __always_inline int advertise_gateway(struct __sk_buff *skb, const struct packet *p, const struct address *gateway)
{
	__u32 bytes = ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct advertisement);
	if (p->transport != ETH_HLEN + sizeof(struct ipv6hdr) || no_address(&p->source) || bpf_skb_change_tail(skb, bytes, 0))
		return TC_ACT_SHOT;
	struct ipv6hdr ip = { .version = 6, .payload_len = bpf_htons(sizeof(struct advertisement)), .nexthdr = IPPROTO_ICMPV6, .hop_limit = ND_HOPS };
	__builtin_memcpy(&ip.saddr, gateway, 16);
	__builtin_memcpy(&ip.daddr, &p->source, 16);
	struct advertisement said = { .type = ND_ADVERTISE, .flags = ND_SOLICITED_OVERRIDE, .target = *gateway };
	said.option = ND_TARGET_LINK_ADDRESS;
	said.option_words = 1;
	__builtin_memcpy(said.mac, HOST_MAC, 6);
	__s64 sum = pseudo_sum(gateway, &p->source, sizeof(said), IPPROTO_ICMPV6);
	said.sum = folded(bpf_csum_diff(0, 0, (__be32 *)&said, sizeof(said), sum));
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &said, sizeof(said), 0))
		return TC_ACT_SHOT;
	return answer_pod(skb);
}

verified_alone int solicited(struct __sk_buff *skb, struct packet *p)
{
	struct address target, gateway = { .word = { bpf_htonl(0xfe800000), 0, 0, bpf_htonl(1) } };
	if (!p || bpf_skb_load_bytes(skb, p->transport + 8, &target, sizeof(target)))
		return TC_ACT_SHOT;
	return same_address(&target, &gateway) ? advertise_gateway(skb, p, &gateway) : TC_ACT_OK;
}

#define NOT_NEIGHBOURS -2

/* The type of an ICMPv6 message among neighbours, or 0. */
static __always_inline __u8 neighbour_type(struct __sk_buff *skb, const struct packet *p)
{
	__u8 type = 0;
	if (p->protocol != IPPROTO_ICMPV6 || p->family != 6 || p->fragment || bpf_skb_load_bytes(skb, p->transport, &type, 1))
		return 0;
	return (type >= MLD_REPORT && type <= ND_REDIRECT) || type == MLD2_REPORT ? type : 0;
}

/* To where neighbours are: what goes to any other address would be routed, so it is a packet like others. */
static __always_inline int is_for_neighbours(struct __sk_buff *skb, const struct packet *p)
{
	return is_link_local(&p->destination) || is_multicast(&p->destination) ? neighbour_type(skb, p) : 0;
}

static __always_inline int neighbours_of_pod(struct __sk_buff *skb, struct packet *p)
{
	__u8 type = is_for_neighbours(skb, p);
	struct address target;
	if (!type)
		return NOT_NEIGHBOURS;
	if (!no_address(&p->source) && !is_link_local(&p->source) && !is_own(skb, &p->source))
		return dropped(skb, p, DROP_SPOOFED, DIRECTION_EGRESS, 0);
	if (type == ND_SOLICIT)
		return solicited(skb, p);
	if (type == ND_ROUTER_ADVERTISE || type == ND_REDIRECT)
		return dropped(skb, p, DROP_SPOOFED, DIRECTION_EGRESS, 0);
	if (type != ND_ADVERTISE)
		return TC_ACT_OK; /* questions for routers, listener reports */
	if (bpf_skb_load_bytes(skb, p->transport + 8, &target, sizeof(target)))
		return dropped(skb, p, DROP_MALFORMED, DIRECTION_EGRESS, 0);
	return is_link_local(&target) || is_own(skb, &target) ? TC_ACT_OK : dropped(skb, p, DROP_SPOOFED, DIRECTION_EGRESS, 0);
}

/* Whether policy lets a packet through: cni/README.md, "Verdicts". */
#pragma once
#include "drop.h"

#define NS_PER_S 1000000000ULL
#define TCP_IDLE_S 8000
#define OTHER_IDLE_S 60

struct peer {
	const struct address *address;
	__u32 identity;
};

always_inline int allows(__u32 set, __u32 peer, __u8 protocol, __u16 port)
{
	struct policy_key key = { .bits = 88, .set = set, .peer = peer, .protocol = protocol };
	__builtin_memcpy(key.port, &port, 2);
	return bpf_map_lookup_elem(&policy_map, &key) != 0;
}

/* Noinline keeps the verifier's work on the calling programs small: it is judged once. */
static __attribute__((noinline)) int policy_allows(__u32 set, struct peer *peer, __u32 protocol, __u32 port)
{
	if (!peer || !set)
		return 1;
	if (allows(set, peer->identity, protocol, port))
		return 1;
	struct prefix key = { .bits = 128, .address = *peer->address };
	__u32 *class = bpf_map_lookup_elem(&cidr_map, &key);
	if (class && allows(set, *class, protocol, port))
		return 1;
	return allows(set, IDENTITY_ANY, protocol, port);
}

always_inline __u32 seconds(void)
{
	return bpf_ktime_get_coarse_ns() / NS_PER_S; /* of the last tick, and a tenth of the exact one's price */
}

always_inline void key_of(const struct packet *p, __u8 direction, int reversed, struct connection_key *key)
{
	key->source = reversed ? p->destination : p->source;
	key->destination = reversed ? p->source : p->destination;
	key->source_port = reversed ? p->destination_port : p->source_port;
	key->destination_port = reversed ? p->source_port : p->destination_port;
	key->protocol = p->protocol;
	key->direction = direction;
	key->pad = 0;
}

/* A connection that is still remembered, or 0. */
always_inline struct connection *remembered(struct connection_key *key, __u32 now)
{
	struct connection *c = bpf_map_lookup_elem(&connection_map, key);
	if (!c)
		return 0;
	__u32 idle = key->protocol == IPPROTO_TCP && !(c->flags & CONNECTION_CLOSING) ? TCP_IDLE_S : OTHER_IDLE_S;
	return now - c->seen_s > idle ? 0 : c;
}

always_inline void seen(struct connection *c, const struct packet *p, __u32 now, int reply)
{
	if (c->seen_s != now)
		c->seen_s = now;
	if (reply && !(c->flags & CONNECTION_REPLIED))
		c->flags |= CONNECTION_REPLIED;
	if (p->protocol == IPPROTO_TCP && (p->tcp_flags & TCP_FIN_OR_RST) && !(c->flags & CONNECTION_CLOSING))
		c->flags |= CONNECTION_CLOSING;
}

always_inline __u32 set_of(const struct endpoint *pod, __u8 direction)
{
	return direction == DIRECTION_EGRESS ? pod->egress_set : pod->ingress_set;
}

/* An ICMP error is let through where what it quotes belongs to a connection that is. */
always_inline int error_of_connection(struct __sk_buff *skb, const struct packet *p, __u8 direction, __u32 now)
{
	struct packet quoted = {};
	if (parse_quoted(skb, p, &quoted))
		return 0;
	/* An error that comes in quotes what the pod sent, one that goes out what it was sent. */
	__u8 sent = direction == DIRECTION_INGRESS ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	struct connection_key key;
	key_of(&quoted, sent, 0, &key);
	if (remembered(&key, now))
		return 1;
	key_of(&quoted, direction, 1, &key);
	return remembered(&key, now) != 0;
}

/* 0, or the reason to drop a packet of `pod` in `direction`. */
always_inline __u8 judge(struct __sk_buff *skb, const struct packet *p, const struct endpoint *pod, struct peer *peer, __u8 direction)
{
	__u32 now = seconds();
	__u32 set = set_of(pod, direction);
	struct connection_key key;
	key_of(p, direction, 0, &key);
	struct connection *c = remembered(&key, now);
	if (c && c->set == set && c->peer == peer->identity) {
		if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
			c->flags = 0; /* the same ports again: a connection of its own */
		seen(c, p, now, 0);
		return 0;
	}
	if (!c && !(p->protocol == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)) {
		struct connection_key answered;
		__u8 other = !direction;
		key_of(p, other, 1, &answered);
		struct connection *r = remembered(&answered, now);
		if (r) {
			__u32 its_set = set_of(pod, other);
			if (r->set != its_set || r->peer != peer->identity) {
				if (!policy_allows(its_set, peer, p->protocol, p->source_port)) {
					bpf_map_delete_elem(&connection_map, &answered);
					return DROP_POLICY;
				}
				r->set = its_set;
				r->peer = peer->identity;
			}
			seen(r, p, now, 1);
			return 0;
		}
		if (is_icmp_error(skb, p) && error_of_connection(skb, p, direction, now))
			return 0;
	}
	if (!policy_allows(set, peer, p->protocol, p->destination_port)) {
		if (c)
			bpf_map_delete_elem(&connection_map, &key);
		return peer->identity == IDENTITY_UNKNOWN ? DROP_PEER_UNKNOWN : DROP_POLICY;
	}
	struct connection fresh = { .seen_s = now, .set = set, .peer = peer->identity };
	bpf_map_update_elem(&connection_map, &key, &fresh, BPF_ANY);
	return 0;
}

/* Who an address belongs to, as policy knows it. */
always_inline __u32 identity_of(const struct endpoint *e, const struct address *address)
{
	if (e)
		return e->identity;
	struct prefix key = { .bits = 128, .address = *address };
	return bpf_map_lookup_elem(&block_map, &key) ? IDENTITY_UNKNOWN : IDENTITY_WORLD;
}

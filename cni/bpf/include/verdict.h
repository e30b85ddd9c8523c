/* Whether policy lets a packet through: cni/README.md, "Verdicts". */
#pragma once
#include "connection.h"

/* Who is on the other end, as policy knows it. */
struct peer {
	struct address address;
	__u32 identity;
	__u32 flags; /* of its endpoint */
};

/* Who an address belongs to, as policy knows it. */
static __always_inline __u32 identity_of(const struct endpoint *e, const struct address *address)
{
	if (e)
		return e->identity;
	struct prefix key = { .bits = 128, .address = *address };
	return bpf_map_lookup_elem(&block_map, &key) ? IDENTITY_UNKNOWN : IDENTITY_WORLD;
}

static __always_inline void peer_of(struct peer *peer, const struct endpoint *e, const struct address *address)
{
	peer->address = *address;
	peer->identity = identity_of(e, address);
	peer->flags = e ? e->flags : 0;
}

static __always_inline __u32 set_of(const struct endpoint *pod, __u8 direction)
{
	return direction == DIRECTION_EGRESS ? pod->egress_set : pod->ingress_set;
}

static __always_inline int allows(__u32 set, __u32 peer, __u8 protocol, __u16 port)
{
	struct policy_key key = { .bits = 88, .set = set, .peer = peer, .protocol = protocol };
	__builtin_memcpy(key.port, &port, 2);
	return bpf_map_lookup_elem(&policy_map, &key) != 0;
}

verified_alone int policy_allows(__u32 set, const struct peer *peer, __u32 protocol, __u32 port)
{
	if (!peer || !set)
		return 1;
	if (allows(set, peer->identity, protocol, port))
		return 1;
	struct prefix key = { .bits = 128, .address = peer->address };
	__u32 *class = bpf_map_lookup_elem(&cidr_map, &key);
	if (class && allows(set, *class, protocol, port))
		return 1;
	return allows(set, IDENTITY_ANY, protocol, port);
}

/* Whether a remembered connection is allowed now, by what allowed it or anew. */
static __always_inline int holds(struct connection *c, const struct connection_key *key, __u32 set, const struct peer *peer)
{
	if (c->set == set && c->peer == peer->identity)
		return 1;
	int control = c->flags & CONNECTION_CONTROL && peer->flags & EP_CONTROL_PLANE;
	if (!control && !policy_allows(set, peer, key->protocol, key->destination_port))
		return 0;
	c->set = set;
	c->peer = peer->identity;
	return 1;
}

static __always_inline int denied(struct packet *p, __u32 set, const struct peer *peer)
{
	p->denied_set = set;
	return peer->identity == IDENTITY_UNKNOWN ? DROP_PEER_UNKNOWN : DROP_POLICY;
}

/* An ICMP error belongs to the connection that it quotes, whoever sent it: what came in quotes a packet of the pod's, what
 * goes out one to the pod. */
verified_alone int judge_error(struct __sk_buff *skb, struct packet *p, const struct endpoint *pod, __u32 direction)
{
	if (!p || !pod)
		return DROP_INTERNAL;
	struct packet quoted = {};
	__u32 set = set_of(pod, direction);
	if (!set)
		return 0;
	p->denied_set = set;
	if (!parse_quoted(skb, p, &quoted))
		return DROP_MALFORMED;
	int in = direction == DIRECTION_INGRESS;
	if (in ? !same_address(&quoted.source, &p->destination) : !same_address(&quoted.destination, &p->source))
		return DROP_POLICY;
	struct peer peer;
	struct address *other = in ? &quoted.destination : &quoted.source;
	peer_of(&peer, bpf_map_lookup_elem(&endpoint_map, other), other);
	for (int reply = 0; reply < 2; reply++) {
		struct connection_key key;
		__u8 its_direction = reply ? direction : !direction;
		key_of(&quoted, its_direction, reply, &key);
		struct connection *c = remembered(&key, seconds());
		if (c && holds(c, &key, set_of(pod, its_direction), &peer))
			return 0;
	}
	return DROP_POLICY;
}

/* 0, or the reason to drop a packet of `pod` in `direction`.
 * A connection that is remembered and no longer allowed stays remembered: were it forgotten, the other side's next packet would
 * pass for the first of a connection the other way round. For the same reason only a SYN begins one of TCP: where nothing is
 * remembered each packet is judged for itself and vouches for no answer. */
verified_alone int judge(struct packet *p, const struct endpoint *pod, const struct peer *peer, __u32 direction)
{
	if (!p || !pod || !peer)
		return DROP_INTERNAL;
	__u32 now = seconds();
	__u32 set = set_of(pod, direction);
	struct connection_key key;
	/* Servers have the lower ports, nearly always: what comes from there is looked for as a reply first. */
	int reply_first = !p->opening && bpf_ntohs(p->source_port) < bpf_ntohs(p->destination_port);
	int known = 0;
	for (int n = 0; n < 2; n++) {
		int reply = n ^ reply_first;
		if (reply && p->opening)
			continue;
		__u8 its_direction = reply ? !direction : direction;
		__u32 its_set = set_of(pod, its_direction);
		key_of(p, its_direction, reply, &key);
		struct connection *c = remembered(&key, now);
		if (!c)
			continue;
		if (holds(c, &key, its_set, peer)) {
			seen(c, p, now, reply);
			p->answers = reply;
			return 0;
		}
		known = denied(p, its_set, peer);
	}
	if (known && !p->exempt)
		return known;
	if (!p->exempt && !policy_allows(set, peer, p->protocol, p->destination_port))
		return denied(p, set, peer);
	if (p->protocol == IPPROTO_TCP && !p->opening)
		return 0;
	key_of(p, direction, 0, &key);
	struct connection fresh = { .seen_s = now, .set = set, .peer = peer->identity, .flags = p->exempt ? CONNECTION_CONTROL : 0 };
	bpf_map_update_elem(&connection_map, &key, &fresh, BPF_ANY);
	return 0;
}

/* Services for clients outside: cni/README.md, "Ways of packets", 6. The client's own address stays: the node that it came in by
 * changes the destination alone, a backend's node remembers to send answers back there, and there the source is changed back. */
#pragma once
#include "choice.h"
#include "refuse.h"

#define NOT_EXTERNAL -2
/* What the program itself does then: there is more room on the stack. */
#define TOO_BIG -3
#define REFUSED -4

/* By what a packet's connection is found; an ICMP error goes the way of an answer to what it quotes. 0 where it can be none. */
verified_alone int external_key_of(struct __sk_buff *skb, struct packet *p, __u32 way, struct external_key *key, struct change *change)
{
	if (!p || !key || !change)
		return 0;
	struct packet quoted = {};
	__builtin_memset(key, 0, sizeof(*key));
	if (p->error) {
		change->quoted = parse_quoted(skb, p, &quoted);
		if (!change->quoted)
			return 0;
		change->quoted_transport = quoted.transport;
	}
	key->source = p->error ? quoted.destination : p->source;
	key->destination = p->error ? quoted.source : p->destination;
	key->source_port = p->error ? quoted.destination_port : p->source_port;
	key->destination_port = p->error ? quoted.source_port : p->destination_port;
	key->protocol = p->error ? quoted.protocol : p->protocol;
	key->way = way;
	return key->protocol == IPPROTO_TCP || key->protocol == IPPROTO_UDP || key->protocol == IPPROTO_SCTP;
}

static __always_inline struct external *live(const struct external_key *key, __u32 now)
{
	struct external *e = bpf_map_lookup_elem(&external_map, key);
	__s32 idle = key->protocol == IPPROTO_TCP ? TCP_IDLE_S : OTHER_IDLE_S;
	return e && (__s32)(now - e->seen_s) <= idle ? e : 0;
}

/* The same connection as the other way's packets show it. */
static __always_inline void other_way(const struct external_key *key, const struct external *e, struct external_key *other)
{
	int forward = key->way == EXTERNAL_FORWARD;
	other->source = forward ? e->address : key->destination;
	other->destination = forward ? key->source : e->address;
	other->source_port = forward ? e->port : key->destination_port;
	other->destination_port = forward ? key->source_port : e->port;
	other->protocol = key->protocol;
	other->way = !key->way;
	other->pad = 0;
}

/* Both ways live as long as either is used. */
static __always_inline void refresh(const struct external_key *key, struct external *e, __u32 now)
{
	if (e->seen_s == now)
		return;
	e->seen_s = now;
	if (key->way == EXTERNAL_REPLY && !no_address(&e->node))
		return;
	struct external_key other;
	other_way(key, e, &other);
	struct external *counterpart = bpf_map_lookup_elem(&external_map, &other);
	if (counterpart)
		counterpart->seen_s = now;
}

/* Two connections of a client from the same port, to frontends that share a backend, are the same to it. Whether one that was
 * begun before still needs the way back: not after it has ended or was silent for a minute. Clients take ports again for another
 * destination as soon as they like. Of datagrams the newest question gets the answer. */
static __always_inline int is_taken(const struct external_key *back, const struct external *reply)
{
	struct external *known = bpf_map_lookup_elem(&external_map, back);
	if (!known || back->protocol != IPPROTO_TCP || known->flags & CONNECTION_CLOSING || (__s32)(reply->seen_s - known->seen_s) > OTHER_IDLE_S)
		return 0;
	return known->port != reply->port || !same_address(&known->address, &reply->address);
}

/* Notes on the REPLY entry what a packet tells of its connection's end. */
static __always_inline void note_end(struct external *reply, const struct packet *p, int answer)
{
	__u16 flags = flags_after(reply->flags, p, answer);
	if (flags != reply->flags)
		reply->flags = flags;
}

/* The same where the client's packet found the FORWARD entry. */
static __always_inline void note_clients_end(const struct external_key *key, const struct external *forward, const struct packet *p)
{
	struct external_key other;
	if (p->protocol != IPPROTO_TCP || !(p->tcp_flags & (TCP_FIN | TCP_RST)))
		return;
	other_way(key, forward, &other);
	struct external *reply = bpf_map_lookup_elem(&external_map, &other);
	if (reply)
		note_end(reply, p, 0);
}

/* 0, or the reason to drop. The client's next try may find another backend. */
verified_alone int remember_both_ways(const struct external_key *key, const struct backend *backend)
{
	if (!key || !backend)
		return DROP_INTERNAL;
	struct external forward, reply;
	struct external_key back;
	__u32 now = seconds();
	__builtin_memset(&forward, 0, sizeof(forward));
	__builtin_memset(&reply, 0, sizeof(reply));
	forward.address = backend->address;
	forward.port = backend->port;
	forward.seen_s = reply.seen_s = now;
	reply.address = key->destination;
	reply.port = key->destination_port;
	other_way(key, &forward, &back);
	if (is_taken(&back, &reply))
		return DROP_INTERNAL;
	if (bpf_map_update_elem(&external_map, &back, &reply, BPF_ANY) || bpf_map_update_elem(&external_map, key, &forward, BPF_ANY))
		return DROP_INTERNAL;
	return 0;
}

/* Dropped where the client does well to try again, as kube-proxy does with traffic policy Local; else refused at once. At its own
 * addresses the host does that, as for any port that nobody listens on. */
static __always_inline int without_backend(struct __sk_buff *skb, struct packet *p, int choice, __u32 own_node)
{
	dropped(skb, p, DROP_NO_BACKEND, DIRECTION_INGRESS, 0);
	if (choice == NONE_HERE)
		return TC_ACT_SHOT;
	return own_node ? NOT_EXTERNAL : REFUSED;
}

/* A packet that arrived by the uplink: NOT_EXTERNAL, TOO_BIG, REFUSED, 0 with its destination changed to a backend, or what the
 * program returns. */
verified_alone int to_backend(struct __sk_buff *skb, struct packet *p, __u32 own_node, const struct node_config *node)
{
	struct external_key key;
	struct change change = { .destination = 1 };
	if (!p || !node || !external_key_of(skb, p, EXTERNAL_FORWARD, &key, &change))
		return NOT_EXTERNAL;
	__u32 now = seconds();
	struct external *known = live(&key, now);
	struct backend backend = {};
	if (known) {
		backend.address = known->address;
		backend.port = known->port;
	}
	int settled = known && (p->error || (p->protocol == IPPROTO_TCP && !p->opening && bpf_map_lookup_elem(&endpoint_map, &backend.address)));
	if (settled) {
		refresh(&key, known, now);
		note_clients_end(&key, known, p);
	} else {
		int choice = p->error ? NO_SERVICE : choose(p, own_node, &backend);
		if (choice == NO_SERVICE)
			return NOT_EXTERNAL;
		if (choice == CHOSEN && backend.port == p->destination_port && same_address(&backend.address, &p->destination))
			return NOT_EXTERNAL; /* a program of this node itself */
		/* Answers of other programs of nodes pass by no program that would change them back. */
		struct endpoint *home = bpf_map_lookup_elem(&endpoint_map, &backend.address);
		if (choice == CHOSEN && home && home->flags & (EP_OWN_NODE | EP_OTHER_NODE))
			choice = NO_BACKEND;
		if (choice != CHOSEN)
			return without_backend(skb, p, choice, own_node);
		int reason = remember_both_ways(&key, &backend);
		if (reason)
			return dropped(skb, p, reason, DIRECTION_INGRESS, 0);
	}
	struct endpoint *home = bpf_map_lookup_elem(&endpoint_map, &backend.address);
	if (!(home && home->flags & EP_LOCAL) && is_too_big(skb, p, node))
		return TOO_BIG;
	change.to = backend.address;
	change.port = backend.port;
	change.old_port = key.destination_port;
	int reason = rewrite(skb, p, &change);
	return reason ? dropped(skb, p, reason, DIRECTION_INGRESS, 0) : 0;
}

/* To the backend that `to_backend` chose. */
static __always_inline int forward_to_backend(struct __sk_buff *skb, struct packet *p, struct peer *client, const struct node_config *node)
{
	struct endpoint *backend = bpf_map_lookup_elem(&endpoint_map, &p->destination);
	struct address at;
	if (backend && backend->flags & EP_LOCAL)
		return admit_and_deliver(skb, p, backend, client);
	if (backend && backend->flags & (EP_OWN_NODE | EP_OTHER_NODE))
		return dropped(skb, p, DROP_NO_BACKEND, DIRECTION_INGRESS, 0);
	if (!node_of(backend, &p->destination, &at) || no_address(&at))
		return dropped(skb, p, DROP_NO_ROUTE, DIRECTION_INGRESS, 0);
	return forwarded(skb, send_through_tunnel(skb, p, node, &at, VNI_EXTERNAL, DIRECTION_INGRESS), DIRECTION_INGRESS);
}

/* On the backend's node: where its answers go. */
verified_alone int remember_entry_node(const struct packet *p, const struct address *entry)
{
	if (!p || !entry || p->error)
		return 0;
	struct external_key key;
	struct external value;
	__builtin_memset(&key, 0, sizeof(key));
	__builtin_memset(&value, 0, sizeof(value));
	key.source = p->destination;
	key.destination = p->source;
	key.source_port = p->destination_port;
	key.destination_port = p->source_port;
	key.protocol = p->protocol;
	key.way = EXTERNAL_REPLY;
	value.node = *entry;
	value.seen_s = seconds();
	struct external *known = live(&key, value.seen_s);
	if (known) {
		/* What is left of a connection whose port another one has meanwhile must not take the way back from it. */
		if (p->protocol == IPPROTO_TCP && !p->opening && !same_address(&known->node, entry))
			return 0;
		note_end(known, p, 0);
		if (known->seen_s == value.seen_s && same_address(&known->node, entry))
			return 0;
		value.flags = known->flags;
	}
	return bpf_map_update_elem(&external_map, &key, &value, BPF_ANY);
}

/* A backend's answer: NOT_EXTERNAL, TOO_BIG, or what the program returns. `arrived`: by the tunnel, so that it may not go there again. */
verified_alone int answer_outside(struct __sk_buff *skb, struct packet *p, const struct node_config *node, __u32 arrived)
{
	struct external_key key;
	struct change change = {};
	if (!p || !node || !external_key_of(skb, p, EXTERNAL_REPLY, &key, &change))
		return NOT_EXTERNAL;
	__u32 now = seconds();
	struct external *known = live(&key, now);
	if (!known)
		return NOT_EXTERNAL;
	__u8 direction = arrived ? DIRECTION_INGRESS : DIRECTION_EGRESS;
	refresh(&key, known, now);
	note_end(known, p, 1);
	struct address entry = known->node;
	if (!no_address(&entry) && arrived)
		return NOT_EXTERNAL;
	if (!no_address(&entry))
		return is_too_big(skb, p, node) ? TOO_BIG : send_through_tunnel(skb, p, node, &entry, VNI_EXTERNAL, direction);
	change.to = known->address;
	change.port = known->port;
	change.old_port = key.source_port;
	int reason = rewrite(skb, p, &change);
	if (reason)
		return dropped(skb, p, reason, direction, 0);
	skb->mark = 0;
	return bpf_redirect_neigh(node->uplink_ifindex, 0, 0, 0);
}

/* What is remembered of connections, and by what it is found again. */
#pragma once
#include "drop.h"

#define NS_PER_S 1000000000ULL
#define TCP_IDLE_S 8000
#define OTHER_IDLE_S 60

static __always_inline __u32 seconds(void)
{
	return bpf_ktime_get_coarse_ns() / NS_PER_S; /* of the last tick, and a tenth of the exact one's price */
}

static __always_inline void key_of(const struct packet *p, __u8 direction, int reversed, struct connection_key *key)
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
static __always_inline struct connection *remembered(struct connection_key *key, __u32 now)
{
	struct connection *c = bpf_map_lookup_elem(&connection_map, key);
	if (!c)
		return 0;
	__u32 idle = key->protocol == IPPROTO_TCP && !(c->flags & CONNECTION_CLOSING) ? TCP_IDLE_S : OTHER_IDLE_S;
	/* Signed: another processor may have seen it a second later than this one's clock says. */
	return (__s32)(now - c->seen_s) > (__s32)idle ? 0 : c;
}

/* What a TCP packet tells of its connection's end. A half that ended says nothing of the other: it may go on for long. */
static __always_inline __u32 flags_after(__u32 flags, const struct packet *p, int reply)
{
	if (reply)
		flags |= CONNECTION_REPLIED;
	if (p->protocol != IPPROTO_TCP)
		return flags;
	if (p->opening)
		return flags & CONNECTION_CONTROL; /* the same ports again: a connection of its own */
	if (p->tcp_flags & TCP_FIN)
		flags |= reply ? CONNECTION_ANSWER_ENDED : CONNECTION_ENDED;
	__u32 both = CONNECTION_ENDED | CONNECTION_ANSWER_ENDED;
	if ((flags & both) == both || p->tcp_flags & TCP_RST)
		flags |= CONNECTION_CLOSING;
	return flags;
}

/* Writes only what changes: the line is shared by processors. */
static __always_inline void seen(struct connection *c, const struct packet *p, __u32 now, int reply)
{
	if (c->seen_s != now)
		c->seen_s = now;
	__u32 flags = flags_after(c->flags, p, reply);
	if (flags != c->flags)
		c->flags = flags;
}

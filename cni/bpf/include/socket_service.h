/* Services at the socket: connect and sendmsg replace a frontend by one of its backends, getpeername and recvmsg show the
 * frontend again. Nothing is done per packet. */
#pragma once
#include "backend.h"
#include "socket_pod.h"

/* How many slots are searched for a sticky caller's backend after the backends changed; in a longer list one that moved
 * further back is given up for another. */
#define AFFINITY_SEARCH_SLOTS_MAX 128

static __always_inline struct service *find_service(struct frontend *frontend, const struct pod *pod)
{
	bool node = is_loopback(&frontend->address);
	/* Every pod has a loopback of its own. */
	if (node && !(pod->flags & POD_NODE))
		return NULL;
	struct service *service = bpf_map_lookup_elem(&service_map, frontend);
	if (service)
		return service;

	if (!node) {
		struct endpoint *endpoint = bpf_map_lookup_elem(&endpoint_map, &frontend->address);
		node = endpoint && (endpoint->flags & (EP_OWN_NODE | EP_OTHER_NODE));
	}
	if (!node)
		return NULL;
	frontend->address = every_address_like(&frontend->address);
	return bpf_map_lookup_elem(&service_map, frontend);
}

/* The slot that holds a backend now, or count where it is gone. */
static __always_inline __u32 slot_of(const struct service *service, const struct backend *wanted, __u32 guess)
{
	struct backend *backend = guess < service->count ? backend_in(service, guess) : NULL;
	if (backend && same_backend(backend, wanted))
		return guess;
	for (__u32 slot = 0; slot < AFFINITY_SEARCH_SLOTS_MAX && slot < service->count; slot++) {
		backend = backend_in(service, slot);
		if (backend && same_backend(backend, wanted))
			return slot;
	}
	return service->count;
}

/* Session affinity ClientIP: the slot a caller had within the timeout, else `slot`, which is remembered. The backend's
 * padding holds its slot, where it most likely still is. */
static __noinline __u32 sticky_slot(const struct service *service, const struct frontend *frontend, __u64 netns_cookie,
				    __u32 slot)
{
	struct affinity_key key;
	struct affinity now;

	if (!service || !frontend)
		return slot;
	__builtin_memset(&key, 0, sizeof(key));
	key.frontend = *frontend;
	key.netns_cookie = netns_cookie;
	__builtin_memset(&now, 0, sizeof(now));
	now.seen_s = bpf_ktime_get_boot_ns() / 1000000000;

	struct affinity *last = bpf_map_lookup_elem(&affinity_map, &key);
	if (last && now.seen_s - last->seen_s <= service->affinity_s) {
		__u32 kept = slot_of(service, &last->backend, last->backend.pad);
		if (kept < service->count)
			slot = kept;
	}
	struct backend *backend = backend_in(service, slot);
	if (!backend)
		return slot;
	now.backend = *backend;
	now.backend.pad = slot;
	if (!last || last->seen_s != now.seen_s || !same_backend(&last->backend, backend))
		bpf_map_update_elem(&affinity_map, &key, &now, BPF_ANY);
	return slot;
}

/* Remembers what a socket asked for. An unconnected socket sends again and again: reading is cheaper than writing. */
static __always_inline void remember(__u64 socket_cookie, const struct backend *backend, const struct place *asked)
{
	struct translated_key key;
	struct translated value;

	__builtin_memset(&key, 0, sizeof(key));
	key.socket_cookie = socket_cookie;
	key.backend.address = backend->address;
	key.backend.port = backend->port;
	__builtin_memset(&value, 0, sizeof(value));
	value.address = asked->address;
	value.port = asked->port;

	struct translated *known = bpf_map_lookup_elem(&translated_map, &key);
	if (known && known->port == value.port && same_address(&known->address, &value.address))
		return;
	bpf_map_update_elem(&translated_map, &key, &value, BPF_ANY);
}

/* Spreads what numbers sockets one after the other. */
static __always_inline __u32 hashed(__u64 socket_cookie)
{
	return (socket_cookie * 0x9e3779b97f4a7c15ull) >> 32;
}

#define NO_SERVICE 0
#define TRANSLATED 1
#define NO_BACKEND 2

/* `random` chooses: for datagrams of an unconnected socket it is the same each time, so that they go to one backend as
 * long as the backends stay what they are. */
static __always_inline int translate(struct bpf_sock_addr *ctx, const struct pod *pod, __u64 netns_cookie, struct place *to,
				     __u32 random)
{
	struct frontend frontend = {
		.address = to->address, .port = to->port, .protocol = ctx->protocol, .scope = SCOPE_INTERNAL};
	__u32 zero = 0;
	struct node_config *node = bpf_map_lookup_elem(&node_map, &zero);
	if (node && (node->flags & NODE_CAPTURE_ONLY))
		return NO_SERVICE;

	struct service *found = find_service(&frontend, pod);
	if (!found)
		return NO_SERVICE;
	/* A copy: the agent may replace the entry between two reads. */
	struct service service = *found;
	if (service.flags & SERVICE_DNS)
		return NO_SERVICE;
	if (!service.count)
		return NO_BACKEND;

	__u32 slot = random % service.count;
	if (service.flags & SERVICE_AFFINITY)
		slot = sticky_slot(&service, &frontend, netns_cookie, slot);
	struct backend *backend = backend_in(&service, slot);
	if (!backend) {
		/* The list was replaced meanwhile: the new one is whole. */
		found = bpf_map_lookup_elem(&service_map, &frontend);
		if (!found || !found->count)
			return NO_BACKEND;
		service = *found;
		backend = backend_in(&service, random % (service.count ?: 1));
		if (!backend)
			return NO_BACKEND;
	}
	remember(bpf_get_socket_cookie(ctx), backend, to);
	to->address = backend->address;
	to->port = backend->port;
	return TRANSLATED;
}

/* Whether `from` is a backend that this socket asked for by another address; then that is in `from`. */
static __always_inline bool translate_back(struct bpf_sock_addr *ctx, struct place *from)
{
	struct translated_key key;

	__builtin_memset(&key, 0, sizeof(key));
	key.socket_cookie = bpf_get_socket_cookie(ctx);
	key.backend.address = from->address;
	key.backend.port = from->port;
	struct translated *asked = bpf_map_lookup_elem(&translated_map, &key);
	if (!asked)
		return false;
	from->address = asked->address;
	from->port = asked->port;
	return true;
}

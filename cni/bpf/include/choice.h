/* Which backend a client from outside gets. */
#pragma once
#include "backend.h"
#include "connection.h"

#define CHOSEN 0
#define NO_SERVICE 1
#define NO_BACKEND 2 /* nowhere */
#define NONE_HERE 3  /* but on another node, or in the next moment */
/* How many slots are searched for a client's backend after the backends changed; in a longer list one that moved further back
 * is given up for another. */
#define KEPT_SEARCH_SLOTS_MAX 64

static __always_inline struct service *service_outside(struct frontend *frontend, __u32 own_node)
{
	struct service *service = bpf_map_lookup_elem(&service_map, frontend);
	if (service || !own_node)
		return service;
	frontend->address = every_address_like(&frontend->address);
	return bpf_map_lookup_elem(&service_map, frontend);
}

static __always_inline int is_kept(const struct service *service, const struct backend *wanted)
{
	for (__u32 slot = 0; slot < KEPT_SEARCH_SLOTS_MAX && slot < service->count; slot++) {
		struct backend *backend = backend_in(service, slot);
		if (backend && same_backend(backend, wanted))
			return 1;
	}
	return 0;
}

/* Session affinity ClientIP: the client's last backend within the timeout, else the one in `backend`, which is remembered. */
verified_alone int stick(const struct service *service, const struct frontend *frontend, const struct packet *p, struct backend *backend)
{
	struct affinity_key key;
	struct affinity now;
	if (!service || !frontend || !p || !backend)
		return 0;
	__builtin_memset(&key, 0, sizeof(key));
	__builtin_memset(&now, 0, sizeof(now));
	key.frontend = *frontend;
	key.client = p->source;
	now.seen_s = seconds();
	struct affinity *last = bpf_map_lookup_elem(&affinity_map, &key);
	if (last && now.seen_s - last->seen_s <= service->affinity_s) {
		struct backend before = last->backend;
		if (is_kept(service, &before))
			*backend = before;
	}
	now.backend = *backend;
	bpf_map_update_elem(&affinity_map, &key, &now, BPF_ANY);
	return 0;
}

/* Into `backend`. The one that is in it (where its port isn't 0) stays if the Service still has it. */
verified_alone int choose(const struct packet *p, __u32 own_node, struct backend *backend)
{
	if (!p || !backend)
		return NO_SERVICE;
	struct frontend frontend = { .address = p->destination, .port = p->destination_port, .protocol = p->protocol, .scope = SCOPE_EXTERNAL };
	struct service *found = service_outside(&frontend, own_node);
	if (!found || found->flags & SERVICE_DNS)
		return NO_SERVICE;
	struct service service = *found; /* the agent may replace the entry between two reads */
	if (!service.count)
		return service.flags & SERVICE_ELSEWHERE ? NONE_HERE : NO_BACKEND;
	if (backend->port && is_kept(&service, backend))
		return CHOSEN;
	struct backend *drawn = backend_in(&service, bpf_get_prandom_u32() % service.count);
	if (!drawn)
		return NONE_HERE; /* the list was replaced meanwhile */
	*backend = *drawn;
	if (service.flags & SERVICE_AFFINITY)
		stick(&service, &frontend, p, backend);
	return CHOSEN;
}

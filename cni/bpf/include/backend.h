/* A Service's backends by their slots. */
#pragma once
#include "address.h"

static __always_inline bool same_backend(const struct backend *one, const struct backend *other)
{
	return one->port == other->port && same_address(&one->address, &other->address);
}

static __always_inline struct backend *backend_in(const struct service *service, __u32 slot)
{
	struct backend_key key = {.service_id = service->id, .slot = slot};
	return bpf_map_lookup_elem(&backend_map, &key);
}

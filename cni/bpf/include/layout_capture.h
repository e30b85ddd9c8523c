/* The part of layout.h that capture is about: which pods, whose sockets, what is left alone. */
#pragma once

/* ---- capture ----------------------------------------------------------------------------------------------- */

#define POD_MESHED (1 << 0)
#define POD_NODE (1 << 1) /* the node's own namespace: services, no capture */

struct pod {
	struct address ip4;
	struct address ip6;
	__u64 sidecar_cgroup; /* learned and confirmed by the agent; 0: none yet */
	__u32 pod_id;
	__u32 flags;
};

/* Network namespaces that this node owns, by their cookie: programs on cgroup hooks act for no others. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u64);
	__type(value, struct pod);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} pod_map SEC(".maps");

struct listener_key {
	__u32 pod_id;
	__u16 port;   /* machine order: 15001 or 15006 */
	__u16 family; /* 4 or 6 */
};

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__type(key, struct listener_key);
	__type(value, __u64);
	__uint(max_entries, 32768);
} listener_map SEC(".maps");

/* The pod network lets SYNs of sockets with either tag leave. */
#define TAG_SIDECAR 1
#define TAG_SKIPPED 2 /* an app's, to a skipped Service: by its backend nobody could tell that it was skipped */

/* Tagged sockets: those of confirmed sidecars when they are made, others when they dial. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u32);
} sidecar_socket_map SEC(".maps");

struct skipped_port_key {
	__u32 pod_id;
	__u16 port; /* network order */
	__u8 direction;
	__u8 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct skipped_port_key);
	__type(value, __u8);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} skipped_port_map SEC(".maps");

struct skipped_prefix {
	__u32 bits; /* 32 + those of the address */
	__u32 pod_id;
	struct address address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct skipped_prefix);
	__type(value, __u8);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} skipped_prefix_map SEC(".maps");

/* A process with the sidecar's uid began to listen on a sidecar port and its cgroup isn't the confirmed one: the agent
 * looks whether that is the container heddle-proxy, confirms it and registers the listener itself. */
struct candidate {
	__u64 netns_cookie;
	__u64 cgroup;
	__u32 pid; /* in the initial pid namespace */
	__u16 port; /* machine order */
	__u16 family;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} candidate_ring SEC(".maps");

/* What the programs and the agent tell each other: every map with its key and value.
 * cni/maps/layouts.ts writes the same structures; a test compares sizes and offsets by BTF.
 * Addresses are 16 bytes everywhere, IPv4 as ::ffff:a.b.c.d, so that there is one path for both families.
 * Addresses and ports are in network order, everything else in the machine's. */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

struct address {
	__u32 word[4];
};

/* ---- node ------------------------------------------------------------------------------------------------ */

#define NODE_TUNNEL (1 << 0)     /* other nodes' pods are reached by VXLAN; without it the underlay routes them */
#define NODE_CAN_REFUSE (1 << 1) /* the socket programs answer a connect without endpoints with ECONNREFUSED, not EPERM */
#define NODE_CAPTURE_ONLY (1 << 2) /* chained over another CNI: no policy, no services, no forwarding */

struct node_config {
	struct address node4; /* the node's own underlay addresses; zero where it has none */
	struct address node6;
	struct address dns4; /* the cluster's DNS address, answered on this node */
	struct address dns6;
	__u64 netns_cookie; /* the node's own network namespace */
	__u32 tunnel_ifindex; /* without NODE_TUNNEL for clients outside alone; zero where there is none */
	__u32 uplink_ifindex;
	__u32 flags;
	__u32 tunnel_mtu; /* of packets in the tunnel, bytes */
	__u8 uplink_mac[6];
	__u8 pad[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct node_config);
	__uint(max_entries, 1);
} node_map SEC(".maps");

/* ---- endpoints: who has an address ------------------------------------------------------------------------ */

#define EP_LOCAL (1 << 0)       /* a pod of this node: ifindex and mac are set */
#define EP_OWN_NODE (1 << 1)    /* an address of this node; always admitted, both directions */
#define EP_OTHER_NODE (1 << 2)  /* an address of another node */
#define EP_DNS (1 << 3)         /* the cluster's DNS address; identity is that of the kube-dns pods */
#define EP_MESHED (1 << 4)      /* captured: TCP leaves through its sidecar only */
#define EP_CONTROL_PLANE (1 << 5) /* a sidecar may always talk to it */

/* Identities: what policy knows of a peer. Given by the agent of each node for itself; no meaning on the wire. */
#define IDENTITY_ANY 0
#define IDENTITY_NODE 1    /* this node and its host-network programs */
#define IDENTITY_WORLD 2   /* no pod and no node */
#define IDENTITY_UNKNOWN 3 /* an address of a pod block whose Pod this node has not heard of yet */
#define IDENTITY_OTHER_NODE 4
#define IDENTITY_FIRST_POD 16
#define IDENTITY_CIDR_BIT (1u << 31) /* set in peers that are classes of addresses, from cidr_map */

struct endpoint {
	struct address node; /* underlay address of the node it is on; zero for local ones */
	__u32 ifindex;       /* host end of the veth; 0 for remote ones */
	__u32 identity;
	__u32 flags;
	__u32 ingress_set; /* policy set per direction; 0 = not isolated in it */
	__u32 egress_set;
	__u32 pod_id;     /* of capture, 0 = none; local pods only */
	__u8 mac[6];      /* of the pod's end of the veth */
	__u8 host_mac[6]; /* of the host's end */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct address);
	__type(value, struct endpoint);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} endpoint_map SEC(".maps");

struct prefix {
	__u32 bits; /* of the 128; 96 more than written for IPv4 */
	struct address address;
};

/* Pod block of a node -> the node's underlay address; this node's own blocks -> zero. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct prefix);
	__type(value, struct address);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} block_map SEC(".maps");

/* ---- policy ----------------------------------------------------------------------------------------------- */

/* A set is what one or more pods allow in one direction. A change makes a new set, and then the endpoint points to it,
 * so that a pod is judged by the old rules or the new, never by a mixture. An entry allows; there are no others.
 * bits 64: any protocol; 72: any port of the protocol; up to 88: a port, or a range cut into prefixes. */
struct policy_key {
	__u32 bits;
	__u32 set;
	__u32 peer; /* IDENTITY_ANY, a pod identity, or IDENTITY_CIDR_BIT | class */
	__u8 protocol;
	__u8 port[2]; /* destination port, network order */
	__u8 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct policy_key);
	__type(value, __u32); /* 1; room for the rule's number */
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} policy_map SEC(".maps");

/* The most specific of all prefixes that some ipBlock or except names -> the class of addresses it stands for. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct prefix);
	__type(value, __u32); /* IDENTITY_CIDR_BIT | class */
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} cidr_map SEC(".maps");

/* ---- connections ------------------------------------------------------------------------------------------- */

#define DIRECTION_INGRESS 0
#define DIRECTION_EGRESS 1

/* The tuple as its initiator sent it, once per direction of a local pod: a client's leave to send does not vouch for the
 * server's to receive. ICMP echo: the identifier in both ports. */
struct connection_key {
	struct address source;
	struct address destination;
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	__u8 direction;
	__u16 pad;
};

#define CONNECTION_REPLIED (1 << 0)
#define CONNECTION_CLOSING (1 << 1)  /* reset, or ended by both */
#define CONNECTION_CONTROL (1 << 2)  /* of a sidecar to the control plane: its policy doesn't apply */
#define CONNECTION_ENDED (1 << 3)    /* by its initiator: a FIN */
#define CONNECTION_ANSWER_ENDED (1 << 4)

struct connection {
	__u32 seen_s; /* bpf_ktime_get_coarse_ns / 1e9 at the last packet */
	__u32 set;    /* the policy set and the peer that allowed it; when either differs now, it is judged anew */
	__u32 peer;
	__u32 flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct connection_key);
	__type(value, struct connection);
	__uint(max_entries, 262144);
} connection_map SEC(".maps");

struct fragment_key {
	struct address source;
	struct address destination;
	__u32 id;
	__u8 protocol;
	__u8 pad[3];
};

struct fragment_ports {
	__u16 source_port;
	__u16 destination_port;
};

/* Ports of datagrams whose later fragments don't carry them. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct fragment_key);
	__type(value, struct fragment_ports);
	__uint(max_entries, 8192);
} fragment_map SEC(".maps");

/* ---- drops ------------------------------------------------------------------------------------------------- */

#define DROP_POLICY 1         /* no rule allows it */
#define DROP_SPOOFED 2        /* a source address that the sender doesn't have */
#define DROP_BYPASS 3         /* TCP of a meshed pod that its sidecar didn't send */
#define DROP_PEER_UNKNOWN 4   /* from a pod that this node hasn't heard of yet; the sender will try again */
#define DROP_NO_ROUTE 5       /* an address of a pod block that nobody has */
#define DROP_FRAGMENT 6       /* a fragment without its first */
#define DROP_MALFORMED 7
#define DROP_NO_BACKEND 8     /* a NodePort, load balancer or external address without endpoints here */
#define DROP_UNSUPPORTED 9    /* neither IPv4, IPv6 nor ARP */
#define DROP_INTERNAL 10      /* a helper failed, or the node isn't configured yet */
#define DROP_TOO_BIG 11       /* larger than the tunnel takes; its sender is told by ICMP */
#define DROP_TUNNEL_PORT 12   /* of a pod, to the port of the tunnel between nodes */

struct drop {
	__u64 at_ns; /* bpf_ktime_get_boot_ns */
	struct address source;
	struct address destination;
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	__u8 direction;
	__u8 reason;
	__u8 family; /* 4 or 6 */
	__u32 set;   /* of DROP_POLICY */
	__u32 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 262144);
} drop_ring SEC(".maps");

/* Packets and bytes by outcome: index = reason * 2 + direction; reason 0 is forwarded. */
struct counter {
	__u64 packets;
	__u64 bytes;
};

#define COUNTERS_MAX 32
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct counter);
	__uint(max_entries, COUNTERS_MAX);
} counter_map SEC(".maps");

/* Refusals to clients outside in this second. */
struct refusals {
	__u32 second;
	__u32 count;
};

#define REFUSALS_PER_S_MAX 1000
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct refusals);
	__uint(max_entries, 1);
} refusal_map SEC(".maps");

/* ---- services ---------------------------------------------------------------------------------------------- */

#define SCOPE_INTERNAL 0 /* as seen by pods and by the node itself */
#define SCOPE_EXTERNAL 1 /* as seen by packets that come in by the uplink */

struct frontend {
	/* NodePort: every address of this node, by family, since a backend has the client's: ::ffff:0.0.0.0 stands for
	 * all IPv4 ones, :: for all IPv6 ones. */
	struct address address;
	__u16 port;
	__u8 protocol;
	__u8 scope;
};

#define SERVICE_AFFINITY (1 << 0)
#define SERVICE_DNS (1 << 1) /* the cluster's DNS: leave it alone, the node answers there itself */
#define SERVICE_ELSEWHERE (1 << 2) /* traffic policy Local: no endpoint here, but on other nodes */

struct service {
	__u32 id; /* of its backends; a change of backends makes a new id */
	__u32 count;
	__u32 flags;
	__u32 affinity_s;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct frontend);
	__type(value, struct service);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} service_map SEC(".maps");

struct backend_key {
	__u32 service_id;
	__u32 slot;
};

struct backend {
	struct address address;
	__u16 port;
	__u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct backend_key);
	__type(value, struct backend);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} backend_map SEC(".maps");

/* Session affinity ClientIP: by socket for callers on this node (their namespace stands for their address). */
struct affinity_key {
	struct frontend frontend;
	struct address client;  /* zero at the socket */
	__u64 netns_cookie;     /* zero from outside */
};

struct affinity {
	struct backend backend;
	__u32 seen_s;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct affinity_key);
	__type(value, struct affinity);
	__uint(max_entries, 65536);
} affinity_map SEC(".maps");

/* What a socket asked for, by what it got: getpeername and recvmsg show the service again. */
struct translated_key {
	__u64 socket_cookie;
	struct backend backend;
	__u32 pad;
};

struct translated {
	struct address address;
	__u16 port;
	__u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct translated_key);
	__type(value, struct translated);
	__uint(max_entries, 131072);
} translated_map SEC(".maps");

/* Connections from outside. FORWARD: as the client sent it -> the backend. REPLY: as the backend answers -> the address
 * the client asked, and the node whose uplink it came in by (zero: this one). */
#define EXTERNAL_FORWARD 0
#define EXTERNAL_REPLY 1

struct external_key {
	struct address source;
	struct address destination;
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	__u8 way;
	__u16 pad;
};

struct external {
	struct address address; /* FORWARD: backend; REPLY: what the client asked */
	struct address node;    /* REPLY: the node it came in by; zero = here */
	__u16 port;
	__u16 flags;
	__u32 seen_s;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct external_key);
	__type(value, struct external);
	__uint(max_entries, 131072);
} external_map SEC(".maps");

#include "layout_capture.h"

/*
 * The plugin `loopback`, which runtimes call for every pod beside its network, and take for given on a node: CNI's own packages bring it
 * elsewhere. Called by that type, this program brings lo up itself and asks no agent.
 */
#ifndef HEDDLE_PLUGIN_LOOPBACK_H
#define HEDDLE_PLUGIN_LOOPBACK_H

#include "check.h"

enum { CLONE_NEWNET = 0x40000000, AF_INET = 2, SOCK_DGRAM = 2, SIOCGIFFLAGS = 0x8913, SIOCSIFFLAGS = 0x8914, IFF_UP = 1 };

/* struct ifreq of <net/if.h>. */
struct ifreq_k { char name[16]; short flags; char rest[22]; };

static int is_loopback(const struct call *call)
{
	char type[sizeof("loopback")];
	return call->conf.type.length > 0 && *call->conf.type.start == '"' && decode_string(call->conf.type, type, sizeof(type)) && same(type, "loopback");
}

/* Brings lo up, or with `check` looks whether it is. 0, or what failed. */
static const char *loopback_up(const char *netns, int check)
{
	struct ifreq_k lo = { "lo", 0, { 0 } };
	int at = sys_open(netns, O_RDONLY, 0);
	if (at < 0) return "the network namespace can't be opened";
	long entered = syscall5(NR_setns, at, CLONE_NEWNET, 0, 0, 0);
	sys_close(at);
	if (entered < 0) return "the network namespace can't be entered";
	int any = (int)syscall5(NR_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0, 0, 0);
	if (any < 0 || syscall5(NR_ioctl, any, SIOCGIFFLAGS, (long)&lo, 0, 0) < 0) return "lo can't be looked at";
	if (lo.flags & IFF_UP) return 0;
	if (check) return "lo is down";
	lo.flags |= IFF_UP;
	return syscall5(NR_ioctl, any, SIOCSIFFLAGS, (long)&lo, 0, 0) < 0 ? "lo can't be brought up" : 0;
}

/* The result of ADD: results before 1.0.0 say the family of an address. */
static void put_loopback(struct text *out, const struct call *call)
{
	put(out, "{\"cniVersion\":\"");
	put(out, call->version);
	put(out, "\",\"interfaces\":[{\"name\":\"lo\",\"mac\":\"00:00:00:00:00:00\",\"sandbox\":\"");
	put_quoted(out, call->netns);
	put(out, "\"}],\"ips\":[{\"address\":\"127.0.0.1/8\",\"interface\":0");
	if (call->version[0] == '0') put(out, ",\"version\":\"4\"");
	put(out, "}]}\n");
}

#endif

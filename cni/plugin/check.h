/* What the specification asks of a call before it may reach a plugin; the agent looks again, with the same codes. */
#ifndef HEDDLE_PLUGIN_CHECK_H
#define HEDDLE_PLUGIN_CHECK_H

#include "json.h"

/* Error codes of CNI specification 1.1, section 5. */
enum { CODE_VERSION = 1, CODE_ENVIRONMENT = 4, CODE_IO = 5, CODE_DECODE = 6, CODE_CONFIG = 7, CODE_LATER = 11, CODE_UNAVAILABLE = 50 };
enum { CONTAINER_ID_BYTES_MAX = 200, INTERFACE_BYTES_MAX = 15, VERSION_BYTES_MAX = 32, NAME_BYTES_MAX = 256 };

#define SUPPORTED_VERSIONS "[\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]"
#define NEWEST_VERSION "1.1.0"

enum command { ADD, DEL, CHECK, GC, STATUS, VERSION, UNKNOWN };

struct call {
	enum command command;
	const char *command_name, *container, *netns, *ifname;
	struct netconf conf;
	/* Decoded: cniVersion where it is one that is supported. */
	char version[VERSION_BYTES_MAX];
};

struct failure { int code; const char *message, *details; };

static inline enum command command_of(const char *name)
{
	static const char *const names[] = { "ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION" };
	for (int index = 0; index < UNKNOWN; index++) if (same(name, names[index])) return (enum command)index;
	return UNKNOWN;
}

static inline int is_alphanumeric(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
}

/* A container ID or the name of a network: section 2, "Parameters". */
static int is_name(const char *name, usize limit)
{
	if (!is_alphanumeric(*name)) return 0;
	for (usize index = 0; name[index]; index++) {
		char byte = name[index];
		if (index >= limit || (!is_alphanumeric(byte) && byte != '_' && byte != '.' && byte != '-')) return 0;
	}
	return 1;
}

/* As the kernel's dev_valid_name has it. */
static int is_interface(const char *name)
{
	if (*name == 0 || same(name, ".") || same(name, "..") || length_of(name) > INTERFACE_BYTES_MAX) return 0;
	for (; *name; name++) if (*name == '/' || *name == ':' || (u8)*name <= ' ' || (u8)*name == 0x7f) return 0;
	return 1;
}

static inline int missing(const char *value) { return value == 0 || *value == 0; }

static int check_environment(const struct call *call, struct failure *why)
{
	why->code = CODE_ENVIRONMENT;
	why->details = "the container runtime sets them: CNI specification 1.1, section 2, Parameters";
	if (missing(call->command_name)) {
		why->message = "CNI_COMMAND is not set";
		return 0;
	}
	if (call->command == UNKNOWN) {
		why->message = "CNI_COMMAND must be ADD, DEL, CHECK, GC, STATUS or VERSION";
		return 0;
	}
	if (call->command != ADD && call->command != DEL && call->command != CHECK) return 1;
	if (missing(call->container)) why->message = "CNI_CONTAINERID is not set";
	else if (!is_name(call->container, CONTAINER_ID_BYTES_MAX))
		why->message = "CNI_CONTAINERID must be 1 to 200 letters, digits, '_', '.' and '-', and begin with a letter or digit";
	else if (missing(call->ifname)) why->message = "CNI_IFNAME is not set";
	else if (!is_interface(call->ifname)) why->message = "CNI_IFNAME must be 1 to 15 characters without '/', ':' and spaces";
	else if (call->command != DEL && missing(call->netns)) why->message = "CNI_NETNS is not set";
	else return 1;
	return 0;
}

/* The first version that has the command, or that is supported at all: section 2, CNI operations. */
static int version_has(const char *version, enum command command)
{
	if (same(version, NEWEST_VERSION)) return 1;
	if (command == GC || command == STATUS) return 0;
	if (same(version, "0.4.0") || same(version, "1.0.0")) return 1;
	return same(version, "0.3.1") && command != CHECK;
}

static int check_netconf(struct call *call, const char *bytes, usize length, struct failure *why)
{
	struct netconf *conf = &call->conf;
	char name[NAME_BYTES_MAX];
	why->code = CODE_DECODE;
	why->details = "standard input must hold the plugin's configuration";
	if (!read_netconf(bytes, length, conf)) {
		why->message = "the network configuration is no JSON object";
		return 0;
	}
	why->details = not_text(conf);
	if (why->details != 0) {
		why->message = "a key of the network configuration must hold text";
		return 0;
	}
	char version[VERSION_BYTES_MAX] = "";
	if (conf->version.length == 0 || !decode_string(conf->version, version, sizeof(version))) version[0] = 0;
	if (version_has(version, ADD)) memcpy(call->version, version, sizeof(version));
	if (!version_has(version, call->command)) {
		why->code = CODE_VERSION;
		why->message = version_has(version, ADD) ? "CNI_COMMAND needs a newer cniVersion than the configuration's" : "cniVersion is not supported";
		why->details = "supported are 0.3.1, 0.4.0, 1.0.0 and 1.1.0; CHECK came with 0.4.0, GC and STATUS with 1.1.0";
		return 0;
	}
	why->code = CODE_CONFIG;
	why->message = "the network's name must be letters, digits, '_', '.' and '-', and begin with a letter or digit";
	why->details = "key name of the network configuration";
	return conf->name.length > 0 && decode_string(conf->name, name, sizeof(name)) && is_name(name, NAME_BYTES_MAX);
}

#endif

/* RFC 8259: checks a whole document and finds strings of its top level. Of keys that come twice the last one counts. */
#ifndef HEDDLE_PLUGIN_JSON_H
#define HEDDLE_PLUGIN_JSON_H

#include "text.h"

enum { JSON_DEPTH_MAX = 64, JSON_KEY_BYTES_MAX = 32 };

/* The values of the keys that are read here, as they are written: strings with their quotes. Empty where there is none. */
struct netconf { struct piece version, socket, name, mode, type; };

struct cursor { const char *at, *end; };

static inline void skip_space(struct cursor *in)
{
	while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r')) in->at++;
}

static inline int take(struct cursor *in, char wanted)
{
	if (in->at >= in->end || *in->at != wanted) return 0;
	in->at++;
	return 1;
}

static inline int take_word(struct cursor *in, const char *word)
{
	for (; *word; word++) if (!take(in, *word)) return 0;
	return 1;
}

static inline int hex_digit(char byte)
{
	if (byte >= '0' && byte <= '9') return byte - '0';
	if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
	if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
	return -1;
}

/* Four hexadecimal digits at `at`, or -1. */
static inline int hex_four(const char *at, const char *end)
{
	int value = 0;
	for (int index = 0; index < 4; index++) {
		int digit = at + index < end ? hex_digit(at[index]) : -1;
		if (digit < 0) return -1;
		value = value << 4 | digit;
	}
	return value;
}

static int skip_string(struct cursor *in)
{
	if (!take(in, '"')) return 0;
	while (in->at < in->end) {
		char byte = *in->at++;
		if (byte == '"') return 1;
		if ((u8)byte < 0x20) return 0;
		if (byte != '\\') continue;
		if (in->at >= in->end) return 0;
		byte = *in->at++;
		if (byte == 'u') {
			if (hex_four(in->at, in->end) < 0) return 0;
			in->at += 4;
		} else if (byte != '"' && byte != '\\' && byte != '/' && byte != 'b' && byte != 'f' && byte != 'n' && byte != 'r' && byte != 't') {
			return 0;
		}
	}
	return 0;
}

static inline int skip_digits(struct cursor *in)
{
	const char *start = in->at;
	while (in->at < in->end && *in->at >= '0' && *in->at <= '9') in->at++;
	return in->at > start;
}

static int skip_number(struct cursor *in)
{
	take(in, '-');
	if (!take(in, '0') && !skip_digits(in)) return 0;
	if (take(in, '.') && !skip_digits(in)) return 0;
	if (take(in, 'e') || take(in, 'E')) {
		if (!take(in, '+')) take(in, '-');
		return skip_digits(in);
	}
	return 1;
}

/* One character of an escaped string as UTF-8; returns its bytes. `in` stands behind the backslash. */
static inline usize unescape(struct cursor *in, char out[4])
{
	char byte = *in->at++;
	if (byte != 'u') {
		out[0] = byte == 'b' ? '\b' : byte == 'f' ? '\f' : byte == 'n' ? '\n' : byte == 'r' ? '\r' : byte == 't' ? '\t' : byte;
		return 1;
	}
	u32 code = (u32)hex_four(in->at, in->end);
	in->at += 4;
	if (code >= 0xd800 && code < 0xdc00 && in->at + 6 <= in->end && in->at[0] == '\\' && in->at[1] == 'u') {
		int low = hex_four(in->at + 2, in->end);
		if (low >= 0xdc00 && low < 0xe000) {
			code = 0x10000 + ((code - 0xd800) << 10) + ((u32)low - 0xdc00);
			in->at += 6;
		}
	}
	if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
	if (code < 0x80) { out[0] = (char)code; return 1; }
	usize count = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	for (usize index = count - 1; index > 0; index--, code >>= 6) out[index] = (char)(0x80 | (code & 0x3f));
	out[0] = (char)((count == 2 ? 0xc0 : count == 3 ? 0xe0 : 0xf0) | code);
	return count;
}

/* What a string of the document means, with a NUL behind it. 0: longer than `limit`, or with a NUL inside. */
static int decode_string(struct piece raw, char *out, usize limit)
{
	struct cursor in = { raw.start + 1, raw.start + raw.length - 1 };
	usize length = 0;
	while (in.at < in.end) {
		char bytes[4];
		usize count = 1;
		bytes[0] = *in.at++;
		if (bytes[0] == '\\') count = unescape(&in, bytes);
		if (length + count >= limit || bytes[0] == 0) return 0;
		for (usize index = 0; index < count; index++) out[length++] = bytes[index];
	}
	out[length] = 0;
	return 1;
}

static inline struct piece *field_of(struct netconf *conf, const char *key)
{
	if (same(key, "cniVersion")) return &conf->version;
	if (same(key, "agentSocket")) return &conf->socket;
	if (same(key, "name")) return &conf->name;
	if (same(key, "mode")) return &conf->mode;
	if (same(key, "type")) return &conf->type;
	return 0;
}

static int skip_value(struct cursor *in, int depth, struct netconf *conf);

static int skip_member(struct cursor *in, int depth, struct netconf *conf)
{
	struct piece key = { in->at, 0 };
	if (!skip_string(in)) return 0;
	key.length = (usize)(in->at - key.start);
	skip_space(in);
	if (!take(in, ':')) return 0;
	skip_space(in);
	struct piece value = { in->at, 0 };
	if (!skip_value(in, depth + 1, 0)) return 0;
	value.length = (usize)(in->at - value.start);
	char name[JSON_KEY_BYTES_MAX];
	if (conf == 0 || !decode_string(key, name, sizeof(name))) return 1;
	struct piece *field = field_of(conf, name);
	if (field == 0) return 1;
	/* null is as good as nothing, as Go's decoder has it. */
	if (*value.start == 'n') value.length = 0;
	*field = value;
	return 1;
}

static int skip_members(struct cursor *in, int depth, struct netconf *conf, char close)
{
	skip_space(in);
	if (take(in, close)) return 1;
	for (;;) {
		skip_space(in);
		if (!(close == '}' ? skip_member(in, depth, conf) : skip_value(in, depth + 1, 0))) return 0;
		skip_space(in);
		if (take(in, close)) return 1;
		if (!take(in, ',')) return 0;
	}
}

static int skip_value(struct cursor *in, int depth, struct netconf *conf)
{
	if (depth > JSON_DEPTH_MAX || in->at >= in->end) return 0;
	switch (*in->at) {
	case '{': in->at++; return skip_members(in, depth, conf, '}');
	case '[': in->at++; return skip_members(in, depth, 0, ']');
	case '"': return skip_string(in);
	case 't': return take_word(in, "true");
	case 'f': return take_word(in, "false");
	case 'n': return take_word(in, "null");
	default: return skip_number(in);
	}
}

/* 1: one JSON object and nothing behind it. */
static int read_netconf(const char *bytes, usize length, struct netconf *conf)
{
	struct cursor in = { bytes, bytes + length };
	skip_space(&in);
	if (in.at >= in.end || *in.at != '{' || !skip_value(&in, 0, conf)) return 0;
	skip_space(&in);
	return in.at == in.end;
}

static inline int is_text(struct piece value) { return value.length == 0 || *value.start == '"'; }

/* A key whose value must be text and isn't; 0: none. */
static inline const char *not_text(const struct netconf *conf)
{
	if (!is_text(conf->version)) return "cniVersion";
	if (!is_text(conf->socket)) return "agentSocket";
	if (!is_text(conf->name)) return "name";
	return is_text(conf->mode) ? 0 : "mode";
}

#endif

/* Text of bounded length, and the few functions that a compiler calls by itself. */
#ifndef HEDDLE_PLUGIN_TEXT_H
#define HEDDLE_PLUGIN_TEXT_H

#include "sys.h"

void *memcpy(void *to, const void *from, usize bytes)
{
	u8 *out = to;
	const u8 *in = from;
	for (usize index = 0; index < bytes; index++) out[index] = in[index];
	return to;
}

void *memset(void *to, int value, usize bytes)
{
	u8 *out = to;
	for (usize index = 0; index < bytes; index++) out[index] = (u8)value;
	return to;
}

static inline usize length_of(const char *text)
{
	usize length = 0;
	while (text[length]) length++;
	return length;
}

static inline int same(const char *one, const char *other)
{
	while (*one && *one == *other) one++, other++;
	return *one == *other;
}

/* The value of NAME=value, or 0 where `entry` is another variable. */
static inline const char *value_of(const char *entry, const char *name)
{
	while (*name && *entry == *name) entry++, name++;
	return *name == 0 && *entry == '=' ? entry + 1 : 0;
}

/* Bytes of somebody else's text: a piece of standard input. */
struct piece { const char *start; usize length; };

struct text { char *bytes; usize length, limit; };

/* What doesn't fit is cut; buffers are as large as the sum of the limits of what goes in. */
static inline void put_bytes(struct text *out, const char *bytes, usize length)
{
	for (usize index = 0; index < length && out->length + 1 < out->limit; index++) out->bytes[out->length++] = bytes[index];
	out->bytes[out->length] = 0;
}

static inline void put(struct text *out, const char *words) { put_bytes(out, words, length_of(words)); }

static inline void put_number(struct text *out, unsigned long number)
{
	char digits[20];
	usize count = 0;
	do digits[count++] = (char)('0' + number % 10); while ((number /= 10) != 0);
	while (count > 0) put_bytes(out, &digits[--count], 1);
}

/* Inside a JSON string: bytes that may not stand there become '?'. */
static inline void put_quoted(struct text *out, const char *words)
{
	for (; *words; words++) {
		char byte = *words;
		if (byte == '"' || byte == '\\') put(out, "\\");
		if ((u8)byte < 0x20 || (u8)byte >= 0x7f) byte = '?';
		put_bytes(out, &byte, 1);
	}
}

#endif

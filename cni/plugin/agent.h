/*
 * The agent's side of the call. A request is "HCN1", the bytes of the variables, the bytes of the configuration (32-bit
 * little-endian numbers), CNI_* variables each with a NUL behind it, the configuration. An answer is "HCN1", the exit
 * code, the bytes of the output, the output.
 */
#ifndef HEDDLE_PLUGIN_AGENT_H
#define HEDDLE_PLUGIN_AGENT_H

#include "text.h"

enum { ANSWER_BYTES_MAX = 1 << 20, RETRY_CONNECT_MS = 5 };

enum outcome { ANSWERED, NO_AGENT, BROKEN_OFF, TOO_LATE };

static int read_whole(int fd, char *to, usize bytes, long deadline_ms, enum outcome *outcome)
{
	for (usize done = 0; done < bytes;) {
		isize count = sys_read(fd, to + done, bytes - done);
		if (count > 0) {
			done += (usize)count;
		} else if (count == -EAGAIN || count == -EINTR) {
			if (wait_ready(fd, POLLIN, deadline_ms)) continue;
			*outcome = TOO_LATE;
			return 0;
		} else {
			*outcome = BROKEN_OFF;
			return 0;
		}
	}
	return 1;
}

static int write_whole(int fd, const char *from, usize bytes, long deadline_ms)
{
	for (usize done = 0; done < bytes;) {
		isize count = sys_write(fd, from + done, bytes - done);
		if (count > 0) {
			done += (usize)count;
		} else if ((count != -EAGAIN && count != -EINTR) || !wait_ready(fd, POLLOUT, deadline_ms)) {
			return 0;
		}
	}
	return 1;
}

/* A full queue of waiting connections shows as EAGAIN: a burst of pods, not a missing agent. */
static int connect_agent(const char *path, long deadline_ms, enum outcome *outcome)
{
	struct sockaddr_un_k address = { AF_UNIX, { 0 } };
	usize length = length_of(path);
	memcpy(address.path, path, length);
	int fd = (int)syscall5(NR_socket, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, 0, 0);
	*outcome = NO_AGENT;
	if (fd < 0) return -1;
	for (;;) {
		long result = syscall5(NR_connect, fd, (long)&address, (long)(sizeof(address.family) + length + 1), 0, 0);
		if (result == 0) return fd;
		if (result != -EAGAIN && result != -EINTR) break;
		if (now_ms() >= deadline_ms) {
			*outcome = TOO_LATE;
			break;
		}
		pause_ms(RETRY_CONNECT_MS);
	}
	sys_close(fd);
	return -1;
}

static inline u32 little_endian(const char *at)
{
	const u8 *bytes = (const u8 *)at;
	return (u32)bytes[0] | (u32)bytes[1] << 8 | (u32)bytes[2] << 16 | (u32)bytes[3] << 24;
}

static inline void put_u32(struct text *out, usize value)
{
	for (int index = 0; index < 4; index++, value >>= 8) {
		char byte = (char)(value & 0xff);
		put_bytes(out, &byte, 1);
	}
}

static inline void put_frame_head(struct text *out, usize variables_bytes, usize configuration_bytes)
{
	put(out, "HCN1");
	put_u32(out, variables_bytes);
	put_u32(out, configuration_bytes);
}

enum { FRAME_HEAD_BYTES = 12 };

/* Sends the request and reads the answer into `answer`. */
static enum outcome ask_agent(const char *path, struct piece variables, struct piece configuration, long deadline_ms,
			      struct text *answer, int *exit_code)
{
	enum outcome outcome = ANSWERED;
	char bytes[FRAME_HEAD_BYTES + 1];
	struct text head = { bytes, 0, sizeof(bytes) };
	int fd = connect_agent(path, deadline_ms, &outcome);
	if (fd < 0) return outcome;
	put_frame_head(&head, variables.length, configuration.length);
	/* An agent that refuses answers without reading everything: its answer counts, not the write. */
	if (write_whole(fd, head.bytes, head.length, deadline_ms) && write_whole(fd, variables.start, variables.length, deadline_ms))
		write_whole(fd, configuration.start, configuration.length, deadline_ms);
	outcome = ANSWERED;
	if (!read_whole(fd, bytes, FRAME_HEAD_BYTES, deadline_ms, &outcome)) return outcome;
	usize length = little_endian(bytes + 8);
	*exit_code = (int)little_endian(bytes + 4);
	if (little_endian(bytes) != little_endian("HCN1") || length >= answer->limit) return BROKEN_OFF;
	if (!read_whole(fd, answer->bytes, length, deadline_ms, &outcome)) return outcome;
	answer->length = length;
	return ANSWERED;
}

#endif

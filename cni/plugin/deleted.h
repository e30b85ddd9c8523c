/*
 * A DEL must succeed without an agent: the pod is gone either way. It is written down in the folder `deleted` beside the
 * agent's socket, one file an attachment, and the agent makes up for it.
 */
#ifndef HEDDLE_PLUGIN_DELETED_H
#define HEDDLE_PLUGIN_DELETED_H

#include "agent.h"

enum { DELETED_FILES_MAX = 4096, PATH_BYTES_MAX = 512 };

/* Entries of a folder, "." and ".." too; DELETED_FILES_MAX where there may be more. */
static int count_entries(const char *folder)
{
	static char entries[8192] __attribute__((aligned(8)));
	int count = 0;
	int fd = sys_open(folder, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0) return 0;
	for (;;) {
		isize bytes = sys_getdents(fd, entries, sizeof(entries));
		if (bytes <= 0) break;
		/* struct linux_dirent64: inode 8, offset 8, length 2 */
		for (isize at = 0; at < bytes; at += *(const u16 *)(entries + at + 16)) count++;
		if (count >= DELETED_FILES_MAX) break;
	}
	sys_close(fd);
	return count;
}

/* Cuts the last part off a path; "/" stays. */
static inline void to_parent(struct text *path)
{
	while (path->length > 1 && path->bytes[path->length - 1] != '/') path->length--;
	if (path->length > 1) path->length--;
	path->bytes[path->length] = 0;
}

/* 1: written. `frame` is a whole request. */
static int write_deletion(const char *socket, const char *container, const char *ifname, struct text frame)
{
	static char folder_bytes[PATH_BYTES_MAX], final_bytes[PATH_BYTES_MAX], draft_bytes[PATH_BYTES_MAX];
	struct text folder = { folder_bytes, 0, PATH_BYTES_MAX };
	struct text final = { final_bytes, 0, PATH_BYTES_MAX };
	struct text draft = { draft_bytes, 0, PATH_BYTES_MAX };
	put(&folder, socket);
	to_parent(&folder);
	sys_mkdir(folder.bytes, 0755);
	put(&folder, "/deleted");
	sys_mkdir(folder.bytes, 0700);
	if (count_entries(folder.bytes) >= DELETED_FILES_MAX) return 0;
	put_bytes(&final, folder.bytes, folder.length);
	put(&final, "/");
	put(&final, container);
	put(&final, "@");
	put(&final, ifname);
	put_bytes(&draft, folder.bytes, folder.length);
	put(&draft, "/.draft-");
	put_number(&draft, (unsigned long)sys_getpid());
	sys_unlink(draft.bytes);
	int fd = sys_open(draft.bytes, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0) return 0;
	int written = write_whole(fd, frame.bytes, frame.length, now_ms());
	sys_close(fd);
	if (written && sys_rename(draft.bytes, final.bytes) == 0) return 1;
	sys_unlink(draft.bytes);
	return 0;
}

#endif

/* The kernel without a C library: a host has none that the forwarder could rely on. */
#ifndef HEDDLE_PLUGIN_SYS_H
#define HEDDLE_PLUGIN_SYS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long usize;
typedef long isize;

#if defined(__x86_64__)
enum { NR_read = 0, NR_write = 1, NR_close = 3, NR_socket = 41, NR_connect = 42, NR_getpid = 39, NR_exit_group = 231, NR_ppoll = 271,
       NR_nanosleep = 35, NR_clock_gettime = 228, NR_openat = 257, NR_mkdirat = 258, NR_unlinkat = 263, NR_renameat2 = 316,
       NR_getdents64 = 217, NR_rt_sigaction = 13, NR_ioctl = 16, NR_setns = 308 };
#elif defined(__aarch64__)
enum { NR_read = 63, NR_write = 64, NR_close = 57, NR_socket = 198, NR_connect = 203, NR_getpid = 172, NR_exit_group = 94, NR_ppoll = 73,
       NR_nanosleep = 101, NR_clock_gettime = 113, NR_openat = 56, NR_mkdirat = 34, NR_unlinkat = 35, NR_renameat2 = 276,
       NR_getdents64 = 61, NR_rt_sigaction = 134, NR_ioctl = 29, NR_setns = 268 };
#else
#error "x86-64 and arm64 only"
#endif

/* Numbers of <errno.h>, <fcntl.h>, <sys/socket.h>, <poll.h>; those of O_DIRECTORY and O_NOFOLLOW differ. */
enum { EINTR = 4, EAGAIN = 11, EEXIST = 17 };
enum { AT_FDCWD = -100, O_RDONLY = 0, O_WRONLY = 1, O_CREAT = 0100, O_EXCL = 0200, O_CLOEXEC = 02000000 };
#if defined(__x86_64__)
enum { O_DIRECTORY = 0200000 };
#else
enum { O_DIRECTORY = 040000 };
#endif
enum { AF_UNIX = 1, SOCK_STREAM = 1, SOCK_NONBLOCK = 04000, SOCK_CLOEXEC = 02000000 };
enum { POLLIN = 1, POLLOUT = 4, POLLERR = 8, POLLHUP = 16 };
enum { CLOCK_MONOTONIC = 1 };

struct timespec_k { long seconds, nanoseconds; };
struct pollfd_k { int fd; short events, revents; };
struct sockaddr_un_k { u16 family; char path[108]; };

static inline long syscall5(long number, long a, long b, long c, long d, long e)
{
#if defined(__x86_64__)
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return result;
#else
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
#endif
}

static inline isize sys_read(int fd, void *to, usize bytes) { return syscall5(NR_read, fd, (long)to, (long)bytes, 0, 0); }
static inline isize sys_write(int fd, const void *from, usize bytes) { return syscall5(NR_write, fd, (long)from, (long)bytes, 0, 0); }
static inline void sys_close(int fd) { syscall5(NR_close, fd, 0, 0, 0, 0); }
static inline int sys_open(const char *path, int flags, int mode) { return (int)syscall5(NR_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, mode, 0); }
static inline int sys_mkdir(const char *path, int mode) { return (int)syscall5(NR_mkdirat, AT_FDCWD, (long)path, mode, 0, 0); }
static inline int sys_unlink(const char *path) { return (int)syscall5(NR_unlinkat, AT_FDCWD, (long)path, 0, 0, 0); }
static inline int sys_rename(const char *from, const char *to) { return (int)syscall5(NR_renameat2, AT_FDCWD, (long)from, AT_FDCWD, (long)to, 0); }
static inline isize sys_getdents(int fd, void *to, usize bytes) { return syscall5(NR_getdents64, fd, (long)to, (long)bytes, 0, 0); }
static inline int sys_getpid(void) { return (int)syscall5(NR_getpid, 0, 0, 0, 0, 0); }
static inline __attribute__((noreturn)) void sys_exit(int code)
{
	for (;;) syscall5(NR_exit_group, code, 0, 0, 0, 0);
}

static inline long now_ms(void)
{
	struct timespec_k now = { 0, 0 };
	syscall5(NR_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0, 0);
	return now.seconds * 1000 + now.nanoseconds / 1000000;
}

static inline void pause_ms(long ms)
{
	struct timespec_k span = { ms / 1000, ms % 1000 * 1000000 };
	syscall5(NR_nanosleep, (long)&span, 0, 0, 0, 0);
}

/* A reader that is gone shows as an error of write, not as the end of this process. */
static inline void ignore_sigpipe(void)
{
	struct { void *handler; unsigned long flags; void *restorer; unsigned long mask; } action = { (void *)1, 0, 0, 0 };
	syscall5(NR_rt_sigaction, 13, (long)&action, 0, 8, 0);
}

/* 1: ready, 0: the deadline has passed. */
static inline int wait_ready(int fd, short events, long deadline_ms)
{
	for (;;) {
		long left_ms = deadline_ms - now_ms();
		if (left_ms <= 0) return 0;
		struct pollfd_k one = { fd, events, 0 };
		struct timespec_k span = { left_ms / 1000, left_ms % 1000 * 1000000 };
		long count = syscall5(NR_ppoll, (long)&one, 1, (long)&span, 0, 8);
		if (count == -EINTR) continue;
		return count != 0;
	}
}

#endif

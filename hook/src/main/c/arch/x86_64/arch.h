/* SPDX-License-Identifier: MIT */
/*
 * What device.c has to know of x86-64: numbers of calls, how one is made, structures that are not
 * everywhere the same, and a few instructions. docs/architectures.md lists them.
 */
#ifndef OUTBOARD_SHIM_ARCH_H
#define OUTBOARD_SHIM_ARCH_H

enum {
  SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_mmap = 9, SYS_readv = 19, SYS_writev = 20,
  SYS_munmap = 11, SYS_madvise = 28, SYS_getpid = 39, SYS_sendto = 44, SYS_recvfrom = 45, SYS_futex = 202,
  SYS_rt_sigaction = 13, SYS_rt_sigprocmask = 14,
  SYS_poll = 7, SYS_pselect6 = 270, SYS_fstat = 5, SYS_pread64 = 17, SYS_sendfile = 40, SYS_setsockopt = 54, SYS_fstatfs = 138,
  SYS_getsockname = 51, SYS_getpeername = 52, SYS_getsockopt = 55, SYS_ioctl = 16, SYS_fcntl = 72,
  SYS_gettid = 186, SYS_clock_gettime = 228, SYS_epoll_ctl = 233, SYS_newfstatat = 262,
  SYS_epoll_wait = 232, SYS_epoll_pwait = 281,
  SYS_open = 2, SYS_stat = 4, SYS_lstat = 6, SYS_access = 21, SYS_mkdir = 83, SYS_rmdir = 84,
  SYS_unlink = 87, SYS_readlink = 89, SYS_chmod = 90, SYS_openat = 257, SYS_mkdirat = 258,
  SYS_unlinkat = 263, SYS_readlinkat = 267, SYS_fchmodat = 268, SYS_faccessat = 269,
  SYS_statx = 332, SYS_faccessat2 = 439, SYS_getcwd = 79, SYS_creat = 85, SYS_statfs = 137,
  SYS_mknod = 133, SYS_mknodat = 259, SYS_chown = 92, SYS_lchown = 94, SYS_fchownat = 260,
  SYS_truncate = 76, SYS_utime = 132, SYS_utimes = 235, SYS_futimesat = 261, SYS_utimensat = 280,
  SYS_symlink = 88, SYS_symlinkat = 266, SYS_rename = 82, SYS_renameat = 264, SYS_renameat2 = 316,
  SYS_link = 86, SYS_linkat = 265,
};

/* Of the machine's page sizes the least, and the greatest. */
enum { PAGE = 4096, MOST_PAGE = 4096 };

/* What shim.S saved of the program's registers, and what comes of it. */
struct call {
  int64_t r9, r8, r10, rdx, rsi, rdi, number, stub;
};

/* As the program has it: arch/x86/include/uapi/asm/stat.h. */
struct stat {
  uint64_t dev, inode, links;
  uint32_t mode, uid, gid, unused0;
  uint64_t rdev, bytes, block_bytes, blocks;
  uint64_t accessed, accessed_nanos, modified, modified_nanos, changed, changed_nanos, unused1[3];
};

_Static_assert(sizeof(struct stat) == 144, "stat(2)");

/* epoll(7)'s: include/uapi/linux/eventpoll.h. */
struct event {
  uint32_t events;
  uint64_t data;
} __attribute__((packed));

/*
 * Reads a place that the hook or another thread writes, before whatever this thread reads or writes
 * next. Every load does so here; and as all such places are volatile, the compiler leaves them in
 * their order, too. By __atomic_load_n gcc would call what it has inlined.
 */
#define ACQUIRE(place) (place)

static inline int64_t system_call(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d,
                                  int64_t e, int64_t f) {
  int64_t result;
  register int64_t r10 __asm__("r10") = d;
  register int64_t r8 __asm__("r8") = e;
  register int64_t r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

static inline void copy(void *to, const void *from, uint64_t bytes) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

/* One turn of a loop that waits for another processor. */
static inline void pause_turn(void) { __asm__ volatile("pause"); }

enum { CPU_SEGMENT = 15 * 8 + 3, CPU_MASK = 0xfff };

/*
 * The processor on which this thread runs; -1 if that is not known. Where the kernel has it for the
 * vDSO's getcpu: in the limit of a segment (asm/segment.h, GDT_ENTRY_CPUNODE).
 */
static inline int processor(void) {
  uint32_t limit = UINT32_MAX;
  __asm__ volatile("lsl %1,%0" : "+r"(limit) : "r"(CPU_SEGMENT) : "cc");
  return limit == UINT32_MAX ? -1 : (int)(limit & CPU_MASK);
}

/* poll(2) that does not wait. */
static inline int64_t poll_at_once(int64_t fds, int64_t count) {
  return system_call(SYS_poll, fds, count, 0, 0, 0, 0);
}

/* The call that looks at a list of descriptors. */
enum { SYS_poll_list = SYS_poll };

/* Whether that waits if nothing is ready: 0 or 1; -1 if this is not for us to say. */
#define POLL_WAITS(c) ((int)(c)->rdx != 0)

#endif

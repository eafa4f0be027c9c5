/* SPDX-License-Identifier: MIT */
/*
 * What device.c has to know of arm64: numbers of calls, how one is made, structures that are not
 * everywhere the same, and a few instructions. docs/architectures.md lists them.
 */
#ifndef OUTBOARD_SHIM_ARCH_H
#define OUTBOARD_SHIM_ARCH_H

/* Of asm-generic: include/uapi/asm-generic/unistd.h. */
enum {
  SYS_getcwd = 17, SYS_epoll_ctl = 21, SYS_epoll_pwait = 22, SYS_fcntl = 25, SYS_ioctl = 29,
  SYS_mknodat = 33, SYS_mkdirat = 34, SYS_unlinkat = 35, SYS_symlinkat = 36, SYS_linkat = 37,
  SYS_renameat = 38, SYS_statfs = 43, SYS_fstatfs = 44, SYS_truncate = 45, SYS_faccessat = 48,
  SYS_fchmodat = 53, SYS_fchownat = 54, SYS_openat = 56, SYS_close = 57, SYS_read = 63,
  SYS_write = 64, SYS_readv = 65, SYS_writev = 66, SYS_pread64 = 67, SYS_sendfile = 71,
  SYS_pselect6 = 72, SYS_ppoll = 73, SYS_readlinkat = 78, SYS_newfstatat = 79, SYS_fstat = 80,
  SYS_utimensat = 88, SYS_futex = 98, SYS_clock_gettime = 113, SYS_rt_sigaction = 134,
  SYS_rt_sigprocmask = 135, SYS_getpid = 172, SYS_gettid = 178, SYS_getsockname = 204,
  SYS_getpeername = 205, SYS_sendto = 206, SYS_recvfrom = 207, SYS_setsockopt = 208,
  SYS_getsockopt = 209, SYS_munmap = 215, SYS_mmap = 222, SYS_madvise = 233, SYS_renameat2 = 276,
  SYS_statx = 291, SYS_faccessat2 = 439,
};

/* Calls of x86-64 that there are not here: numbers that no call has. */
enum {
  SYS_open = -0x10000, SYS_stat, SYS_lstat, SYS_access, SYS_mkdir, SYS_rmdir, SYS_unlink,
  SYS_readlink, SYS_chmod, SYS_creat, SYS_mknod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes,
  SYS_futimesat, SYS_symlink, SYS_rename, SYS_link, SYS_epoll_wait,
};

/* Of the page sizes that a kernel may have the least, and the greatest. */
enum { PAGE = 4096, MOST_PAGE = 65536 };

/*
 * What shim.S saved of the program's registers, x0 to x8. device.c calls the arguments what x86-64
 * calls them.
 */
struct call {
  int64_t rdi, rsi, rdx, r10, r8, r9, x6, x7, number;
};

/* As the program has it: include/uapi/asm-generic/stat.h. */
struct stat {
  uint64_t dev, inode;
  uint32_t mode, links, uid, gid;
  uint64_t rdev, unused0, bytes;
  uint32_t block_bytes, unused1;
  uint64_t blocks;
  uint64_t accessed, accessed_nanos, modified, modified_nanos, changed, changed_nanos;
  uint32_t unused2[2];
};

_Static_assert(sizeof(struct stat) == 128, "stat(2)");

/* epoll(7)'s: include/uapi/linux/eventpoll.h. */
struct event {
  uint32_t events;
  uint64_t data;
};

/* Reads a place that the hook or another thread writes, before whatever this thread reads or writes
 * next. */
#define ACQUIRE(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)

static inline int64_t system_call(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d,
                                  int64_t e, int64_t f) {
  register int64_t x8 __asm__("x8") = number;
  register int64_t x0 __asm__("x0") = a;
  register int64_t x1 __asm__("x1") = b;
  register int64_t x2 __asm__("x2") = c;
  register int64_t x3 __asm__("x3") = d;
  register int64_t x4 __asm__("x4") = e;
  register int64_t x5 __asm__("x5") = f;
  __asm__ volatile("svc #0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
}

/* Of ordinary memory, any address. */
static inline void copy(void *to, const void *from, uint64_t bytes) {
  uint64_t a, b;
  __asm__ volatile(
      "1: subs %2, %2, #16\n"
      "   b.lo 2f\n"
      "   ldp %3, %4, [%1], #16\n"
      "   stp %3, %4, [%0], #16\n"
      "   b 1b\n"
      "2: adds %2, %2, #16\n"
      "   b.eq 4f\n"
      "3: ldrb %w3, [%1], #1\n"
      "   strb %w3, [%0], #1\n"
      "   subs %2, %2, #1\n"
      "   b.ne 3b\n"
      "4:"
      : "+r"(to), "+r"(from), "+r"(bytes), "=&r"(a), "=&r"(b)
      :
      : "cc", "memory");
}

/* One turn of a loop that waits for another processor: `yield` is none on most. */
static inline void pause_turn(void) { __asm__ volatile("isb" : : : "memory"); }

/* The processor on which this thread runs is not known: no register says it to programs. */
static inline int processor(void) { return -1; }

/* poll(2) that does not wait. */
static inline int64_t poll_at_once(int64_t fds, int64_t count) {
  const int64_t at_once[2] = {0, 0};
  return system_call(SYS_ppoll, fds, count, (int64_t)at_once, 0, 0, 0);
}

/* The call that looks at a list of descriptors. */
enum { SYS_poll_list = SYS_ppoll };

/* Whether that waits if nothing is ready: 0 or 1; -1 if this is not for us to say, as with a mask of
 * signals, or a time that is none. */
#define POLL_WAITS(c)                                                                            \
  __extension__({                                                                                \
    int64_t limit_[2] = {1, 0};                                                                  \
    int known_ = !(c)->r10 && (!(c)->rdx || look_up((c), limit_, (c)->rdx, sizeof limit_)) &&    \
                 limit_[0] >= 0 && limit_[1] >= 0 && limit_[1] < NANOS;                          \
    known_ ? limit_[0] || limit_[1] : -1;                                                        \
  })

#endif

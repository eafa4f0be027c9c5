// SPDX-License-Identifier: MIT
/*
 * How a process gets its table: at the end of an injection, and after a fork. On x86-64 shim.S has the
 * same in its instructions.
 */
#include <stdint.h>

#include "arch.h"
#include "../../layout.h"

enum {
  EINTR = 4, EAGAIN = 11, PROT_READ_WRITE = 3, SHARED_NOREPLACE = 0x100001,
  PRIVATE_ANONYMOUS_NOREPLACE = 0x100022, MADV_DONTFORK = 10, MADV_WIPEONFORK = 18,
};

/* Of the answer to ASK_ATTACH: the descriptor; above it which table. */
enum { FD_BITS = 20 };

#define STATE ((int32_t *)SELF)
#define COUNT (STATE + 1)
#define PROCESS (STATE + SELF_PROCESS)

extern int64_t trapping_call(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d);

/* Maps the table. No child may have it: one with fewer rights could mislead its parent. What SELF is
 * to be then. */
static int map_table(int tables, int64_t offset) {
  int mapped = system_call(SYS_mmap, TABLE, TABLE_BYTES, PROT_READ_WRITE, SHARED_NOREPLACE, tables,
                           offset) == TABLE;
  return mapped && system_call(SYS_madvise, TABLE, TABLE_BYTES, MADV_DONTFORK, 0, 0, 0) == 0
             ? ATTACHED
             : TRAPS;
}

/* Whoever sees it sees the table, too. */
static void become(int state) { __atomic_store_n(STATE, state, __ATOMIC_RELEASE); }

/* A forked child asks for a table of its own. */
void attach(void) {
  int32_t detached = DETACHED;
  if (!__atomic_compare_exchange_n(STATE, &detached, ASKING, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
    return;
  int64_t r = trapping_call(SYS_close, ASK_ATTACH, 0, 0, 0);
  if (r == -EINTR || r == -EAGAIN) {
    // A signal, or a moment at which it cannot be told: try again later.
    *COUNT = 0;
    become(DETACHED);
  } else if (r < 0) {
    become(TRAPS);
  } else {
    int fd = r & ((1 << FD_BITS) - 1);
    *PROCESS = system_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
    int state = map_table(fd, (r >> FD_BITS) * TABLE_BYTES);
    system_call(SYS_close, fd, 0, 0, 0, 0, 0);
    // A child that another thread has made meanwhile has the table, too: then it is not used.
    do r = trapping_call(SYS_close, ASK_ATTACHED, state == ATTACHED, 0, 0);
    while (r == -EINTR);
    if (r < 0 && state == ATTACHED) system_call(SYS_munmap, TABLE, TABLE_BYTES, 0, 0, 0, 0);
    if (r == -EAGAIN) *COUNT = 0;
    become(r == 0 ? state : r == -EAGAIN ? DETACHED : TRAPS);
  }
}

/* The end of an injection, which has mapped this text: the descriptors are its own to close. */
void setup(int tables, int image, int64_t offset) {
  if (system_call(SYS_mmap, SELF, SELF_BYTES, PROT_READ_WRITE, PRIVATE_ANONYMOUS_NOREPLACE, -1, 0) ==
      SELF) {
    int wiped = system_call(SYS_madvise, SELF, SELF_BYTES, MADV_WIPEONFORK, 0, 0, 0) == 0;
    become(wiped ? map_table(tables, offset) : TRAPS);
  }
  system_call(SYS_close, tables, 0, 0, 0, 0, 0);
  system_call(SYS_close, image, 0, 0, 0, 0, 0);
}

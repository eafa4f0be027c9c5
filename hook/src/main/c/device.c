// SPDX-License-Identifier: MIT
/*
 * Device calls that a program makes without a trap: by a call slot that it shares with the device.
 *
 * shim.S comes here with a call on a descriptor that the table says is a socket of the device. What
 * is not done here traps, as if there were no shim: a call that would have to wait for long, that
 * ends in an error with consequences, that faults, or that is too long. So there is nothing that the
 * hook would have to know, but that a handle's readiness may have changed; the device tells it at its
 * next look. docs/adr/0027-device-calls-without-a-trap.md has the argument.
 *
 * Freestanding, integer instructions only, no static data. Runs on the program's stack, in any of
 * its threads, and in signal handlers that interrupt it here.
 */
#include <stdint.h>

#include "arch.h"
#include "layout.h"

/* Linux's, of asm-generic where they go to the device; those of this machine's are arch.h's. */
enum {
  CLOCK_MONOTONIC = 1,
  DEVICE_nothing = -1,
  DEVICE_sendfile = 71, DEVICE_ppoll = 73, DEVICE_sendto = 206, DEVICE_recvfrom = 207, DEVICE_setsockopt = 208,
  DEVICE_ioctl = 29, DEVICE_getsockname = 204, DEVICE_getpeername = 205, DEVICE_getsockopt = 209,
  DEVICE_statx = 291,
  FIONREAD = 0x541b, SO_ERROR = 4, F_GETFL = 3, AT_EMPTY_PATH = 0x1000, AT_FDCWD = -100,
  EINTR = 4, EAGAIN = 11, ENOMEM = 12, EINVAL = 22, EPIPE = 32, ENETDOWN = 100,
  EHOSTUNREACH = 113,
  FUTEX_WAIT = 0, FUTEX_WAKE = 1, FUTEX_WAKE_OP_PRIVATE = 0x85,
  MADV_DONTFORK = 10, MADV_POPULATE_WRITE = 23,
  PROT_READ_WRITE = 3, MAP_SHARED_FIXED_NOREPLACE = 0x100001,
  MSG_PEEK = 2, MSG_DONTWAIT = 0x40, MSG_NOSIGNAL = 0x4000, MSG_MORE = 0x8000,
};

enum { KNOWN_FLAGS = MSG_PEEK | MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE, MAX_VECTORS = 8 };

/* The options that hold segments back or do not; and how much one sendfile moves at most. */
enum {
  SOL_IP = 0, SOL_SOCKET = 1, IPPROTO_TCP = 6, SOL_IPV6 = 41, TCP_NODELAY = 1, TCP_CORK = 3,
  SENDFILE_BYTES = 16 << 20,
};

/* In an entry's flags, instead of those of a send: what stands behind it is the int to which the option
 * named by the other bits, of IPPROTO_TCP, is to be set. */
enum { SETS_OPTION = INT32_MIN };

/* In `ahead` of the page of control: what may be in a ring. */
enum { SENDS_AHEAD = 1, OPTIONS_AHEAD = 2 };

/* In `near` of the page of control. The hook's slots are there where the device is at the other end of a
 * link: for sends that go ahead there, options between them, receives of what has come already, files of
 * the device that are sent, and questions. */
enum { NEAR = 1, NEAR_SENDS = 2, NEAR_OPTIONS = 4, NEAR_RECEIVES = 8, NEAR_FILES = 16 };

/* How long to look for a reply before sleeping: turns of a pause each, at least and at most; and at
 * least if the device's thread is awake, which has the reply in a few microseconds. */
enum { LEAST_TURNS = 16, MOST_TURNS = 512, AWAKE_TURNS = 128 };

/* Calls that a process makes the long way before it asks for a slot, or for one more: many end
 * before, and threads that wait for each other need fewer slots than there are threads. */
enum { PATIENCE = 16 };

struct iovec {
  char *base;
  uint64_t bytes;
};

struct slot {
  volatile uint32_t request, device_sleeps, unused0[14];
  volatile uint32_t reply, host_sleeps, together, unused1[13];
  uint32_t number, flags;
  int64_t args[5];
  uint32_t caller, unused7;
  uint32_t birth, where;
  int64_t result;
  uint32_t unused2[5], credit, credit_generation, unused3;
  int64_t credit_since;
  volatile uint32_t offer;
  uint32_t unused4[3];
  volatile uint32_t generation, unused5;
  volatile uint64_t drained, unused6[6];
  volatile uint64_t appended;
  volatile uint32_t takings;
};

/* What a slot may send on a handle without waiting, and how often in a row it did not. */
struct credit {
  uint64_t handle;
  int64_t since;
  uint32_t generation, left, spared, unused;
};

/* What stands before the bytes of a send in a ring. */
struct entry {
  uint32_t handle, birth, flags, length;
};

enum { SKIP = -1 };

/* What the device has looked at and not taken; SlotLayout has how it comes here and goes. */
struct peeked {
  volatile uint32_t state;
  uint32_t handle, birth, length, take, credit, generation, unused0;
  int64_t since;
  uint32_t unused1[6];
  char bytes[PEEKED_BYTES - 64];
};

enum { PEEKED_FRESH = 1, PEEKED_TAKEN = 2, PEEKED_STATES = 3 };

/* SlotLayout.OFFER_TAKEN */
#define OFFER_TAKEN 0x80000000u

_Static_assert(__builtin_offsetof(struct slot, reply) == 64, "SlotLayout.REPLY");
_Static_assert(__builtin_offsetof(struct slot, number) == 128, "SlotLayout.NUMBER");
_Static_assert(__builtin_offsetof(struct slot, args) == 136, "SlotLayout.ARGS");
_Static_assert(__builtin_offsetof(struct slot, caller) == 176, "SlotLayout.CALLER");
_Static_assert(__builtin_offsetof(struct slot, together) == 72, "SlotLayout.TOGETHER");
_Static_assert(__builtin_offsetof(struct slot, birth) == 184, "SlotLayout.BIRTH");
_Static_assert(__builtin_offsetof(struct slot, where) == 188, "SlotLayout.WHERE");
_Static_assert(__builtin_offsetof(struct slot, result) == 192, "SlotLayout.RESULT");
_Static_assert(__builtin_offsetof(struct slot, credit) == 220, "SlotLayout.CREDIT");
_Static_assert(__builtin_offsetof(struct slot, credit_generation) == 224, "SlotLayout.CREDIT_GENERATION");
_Static_assert(__builtin_offsetof(struct slot, credit_since) == 232, "SlotLayout.CREDIT_SINCE");
_Static_assert(__builtin_offsetof(struct slot, offer) == 240, "SlotLayout.OFFER");
_Static_assert(__builtin_offsetof(struct slot, generation) == 256, "SlotLayout.GENERATION");
_Static_assert(__builtin_offsetof(struct slot, drained) == 264, "SlotLayout.DRAINED");
_Static_assert(__builtin_offsetof(struct slot, appended) == 320, "SlotLayout.APPENDED");
_Static_assert(__builtin_offsetof(struct slot, takings) == 328, "SlotLayout.TAKINGS");
_Static_assert(__builtin_offsetof(struct peeked, take) == 16, "SlotLayout.PEEKED_TAKE");
_Static_assert(__builtin_offsetof(struct peeked, since) == 32, "SlotLayout.PEEKED_SINCE");
_Static_assert(__builtin_offsetof(struct peeked, bytes) == 64, "SlotLayout.PEEKED_DATA");
_Static_assert(sizeof(struct peeked) == PEEKED_BYTES, "SlotLayout.PEEKED_BYTES");
_Static_assert(PEEKED + PEEKED_ENTRIES * PEEKED_BYTES == SLOT_BYTES, "fits");
_Static_assert(CREDITS == RING + RING_BYTES && SLOT_DATA + PIECE_BYTES == RING, "fits");
_Static_assert(CREDITS + MAX_CREDITS * sizeof(struct credit) <= PEEKED, "fits");
_Static_assert(RING_BYTES >= 2 * (AHEAD_BYTES + 2 * sizeof(struct entry)), "some send always fits");

/* The page of a table that is this code's own, but for its first words; zeros at first. */
struct control {
  volatile int32_t held;   /* the hook's: a close is under way that has to be finished first */
  volatile int32_t waits;  /* the hook's: threads that may be waiting in an epoll set */
  volatile int32_t waiter; /* the hook's: the one that may, if it is only one */
  volatile int32_t hook_pid; /* the hook's: this process, as its namespace has it */
  volatile int32_t slots; /* how many are mapped; less than 0 if there will be none */
  volatile int32_t busy[MAX_SLOTS];
  volatile int32_t asking;
  volatile int32_t wanted; /* calls for which there was no slot */
  volatile int32_t turns;  /* what looking for a reply is worth now */
  volatile int32_t pid;    /* this process, as its own namespace has it */
  volatile uint64_t stayed; /* bytes of files of the device that were sent: they did not cross */
  uint64_t unused0;
  volatile int32_t ahead; /* the hook's: what may be done without waiting */
  volatile int32_t asks;  /* the hook's: whether questions go to the device */
  volatile int32_t peeks; /* the hook's: whether the device may look at what may be received next */
  volatile int32_t takes; /* the hook's: whether receives are taken */
  volatile int32_t near;  /* the hook's: what its own slots are for; 0 if they are the device's */
  int32_t unused1;
  volatile int32_t paths; /* the hook's: whether paths are looked at here */
  volatile uint64_t memory; /* the hook's: the file system of what stands for files of the device */
  volatile int32_t learner; /* the hook's: who may learn what a number is; 0: all, -1: nobody */
  volatile int32_t end; /* of no number from here on is anything known, or being found out */
  volatile uint64_t entries; /* the hook's: a page of entries to signal handlers; 0 if there is none */
};

_Static_assert(__builtin_offsetof(struct control, slots) == 16, "ShimLayout.SLOT_COUNT_OFFSET");
_Static_assert(__builtin_offsetof(struct control, ahead) == 120, "ShimLayout.AHEAD_OFFSET");
_Static_assert(__builtin_offsetof(struct control, asks) == 124, "ShimLayout.ASKS_OFFSET");
_Static_assert(__builtin_offsetof(struct control, peeks) == 128, "ShimLayout.PEEKS_OFFSET");
_Static_assert(__builtin_offsetof(struct control, takes) == 132, "ShimLayout.TAKES_OFFSET");
_Static_assert(__builtin_offsetof(struct control, near) == 136, "ShimLayout.NEAR_OFFSET");
_Static_assert(__builtin_offsetof(struct control, paths) == 144, "ShimLayout.PATHS_OFFSET");
_Static_assert(__builtin_offsetof(struct control, memory) == 152, "ShimLayout.MEMORY_OFFSET");
_Static_assert(__builtin_offsetof(struct control, learner) == 160, "ShimLayout.LEARNER_OFFSET");
_Static_assert(__builtin_offsetof(struct control, end) == 164, "ShimLayout.END_OFFSET");
_Static_assert(__builtin_offsetof(struct control, entries) == 168, "ShimLayout.ENTRIES_OFFSET");
_Static_assert(CONTROL_OFFSET + sizeof(struct control) <= AT_ONCE_OFFSET, "fits");
_Static_assert(AT_ONCE_OFFSET + AT_ONCE_NUMBERS * 8 <= NAMES_OFFSET, "fits");
_Static_assert(__builtin_offsetof(struct control, stayed) == 104, "ShimLayout.STAYED_OFFSET");

/* What the kernel has just read for this thread is older than what this thread reads next. */
static inline void after_call(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }

#define CONTROL ((struct control *)(TABLE + CONTROL_OFFSET))
#define HANDLES ((volatile uint64_t *)(TABLE + HANDLES_OFFSET))
#define STATES ((volatile uint8_t *)TABLE)
#define WORDS ((volatile uint32_t *)TABLE)
#define HOST_CALLS ((volatile uint64_t *)(TABLE + COUNTERS_OFFSET))
#define DEVICE_CALLS ((volatile uint64_t *)(TABLE + DEVICE_COUNTERS_OFFSET))
#define DEVICE_MOVED ((volatile uint64_t *)(TABLE + DEVICE_BYTES_OFFSET))
#define AT_ONCE ((volatile uint64_t *)(TABLE + AT_ONCE_OFFSET))

/* Of one slot, hence of one thread at a time, and on cache lines of its own. */
struct spins {
  volatile uint64_t won, lost;
};

#define SPINS ((struct spins *)(TABLE + SPINS_OFFSET))

/* Where a slot's looks for the replies to a call are counted; 0 for those of pselect6, which are not. */
static inline struct spins *spins_of(int index, int number) {
  return number < SPIN_NUMBERS ? &SPINS[index * SPIN_NUMBERS + number] : 0;
}

_Static_assert(SPINS_OFFSET + MAX_SLOTS * SPIN_NUMBERS * sizeof(struct spins) <= SETS_OFFSET, "fits");

/* In shim.S: the same from the page whose calls trap. */
extern int64_t trapping_call(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d);

/* --- children made meanwhile -------------------------------------------------------------------- */

/*
 * A handler that interrupts this thread may call fork(2). Its child comes back here as well, but has
 * neither the parent's slots nor its table (MADV_DONTFORK), though maybe one of its own by then. So
 * whoever has made a system call or waits looks whether this is still the process that it was, and if
 * not gives the call up, which the child then makes by a trap. A handler can still come between such a
 * look and what follows it, a few instructions; nothing here can tell a memory that may be gone.
 */
#define SELF_WORDS ((const volatile int32_t *)SELF)

/* What is_child_of is to be told later. Not by getpid: that is a call. */
static inline int32_t this_process(void) { return SELF_WORDS[SELF_PROCESS]; }

/* Whether this is a child by now of the process that `this_process` named. */
static inline int is_child_of(int32_t process) {
  return ACQUIRE(SELF_WORDS[0]) != ATTACHED || SELF_WORDS[SELF_PROCESS] != process;
}

/* Numbers that may lie at any address. */
typedef int32_t __attribute__((aligned(1), may_alias)) any_int;
typedef int64_t __attribute__((aligned(1), may_alias)) any_long;

/* --- memory of the program's --------------------------------------------------------------------- */

enum { NO_SUCH_HOW = -1, MASK_BYTES = 8 };

/*
 * Whether memory can be read. The kernel reads a signal mask before it finds that nothing can be done
 * with it in that way (kernel/signal.c): an eighth of what process_vm_readv costs. Not in a child that
 * was made meanwhile: what is read would go to a slot.
 */
static int can_read(uint64_t from, uint64_t bytes) {
  int32_t process = this_process();
  if (bytes >= -from) return 0;
  for (uint64_t at = from & -MASK_BYTES; at < from + bytes; at = (at & -PAGE) + PAGE)
    if (system_call(SYS_rt_sigprocmask, NO_SUCH_HOW, at, 0, MASK_BYTES, 0, 0) != -EINVAL) return 0;
  return !is_child_of(process);
}

/* FUTEX_OP_ADD of 0, and then a comparison by which nobody is woken unless -2048 was there. */
enum { ADD_NOTHING = 1 << 28 | 0x800 };

/* The same of more than one page; what a page is only the kernel knows, which refuses parts of one. */
static inline int can_populate(uint64_t from, uint64_t to) {
  for (uint64_t page = PAGE;; page *= 4) {
    uint64_t start = from & -page;
    int64_t r = system_call(SYS_madvise, start, to - start, MADV_POPULATE_WRITE, 0, 0, 0);
    if (r != -EINVAL || page == MOST_PAGE) return r == 0;
  }
}

/*
 * Whether memory can be written to, which changes nothing of it: one page by adding 0 to an int in it
 * (futex(2)), as nobody waits for the first word of the page of control. Not in a child, as above.
 */
static int can_write(uint64_t from, uint64_t bytes) {
  uint64_t page = from & -PAGE;
  int32_t process = this_process();
  if (bytes == 0) return 1;
  if (bytes >= -from) return 0;
  int can = from + bytes > page + PAGE
                ? can_populate(from, from + bytes)
                : system_call(SYS_futex, (int64_t)CONTROL, FUTEX_WAKE_OP_PRIVATE, 0, 0, from & -4,
                              ADD_NOTHING) >= 0;
  return can && !is_child_of(process);
}

/* Reads memory that may not be there. */
static int fetch(void *to, int64_t from, uint64_t bytes) {
  if (!can_read(from, bytes)) return 0;
  copy(to, (const void *)from, bytes);
  return 1;
}

/*
 * Whether a part of the program's memory is where its registers were saved a moment ago: what a caller
 * means is most often on its stack, not far from there, and needs no system call to find out that it
 * can be read and written.
 */
static int is_near(const struct call *c, int64_t address, uint64_t bytes) {
  uint64_t from = (uint64_t)c & -PAGE, to = ((uint64_t)(c + 1) + PAGE - 1) & -PAGE;
  uint64_t offset = (uint64_t)address - from;
  return offset < to - from && bytes <= to - from - offset;
}

/* Reads what a caller means. */
static int look_up(const struct call *c, void *to, int64_t from, uint64_t bytes) {
  if (!is_near(c, from, bytes)) return fetch(to, from, bytes);
  copy(to, (const void *)from, bytes);
  return 1;
}

/* Whether what a caller means can be read and written. */
static int at_hand(const struct call *c, int64_t address, uint64_t bytes) {
  return is_near(c, address, bytes) || can_write(address, bytes);
}

/* Answers a caller; all of it or nothing. */
static int answer(const struct call *c, int64_t to, const void *from, uint64_t bytes) {
  if (!at_hand(c, to, bytes)) return 0;
  copy((void *)to, from, bytes);
  return 1;
}

/*
 * What was moved counts. Why the rest of it was not is for the next call to say, if the connection has
 * failed: the trap that found that has taken it off the socket (tcp_sendmsg(), sk_stream_error()).
 */
static void put_off(int fd, int64_t result) {
  if (result > -ENETDOWN || result < -EHOSTUNREACH) return;
  int64_t r;
  // A signal that comes before the hook has the request ends it.
  do r = trapping_call(SYS_close, ASK_PUT_OFF, fd, -result, 0);
  while (r == -EINTR);
}

/* --- slots -------------------------------------------------------------------------------------- */

static inline struct slot *slot(int index) {
  return (struct slot *)(SLOTS + (uint64_t)index * SLOT_STRIDE);
}

static inline char *data(struct slot *s) { return (char *)s + SLOT_DATA; }

/*
 * Asks the hook for one more slot, after as many calls more that found none; whether there is one
 * now.
 */
static int another_slot(void) {
  struct control *c = CONTROL;
  int32_t process = this_process();
  if (c->slots < 0 || c->slots >= MAX_SLOTS || ++c->wanted < PATIENCE ||
      __sync_lock_test_and_set(&c->asking, 1))
    return 0;
  int got = 0;
  c->wanted = 0;
  c->pid = system_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
  int64_t fd = c->slots < MAX_SLOTS ? trapping_call(SYS_close, ASK_SLOT, 0, 0, 0) : -EAGAIN;
  int64_t r = fd;
  if (is_child_of(process)) return 0; // The descriptor, if there is one, is the parent's alone.
  if (fd >= 0) {
    int64_t address = SLOTS + (int64_t)c->slots * SLOT_STRIDE;
    int mapped = system_call(SYS_mmap, address, SLOT_BYTES, PROT_READ_WRITE,
                             MAP_SHARED_FIXED_NOREPLACE, fd, 0) == address;
    /* No child may have it: one with fewer rights could change what its parent sends. */
    got = mapped && system_call(SYS_madvise, address, SLOT_BYTES, MADV_DONTFORK, 0, 0, 0) == 0;
    system_call(SYS_close, fd, 0, 0, 0, 0, 0);
    /* A child that another thread made meanwhile has it all the same: then it is taken back. */
    r = trapping_call(SYS_close, ASK_KEEP, got, 0, 0);
    got = got && r == 0;
    if (is_child_of(process)) {
      if (mapped) system_call(SYS_munmap, address, SLOT_BYTES, 0, 0, 0, 0);
      return 0;
    }
    if (got)
      __atomic_store_n(&c->slots, c->slots + 1, __ATOMIC_RELEASE);
    else if (mapped) /* or else something of the program's is there */
      system_call(SYS_munmap, address, SLOT_BYTES, 0, 0, 0, 0);
  }
  if (!got && r != -EINTR && r != -EAGAIN && c->slots == 0) c->slots = -1;
  if (r == -ENOMEM) c->wanted = INT32_MIN; /* it will not be otherwise later */
  __sync_lock_release(&c->asking);
  return got;
}

/* One that is free; of several each processor prefers another. */
static int take_slot(int where) {
  struct control *c = CONTROL;
  for (int again = 0; again < 2; again++) {
    int count = __atomic_load_n(&c->slots, __ATOMIC_ACQUIRE);
    int first = where > 0 && count > 0 ? where % count : 0;
    for (int n = 0; n < count; n++) {
      int i = first + n < count ? first + n : first + n - count;
      if (!c->busy[i] && !__sync_lock_test_and_set(&c->busy[i], 1)) return i;
    }
    if (!another_slot()) return -1;
  }
  return -1;
}

static inline void give_slot(int index) { __sync_lock_release(&CONTROL->busy[index]); }

/* What `make` is told: to notice all handlers. */
enum { BY_ANY = -1 };

/*
 * Makes the call that is in a slot. 0 if the device is gone; then the call may or may not have been
 * made, and the trap that follows says that it is gone. Also 0 in a child that was made meanwhile.
 *
 * *interrupted is set to 1 if a handler ran meanwhile that was installed without SA_RESTART: the kernel
 * restarts this wait, which has no time limit, after any other. If it was BY_ANY, the wait has a limit,
 * and ends after any handler (signal(7)).
 */
static int make(struct slot *s, uint32_t number, uint64_t handle, struct spins *spins,
                int *interrupted) {
  struct control *c = CONTROL;
  int32_t process = this_process();
  if (s->reply >> 31) return 0;
  uint32_t last = s->request & INT32_MAX; // `wake` changes its sign
  uint32_t wanted = last == INT32_MAX ? 1 : last + 1;
  s->number = number;
  s->birth = handle >> 32;
  s->args[0] = (uint32_t)handle & HANDLE_NUMBER;
  // Publishes all of the above, and is ordered before the look at the flag: SlotLayout has the why.
  __atomic_store_n(&s->request, wanted, __ATOMIC_SEQ_CST);
  int turns = c->turns;
  if (__atomic_load_n(&s->device_sleeps, __ATOMIC_SEQ_CST))
    system_call(SYS_futex, (int64_t)&s->request, FUTEX_WAKE, 1, 0, 0, 0);
  else if (turns < AWAKE_TURNS && !c->near) // what the hook sends over its link takes longer
    turns = AWAKE_TURNS;
  if (is_child_of(process)) return 0;
  // On one processor the device cannot answer while this thread looks.
  if (s->together) turns = 0;
  for (int i = 0; i < turns; i++) {
    if (is_child_of(process)) return 0;
    if (__atomic_load_n(&s->reply, __ATOMIC_ACQUIRE) == wanted) {
      c->turns = turns < MOST_TURNS / 2 ? 2 * turns : MOST_TURNS;
      if (spins) spins->won++;
      return 1;
    }
    pause_turn();
  }
  if (turns) {
    c->turns = turns > 2 * LEAST_TURNS ? turns / 2 : LEAST_TURNS;
    if (spins) spins->lost++;
  }
  __atomic_store_n(&s->host_sleeps, 1, __ATOMIC_SEQ_CST);
  const int64_t limit[2] = {1, 0};
  uint32_t now;
  while ((now = __atomic_load_n(&s->reply, __ATOMIC_SEQ_CST)) != wanted && !(now >> 31)) {
    if (system_call(SYS_futex, (int64_t)&s->reply, FUTEX_WAIT, now,
                    *interrupted ? (int64_t)limit : 0, 0, 0) == -EINTR)
      *interrupted = 1;
    if (is_child_of(process)) return 0;
  }
  s->host_sleeps = 0;
  return now == wanted;
}

/* --- transfers ---------------------------------------------------------------------------------- */

/* What a transfer is about: at most MAX_VECTORS pieces of the program's memory. */
struct transfer {
  const struct call *call;
  struct iovec pieces[MAX_VECTORS];
  int count;
  uint64_t bytes;
};

static int vectors(struct transfer *t, int64_t from, int64_t count) {
  if (count < 1 || count > MAX_VECTORS) return 0;
  if (!look_up(t->call, t->pieces, from, count * sizeof *t->pieces)) return 0;
  t->count = count;
  t->bytes = 0;
  for (int i = 0; i < count; i++) {
    if (t->pieces[i].bytes > PIECE_BYTES) return 0;
    t->bytes += t->pieces[i].bytes;
  }
  return 1;
}

static int one(struct transfer *t, int64_t base, int64_t bytes) {
  t->pieces[0].base = (char *)base;
  t->pieces[0].bytes = bytes;
  t->count = 1;
  t->bytes = bytes;
  return bytes > 0;
}

/* Whether the memory can be written to; what cannot is the hook's business. */
static int writable(const struct transfer *t, uint64_t bytes) {
  for (int i = 0; i < t->count && bytes; i++) {
    uint64_t n = t->pieces[i].bytes < bytes ? t->pieces[i].bytes : bytes;
    if (!at_hand(t->call, (int64_t)t->pieces[i].base, n)) return 0;
    bytes -= n;
  }
  return 1;
}

/* What the trap finds out again, and then does what goes with it; of device.LentCalls. */
enum { TRAP = -512 };

/* --- sends and options that nobody waits for ----------------------------------------------------- */

static inline struct credit *credit_of(struct slot *s, uint64_t handle) {
  return (struct credit *)((char *)s + CREDITS) + (handle & (MAX_CREDITS - 1));
}

/* A handle with its birth, without what the table says beside it. */
static inline uint64_t named(uint64_t handle) {
  return handle & ~(uint64_t)(uint32_t)~HANDLE_NUMBER;
}

/* After so many credits in a row that were of no use, receives ask for none until something is sent. */
enum { SPARED = 8 };

/* Whether a call's reply shall bring a credit: what sends a little now and then will again. */
static uint32_t wants_credit(struct slot *s, uint64_t handle, int sends, uint64_t bytes) {
  if (!CONTROL->ahead || !(handle & HANDLE_STREAM) || (sends && bytes > AHEAD_BYTES)) return 0;
  struct credit *c = credit_of(s, handle);
  if (sends) {
    if (c->handle != named(handle)) c->left = 0;
    c->handle = named(handle);
    c->spared = 0;
    return WANTS_CREDIT;
  }
  return c->handle == named(handle) && c->spared < SPARED ? WANTS_CREDIT : 0;
}

static void keep_credit(struct slot *s, uint64_t handle, uint32_t bytes, int64_t since,
                        uint32_t generation) {
  struct credit *c = credit_of(s, handle);
  c->left = bytes < CREDIT_BYTES ? bytes : CREDIT_BYTES;
  c->since = since;
  c->generation = generation;
  c->spared++;
}

/* Keeps what a reply has brought. */
static void take_credit(struct slot *s, uint64_t handle) {
  if (s->flags & WANTS_CREDIT)
    keep_credit(s, handle, s->credit, s->credit_since, s->credit_generation);
}

/* Wakes the slot's thread if it sleeps, which then reads the ring. */
static void wake(struct slot *s) {
  if (!__atomic_load_n(&s->device_sleeps, __ATOMIC_SEQ_CST)) return;
  // One wake is enough until it sleeps anew; and what changes the word without a new call ends a
  // wait that is about to begin.
  __atomic_store_n(&s->device_sleeps, 0, __ATOMIC_SEQ_CST);
  __atomic_store_n(&s->request, s->request ^ (uint32_t)INT32_MIN, __ATOMIC_SEQ_CST);
  system_call(SYS_futex, (int64_t)&s->request, FUTEX_WAKE, 1, 0, 0, 0);
}

/* What an entry takes of a credit: an option has no bytes that the kernel would keep. */
static inline uint64_t cost(int flags, uint64_t bytes) {
  return flags & SETS_OPTION ? 0 : bytes + AHEAD_COST;
}

/* Room for a send, or an option, in the ring, whose thread owns the slot; 0 if there is none, or no credit. */
static struct entry *room(struct slot *s, uint64_t handle, uint64_t bytes, int flags,
                          uint64_t *appended) {
  struct credit *c = credit_of(s, handle);
  int sets = flags & SETS_OPTION;
  if (!(CONTROL->ahead & (sets ? OPTIONS_AHEAD : SENDS_AHEAD)) || bytes > AHEAD_BYTES ||
      (!sets && (flags & MSG_PEEK)) || c->handle != named(handle) || !c->left || c->left < cost(flags, bytes) ||
      c->generation != s->generation || s->reply >> 31)
    return 0;
  uint64_t need = sizeof(struct entry) + ((bytes + sizeof(struct entry) - 1) & -sizeof(struct entry));
  uint64_t from = s->appended, used = from - __atomic_load_n(&s->drained, __ATOMIC_ACQUIRE);
  uint64_t offset = from % RING_BYTES;
  uint64_t skip = offset + need > RING_BYTES ? RING_BYTES - offset : 0;
  if (used > RING_BYTES || skip + need > RING_BYTES - used) return 0;
  int64_t now[2];
  int32_t process = this_process();
  if (system_call(SYS_clock_gettime, CLOCK_MONOTONIC, (int64_t)now, 0, 0, 0, 0) != 0 ||
      is_child_of(process) ||
      (uint64_t)(now[0] * 1000000000 + now[1] - c->since) > CREDIT_NANOS)
    return 0;
  char *ring = (char *)s + RING;
  if (skip) ((struct entry *)(ring + offset))->handle = SKIP;
  struct entry *e = (struct entry *)(ring + (skip ? 0 : offset));
  e->handle = (uint32_t)handle & HANDLE_NUMBER;
  e->birth = handle >> 32;
  e->flags = flags;
  e->length = bytes;
  *appended = from + skip + need;
  return e;
}

/*
 * Makes known what stands behind an entry that `room` gave: it is on its way when this returns, but
 * for what nobody can find out before the next call, which `now` is not. SlotLayout has the order.
 */
static int64_t append(struct slot *s, const struct call *call, uint64_t handle,
                      const struct entry *e, uint64_t appended, int now) {
  int32_t process = this_process();
  struct credit *c = credit_of(s, handle);
  uint32_t bytes = e->length, taken = cost(e->flags, bytes);
  c->left -= taken;
  if (taken) c->spared = 0;
  __atomic_store_n(&s->appended, appended, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&s->generation, __ATOMIC_SEQ_CST) == c->generation) {
    if (now) wake(s);
  } else {
    // It was withdrawn meanwhile, and a drain that should have found this may not have. Any call
    // drains, also one that does nothing.
    int interrupted = 0;
    s->flags = 0;
    make(s, DEVICE_nothing, handle, 0, &interrupted);
  }
  if (is_child_of(process)) return bytes; // What went went once.
  AT_ONCE[call->number]++;
  s->result = bytes; // for device_call, which counts it
  return bytes;
}

/* Reads all that is to be sent. */
static int gather(char *to, const struct transfer *t) {
  for (int i = 0; i < t->count; i++) {
    if (!look_up(t->call, to, (int64_t)t->pieces[i].base, t->pieces[i].bytes)) return 0;
    to += t->pieces[i].bytes;
  }
  return 1;
}

/* Puts what was received where the program wants it; the memory can be written to. */
static void hand_out(const struct transfer *t, const char *from, int64_t left) {
  for (int i = 0; i < t->count && left > 0; i++) {
    int64_t n = (int64_t)t->pieces[i].bytes < left ? (int64_t)t->pieces[i].bytes : left;
    copy(t->pieces[i].base, from, n);
    from += n;
    left -= n;
  }
}

/* --- receives of what the device has looked at --------------------------------------------------- */

/* Counts what was taken, so that the device looks for it before any other call. */
static void count_taking(struct slot *s) {
  __atomic_store_n(&s->takings, s->takings + 1, __ATOMIC_SEQ_CST);
}

/* Takes what is there for a handle; how much, or 0 if there is nothing. */
static int64_t take_peeked(struct slot *s, const struct transfer *t, uint64_t handle) {
  struct peeked *p = (struct peeked *)((char *)s + PEEKED) + (handle & (PEEKED_ENTRIES - 1));
  uint32_t state = __atomic_load_n(&p->state, __ATOMIC_ACQUIRE);
  uint32_t bytes = *(volatile uint32_t *)&p->length; // once: it is checked, and then used
  if ((state & PEEKED_STATES) != PEEKED_FRESH || p->handle != ((uint32_t)handle & HANDLE_NUMBER) ||
      p->birth != handle >> 32 || bytes > sizeof p->bytes || s->reply >> 31)
    return 0;
  if (bytes > t->bytes) bytes = t->bytes;
  if (!writable(t, bytes)) return 0;
  // Before it is taken: from then on the device may put something else there.
  hand_out(t, p->bytes, bytes);
  uint32_t credit = p->credit, generation = p->generation;
  int64_t since = p->since;
  p->take = bytes;
  if (!__atomic_compare_exchange_n(&p->state, &state, state - PEEKED_FRESH + PEEKED_TAKEN, 0,
                                   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
    return 0;
  count_taking(s);
  if (credit && wants_credit(s, handle, 0, 0)) keep_credit(s, handle, credit, since, generation);
  AT_ONCE[t->call->number]++;
  return bytes;
}

/*
 * Puts what a reply has brought where the program wants it. It stays in the socket until it is taken,
 * and a process that is ended here has received nothing. 0 if somebody else may have it by now.
 */
static int take_reply(struct slot *s, const struct transfer *t, int64_t bytes) {
  uint32_t offer = __atomic_load_n(&s->offer, __ATOMIC_ACQUIRE), mine = s->request & INT32_MAX;
  if (offer && offer != mine) return 0;
  hand_out(t, data(s), bytes);
  if (!offer) return 1;
  if (!__atomic_compare_exchange_n(&s->offer, &offer, offer | OFFER_TAKEN, 0, __ATOMIC_SEQ_CST,
                                   __ATOMIC_SEQ_CST))
    return 0;
  count_taking(s);
  return 1;
}

static int64_t receive(struct slot *s, const struct transfer *t, int flags, uint64_t handle,
                       struct spins *spins, int *done) {
  uint64_t bytes = t->bytes < PIECE_BYTES ? t->bytes : PIECE_BYTES;
  int peeks = CONTROL->peeks && (handle & HANDLE_STREAM) && !(flags & MSG_PEEK);
  if (peeks && (s->result = take_peeked(s, t, handle)) > 0) {
    *done = 1;
    return s->result; // device_call counts it
  }
  if (!writable(t, bytes)) return 0;
  s->args[1] = 0;
  s->args[2] = bytes;
  s->args[3] = flags;
  s->flags = wants_credit(s, handle, 0, 0) | (peeks ? WANTS_PEEKS : 0) |
             (CONTROL->takes ? WANTS_TAKING : 0);
  int interrupted = 0;
  if (!make(s, DEVICE_recvfrom, handle, spins, &interrupted)) return 0;
  int64_t r = s->result;
  take_credit(s, handle);
  if (r == TRAP && interrupted) r = -EINTR;
  if (r == TRAP || r == -ENETDOWN || r > (int64_t)bytes) return 0;
  *done = take_reply(s, t, r);
  return r;
}

/*
 * Whether a number still is the socket that it was. What is made by a trap goes by its number, and what
 * was sent in part may not go on elsewhere: a count that is too small is what can be said of that. Who
 * closes between this and the trap still has it go there.
 */
static int is_still(int fd, uint64_t handle) {
  return named(ACQUIRE(HANDLES[fd])) == named(handle) && ACQUIRE(STATES[fd * 4]) == STATE_DEVICE;
}

static int64_t transmit(struct slot *s, struct transfer *t, int flags, uint64_t handle, int fd,
                        struct spins *spins, int *done) {
  if (t->bytes > PIECE_BYTES) return 0;
  uint64_t appended;
  struct entry *e = room(s, handle, t->bytes, flags, &appended);
  if (!gather(e ? (char *)(e + 1) : data(s), t)) return 0;
  if (e) {
    *done = 1;
    return append(s, t->call, handle, e, appended, 1);
  }
  s->args[1] = 0;
  s->args[2] = t->bytes;
  s->args[3] = flags;
  s->flags = wants_credit(s, handle, 1, t->bytes);
  int interrupted = 0;
  if (!make(s, DEVICE_sendto, handle, spins, &interrupted)) return 0;
  int64_t r = s->result;
  take_credit(s, handle);
  if (r == TRAP || r == -EPIPE || r == -ENETDOWN || r > (int64_t)t->bytes) return 0;
  *done = 1;
  // A stream's buffer is full. The rest waits, or finds that it may not, in the hook; natively an
  // error would not show now, nor raise a signal.
  int64_t skip = r;
  for (int i = 0; r >= 0 && i < t->count; i++) {
    int64_t left = (int64_t)t->pieces[i].bytes - skip;
    skip = left < 0 ? -left : 0;
    if (left <= 0) continue;
    if (!is_still(fd, handle)) break;
    char *from = t->pieces[i].base + t->pieces[i].bytes - left;
    int64_t more = trapping_call(SYS_sendto, fd, (int64_t)from, left, flags | MSG_NOSIGNAL);
    if (more > 0) r += more;
    if (more < left) {
      put_off(fd, more);
      break;
    }
  }
  return r;
}

/* --- looks at what is ready --------------------------------------------------------------------- */

enum { POLLIN = 1, POLLPRI = 2, POLLOUT = 4, POLLERR = 8, POLLHUP = 16, POLLRDNORM = 64,
       POLLRDBAND = 128, POLLWRNORM = 256, POLLWRBAND = 512 };

/* What select(2) asks for and takes for an answer: fs/select.c. */
enum {
  READ_SET = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR,
  WRITE_SET = POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR, EXCEPT_SET = POLLPRI,
};

enum { MAX_POLLED = 32, SET_LIMIT = 256, NANOS = 1000000000, SET_WORDS = SET_LIMIT / 64, SETS = 3 };

/* In the slot's data, one for each; device.LentCalls reads it. */
struct polled {
  int32_t handle;
  int16_t events, revents;
  uint32_t birth;
};

struct pollfd {
  int32_t fd;
  int16_t events, revents;
};

/* What is to be looked at. */
struct look {
  int count;
  struct spins *spins;
  uint64_t handles[MAX_POLLED];
  int16_t events[MAX_POLLED];
  int fds[MAX_POLLED];
};

/* Adds a descriptor; 0 if it is not one that the device can be asked of. */
static int look_at(struct look *l, int fd, int events) {
  if (l->count == MAX_POLLED || (uint32_t)fd >= MAX_FD) return 0;
  // In this order, as everywhere: a handle that is another file's by now is refused.
  uint64_t handle = ACQUIRE(HANDLES[fd]);
  if (ACQUIRE(STATES[fd * 4]) != STATE_DEVICE) return 0;
  l->handles[l->count] = handle;
  l->events[l->count] = events;
  l->fds[l->count++] = fd;
  return 1;
}

/*
 * Asks the device what is ready now, into its slot's data. How many are; or less than 0 if the call
 * is to trap, as one that has to wait does.
 */
static int look(struct slot *s, const struct look *l, int waits) {
  struct polled *p = (struct polled *)data(s);
  for (int i = 0; i < l->count; i++) {
    p[i].handle = (uint32_t)l->handles[i] & HANDLE_NUMBER;
    p[i].events = l->events[i];
    p[i].revents = 0;
    p[i].birth = l->handles[i] >> 32;
  }
  s->args[2] = l->count;
  s->args[3] = 0;
  s->args[4] = 0;
  s->flags = 0;
  int interrupted = 0;
  if (!make(s, DEVICE_ppoll, l->handles[0], l->spins, &interrupted)) return -1;
  int64_t r = s->result;
  return r > 0 || (r == 0 && !waits) ? (int)r : -1;
}

static int64_t poll_now(struct slot *s, const struct call *c, struct look *l, int *done) {
  struct pollfd fds[MAX_POLLED];
  uint64_t n = c->rsi;
  if (n == 0 || n > MAX_POLLED || !look_up(c, fds, c->rdi, n * sizeof *fds)) return 0;
  for (uint64_t i = 0; i < n; i++)
    if (!look_at(l, fds[i].fd, fds[i].events)) return 0;
  int waits = POLL_WAITS(c), r = waits < 0 ? -1 : look(s, l, waits);
  if (r < 0) return 0;
  const struct polled *p = (const struct polled *)data(s);
  for (uint64_t i = 0; i < n; i++) fds[i].revents = p[i].revents;
  *done = answer(c, c->rdi, fds, n * sizeof *fds);
  return r;
}

static int64_t select_now(struct slot *s, const struct call *c, struct look *l, int *done) {
  uint64_t sets[SETS][SET_WORDS];
  int64_t timeout[2] = {1, 0}, mask[2] = {0, 0};
  int64_t addresses[] = {c->rsi, c->rdx, c->r10};
  int16_t asks[] = {READ_SET, WRITE_SET, EXCEPT_SET};
  int n = (int)c->rdi, given = 0, words = (n + 63) / 64;
  if (n < 1 || n > SET_LIMIT) return 0;
  uint64_t bytes = words * sizeof(uint64_t);
  for (int k = 0; k < SETS; k++) {
    for (int w = 0; w < words; w++) sets[k][w] = 0;
    if (addresses[k] && !look_up(c, sets[k], addresses[k], bytes)) return 0;
    given |= addresses[k] != 0;
  }
  // A mask of signals is for the time of the wait: the kernel's business. So are wrong times.
  if (!given || (c->r8 && !look_up(c, timeout, c->r8, sizeof timeout)) ||
      (c->r9 && !look_up(c, mask, c->r9, sizeof mask)) || mask[0] || timeout[0] < 0 ||
      timeout[1] < 0 || timeout[1] >= NANOS)
    return 0;
  for (int w = 0; w < words; w++) {
    uint64_t any = sets[0][w] | sets[1][w] | sets[2][w];
    if (w == words - 1 && n % 64) any &= (1ull << n % 64) - 1;
    for (; any; any &= any - 1) {
      int bit = __builtin_ctzll(any), events = 0;
      for (int k = 0; k < SETS; k++)
        if (sets[k][w] >> bit & 1) events |= asks[k];
      if (!look_at(l, w * 64 + bit, events)) return 0;
    }
  }
  if (!l->count || look(s, l, timeout[0] || timeout[1]) < 0) return 0;
  const struct polled *p = (const struct polled *)data(s);
  uint64_t found[SETS][SET_WORDS];
  int64_t ready = 0;
  for (int k = 0; k < SETS; k++)
    for (int w = 0; w < words; w++) found[k][w] = 0;
  for (int i = 0; i < l->count; i++) {
    int fd = l->fds[i], revents = p[i].revents;
    for (int k = 0; k < SETS; k++) {
      if (!(sets[k][fd / 64] >> fd % 64 & 1) || !(revents & asks[k])) continue;
      found[k][fd / 64] |= 1ull << fd % 64;
      ready++;
    }
  }
  // What is ready otherwise than any set asks, as by an error beside EXCEPT_SET alone, has to wait.
  if (!ready && (timeout[0] || timeout[1])) return 0;
  for (int k = 0; k < SETS; k++)
    if (addresses[k] && !at_hand(c, addresses[k], bytes)) return 0;
  for (int k = 0; k < SETS; k++)
    if (addresses[k]) copy((void *)addresses[k], found[k], bytes);
  *done = 1;
  return ready;
}

/*
 * poll and select of sockets of the device alone, of which one is ready, or that do not wait: what
 * the hook would find out, too. Nobody waits then, so what others are shown does not matter.
 */
static int64_t poll_call(const struct call *c, int *done) {
  if (ACQUIRE(CONTROL->held) || CONTROL->slots < 0 || CONTROL->near) return 0;
  int32_t process = this_process();
  int where = processor();
  int index = take_slot(where);
  if (index < 0) return 0;
  struct slot *s = slot(index);
  s->where = where + 1;
  s->caller = c->number;
  struct look l;
  l.count = 0;
  l.spins = spins_of(index, c->number);
  int64_t r = c->number == SYS_poll_list ? poll_now(s, c, &l, done) : select_now(s, c, &l, done);
  if (is_child_of(process)) return r;
  give_slot(index);
  if (*done) DEVICE_CALLS[c->number]++;
  return r;
}

/* --- files of the host -------------------------------------------------------------------------- */

/* This process, for calls that look at its memory before there is any slot. */
static void know_pid(void) {
  struct control *c = CONTROL;
  if (!c->pid) c->pid = system_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

/* Whether a thread that the hook has named is this one. */
static int is_thread(int32_t tid) {
  struct control *c = CONTROL;
  int32_t process = this_process();
  know_pid();
  return c->pid == c->hook_pid && tid == system_call(SYS_gettid, 0, 0, 0, 0, 0, 0) &&
         !is_child_of(process);
}

enum { S_IFMT = 0170000, S_IFREG = 0100000, S_IFSOCK = 0140000 };

/* A low byte of a descriptor's word that says nothing, and no close that is going on. */
enum { UNKNOWN = 0, WORD_OF_CLOSE = 0xffff };

/*
 * Looks at a file of which nothing is known. What stands for one of the device is a socket or in
 * memory: all others are the host's, and that is put down, unless the number may have become another
 * file's since. *s is what fstat says. Whether it is the host's.
 *
 * It may be, if somebody closes it by a trap. The hook says first that nobody may learn, but who
 * closes; then it changes the words of all numbers before `end`; then the kernel closes; and when the
 * hook lets learn again, all that is over. So either this finds that it may not learn, or its word has
 * changed. `docs/adr/0057-an-unknown-descriptor-is-looked-at.md` has the argument.
 */
static int look_at_unknown(int fd, struct stat *s) {
  struct control *c = CONTROL;
  uint32_t word = __atomic_load_n(WORDS + fd, __ATOMIC_SEQ_CST);
  int32_t end = ACQUIRE(c->end);
  while (end <= fd && !__atomic_compare_exchange_n(&c->end, &end, fd + 1, 0, __ATOMIC_SEQ_CST,
                                                   __ATOMIC_SEQ_CST)) {
  }
  int32_t learner = __atomic_load_n(&c->learner, __ATOMIC_SEQ_CST), process = this_process();
  if (!c->memory || system_call(SYS_fstat, fd, (int64_t)s, 0, 0, 0, 0) != 0 || is_child_of(process))
    return 0;
  uint32_t type = s->mode & S_IFMT;
  if (type == S_IFSOCK || (type == S_IFREG && s->dev == c->memory)) return 0;
  // Its own closes are over: it is here.
  if ((word & WORD_OF_CLOSE) == 0 && (learner == 0 || (learner > 0 && is_thread(learner))))
    __atomic_compare_exchange_n(WORDS + fd, &word, word | STATE_HOST, 0, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
  return 1;
}

static inline int is_host(int fd) {
  return (uint32_t)fd < MAX_FD && ACQUIRE(STATES[(uint32_t)fd * 4]) == STATE_HOST;
}

/* The same, after a look if nothing is known. */
static int turns_out_host(int fd) {
  if ((uint32_t)fd >= MAX_FD) return 0;
  struct stat s;
  if (ACQUIRE(STATES[(uint32_t)fd * 4]) == UNKNOWN &&
      (CONTROL->learner < 0 || !look_at_unknown(fd, &s)))
    return 0;
  return is_host(fd);
}

/* A call for the host's kernel. */
static int64_t pass(const struct call *c, int *done) {
  *done = PASSED;
  HOST_CALLS[c->number]++;
  return 0;
}

/* Kinds of file systems whose regular files can be sent natively: statfs(2). */
enum {
  EXT_MAGIC = 0xef53, XFS_MAGIC = 0x58465342, TMPFS_MAGIC = 0x01021994, OVERLAYFS_MAGIC = 0x794c7630,
  BTRFS_MAGIC = (int)0x9123683e, F2FS_MAGIC = (int)0xf2f52010,
  STATFS_WORDS = 15,
};

/* Whether sendfile takes it, as it does files whose pages are in the page cache. */
static int is_sendable(int fd) {
  struct stat s;
  uint32_t fs[2 * STATFS_WORDS];
  if (system_call(SYS_fstat, fd, (int64_t)&s, 0, 0, 0, 0) != 0 || (s.mode & S_IFMT) != S_IFREG ||
      system_call(SYS_fstatfs, fd, (int64_t)fs, 0, 0, 0, 0) != 0)
    return 0;
  switch ((int)fs[0]) {
    case EXT_MAGIC: case XFS_MAGIC: case TMPFS_MAGIC: case OVERLAYFS_MAGIC: case BTRFS_MAGIC:
    case F2FS_MAGIC: return 1;
    default: return 0;
  }
}

/* sendfile's offset, in memory that it can be written back to. */
static int offset_of(const struct call *c, int64_t *at) {
  if (!at_hand(c, c->rdx, sizeof *at)) return 0;
  *at = *(const volatile any_long *)c->rdx;
  return 1;
}

/* What is left of a sendfile when a buffer was full: it waits, or finds that it may not, in the hook. */
static int64_t send_rest(const struct call *c, uint64_t handle, int64_t at, int64_t sent,
                         int64_t bytes) {
  *(volatile any_long *)c->rdx = at + sent;
  if (sent == bytes || !is_still((int)c->rdi, handle)) return sent;
  int64_t more = trapping_call(SYS_sendfile, (int)c->rdi, (int)c->rsi, c->rdx, bytes - sent);
  put_off((int)c->rdi, more);
  return more > 0 ? sent + more : sent;
}

/* sendfile from a file of the device, whose bytes stay there. */
static int64_t send_device_file(struct slot *s, const struct call *c, uint64_t handle,
                                uint64_t file, struct spins *spins, int *done) {
  int64_t at;
  if (!offset_of(c, &at)) return 0;
  int64_t bytes = c->r10 < SENDFILE_BYTES ? c->r10 : SENDFILE_BYTES;
  *(int64_t *)data(s) = at;
  s->args[1] = (uint32_t)file & HANDLE_NUMBER;
  s->args[2] = bytes;
  s->args[3] = file >> 32;
  s->flags = 0;
  int interrupted = 0;
  if (!make(s, DEVICE_sendfile, handle, spins, &interrupted)) return 0;
  int64_t r = s->result;
  if (r == TRAP || r == -EPIPE || r == -ENETDOWN || r > bytes) return 0;
  *done = 1;
  if (r <= 0) return r;
  // What the hook has made itself it has seen: whoever gets a short count is told of the room.
  if (CONTROL->near && r < bytes) {
    *(volatile any_long *)c->rdx = at + r;
    return r;
  }
  // Also if the file ended there: then nothing is left, and natively it is asked once more, too.
  return send_rest(c, handle, at, r, c->r10);
}

/* setsockopt of an int that only the device's kernel cares for. */
static int64_t set_option(struct slot *s, const struct call *c, uint64_t handle,
                          struct spins *spins, int *done) {
  int32_t value;
  if (!look_up(c, &value, c->r10, sizeof value)) return 0;
  int option = (int)c->rdx;
  uint64_t appended;
  struct entry *e = room(s, handle, sizeof value, SETS_OPTION | option, &appended);
  if (e) {
    *(int32_t *)(e + 1) = value;
    // What makes segments wait has no effect before there are any; the other way round they go.
    append(s, c, handle, e, appended, option == TCP_CORK ? !value : value);
    *done = 1;
    return s->result = 0;
  }
  *(int32_t *)data(s) = value;
  s->args[1] = (int)c->rsi;
  s->args[2] = option;
  s->flags = wants_credit(s, handle, 0, 0);
  int interrupted = 0;
  if (!make(s, DEVICE_setsockopt, handle, spins, &interrupted)) return 0;
  int64_t r = s->result;
  take_credit(s, handle);
  if (r == TRAP || r == -ENETDOWN || r > 0) return 0;
  *done = 1;
  return r;
}

/*
 * sendfile from a file of the host, by an offset of the caller's. The bytes are read into the slot.
 */
static int64_t send_file(struct slot *s, const struct call *c, uint64_t handle,
                         struct spins *spins, int *done) {
  int64_t at;
  if (!offset_of(c, &at) || !is_sendable((int)c->rsi)) return 0;
  int32_t process = this_process();
  uint64_t appended;
  struct entry *e = room(s, handle, c->r10, 0, &appended);
  if (is_child_of(process)) return 0;
  int64_t bytes = system_call(SYS_pread64, (int)c->rsi, (int64_t)(e ? (char *)(e + 1) : data(s)),
                              c->r10, at, 0, 0);
  if (bytes <= 0 || is_child_of(process)) return 0;
  if (e && bytes == c->r10) {
    *done = 1;
    *(volatile any_long *)c->rdx = at + bytes;
    return append(s, c, handle, e, appended, 1);
  }
  if (e) copy(data(s), e + 1, bytes); // The file is shorter.
  s->args[1] = 0;
  s->args[2] = bytes;
  s->args[3] = 0;
  s->flags = wants_credit(s, handle, 1, bytes);
  int interrupted = 0;
  if (!make(s, DEVICE_sendto, handle, spins, &interrupted)) return 0;
  int64_t r = s->result;
  take_credit(s, handle);
  if (r == TRAP || r == -EPIPE || r == -ENETDOWN || r > bytes) return 0;
  *done = 1;
  if (r < 0) return r; // The socket's error, which it tells once.
  return send_rest(c, handle, at, r, bytes);
}

/* --- epoll sets --------------------------------------------------------------------------------- */

/* A member of a set: a descriptor with what the table said of it, and the socket if it is one of the
 * device; 0 for a file of the host. */
struct member {
  uint64_t handle, data;
  int32_t fd;
  uint32_t events, word, found;
};

/*
 * What a set of the host's kernel is known to have as members. The hook fills it in, from the kernel's
 * own list; from then on this code follows what it lets pass. `state` is 1 more than a multiple of 2
 * while that is right, and every change by anybody else makes it another multiple of 2: who has looked
 * before such a change cannot make it right.
 */
struct set {
  volatile uint64_t state;
  volatile int32_t lock; /* 1 while members are read or changed */
  volatile int32_t fd;
  volatile uint32_t word; /* the table's of it */
  volatile int32_t count;
  int32_t next; /* who comes first at the next look: one of those that were left out at this one */
  uint32_t vain; /* waits in a row in which nothing came */
  uint32_t passed; /* waits since the last one that was the device's */
  uint32_t unused[7];
  struct member members[(SET_BYTES - SET_HEADER) / MEMBER_BYTES];
};

enum { KNOWN = 1, MAX_MEMBERS = (SET_BYTES - SET_HEADER) / MEMBER_BYTES };

_Static_assert(sizeof(struct set) == SET_BYTES, "ShimLayout.SET_BYTES");
_Static_assert(__builtin_offsetof(struct set, members) == SET_HEADER, "ShimLayout.SET_HEADER");
_Static_assert(sizeof(struct member) == MEMBER_BYTES, "ShimLayout.MEMBER_BYTES");
_Static_assert(__builtin_offsetof(struct set, count) == 20, "ShimTable.SET_COUNT");
_Static_assert(__builtin_offsetof(struct member, events) == 20, "ShimTable.MEMBER_EVENTS");
_Static_assert(SETS_OFFSET + MAX_SETS * SET_BYTES <= TABLE_BYTES, "fits");

#define KNOWN_SETS ((struct set *)(TABLE + SETS_OFFSET))

enum { EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL = 2, EPOLL_CTL_MOD = 3 };

/* Level-triggered members alone are known: what the others are told changes them. */
enum { LEVEL_EVENTS = 0xffff };

/* In a slot's data: what the device is asked of stands at their start, and what the host is asked of,
 * and the events, here. */
enum { HOST_POLLED = 0x2000, EVENTS = 0x4000, EVENT_BYTES = sizeof(struct event), MOST_EVENTS = INT32_MAX / (int)EVENT_BYTES };

_Static_assert(MAX_MEMBERS * sizeof(struct polled) <= HOST_POLLED, "fits");
_Static_assert(MAX_MEMBERS * sizeof(struct pollfd) <= EVENTS - HOST_POLLED, "fits");

static struct set *set_of(int fd) {
  if ((uint32_t)fd >= MAX_FD || ACQUIRE(STATES[fd * 4]) != STATE_SET) return 0;
  uint32_t word = ACQUIRE(WORDS[fd]);
  for (int i = 0; i < MAX_SETS; i++) {
    struct set *s = KNOWN_SETS + i;
    if (s->fd == fd && s->word == word) return s;
  }
  return 0;
}

/* From now on its members are not known. */
static void forget_members(struct set *set) {
  uint64_t old = set->state;
  while (!__atomic_compare_exchange_n(&set->state, &old, (old + 2) & ~(uint64_t)KNOWN, 0,
                                      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
  }
}

static inline void unlock(struct set *set) { __sync_lock_release(&set->lock); }

/* Not if somebody else has it, or it has become another set's. */
static int try_lock(struct set *set, int fd) {
  if (__sync_lock_test_and_set(&set->lock, 1)) return 0;
  if (set->fd == fd && set->word == ACQUIRE(WORDS[fd])) return 1;
  unlock(set);
  return 0;
}

/* What was closed and opened again is another file; that more is known of it than before is nothing. */
static inline int is_same(uint32_t word, uint32_t before) { return word >> 8 == before >> 8; }

/* Whether the one thread that may be waiting is this one; it does not, as it runs. */
static int is_waiter(void) { return is_thread(CONTROL->waiter); }

/* Whether no other thread of the process may be waiting for anything natively. */
static int is_alone(void) {
  int waits = ACQUIRE(CONTROL->waits);
  return waits == 0 || (waits == 1 && is_waiter());
}

/* Follows a change that the kernel has made; 0 if what the members are is not known then. */
static int follow(struct set *set, int operation, int fd, const struct event *e, uint32_t before) {
  after_call();
  uint32_t word = ACQUIRE(WORDS[fd]);
  int i = 0;
  while (i < set->count && set->members[i].fd != fd) i++;
  struct member *m = set->members + i;
  if (!is_same(word, before)) return 0;
  if (operation == EPOLL_CTL_ADD) {
    // Files of the host may be sets themselves.
    if (i < set->count || i == MAX_MEMBERS || (word & 0xff) != STATE_DEVICE ||
        (e->events & ~LEVEL_EVENTS))
      return 0;
    m->handle = ACQUIRE(HANDLES[fd]);
    m->fd = fd;
    m->word = word;
    m->events = e->events;
    m->data = e->data;
    set->count = i + 1;
    return ACQUIRE(WORDS[fd]) == word && (m->handle & HANDLE_WATCHED);
  }
  if (i == set->count || !is_same(m->word, word)) return 0;
  if (operation == EPOLL_CTL_MOD) {
    m->events = e->events;
    m->data = e->data;
    return !(e->events & ~LEVEL_EVENTS);
  }
  if (operation != EPOLL_CTL_DEL) return 0;
  *m = set->members[set->count - 1];
  set->count = set->count - 1;
  return 1;
}

/*
 * epoll_ctl changes a set of the host's kernel. The hook need not know of it if the file is the
 * host's; or if the device reports its readiness already, and nobody waits in the set, who would be
 * told of what has been read. But of the first change of each set: somebody else may know its members.
 */
static int64_t control_set(const struct call *c, int *done) {
  int operation = (int)c->rsi, fd = (int)c->rdx;
  uint32_t at = (uint32_t)c->rdi;
  if (at >= MAX_FD || ACQUIRE(STATES[at * 4]) != STATE_SET || (uint32_t)fd >= MAX_FD) return 0;
  int32_t process = this_process();
  uint32_t word = ACQUIRE(WORDS[fd]);
  int state = word & 0xff;
  int passes = state == STATE_HOST || state == STATE_SET ||
               (state == STATE_DEVICE && !ACQUIRE(CONTROL->held) &&
                (operation == EPOLL_CTL_DEL || ((ACQUIRE(HANDLES[fd]) & HANDLE_WATCHED) && is_alone())));
  if (is_child_of(process)) return 0;
  struct set *set = set_of((int)at);
  if (!set) return passes ? pass(c, done) : 0;
  struct event e = {0, 0};
  int locked = try_lock(set, (int)at);
  uint64_t known = ACQUIRE(set->state);
  int follows = locked && (known & KNOWN) &&
                (operation == EPOLL_CTL_DEL || look_up(c, &e, c->r10, sizeof e));
  int64_t r;
  // Here, as what comes of it has to be followed.
  *done = DONE;
  if (passes) {
    HOST_CALLS[c->number]++;
    r = system_call(c->number, c->rdi, c->rsi, c->rdx, c->r10, 0, 0);
  } else {
    // A signal that comes before the hook has the call ends it, and this call never says that.
    do r = trapping_call(SYS_epoll_ctl, c->rdi, c->rsi, c->rdx, c->r10);
    while (r == -EINTR);
  }
  if (is_child_of(process)) return r;
  if (!passes && follows) {
    // The hook has made it unknown, and nobody else has if it was made so once.
    uint64_t by_hook = (known + 2) & ~(uint64_t)KNOWN;
    follows = __atomic_compare_exchange_n(&set->state, &by_hook, by_hook | KNOWN, 0,
                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  }
  // Behind the call: the hook may have read the members before it.
  if (r == 0 && !(follows && follow(set, operation, fd, &e, word))) forget_members(set);
  if (locked) unlock(set);
  return r;
}

/*
 * How long the device waits for its members before the host's kernel does, in ns: what comes soon
 * costs less by this way. A file of the host is not seen meanwhile, and a time limit not kept; and
 * where nothing came, it is tried more and more rarely.
 */
enum {
  WAIT = 1000000, WAIT_BESIDE_HOST = 250000, LEAST_LIMIT_MS = 20, MOST_VAIN = 6,
};

static int64_t patience(struct set *set, int limit, int hosts) {
  if (limit >= 0 && limit < LEAST_LIMIT_MS) return 0;
  if (++set->passed < 1u << (set->vain < MOST_VAIN ? set->vain : MOST_VAIN)) return 0;
  set->passed = 0;
  return hosts ? WAIT_BESIDE_HOST : WAIT;
}

/* Puts down what is ready of the members, in turn. How many that are. */
static int collect(struct slot *s, struct set *set, int most) {
  struct event *e = (struct event *)(data(s) + EVENTS);
  int count = set->count, n = 0, last = -1;
  for (int k = 0; k < count && n < most; k++) {
    int i = set->next + k;
    i = i < count ? i : i - count;
    const struct member *m = set->members + i;
    uint32_t events = m->found & (m->events | POLLERR | POLLHUP);
    if (!events) continue;
    e[n].events = events;
    e[n++].data = m->data;
    last = i;
  }
  set->next = n == most && last + 1 < count ? last + 1 : 0;
  return n;
}

/*
 * What is ready of a set whose members are known; less than 0 if that is not certain. *interrupted is
 * that of `make`.
 */
static int64_t look_at_set(struct slot *s, struct set *set, int most, int limit,
                           struct spins *spins, int *interrupted) {
  struct polled *p = (struct polled *)data(s);
  struct pollfd *h = (struct pollfd *)(data(s) + HOST_POLLED);
  int devices = 0, hosts = 0, count = set->count;
  uint64_t handle = 0;
  if ((uint32_t)count > MAX_MEMBERS) return -1;
  if (set->next >= count) set->next = 0;
  for (int i = 0; i < count; i++) {
    const struct member *m = set->members + i;
    uint32_t word = ACQUIRE(WORDS[m->fd & (MAX_FD - 1)]);
    if (m->handle ? word != m->word : !is_same(word, m->word)) {
      forget_members(set);
      return -1;
    }
    if (m->handle) {
      p[devices].handle = (uint32_t)m->handle & HANDLE_NUMBER;
      p[devices].events = m->events;
      p[devices].revents = 0;
      p[devices++].birth = m->handle >> 32;
      handle = m->handle;
    } else {
      h[hosts].fd = m->fd;
      h[hosts].events = m->events;
      h[hosts++].revents = 0;
    }
  }
  if (!devices) return -1;
  int32_t process = this_process();
  int64_t host_ready = hosts ? poll_at_once((int64_t)h, hosts) : 0;
  int alone = is_alone();
  if (host_ready < 0 || is_child_of(process)) return -1;
  int64_t waits = host_ready ? 0 : patience(set, limit, hosts);
  s->args[2] = devices;
  s->args[3] = alone;
  s->args[4] = waits;
  s->flags = 0;
  if (!make(s, DEVICE_ppoll, handle, spins, interrupted) || s->result < 0) return -1;
  int64_t ready = s->result + host_ready;
  if (ready)
    set->vain = 0;
  else if (waits)
    set->vain++;
  if (!ready) return 0;
  for (int i = 0; i < count; i++) {
    struct member *m = set->members + i;
    m->found = (uint16_t)(m->handle ? (p++)->revents : (h++)->revents);
  }
  return collect(s, set, most < MAX_MEMBERS ? most : MAX_MEMBERS);
}

/*
 * epoll_wait in a set whose members are known, if something is ready or it does not wait: what the
 * hook would find out. What the placeholders show does not matter.
 */
static int64_t wait_in_set(const struct call *c, int *done) {
  int most = (int)c->rdx;
  if (most <= 0 || most > MOST_EVENTS || (c->number == SYS_epoll_pwait && c->r8) ||
      ACQUIRE(CONTROL->held) || CONTROL->slots < 0 || CONTROL->near)
    return 0;
  struct set *set = set_of((int)c->rdi);
  if (!set || !(ACQUIRE(set->state) & KNOWN) || !try_lock(set, (int)c->rdi)) return 0;
  int32_t process = this_process();
  int where = processor(), index = -1, interrupted = BY_ANY, limit = (int)c->r10;
  int64_t r = -1;
  if ((ACQUIRE(set->state) & KNOWN) && (index = take_slot(where)) >= 0) {
    struct slot *s = slot(index);
    s->where = where + 1;
    s->caller = c->number;
    r = look_at_set(s, set, most, limit, spins_of(index, c->number), &interrupted);
    // A handler that ran meanwhile would have ended the wait.
    if (r == 0 && limit && interrupted == 1) r = -EINTR;
    if (r > 0) {
      *done = answer(c, c->rsi, data(s) + EVENTS, r * EVENT_BYTES);
    } else {
      *done = r == -EINTR || (r == 0 && !limit);
    }
  }
  if (is_child_of(process)) return r;
  if (index >= 0) give_slot(index);
  unlock(set);
  if (*done) DEVICE_CALLS[c->number]++;
  return r;
}

/* --- questions about a socket ------------------------------------------------------------------- */

/* Whether an option is one that the hook neither answers nor learns from. */
static int is_asked(int level, int option) {
  uint64_t all = level == SOL_SOCKET    ? ASKED_SOCKET
                 : level == IPPROTO_TCP ? ASKED_TCP
                 : level == SOL_IP      ? ASKED_IP
                 : level == SOL_IPV6    ? ASKED_IPV6
                                        : 0;
  return (uint32_t)option < 64 && (all >> option & 1);
}

/* Asks; the answer is in the slot's data then. The result, or TRAP. */
static int64_t ask(struct slot *s, uint32_t number, int64_t a, int64_t b, int64_t room,
                   uint64_t handle, struct spins *spins) {
  s->args[1] = a;
  s->args[2] = b;
  s->args[3] = room;
  s->flags = 0;
  int interrupted = 0;
  if (!make(s, number, handle, spins, &interrupted)) return TRAP;
  int64_t r = s->result;
  return r == -ENETDOWN || r > 0 ? TRAP : r;
}

/*
 * A name or an option, of which the caller says how much room it has and is told how long it is.
 * That there is room is certain before it is asked, as an error of a socket is told once.
 */
static int64_t ask_length(struct slot *s, uint32_t number, const struct call *c, int64_t to,
                          int64_t length_at, uint64_t handle, struct spins *spins, int *done) {
  int32_t room, length;
  if (!at_hand(c, length_at, sizeof room)) return 0;
  room = *(const volatile any_int *)length_at;
  if (room < 0) return 0;
  if (room > ANSWER_BYTES) room = ANSWER_BYTES;
  if (room && !at_hand(c, to, room)) return 0;
  int64_t r = ask(s, number, (int)c->rsi, (int)c->rdx, room, handle, spins);
  if (r == TRAP) return 0;
  *done = 1;
  if (r < 0) return r;
  length = *(const volatile any_int *)data(s);
  if (length < room) room = length < 0 ? 0 : length;
  copy((void *)to, data(s) + ANSWER, room);
  *(volatile any_int *)length_at = length;
  return 0;
}

/* How much there is to be received. */
static int64_t ask_bytes(struct slot *s, const struct call *c, uint64_t handle,
                         struct spins *spins, int *done) {
  if (!at_hand(c, c->rdx, sizeof(int32_t))) return 0;
  int64_t r = ask(s, DEVICE_ioctl, FIONREAD, 0, sizeof(int32_t), handle, spins);
  if (r == TRAP) return 0;
  *done = 1;
  if (r == 0) *(volatile any_int *)c->rdx = *(const any_int *)(data(s) + ANSWER);
  return r;
}

/*
 * fcntl of a file of the host: what it may make is a number that was free, hence unknown. Of a socket
 * the status flags that the program has set are those of what stands for it, too.
 */
static int64_t control_file(const struct call *c, int *done) {
  int fd = (int)c->rdi;
  if (turns_out_host(fd)) return pass(c, done);
  return (int)c->rsi == F_GETFL && (uint32_t)fd < MAX_FD && ACQUIRE(STATES[fd * 4]) == STATE_DEVICE
             ? pass(c, done)
             : 0;
}

/* --- what a file is ------------------------------------------------------------------------------ */

/* As the device has it, on every architecture: include/uapi/linux/stat.h. */
struct moment {
  int64_t seconds;
  uint32_t nanos;
  int32_t unused;
};

struct statx {
  uint32_t mask, block_bytes;
  uint64_t attributes;
  uint32_t links, uid, gid;
  uint16_t mode, unused0;
  uint64_t inode, bytes, blocks, attributes_mask;
  struct moment accessed, born, changed, modified;
  uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
  uint64_t unused1[14];
};

_Static_assert(sizeof(struct statx) == 256 && sizeof(struct statx) <= ANSWER_BYTES, "statx(2)");

/* What Stats.java sets in the numbers of the device's file systems. */
enum { DEVICE_MAJOR = 0x1000 };

/* makedev(3) */
static inline uint64_t device_number(uint64_t major, uint64_t minor) {
  return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~0xffull) << 12 |
         (major & ~0xfffull) << 32;
}

/* Whether a call is about a descriptor, and where it wants the answer. */
static int is_status(const struct call *c, int64_t *to) {
  *to = c->number == SYS_fstat ? c->rsi : c->rdx;
  if (c->number == SYS_fstat) return 1;
  if (c->number != SYS_newfstatat || (int)c->r10 != AT_EMPTY_PATH) return 0;
  char first;
  return fetch(&first, c->rsi, sizeof first) && first == 0;
}

/* A file of which nothing is known: if it is the host's, this is the answer. */
static int64_t unknown_status(const struct call *c, int fd, int64_t to, int *done) {
  struct stat s;
  if (!look_at_unknown(fd, &s) || !answer(c, to, &s, sizeof s)) return 0;
  *done = DONE;
  HOST_CALLS[c->number]++;
  return 0;
}

/* A regular file of the device. */
static int64_t ask_status(struct slot *s, const struct call *c, int64_t to, uint64_t handle,
                          struct spins *spins, int *done) {
  if (!at_hand(c, to, sizeof(struct stat))) return 0;
  int64_t r = ask(s, DEVICE_statx, 0, 0, 0, handle, spins);
  if (r == TRAP) return 0;
  *done = 1;
  if (r < 0) return r;
  const struct statx *x = (const struct statx *)(data(s) + ANSWER);
  struct stat all = {
      .dev = device_number(x->dev_major | DEVICE_MAJOR, x->dev_minor), .inode = x->inode,
      .links = x->links, .mode = x->mode, .uid = x->uid, .gid = x->gid,
      .rdev = device_number(x->rdev_major, x->rdev_minor), .bytes = x->bytes,
      .block_bytes = x->block_bytes, .blocks = x->blocks,
      .accessed = x->accessed.seconds, .accessed_nanos = x->accessed.nanos,
      .modified = x->modified.seconds, .modified_nanos = x->modified.nanos,
      .changed = x->changed.seconds, .changed_nanos = x->changed.nanos,
  };
  copy((void *)to, &all, sizeof all);
  return 0;
}

/* --- paths of the host --------------------------------------------------------------------------- */

enum { PATH_BYTES = 256 };

/* What ShimTable.names has put there. */
struct names {
  uint64_t lengths; /* a bit for each length that a name has */
  uint8_t list[NAMES_BYTES - 8]; /* each behind its length; then 0 */
};

#define NAMES ((const struct names *)(TABLE + NAMES_OFFSET))

static int is_listed(const char *name, uint64_t length) {
  const struct names *n = NAMES;
  if (length >= 64 || !(n->lengths >> length & 1)) return 0;
  for (uint64_t i = 0; i + 64 < sizeof n->list && n->list[i]; i += 1 + n->list[i]) {
    if (n->list[i] != length) continue;
    uint64_t k = 0;
    while (k < length && n->list[i + 1 + k] == (uint8_t)name[k]) k++;
    if (k == length) return 1;
  }
  return 0;
}

/* Reads a path, which may end just before memory that is not there; its length, or -1. */
static int64_t read_path(char text[PATH_BYTES], int64_t from) {
  const volatile char *path = (const volatile char *)from;
  for (int64_t i = 0; i < PATH_BYTES; i++) {
    if ((i == 0 || ((from + i) & (PAGE - 1)) == 0) && !can_read(from + i, 1)) return -1;
    if (!(text[i] = path[i])) return i;
  }
  return -1;
}

/*
 * Whether the hook would find that a path is the host's, by its text alone as Paths.java does: a
 * device's path has the last name of a pattern among its names. That of a descriptor, which the
 * hook looks at as well, has one of those that are listed besides.
 */
static int is_host_path(int directory, int64_t path) {
  char text[PATH_BYTES];
  int64_t length = read_path(text, path);
  if (length <= 0) return 0;
  if (text[0] != '/' && directory != AT_FDCWD && !turns_out_host(directory)) return 0;
  for (int64_t at = 0, end; at < length; at = end + 1) {
    for (end = at; end < length && text[end] != '/';) end++;
    if (is_listed(text + at, end - at)) return 0;
  }
  return 1;
}

/* Whether all paths that a call names are the host's, and the working directory is. */
static int names_host(const struct call *c) {
  if (!ACQUIRE(CONTROL->paths)) return 0;
  switch (c->number) {
    case SYS_getcwd: return 1;
    case SYS_open: case SYS_creat: case SYS_stat: case SYS_lstat: case SYS_statfs: case SYS_access:
    case SYS_mkdir: case SYS_mknod: case SYS_rmdir: case SYS_unlink: case SYS_readlink:
    case SYS_chmod: case SYS_chown: case SYS_lchown: case SYS_truncate: case SYS_utime:
    case SYS_utimes:
      return is_host_path(AT_FDCWD, c->rdi);
    case SYS_openat: case SYS_newfstatat: case SYS_mkdirat: case SYS_mknodat: case SYS_unlinkat:
    case SYS_readlinkat: case SYS_fchmodat: case SYS_fchownat: case SYS_faccessat:
    case SYS_faccessat2: case SYS_statx: case SYS_futimesat: case SYS_utimensat:
      return is_host_path((int)c->rdi, c->rsi);
    // What a symbolic link leads to is a text, and no path yet.
    case SYS_symlink: return is_host_path(AT_FDCWD, c->rsi);
    case SYS_symlinkat: return is_host_path((int)c->rsi, c->rdx);
    case SYS_rename: case SYS_link:
      return is_host_path(AT_FDCWD, c->rdi) && is_host_path(AT_FDCWD, c->rsi);
    case SYS_renameat: case SYS_renameat2: case SYS_linkat:
      return is_host_path((int)c->rdi, c->rsi) && is_host_path((int)c->rdx, c->r10);
    default: return 0;
  }
}

static int64_t path_call(const struct call *c, int *done) {
  return names_host(c) ? pass(c, done) : 0;
}

/* --- signal handlers ------------------------------------------------------------------------------ */

enum { SIGCANCEL = 32, SIG_IGN = 1, SA_RESTART = 0x10000000 };

/* What rt_sigaction begins with: arch/x86/include/uapi/asm/signal.h. */
struct action {
  uint64_t handler, flags;
};

/*
 * rt_sigaction, but of what HandlerEntries.java has to do with: a handler without SA_RESTART, and one
 * that has an entry, or may be told. And glibc's for cancelling threads is the end of the shim.
 */
static int64_t handler_call(const struct call *c, int *done) {
  uint64_t entries = CONTROL->entries;
  struct action a;
  if ((int)c->rdi == SIGCANCEL || (c->rdx && entries)) return 0;
  if (c->rsi) {
    if (!look_up(c, &a, c->rsi, sizeof a)) return 0;
    if (a.handler > SIG_IGN && (!(a.flags & SA_RESTART) || a.handler - entries < PAGE)) return 0;
  }
  return pass(c, done);
}

/* Whether a state is that of a regular file of the device. */
static int is_file(int state) { return state == STATE_FILE || state == STATE_QUIET_FILE; }

/* Whether a slot is worth asking for a call, given whether it sends the program's own bytes, or from what. */
static int is_served(const struct call *c, uint64_t handle, int sends, int from) {
  int near = CONTROL->near;
  if (!near) return 1;
  switch (c->number) {
    case SYS_getsockname: case SYS_getpeername: return 1;
    case SYS_getsockopt: return (int)c->rsi != SOL_SOCKET || (int)c->rdx != SO_ERROR;
    case SYS_setsockopt: return (near & NEAR_OPTIONS) && (handle & HANDLE_STREAM);
    case SYS_read: case SYS_readv: case SYS_recvfrom:
      return (near & NEAR_RECEIVES) && (handle & HANDLE_STREAM);
    case SYS_sendfile: return near & (is_file(from) ? NEAR_FILES : NEAR_SENDS);
    default: return sends && (near & NEAR_SENDS) && (handle & HANDLE_STREAM);
  }
}

/*
 * A call of which it has to be found out whose it is, or one on a descriptor of the device. *done is
 * TRAPPED if it has to trap, and then nothing has happened that the trap could not find; or PASSED,
 * and then its stub makes it; or AGAIN.
 *
 * `unknown` says that a stub, which lets pass what is the host's, has found nothing about the number.
 */
int64_t device_call(const struct call *c, int *done, int unknown) {
  *done = 0;
  if (unknown) {
    if (turns_out_host((int)c->rdi)) *done = AGAIN;
    return 0;
  }
  if (c->number == SYS_rt_sigaction) return handler_call(c, done);
  if (c->number == SYS_epoll_ctl) return control_set(c, done);
  if (c->number == SYS_epoll_wait || c->number == SYS_epoll_pwait) return wait_in_set(c, done);
  if (c->number == SYS_fcntl) return control_file(c, done);
  if (c->number == SYS_poll_list || c->number == SYS_pselect6) return poll_call(c, done);
  if (c->number == SYS_sendfile && turns_out_host((int)c->rdi) && turns_out_host((int)c->rsi))
    return pass(c, done);
  int fd = (int)c->rdi;
  if (c->number == SYS_ioctl) {
    if ((uint32_t)c->rsi != FIONREAD || (uint32_t)fd >= MAX_FD) return 0;
    if (is_host(fd)) return pass(c, done);
  }
  int64_t status = 0;
  int of_file = c->number == SYS_fstat || c->number == SYS_newfstatat;
  if (of_file) {
    if (!is_status(c, &status)) return path_call(c, done);
    if ((uint32_t)fd >= MAX_FD) return 0;
    if (is_host(fd)) {
      uint32_t word = ACQUIRE(WORDS[fd]);
      // Without the path, which another thread may have changed.
      int32_t process = this_process();
      int64_t r = system_call(SYS_fstat, fd, status, 0, 0, 0, 0);
      if (is_child_of(process)) return 0;
      // Or else the number may have been another file's by then.
      after_call();
      *done = (uint8_t)word == STATE_HOST && ACQUIRE(WORDS[fd]) == word;
      if (*done) HOST_CALLS[c->number]++;
      return r;
    }
    if (ACQUIRE(STATES[fd * 4]) == UNKNOWN) return unknown_status(c, fd, status, done);
  }
  struct transfer t;
  t.call = c;
  int flags = 0, sends = 0, known, from = 0;
  uint64_t file = 0;
  switch (c->number) {
    case SYS_read: known = one(&t, c->rsi, c->rdx); break;
    case SYS_recvfrom:
      flags = (int)c->r10;
      known = c->r8 == 0 && one(&t, c->rsi, c->rdx);
      break;
    case SYS_readv: known = vectors(&t, c->rsi, (int)c->rdx); break;
    case SYS_write: sends = known = one(&t, c->rsi, c->rdx); break;
    case SYS_sendto:
      flags = (int)c->r10;
      sends = known = c->r8 == 0 && one(&t, c->rsi, c->rdx);
      break;
    case SYS_writev: sends = known = vectors(&t, c->rsi, (int)c->rdx); break;
    case SYS_sendfile:
      known = (uint32_t)fd < MAX_FD && c->rdx != 0 && c->r10 > 0;
      if ((uint32_t)c->rsi < MAX_FD) {
        file = ACQUIRE(HANDLES[(uint32_t)c->rsi]);
        from = ACQUIRE(STATES[(uint32_t)c->rsi * 4]);
      }
      known = known && (is_file(from) || (from == STATE_HOST && c->r10 <= PIECE_BYTES));
      t.bytes = c->r10;
      break;
    case SYS_setsockopt:
      known = (int)c->rsi == IPPROTO_TCP && (int)c->r8 == sizeof(int32_t) &&
              ((int)c->rdx == TCP_NODELAY || (int)c->rdx == TCP_CORK);
      t.bytes = sizeof(int32_t);
      break;
    case SYS_getsockname: case SYS_getpeername: case SYS_ioctl: case SYS_fstat:
    case SYS_newfstatat:
      known = CONTROL->asks;
      t.bytes = sizeof(int32_t);
      break;
    case SYS_getsockopt:
      known = CONTROL->asks && is_asked((int)c->rsi, (int)c->rdx);
      t.bytes = sizeof(int32_t);
      break;
    default: return path_call(c, done);
  }
  if (!known || t.bytes == 0 || (flags & ~KNOWN_FLAGS)) return 0;
  // Taken together with its birth: a handle that is another file's by now is refused.
  uint64_t handle = ACQUIRE(HANDLES[fd]);
  int state = ACQUIRE(STATES[fd * 4]);
  if (!(of_file ? is_file(state) : state == STATE_DEVICE) || ACQUIRE(CONTROL->held)) return 0;
  if (c->number == SYS_sendfile && !(handle & HANDLE_STREAM)) return 0;
  if (!is_served(c, handle, sends, from)) return 0;
  int32_t process = this_process();
  int where = processor();
  int index = take_slot(where);
  if (index < 0) return 0;
  struct slot *s = slot(index);
  s->where = where + 1;
  s->caller = c->number;
  struct spins *spins = spins_of(index, c->number);
  int64_t r;
  switch (c->number) {
    case SYS_setsockopt: r = set_option(s, c, handle, spins, done); break;
    case SYS_getsockname:
      r = ask_length(s, DEVICE_getsockname, c, c->rsi, c->rdx, handle, spins, done);
      break;
    case SYS_getpeername:
      r = ask_length(s, DEVICE_getpeername, c, c->rsi, c->rdx, handle, spins, done);
      break;
    case SYS_getsockopt:
      r = ask_length(s, DEVICE_getsockopt, c, c->r10, c->r8, handle, spins, done);
      break;
    case SYS_ioctl: r = ask_bytes(s, c, handle, spins, done); break;
    case SYS_fstat: case SYS_newfstatat:
      r = ask_status(s, c, status, handle, spins, done);
      break;
    case SYS_sendfile:
      r = is_file(from) ? send_device_file(s, c, handle, file, spins, done)
                        : send_file(s, c, handle, spins, done);
      break;
    default:
      r = sends ? transmit(s, &t, flags, handle, fd, spins, done)
                : receive(s, &t, flags, handle, spins, done);
  }
  if (is_child_of(process)) return r;
  // Without what a trap moved of the rest: the hook counts that.
  int64_t moved = s->result;
  give_slot(index);
  if (*done == DONE) {
    DEVICE_CALLS[c->number]++;
    if (moved > 0) DEVICE_MOVED[c->number] += moved;
    if (moved > 0 && is_file(from)) CONTROL->stayed += moved;
  }
  return r;
}

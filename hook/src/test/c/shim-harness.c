// SPDX-License-Identifier: MIT
/*
 * shim-harness BLOB PLAN: the shim in a process of its own, on the architecture that it was compiled for.
 * This program plays all others: the hook, which brings the shim in, patches places, serves what traps
 * and says what descriptors are; and the device, a thread for each lent slot. ShimHarnessTest makes the
 * plan, with the classes by which the hook patches, and runs it.
 *
 * A call that traps is seen: on x86-64 by a filter that raises SIGSYS for calls from the places and the
 * gate, on arm64, where it runs under qemu-user, by other code in the gate's place. Each part prints a
 * line when it is done; the first that fails ends the program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../main/c/layout.h"

#define CHECK(x)                                                                             \
  do {                                                                                       \
    if (!(x)) {                                                                              \
      fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #x, errno);              \
      _exit(1);                                                                              \
    }                                                                                        \
  } while (0)

#ifdef __aarch64__
enum { FLAGS = 30, REGISTERS = 31 + 32, CHANGED = 0 };
static const int ARGUMENT[] = {0, 1, 2, 3, 4, 5};
#define NUMBER 8
#define FLAG_BITS 0xa0000000
#else
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <ucontext.h>
enum { FLAGS = 13, REGISTERS = 14 + 16, CHANGED = 0 };
static const int ARGUMENT[] = {1, 2, 3, 4, 5, 6};
#define NUMBER 0
#define FLAG_BITS 0
#endif

extern int64_t invoke(const void *place, const int64_t in[REGISTERS], int64_t out[REGISTERS]);

/* --- a place that makes calls -------------------------------------------------------------------- */

enum { MAX_PLACES = 64 };

static struct place {
  char name[24];
  int number;
  const void *address;
} places[MAX_PLACES];
static int place_count;

static const struct place *place(const char *name) {
  for (int i = 0; i < place_count; i++)
    if (!strcmp(places[i].name, name)) return places + i;
  fprintf(stderr, "no place for %s\n", name);
  _exit(1);
}

/* Makes a call there, with every register full, and has a look that all but its result are as before. */
static int64_t at(const void *where, int64_t number, const int64_t a[6]) {
  int64_t in[REGISTERS], out[REGISTERS];
  for (int i = 0; i < REGISTERS; i++) in[i] = (int64_t)(0x1122334455667789ull * (i + 3));
  for (int i = 0; i < 6; i++) in[ARGUMENT[i]] = a[i];
  in[NUMBER] = number;
  in[FLAGS] = FLAG_BITS;
  invoke(where, in, out);
  for (int i = 0; i < REGISTERS; i++)
    if (i != CHANGED && in[i] != out[i]) {
      fprintf(stderr, "call %d: register %d was %#lx and is %#lx\n", (int)number, i, (long)in[i],
              (long)out[i]);
      _exit(1);
    }
  return out[0];
}

#define CALL(name, ...) call(place(name), (int64_t[6]){__VA_ARGS__})

static int64_t call(const struct place *p, const int64_t a[6]) { return at(p->address, p->number, a); }

/* --- what the shim shares with the hook and the device -------------------------------------------- */

enum { FRESH = 1, TAKEN = 2, TRAP = -512, WORD_CHANGE = 0x10000 };

struct slot {
  volatile uint32_t request, device_sleeps, unused0[14];
  volatile uint32_t reply, host_sleeps, together, unused1[13];
  uint32_t number, flags;
  int64_t args[5];
  uint32_t caller, unused7, birth, where;
  int64_t result;
  uint32_t unused2[5], credit, credit_generation, unused3;
  int64_t credit_since;
  uint64_t unused4[2];
  volatile uint32_t generation, unused5;
  volatile uint64_t drained, unused6[6];
  volatile uint64_t appended;
  volatile uint32_t takings;
};

_Static_assert(offsetof(struct slot, result) == 192 && offsetof(struct slot, takings) == 328, "slot");

struct peeked {
  volatile uint32_t state;
  uint32_t handle, birth, length, take, credit, generation, unused0;
  int64_t since;
  uint32_t unused1[6];
  char bytes[PEEKED_BYTES - 64];
};

struct control {
  volatile int32_t held, waits, waiter, hook_pid, slots, busy[MAX_SLOTS], asking, wanted, turns, pid;
  volatile uint64_t stayed, unused0;
  volatile int32_t ahead, asks, peeks;
  uint64_t unused1;
  volatile int32_t paths;
  volatile uint64_t memory;
  volatile int32_t learner, end;
  volatile uint64_t entries;
};

_Static_assert(offsetof(struct control, entries) == 168, "control");

#define CONTROL ((struct control *)(TABLE + CONTROL_OFFSET))
#define WORDS ((volatile uint32_t *)TABLE)
#define HANDLES ((volatile uint64_t *)(TABLE + HANDLES_OFFSET))
#define PASSED_CALLS ((volatile uint64_t *)(TABLE + COUNTERS_OFFSET))
#define SLOT_CALLS ((volatile uint64_t *)(TABLE + DEVICE_COUNTERS_OFFSET))
#define AT_ONCE ((volatile uint64_t *)(TABLE + AT_ONCE_OFFSET))
#define STATE ((volatile int32_t *)SELF)

#define SEQ __ATOMIC_SEQ_CST

static long futex(volatile uint32_t *word, int operation, uint32_t value) {
  return syscall(SYS_futex, word, operation, value, 0, 0, 0);
}

static void sleep_ms(int ms) {
  struct timespec t = {0, ms * 1000000l};
  nanosleep(&t, 0);
}

/* --- the hook -------------------------------------------------------------------------------------- */

static int tables, image;
static volatile int traps, lent, attached;
static volatile uint64_t memory_of_host;
/* What a number stands for, as the hook knows it. */
enum { NOTHING, FILE_OF_HOST, DEVICE_SOCKET };
enum { NUMBERS = 1024 };
static volatile int kinds[NUMBERS];
static int device_files[MAX_SLOTS];
static void start_device(int index);

static int64_t raw(int64_t number, const int64_t a[6]) {
  long r = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  return r == -1 ? -errno : r;
}

static void change(int fd, uint32_t clear, uint32_t add) {
  uint32_t old = WORDS[fd];
  while (!__atomic_compare_exchange_n(&WORDS[fd], &old, (old & ~clear) + add, 0, SEQ, SEQ)) {
  }
}

/* Puts down what a number is. */
static void learn(int fd, int state, uint64_t handle) {
  uint32_t mark = __atomic_load_n(&WORDS[fd], SEQ);
  if (handle) __atomic_store_n(&HANDLES[fd], handle, SEQ);
  int end = CONTROL->end;
  while (end <= fd && !__atomic_compare_exchange_n(&CONTROL->end, &end, fd + 1, 0, SEQ, SEQ)) {
  }
  if ((mark & 0xffff) == 0)
    __atomic_compare_exchange_n(&WORDS[fd], &mark, mark | state, 0, SEQ, SEQ);
}

static void closing(int more) {
  static volatile int lock, count;
  while (__atomic_exchange_n(&lock, 1, SEQ)) {
  }
  count += more;
  __atomic_store_n(&CONTROL->learner, count ? -1 : 0, SEQ);
  __atomic_store_n(&lock, 0, SEQ);
}

/* Serves a call that has trapped. In a signal handler, or with the registers of a thread put aside. */
int64_t hook(int64_t number, const int64_t a[6]) {
  int saved = errno;
  int64_t r;
  __atomic_add_fetch(&traps, 1, SEQ);
  if (number == SYS_close && (int)a[0] == ASK_SLOT) {
    r = fcntl(device_files[lent], F_DUPFD_CLOEXEC, 0);
  } else if (number == SYS_close && (int)a[0] == ASK_KEEP) {
    if (a[1]) start_device(lent++);
    r = a[1] ? 0 : -ENOMEM;
  } else if (number == SYS_close && (int)a[0] == ASK_ATTACH) {
    uint64_t memory = CONTROL_OFFSET + offsetof(struct control, memory);
    CHECK(pwrite(tables, (void *)&memory_of_host, 8, TABLE_BYTES + memory) == 8);
    r = fcntl(tables, F_DUPFD_CLOEXEC, 0) | 1 << 20;
  } else if (number == SYS_close && (int)a[0] == ASK_ATTACHED) {
    CHECK(a[1]);
    // The first time, a child that another thread has made may have it.
    r = attached++ ? 0 : -EAGAIN;
  } else if ((number == SYS_read || number == SYS_recvfrom) && (uint64_t)a[0] < NUMBERS &&
             kinds[a[0]] == DEVICE_SOCKET) {
    // What a hook would ask the device for: but memory that is not there is not there.
    const char one = 'T';
    int ends[2];
    CHECK(pipe(ends) == 0 && write(ends[1], &one, 1) == 1);
    int64_t b[6] = {ends[0], a[1], a[2]};
    r = raw(SYS_read, b);
    close(ends[0]);
    close(ends[1]);
  } else if (number == SYS_close && (uint64_t)a[0] < MAX_FD && STATE[0] == ATTACHED) {
    // Nobody learns meanwhile what a number is.
    closing(1);
    change((int)a[0], 0xff, WORD_CHANGE);
    sched_yield();
    r = raw(number, a);
    closing(-1);
  } else {
    r = raw(number, a);
  }
  errno = saved;
  return r;
}

#ifndef __aarch64__
static void on_sigsys(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
  int64_t a[6] = {g[REG_RDI], g[REG_RSI], g[REG_RDX], g[REG_R10], g[REG_R8], g[REG_R9]};
  g[REG_RAX] = hook(g[REG_RAX], a);
}

/* Calls trap that come from the places, which begin at `from`, or from the gate. */
static void filter(uint64_t from, uint32_t bytes) {
  struct sigaction act = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_RESTART | SA_NODEFER};
  CHECK(sigaction(SIGSYS, &act, 0) == 0);
  uint32_t low = offsetof(struct seccomp_data, instruction_pointer);
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low + 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 6),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, GATE, 0, 1),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, GATE + 0x1000, 0, 2),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, from, 0, 2),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, from + bytes, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
}
#endif

/* --- the device ------------------------------------------------------------------------------------ */

/* What was sent on a handle can be received from it: as much as a window, in its order. */
enum { HANDLES_MOST = 64, WINDOW = 1 << 18 };
static struct pipe_of {
  pthread_mutex_t lock;
  uint32_t birth;
  uint64_t in, out;
  char bytes[WINDOW];
} pipes[HANDLES_MOST];

/* What the device is to do before it answers the next call; 0 for nothing. Runs once. */
static void (*volatile before)(struct slot *s);
static volatile int slept, woken, host_slept;
/* Of the last call that it was given. */
static volatile struct seen {
  uint32_t number, flags, caller, birth;
  int64_t args[5];
} seen;

static struct pipe_of *pipe_named(uint32_t handle, uint32_t birth) {
  return handle < HANDLES_MOST && pipes[handle].birth == birth ? pipes + handle : 0;
}

static int64_t put(struct pipe_of *p, const char *from, uint64_t bytes) {
  pthread_mutex_lock(&p->lock);
  CHECK(p->in - p->out + bytes <= WINDOW);
  for (uint64_t i = 0; i < bytes; i++) p->bytes[p->in++ % WINDOW] = from[i];
  pthread_mutex_unlock(&p->lock);
  return bytes;
}

static int64_t take(struct pipe_of *p, char *to, uint64_t bytes) {
  pthread_mutex_lock(&p->lock);
  uint64_t n = p->in - p->out < bytes ? p->in - p->out : bytes;
  for (uint64_t i = 0; i < n; i++) to[i] = p->bytes[p->out++ % WINDOW];
  pthread_mutex_unlock(&p->lock);
  return n ? (int64_t)n : TRAP;
}

/* Sends that were appended to the ring. */
static void drain(struct slot *s) {
  char *ring = (char *)s + RING;
  uint64_t to = __atomic_load_n(&s->appended, SEQ), from = s->drained;
  while (from < to) {
    uint32_t *e = (uint32_t *)(ring + from % RING_BYTES);
    if (e[0] == UINT32_MAX) {
      from += RING_BYTES - from % RING_BYTES;
      continue;
    }
    struct pipe_of *p = pipe_named(e[0], e[1]);
    if (p) put(p, (char *)(e + 4), e[3]);
    from += 16 + ((e[3] + 15) & -16u);
  }
  __atomic_store_n(&s->drained, from, SEQ);
}

/* What a socket has room for. */
static volatile int64_t room = INT64_MAX;

static int64_t serve(struct slot *s) {
  char *data = (char *)s + SLOT_DATA;
  struct pipe_of *p = pipe_named((uint32_t)s->args[0], s->birth);
  if (!p) return TRAP;
  switch (s->number) {
    case 206: return put(p, data + s->args[1], s->args[2] < room ? s->args[2] : room);
    case 207: return take(p, data + s->args[1], s->args[2]);
    case 208: return *(int32_t *)data == 1 ? 0 : -EINVAL;
    case 209:
      *(int32_t *)data = 4;
      *(int32_t *)(data + ANSWER) = 4711;
      return 0;
    case 73: {
      int ready = 0;
      struct { int32_t handle; int16_t events, revents; uint32_t birth; } *f = (void *)data;
      for (int i = 0; i < s->args[2]; i++) {
        struct pipe_of *q = pipe_named(f[i].handle, f[i].birth);
        int are = (q && q->in != q->out ? POLLIN : 0) | POLLOUT;
        f[i].revents = f[i].events & are;
        ready += f[i].revents != 0;
      }
      return ready;
    }
    default: return TRAP;
  }
}

static void *device(void *argument) {
  struct slot *s = argument;
  uint32_t last = 0;
  for (;;) {
    uint32_t now;
    int turns = 0;
    while (((now = __atomic_load_n(&s->request, SEQ)) & INT32_MAX) == last) {
      if (s->appended != s->drained) drain(s);
      if (++turns < 200) continue;
      __atomic_store_n(&s->device_sleeps, 1, SEQ);
      if (__atomic_load_n(&s->request, SEQ) == now && s->appended == s->drained) {
        slept++;
        if (futex(&s->request, FUTEX_WAIT, now) == 0) woken++;
      }
      __atomic_store_n(&s->device_sleeps, 0, SEQ);
      turns = 0;
    }
    last = now & INT32_MAX;
    drain(s);
    seen.number = s->number;
    seen.flags = s->flags;
    seen.caller = s->caller;
    seen.birth = s->birth;
    for (int i = 0; i < 5; i++) seen.args[i] = s->args[i];
    void (*first)(struct slot *) = before;
    before = 0;
    if (first) first(s);
    s->result = serve(s);
    s->credit = s->flags & WANTS_CREDIT ? CREDIT_BYTES : 0;
    s->credit_generation = s->generation;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    s->credit_since = t.tv_sec * 1000000000ll + t.tv_nsec;
    __atomic_store_n(&s->reply, last, SEQ);
    if (__atomic_load_n(&s->host_sleeps, SEQ)) {
      host_slept++;
      futex(&s->reply, FUTEX_WAKE, 1);
    }
  }
  return 0;
}

/* From where it is called nothing may wait, but the one that has asked. */
static void start_device(int index) {
  pthread_t t;
  sigset_t all, old;
  sigfillset(&all);
  void *s = mmap(0, SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, device_files[index], 0);
  CHECK(s != MAP_FAILED);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  CHECK(pthread_create(&t, 0, device, s) == 0);
  pthread_sigmask(SIG_SETMASK, &old, 0);
}

/* --- parts ----------------------------------------------------------------------------------------- */

static int ends[2];         /* a pipe of the host */
static int sockets[2];      /* the first stands for a socket of the device */
enum { HANDLE = 5, BIRTH = 0x7b1d };
static const uint64_t NAMED = (uint64_t)BIRTH << 32 | HANDLE_STREAM | HANDLE;

static void done(const char *part) {
  printf("ok %s\n", part);
  fflush(stdout);
}

static void calls_pass(void) {
  char c = 'h', got = 0;
  learn(ends[0], STATE_HOST, 0);
  learn(ends[1], STATE_HOST, 0);
  int before_traps = traps;
  uint64_t writes = PASSED_CALLS[SYS_write], reads = PASSED_CALLS[SYS_read];
  CHECK(CALL("write", ends[1], (int64_t)&c, 1) == 1);
  CHECK(CALL("read", ends[0], (int64_t)&got, 1) == 1 && got == 'h');
  // Errors are the host's, too.
  CHECK(CALL("write", ends[1], 8, 1) == -EFAULT);
  CHECK(traps == before_traps && PASSED_CALLS[SYS_write] == writes + 2);
  CHECK(PASSED_CALLS[SYS_read] == reads + 1);
  done("calls-on-the-host-pass");
}

static void unknown_ones_are_looked_at(void) {
  int fd = open("/proc/self/status", O_RDONLY);
  char c;
  int before_traps = traps;
  CHECK((WORDS[fd] & 0xff) == 0);
  CHECK(CALL("read", fd, (int64_t)&c, 1) == 1 && c == 'N');
  CHECK((WORDS[fd] & 0xff) == STATE_HOST && traps == before_traps && CONTROL->end > fd);
  // Not of what may stand for one of the device.
  CHECK((WORDS[sockets[1]] & 0xff) == 0);
  CHECK(CALL("read", sockets[1], (int64_t)&c, 1) == -EAGAIN);
  CHECK((WORDS[sockets[1]] & 0xff) == 0 && traps == before_traps + 1);
  // Nor while somebody else may be closing.
  int other = dup(fd);
  CONTROL->learner = -1;
  CHECK(CALL("read", other, (int64_t)&c, 1) == 1);
  CHECK((WORDS[other] & 0xff) == 0 && traps == before_traps + 2);
  CONTROL->learner = 0;
  close(other);
  uint32_t word = WORDS[fd];
  CHECK(CALL("close", fd) == 0);
  CHECK(WORDS[fd] == ((word & ~0xffu) + WORD_CHANGE) && traps == before_traps + 2);
  CHECK(CALL("close", fd) == -EBADF && traps == before_traps + 3);
  done("unknown-ones-are-looked-at-and-closed");
}

static void numbers_out_of_range_trap(void) {
  int before_traps = traps;
  char c;
  CHECK(CALL("read", -1, (int64_t)&c, 1) == -EBADF);
  CHECK(CALL("read", MAX_FD, (int64_t)&c, 1) == -EBADF);
  CHECK(CALL("read", 0x7fffffff, (int64_t)&c, 1) == -EBADF);
  // What would be another number, were it not looked at as a whole.
  uint32_t word = WORDS[ends[0]];
  CHECK((word & 0xff) == STATE_HOST);
  CHECK(CALL("read", MAX_FD + ends[0], (int64_t)&c, 1) == -EBADF);
  CHECK(CALL("close", MAX_FD + ends[0]) == -EBADF && WORDS[ends[0]] == word);
  CHECK(traps == before_traps + 5);
  before_traps = traps;
#ifdef __aarch64__
  // A place is whoever's comes to it: the number is looked at, all of it.
  int64_t none[6] = {0};
  CHECK(at(place("read")->address, SYS_getpid, none) == getpid());
  CHECK(at(place("read")->address, 0x1ff, none) == -ENOSYS);
  CHECK(at(place("read")->address, 1000, none) == -ENOSYS);
  CHECK(traps == before_traps + 3);
  // Of which the kernel reads the low half alone (arch/arm64/kernel/syscall.c).
  int64_t a[6] = {ends[1], (int64_t) "u", 1};
  CHECK(at(place("read")->address, SYS_write | 1ll << 32, a) == 1 && traps == before_traps + 4);
  CHECK(CALL("read", ends[0], (int64_t)&c, 1) == 1 && c == 'u');
#endif
  done("what-is-not-known-traps");
}

/* Its number becomes another file's. */
static void reopen(struct slot *s) {
  (void)s;
  HANDLES[sockets[0]] = NAMED ^ 1ll << 40;
}

static void device_is_called(void) {
  char block[3000], back[3000];
  for (unsigned i = 0; i < sizeof block; i++) block[i] = (char)(i * 7);
  int before_traps = traps;
  // The first ones find no slot; then the hook lends one.
  for (int i = 0; CONTROL->slots == 0; i++) {
    CHECK(i < 40);
    char c;
    CALL("read", sockets[0], (int64_t)&c, 1);
  }
  CHECK(CONTROL->slots == 1 && traps > before_traps);
  before_traps = traps;
  uint64_t calls = SLOT_CALLS[SYS_write];
  CHECK(CALL("write", sockets[0], (int64_t)block, sizeof block) == sizeof block);
  CHECK(seen.number == 206 && seen.args[0] == HANDLE && seen.args[1] == 0);
  CHECK(seen.args[2] == sizeof block && seen.birth == BIRTH && seen.caller == SYS_write);
  CHECK(SLOT_CALLS[SYS_write] == calls + 1);
  CHECK(CALL("recvfrom", sockets[0], (int64_t)back, sizeof back, MSG_DONTWAIT) == sizeof back);
  CHECK(seen.number == 207 && seen.args[3] == MSG_DONTWAIT && seen.caller == SYS_recvfrom);
  CHECK(!memcmp(block, back, sizeof back) && traps == before_traps);
  // Nothing there, or another file's birth: it traps, and the hook serves it.
  CHECK(CALL("read", sockets[0], (int64_t)back, 1) == 1 && back[0] == 'T');
  CHECK(traps == before_traps + 1);
  HANDLES[sockets[0]] = NAMED ^ 1ll << 40;
  CHECK(CALL("read", sockets[0], (int64_t)back, 1) == 1 && back[0] == 'T');
  HANDLES[sockets[0]] = NAMED;
  // Pieces.
  struct { void *base; uint64_t bytes; } pieces[2] = {{block, 100}, {block + 100, 50}};
  CHECK(CALL("writev", sockets[0], (int64_t)pieces, 2) == 150);
  pieces[0].base = back;
  pieces[1].base = back + 100;
  CHECK(CALL("readv", sockets[0], (int64_t)pieces, 2) == 150 && !memcmp(block, back, 150));
  // A full buffer: the rest goes by a trap, but not to what has the number by then.
  before_traps = traps;
  room = 100;
  CHECK(CALL("write", sockets[0], (int64_t)block, 150) == 150 && traps == before_traps + 1);
  CHECK(read(sockets[1], back, sizeof back) == 50 && !memcmp(back, block + 100, 50));
  before = reopen;
  CHECK(CALL("write", sockets[0], (int64_t)block, 150) == 100 && traps == before_traps + 1);
  HANDLES[sockets[0]] = NAMED;
  room = INT64_MAX;
  CHECK(CALL("read", sockets[0], (int64_t)back, 200) == 200);
  // Every length, at any alignment: what copies is the architecture's own.
  for (int n = 1; n < 70; n++) {
    CHECK(CALL("write", sockets[0], (int64_t)block + n % 9, n) == n);
    memset(back, 0x55, sizeof back);
    CHECK(CALL("read", sockets[0], (int64_t)back + n % 7, 100) == n);
    CHECK(!memcmp(back + n % 7, block + n % 9, n) && back[n + n % 7] == 0x55);
  }
  done("the-device-is-called");
}

static void questions(void) {
  int before_traps = traps;
  int32_t value = 1, length = 4;
  CHECK(CALL("setsockopt", sockets[0], 6, 1, (int64_t)&value, 4) == 0 && seen.number == 208);
  value = 0;
  CHECK(CALL("getsockopt", sockets[0], SOL_SOCKET, SO_RCVBUF, (int64_t)&value, (int64_t)&length) == 0);
  CHECK(value == 4711 && length == 4 && seen.number == 209);
  // One of the host's that nothing is known of: fstat says it, as the kernel has it.
  struct stat own, kernels;
  int fd = open("/proc/self/exe", O_RDONLY);
  memset(&own, 1, sizeof own);
  CHECK(CALL("fstat", fd, (int64_t)&own) == 0);
  memset(&kernels, 1, sizeof kernels);
  CHECK(syscall(SYS_fstat, fd, &kernels) == 0);
  CHECK(own.st_ino == kernels.st_ino && own.st_mode == kernels.st_mode);
  CHECK(own.st_size == kernels.st_size && own.st_nlink == kernels.st_nlink);
  CHECK(own.st_mtim.tv_nsec == kernels.st_mtim.tv_nsec && (WORDS[fd] & 0xff) == STATE_HOST);
  CHECK(CALL("fstat", fd, (int64_t)&own) == 0 && own.st_ino == kernels.st_ino);
  CHECK(CALL("fcntl", fd, F_GETFL) == fcntl(fd, F_GETFL));
  CHECK(traps == before_traps);
  CHECK(CALL("close", fd) == 0);
  done("questions-are-answered");
}

static void looks(void) {
  struct pollfd p[1] = {{sockets[0], POLLIN | POLLOUT, 0}};
  int before_traps = traps;
  CHECK(CALL("poll", (int64_t)p, 1, 0) == 1 && p[0].revents == POLLOUT && seen.number == 73);
  char c = 'x';
  CHECK(CALL("write", sockets[0], (int64_t)&c, 1) == 1);
  CHECK(CALL("poll", (int64_t)p, 1, 0) == 1 && p[0].revents == (POLLIN | POLLOUT));
#ifdef __aarch64__
  struct timespec t = {0, 0};
  CHECK(CALL("poll", (int64_t)p, 1, (int64_t)&t) == 1 && traps == before_traps);
  // A mask of signals, and a time that is none, are the kernel's.
  sigset_t none;
  sigemptyset(&none);
  CHECK(CALL("poll", (int64_t)p, 1, (int64_t)&t, (int64_t)&none, 8) == 1);
  CHECK(traps == before_traps + 1);
  t.tv_nsec = 1000000000;
  CHECK(CALL("poll", (int64_t)p, 1, (int64_t)&t) == -EINVAL && traps == before_traps + 2);
  before_traps = traps;
#endif
  uint64_t sets[2] = {1ull << sockets[0], 0};
  CHECK(CALL("pselect6", sockets[0] + 1, (int64_t)sets, 0, 0, 0, 0) == 1);
  CHECK(sets[0] == 1ull << sockets[0] && traps == before_traps);
  CHECK(CALL("read", sockets[0], (int64_t)&c, 1) == 1 && c == 'x');
  done("looks-at-what-is-ready");
}

/* Whether madvise says of memory that it cannot be written to; qemu-user says that all can. */
static int advice_is_honest(char *unwritable, size_t bytes) {
  return madvise(unwritable, bytes, 23 /* MADV_POPULATE_WRITE */) != 0;
}

static void memory_is_tried(void) {
  size_t page = sysconf(_SC_PAGESIZE);
  char *m = mmap(0, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(m != MAP_FAILED && mprotect(m + 2 * page, page, PROT_READ) == 0);
  CHECK(mprotect(m + 3 * page, page, PROT_NONE) == 0);
  char c = 'm';
  CHECK(CALL("write", sockets[0], (int64_t)&c, 1) == 1);
  int before_traps = traps;
  // Neither may be sent from or received to; and what is to be received stays there.
  CHECK(CALL("write", sockets[0], (int64_t)m + 3 * page, 8) == -EFAULT);
  CHECK(CALL("read", sockets[0], (int64_t)m + 3 * page, 8) == -EFAULT);
  CHECK(CALL("read", sockets[0], (int64_t)m + 2 * page, 8) == -EFAULT);
  CHECK(CALL("read", sockets[0], 8, 8) == -EFAULT);
  CHECK(CALL("write", sockets[0], 8, 8) == -EFAULT);
  CHECK(traps == before_traps + 5);
  CHECK(pipes[HANDLE].in - pipes[HANDLE].out == 1);
  // A part is: of what is read all has to be, up to the end.
  CHECK(CALL("write", sockets[0], (int64_t)m + 3 * page - 4, 8) < 8);
  CHECK(traps == before_traps + 6);
  if (advice_is_honest(m + 2 * page, page)) {
    CHECK(CALL("read", sockets[0], (int64_t)m + 2 * page - 4, 2 * page) == 1);
    CHECK(traps == before_traps + 7 && pipes[HANDLE].in - pipes[HANDLE].out == 1);
  } else {
    puts("madvise says here that all memory can be written to");
  }
  CHECK(CALL("read", sockets[0], (int64_t)m + page - 2, page + 2) == 1 && m[page - 2] == 'm');
  munmap(m, 4 * page);
  done("memory-is-tried");
}

static void paths(void) {
  struct { uint64_t lengths; uint8_t length; char name[7]; } names = {1 << 4, 4, "away"};
  memcpy((void *)(TABLE + NAMES_OFFSET + 8), &names.length, 8);
  *(volatile uint64_t *)(TABLE + NAMES_OFFSET) = names.lengths;
  int before_traps = traps;
  CHECK(CALL("openat", AT_FDCWD, (int64_t) "/proc/self/stat", O_RDONLY) > 0);
  CHECK(traps == before_traps + 1);
  CONTROL->paths = 1;
  int fd = CALL("openat", AT_FDCWD, (int64_t) "/proc/self/stat", O_RDONLY);
  CHECK(fd > 0 && traps == before_traps + 1);
  CHECK(CALL("close", fd) == 0);
  before_traps = traps;
  CHECK(CALL("openat", AT_FDCWD, (int64_t) "/proc/away/stat", O_RDONLY) == -ENOENT);
  CHECK(CALL("openat", AT_FDCWD, 8, O_RDONLY) == -EFAULT);
  CHECK(traps == before_traps + 2);
  CONTROL->paths = 0;
  done("paths-are-looked-at");
}

/* --- waiting and signals --- */

static int main_tid;

/* Whether the thread that makes the calls is in a call of its kernel's that waits. */
static int is_asleep(void) {
  char name[64], text[256] = {0};
  snprintf(name, sizeof name, "/proc/self/task/%d/stat", main_tid);
  int fd = open(name, O_RDONLY);
  CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
  close(fd);
  char *state = strrchr(text, ')');
  CHECK(state);
  return state[2] == 'S';
}

static void wait_until_it_sleeps(struct slot *s) {
  for (int looks = 0; looks < 3; looks++) {
    if (!__atomic_load_n(&s->host_sleeps, SEQ) || !is_asleep()) looks = -1;
    sleep_ms(1);
  }
}

static void sleeps_and_wakes(void) {
  char c = 'z';
  main_tid = syscall(SYS_gettid);
  int host = host_slept, wakes = woken;
  CONTROL->turns = 16;
  before = wait_until_it_sleeps;
  CHECK(CALL("write", sockets[0], (int64_t)&c, 1) == 1 && host_slept == host + 1);
  // Now the device: it is woken once it has slept, which takes it a moment.
  int sent = 1;
  for (; woken == wakes; sent++) {
    CHECK(sent < 2000);
    sleep_ms(1 + sent % 8);
    CHECK(CALL("write", sockets[0], (int64_t)&c, 1) == 1);
  }
  CHECK(slept > 0);
  char all[4096];
  CHECK(CALL("read", sockets[0], (int64_t)all, sizeof all) == sent);
  done("both-sleep-and-wake");
}

static volatile int handled;
static pthread_t main_thread;

static void on_signal(int signal) {
  (void)signal;
  char c = 'i';
  CHECK(CALL("write", ends[1], (int64_t)&c, 1) == 1);
  CHECK(CALL("read", ends[0], (int64_t)&c, 1) == 1 && c == 'i');
  // What it interrupts has its slot; after some calls that find none there is another one.
  const int32_t on = 1;
  for (int i = 0; i < 40 && CONTROL->slots < 2; i++)
    CALL("setsockopt", sockets[0], 6, 1, (int64_t)&on, sizeof on);
  int before_traps = traps;
  CHECK(CONTROL->slots == 2 && CONTROL->busy[0] + CONTROL->busy[1] == 1);
  CHECK(CALL("setsockopt", sockets[0], 6, 1, (int64_t)&on, sizeof on) == 0);
  CHECK(traps == before_traps);
  __atomic_add_fetch(&handled, 1, SEQ);
}

static void signal_it(struct slot *s) {
  int was = handled;
  (void)s;
  pthread_kill(main_thread, SIGUSR1);
  while (__atomic_load_n(&handled, SEQ) == was) sched_yield();
}

static void signal_it_asleep(struct slot *s) {
  wait_until_it_sleeps(s);
  signal_it(s);
}

static void signals(void) {
  struct sigaction act = {.sa_handler = on_signal};
  char c = 's';
  main_thread = pthread_self();
  CHECK(sigaction(SIGUSR1, &act, 0) == 0);
  // While it looks for the reply: a handler runs, and the call goes on.
  CONTROL->turns = INT32_MAX / 4;
  before = signal_it;
  CHECK(CALL("write", sockets[0], (int64_t)&c, 1) == 1 && handled == 1);
  // While it sleeps: what has come to something says that.
  CONTROL->turns = 16;
  before = signal_it_asleep;
  CHECK(CALL("read", sockets[0], (int64_t)&c, 1) == 1 && handled == 2 && c == 's');
  // What has found nothing was interrupted.
  int before_traps = traps;
  CONTROL->turns = 16;
  before = signal_it_asleep;
  CHECK(CALL("read", sockets[0], (int64_t)&c, 1) == -EINTR && handled == 3);
  // With SA_RESTART it was not.
  act.sa_flags = SA_RESTART;
  CHECK(sigaction(SIGUSR1, &act, 0) == 0);
  before_traps = traps;
  CONTROL->turns = 16;
  before = signal_it_asleep;
  CHECK(CALL("read", sockets[0], (int64_t)&c, 1) == 1 && handled == 4 && c == 'T');
  CHECK(traps > before_traps);
  done("signals-while-it-looks-and-sleeps");
}

/* --- what is done ahead --- */

static void ahead(void) {
  struct slot *s = (struct slot *)(uint64_t)SLOTS;
  char c[600], back[9000];
  memset(c, 'a', sizeof c);
  CONTROL->ahead = 1;
  uint64_t made = AT_ONCE[SYS_write];
  CHECK(CALL("write", sockets[0], (int64_t)c, 1) == 1); // brings a credit
  uint64_t sent = 1;
  int before_traps = traps;
  for (int i = 0; AT_ONCE[SYS_write] < made + 200; i++) {
    CHECK(i < 20000);
    CHECK(CALL("write", sockets[0], (int64_t)c, 300) == 300);
    sent += 300;
    while (sent > 8000) {
      int64_t n = CALL("read", sockets[0], (int64_t)back, sizeof back);
      CHECK(n > 0);
      for (int k = 0; k < n; k++) CHECK(back[k] == 'a');
      sent -= n;
    }
  }
  while (sent) {
    int64_t n = CALL("read", sockets[0], (int64_t)back, sizeof back);
    CHECK(n > 0 && (uint64_t)n <= sent);
    sent -= n;
  }
  CHECK(traps == before_traps && s->drained == s->appended);
  CONTROL->ahead = 0;
  // A receive that was peeked at.
  struct peeked *p = (struct peeked *)((char *)s + PEEKED) + HANDLE;
  CONTROL->peeks = 1;
  p->handle = HANDLE;
  p->birth = BIRTH;
  p->length = 6;
  memcpy(p->bytes, "peeked", 6);
  __atomic_store_n(&p->state, 4 + FRESH, SEQ);
  uint32_t takings = s->takings, requests = s->request & INT32_MAX;
  made = AT_ONCE[SYS_read];
  CHECK(CALL("read", sockets[0], (int64_t)back, 100) == 6 && !memcmp(back, "peeked", 6));
  CHECK(p->state == 4 + TAKEN && p->take == 6 && s->takings == takings + 1);
  CHECK((s->request & INT32_MAX) == requests && AT_ONCE[SYS_read] == made + 1);
  CONTROL->peeks = 0;
  p->state = 0;
  done("sends-and-receives-without-waiting");
}

/* --- a child --- */

static void children(void) {
  int before_traps = traps;
  pid_t child = fork();
  CHECK(child >= 0);
  if (!child) {
    if (STATE[0] != DETACHED) {
      puts("fork does not wipe here what is to be wiped");
      fflush(stdout);
      memset((void *)SELF, 0, SELF_BYTES);
    }
    CHECK(STATE[0] == DETACHED && STATE[1] == 0);
    char c = 'k';
    munmap((void *)TABLE, TABLE_BYTES); // qemu-user does not know MADV_DONTFORK
    for (int turn = 0; turn < 2; turn++) {
      before_traps = traps;
      for (int i = 0; i < 7; i++) {
        CHECK(CALL("write", ends[1], (int64_t)&c, 1) == 1);
        CHECK(traps == before_traps + i + 1 && STATE[0] == DETACHED);
      }
      // The eighth asks, says that the table is there, and traps, too.
      CHECK(CALL("write", ends[1], (int64_t)&c, 1) == 1);
      CHECK(traps == before_traps + 10 && attached == turn + 1);
      if (turn) break;
      // Refused: what was mapped is not any more, and all begins anew.
      CHECK(STATE[0] == DETACHED && STATE[1] == 0);
      CHECK(msync((void *)TABLE, TABLE_BYTES, MS_ASYNC) == -1 && errno == ENOMEM);
    }
    CHECK(STATE[0] == ATTACHED && STATE[SELF_PROCESS] == getpid());
    CHECK(WORDS[ends[1]] == 0);
    CHECK(CALL("write", ends[1], (int64_t)&c, 1) == 1); // it is looked at
    CHECK(traps == before_traps + 10 && (WORDS[ends[1]] & 0xff) == STATE_HOST);
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  char all[32];
  CHECK(CALL("read", ends[0], (int64_t)all, sizeof all) == 17);
  CHECK(STATE[0] == ATTACHED);
  done("a-child-asks-for-its-table");
}

/* --- threads --- */

enum { STRESSED = 8, CALLERS = 2, CLOSERS = 2, LEAST_MS = 600, MOST_MS = 120000, LEAST = 200 };
static volatile int ending;
/* Numbers that are closed and made anew: odd while that goes on. Whose it is, by bit 1. */
static volatile uint32_t turns[STRESSED];
static int numbers[STRESSED];
static volatile int judged[2];
static volatile int wrong;
static const char *host_file;

static uint64_t stressed_handle(int i) {
  return (uint64_t)(0x5100 + i) << 32 | HANDLE_STREAM | (16 + i);
}

static void *closer(void *argument) {
  int first = (int)(intptr_t)argument;
  for (uint32_t n = 0; !ending; n++) {
    int i = first + (int)(n % (STRESSED / CLOSERS)) * CLOSERS, fd = numbers[i];
    uint32_t t = turns[i];
    int to_device = !(t & 2);
    __atomic_store_n(&turns[i], t + 1, SEQ);
    kinds[fd] = NOTHING;
    CHECK(CALL("close", fd) == 0);
    if (to_device) {
      CHECK(dup3(sockets[1], fd, O_CLOEXEC) == fd);
      kinds[fd] = DEVICE_SOCKET;
      learn(fd, STATE_DEVICE, stressed_handle(i));
    } else {
      int file = open(host_file, O_RDONLY | O_CLOEXEC);
      CHECK(file >= 0 && dup3(file, fd, O_CLOEXEC) == fd);
      close(file);
      kinds[fd] = FILE_OF_HOST; // which the shim finds out
    }
    __atomic_store_n(&turns[i], (t + 2) & ~1u, SEQ);
    if (n % 4 == 0) sched_yield();
  }
  return 0;
}

static void *caller(void *argument) {
  unsigned x = (unsigned)(intptr_t)argument * 2654435761u + 1;
  const struct place *read_place = place("read");
  for (int n = 0, i = 0; !ending; n++) {
    // Often the same one again: what this thread has just put down of it is judged, too.
    if (n % 8 == 0) {
      x = x * 1664525 + 1013904223;
      i = x >> 16 & (STRESSED - 1);
    }
    uint32_t t = __atomic_load_n(&turns[i], SEQ);
    if (t & 1) continue;
    char c = 0;
    int64_t r = call(read_place, (int64_t[6]){numbers[i], (int64_t)&c, 1});
    if (__atomic_load_n(&turns[i], SEQ) != t) continue; // closed meanwhile: anybody's
    int is_device = (t & 2) != 0;
    __atomic_add_fetch(&judged[is_device], 1, SEQ);
    // The host's file has letters, or has ended; what stands for the device's has nothing to read.
    int right = is_device ? r == 1 && (c == 'D' || c == 'T') : r == 0 || (r == 1 && c == 'N');
    if (!right) {
      fprintf(stderr, "of %s: %ld, %c\n", is_device ? "the device" : "the host", (long)r, c);
      __atomic_add_fetch(&wrong, 1, SEQ);
    }
  }
  return 0;
}

/* Stops a caller in the midst of whatever it does, for as long as a few closes take. */
static void on_pause(int signal) {
  (void)signal;
  static volatile int n;
  int saved = errno;
  struct timespec t = {0, 200000 + 300000 * (n++ & 3)};
  nanosleep(&t, 0);
  errno = saved;
}

static void threads(void) {
  pthread_t t[CALLERS + CLOSERS];
  struct sigaction act = {.sa_handler = on_pause, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGUSR2, &act, 0) == 0);
  char file[] = "/tmp/shim-harness-XXXXXX";
  int made = mkstemp(file);
  CHECK(made >= 0);
  char many[4096];
  memset(many, 'N', sizeof many);
  for (int i = 0; i < 64; i++) CHECK(write(made, many, sizeof many) == sizeof many);
  host_file = file;
  for (int i = 0; i < STRESSED; i++) {
    numbers[i] = 100 + i;
    CHECK(dup3(made, numbers[i], O_CLOEXEC) == numbers[i]);
    struct pipe_of *p = pipes + 16 + i;
    p->birth = 0x5100 + i;
    memset(many, 'D', sizeof many);
    for (int k = 0; k < 63; k++) put(p, many, sizeof many);
  }
  for (int i = 0; i < CLOSERS; i++)
    CHECK(pthread_create(t + i, 0, closer, (void *)(intptr_t)i) == 0);
  for (int i = 0; i < CALLERS; i++)
    CHECK(pthread_create(t + CLOSERS + i, 0, caller, (void *)(intptr_t)(i + 1)) == 0);
  for (int ms = 0; ms < MOST_MS && !wrong; ms++) {
    sleep_ms(1);
    for (int i = 0; i < CALLERS; i++) pthread_kill(t[CLOSERS + i], SIGUSR2);
    if (ms >= LEAST_MS && judged[0] > LEAST && judged[1] > LEAST) break;
  }
  ending = 1;
  for (int i = 0; i < CALLERS + CLOSERS; i++) pthread_join(t[i], 0);
  unlink(file);
  CHECK(!wrong && judged[0] > LEAST && judged[1] > LEAST);
  for (int i = 0; i < STRESSED; i++) CHECK((WORDS[numbers[i]] & 0xff00) == 0);
  CHECK(SLOT_CALLS[SYS_read] > 0);
  printf("judged %d of the host, %d of the device, %d slots\n", judged[0], judged[1], CONTROL->slots);
  done("no-call-reaches-the-wrong-kernel");
}

/* --- how it comes there --------------------------------------------------------------------------- */

static unsigned char text[GATE - TEXT + 0x1000];
static uint64_t least = UINT64_MAX, most;
static struct write { uint64_t address; uint32_t bytes; unsigned char what[132]; } patches[2 * MAX_PLACES];
static int patch_count;

static uint32_t header(int at) {
  uint32_t x;
  memcpy(&x, text + at, sizeof x);
  return x;
}

/* Has memory at an address, in which code can be. */
static void map_at(uint64_t address, size_t bytes) {
  enum { MOST_PARTS = 8 };
  static uint64_t parts[MOST_PARTS];
  uint64_t size = 65536, from = address & -size;
  CHECK(((address + bytes - 1) & -size) == from);
  int i = 0;
  while (parts[i] && parts[i] != from) CHECK(++i < MOST_PARTS);
  if (parts[i]) return;
  parts[i] = from;
  void *p = mmap((void *)from, size, PROT_READ | PROT_WRITE | PROT_EXEC,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  CHECK(p == (void *)from);
}

static unsigned of_hex(const char *s) {
  unsigned x;
  CHECK(sscanf(s, "%2x", &x) == 1);
  return x;
}

/* Takes the plan down: code and islands are written, patches kept. */
static void read_plan(const char *name) {
  char line[512], what[16], hex[300];
  FILE *f = fopen(name, "r");
  CHECK(f);
  while (fgets(line, sizeof line, f)) {
    struct write w;
    struct place *p = places + place_count;
    if (sscanf(line, "place %23s %d %lx", p->name, &p->number, (unsigned long *)&p->address) == 3) {
      CHECK(++place_count < MAX_PLACES);
      if ((uint64_t)p->address < least) least = (uint64_t)p->address;
      if ((uint64_t)p->address > most) most = (uint64_t)p->address;
      continue;
    }
    CHECK(sscanf(line, "%15s %lx %299s", what, (unsigned long *)&w.address, hex) == 3);
    w.bytes = strlen(hex) / 2;
    CHECK(w.bytes <= sizeof w.what);
    for (uint32_t i = 0; i < w.bytes; i++) w.what[i] = of_hex(hex + 2 * i);
    if (!strcmp(what, "image")) {
      CHECK(pwrite(image, w.what, w.bytes, w.address - BASE) == (ssize_t)w.bytes);
    } else if (!strcmp(what, "code")) {
      map_at(w.address, w.bytes);
      memcpy((void *)w.address, w.what, w.bytes);
      __builtin___clear_cache((char *)w.address, (char *)w.address + w.bytes);
    } else {
      CHECK(!strcmp(what, "patch") && patch_count < 2 * MAX_PLACES);
      patches[patch_count++] = w;
    }
  }
  fclose(f);
  CHECK(place_count > 0 && patch_count >= place_count);
}

static void inject(void) {
  uint32_t from = header(16), to = header(24), parameters = header(20);
  map_at(0x30000000, 4096);
  unsigned char *code = (unsigned char *)0x30000100;
  int my_tables = dup(tables), my_image = dup(image);
  uint64_t site = (uint64_t)code - 4;
#ifdef __aarch64__
  const uint32_t ret = 0xd65f03c0;
  memcpy(code - 4, &ret, 4);
#else
  code[-4] = 0xc3; // ret
#endif
  memcpy(code, text + from, to - from);
  uint64_t offset = 0;
  uint32_t number = SYS_getpid;
  memcpy(code + parameters - from, &site, 8);
  memcpy(code + parameters - from + 8, &offset, 8);
  memcpy(code + parameters - from + 16, &my_tables, 4);
  memcpy(code + parameters - from + 20, &my_image, 4);
  memcpy(code + parameters - from + 24, &number, 4);
  __builtin___clear_cache((char *)code - 4, (char *)code + to - from);
  int64_t a[6] = {11, 12, 13, 14, 15, 16};
  int64_t r = at(code, number, a);
#ifdef __aarch64__
  CHECK(r == 11); // its first argument, with which the call is made again
#else
  CHECK(r == SYS_getpid);
#endif
  CHECK(!memcmp((void *)TEXT, "outboard", 8));
  CHECK(fcntl(my_tables, F_GETFD) < 0 && fcntl(my_image, F_GETFD) < 0);
  CHECK(STATE[0] == ATTACHED);
  done("it-is-injected");
}

/* Threads run through places while they are patched, where that may be. */
static void *runner(void *argument) {
  int64_t a[6] = {-1, 0, 0};
  volatile int *count = argument;
  while (!ending) {
    for (int i = 0; i < place_count; i++)
      if (places[i].number == SYS_read || places[i].number == SYS_fcntl)
        CHECK(call(places + i, a) == -EBADF);
    __atomic_add_fetch(count, 1, SEQ);
  }
  return 0;
}

static void apply(const struct write *w) {
#ifdef __aarch64__
  CHECK(w->bytes == 4 && w->address % 4 == 0);
  uint32_t word;
  memcpy(&word, w->what, 4);
  CHECK(*(volatile uint32_t *)w->address == 0xd4000001);
  __atomic_store_n((uint32_t *)w->address, word, SEQ);
  __builtin___clear_cache((char *)w->address, (char *)w->address + 4);
#else
  memcpy((void *)w->address, w->what, w->bytes);
#endif
}

static void patch_all(void) {
#ifdef __aarch64__
  pthread_t t[2];
  volatile int counts[2] = {0, 0};
  for (int i = 0; i < 2; i++) CHECK(pthread_create(t + i, 0, runner, (void *)(counts + i)) == 0);
  while (counts[0] < 20 || counts[1] < 20) sched_yield();
#endif
  for (int i = 0; i < patch_count; i++) apply(patches + i);
#ifdef __aarch64__
  int was = traps;
  // A thread that has met the new code traps in the gate.
  while (traps < was + 20) sched_yield();
  ending = 1;
  for (int i = 0; i < 2; i++) pthread_join(t[i], 0);
  ending = 0;
#else
  (void)runner;
#endif
  done("places-are-patched");
}

/*
 * The kernel puts the heap of a program that is linked at fixed addresses somewhere in a GiB behind it,
 * once in some hundred times where the shim goes. A program whose heap is there does without the shim;
 * this one begins anew.
 */
static void have_room(char **argv) {
  enum { HEAP = 16 << 20 };
  uintptr_t heap = (uintptr_t)sbrk(0);
  if (heap + HEAP < BASE || heap >= SLOTS + (uint64_t)MAX_SLOTS * SLOT_STRIDE) return;
  execv("/proc/self/exe", argv);
  CHECK(!"the heap is where the shim goes");
}

int main(int argc, char **argv) {
  CHECK(argc == 3);
  have_room(argv);
  FILE *blob = fopen(argv[1], "r");
  CHECK(blob && fread(text, 1, sizeof text, blob) == sizeof text && fgetc(blob) == EOF);
  fclose(blob);
  tables = memfd_create("tables", MFD_CLOEXEC);
  image = memfd_create("image", MFD_CLOEXEC);
  CHECK(ftruncate(tables, 2l * TABLE_BYTES) == 0 && ftruncate(image, FILE_BYTES) == 0);
  CHECK(pwrite(image, text, sizeof text, TEXT - BASE) == sizeof text);
  for (int i = 0; i < MAX_SLOTS; i++) {
    device_files[i] = memfd_create("slot", MFD_CLOEXEC);
    CHECK(ftruncate(device_files[i], SLOT_BYTES) == 0);
  }
  for (int i = 0; i < HANDLES_MOST; i++) pthread_mutex_init(&pipes[i].lock, 0);
  pipes[HANDLE].birth = BIRTH;
  CHECK(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
  read_plan(argv[2]);
#ifdef __aarch64__
  // ldr x16, . + 8; br x16; its address.
  extern void gate_of_hook(void);
  struct { uint32_t code[2]; uint64_t to; } jump = {{0x58000050, 0xd61f0200}, (uint64_t)gate_of_hook};
  CHECK(pwrite(image, &jump, sizeof jump, GATE - BASE) == sizeof jump);
#else
  filter(least & -4096ull, (uint32_t)((most & -4096ull) + 4096 - (least & -4096ull)));
#endif
  char c;
  CHECK(CALL("read", ends[0], (int64_t)&c, 1) == -EAGAIN); // as natively, before it is patched
  inject();
  patch_all();
  // What the hook says at the beginning.
  struct stat memory;
  CHECK(fstat(tables, &memory) == 0);
  memory_of_host = memory.st_dev;
  CONTROL->memory = memory.st_dev;
  CONTROL->asks = 1;
  CONTROL->hook_pid = getpid();
  kinds[sockets[0]] = DEVICE_SOCKET;
  learn(sockets[0], STATE_DEVICE, NAMED);
  calls_pass();
  unknown_ones_are_looked_at();
  numbers_out_of_range_trap();
  device_is_called();
  questions();
  looks();
  memory_is_tried();
  paths();
  sleeps_and_wakes();
  ahead(); // while there is one slot
  signals();
  children();
  threads();
  done("all");
  return 0;
}

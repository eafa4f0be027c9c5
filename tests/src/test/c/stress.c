// SPDX-License-Identifier: MIT
// stress SEED THREADS SECONDS CALLS: threads that make so many calls together on pipes, Unix
// sockets, files, and TCP and UDP sockets, at least for that time, while numbers change their
// meaning all the time (close, dup, dup2, close_range, SCM_RIGHTS), children are forked, spawned,
// executed and killed, and signals fall on all of them, whose handlers make calls, too.
//
// What tells a wrong kernel: each file's identity (fstat, getsockname), and its bytes, which follow
// from a key of its own and their place, across threads and processes. What tells a lost wake: a
// thread that does not come on. What tells wrong readiness: the only reader of a file, whom poll has
// told of bytes, finds some at once, and none is shown when all have been read.
#include "check.h"

#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { MOST = 64, OWN = 3, BATCH = 1200, FILE_MOST = 1 << 20, STUCK_US = 120000000 };
enum kind { PIPE, UNIX, REGULAR, TCP, UDP, KINDS };

extern char **environ;

/* What all processes share. */
struct shared {
  volatile long host, device, children, executed, killed, signals, changes;
  volatile long turns[MOST];    /* a thread's and, while it waits for a child, the child's */
  volatile long position[MOST]; /* how far a child has come with its parent's stream */
};

struct identity {
  dev_t device;
  ino_t inode;
  mode_t mode;
  in_port_t port;
};

struct stream {
  enum kind kind;
  int in, out;
  uint64_t key;
  uint64_t at; /* bytes that were sent, and received: all of them, between two steps */
  struct identity ends[2];
};

struct worker {
  pthread_t thread;
  int number;
  uint64_t state;
  struct stream own[OWN], handlers;
  int partner[2]; /* a TCP connection and a socket pair to the other thread of the two */
  volatile long steps;
  const char *volatile doing;
  volatile int inside;
};

static struct shared *shared;
static int shared_fd;
static struct worker workers[MOST];
static struct sockaddr_in address;
static int listener, threads;
static pthread_mutex_t accepting = PTHREAD_MUTEX_INITIALIZER;
static volatile int stop;
static __thread struct worker *self;
static __thread long host_calls, device_calls;

static int is_device(const struct stream *s) { return s->kind >= TCP; }

/* Counts a call by the kernel that is to make it. */
static void made(const struct stream *s) {
  if (is_device(s))
    device_calls++;
  else
    host_calls++;
}

static void account(void) {
  __atomic_add_fetch(&shared->host, host_calls, __ATOMIC_RELAXED);
  __atomic_add_fetch(&shared->device, device_calls, __ATOMIC_RELAXED);
  host_calls = device_calls = 0;
}

static unsigned chance(struct worker *w, unsigned below) {
  w->state = w->state * 6364136223846793005ULL + 1442695040888963407ULL;
  return (unsigned)(w->state >> 33) % below;
}

static unsigned char byte_at(uint64_t key, uint64_t at) {
  return (unsigned char)((key >> (at % 8 * 8)) + at / 8 * 37);
}

/* --- opening, and what changes the meaning of numbers ------------------------------------------ */

static struct identity identity(const struct stream *s, int fd) {
  struct identity i = {0};
  struct stat st;
  CHECK(fstat(fd, &st) == 0);
  i.device = st.st_dev;
  i.inode = st.st_ino;
  i.mode = st.st_mode & S_IFMT;
  struct sockaddr_storage name;
  socklen_t length = sizeof name;
  int r = getsockname(fd, (struct sockaddr *)&name, &length);
  switch (s->kind) {
    case PIPE:
    case REGULAR: CHECK(r == -1 && errno == ENOTSOCK); break;
    case UNIX: CHECK(r == 0 && name.ss_family == AF_UNIX); break;
    default:
      CHECK(r == 0 && name.ss_family == AF_INET);
      i.port = ((struct sockaddr_in *)&name)->sin_port;
  }
  host_calls++;
  made(s);
  return i;
}

static void check_identity(const struct stream *s) {
  int fds[2] = {s->in, s->out};
  for (int k = 0; k < 2; k++) {
    struct identity now = identity(s, fds[k]);
    const struct identity *was = &s->ends[k];
    CHECK(now.device == was->device && now.inode == was->inode && now.mode == was->mode &&
          now.port == was->port);
  }
}

/* Closed by a reset, so that no port waits: there are not so many. */
static void without_wait(int fd) {
  struct linger reset = {1, 0};
  CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
}

static void open_tcp(int ends[2], int l, const struct sockaddr_in *to) {
  ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(ends[0] >= 0);
  CHECK(connect(ends[0], (const struct sockaddr *)to, sizeof *to) == 0);
  ends[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
  CHECK(ends[1] >= 0);
  without_wait(ends[0]);
  without_wait(ends[1]);
  device_calls += 5;
}

static void open_udp(int ends[2]) {
  struct sockaddr_in names[2];
  for (int k = 0; k < 2; k++) {
    ends[k] = bound(SOCK_DGRAM, &names[k]);
    CHECK(fcntl(ends[k], F_SETFD, FD_CLOEXEC) == 0);
  }
  for (int k = 0; k < 2; k++)
    CHECK(connect(ends[k], (struct sockaddr *)&names[!k], sizeof names[0]) == 0);
  device_calls += 8;
}

/* Of all kinds but TCP; in a child, of which only one thread is there, no lock is to be taken. */
static void open_stream(struct worker *w, struct stream *s, enum kind kind, int alone) {
  int ends[2];
  memset(s, 0, sizeof *s);
  s->kind = kind;
  s->key = (uint64_t)chance(w, 1u << 31) << 33 ^ (uint64_t)chance(w, 1u << 31) << 8 ^ w->number;
  switch (kind) {
    case PIPE: CHECK(pipe2(ends, O_CLOEXEC) == 0); break;
    case UNIX: CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0); break;
    case REGULAR: {
      char path[40];
      ends[1] = memfd_create("stress", MFD_CLOEXEC);
      CHECK(ends[1] >= 0);
      snprintf(path, sizeof path, "/proc/self/fd/%d", ends[1]);
      ends[0] = open(path, O_RDONLY | O_CLOEXEC);
      CHECK(ends[0] >= 0);
      break;
    }
    case TCP:
      if (alone) {
        struct sockaddr_in a;
        int l = listening(1, &a);
        open_tcp(ends, l, &a);
        CHECK(close(l) == 0);
      } else {
        pthread_mutex_lock(&accepting);
        open_tcp(ends, listener, &address);
        pthread_mutex_unlock(&accepting);
      }
      break;
    default: open_udp(ends);
  }
  host_calls += 2;
  s->in = ends[0];
  s->out = ends[1];
  s->ends[0] = identity(s, s->in);
  s->ends[1] = identity(s, s->out);
}

static void close_number(struct worker *w, int fd) {
  if (chance(w, 4))
    CHECK(close(fd) == 0);
  else
    CHECK(close_range(fd, fd, 0) == 0);
  host_calls++;
}

static void close_stream(struct worker *w, struct stream *s) {
  close_number(w, s->in);
  close_number(w, s->out);
}

/* The file gets another number; what was its is free for all threads. */
static void duplicate(struct worker *w, int *fd) {
  int copy = fcntl(*fd, F_DUPFD_CLOEXEC, (int)chance(w, 3) * 200);
  CHECK(copy >= 0);
  close_number(w, *fd);
  *fd = copy;
  host_calls++;
}

/* The numbers get other files. */
static void redirect(struct worker *w, struct stream *s, enum kind kind, int alone) {
  struct stream fresh;
  open_stream(w, &fresh, kind, alone);
  CHECK(dup3(fresh.in, s->in, O_CLOEXEC) == s->in);
  CHECK(dup3(fresh.out, s->out, O_CLOEXEC) == s->out);
  int in = s->in, out = s->out;
  close_stream(w, &fresh);
  *s = fresh;
  s->in = in;
  s->out = out;
  host_calls += 2;
}

/* By a Unix socket and back, in a message that carries nothing else. */
static void pass(struct worker *w, int *fd) {
  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  char byte = 'x', control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec data = {&byte, 1};
  struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
                     .msg_controllen = sizeof control};
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), fd, sizeof(int));
  CHECK(sendmsg(ends[0], &m, 0) == 1);
  close_number(w, *fd);
  CHECK(recvmsg(ends[1], &m, MSG_CMSG_CLOEXEC) == 1);
  memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
  close_number(w, ends[0]);
  close_number(w, ends[1]);
  host_calls += 3;
}

/* --- bytes -------------------------------------------------------------------------------------- */

static ssize_t put(struct worker *w, struct stream *s, const void *from, size_t bytes) {
  struct iovec v[2] = {{(void *)from, bytes / 2}, {(char *)from + bytes / 2, bytes - bytes / 2}};
  struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
  made(s);
  switch (chance(w, s->kind == PIPE || s->kind == REGULAR ? 12 : 24)) {
    case 0 ... 7: return write(s->out, from, bytes);
    case 8 ... 11: return writev(s->out, v, 2);
    case 12: return sendmsg(s->out, &m, MSG_NOSIGNAL);
    default: return send(s->out, from, bytes, MSG_NOSIGNAL);
  }
}

static ssize_t get(struct worker *w, struct stream *s, void *to, size_t bytes, int flags) {
  struct iovec v[2] = {{to, bytes / 2}, {(char *)to + bytes / 2, bytes - bytes / 2}};
  struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
  made(s);
  int socket = s->kind != PIPE && s->kind != REGULAR;
  if (flags && socket) return recv(s->in, to, bytes, flags);
  switch (chance(w, socket ? 24 : 12)) {
    case 0 ... 7: return read(s->in, to, bytes);
    case 8 ... 11: return readv(s->in, v, 2);
    case 12: return recvmsg(s->in, &m, 0);
    default: return recv(s->in, to, bytes, 0);
  }
}

/* Waits until poll shows bytes. */
static void wait_for(struct stream *s) {
  struct pollfd p = {s->in, POLLIN, 0};
  int n;
  do {
    n = poll(&p, 1, 60000);
    made(s);
  } while (n < 0 && errno == EINTR);
  CHECK(n == 1 && p.revents == POLLIN);
}

/* Sends some bytes and receives them. */
static void round_trip(struct worker *w, struct stream *s, unsigned most) {
  unsigned char bytes[BATCH], got_bytes[BATCH];
  unsigned total = 1 + chance(w, most), sent = 0, got = 0;
  for (unsigned i = 0; i < total; i++) bytes[i] = byte_at(s->key, s->at + i);
  while (sent < total) {
    ssize_t n = put(w, s, bytes + sent, total - sent);
    CHECK(n > 0 || (n < 0 && errno == EINTR));
    if (n > 0) sent += n;
  }
  int polls = s->kind != REGULAR && chance(w, is_device(s) ? 16 : 512) == 0;
  while (got < total) {
    if (polls) wait_for(s);
    ssize_t n = get(w, s, got_bytes + got, total - got, polls ? MSG_DONTWAIT : 0);
    CHECK(n > 0 || (n < 0 && errno == EINTR));
    if (n > 0) got += n;
  }
  if (polls) {
    struct pollfd p = {s->in, POLLIN, 0};
    int n = poll(&p, 1, 0);
    CHECK(n == 0 || (n < 0 && errno == EINTR));
    made(s);
  }
  CHECK(memcmp(bytes, got_bytes, total) == 0);
  s->at += total;
  shared->turns[w->number]++;
}

static void round_trips(struct worker *w, struct stream *s, unsigned count) {
  for (unsigned i = 0; i < count && (s->kind != REGULAR || s->at < FILE_MOST); i++)
    round_trip(w, s, chance(w, 8) ? 64 : BATCH);
}

/* The host's calls are many times as quick: now and then there are a lot of them. */
static unsigned some(struct worker *w, const struct stream *s) {
  return 1 + chance(w, is_device(s) ? 24 : chance(w, 8) ? 400 : 8000);
}

static enum kind any_kind(struct worker *w) { return (enum kind)chance(w, KINDS); }

/* A step with one of some streams that belong to the caller alone. */
static void step(struct worker *w, struct stream *s, int alone) {
  sigset_t all, before;
  sigfillset(&all);
  w->doing = "bytes";
  round_trips(w, s, some(w, s));
  if (chance(w, 8) == 0) check_identity(s);
  if (chance(w, 8) && s->at < FILE_MOST) return;
  w->doing = "changing numbers";
  __atomic_add_fetch(&shared->changes, 1, __ATOMIC_RELAXED);
  // A connect that is interrupted goes on without its caller, and so does no test.
  pthread_sigmask(SIG_SETMASK, &all, &before);
  switch (s->at < FILE_MOST ? chance(w, 5) : 0) {
    case 0:
      close_stream(w, s);
      open_stream(w, s, any_kind(w), alone);
      break;
    case 1: redirect(w, s, any_kind(w), alone); break;
    case 2: pass(w, &s->in); break;
    default:
      // These never say EINTR.
      pthread_sigmask(SIG_SETMASK, &before, NULL);
      duplicate(w, chance(w, 2) ? &s->in : &s->out);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void on_signal(int number) {
  (void)number;
  int error = errno;
  struct worker *w = self;
  if (w && !w->inside) {
    w->inside = 1;
    uint64_t state = w->state; // what was interrupted goes on as it would have
    round_trip(w, &w->handlers, 64);
    w->state = state;
    w->inside = 0;
  }
  __atomic_add_fetch(&shared->signals, 1, __ATOMIC_RELAXED);
  errno = error;
}

/* --- children ----------------------------------------------------------------------------------- */

static char own_path[4096];

/* A program that goes on with a stream where its parent was: stress --child … */
static int go_on(char **words) {
  struct worker *w = &workers[0];
  w->number = atoi(words[0]);
  w->state = strtoull(words[1], NULL, 10);
  shared_fd = atoi(words[2]);
  struct stream s = {.kind = (enum kind)atoi(words[3]), .in = atoi(words[4]), .out = atoi(words[5]),
                     .key = strtoull(words[6], NULL, 10), .at = strtoull(words[7], NULL, 10)};
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, shared_fd, 0);
  CHECK(shared != MAP_FAILED);
  s.ends[0] = identity(&s, s.in);
  s.ends[1] = identity(&s, s.out);
  round_trips(w, &s, 100);
  check_identity(&s);
  shared->position[w->number] = (long)s.at;
  struct stream mine;
  open_stream(w, &mine, any_kind(w), 1);
  for (int i = 0; i < 4; i++) step(w, &mine, 1);
  __atomic_add_fetch(&shared->executed, 1, __ATOMIC_RELAXED);
  account();
  return 0;
}

struct command {
  char text[10][32];
  char *words[12];
};

static char **command(struct command *c, struct worker *w, const struct stream *s) {
  char(*t)[32] = c->text;
  snprintf(t[0], 32, "%d", w->number);
  snprintf(t[1], 32, "%llu", (unsigned long long)w->state);
  snprintf(t[2], 32, "%d", shared_fd);
  snprintf(t[3], 32, "%d", s->kind);
  snprintf(t[4], 32, "%d", s->in);
  snprintf(t[5], 32, "%d", s->out);
  snprintf(t[6], 32, "%llu", (unsigned long long)s->key);
  snprintf(t[7], 32, "%llu", (unsigned long long)s->at);
  c->words[0] = "stress";
  c->words[1] = "--child";
  for (int i = 0; i < 8; i++) c->words[i + 2] = t[i];
  c->words[10] = NULL;
  return c->words;
}

static void *busy(void *argument) {
  struct worker *w = argument;
  struct stream mine;
  open_stream(w, &mine, chance(w, 2) ? any_kind(w) : TCP, 1);
  for (;;) step(w, &mine, 1);
  return NULL;
}

/* In a forked child: bytes of the stream that the parent waits for, and of others. */
static void in_child(struct worker *w, struct stream *s, int executes) {
  self = NULL;
  w->state ^= (uint64_t)getpid() << 17;
  round_trips(w, s, 30);
  check_identity(s);
  struct stream mine;
  open_stream(w, &mine, any_kind(w), 1);
  for (int i = 0; i < 6; i++) step(w, &mine, 1);
  account();
  if (executes) {
    CHECK(fcntl(s->in, F_SETFD, 0) == 0 && fcntl(s->out, F_SETFD, 0) == 0);
    CHECK(fcntl(shared_fd, F_SETFD, 0) == 0);
    if (chance(w, 2)) { // with other threads, which execve ends in the middle of their calls
      static struct worker others[3];
      for (int i = 0; i < 3; i++) {
        pthread_t t;
        others[i].number = w->number;
        others[i].state = w->state + i;
        CHECK(pthread_create(&t, NULL, busy, &others[i]) == 0);
      }
      sleep_us(chance(w, 3000));
    }
    struct command c;
    execv(own_path, command(&c, w, s));
    CHECK(!"executed");
  }
  shared->position[w->number] = (long)s->at;
  _exit(0);
}

static void wait_for_child(struct worker *w, pid_t pid, int killed) {
  int status;
  while (waitpid(pid, &status, 0) < 0) CHECK(errno == EINTR);
  if (killed ? status != SIGKILL : status != 0) {
    fprintf(stderr, "%s: process %d ended with status 0x%x\n", w->doing, pid, status);
    _exit(1);
  }
  __atomic_add_fetch(&shared->children, 1, __ATOMIC_RELAXED);
}

static void have_child(struct worker *w, struct stream *s) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t pid;
  int killed = 0;
  shared->position[w->number] = (long)s->at;
  switch (chance(w, 4)) {
    case 0: { // with this process's memory until it executes
      w->doing = "spawning";
      posix_spawn_file_actions_t actions;
      struct command c;
      CHECK(posix_spawn_file_actions_init(&actions) == 0);
      CHECK(posix_spawn_file_actions_adddup2(&actions, s->in, s->in) == 0);
      CHECK(posix_spawn_file_actions_adddup2(&actions, s->out, s->out) == 0);
      CHECK(posix_spawn_file_actions_adddup2(&actions, shared_fd, shared_fd) == 0);
      CHECK(posix_spawn(&pid, own_path, &actions, NULL, command(&c, w, s), environ) == 0);
      CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
      break;
    }
    case 1: // killed in the middle of whatever it does
      w->doing = "killing";
      killed = 1;
      pid = fork();
      CHECK(pid >= 0);
      if (pid == 0) {
        self = NULL;
        busy(w);
      }
      sleep_us(chance(w, 6000));
      CHECK(kill(pid, SIGKILL) == 0);
      __atomic_add_fetch(&shared->killed, 1, __ATOMIC_RELAXED);
      break;
    default: {
      int executes = (int)chance(w, 2);
      w->doing = executes ? "forking, executing" : "forking";
      pid = fork();
      CHECK(pid >= 0);
      if (pid == 0) in_child(w, s, executes);
    }
  }
  wait_for_child(w, pid, killed);
  s->at = (uint64_t)shared->position[w->number];
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  w->doing = "bytes after a child";
  round_trips(w, s, 4);
}

static void *asking(void *argument) {
  int fd = *(int *)argument;
  struct sockaddr_in a;
  for (;;) {
    socklen_t length = sizeof a;
    CHECK(getsockname(fd, (struct sockaddr *)&a, &length) == 0);
  }
  return NULL;
}

/*
 * Another program is executed while the old one's threads make calls, and makes so many that it
 * would be found out if anybody took it for the old one.
 */
static void executions(uint64_t seed, int count) {
  struct worker w = {.state = seed};
  for (int i = 0; i < count; i++) {
    struct stream s;
    open_stream(&w, &s, (enum kind)(i % KINDS), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
      pthread_t t;
      struct stream udp;
      open_stream(&w, &udp, UDP, 1);
      // So many that whoever is patched after some calls is.
      round_trips(&w, &s, 200);
      for (int k = 0; k < 3; k++) CHECK(pthread_create(&t, NULL, asking, &udp.in) == 0);
      sleep_us(20000);
      CHECK(fcntl(s.in, F_SETFD, 0) == 0 && fcntl(s.out, F_SETFD, 0) == 0);
      CHECK(fcntl(shared_fd, F_SETFD, 0) == 0);
      struct command c;
      execv(own_path, command(&c, &w, &s));
      CHECK(!"executed");
    }
    w.doing = "executing";
    wait_for_child(&w, pid, 0);
    close_stream(&w, &s);
  }
  account();
}

/* --- threads ------------------------------------------------------------------------------------ */

/* All of a message of eight bytes, by calls that wait. */
static void take(int fd, uint64_t *message) {
  for (size_t n = 0; n < sizeof *message;) {
    ssize_t r = recv(fd, (char *)message + n, sizeof *message - n, 0);
    CHECK(r > 0 || (r < 0 && errno == EINTR));
    if (r > 0) n += (size_t)r;
  }
}

static void give(int fd, uint64_t message) {
  for (size_t n = 0; n < sizeof message;) {
    ssize_t r = send(fd, (char *)&message + n, sizeof message - n, MSG_NOSIGNAL);
    CHECK(r > 0 || (r < 0 && errno == EINTR));
    if (r > 0) n += (size_t)r;
  }
}

/* One asks, the other waits to be asked, and each asleep must be woken by the other. */
static void ask(struct worker *w) {
  w->doing = "asking";
  int k = (int)chance(w, 2);
  for (unsigned i = 1 + chance(w, k ? 4 : 40); i > 0; i--) {
    uint64_t question = (uint64_t)chance(w, 1u << 31) << 1 | 1, answer;
    give(w->partner[k], question * 2 + (unsigned)k);
    take(w->partner[k], &answer);
    CHECK(answer == ~question);
    *(k ? &device_calls : &host_calls) += 4;
  }
}

static void answer_all(struct worker *w) {
  // By one epoll set for a socket of each kernel.
  int set = epoll_create1(EPOLL_CLOEXEC);
  CHECK(set >= 0);
  for (int k = 0; k < 2; k++) {
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)k};
    CHECK(epoll_ctl(set, EPOLL_CTL_ADD, w->partner[k], &e) == 0);
  }
  for (;; w->steps++) {
    struct epoll_event e;
    w->doing = "waiting for a question";
    int k = (int)chance(w, 2);
    int n = epoll_wait(set, &e, 1, 500);
    CHECK(n >= 0 || errno == EINTR);
    if (n == 1) {
      k = (int)e.data.u32;
      uint64_t question;
      w->doing = "taking a question";
      take(w->partner[k], &question);
      if (question == 0) break;
      CHECK((question & 1) == (unsigned)k);
      give(w->partner[k], ~(question / 2));
    }
    if (chance(w, 16) == 0) {
      step(w, &w->own[chance(w, OWN)], 0);
      account();
    }
    if (chance(w, 1024) == 0) have_child(w, &w->own[chance(w, OWN)]);
  }
  CHECK(close(set) == 0);
}

static void *work(void *argument) {
  struct worker *w = argument;
  w->doing = "opening";
  open_stream(w, &w->handlers, w->number % 3 ? TCP : PIPE, 0);
  for (int i = 0; i < OWN; i++) open_stream(w, &w->own[i], any_kind(w), 0);
  self = w;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &none, NULL);
  if (w->number % 2) {
    answer_all(w);
  } else {
    for (; !stop; w->steps++) {
      for (int i = 0; i < 8 && !stop; i++) step(w, &w->own[chance(w, OWN)], 0);
      ask(w);
      account();
      if (chance(w, 12) == 0) have_child(w, &w->own[chance(w, OWN)]);
    }
    give(w->partner[0], 0);
  }
  w->doing = "ending";
  pthread_sigmask(SIG_SETMASK, &all, NULL);
  for (int i = 0; i < OWN; i++) {
    check_identity(&w->own[i]);
    close_stream(w, &w->own[i]);
  }
  account();
  return NULL;
}

/* Whether all have done something, and what was asked for: a busy machine takes longer. */
static int enough(int64_t end, long calls) {
  for (int i = 0; i < threads; i++)
    if (workers[i].steps == 0) return 0;
  return now_us() >= end && shared->host + shared->device >= calls && shared->signals > 0;
}

static void look_for_stuck(int64_t *looked, long *last) {
  if (now_us() - *looked < STUCK_US) return;
  *looked = now_us();
  int stuck = 0;
  for (int i = 0; i < threads; i++) {
    long now = workers[i].steps + shared->turns[i];
    if (now == last[i]) {
      stuck++;
      fprintf(stderr, "stuck: thread %d\n", i);
    }
    last[i] = now;
  }
  if (!stuck) return;
  for (int i = 0; i < threads; i++)
    fprintf(stderr, "thread %d: %ld steps, %ld turns, %s\n", i, workers[i].steps,
            shared->turns[i], workers[i].doing);
  fprintf(stderr, "%d threads do not come on\n", stuck);
  if (getenv("STRESS_STAY")) pause();
  abort();
}

int main(int count, char **argument) {
  CHECK(readlink("/proc/self/exe", own_path, sizeof own_path - 1) > 0);
  if (count == 10 && strcmp(argument[1], "--child") == 0) return go_on(argument + 2);
  CHECK(count == 5);
  uint64_t seed = strtoull(argument[1], NULL, 10);
  threads = atoi(argument[2]);
  long calls = atol(argument[4]);
  CHECK(threads >= 2 && threads <= MOST && threads % 2 == 0);
  struct rlimit files;
  CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
  CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
  shared_fd = memfd_create("shared", MFD_CLOEXEC);
  CHECK(shared_fd >= 0 && ftruncate(shared_fd, sizeof *shared) == 0);
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, shared_fd, 0);
  CHECK(shared != MAP_FAILED);
  listener = listening(MOST, &address);
  CHECK(fcntl(listener, F_SETFD, FD_CLOEXEC) == 0);
  executions(seed, 3);
  int64_t began = now_us(), end = began + atoll(argument[3]) * 1000000;
  struct sigaction restarting = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  struct sigaction interrupting = {.sa_handler = on_signal};
  CHECK(sigaction(SIGUSR1, &restarting, NULL) == 0);
  CHECK(sigaction(SIGUSR2, &interrupting, NULL) == 0);
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, NULL); // the threads begin with it
  for (int i = 0; i < threads; i += 2) {
    int tcp[2], local[2];
    open_tcp(tcp, listener, &address);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, local) == 0);
    for (int k = 0; k < 2; k++) {
      workers[i + k].partner[0] = local[k];
      workers[i + k].partner[1] = tcp[k];
    }
  }
  for (int i = 0; i < threads; i++) {
    workers[i].number = i;
    workers[i].state = seed * MOST + i;
    CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
  }
  struct worker chooser = {.state = ~seed};
  long last[MOST] = {0};
  int64_t looked = now_us(), told = looked;
  while (!enough(end, calls)) {
    sleep_us(chance(&chooser, 6000));
    int number = chance(&chooser, 2) ? SIGUSR1 : SIGUSR2;
    if (chance(&chooser, 8))
      pthread_kill(workers[chance(&chooser, threads)].thread, number);
    else
      kill(getpid(), number); // to whichever thread the kernel likes
    look_for_stuck(&looked, last);
    if (calls && now_us() - told > 60000000) {
      told = now_us();
      fprintf(stderr, "%ld s: %ld host, %ld device calls\n", (told - began) / 1000000,
              shared->host, shared->device);
    }
  }
  stop = 1;
  for (int i = 0; i < threads; i++) {
    CHECK(pthread_join(workers[i].thread, NULL) == 0);
  }
  fprintf(stderr,
          "seed %llu: %ld host and %ld device calls in %ld s, %ld signals, %ld children, %ld of them"
          " executed a program, %ld were killed, %ld changes of numbers\n",
          (unsigned long long)seed, shared->host, shared->device, (now_us() - began) / 1000000,
          shared->signals, shared->children, shared->executed, shared->killed, shared->changes);
  CHECK(shared->signals > 0 && shared->changes > 0);
  say("%d threads have what is theirs", threads);
  return 0;
}

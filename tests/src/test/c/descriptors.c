// SPDX-License-Identifier: MIT
// descriptors CASE [SEED]: what a descriptor refers to, who holds it, and what becomes of it, in
// ways that only a supervisor could get wrong. Prints what must be the same on every kernel.
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

/* ---- a table without room ---- */

static void full_table(void) {
  struct sockaddr_in a;
  int l = listening(8, &a), clients[3];
  for (int i = 0; i < 3; i++) clients[i] = connected(&a);
  struct rlimit few = {64, 64};
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  int filler[64], n = 0;
  while ((filler[n] = dup(0)) >= 0) n++;
  CHECK(errno == EMFILE);
  for (int i = 0; i < 3; i++) {
    CHECK(accept(l, NULL, NULL) == -1 && errno == EMFILE);
  }
  /* They are all still there to be accepted, for whoever looks in whatever way. */
  for (int i = 0; i < 3; i++) {
    struct pollfd p = {.fd = l, .events = POLLIN};
    CHECK(poll(&p, 1, 1000) == 1 && p.revents == POLLIN);
    struct pollfd mixed[2] = {{.fd = l, .events = POLLIN}, {.fd = 0, .events = 0}};
    CHECK(poll(mixed, 2, 1000) >= 1 && mixed[0].revents == POLLIN);
  }
  CHECK(socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == EMFILE);
  for (int i = 0; i < 4; i++) close(filler[--n]);
  for (int i = 0; i < 3; i++) {
    struct sockaddr_in peer, own;
    socklen_t length = sizeof peer;
    int s = accept(l, (struct sockaddr *)&peer, &length);
    CHECK(s >= 0);
    length = sizeof own;
    CHECK(getsockname(clients[i], (struct sockaddr *)&own, &length) == 0);
    CHECK(peer.sin_port == own.sin_port);
    CHECK(send(clients[i], "x", 1, 0) == 1);
    char c;
    CHECK(recv(s, &c, 1, 0) == 1);
    close(s);
  }
  struct pollfd p = {.fd = l, .events = POLLIN};
  CHECK(poll(&p, 1, 0) == 0);
  say("no connection was lost to EMFILE");
}

/* ---- close, then the port again ---- */

static void reuse(void) {
  struct sockaddr_in a;
  int s = listening(1, &a);
  for (int i = 0; i < 200; i++) {
    close(s);
    s = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(s, (struct sockaddr *)&a, sizeof a) == 0);
    CHECK(listen(s, 1) == 0);
    if (i % 4 == 0) { /* closed by dup2 */
      int null = open("/dev/null", O_RDONLY);
      CHECK(dup2(null, s) == s);
      close(null);
      int again = socket(AF_INET, SOCK_STREAM, 0);
      CHECK(bind(again, (struct sockaddr *)&a, sizeof a) == 0);
      close(s);
      s = again;
    }
    if (i % 10 == 1) { /* held by a child that ends */
      pid_t child = fork();
      CHECK(child >= 0);
      if (child == 0) {
        close(s);
        _exit(0);
      }
      close(s);
      int status;
      CHECK(waitpid(child, &status, 0) == child);
      s = socket(AF_INET, SOCK_STREAM, 0);
      CHECK(bind(s, (struct sockaddr *)&a, sizeof a) == 0);
    }
  }
  say("a closed port was free at once");
}

/* ---- long transfers ---- */

enum { LONG = 3 * 1000 * 1000 + 7 };

static unsigned char byte_at(long i) { return (unsigned char)(i * 7 + i / 251); }

static void *drain(void *argument) {
  int fd = *(int *)argument;
  static unsigned char block[LONG];
  CHECK(recv(fd, block, sizeof block, MSG_WAITALL) == LONG);
  for (long i = 0; i < LONG; i++) CHECK(block[i] == byte_at(i));
  long left = 0, n;
  while ((n = read(fd, block, 100000)) > 0) {
    for (long i = 0; i < n; i++) CHECK(block[i] == byte_at(left + i));
    left += n;
  }
  CHECK(n == 0);
  return (void *)left;
}

static void transfers(void) {
  static unsigned char block[LONG];
  for (long i = 0; i < LONG; i++) block[i] = byte_at(i);
  int ends[2];
  tcp_pair(ends);
  pthread_t reader;
  CHECK(pthread_create(&reader, NULL, drain, &ends[1]) == 0);
  CHECK(write(ends[0], block, LONG) == LONG);
  struct iovec parts[3] = {{block, 1}, {block + 1, 999999}, {block + 1000000, LONG - 1000000}};
  struct msghdr m = {.msg_iov = parts, .msg_iovlen = 3};
  CHECK(sendmsg(ends[0], &m, 0) == LONG);
  CHECK(shutdown(ends[0], SHUT_WR) == 0);
  void *left;
  CHECK(pthread_join(reader, &left) == 0);
  CHECK((long)left == LONG);
  say("long sends are whole, MSG_WAITALL waits for all");
}

/* ---- SIGPIPE ---- */

static volatile sig_atomic_t pipes;
static volatile pthread_t pipe_thread;

static void on_pipe(int signal) {
  (void)signal;
  pipes++;
  pipe_thread = pthread_self();
}

static void *break_pipe(void *argument) {
  int ends[2];
  (void)argument;
  tcp_pair(ends);
  CHECK(shutdown(ends[0], SHUT_WR) == 0);
  int before = pipes;
  CHECK(write(ends[0], "x", 1) == -1 && errno == EPIPE && pipes == before + 1);
  CHECK(pthread_equal(pipe_thread, pthread_self()));
  CHECK(send(ends[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE && pipes == before + 1);
  struct iovec v = {"x", 1};
  CHECK(writev(ends[0], &v, 1) == -1 && errno == EPIPE && pipes == before + 2);
  return NULL;
}

static void broken(void) {
  struct sigaction a = {.sa_handler = on_pipe};
  CHECK(sigaction(SIGPIPE, &a, NULL) == 0);
  break_pipe(NULL);
  pthread_t other;
  CHECK(pthread_create(&other, NULL, break_pipe, NULL) == 0);
  CHECK(pthread_join(other, NULL) == 0);
  pid_t child = fork();
  if (child == 0) {
    signal(SIGPIPE, SIG_DFL);
    int ends[2];
    tcp_pair(ends);
    shutdown(ends[0], SHUT_WR);
    send(ends[0], "x", 1, 0);
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  say("SIGPIPE comes to the thread that wrote; by default it ends a process: %d",
      WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

/* ---- who has what ---- */

static void passed_on(const char *self) {
  int ends[2];
  tcp_pair(ends);
  CHECK(fcntl(ends[1], F_SETFD, FD_CLOEXEC) == 0);
  int high = fcntl(ends[0], F_DUPFD, 100);
  CHECK(high == 100 && fcntl(high, F_GETFD) == 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    char number[16], gone[16];
    snprintf(number, sizeof number, "%d", high);
    snprintf(gone, sizeof gone, "%d", ends[1]);
    close(ends[0]);
    execl(self, self, "heir", number, gone, (char *)NULL);
    _exit(127);
  }
  close(high);
  close(ends[0]);
  char b[16];
  CHECK(recv(ends[1], b, sizeof b, 0) == 5 && memcmp(b, "child", 5) == 0);
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  /* The child's was the last descriptor of its end. */
  CHECK(recv(ends[1], b, sizeof b, 0) == 0);

  /* Over a Unix socket, to a process that never had one. */
  int pair[2], other[2];
  CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
  child = fork();
  if (child == 0) {
    char control[CMSG_SPACE(sizeof(int))], c;
    struct iovec v = {&c, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    m.msg_control = control, m.msg_controllen = sizeof control;
    if (recvmsg(pair[1], &m, 0) != 1) _exit(2);
    int fd;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    _exit(send(fd, "passed", 6, 0) == 6 ? 0 : 3);
  }
  tcp_pair(other);
  char control[CMSG_SPACE(sizeof(int))] = {0}, c = 'c';
  struct iovec v = {&c, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  m.msg_control = control, m.msg_controllen = sizeof control;
  struct cmsghdr *h = CMSG_FIRSTHDR(&m);
  *h = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  h->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(h), &other[0], sizeof(int));
  CHECK(sendmsg(pair[0], &m, 0) == 1);
  close(other[0]);
  CHECK(recv(other[1], b, sizeof b, 0) == 6);
  CHECK(recv(other[1], b, sizeof b, 0) == 0);
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  say("descriptors went by fork, exec, F_DUPFD and SCM_RIGHTS, and ended with their last holder");
}

static int heir(const char *number, const char *gone) {
  CHECK(fcntl(atoi(gone), F_GETFD) == -1 && errno == EBADF);
  CHECK(write(atoi(number), "child", 5) == 5);
  return 0;
}

/* ---- identity ---- */

static void identity(void) {
  /* As the superuser only: who is nobody already has nothing to give up. */
  if (geteuid() == 0) {
    int raw = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    CHECK(raw >= 0);
    close(raw);
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
  }
  CHECK(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) == -1 && errno == EPERM);
  say("who gave up the right to raw sockets has lost it on the device");
}

/* ---- numbers that change under other threads ---- */

enum { RUNNERS = 6 };

static volatile int finished;

/*
 * Each thread has two numbers of its own that are closed, opened, redirected all the time, and
 * checks what it finds there; the others do the same with theirs, so that a lowest free number
 * often was another thread's a moment ago.
 */
static void *runner(void *argument) {
  uint32_t seed = (uint32_t)(uintptr_t)argument;
  for (long turn = 0; !finished; turn++) {
    seed = seed * 1664525u + 1013904223u;
    int files[2];
    char b[8];
    switch (seed >> 8 & 3) {
      case 0: { /* of the device */
        struct sockaddr_in a;
        int s = bound(SOCK_DGRAM, &a);
        CHECK(sendto(s, "dev", 3, 0, (struct sockaddr *)&a, sizeof a) == 3);
        CHECK(read(s, b, sizeof b) == 3 && memcmp(b, "dev", 3) == 0);
        CHECK(close(s) == 0);
        break;
      }
      case 1: /* of the host */
        CHECK(pipe(files) == 0);
        CHECK(write(files[1], "host", 4) == 4);
        CHECK(read(files[0], b, sizeof b) == 4 && memcmp(b, "host", 4) == 0);
        CHECK(close(files[0]) == 0 && close(files[1]) == 0);
        break;
      case 2: { /* first one, then the other, at the same number */
        struct sockaddr_in a;
        int s = bound(SOCK_DGRAM, &a);
        CHECK(sendto(s, "dev", 3, 0, (struct sockaddr *)&a, sizeof a) == 3);
        CHECK(pipe(files) == 0);
        CHECK(write(files[1], "host", 4) == 4);
        int d = dup(s);
        CHECK(dup2(files[0], s) == s);
        CHECK(read(s, b, sizeof b) == 4 && memcmp(b, "host", 4) == 0);
        CHECK(dup2(d, files[0]) == files[0]);
        CHECK(read(files[0], b, sizeof b) == 3 && memcmp(b, "dev", 3) == 0);
        CHECK(close(d) == 0 && close(s) == 0 && close(files[0]) == 0 && close(files[1]) == 0);
        break;
      }
      default: { /* in a child with a copy of all */
        struct sockaddr_in a;
        int s = bound(SOCK_DGRAM, &a);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0)
          _exit(sendto(s, "kid", 3, 0, (struct sockaddr *)&a, sizeof a) == 3 ? 0 : 1);
        CHECK(read(s, b, sizeof b) == 3 && memcmp(b, "kid", 3) == 0);
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        CHECK(close(s) == 0);
      }
    }
  }
  return NULL;
}

static void race(uint32_t seed, int seconds) {
  fprintf(stderr, "seed %u\n", seed);
  pthread_t threads[RUNNERS];
  for (int i = 0; i < RUNNERS; i++)
    CHECK(pthread_create(&threads[i], NULL, runner, (void *)(uintptr_t)(seed + i)) == 0);
  sleep_us(seconds * 1000000LL);
  finished = 1;
  for (int i = 0; i < RUNNERS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  say("every number was what it had to be");
}

/* ---- tables that are shared in unusual ways ---- */

static int shared_fd, pipe_fd;

static int sharer(void *argument) {
  (void)argument;
  /* Shares the table but not the process: makes its parent's number mean something else. */
  char b[8];
  if (read(shared_fd, b, sizeof b) != 3) return 1;
  return dup2(pipe_fd, shared_fd) == shared_fd ? 0 : 2;
}

static void shared_table(void) {
  struct sockaddr_in a;
  int files[2], status;
  char b[8];
  shared_fd = bound(SOCK_DGRAM, &a);
  CHECK(pipe(files) == 0);
  pipe_fd = files[0];
  CHECK(write(files[1], "host", 4) == 4);
  for (int i = 0; i < 2; i++)
    CHECK(sendto(shared_fd, "dev", 3, 0, (struct sockaddr *)&a, sizeof a) == 3);
  CHECK(read(shared_fd, b, sizeof b) == 3);
  static char stack[65536] __attribute__((aligned(16)));
  pid_t child = clone(sharer, stack + sizeof stack, CLONE_FILES | CLONE_VM | SIGCHLD, NULL);
  CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
  CHECK(read(shared_fd, b, sizeof b) == 4 && memcmp(b, "host", 4) == 0);
  say("a table shared between processes is seen as it is");
}

static void *unsharer(void *argument) {
  int s = *(int *)argument;
  CHECK(unshare(CLONE_FILES) == 0);
  int null = open("/dev/zero", O_RDONLY);
  CHECK(dup2(null, s) == s);
  char b[8];
  CHECK(read(s, b, sizeof b) == sizeof b && b[0] == 0);
  return NULL;
}

static void own_table(void) {
  struct sockaddr_in a;
  char b[8];
  int s = bound(SOCK_DGRAM, &a);
  pthread_t t;
  CHECK(pthread_create(&t, NULL, unsharer, &s) == 0);
  CHECK(pthread_join(t, NULL) == 0);
  CHECK(sendto(s, "dev", 3, 0, (struct sockaddr *)&a, sizeof a) == 3);
  CHECK(read(s, b, sizeof b) == 3 && memcmp(b, "dev", 3) == 0);
  say("a thread with a table of its own does not change the others'");
}

int main(int argc, char **argv) {
  CHECK(argc >= 2);
  const char *name = argv[1];
  alarm(120);
  if (!strcmp(name, "full")) full_table();
  else if (!strcmp(name, "reuse")) reuse();
  else if (!strcmp(name, "transfers")) transfers();
  else if (!strcmp(name, "broken")) broken();
  else if (!strcmp(name, "passed")) passed_on(argv[0]);
  else if (!strcmp(name, "heir")) return heir(argv[2], argv[3]);
  else if (!strcmp(name, "identity")) identity();
  else if (!strcmp(name, "race")) race(strtoul(argv[2], NULL, 0), atoi(argv[3]));
  else if (!strcmp(name, "shared")) shared_table(), own_table();
  else CHECK(!"a case");
  return 0;
}

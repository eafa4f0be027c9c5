// SPDX-License-Identifier: MIT
// Sends and receives so many that a process may make them without a trap, in all the ways in which
// such a call can end: whole, in part, would block, interrupted, with an error, at a fault. Prints
// what must be the same on every kernel. direct SEED
#include "check.h"

#include <sys/mman.h>
#include <sys/prctl.h>

enum { WARM = 64, BIG = 3 << 20, PIECE = 70000 };

static uint64_t state;

static unsigned chance(unsigned below) {
  state = state * 6364136223846793005ULL + 1442695040888963407ULL;
  return (unsigned)(state >> 33) % below;
}

static char pattern(long at) { return (char)(at * 7 + at / 251); }

/* So many calls that later ones on these sockets need no trap. */
static void warm(int from, int to) {
  char c = 'w';
  for (int i = 0; i < WARM; i++) {
    CHECK(send(from, &c, 1, 0) == 1);
    CHECK(recv(to, &c, 1, 0) == 1 && c == 'w');
    CHECK(write(to, &c, 1) == 1);
    CHECK(read(from, &c, 1) == 1 && c == 'w');
  }
}

static void pair(int ends[2]) {
  tcp_pair(ends);
  warm(ends[0], ends[1]);
}

static void nonblocking(int fd, int on) {
  int flags = fcntl(fd, F_GETFL);
  CHECK(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == 0);
}

static void join(pid_t child) {
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static long get(int fd, char *b, long n) {
  switch (chance(3)) {
    case 0: return read(fd, b, n);
    case 1: return recv(fd, b, n, 0);
  }
  long half = n / 3;
  struct iovec v[2] = {{b, half}, {b + half, n - half}};
  return readv(fd, v, 2);
}

static long put(int fd, char *b, long n) {
  switch (chance(3)) {
    case 0: return write(fd, b, n);
    case 1: return send(fd, b, n, 0);
  }
  long half = n / 3;
  struct iovec v[2] = {{b, half}, {b + half, n - half}};
  return writev(fd, v, 2);
}

/* A child sends back what it gets; all of it comes back, whatever the pieces are. */
static void echo(int polls) {
  int s[2];
  pair(s);
  pid_t child = fork();
  if (child == 0) {
    close(s[0]);
    char *b = malloc(PIECE);
    for (long n; (n = get(s[1], b, 1 + chance(PIECE))) > 0;)
      for (long done = 0; done < n;) {
        long r = put(s[1], b + done, n - done);
        CHECK(r > 0);
        done += r;
      }
    _exit(0);
  }
  close(s[1]);
  nonblocking(s[0], polls);
  char *b = malloc(PIECE);
  long sent = 0, got = 0, empty = 0;
  while (got < BIG) {
    if (sent < BIG && sent - got < 2 * PIECE) {
      long n = 1 + chance(PIECE);
      if (n > BIG - sent) n = BIG - sent;
      for (long i = 0; i < n; i++) b[i] = pattern(sent + i);
      long r = put(s[0], b, n);
      CHECK(r > 0 || (polls && errno == EAGAIN));
      CHECK(polls || r == n);
      if (r > 0) sent += r;
    }
    long r = get(s[0], b, 1 + chance(PIECE));
    if (r < 0) {
      CHECK(polls && errno == EAGAIN);
      empty++;
      struct pollfd p = {s[0], POLLIN | (sent < BIG && sent - got < 2 * PIECE ? POLLOUT : 0), 0};
      CHECK(poll(&p, 1, 10000) == 1);
      continue;
    }
    CHECK(r > 0);
    for (long i = 0; i < r; i++) CHECK(b[i] == pattern(got + i));
    got += r;
  }
  CHECK(shutdown(s[0], SHUT_WR) == 0);
  nonblocking(s[0], 0);
  CHECK(read(s[0], b, 1) == 0);
  close(s[0]);
  free(b);
  join(child);
  say("%s: %ld bytes there and back%s", polls ? "nonblocking" : "blocking", got,
      polls && empty == 0 ? ", never empty" : "");
}

/* A send that blocks until the other end has read nearly all. */
static void long_send(void) {
  int s[2];
  pair(s);
  pid_t child = fork();
  if (child == 0) {
    close(s[0]);
    char *b = malloc(PIECE);
    long at = 0;
    sleep_us(30000);
    for (long n; (n = recv(s[1], b, PIECE, 0)) > 0; at += n)
      for (long i = 0; i < n; i++) CHECK(b[i] == pattern(at + i));
    CHECK(at == 4 * BIG);
    _exit(0);
  }
  close(s[1]);
  char *b = malloc(4 * BIG);
  for (long i = 0; i < 4 * BIG; i++) b[i] = pattern(i);
  for (long done = 0; done < 4 * BIG;) {
    // Pieces that the shim takes whole, and that a full buffer takes in part.
    long n = 4 * BIG - done < 100000 ? 4 * BIG - done : 100000;
    struct iovec v[3] = {{b + done, n / 4}, {b + done + n / 4, n / 4}, {b + done + n / 4 * 2, n - n / 4 * 2}};
    CHECK(writev(s[0], v, 3) == n);
    done += n;
  }
  free(b);
  close(s[0]);
  join(child);
  say("long sends arrive whole");
}

static void full_buffer(void) {
  int s[2];
  pair(s);
  nonblocking(s[0], 1);
  int set = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
  CHECK(epoll_ctl(set, EPOLL_CTL_ADD, s[0], &e) == 0);
  CHECK(epoll_wait(set, &e, 1, 1000) == 1 && e.events == EPOLLOUT);
  char *b = calloc(1, PIECE);
  long sent = 0;
  for (long r; (r = send(s[0], b, PIECE, 0)) > 0;) sent += r;
  CHECK(errno == EAGAIN);
  struct pollfd p = {s[0], POLLOUT, 0};
  say("full: poll %d, epoll %d", poll(&p, 1, 0), epoll_wait(set, &e, 1, 0));
  long got = 0;
  while (got < sent) {
    long r = recv(s[1], b, PIECE, 0);
    CHECK(r > 0);
    got += r;
  }
  int n = epoll_wait(set, &e, 1, 5000);
  say("drained: poll %d, epoll %d %x", poll(&p, 1, 5000), n, e.events);
  free(b);
  close(set);
  close(s[0]);
  close(s[1]);
}

/* What is read without a trap is not shown as readable any more; what comes then is an edge. */
static void readiness(void) {
  int s[2];
  pair(s);
  int level = epoll_create1(0), edge = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLIN};
  CHECK(epoll_ctl(level, EPOLL_CTL_ADD, s[1], &e) == 0);
  e.events = EPOLLIN | EPOLLET;
  CHECK(epoll_ctl(edge, EPOLL_CTL_ADD, s[1], &e) == 0);
  int wrong = 0;
  char b[16];
  for (int i = 0; i < 50; i++) {
    wrong += epoll_wait(level, &e, 1, 0) != 0;
    wrong += epoll_wait(edge, &e, 1, 0) != 0;
    CHECK(send(s[0], "abc", 3, 0) == 3);
    wrong += epoll_wait(edge, &e, 1, 5000) != 1;
    wrong += epoll_wait(level, &e, 1, 5000) != 1;
    wrong += epoll_wait(edge, &e, 1, 0) != 0;
    CHECK(recv(s[1], b, 1, 0) == 1);
    wrong += epoll_wait(level, &e, 1, 0) != 1;
    CHECK(recv(s[1], b, sizeof b, MSG_DONTWAIT) == 2);
    if (i % 2) CHECK(recv(s[1], b, sizeof b, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    struct pollfd p = {s[1], POLLIN, 0};
    wrong += poll(&p, 1, 0) != 0;
  }
  say("readiness: %d wrong", wrong);
  close(level);
  close(edge);
  close(s[0]);
  close(s[1]);
}

static void faults(void) {
  int s[2];
  pair(s);
  char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(map != MAP_FAILED);
  CHECK(mprotect(map + 4096, 4096, PROT_NONE) == 0);
  char b[64];
  long r = send(s[0], map + 4096, 10, 0);
  say("send from nowhere: %ld %s", r, errno_name(errno));
  CHECK(send(s[0], "0123456789", 10, 0) == 10);
  r = recv(s[1], map + 4096, 10, 0);
  say("recv to nowhere: %ld %s", r, errno_name(errno));
  r = recv(s[1], NULL, 10, 0);
  say("recv to null: %ld %s", r, errno_name(errno));
  struct iovec *nowhere = (struct iovec *)(map + 4096);
  r = readv(s[1], nowhere, 1);
  say("readv by nothing: %ld %s", r, errno_name(errno));
  r = recv(s[1], b, sizeof b, 0);
  say("still there: %.*s", (int)r, b);
  // Memory that can be written to but has never been; and that of a file, read only.
  char *fresh = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(fresh != MAP_FAILED && send(s[0], "fresh", 5, 0) == 5);
  CHECK(recv(s[1], fresh + 4094, 1 << 19, 0) == 5);
  say("%.5s", fresh + 4094);
  for (int i = 0; i < WARM; i++) {
    CHECK(send(s[0], "again", 5, 0) == 5);
    CHECK(recv(s[1], b, 5, 0) == 5 && memcmp(b, "again", 5) == 0);
  }
  close(s[0]);
  close(s[1]);
}

static volatile int signals;

static void count(int signal) {
  (void)signal;
  signals++;
}

static void broken(void) {
  int s[2];
  pair(s);
  close(s[1]);
  char c = 0;
  CHECK(send(s[0], &c, 1, MSG_NOSIGNAL) == 1); // answered by RST
  sleep_us(20000);
  signal(SIGPIPE, count);
  signals = 0;
  long r = recv(s[0], &c, 1, 0);
  say("recv after reset: %ld %s", r, r < 0 ? errno_name(errno) : "");
  r = send(s[0], &c, 1, MSG_NOSIGNAL);
  say("send, no signal: %ld %s, %d", r, errno_name(errno), signals);
  r = send(s[0], &c, 1, 0);
  say("send: %ld %s, %d", r, errno_name(errno), signals);
  r = write(s[0], &c, 1);
  say("write: %ld %s, %d", r, errno_name(errno), signals);
  close(s[0]);
}

/* Waits until a process sleeps, as one does that waits in a call. */
static void await_sleep(pid_t pid) {
  char name[32], line[256], state = 'R';
  snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
  while (state != 'S') {
    sleep_us(500);
    int fd = open(name, O_RDONLY);
    CHECK(fd >= 0);
    ssize_t n = read(fd, line, sizeof line - 1);
    CHECK(n > 0 && close(fd) == 0);
    line[n] = 0;
    char *end = strrchr(line, ')');
    CHECK(end && sscanf(end, ") %c", &state) == 1);
  }
}

/* A signal ends a receive that waits, or does not, as its handler was installed. */
static void interrupted(int flags) {
  int s[2];
  pair(s);
  struct sigaction act = {.sa_handler = count, .sa_flags = flags};
  CHECK(sigaction(SIGALRM, &act, NULL) == 0);
  int ended = 0, rounds = 40;
  for (int i = 0; i < rounds; i++) {
    unsigned later = chance(6000);
    signals = 0;
    pid_t child = fork();
    if (child == 0) {
      await_sleep(getppid());
      sleep_us(later);
      CHECK(kill(getppid(), SIGALRM) == 0);
      sleep_us(50000);
      CHECK(send(s[0], "x", 1, 0) == 1);
      _exit(0);
    }
    char c;
    long r = recv(s[1], &c, 1, 0);
    if (r < 0) {
      CHECK(errno == EINTR && signals == 1);
      ended++;
      CHECK(recv(s[1], &c, 1, 0) == 1);
    }
    CHECK(signals == 1);
    join(child);
  }
  // Whoever slept may have been on its way into the call.
  say("handler %s: %s", flags ? "restarts" : "interrupts",
      ended == 0 ? "none ended" : ended >= rounds * 3 / 4 ? "ended" : "some ended");
  signal(SIGALRM, SIG_DFL);
  close(s[0]);
  close(s[1]);
}

static void low_water(void) {
  int s[2];
  pair(s);
  int hundred = 100;
  CHECK(setsockopt(s[1], SOL_SOCKET, SO_RCVLOWAT, &hundred, sizeof hundred) == 0);
  char b[256] = {0};
  for (int i = 0; i < 3; i++) {
    // A receive that has 50 already is woken by 100 more, not by 50: tcp_data_ready().
    CHECK(send(s[0], b, 50, 0) == 50);
    pid_t child = fork();
    if (child == 0) {
      sleep_us(20000);
      CHECK(send(s[0], b, 150, 0) == 150);
      _exit(0);
    }
    say("low water: %ld", (long)recv(s[1], b, sizeof b, 0));
    join(child);
  }
  struct timeval little = {0, 30000};
  CHECK(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &little, sizeof little) == 0);
  int64_t start = now_us();
  long r = recv(s[0], b, 1, 0);
  int64_t took = now_us() - start;
  say("time limit: %ld %s, %s", r, errno_name(errno), took >= 30000 ? "in time" : "early");
  close(s[0]);
  close(s[1]);
}

static void datagrams(void) {
  struct sockaddr_in a, b;
  int s[2] = {bound(SOCK_DGRAM, &a), bound(SOCK_DGRAM, &b)};
  CHECK(connect(s[0], (struct sockaddr *)&b, sizeof b) == 0);
  CHECK(connect(s[1], (struct sockaddr *)&a, sizeof a) == 0);
  warm(s[0], s[1]);
  char c[100];
  CHECK(send(s[0], "first", 5, 0) == 5 && send(s[0], "second", 6, 0) == 6);
  CHECK(send(s[0], "", 0, 0) == 0 && send(s[0], "last", 4, 0) == 4);
  say("peek %ld", (long)recv(s[1], c, 3, MSG_PEEK));
  say("cut %ld", (long)recv(s[1], c, 3, 0));
  say("whole %ld", (long)read(s[1], c, sizeof c));
  say("empty %ld", (long)recv(s[1], c, sizeof c, 0));
  say("last %ld", (long)recv(s[1], c, sizeof c, MSG_TRUNC));
  long r = recv(s[1], c, sizeof c, MSG_DONTWAIT);
  say("none %ld %s", r, errno_name(errno));
  char *large = calloc(1, 70000);
  r = send(s[0], large, 70000, 0);
  say("too long: %ld %s", r, errno_name(errno));
  close(s[1]);
  r = send(s[0], "x", 1, 0);
  sleep_us(10000);
  long q = recv(s[0], c, 1, MSG_DONTWAIT);
  say("to nobody: %ld, then %ld %s", r, q, errno_name(errno));
  free(large);
  close(s[0]);
}

/* Parent and child take turns on the same two sockets. */
static void shared(void) {
  int s[2];
  pair(s);
  for (int i = 0; i < 5; i++) {
    pid_t child = fork();
    if (child == 0) {
      for (int k = 0; k < WARM; k++) {
        char c = (char)k;
        CHECK(send(s[0], &c, 1, 0) == 1);
        CHECK(recv(s[1], &c, 1, 0) == 1 && c == (char)k);
      }
      CHECK(send(s[0], "child", 5, 0) == 5);
      _exit(0);
    }
    join(child);
    char b[8];
    CHECK(recv(s[1], b, sizeof b, 0) == 5 && memcmp(b, "child", 5) == 0);
    warm(s[1], s[0]);
  }
  say("shared");
  close(s[0]);
  close(s[1]);
}

static void flags(void) {
  int s[2];
  pair(s);
  char b[16];
  CHECK(send(s[0], "abcdef", 6, MSG_MORE) == 6);
  CHECK(send(s[0], "gh", 2, 0) == 2);
  say("peek: %ld", (long)recv(s[1], b, 4, MSG_PEEK | MSG_WAITALL));
  say("all: %ld %.8s", (long)recv(s[1], b, 8, MSG_WAITALL), b);
  CHECK(send(s[0], "!", 1, MSG_OOB) == 1);
  struct pollfd p = {s[1], POLLPRI, 0};
  CHECK(poll(&p, 1, 5000) == 1);
  say("urgent: %ld", (long)recv(s[1], b, 1, MSG_OOB));
  CHECK(shutdown(s[0], SHUT_WR) == 0);
  say("end: %ld %ld", (long)recv(s[1], b, 1, 0), (long)read(s[1], b, 1));
  close(s[0]);
  close(s[1]);
  long r = recv(s[0], b, 1, 0);
  say("closed: %ld %s", r, errno_name(errno));
}

int main(int argc, char **argv) {
  CHECK(argc == 2);
  state = strtoull(argv[1], NULL, 10);
  signal(SIGPIPE, SIG_IGN);
  echo(0);
  echo(1);
  long_send();
  full_buffer();
  readiness();
  faults();
  broken();
  interrupted(0);
  interrupted(SA_RESTART);
  low_water();
  datagrams();
  shared();
  flags();
  return 0;
}

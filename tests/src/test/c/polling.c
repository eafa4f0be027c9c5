// SPDX-License-Identifier: MIT
// What programs rely on when they wait for sockets: poll, select, epoll, and transfers in bulk.
// "polling CASE..." runs the cases named, "polling" all of them. What it prints must be the same on
// every kernel; what must hold in any order or number of attempts is checked instead.
#include "check.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

static const int EVERY = POLLIN | POLLOUT | POLLPRI | POLLRDHUP;

static const char *bits(int mask) {
  static char text[8][80];
  static int next;
  char *t = text[next++ & 7];
  snprintf(t, 80, "%s%s%s%s%s%s%s", mask & POLLIN ? "IN " : "", mask & POLLOUT ? "OUT " : "",
           mask & POLLPRI ? "PRI " : "", mask & POLLRDHUP ? "RDHUP " : "",
           mask & POLLERR ? "ERR " : "", mask & POLLHUP ? "HUP " : "",
           mask & POLLNVAL ? "NVAL " : "");
  return t;
}

static void outcome(const char *what, ssize_t result) {
  say("%s: %zd %s", what, result, result < 0 ? errno_name(errno) : "");
}

static int poll_now(int fd, int events) {
  struct pollfd p = {fd, events, 0};
  int n = poll(&p, 1, 0);
  CHECK(n == (p.revents != 0));
  return p.revents;
}

// Until the mask is what it must become: what comes over a link comes when it comes.
static int poll_until(int fd, int events, int wanted) {
  int64_t end = now_us() + 5000000;
  int mask;
  while (((mask = poll_now(fd, events)) & wanted) != wanted && now_us() < end) sleep_us(1000);
  return mask;
}

static void nonblocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  CHECK(flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}

static int select_now(int fd) {
  fd_set in, out, except;
  struct timeval zero = {0, 0};
  FD_ZERO(&in);
  FD_SET(fd, &in);
  out = except = in;
  int n = select(fd + 1, &in, &out, &except, &zero);
  int r = (FD_ISSET(fd, &in) ? 1 : 0) | (FD_ISSET(fd, &out) ? 2 : 0) | (FD_ISSET(fd, &except) ? 4 : 0);
  CHECK(n == __builtin_popcount(r));
  return r;
}

static int epoll_of(int fd, uint32_t events) {
  int e = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = events, .data.fd = fd};
  CHECK(e >= 0 && epoll_ctl(e, EPOLL_CTL_ADD, fd, &event) == 0);
  return e;
}

// The events of the one file in the set, 0 if there are none within the time.
static uint32_t epoll_get(int e, int timeout_ms) {
  struct epoll_event event;
  int n = epoll_wait(e, &event, 1, timeout_ms);
  CHECK(n >= 0);
  return n ? event.events : 0;
}

static void drain(int fd) {
  char b[65536];
  ssize_t n;
  while ((n = recv(fd, b, sizeof b, MSG_DONTWAIT)) > 0) {
  }
  CHECK(n == 0 || errno == EAGAIN);
}

static size_t fill(int fd) {
  static char b[4096];
  size_t total = 0;
  ssize_t n;
  while ((n = send(fd, b, sizeof b, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) total += n;
  CHECK(errno == EAGAIN);
  return total;
}

static void masks(void) {
  struct sockaddr_in a;
  int s = socket(AF_INET, SOCK_STREAM, 0);
  say("new: %s select %d", bits(poll_now(s, EVERY)), select_now(s));
  CHECK(close(s) == 0);
  int l = listening(8, &a);
  say("listening: %s select %d", bits(poll_now(l, EVERY)), select_now(l));
  int c = connected(&a);
  say("pending: %s select %d", bits(poll_until(l, EVERY, POLLIN)), select_now(l));
  int d = accept(l, NULL, NULL);
  say("accepted all: %s", bits(poll_now(l, EVERY)));
  say("idle: %s select %d", bits(poll_now(d, EVERY)), select_now(d));
  CHECK(send(c, "x", 1, 0) == 1);
  say("data: %s select %d", bits(poll_until(d, EVERY, POLLIN)), select_now(d));
  char b[8];
  CHECK(recv(d, b, 8, 0) == 1);
  say("read: %s select %d", bits(poll_now(d, EVERY)), select_now(d));
  CHECK(send(c, "u", 1, MSG_OOB) == 1);
  say("urgent: %s select %d", bits(poll_until(d, EVERY, POLLPRI)), select_now(d));
  CHECK(recv(d, b, 1, MSG_OOB) == 1);
  say("urgent read: %s", bits(poll_now(d, EVERY)));
  CHECK(shutdown(c, SHUT_WR) == 0);
  say("half closed: %s", bits(poll_until(d, EVERY, POLLRDHUP)));
  say("half closer: %s", bits(poll_now(c, EVERY)));
  say("asking for OUT: %s", bits(poll_now(d, POLLOUT)));
  say("asking for nothing: %s", bits(poll_now(d, 0)));
  CHECK(shutdown(d, SHUT_WR) == 0);
  say("both closed: %s", bits(poll_until(d, EVERY, POLLHUP)));
  say("both closed, nothing asked: %s", bits(poll_now(d, 0)));
  close(c), close(d);

  c = connected(&a);
  d = accept(l, NULL, NULL);
  struct linger hard = {1, 0};
  CHECK(setsockopt(c, SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
  close(c);
  say("reset: %s", bits(poll_until(d, EVERY, POLLERR)));
  outcome("reset", recv(d, b, 8, 0));
  say("then: %s", bits(poll_now(d, EVERY)));
  close(d), close(l);

  s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int r = connect(s, (struct sockaddr *)&a, sizeof a);
  CHECK(r == -1 && (errno == EINPROGRESS || errno == ECONNREFUSED));
  if (errno == EINPROGRESS) {
    CHECK(poll_until(s, EVERY, POLLERR) == (POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP));
    int error;
    socklen_t length = sizeof error;
    CHECK(getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == ECONNREFUSED);
  }
  say("refused");
  close(s);

  int u = bound(SOCK_DGRAM, &a);
  say("udp: %s", bits(poll_now(u, EVERY)));
  int v = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(connect(v, (struct sockaddr *)&a, sizeof a) == 0);
  CHECK(send(v, "x", 1, 0) == 1 && send(v, "y", 1, 0) == 1);
  say("datagram: %s", bits(poll_until(u, EVERY, POLLIN)));
  CHECK(recv(u, b, 8, 0) == 1);
  say("one of two read: %s", bits(poll_now(u, EVERY)));
  CHECK(recv(u, b, 8, 0) == 1);
  say("both read: %s", bits(poll_now(u, EVERY)));
  close(u);
  CHECK(send(v, "x", 1, 0) == 1);
  say("port unreachable: %s", bits(poll_until(v, EVERY, POLLERR)));
  outcome("port unreachable", recv(v, b, 8, MSG_DONTWAIT));
  say("then: %s", bits(poll_now(v, EVERY)));
  close(v);
  say("closed: %s", bits(poll_now(v, EVERY)));
}

// A look right after a peer's send must see it, one after the last byte was read must not.
static void exact(void) {
  int t[2];
  tcp_pair(t);
  int level = epoll_of(t[1], EPOLLIN), edge = epoll_of(t[1], EPOLLIN | EPOLLET);
  char b[8];
  for (int i = 0; i < 200; i++) {
    CHECK(send(t[0], "x", 1, 0) == 1);
    switch (i % 4) {
      case 0: CHECK(poll_now(t[1], POLLIN) == POLLIN); break;
      case 1: CHECK(select_now(t[1]) == 3); break;
      case 2: CHECK(epoll_get(level, 0) == EPOLLIN); break;
      default: CHECK(epoll_get(edge, 0) == EPOLLIN);
    }
    CHECK(recv(t[1], b, 8, 0) == 1);
    switch (i / 4 % 4) {
      case 0: CHECK(poll_now(t[1], POLLIN) == 0); break;
      case 1: CHECK(select_now(t[1]) == 2); break;
      case 2: CHECK(epoll_get(level, 0) == 0); break;
      default: CHECK(epoll_get(edge, 0) == 0);
    }
  }
  struct sockaddr_in a;
  int u = bound(SOCK_DGRAM, &a), v = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(connect(v, (struct sockaddr *)&a, sizeof a) == 0);
  for (int i = 0; i < 200; i++) {
    CHECK(send(v, "x", 1, 0) == 1 && poll_now(u, POLLIN) == POLLIN);
    CHECK(recv(u, b, 8, 0) == 1 && poll_now(u, POLLIN) == 0);
  }
  close(t[0]), close(t[1]), close(level), close(edge), close(u), close(v);
  say("exact");
}

static void *send_later(void *fd) {
  sleep_us(30000);
  CHECK(send((int)(intptr_t)fd, "x", 1, MSG_NOSIGNAL) == 1);
  return NULL;
}

static void timeouts(void) {
  int t[2];
  tcp_pair(t);
  int e = epoll_of(t[1], EPOLLIN);
  struct pollfd p = {t[1], POLLIN, 0};
  int64_t start = now_us();
  CHECK(poll(&p, 1, 50) == 0 && now_us() - start >= 49000);
  start = now_us();
  CHECK(epoll_get(e, 50) == 0 && now_us() - start >= 49000);
  start = now_us();
  fd_set in;
  FD_ZERO(&in);
  FD_SET(t[1], &in);
  struct timeval tv = {0, 50000};
  CHECK(select(t[1] + 1, &in, NULL, NULL, &tv) == 0 && now_us() - start >= 49000);
  CHECK(tv.tv_sec == 0 && tv.tv_usec == 0);
  pthread_t thread;
  char b[8];
  for (int i = 0; i < 4; i++) {
    CHECK(pthread_create(&thread, NULL, send_later, (void *)(intptr_t)t[0]) == 0);
    start = now_us();
    switch (i) {
      case 0: CHECK(poll(&p, 1, 5000) == 1); break;
      case 1: CHECK(epoll_get(e, 5000) == EPOLLIN); break;
      case 2: {
        struct timespec ts = {5, 0};
        sigset_t none;
        sigemptyset(&none);
        CHECK(ppoll(&p, 1, &ts, &none) == 1);
        break;
      }
      default:
        FD_SET(t[1], &in);
        CHECK(select(t[1] + 1, &in, NULL, NULL, NULL) == 1);
    }
    CHECK(now_us() - start < 2000000);
    CHECK(recv(t[1], b, 8, 0) == 1);
    CHECK(pthread_join(thread, NULL) == 0);
  }
  p.fd = t[1];
  struct timespec bad = {0, 2000000000};
  CHECK(send(t[0], "x", 1, 0) == 1);
  CHECK(ppoll(&p, 1, &bad, NULL) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_ppoll, &p, 1, NULL, (void *)8, 8) == -1 && errno == EFAULT);
  CHECK(syscall(SYS_poll, (void *)8, 1, 0) == -1 && errno == EFAULT);
  CHECK(syscall(SYS_select, t[1] + 1, (void *)8, NULL, NULL, NULL) == -1 && errno == EFAULT);
  tv.tv_sec = -1;
  CHECK(select(t[1] + 1, &in, NULL, NULL, &tv) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_epoll_wait, e, (void *)8, 1, 0) == -1 && errno == EFAULT);
  CHECK(epoll_wait(e, NULL, 0, 0) == -1 && errno == EINVAL);
  close(t[0]), close(t[1]), close(e);
  say("timeouts");
}

static volatile int looking;

static void *look_always(void *fd) {
  while (looking) poll_now((int)(intptr_t)fd, POLLIN);
  return NULL;
}

static void *send_at_once(void *fd) {
  sleep_us((now_us() & 7) * 40);
  CHECK(send((int)(intptr_t)fd, "x", 1, MSG_NOSIGNAL) == 1);
  return NULL;
}

// The first look at a new socket, while what it waits for happens and another thread looks at
// another one.
static void fresh(void) {
  int other[2];
  tcp_pair(other);
  struct sockaddr_in a;
  int l = listening(8, &a);
  pthread_t looker, sender;
  looking = 1;
  CHECK(pthread_create(&looker, NULL, look_always, (void *)(intptr_t)other[1]) == 0);
  for (int i = 0; i < 120; i++) {
    int c = connected(&a), d = accept(l, NULL, NULL);
    CHECK(pthread_create(&sender, NULL, send_at_once, (void *)(intptr_t)d) == 0);
    struct pollfd p = {c, POLLIN, 0};
    if (i % 2) {
      CHECK(poll(&p, 1, 5000) == 1 && p.revents == POLLIN);
    } else {
      int e = epoll_of(c, EPOLLIN | EPOLLET);
      CHECK(epoll_get(e, 5000) == EPOLLIN);
      close(e);
    }
    CHECK(pthread_join(sender, NULL) == 0);
    close(c), close(d);
  }
  looking = 0;
  CHECK(pthread_join(looker, NULL) == 0);
  close(other[0]), close(other[1]), close(l);
  say("fresh");
}

// Edge-triggered: every arrival is told, though nothing was read; writable is told when it returns.
static void edges(void) {
  int t[2];
  tcp_pair(t);
  nonblocking(t[0]);
  int one = 1;
  CHECK(setsockopt(t[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
  int e = epoll_of(t[1], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
  CHECK(epoll_get(e, 1000) == EPOLLOUT);
  for (int i = 0; i < 120; i++) {
    CHECK(send(t[0], "x", 1, 0) == 1);
    CHECK(epoll_get(e, 1000) & EPOLLIN);
  }
  drain(t[1]);
  // Small buffers: large ones grow while they fill, and may drop what they took in.
  int small = 16384;
  CHECK(setsockopt(t[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
  CHECK(setsockopt(t[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
  int f = epoll_of(t[0], EPOLLOUT | EPOLLET);
  CHECK(epoll_get(f, 1000) == EPOLLOUT);
  for (int i = 0; i < 5; i++) {
    fill(t[0]);
    // What was on its way may be acknowledged a little later, and makes room that there is.
    for (int64_t end = now_us() + 5000000; poll_now(t[0], POLLOUT) && now_us() < end;) {
      CHECK(send(t[0], "x", 1, MSG_DONTWAIT) == 1);
      fill(t[0]);
    }
    CHECK(poll_now(t[0], POLLOUT) == 0);
    epoll_get(f, 0);
    int64_t end = now_us() + 10000000;
    uint32_t events = 0;
    do {
      drain(t[1]);
      events = epoll_get(f, 10);
    } while (!events && now_us() < end);
    CHECK(events == EPOLLOUT);
    while (epoll_get(e, 0)) {
    }
  }
  drain(t[1]);
  CHECK(shutdown(t[0], SHUT_WR) == 0);
  uint32_t events;
  while (((events = epoll_get(e, 1000)) & EPOLLRDHUP) == 0) {
    CHECK(events != 0);
    drain(t[1]);
  }
  CHECK(events & EPOLLIN);
  CHECK(shutdown(t[1], SHUT_WR) == 0);
  CHECK((epoll_get(e, 1000) & (EPOLLHUP | EPOLLRDHUP | EPOLLIN)) ==
        (EPOLLHUP | EPOLLRDHUP | EPOLLIN));
  close(t[0]), close(t[1]), close(e), close(f);
  say("edges");
}

// As a proxy does it: into the epoll set first, then connect.
static void connecting(void) {
  struct sockaddr_in a;
  int l = listening(64, &a);
  for (int i = 0; i < 100; i++) {
    int c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int e = epoll_of(c, EPOLLIN | EPOLLOUT | EPOLLRDHUP | (i % 2 ? EPOLLET : 0));
    uint32_t before = epoll_get(e, 0);
    CHECK(before & EPOLLOUT);
    int r = connect(c, (struct sockaddr *)&a, sizeof a);
    CHECK(r == 0 || errno == EINPROGRESS);
    CHECK(epoll_get(e, 5000) == EPOLLOUT);
    int error;
    socklen_t length = sizeof error;
    CHECK(getsockopt(c, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0);
    int d = accept(l, NULL, NULL);
    CHECK(d >= 0);
    CHECK(send(d, "x", 1, 0) == 1);
    CHECK(epoll_get(e, 5000) == (EPOLLIN | EPOLLOUT));
    close(c), close(d), close(e);
  }
  close(l);
  int c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int e = epoll_of(c, EPOLLOUT | EPOLLET);
  epoll_get(e, 0);
  int r = connect(c, (struct sockaddr *)&a, sizeof a);
  CHECK(r == -1);
  if (errno == EINPROGRESS) {
    CHECK(epoll_get(e, 5000) & (EPOLLOUT | EPOLLERR));
    int error;
    socklen_t length = sizeof error;
    CHECK(getsockopt(c, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == ECONNREFUSED);
  }
  close(c), close(e);
  say("connecting");
}

static void oneshot(void) {
  int t[2];
  tcp_pair(t);
  int e = epoll_of(t[1], EPOLLIN | EPOLLONESHOT);
  struct epoll_event again = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = t[1]};
  char b[8];
  for (int i = 0; i < 100; i++) {
    CHECK(send(t[0], "x", 1, 0) == 1);
    CHECK(epoll_get(e, 1000) == EPOLLIN);
    CHECK(send(t[0], "x", 1, 0) == 1);
    CHECK(epoll_get(e, 0) == 0);
    CHECK(epoll_ctl(e, EPOLL_CTL_MOD, t[1], &again) == 0);
    CHECK(epoll_get(e, 0) == EPOLLIN);
    while (recv(t[1], b, 8, MSG_DONTWAIT) > 0) {
    }
    CHECK(epoll_ctl(e, EPOLL_CTL_MOD, t[1], &again) == 0);
    CHECK(epoll_get(e, 0) == 0);
  }
  close(t[0]), close(t[1]), close(e);
  say("oneshot");
}

enum { STREAMS = 8, ROUNDS = 60, LONGEST = 6000 };

struct stream {
  int server, client;
  uint32_t seed;
};

static uint32_t next_random(uint32_t *seed) {
  *seed = *seed * 1664525 + 1013904223;
  return *seed >> 8;
}

static void *flood_client(void *argument) {
  struct stream *s = argument;
  char data[4 + LONGEST] = {0}, ack;
  for (int i = 0; i < ROUNDS; i++) {
    uint32_t length = 1 + next_random(&s->seed) % LONGEST;
    memcpy(data, &length, 4);
    for (uint32_t sent = 0; sent < 4 + length;) {
      uint32_t piece = 1 + next_random(&s->seed) % 3000;
      if (piece > 4 + length - sent) piece = 4 + length - sent;
      CHECK(send(s->client, data + sent, piece, 0) == (ssize_t)piece);
      sent += piece;
      if (next_random(&s->seed) % 4 == 0) sleep_us(next_random(&s->seed) % 300);
    }
    // If an edge was lost, the server waits for ever.
    CHECK(poll_until(s->client, POLLIN, POLLIN) & POLLIN);
    CHECK(recv(s->client, &ack, 1, 0) == 1);
  }
  CHECK(shutdown(s->client, SHUT_WR) == 0);
  CHECK(recv(s->client, &ack, 1, 0) == 0);
  return NULL;
}

// As nginx does it: edge-triggered, and a read that got less than asked for is the last one until
// the next edge.
static void flood(void) {
  const char *given = getenv("SEED");
  uint32_t seed = given ? strtoul(given, NULL, 10) : (uint32_t)now_us();
  fprintf(stderr, "SEED=%u\n", seed);
  struct stream streams[STREAMS];
  uint32_t got[STREAMS] = {0}, length[STREAMS] = {0};
  pthread_t threads[STREAMS];
  int e = epoll_create1(0);
  for (int i = 0; i < STREAMS; i++) {
    int t[2], one = 1;
    tcp_pair(t);
    CHECK(setsockopt(t[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
    CHECK(setsockopt(t[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
    nonblocking(t[1]);
    streams[i] = (struct stream){t[1], t[0], seed + i};
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u32 = i};
    CHECK(epoll_ctl(e, EPOLL_CTL_ADD, t[1], &event) == 0);
    CHECK(pthread_create(&threads[i], NULL, flood_client, &streams[i]) == 0);
  }
  int open = STREAMS;
  while (open) {
    struct epoll_event events[4];
    int n = epoll_wait(e, events, 4, 10000);
    CHECK(n > 0);
    for (int i = 0; i < n; i++) {
      int k = events[i].data.u32;
      char b[1000];
      for (;;) {
        // Never past the end of a message, so that a read that ends one is a full one or not.
        uint32_t want = got[k] < 4 ? 4 - got[k] : 4 + length[k] - got[k];
        if (want > sizeof b) want = sizeof b;
        ssize_t r = recv(streams[k].server, b, want, 0);
        if (r == 0) {
          CHECK(got[k] == 0 && epoll_ctl(e, EPOLL_CTL_DEL, streams[k].server, NULL) == 0);
          close(streams[k].server);
          open--;
          break;
        }
        if (r < 0) {
          CHECK(errno == EAGAIN);
          break;
        }
        if (got[k] < 4) memcpy((char *)&length[k] + got[k], b, r);
        got[k] += r;
        if (got[k] >= 4 && got[k] == 4 + length[k]) {
          got[k] = 0;
          CHECK(send(streams[k].server, "a", 1, 0) == 1);
        }
        if (r < (ssize_t)want && (events[i].events & EPOLLRDHUP) == 0) break;
      }
    }
  }
  for (int i = 0; i < STREAMS; i++) {
    CHECK(pthread_join(threads[i], NULL) == 0);
    close(streams[i].client);
  }
  close(e);
  say("flood");
}

enum { WORKERS = 3, CLIENTS = 60 };

static void serve(int l, int exclusive) {
  int e = -1;
  if (exclusive) e = epoll_of(l, EPOLLIN | EPOLLEXCLUSIVE);
  for (;;) {
    if (exclusive) {
      CHECK(epoll_get(e, -1) == EPOLLIN);
    } else {
      fd_set in;
      FD_ZERO(&in);
      FD_SET(l, &in);
      CHECK(select(l + 1, &in, NULL, NULL, NULL) == 1);
    }
    int c = accept(l, NULL, NULL);
    if (c < 0) {
      CHECK(errno == EAGAIN);
      continue;
    }
    // One connection at a time, and it takes a while: others must get the next ones.
    char b[8];
    CHECK(recv(c, b, 8, 0) == 1);
    CHECK(send(c, b, 1, 0) == 1);
    CHECK(recv(c, b, 8, 0) == 0);
    close(c);
  }
}

// Several processes wait for one listening socket; one that is busy must not keep a connection
// from the others.
static void workers(void) {
  for (int exclusive = 0; exclusive < 2; exclusive++) {
    struct sockaddr_in a;
    int l = listening(CLIENTS, &a);
    nonblocking(l);
    pid_t pids[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
      if ((pids[i] = fork()) == 0) {
        serve(l, exclusive);
        _exit(1);
      }
      CHECK(pids[i] > 0);
    }
    char b[8];
    for (int round = 0; round < CLIENTS / WORKERS; round++) {
      int c[WORKERS];
      // Each of these waits for the one before, which is held open: every worker gets one.
      for (int i = 0; i < WORKERS; i++) {
        c[i] = connected(&a);
        CHECK(send(c[i], "x", 1, 0) == 1);
        CHECK(poll_until(c[i], POLLIN, POLLIN) == POLLIN);
        CHECK(recv(c[i], b, 8, 0) == 1);
      }
      for (int i = 0; i < WORKERS; i++) close(c[i]);
    }
    for (int i = 0; i < WORKERS; i++) {
      kill(pids[i], SIGKILL);
      int status;
      CHECK(waitpid(pids[i], &status, 0) == pids[i] && WIFSIGNALED(status));
    }
    close(l);
  }
  say("workers");
}

// Two processes share one socket: what the one reads, the other does not see.
static void shared(void) {
  int t[2], to[2], from[2];
  tcp_pair(t);
  CHECK(pipe(to) == 0 && pipe(from) == 0);
  int e = epoll_of(t[1], EPOLLIN);
  pid_t pid = fork();
  if (pid == 0) {
    char b[64];
    while (read(to[0], b, 1) == 1) {
      CHECK(recv(t[1], b, sizeof b, 0) == 1);
      CHECK(write(from[1], "r", 1) == 1);
      if (b[0] == 'q') _exit(0);
    }
    _exit(1);
  }
  char b[8];
  for (int i = 0; i < 100; i++) {
    CHECK(send(t[0], i == 99 ? "q" : "x", 1, 0) == 1);
    CHECK(epoll_get(e, 1000) == EPOLLIN);
    CHECK(poll_now(t[1], POLLIN) == POLLIN);
    CHECK(write(to[1], "g", 1) == 1 && read(from[0], b, 1) == 1);
    CHECK(epoll_get(e, 0) == 0);
    CHECK(poll_now(t[1], POLLIN) == 0);
  }
  int status;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
  // The one that has read is about to end, or ends meanwhile.
  for (int i = 0; i < 50; i++) {
    CHECK(send(t[0], "x", 1, 0) == 1);
    CHECK(epoll_get(e, 1000) == EPOLLIN);
    if ((pid = fork()) == 0) {
      CHECK(recv(t[1], b, 1, 0) == 1 && write(from[1], "r", 1) == 1);
      _exit(0);
    }
    CHECK(read(from[0], b, 1) == 1);
    CHECK(epoll_get(e, 0) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
  }
  close(t[0]), close(t[1]), close(e);
  close(to[0]), close(to[1]), close(from[0]), close(from[1]);
  say("shared");
}

// Epoll sets in epoll sets, duplicated, and inherited: the child waits on the parent's set.
static void nested(void) {
  int t[2];
  tcp_pair(t);
  int inner = epoll_of(t[1], EPOLLIN);
  int outer = epoll_of(inner, EPOLLIN);
  int copy = dup(outer);
  char b[8];
  CHECK(epoll_get(copy, 0) == 0);
  CHECK(send(t[0], "x", 1, 0) == 1);
  CHECK(epoll_get(copy, 0) == EPOLLIN && epoll_get(inner, 0) == EPOLLIN);
  CHECK(poll_now(outer, POLLIN) == POLLIN);
  CHECK(recv(t[1], b, 8, 0) == 1);
  CHECK(epoll_get(copy, 0) == 0);
  CHECK(poll_now(outer, POLLIN) == 0);
  pid_t pid = fork();
  if (pid == 0) {
    CHECK(epoll_get(copy, 5000) == EPOLLIN);
    CHECK(recv(t[1], b, 8, 0) == 1);
    CHECK(epoll_get(copy, 0) == 0);
    _exit(0);
  }
  sleep_us(20000);
  CHECK(send(t[0], "x", 1, 0) == 1);
  int status;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
  CHECK(epoll_get(copy, 0) == 0);
  close(t[0]), close(t[1]), close(inner), close(outer), close(copy);
  say("nested");
}

// Sockets together with files of other kinds, in one wait.
static void mixed(void) {
  int t[2], p[2];
  tcp_pair(t);
  CHECK(pipe(p) == 0);
  int ev = eventfd(0, EFD_NONBLOCK), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  int all[] = {t[1], p[0], ev, timer};
  int e = epoll_create1(0);
  for (int i = 0; i < 4; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    CHECK(epoll_ctl(e, EPOLL_CTL_ADD, all[i], &event) == 0);
  }
  char b[8];
  for (int i = 0; i < 100; i++) {
    int which = i % 4;
    switch (which) {
      case 0: CHECK(send(t[0], "x", 1, 0) == 1); break;
      case 1: CHECK(write(p[1], "x", 1) == 1); break;
      case 2: CHECK(eventfd_write(ev, 1) == 0); break;
      default: {
        struct itimerspec soon = {.it_value.tv_nsec = 1000000};
        CHECK(timerfd_settime(timer, 0, &soon, NULL) == 0);
      }
    }
    struct pollfd f[4] = {{t[1], POLLIN, 0}, {p[0], POLLIN, 0}, {ev, POLLIN, 0}, {timer, POLLIN, 0}};
    CHECK(poll(f, 4, 5000) == 1 && f[which].revents == POLLIN);
    struct epoll_event event;
    CHECK(epoll_wait(e, &event, 1, 5000) == 1 && event.data.u32 == (uint32_t)which);
    fd_set in;
    FD_ZERO(&in);
    int top = 0;
    for (int j = 0; j < 4; j++) {
      FD_SET(all[j], &in);
      top = all[j] > top ? all[j] : top;
    }
    CHECK(select(top + 1, &in, NULL, NULL, NULL) == 1 && FD_ISSET(all[which], &in));
    CHECK(read(all[which], b, 8) > 0);
    CHECK(poll(f, 4, 0) == 0 && epoll_wait(e, &event, 1, 0) == 0);
  }
  struct pollfd skip[3] = {{-1, POLLIN, 7}, {t[1], POLLIN, 7}, {1000000, POLLIN, 0}};
  CHECK(poll(skip, 2, 0) == 0 && skip[0].revents == 0 && skip[1].revents == 0);
  CHECK(poll(skip, 3, 0) == 1 && skip[2].revents == POLLNVAL);
  close(t[0]), close(t[1]), close(p[0]), close(p[1]), close(ev), close(timer), close(e);
  say("mixed");
}

// Members that share their data, of which one has an error, and one is a pipe that nobody writes to.
static void alike(void) {
  struct sockaddr_in a;
  int l = listening(1, &a), pairs[8][3];
  close(l);
  for (int i = 0; i < 8; i++) {
    int p[2], s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), e = epoll_create1(0);
    CHECK(pipe(p) == 0 && close(p[1]) == 0);
    int r = connect(s, (struct sockaddr *)&a, sizeof a);
    CHECK(r == -1 && (errno == EINPROGRESS || errno == ECONNREFUSED));
    CHECK(poll_until(s, EVERY, POLLHUP) & POLLHUP);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.u32 = 7}, got[2];
    for (int k = 0; k < 2; k++) CHECK(epoll_ctl(e, EPOLL_CTL_ADD, i % 2 == k ? s : p[0], &event) == 0);
    int n = epoll_wait(e, got, 2, 0);
    uint32_t first = got[0].events, second = got[1].events;
    say("alike: %d of %#x and %#x", n, first > second ? first : second, first > second ? second : first);
    memcpy(pairs[i], (int[]){s, p[0], e}, sizeof pairs[i]);
  }
  for (int i = 0; i < 8; i++)
    for (int k = 0; k < 3; k++) close(pairs[i][k]);
}

// Signals and changes of files, beside sockets, in every call that waits.
static void notices(void) {
  int t[2];
  tcp_pair(t);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGUSR1);
  CHECK(sigprocmask(SIG_BLOCK, &one, NULL) == 0);
  int signals = signalfd(-1, &one, SFD_NONBLOCK), changes = inotify_init1(IN_NONBLOCK);
  put_text("watched", "");
  CHECK(inotify_add_watch(changes, "watched", IN_ATTRIB) >= 0);
  int all[] = {t[1], signals, changes};
  int e = epoll_create1(0), edges = epoll_create1(0);
  for (int i = 0; i < 3; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    CHECK(epoll_ctl(e, EPOLL_CTL_ADD, all[i], &event) == 0);
    event.events = EPOLLIN | EPOLLET;
    CHECK(epoll_ctl(edges, EPOLL_CTL_ADD, all[i], &event) == 0);
  }
  int top = 1 + (t[1] > changes ? t[1] : changes);
  char b[4096];
  sigset_t during = one; // The signal stays for the descriptor, as the masks keep it blocked.
  for (int i = 0; i < 120; i++) {
    int which = i % 3, way = i / 3 % 4;
    pid_t child = 0;
    if (i < 60) {
      // Comes while it is waited for.
      child = fork();
      CHECK(child >= 0);
      if (child == 0) sleep_us(2000);
    }
    if (child == 0) {
      switch (which) {
        case 0: CHECK(send(t[0], "x", 1, 0) == 1); break;
        case 1: CHECK(kill(i < 60 ? getppid() : getpid(), SIGUSR1) == 0); break;
        default: CHECK(chmod("watched", i % 2 ? 0600 : 0644) == 0);
      }
      if (i < 60) _exit(0);
    }
    struct pollfd f[3] = {{t[1], POLLIN, 0}, {signals, POLLIN, 0}, {changes, POLLIN, 0}};
    struct timespec plenty = {5, 0}, zero = {0, 0};
    struct epoll_event event;
    fd_set in;
    FD_ZERO(&in);
    for (int j = 0; j < 3; j++) FD_SET(all[j], &in);
    switch (way) {
      case 0: CHECK(poll(f, 3, 5000) == 1 && f[which].revents == POLLIN); break;
      case 1: CHECK(ppoll(f, 3, &plenty, &during) == 1 && f[which].revents == POLLIN); break;
      case 2: CHECK(pselect(top, &in, NULL, NULL, &plenty, &during) == 1 && FD_ISSET(all[which], &in)); break;
      default:
        CHECK(epoll_pwait(e, &event, 1, 5000, &during) == 1 && event.data.u32 == (uint32_t)which);
    }
    CHECK(epoll_wait(edges, &event, 1, 5000) == 1 && event.data.u32 == (uint32_t)which);
    CHECK(epoll_wait(edges, &event, 1, 0) == 0);
    CHECK(poll(f, 3, 0) == 1 && f[which].revents == POLLIN);
    FD_ZERO(&in);
    for (int j = 0; j < 3; j++) FD_SET(all[j], &in);
    CHECK(select(top, &in, NULL, NULL, NULL) == 1 && FD_ISSET(all[which], &in));
    CHECK(epoll_wait(e, &event, 1, 0) == 1 && event.data.u32 == (uint32_t)which);
    CHECK(read(all[which], b, sizeof b) > 0);
    CHECK(poll(f, 3, 0) == 0 && ppoll(f, 3, &zero, NULL) == 0 && epoll_wait(e, &event, 1, 0) == 0);
    if (child) CHECK(waitpid(child, NULL, 0) == child);
  }
  CHECK(unlink("watched") == 0);
  close(t[0]), close(t[1]), close(signals), close(changes), close(e), close(edges);
  say("notices");
}

// Numbers beyond an fd_set of libc, which the kernel allows.
static void high(void) {
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  int t[2];
  tcp_pair(t);
  int number = limit.rlim_cur - 7;
  CHECK(dup2(t[1], number) == number);
  close(t[1]);
  static unsigned long in[64], out[64];
  struct timespec zero = {0, 0};
  char b[8];
  for (int i = 0; i < 20; i++) {
    memset(in, 0, sizeof in), memset(out, 0, sizeof out);
    in[number / 64] |= 1UL << number % 64;
    CHECK(syscall(SYS_pselect6, number + 1, in, NULL, out, &zero, NULL) == 0);
    CHECK(in[number / 64] == 0);
    CHECK(send(t[0], "x", 1, 0) == 1);
    in[number / 64] |= 1UL << number % 64;
    out[number / 64] |= 1UL << number % 64;
    CHECK(syscall(SYS_pselect6, number + 1, in, out, NULL, &zero, NULL) == 2);
    CHECK(recv(number, b, 8, 0) == 1);
  }
  struct pollfd p = {number, POLLIN | POLLOUT, 0};
  CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLOUT);
  close(t[0]), close(number);
  say("high");
}

static void send_fd(int to, int fd) {
  char byte = 'f', control[CMSG_SPACE(sizeof fd)] = {0};
  struct iovec iov = {&byte, 1};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
                     .msg_controllen = sizeof control};
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(c), &fd, sizeof fd);
  CHECK(sendmsg(to, &m, 0) == 1);
}

static int receive_fd(int from) {
  char byte, control[CMSG_SPACE(sizeof(int))];
  struct iovec iov = {&byte, 1};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
                     .msg_controllen = sizeof control};
  CHECK(recvmsg(from, &m, 0) == 1);
  int fd;
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
  return fd;
}

// A socket travels to another process while data wait in it, and dies with that process.
static void passed(void) {
  int u[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, u) == 0);
  pid_t pid = fork();
  if (pid == 0) {
    close(u[0]);
    int s = receive_fd(u[1]);
    CHECK(poll_now(s, POLLIN) == POLLIN);
    char b[8];
    CHECK(recv(s, b, 8, 0) == 1);
    CHECK(poll_now(s, POLLIN) == 0);
    CHECK(write(u[1], "k", 1) == 1);
    pause();
  }
  close(u[1]);
  int t[2];
  tcp_pair(t);
  CHECK(send(t[0], "x", 1, 0) == 1);
  CHECK(poll_until(t[1], POLLIN, POLLIN) == POLLIN);
  send_fd(u[0], t[1]);
  close(t[1]);
  char b[8];
  CHECK(read(u[0], b, 1) == 1);
  CHECK(poll_now(t[0], POLLIN | POLLRDHUP) == 0);
  CHECK(kill(pid, SIGKILL) == 0);
  struct pollfd p = {t[0], POLLIN | POLLRDHUP, 0};
  CHECK(poll(&p, 1, 5000) == 1 && (p.revents & POLLIN));
  CHECK(poll_until(t[0], POLLIN | POLLRDHUP, POLLRDHUP) == (POLLIN | POLLRDHUP));
  CHECK(recv(t[0], b, 8, 0) == 0);
  CHECK(waitpid(pid, NULL, 0) == pid);
  close(t[0]), close(u[0]);
  say("passed");
}

static void *read_later(void *fd) {
  sleep_us(20000);
  drain((int)(intptr_t)fd);
  return NULL;
}

static void files(void) {
  int f = memfd_create("file", 0);
  enum { SIZE = 300000 };
  static char data[SIZE], got[SIZE];
  for (int i = 0; i < SIZE; i++) data[i] = (char)(i * 31 + i / 251);
  CHECK(write(f, data, SIZE) == SIZE);
  int t[2];
  tcp_pair(t);

  CHECK(lseek(f, 1000, SEEK_SET) == 1000);
  say("by position: %zd", sendfile(t[0], f, NULL, 5000));
  CHECK(lseek(f, 0, SEEK_CUR) == 6000);
  CHECK(recv(t[1], got, 5000, MSG_WAITALL) == 5000 && memcmp(got, data + 1000, 5000) == 0);

  off_t at = 2000;
  say("by offset: %zd", sendfile(t[0], f, &at, 3000));
  CHECK(at == 5000 && lseek(f, 0, SEEK_CUR) == 6000);
  CHECK(recv(t[1], got, 3000, MSG_WAITALL) == 3000 && memcmp(got, data + 2000, 3000) == 0);

  at = SIZE - 10;
  say("across the end: %zd", sendfile(t[0], f, &at, 100));
  CHECK(at == SIZE && recv(t[1], got, 10, MSG_WAITALL) == 10);
  say("at the end: %zd", sendfile(t[0], f, &at, 100));
  at = 0;
  say("nothing: %zd", sendfile(t[0], f, &at, 0));
  CHECK(at == 0);

  // The last bytes must not wait for more (a socket that is corked by mistake waits 200 ms).
  CHECK(lseek(f, SIZE - 3, SEEK_SET) == SIZE - 3);
  int64_t start = now_us();
  for (int i = 0; i < 5; i++) {
    at = SIZE - 3;
    CHECK(sendfile(t[0], f, &at, 1 << 20) == 3);
    CHECK(recv(t[1], got, 3, MSG_WAITALL) == 3);
  }
  CHECK(now_us() - start < 500000);

  pid_t pid = fork();
  if (pid == 0) {
    size_t n = 0;
    while (n < SIZE) {
      ssize_t r = recv(t[1], got + n, SIZE - n, 0);
      CHECK(r > 0);
      n += r;
    }
    CHECK(memcmp(got, data, SIZE) == 0);
    _exit(0);
  }
  at = 0;
  say("blocking: %zd", sendfile(t[0], f, &at, SIZE));
  int status;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);

  nonblocking(t[0]);
  size_t total = 0;
  ssize_t r;
  at = 0;
  while ((r = sendfile(t[0], f, &at, SIZE)) > 0) {
    total += r;
    CHECK(at == (off_t)(total - total / SIZE * SIZE) || at == SIZE);
    if (at == SIZE) at = 0, total = 0;
  }
  CHECK(r == -1 && errno == EAGAIN);
  // Room may come a little later, when what was on its way is acknowledged: natively 40 ms.
  off_t before;
  int64_t end = now_us() + 5000000;
  do {
    before = at;
    r = sendfile(t[0], f, &at, SIZE);
    CHECK(r != 0 && at == before + (r > 0 ? r : 0));
    if (at == SIZE) at = 0;
  } while (r > 0 && now_us() < end);
  CHECK(r == -1 && errno == EAGAIN);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, read_later, (void *)(intptr_t)t[1]) == 0);
  struct pollfd p = {t[0], POLLOUT, 0};
  CHECK(poll(&p, 1, 5000) == 1 && p.revents == POLLOUT);
  CHECK(pthread_join(thread, NULL) == 0);

  int pipes[2];
  CHECK(pipe(pipes) == 0);
  at = 0;
  outcome("from a pipe", sendfile(t[0], pipes[0], NULL, 10));
  outcome("with an offset", sendfile(t[0], pipes[0], &at, 10));
  outcome("from a socket", sendfile(t[0], t[1], NULL, 10));
  outcome("with an offset", sendfile(t[0], t[1], &at, 10));
  outcome("socket to file", sendfile(f, t[1], NULL, 10));
  outcome("no such file", sendfile(t[0], 1000000, NULL, 10));
  outcome("bad pointer", sendfile(t[0], f, (void *)8, 10));
  at = -1;
  outcome("bad offset", sendfile(t[0], f, &at, 10));
  int w = open("/dev/null", O_WRONLY);
  outcome("not readable", sendfile(t[0], w, NULL, 10));
  int d = open("/", O_RDONLY | O_DIRECTORY);
  outcome("directory", sendfile(t[0], d, NULL, 10));
  struct linger hard = {1, 0};
  CHECK(setsockopt(t[1], SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
  close(t[1]);
  poll_until(t[0], EVERY, POLLHUP);
  signal(SIGPIPE, SIG_IGN);
  at = 0;
  outcome("reset", sendfile(t[0], f, &at, 10));
  outcome("then", sendfile(t[0], f, &at, 10));
  signal(SIGPIPE, SIG_DFL);
  pid = fork();
  if (pid == 0) {
    sendfile(t[0], f, &at, 10);
    _exit(0);
  }
  CHECK(waitpid(pid, &status, 0) == pid);
  say("then by signal %d", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  close(t[0]), close(f), close(w), close(d), close(pipes[0]), close(pipes[1]);
}

enum { MESSAGES = 10 };

static void many(void) {
  struct sockaddr_in a;
  int u = bound(SOCK_DGRAM, &a), v = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(connect(v, (struct sockaddr *)&a, sizeof a) == 0);
  struct mmsghdr m[MESSAGES];
  struct iovec iov[MESSAGES];
  struct sockaddr_in names[MESSAGES];
  char text[MESSAGES][32];
  memset(m, 0, sizeof m);
  for (int i = 0; i < MESSAGES; i++) {
    iov[i].iov_base = text[i];
    iov[i].iov_len = snprintf(text[i], 32, "message %d", i * i * i);
    m[i].msg_hdr.msg_iov = &iov[i];
    m[i].msg_hdr.msg_iovlen = 1;
  }
  say("sendmmsg: %d", sendmmsg(v, m, MESSAGES, 0));
  for (int i = 0; i < MESSAGES; i++) CHECK(m[i].msg_len == iov[i].iov_len);
  say("none: %d", sendmmsg(v, m, 0, 0));

  memset(text, 0, sizeof text);
  for (int i = 0; i < MESSAGES; i++) {
    iov[i].iov_len = 32;
    m[i].msg_hdr.msg_name = &names[i];
    m[i].msg_hdr.msg_namelen = sizeof names[i];
  }
  say("recvmmsg: %d", recvmmsg(u, m, 4, 0, NULL));
  for (int i = 0; i < 4; i++) {
    say(" %.*s, %u bytes from %s", (int)m[i].msg_len, text[i], m[i].msg_hdr.msg_namelen,
        names[i].sin_addr.s_addr == htonl(INADDR_LOOPBACK) ? "loopback" : "elsewhere");
  }
  for (int i = 0; i < MESSAGES; i++) m[i].msg_hdr.msg_namelen = sizeof names[i];
  say("waiting for one: %d", recvmmsg(u, m, MESSAGES, MSG_WAITFORONE, NULL));
  outcome("empty", recvmmsg(u, m, MESSAGES, MSG_DONTWAIT, NULL));

  for (int i = 0; i < MESSAGES; i++) m[i].msg_hdr.msg_name = NULL, m[i].msg_hdr.msg_namelen = 0;
  for (int i = 0; i < 3; i++) CHECK(send(v, "x", 1, 0) == 1);
  CHECK(poll_until(u, POLLIN, POLLIN) == POLLIN);
  struct timespec none = {0, 0}, wrong = {0, -1};
  say("no time: %d", recvmmsg(u, m, MESSAGES, 0, &none));
  outcome("wrong time", recvmmsg(u, m, MESSAGES, 0, &wrong));
  outcome("bad time", recvmmsg(u, m, MESSAGES, 0, (void *)8));
  struct timespec plenty = {100, 0};
  say("time left: %d", recvmmsg(u, m, 2, 0, &plenty));
  CHECK(plenty.tv_sec == 99);
  outcome("bad pointer", recvmmsg(u, (void *)8, 1, MSG_DONTWAIT, NULL));
  outcome("bad pointer", sendmmsg(v, (void *)8, 1, 0));
  m[1].msg_hdr.msg_iov = (void *)8;
  iov[0].iov_len = 1;
  say("second is bad: %d", sendmmsg(v, m, 3, 0));
  CHECK(recv(u, text[0], 32, 0) == 1);
  CHECK(poll_now(u, POLLIN) == 0);
  close(u);
  CHECK(send(v, "x", 1, 0) == 1);
  CHECK(poll_until(v, POLLERR, POLLERR) == POLLERR);
  outcome("refused", recvmmsg(v, m, 1, MSG_DONTWAIT, NULL));
  close(v);

  int t[2];
  tcp_pair(t);
  m[1].msg_hdr.msg_iov = &iov[1];
  static char big[200000];
  iov[0] = (struct iovec){big, sizeof big};
  iov[1] = (struct iovec){"tail", 4};
  pid_t pid = fork();
  if (pid == 0) {
    size_t n = 0;
    ssize_t r;
    close(t[0]);
    while ((r = recv(t[1], big, sizeof big, 0)) > 0) n += r;
    _exit(n == sizeof big + 4 && memcmp(big + r, "", 0) == 0 ? 0 : 1);
  }
  close(t[1]);
  say("stream: %d", sendmmsg(t[0], m, 2, 0));
  CHECK(m[0].msg_len == sizeof big && m[1].msg_len == 4);
  close(t[0]);
  int status;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static const struct {
  const char *name;
  void (*run)(void);
} CASES[] = {{"masks", masks},       {"exact", exact},     {"timeouts", timeouts},
             {"edges", edges},     {"fresh", fresh},       {"connecting", connecting}, {"oneshot", oneshot}, {"flood", flood},
             {"workers", workers},   {"shared", shared},   {"nested", nested},
             {"mixed", mixed},       {"alike", alike},     {"notices", notices}, {"high", high},       {"passed", passed},
             {"files", files},       {"many", many}};

int main(int argc, char **argv) {
  alarm(60);
  for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
    int wanted = argc == 1;
    for (int j = 1; j < argc; j++) wanted |= strcmp(argv[j], CASES[i].name) == 0;
    if (wanted) CASES[i].run();
  }
  return 0;
}

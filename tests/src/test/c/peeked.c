// SPDX-License-Identifier: MIT
/*
 * Receives on many connections at a time, in many ways, what a peer sends, peeked_peer.py. What each
 * connection brings counts on, so nothing may be lost, doubled or out of order; and the peer mostly
 * waits until it is told that all has come, so who takes a short receive for all that there is must
 * be told of more.
 *
 *   peeked HOST PORT SEED BYTES
 */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { PERIOD = 251, MOST = 4096, CONNECTIONS = 40, EVENTS = 64, TURNS = 20 };

static struct sockaddr_in peer;
static unsigned bytes;
static char counting[PERIOD + MOST];
static __thread unsigned seed;

/* What a connection has brought; shared by processes that take turns. */
static volatile struct connection {
  uint32_t total, seen, closed;
  int fd;
} *all;

static volatile int *left; /* connections */

static unsigned draw(unsigned below) {
  seed = seed * 1103515245 + 12345;
  return (seed >> 16) % below;
}

static void expect(volatile struct connection *c, const char *got, ssize_t n, int consumed) {
  CHECK(n > 0 && n <= MOST);
  CHECK(memcmp(got, counting + c->seen % PERIOD, n) == 0);
  if (consumed) c->seen += n;
}

/* Receives once, so that a short receive says that there was no more; the result of that. */
static ssize_t all_there_is(int fd, char *to) {
  struct iovec v[] = {{to, MOST / 2}, {to + MOST / 2, MOST - MOST / 2}};
  switch (draw(4)) {
    case 0: return recv(fd, to, MOST, MSG_DONTWAIT);
    case 1: return readv(fd, v, 2);
    default: return read(fd, to, MOST);
  }
}

/* Receives some, in one of many ways. */
static ssize_t some(volatile struct connection *c, char *to) {
  int fd = c->fd, there = 0;
  char peeked[MOST];
  struct iovec v = {to, MOST};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  ssize_t n;
  switch (draw(10)) {
    case 0: return recvmsg(fd, &m, 0);
    case 1: {
      n = recv(fd, peeked, MOST, MSG_PEEK);
      if (n > 0) expect(c, peeked, n, 0);
      ssize_t r = read(fd, to, MOST);
      CHECK(r >= n);
      return r;
    }
    case 2: {
      CHECK(ioctl(fd, FIONREAD, &there) == 0);
      ssize_t r = recv(fd, to, MOST, 0);
      int least = there < MOST ? there : MOST;
      if (least > 0 && r < least) {
        fprintf(stderr, "FIONREAD said %d, and %zd were received\n", there, r);
        exit(1);
      }
      return r;
    }
    case 3: return read(fd, to, 1 + draw(7));
    case 4: return recv(fd, to, 1 + draw(100), MSG_DONTWAIT);
    default: return all_there_is(fd, to);
  }
}

static void end(volatile struct connection *c) {
  CHECK(close(c->fd) == 0);
  c->closed = 1;
  __sync_fetch_and_sub(left, 1);
}

/* After a receive that came out: tells the peer. 0 at the connection's end. */
static int got(volatile struct connection *c, const char *from, ssize_t n) {
  if (n == 0) {
    CHECK(c->seen == c->total);
    end(c);
    return 0;
  }
  expect(c, from, n, 1);
  CHECK(c->seen <= c->total);
  uint32_t seen = c->seen;
  CHECK(send(c->fd, &seen, sizeof seen, MSG_NOSIGNAL) == sizeof seen);
  if (c->seen == c->total && c->total % 2) {
    // Right behind the last receive: the peer finds an end, and no reset for bytes that nobody got.
    end(c);
    return 0;
  }
  return 1;
}

static void blocking(int fd, int does) {
  int flags = fcntl(fd, F_GETFL);
  CHECK(flags >= 0 && fcntl(fd, F_SETFL, does ? flags & ~O_NONBLOCK : flags | O_NONBLOCK) == 0);
}

static void dial(int round, const char *way) {
  *left = CONNECTIONS;
  for (int i = 0; i < CONNECTIONS; i++) {
    volatile struct connection *c = &all[i];
    int on = 1;
    char name[64];
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(c->fd >= 0);
    CHECK(setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    CHECK(connect(c->fd, (struct sockaddr *)&peer, sizeof peer) == 0);
    c->seen = c->closed = 0;
    c->total = bytes / 2 + draw(bytes);
    snprintf(name, sizeof name, "%s%d/%d %u\n", way, round, i, c->total);
    CHECK(send(c->fd, name, strlen(name), 0) == (ssize_t)strlen(name));
  }
}

static int set(unsigned events) {
  int e = epoll_create1(0);
  CHECK(e >= 0);
  for (int i = 0; i < CONNECTIONS; i++) {
    struct epoll_event event = {.events = events, .data.u32 = i};
    CHECK(epoll_ctl(e, EPOLL_CTL_ADD, all[i].fd, &event) == 0);
  }
  return e;
}

/* Looks once by level, and receives once on each that is ready. */
static void by_level(int e) {
  struct epoll_event events[EVENTS];
  char to[MOST];
  int n = epoll_wait(e, events, EVENTS, 20000);
  CHECK(n > 0);
  for (int i = 0; i < n; i++) {
    volatile struct connection *c = &all[events[i].data.u32];
    ssize_t r = some(c, to);
    CHECK(r >= 0 || errno == EAGAIN);
    if (r >= 0) got(c, to, r);
  }
}

/* By edges, as servers do that take a short receive for all that there was. */
static void by_edge(int e) {
  struct epoll_event events[EVENTS];
  char to[MOST];
  int n = epoll_wait(e, events, EVENTS, 20000);
  CHECK(n > 0);
  for (int i = 0; i < n; i++) {
    volatile struct connection *c = &all[events[i].data.u32];
    ssize_t r;
    do {
      r = all_there_is(c->fd, to);
      CHECK(r >= 0 || errno == EAGAIN);
      if (r >= 0 && !got(c, to, r)) break;
      // The end is an edge of its own only if nothing came with it.
    } while (r == MOST || (r > 0 && events[i].events & EPOLLRDHUP));
  }
}

static void by_poll(void) {
  struct pollfd p[CONNECTIONS];
  int which[CONNECTIONS], count = 0;
  char to[MOST];
  for (int i = 0; i < CONNECTIONS; i++) {
    if (all[i].closed) continue;
    p[count] = (struct pollfd){all[i].fd, POLLIN, 0};
    which[count++] = i;
  }
  CHECK(poll(p, count, 20000) > 0);
  for (int i = 0; i < count; i++) {
    if (!(p[i].revents & POLLIN)) continue;
    volatile struct connection *c = &all[which[i]];
    ssize_t r = some(c, to);
    CHECK(r >= 0);
    got(c, to, r);
  }
}

/* Threads that share a set, each of whose members is one thread's at a time. */
static void *by_turns(void *set) {
  int e = (int)(intptr_t)set;
  char to[MOST];
  seed = gettid();
  while (*left > 0) {
    struct epoll_event event;
    int n = epoll_wait(e, &event, 1, 50);
    CHECK(n >= 0);
    if (n == 0) continue;
    volatile struct connection *c = &all[event.data.u32];
    ssize_t r = draw(2) ? some(c, to) : all_there_is(c->fd, to);
    CHECK(r >= 0 || errno == EAGAIN);
    if (r >= 0 && !got(c, to, r)) continue;
    event.events = EPOLLIN | EPOLLONESHOT;
    CHECK(epoll_ctl(e, EPOLL_CTL_MOD, c->fd, &event) == 0);
  }
  return 0;
}

static void threads(int e) {
  pthread_t t[3];
  for (int i = 0; i < 3; i++) CHECK(pthread_create(&t[i], 0, by_turns, (void *)(intptr_t)e) == 0);
  for (int i = 0; i < 3; i++) CHECK(pthread_join(t[i], 0) == 0);
}

/* With a child that has the sockets as well: what one has received the other does not get. */
static void with_child(int e) {
  int there[2], back[2];
  char token = 0;
  CHECK(pipe(there) == 0 && pipe(back) == 0);
  pid_t child = fork();
  CHECK(child >= 0);
  for (int i = 0; i < TURNS; i++) {
    if (child == 0) CHECK(read(there[0], &token, 1) == 1);
    struct epoll_event events[EVENTS];
    char to[MOST];
    int n = epoll_wait(e, events, EVENTS, 0);
    CHECK(n >= 0);
    for (int k = 0; k < n; k++) {
      volatile struct connection *c = &all[events[k].data.u32];
      if (c->total - c->seen < 2 * MOST) continue; // the end is the parent's
      ssize_t r = all_there_is(c->fd, to);
      CHECK(r > 0);
      CHECK(got(c, to, r));
    }
    sleep_us(300);
    CHECK(write(child ? there[1] : back[1], &token, 1) == 1);
    if (child) CHECK(read(back[0], &token, 1) == 1);
  }
  if (child == 0) _exit(0);
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  for (int i = 0; i < 2; i++) close(there[i]), close(back[i]);
}

/* What the peer says of a round: how many of its connections ended as they should. */
static int ended_well(const char *way, int round) {
  char line[64];
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&peer, sizeof peer) == 0);
  snprintf(line, sizeof line, "report %s%d/ %d\n", way, round, CONNECTIONS);
  CHECK(send(fd, line, strlen(line), 0) == (ssize_t)strlen(line));
  ssize_t n = 0, r;
  while ((r = recv(fd, line + n, sizeof line - 1 - n, 0)) > 0) n += r;
  line[n] = 0;
  close(fd);
  return atoi(line);
}

static const char *const WAYS[] = {"level", "edge", "poll", "threads", "fork"};

int main(int argc, char **argv) {
  CHECK(argc == 5);
  peer.sin_family = AF_INET;
  peer.sin_port = htons(atoi(argv[2]));
  CHECK(inet_pton(AF_INET, argv[1], &peer.sin_addr) == 1);
  seed = strtoul(argv[3], 0, 10);
  bytes = atoi(argv[4]);
  for (unsigned i = 0; i < sizeof counting; i++) counting[i] = i % PERIOD;
  size_t size = sizeof *left + CONNECTIONS * sizeof *all;
  char *shared = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  left = (volatile int *)shared;
  all = (volatile struct connection *)(shared + sizeof(uint64_t));
  for (int round = 0; round < 2; round++) {
    for (int way = 0; way < 5; way++) {
      dial(round, WAYS[way]);
      int edges = way == 1, e = set(edges       ? EPOLLIN | EPOLLRDHUP | EPOLLET
                                    : way == 3 ? EPOLLIN | EPOLLONESHOT
                                               : EPOLLIN);
      for (int i = 0; i < CONNECTIONS; i++) blocking(all[i].fd, way == 2);
      if (way == 3) threads(e);
      if (way == 4) with_child(e);
      while (*left > 0) {
        if (edges)
          by_edge(e);
        else if (way == 2)
          by_poll();
        else
          by_level(e);
      }
      close(e);
      int well = ended_well(WAYS[way], round);
      say("%s: %d of %d came whole and ended as they should", WAYS[way], well, CONNECTIONS);
      CHECK(well == CONNECTIONS);
    }
  }
  return 0;
}

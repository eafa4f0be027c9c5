// SPDX-License-Identifier: MIT
// idle accept PORT: a server with one epoll set; idle connect PORT: its clients, in a set as well.
// Both do what they are told line by line, and say when it is done:
//   N          has N connections more, or waits until there are N
//   use N      of the connections N, chosen at random, carry a number to and fro
//   none       closes all, or waits until all are closed
// At the end of its input each ends.
#include "check.h"

#include <sys/resource.h>

enum { MOST = 1 << 16, EVENTS = 256, PATIENCE_MS = 120000 };

struct client {
  int fd;
  uint64_t waits; /* for this number; 0: for none */
};

static struct client clients[MOST];
static int count, set, listener = -1;
static long answered;

static void watch(int fd, uint32_t number) {
  struct epoll_event e = {.events = EPOLLIN, .data.u32 = number};
  CHECK(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) == 0);
}

static void accept_all(void) {
  int fd;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    watch(fd, fd);
    count++;
  }
  CHECK(errno == EAGAIN);
}

/* A connection that the server has: it gives back what it gets, until there is no more. */
static void answer(int fd) {
  uint64_t number;
  ssize_t n = recv(fd, &number, sizeof number, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n == 0) {
    CHECK(close(fd) == 0);
    count--;
    return;
  }
  CHECK(n == sizeof number);
  CHECK(send(fd, &number, sizeof number, 0) == sizeof number);
  answered++;
}

/* One of the client: what it gets is what it had sent. */
static void answered_by(struct client *c) {
  uint64_t number;
  CHECK(recv(c->fd, &number, sizeof number, 0) == sizeof number);
  CHECK(c->waits != 0 && number == c->waits);
  c->waits = 0;
  answered++;
}

/* Waits for what comes next, standard input as well; 1 if that is it. */
static int turn(int with_input) {
  struct epoll_event events[EVENTS];
  int typed = 0, n = epoll_wait(set, events, EVENTS, PATIENCE_MS);
  if (n == 0 && with_input) return 0;
  CHECK(n > 0);
  for (int i = 0; i < n; i++) {
    uint32_t number = events[i].data.u32;
    if (number == 0) {
      typed = 1;
    } else if (listener < 0) {
      answered_by(&clients[number - 1]);
    } else if ((int)number == listener) {
      accept_all();
    } else {
      answer(number);
    }
  }
  return typed;
}

static void more(int wanted, const struct sockaddr_in *address) {
  for (int i = 0; i < wanted; i++) {
    CHECK(count < MOST);
    clients[count] = (struct client){connected(address), 0};
    watch(clients[count].fd, count + 1);
    count++;
  }
}

static void use(int wanted) {
  uint32_t state = 1;
  long before = answered;
  int sent = 0;
  while (sent < wanted) {
    struct client *c = &clients[next(&state) % count];
    if (c->waits) continue;
    c->waits = (uint64_t)next(&state) << 24 | (next(&state) | 1);
    CHECK(send(c->fd, &c->waits, sizeof c->waits, 0) == sizeof c->waits);
    sent++;
  }
  while (answered - before < wanted) turn(0);
}

int main(int argc, char **argv) {
  CHECK(argc == 3);
  struct sockaddr_in address = loopback(atoi(argv[2]));
  struct rlimit files;
  CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max;
  CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
  CHECK((set = epoll_create1(0)) >= 0);
  int server = strcmp(argv[1], "accept") == 0;
  if (server) {
    CHECK((listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) >= 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(listener, 1024) == 0);
    watch(listener, listener);
    watch(0, 0);
  }
  say("ready");
  char line[64];
  for (;;) {
    // The server is where it is to be all the time: in its set, of which its input is a part.
    while (server && !turn(1)) {
    }
    if (!fgets(line, sizeof line, stdin)) return 0;
    if (strncmp(line, "use ", 4) == 0) {
      if (!server) use(atoi(line + 4));
      say("used %ld", answered);
    } else if (strcmp(line, "none\n") == 0) {
      while (server && count > 0) turn(0);
      for (; count > 0; count--) CHECK(close(clients[count - 1].fd) == 0);
      say("has none");
    } else {
      if (!server) more(atoi(line), &address);
      while (server && count < atoi(line)) turn(0);
      say("has %d", count);
    }
  }
}

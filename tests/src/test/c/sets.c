// SPDX-License-Identifier: MIT
// sets SEED LOOKS MESSAGES: epoll sets as event loops use them, with so many calls of each kind that
// a program may be spared the traps. A model says what each look at a set of sockets must find, by
// level, by edge and once; files are sent by sendfile in all the ways in which that ends; and threads
// wait in sets, of their own and shared ones, for messages none of which may be missed.
#include "check.h"

#include <pthread.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>

enum { PAIRS = 6, FILE_BYTES = 300000, PIECE = 40000, CLIENTS = 4, WAITERS = 3, STUCK_S = 30 };

static uint64_t state;

static unsigned chance(unsigned below) {
  state = state * 6364136223846793005ULL + 1442695040888963407ULL;
  return (unsigned)(state >> 33) % below;
}

static void nonblocking(int fd) { CHECK(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0); }

/* --- a model of one set --- */

static struct member {
  int ends[2], in_set, unread;
  unsigned asked;
  int edge, arrived, armed; /* since it was told last: changed in the set; data have come */
} members[PAIRS];

static const unsigned KINDS[] = {EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLET,
                                 EPOLLIN | EPOLLOUT | EPOLLET, EPOLLIN | EPOLLONESHOT,
                                 EPOLLIN | EPOLLET | EPOLLONESHOT, 0};

static unsigned expected(const struct member *m) {
  if (!m->in_set || !m->armed) return 0;
  // Data that have been read again may tell of room for writing once more, or not.
  if ((m->asked & EPOLLET) && !m->edge && !(m->arrived && m->unread)) return 0;
  return ((m->unread ? EPOLLIN : 0) | EPOLLOUT) & m->asked;
}

static void look_otherwise(int wait);

static void look(int set, int number) {
  // On a busy machine loopback is not at once.
  char b[256];
  for (int i = 0; i < PAIRS; i++)
    for (int tries = 0; members[i].unread; tries++) {
      long there = recv(members[i].ends[1], b, sizeof b, MSG_PEEK);
      if (there == members[i].unread) break;
      CHECK(tries < 10000);
      sleep_us(500);
    }
  struct epoll_event got[PAIRS];
  int n = epoll_wait(set, got, PAIRS, 0);
  unsigned found[PAIRS] = {0};
  for (int i = 0; i < n; i++) found[got[i].data.u32] = got[i].events;
  for (int i = 0; i < PAIRS; i++) {
    struct member *m = &members[i];
    int again = m->in_set && m->armed && (m->asked & EPOLLET) && m->arrived && !m->unread;
    int right = found[i] == expected(m) || (again && found[i] == (m->asked & EPOLLOUT));
    if (!right)
      fprintf(stderr, "look %d, member %d: %x instead of %x (asked %x, %d unread, edge %d %d, armed %d)\n",
              number, i, found[i], expected(m), m->asked, m->unread, m->edge, m->arrived, m->armed);
    CHECK(right);
    if (found[i] && (m->asked & EPOLLONESHOT)) m->armed = 0;
    m->edge = m->arrived = 0;
  }
  look_otherwise((int)chance(2));
}

/* poll and select of the same sockets find what is there, and what is asked for. */
static void look_otherwise(int wait) {
  struct pollfd p[PAIRS + 1];
  fd_set in, out, bad;
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_ZERO(&bad);
  int polled = 0, selected = 0, top = 0, asks_out[PAIRS];
  for (int i = 0; i < PAIRS; i++) {
    int fd = members[i].ends[1];
    asks_out[i] = chance(3) == 0;
    p[i] = (struct pollfd){fd, POLLIN | (asks_out[i] ? POLLOUT : 0), 0x7f};
    FD_SET(fd, &in);
    FD_SET(fd, &bad);
    if (asks_out[i]) FD_SET(fd, &out);
    polled += members[i].unread || asks_out[i];
    selected += !!members[i].unread + asks_out[i];
    if (fd > top) top = fd;
  }
  struct timeval none = {0, wait ? 1000 : 0};
  CHECK(poll(p, PAIRS, wait) == polled);
  CHECK(select(top + 1, &in, &out, &bad, &none) == selected);
  for (int i = 0; i < PAIRS; i++) {
    int fd = members[i].ends[1], there = !!members[i].unread;
    CHECK(p[i].revents == ((there ? POLLIN : 0) | (asks_out[i] ? POLLOUT : 0)));
    CHECK(!FD_ISSET(fd, &in) == !there && !FD_ISSET(fd, &out) == !asks_out[i] && !FD_ISSET(fd, &bad));
  }
}

static void control(int set, struct member *m) {
  struct epoll_event e = {.events = KINDS[chance(8)], .data.u32 = (uint32_t)(m - members)};
  if (m->in_set && chance(8) == 0) {
    CHECK(epoll_ctl(set, EPOLL_CTL_DEL, m->ends[1], NULL) == 0);
    m->in_set = 0;
    return;
  }
  CHECK(epoll_ctl(set, m->in_set ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, m->ends[1], &e) == 0);
  m->in_set = 1;
  m->asked = e.events;
  m->armed = 1;
  m->edge = 1;
}

static void model(int looks) {
  int set = epoll_create1(0), on = 1;
  for (int i = 0; i < PAIRS; i++) {
    members[i] = (struct member){.armed = 1};
    tcp_pair(members[i].ends);
    nonblocking(members[i].ends[1]);
    // Nothing is held back for an acknowledgement: that would be a matter of time.
    CHECK(setsockopt(members[i].ends[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    control(set, &members[i]);
  }
  char b[64];
  for (int number = 0; number < looks;) {
    struct member *m = &members[chance(PAIRS)];
    // Nothing is held back that was sent before, nor afterwards.
    int cork = (int)chance(2);
    CHECK(setsockopt(m->ends[1], IPPROTO_TCP, TCP_CORK, &cork, sizeof cork) == 0);
    switch (chance(6)) {
      case 0: case 1: {
        int n = 1 + (int)chance(3);
        CHECK(m->unread > 40 || send(m->ends[0], "abc", n, 0) == n);
        if (m->unread <= 40) m->unread += n, m->arrived = 1;
        break;
      }
      case 2: {
        int n = 1 + (int)chance(4);
        int r = (int)(chance(2) ? recv(m->ends[1], b, n, 0) : read(m->ends[1], b, n));
        CHECK(r > 0 ? r <= n && r <= m->unread : errno == EAGAIN);
        if (r > 0) m->unread -= r;
        break;
      }
      case 3:
        while (m->unread) {
          int r = (int)recv(m->ends[1], b, sizeof b, 0);
          CHECK(r > 0 || errno == EAGAIN);
          if (r > 0) m->unread -= r;
        }
        break;
      case 4: control(set, m); break;
      default: look(set, number++);
    }
  }
  // What cannot be answered is refused as ever.
  struct timeval wrong = {0, -1};
  fd_set one;
  FD_ZERO(&one);
  FD_SET(members[0].ends[0], &one);
  CHECK(select(members[0].ends[0] + 1, NULL, &one, NULL, &wrong) < 0 && errno == EINVAL);
  CHECK(FD_ISSET(members[0].ends[0], &one));
  void *volatile nowhere = (void *)8;
  CHECK(select(members[0].ends[0] + 1, nowhere, &one, NULL, NULL) < 0 && errno == EFAULT);
  CHECK(poll(nowhere, 1, 0) < 0 && errno == EFAULT);
  int kept = members[0].ends[0];
  CHECK(setsockopt(kept, IPPROTO_TCP, TCP_CORK, nowhere, sizeof kept) < 0 && errno == EFAULT);
  CHECK(setsockopt(kept, IPPROTO_TCP, TCP_CORK, &kept, 1) < 0 && errno == EINVAL);
  int cork = 0;
  socklen_t length = sizeof cork;
  for (int on = 0; on < 2; on++) {
    CHECK(setsockopt(kept, IPPROTO_TCP, TCP_CORK, &on, sizeof on) == 0);
    CHECK(getsockopt(kept, IPPROTO_TCP, TCP_CORK, &cork, &length) == 0 && cork == on);
  }
  for (int i = 0; i < PAIRS; i++) close(members[i].ends[0]), close(members[i].ends[1]);
  struct pollfd gone = {kept, POLLIN, 0};
  CHECK(poll(&gone, 1, 0) == 1 && gone.revents == POLLNVAL);
  close(set);
  say("%d looks", looks);
}

/* --- files --- */

static char pattern(long at) { return (char)(at * 7 + at / 251); }

static void *take(void *argument) {
  int fd = (int)(intptr_t)argument;
  uint64_t sum = 0;
  static char b[PIECE];
  for (long n; (n = recv(fd, b, sizeof b, 0)) > 0;) {
    for (long i = 0; i < n; i++) sum = sum * 31 + (unsigned char)b[i];
    if (n > PIECE / 2) sleep_us(200);
  }
  return (void *)(uintptr_t)sum;
}

static void outcome(const char *what, long r) {
  say("%s: %ld %s", what, r, r < 0 ? errno_name(errno) : "");
}

static void files(int count) {
  int f = memfd_create("file", 0);
  char *content = malloc(FILE_BYTES);
  for (long i = 0; i < FILE_BYTES; i++) content[i] = pattern(i);
  CHECK(write(f, content, FILE_BYTES) == FILE_BYTES);
  for (int polls = 0; polls < 2; polls++) {
    int s[2];
    tcp_pair(s);
    if (polls) nonblocking(s[0]);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, take, (void *)(intptr_t)s[1]) == 0);
    uint64_t sum = 0;
    for (int i = 0; i < count; i++) {
      off_t from = chance(FILE_BYTES), at = from;
      long n = 1 + chance(chance(4) ? 2000 : PIECE);
      long wanted = n < FILE_BYTES - from ? n : FILE_BYTES - from;
      long r = sendfile(s[0], f, &at, n);
      if (r < 0) {
        CHECK(polls && errno == EAGAIN && at == from);
        struct pollfd p = {s[0], POLLOUT, 0};
        CHECK(poll(&p, 1, 10000) == 1);
        continue;
      }
      CHECK(at == from + r && r <= wanted && r > 0 && (polls || r == wanted));
      for (long k = 0; k < r; k++) sum = sum * 31 + (unsigned char)content[from + k];
    }
    CHECK(shutdown(s[0], SHUT_WR) == 0);
    void *got;
    CHECK(pthread_join(thread, &got) == 0);
    CHECK((uint64_t)(uintptr_t)got == sum);
    off_t at = FILE_BYTES;
    outcome("at the end", sendfile(s[1], f, &at, 10));
    at = -1;
    outcome("before the start", sendfile(s[1], f, &at, 10));
    outcome("offset nowhere", sendfile(s[1], f, (off_t *)8, 10));
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    outcome("offset read-only", sendfile(s[1], f, (off_t *)page, 10));
    munmap(page, 4096);
    at = 0;
    int pipes[2], null = open("/dev/null", O_WRONLY), root = open("/", O_RDONLY | O_DIRECTORY);
    CHECK(pipe(pipes) == 0);
    outcome("from a pipe", sendfile(s[1], pipes[0], &at, 10));
    outcome("from what is not read", sendfile(s[1], null, &at, 10));
    outcome("from a directory", sendfile(s[1], root, &at, 10));
    outcome("from nothing", sendfile(s[1], 1000000, &at, 10));
    outcome("to a pipe", sendfile(pipes[1], f, &at, 10));
    CHECK(at == 10);
    outcome("by the position", lseek(f, 5, SEEK_SET) + sendfile(pipes[1], f, NULL, 10));
    CHECK(lseek(f, 0, SEEK_CUR) == 15);
    close(pipes[0]), close(pipes[1]), close(null), close(root), close(s[0]), close(s[1]);
  }
  free(content);
  close(f);
  say("files are sent whole");
}

/* --- threads that wait --- */

enum { LEVEL, EDGE, ONCE, EXCLUSIVE, MODES };
static const char *const MODE_NAMES[] = {"level", "edge", "once", "exclusive"};
static const unsigned MODE_EVENTS[] = {EPOLLIN, EPOLLIN | EPOLLET, EPOLLIN | EPOLLONESHOT,
                                       EPOLLIN | EPOLLEXCLUSIVE};

static int mode, shared_set, ordered, sets[WAITERS], conns[CLIENTS][2], messages, over[2];

/* Sends back what comes, from whichever connection it comes. */
static void *serve(void *argument) {
  int set = sets[shared_set ? 0 : (intptr_t)argument];
  for (;;) {
    struct epoll_event e[2];
    int n = epoll_wait(set, e, 2, -1);
    CHECK(n > 0);
    for (int i = 0; i < n; i++) {
      int fd = e[i].data.fd;
      if (fd == over[0]) return NULL;
      char b[16];
      long r;
      while ((r = recv(fd, b, mode == EDGE ? 3 : sizeof b, MSG_DONTWAIT)) > 0) {
        CHECK(send(fd, b, r, 0) == r);
        if (mode != EDGE) break;
      }
      CHECK(r > 0 || errno == EAGAIN);
      if (mode == ONCE) {
        e[i].events = MODE_EVENTS[mode];
        CHECK(epoll_ctl(set, EPOLL_CTL_MOD, fd, &e[i]) == 0);
      }
    }
  }
}

static void *ask(void *argument) {
  int fd = conns[(intptr_t)argument][0];
  unsigned char next = 0, expect = 0;
  struct timeval stuck = {STUCK_S, 0};
  CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stuck, sizeof stuck) == 0);
  for (int i = 0; i < messages; i++) {
    unsigned char b[4];
    int burst = 1 + i % 3;
    for (int k = 0; k < burst; k++) {
      b[0] = next++;
      CHECK(send(fd, b, 1, 0) == 1);
    }
    while (expect != next) {
      long r = recv(fd, b, sizeof b, 0);
      if (r <= 0) fprintf(stderr, "%s, %s: a wake-up is lost\n", MODE_NAMES[mode], shared_set ? "shared" : "own");
      CHECK(r > 0);
      // Two threads that read one stream may answer in another order.
      for (long k = 0; k < r; k++, expect++) CHECK(b[k] == expect || !ordered);
    }
  }
  return NULL;
}

static void waits(void) {
  pthread_t servers[WAITERS], clients[CLIENTS];
  ordered = mode == ONCE || (mode != EXCLUSIVE && !shared_set);
  CHECK(pipe(over) == 0);
  for (int i = 0; i < WAITERS; i++) sets[i] = epoll_create1(0);
  for (int i = 0; i < CLIENTS; i++) tcp_pair(conns[i]);
  for (int i = 0; i < WAITERS; i++) {
    struct epoll_event e = {.events = EPOLLIN, .data.fd = over[0]};
    CHECK(epoll_ctl(sets[i], EPOLL_CTL_ADD, over[0], &e) == 0);
    for (int k = 0; k < CLIENTS; k++) {
      // Of threads with sets of their own each has its own connections, but when all may answer.
      if (!shared_set && mode != EXCLUSIVE && k % WAITERS != i) continue;
      e = (struct epoll_event){.events = MODE_EVENTS[mode], .data.fd = conns[k][1]};
      CHECK(epoll_ctl(sets[i], EPOLL_CTL_ADD, conns[k][1], &e) == 0);
    }
  }
  for (intptr_t i = 0; i < WAITERS; i++)
    CHECK(pthread_create(&servers[i], NULL, serve, (void *)i) == 0);
  for (intptr_t i = 0; i < CLIENTS; i++)
    CHECK(pthread_create(&clients[i], NULL, ask, (void *)i) == 0);
  for (int i = 0; i < CLIENTS; i++) CHECK(pthread_join(clients[i], NULL) == 0);
  CHECK(write(over[1], "x", 1) == 1);
  for (int i = 0; i < WAITERS; i++) CHECK(pthread_join(servers[i], NULL) == 0);
  for (int i = 0; i < CLIENTS; i++) close(conns[i][0]), close(conns[i][1]);
  for (int i = 0; i < WAITERS; i++) close(sets[i]);
  close(over[0]), close(over[1]);
  say("%s, %s set: nothing lost", MODE_NAMES[mode], shared_set ? "one" : "each its");
}

int main(int argc, char **argv) {
  CHECK(argc == 4);
  state = strtoull(argv[1], NULL, 10);
  signal(SIGPIPE, SIG_IGN);
  model(atoi(argv[2]));
  files(150);
  messages = atoi(argv[3]);
  for (mode = 0; mode < MODES; mode++)
    for (shared_set = 0; shared_set < 2; shared_set++) waits();
  return 0;
}

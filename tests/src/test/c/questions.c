// SPDX-License-Identifier: MIT
// Asks sockets for their names, options and bytes so often that a process may ask without a trap, in
// all the ways in which an answer can come: whole, cut off, at a fault, as an error; of sockets of all
// states, and while another thread changes what a number is. Prints what must be the same on every
// kernel. questions SEED
#include "check.h"

#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { WARM = 80, ROUNDS = 300, RACES = 4000, PAGE = 4096, FILL = 0x5a };

static uint64_t state;

static unsigned chance(unsigned below) {
  state = state * 6364136223846793005ULL + 1442695040888963407ULL;
  return (unsigned)(state >> 33) % below;
}

/* One place for each call, which is patched once for all that follows. */
static __attribute__((noinline)) int name_of(int peer, int fd, void *name, socklen_t *length) {
  return peer ? getpeername(fd, name, length) : getsockname(fd, name, length);
}

static __attribute__((noinline)) int option(int fd, int level, int which, void *value, socklen_t *length) {
  return getsockopt(fd, level, which, value, length);
}

static int number(int fd, int level, int which) {
  int value = -1;
  socklen_t length = sizeof value;
  CHECK(option(fd, level, which, &value, &length) == 0 && length == sizeof value);
  return value;
}

static int unread(int fd) {
  int n = -1;
  CHECK(ioctl(fd, FIONREAD, &n) == 0);
  return n;
}

static void port_of(int peer, int fd, struct sockaddr_in *a) {
  socklen_t length = sizeof *a;
  memset(a, FILL, sizeof *a);
  CHECK(name_of(peer, fd, a, &length) == 0 && length == sizeof *a && a->sin_family == AF_INET);
}

/* So many of each call that later ones need no trap. */
static void warm(void) {
  int ends[2];
  tcp_pair(ends);
  for (int i = 0; i < WARM; i++) {
    struct sockaddr_in here, there;
    port_of(0, ends[i & 1], &here);
    port_of(1, ends[!(i & 1)], &there);
    CHECK(memcmp(&here, &there, sizeof here) == 0);
    CHECK(number(ends[0], SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
    CHECK(unread(ends[1]) == 0);
    CHECK(fcntl(ends[0], F_GETFL) == O_RDWR);
  }
  close(ends[0]);
  close(ends[1]);
}

/* Memory of which the first page can be used, and the second cannot. */
static char *edge(int protection) {
  char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(p != MAP_FAILED && mprotect(p + PAGE, PAGE, protection) == 0);
  return p + PAGE;
}

/* An address that is cut off at every length, on the stack, elsewhere, and up to a page's end. */
static void cut(int peer, int fd, const void *whole, socklen_t full) {
  static char elsewhere[64];
  char here[64], *edges = edge(PROT_NONE);
  for (socklen_t n = 0; n < 40; n++) {
    char *places[] = {here, elsewhere, edges - (n < full ? n : full)};
    for (int i = 0; i < 3; i++) {
      socklen_t length = n, kept = n < full ? n : full;
      memset(here, FILL, sizeof here);
      memset(elsewhere, FILL, sizeof elsewhere);
      memset(edges - 64, FILL, 64);
      CHECK(name_of(peer, fd, places[i], &length) == 0 && length == full);
      CHECK(memcmp(places[i], whole, kept) == 0);
      CHECK(i == 2 || places[i][kept] == FILL);
      CHECK(i != 2 || places[i][-1] == FILL);
    }
  }
  munmap(edges - PAGE, 2 * PAGE);
}

static void expect(int r, int error) { CHECK(error ? r == -1 && errno == error : r == 0); }

/* What the caller gave cannot be used; `first` is what a kernel finds before it looks. */
static void faults(int peer, int fd, int first) {
  char room[32], *none = edge(PROT_NONE), *constant = edge(PROT_READ);
  socklen_t length = sizeof room, negative = -1;
  expect(name_of(peer, fd, room, NULL), first ? first : EFAULT);
  expect(name_of(peer, fd, room, (socklen_t *)none), first ? first : EFAULT);
  expect(name_of(peer, fd, room, (socklen_t *)(none - 2)), first ? first : EFAULT);
  expect(name_of(peer, fd, room, (socklen_t *)(constant - 2)), first ? first : EFAULT);
  expect(name_of(peer, fd, room, &negative), first ? first : EINVAL);
  length = sizeof room;
  expect(name_of(peer, fd, NULL, &length), first ? first : EFAULT);
  length = sizeof room;
  expect(name_of(peer, fd, none - 4, &length), first ? first : EFAULT);
  length = sizeof room;
  expect(name_of(peer, fd, constant, &length), first ? first : EFAULT);
  length = 0;
  expect(name_of(peer, fd, NULL, &length), first);
  // A length that lies where it cannot be unaligned on other machines.
  socklen_t *odd = (socklen_t *)(none - 7);
  *odd = 4;
  expect(name_of(peer, fd, room, odd), first);
  munmap(none - PAGE, 2 * PAGE);
  munmap(constant - PAGE, 2 * PAGE);
}

static void names(void) {
  int ends[2];
  struct sockaddr_in a, b;
  tcp_pair(ends);
  for (int peer = 0; peer < 2; peer++) {
    port_of(peer, ends[0], &a);
    cut(peer, ends[0], &a, sizeof a);
    faults(peer, ends[0], 0);
  }
  // Connected no more, by this end, by the other one, and by both.
  shutdown(ends[0], SHUT_WR);
  port_of(1, ends[0], &a);
  port_of(0, ends[1], &b);
  CHECK(memcmp(&a, &b, sizeof a) == 0);
  close(ends[1]);
  char c;
  CHECK(read(ends[0], &c, 1) == 0);
  // Both ends may have been closed before either heard of it.
  socklen_t length;
  for (int tries = 0; length = sizeof a, name_of(1, ends[0], &a, &length) == 0; tries++) {
    CHECK(tries < 10000);
    sleep_us(500);
  }
  faults(1, ends[0], ENOTCONN);
  port_of(0, ends[0], &a);
  close(ends[0]);
  expect(name_of(0, ends[0], &a, NULL), EBADF);

  int listener = listening(1, &b), unconnected = socket(AF_INET, SOCK_STREAM, 0);
  int datagrams = bound(SOCK_DGRAM, &a);
  for (int i = 0; i < ROUNDS; i++) {
    struct sockaddr_in found;
    port_of(0, listener, &found);
    CHECK(memcmp(&found, &b, sizeof b) == 0);
    port_of(0, unconnected, &found);
    CHECK(found.sin_port == 0 && found.sin_addr.s_addr == 0);
    length = sizeof found;
    expect(name_of(1, listener, &found, &length), ENOTCONN);
    expect(name_of(1, unconnected, &found, &length), ENOTCONN);
    expect(name_of(1, datagrams, &found, &length), ENOTCONN);
    CHECK(length == sizeof found);
  }
  faults(0, listener, 0);
  faults(1, unconnected, ENOTCONN);
  CHECK(connect(datagrams, (struct sockaddr *)&a, sizeof a) == 0);
  cut(1, datagrams, &a, sizeof a);
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  CHECK(connect(datagrams, &none, sizeof none) == 0);
  faults(1, datagrams, ENOTCONN);
  close(listener);
  close(unconnected);
  close(datagrams);

  int six = socket(AF_INET6, SOCK_DGRAM, 0);
  struct sockaddr_in6 wide = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  CHECK(six >= 0 && bind(six, (struct sockaddr *)&wide, sizeof wide) == 0);
  length = sizeof wide;
  CHECK(name_of(0, six, &wide, &length) == 0 && length == sizeof wide && wide.sin6_port);
  CHECK(IN6_IS_ADDR_LOOPBACK(&wide.sin6_addr));
  cut(0, six, &wide, sizeof wide);
  close(six);

  // Not of the device.
  int pipes[2], unix_pair[2];
  CHECK(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, unix_pair) == 0);
  for (int i = 0; i < WARM; i++) {
    length = sizeof wide;
    expect(name_of(0, pipes[0], &wide, &length), ENOTSOCK);
    expect(name_of(i & 1, unix_pair[0], &wide, &length), 0);
    CHECK(length == sizeof(sa_family_t) && ((struct sockaddr *)&wide)->sa_family == AF_UNIX);
    CHECK(write(pipes[1], "12345", 5) == 5 && unread(pipes[0]) == 5);
    CHECK(read(pipes[0], &wide, 5) == 5);
  }
  for (int i = 0; i < 2; i++) close(pipes[i]), close(unix_pair[i]);
  say("names");
}

/* The same of a number: cut off, and where it cannot be put. */
static void number_faults(int fd, int level, int which, int wanted) {
  char *none = edge(PROT_NONE), *constant = edge(PROT_READ);
  socklen_t length, negative = -4;
  for (socklen_t n = 0; n < 12; n++) {
    char room[16];
    char bytes[sizeof wanted];
    memcpy(bytes, &wanted, sizeof wanted);
    memset(room, FILL, sizeof room);
    length = n;
    CHECK(option(fd, level, which, room, &length) == 0);
    CHECK(length == (n < 4 ? n : 4) && memcmp(room, bytes, length) == 0 && room[length] == FILL);
  }
  length = 4;
  expect(option(fd, level, which, NULL, &length), EFAULT);
  length = 4;
  expect(option(fd, level, which, none - 2, &length), EFAULT);
  length = 4;
  expect(option(fd, level, which, constant, &length), EFAULT);
  expect(option(fd, level, which, &length, NULL), EFAULT);
  expect(option(fd, level, which, &length, (socklen_t *)(none - 1)), EFAULT);
  expect(option(fd, level, which, &length, &negative), EINVAL);
  length = 4096; // More than there is room for behind it: only what is written counts.
  CHECK(option(fd, level, which, none - 4, &length) == 0 && length == 4);
  CHECK(memcmp(none - 4, &wanted, 4) == 0);
  munmap(none - PAGE, 2 * PAGE);
  munmap(constant - PAGE, 2 * PAGE);
}

static void options(void) {
  static const struct { int level, name, settable; } KNOWN[] = {
      {SOL_SOCKET, SO_REUSEADDR, 1}, {SOL_SOCKET, SO_KEEPALIVE, 1}, {SOL_SOCKET, SO_OOBINLINE, 1},
      {IPPROTO_TCP, TCP_NODELAY, 1}, {IPPROTO_TCP, TCP_KEEPCNT, 100}, {IPPROTO_TCP, TCP_KEEPIDLE, 1000},
      {SOL_SOCKET, SO_RCVTIMEO, 0},  {SOL_SOCKET, SO_RCVLOWAT, 0},
  };
  struct sockaddr_in a;
  int ends[2], listener = listening(1, &a), datagrams = bound(SOCK_DGRAM, &a);
  int all[] = {listener, datagrams, 0, 0};
  tcp_pair(ends);
  memcpy(all + 2, ends, sizeof ends);
  for (int i = 0; i < ROUNDS; i++) {
    int fd = all[i % 4];
    CHECK(number(fd, SOL_SOCKET, SO_TYPE) == (fd == datagrams ? SOCK_DGRAM : SOCK_STREAM));
    CHECK(number(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET);
    CHECK(number(fd, SOL_SOCKET, SO_PROTOCOL) == (fd == datagrams ? IPPROTO_UDP : IPPROTO_TCP));
    CHECK(number(fd, SOL_SOCKET, SO_ACCEPTCONN) == (fd == listener));
    CHECK(number(fd, SOL_SOCKET, SO_ERROR) == 0);
    int k = (int)chance(6);
    int value = 1 + (int)chance(KNOWN[k].settable);
    if (fd == datagrams && KNOWN[k].level == IPPROTO_TCP) continue;
    CHECK(setsockopt(fd, KNOWN[k].level, KNOWN[k].name, &value, sizeof value) == 0);
    CHECK(!number(fd, KNOWN[k].level, KNOWN[k].name) == !value);
    if (KNOWN[k].settable > 1) CHECK(number(fd, KNOWN[k].level, KNOWN[k].name) == value);
    int bytes = 8192 + (int)chance(8192);
    CHECK(setsockopt(fd, SOL_SOCKET, i & 4 ? SO_RCVBUF : SO_SNDBUF, &bytes, sizeof bytes) == 0);
    CHECK(number(fd, SOL_SOCKET, i & 4 ? SO_RCVBUF : SO_SNDBUF) == 2 * bytes);
  }
  number_faults(ends[0], SOL_SOCKET, SO_TYPE, SOCK_STREAM);
  number_faults(listener, SOL_SOCKET, SO_ACCEPTCONN, 1);
  number_faults(datagrams, SOL_SOCKET, SO_ERROR, 0);
  int on = 1;
  CHECK(setsockopt(ends[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
  number_faults(ends[0], IPPROTO_TCP, TCP_NODELAY, 1);
  for (int i = 0; i < WARM; i++) {
    struct tcp_info info;
    for (int which = 0; which < 2; which++) {
      socklen_t length = sizeof info;
      CHECK(option(which ? listener : ends[0], IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
      CHECK(length == sizeof info && info.tcpi_state == (which ? TCP_LISTEN : TCP_ESTABLISHED));
    }
    char state_alone[2] = {0, FILL};
    socklen_t length = 1;
    CHECK(option(ends[0], IPPROTO_TCP, TCP_INFO, state_alone, &length) == 0 && length == 1);
    CHECK(state_alone[0] == TCP_ESTABLISHED && state_alone[1] == FILL);
    struct linger l = {1, i};
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_LINGER, &l, sizeof l) == 0);
    memset(&l, FILL, sizeof l);
    length = sizeof l;
    CHECK(option(ends[0], SOL_SOCKET, SO_LINGER, &l, &length) == 0 && l.l_onoff == 1 && l.l_linger == i);
    // What is no question of the device alone, or none at all, is answered the long way.
    struct timeval t = {7, 7};
    length = sizeof t;
    CHECK(option(ends[0], SOL_SOCKET, SO_RCVTIMEO, &t, &length) == 0 && t.tv_sec == 0 && t.tv_usec == 0);
    CHECK(number(ends[0], SOL_SOCKET, SO_RCVLOWAT) == 1);
    length = sizeof t;
    expect(option(ends[0], SOL_SOCKET, 9999, &t, &length), ENOPROTOOPT);
    expect(option(ends[0], IPPROTO_TCP, 9999, &t, &length), ENOPROTOOPT);
  }
  for (int i = 0; i < 4; i++) close(all[i]);
  say("options");
}

static void ready(int fd, int events) {
  struct pollfd p = {fd, (short)events, 0};
  CHECK(poll(&p, 1, 30000) == 1);
}

/* Errors of sockets, which are told once. */
static void errors(void) {
  char *none = edge(PROT_NONE);
  for (int i = 0; i < ROUNDS / 4; i++) {
    struct sockaddr_in a;
    int ends[2], nobody = bound(SOCK_STREAM, &a);
    int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int r = connect(s, (struct sockaddr *)&a, sizeof a);
    CHECK(r == -1 && (errno == EINPROGRESS || errno == ECONNREFUSED));
    if (errno == EINPROGRESS) {
      ready(s, POLLOUT);
      // Whoever cannot say where has not been told.
      expect(option(s, SOL_SOCKET, SO_ERROR, &r, (socklen_t *)none), EFAULT);
      CHECK(number(s, SOL_SOCKET, SO_ERROR) == ECONNREFUSED);
    }
    CHECK(number(s, SOL_SOCKET, SO_ERROR) == 0);
    socklen_t length = sizeof a;
    expect(name_of(1, s, &a, &length), ENOTCONN);
    CHECK(fcntl(s, F_GETFL) == (O_RDWR | O_NONBLOCK));
    close(s);
    close(nobody);

    tcp_pair(ends);
    struct linger cut_off = {1, 0};
    CHECK(setsockopt(ends[1], SOL_SOCKET, SO_LINGER, &cut_off, sizeof cut_off) == 0);
    CHECK(number(ends[0], SOL_SOCKET, SO_ERROR) == 0);
    close(ends[1]);
    ready(ends[0], POLLIN);
    CHECK(number(ends[0], SOL_SOCKET, SO_ERROR) == ECONNRESET);
    CHECK(number(ends[0], SOL_SOCKET, SO_ERROR) == 0);
    length = sizeof a;
    expect(name_of(1, ends[0], &a, &length), ENOTCONN);
    // The error was told: it is not told again.
    char c;
    CHECK(read(ends[0], &c, 1) == 0);
    close(ends[0]);
  }
  munmap(none - PAGE, 2 * PAGE);
  say("errors");
}

/* How much is there, after sends that may still be on their way when they have returned. */
static void bytes(void) {
  char b[256], *none = edge(PROT_NONE), *constant = edge(PROT_READ);
  struct sockaddr_in a;
  int ends[2], there = 0, listener = listening(1, &a), n;
  tcp_pair(ends);
  for (int i = 0; i < ROUNDS; i++) {
    int k = 1 + (int)chance(sizeof b / 4);
    if (there < 4 * (int)sizeof b) {
      CHECK(send(ends[0], b, k, 0) == k);
      there += k;
    }
    for (int tries = 0; unread(ends[1]) != there; tries++) {
      CHECK(tries < 10000);
      sleep_us(500);
    }
    CHECK(unread(ends[0]) == 0);
    int r = (int)recv(ends[1], b, chance(sizeof b) + 1, 0);
    CHECK(r > 0);
    there -= r;
    CHECK(unread(ends[1]) == there);
    n = fcntl(ends[0], F_GETFL);
    CHECK(n == (O_RDWR | (i & 1 ? O_NONBLOCK : 0)));
    CHECK(fcntl(ends[0], F_SETFL, n ^ O_NONBLOCK) == 0);
    n = FILL;
    expect(ioctl(listener, FIONREAD, &n), EINVAL);
    CHECK(n == FILL);
  }
  expect(ioctl(ends[0], FIONREAD, NULL), EFAULT);
  expect(ioctl(ends[0], FIONREAD, none - 2), EFAULT);
  expect(ioctl(ends[0], FIONREAD, constant), EFAULT);
  int datagrams = bound(SOCK_DGRAM, &a);
  for (int i = 0; i < 3; i++) CHECK(sendto(datagrams, b, 10 + i, 0, (struct sockaddr *)&a, sizeof a) == 10 + i);
  for (int i = 0; i < 3; i++) {
    ready(datagrams, POLLIN);
    CHECK(unread(datagrams) == 10 + i && recv(datagrams, b, sizeof b, 0) == 10 + i);
  }
  CHECK(unread(datagrams) == 0);
  close(ends[0]);
  close(ends[1]);
  close(listener);
  close(datagrams);
  munmap(none - PAGE, 2 * PAGE);
  munmap(constant - PAGE, 2 * PAGE);
  say("bytes");
}

/* --- a number that changes its meaning --- */

static int sockets[2], raced;
static volatile int over;

static void *change(void *unused) {
  (void)unused;
  while (!over) {
    CHECK(dup2(sockets[0], raced) == raced);
    CHECK(dup2(sockets[1], raced) == raced);
  }
  return NULL;
}

/* Whoever asks is told of one of the files that the number was meanwhile; both live on. */
static void races(void) {
  struct sockaddr_in a, b, found;
  sockets[0] = bound(SOCK_DGRAM, &a);
  sockets[1] = listening(1, &b);
  raced = fcntl(sockets[0], F_DUPFD, 100);
  CHECK(raced >= 100);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, change, NULL) == 0);
  for (int i = 0; i < RACES; i++) {
    port_of(0, raced, &found);
    CHECK(found.sin_port == a.sin_port || found.sin_port == b.sin_port);
    int value = number(raced, SOL_SOCKET, SO_TYPE);
    CHECK(value == SOCK_DGRAM || value == SOCK_STREAM);
    int r = ioctl(raced, FIONREAD, &value);
    CHECK(r == 0 ? value == 0 : errno == EINVAL);
    // Those that nobody changes answer as ever.
    port_of(0, sockets[i & 1], &found);
    CHECK(found.sin_port == (i & 1 ? b.sin_port : a.sin_port));
  }
  over = 1;
  pthread_join(thread, NULL);
  close(sockets[0]);
  close(sockets[1]);
  close(raced);
  say("races");
}

/* Processes that have inherited a socket, and ask at once. */
static void children(void) {
  int ends[2];
  tcp_pair(ends);
  struct sockaddr_in here, found;
  port_of(0, ends[0], &here);
  pid_t all[3];
  for (int i = 0; i < 3; i++) {
    all[i] = fork();
    CHECK(all[i] >= 0);
    if (all[i]) continue;
    for (int k = 0; k < ROUNDS; k++) {
      port_of(0, ends[0], &found);
      CHECK(memcmp(&found, &here, sizeof here) == 0);
      CHECK(number(ends[1], SOL_SOCKET, SO_TYPE) == SOCK_STREAM && unread(ends[1]) == 0);
    }
    exit(0);
  }
  for (int i = 0; i < 3; i++) {
    int status;
    CHECK(waitpid(all[i], &status, 0) == all[i] && status == 0);
  }
  close(ends[0]);
  close(ends[1]);
  say("children");
}

int main(int count, char **arguments) {
  CHECK(count == 2);
  state = strtoull(arguments[1], NULL, 10);
  signal(SIGPIPE, SIG_IGN);
  warm();
  names();
  options();
  errors();
  bytes();
  races();
  children();
  return 0;
}

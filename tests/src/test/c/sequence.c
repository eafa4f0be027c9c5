// SPDX-License-Identifier: MIT
// sequence SEED COUNT: a random sequence of calls on sockets, and on pipes among them, one line for
// each with its result, so that two kernels can be compared line by line. The sequence depends on
// the seed alone: what a call returns never decides which call comes next. Ports and descriptor
// numbers that depend on the kernel are not printed. All sockets are non-blocking; before a call
// that can see what a peer did, the program rests, so that loopback traffic has arrived.
#include "check.h"

#include <sys/ioctl.h>

enum { SLOTS = 10, ADDRESSES = 10, REST_US = 1500, MOST_PENDING = 16384 };

static uint64_t state;

static uint32_t pick(uint32_t bound) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t)(state >> 33) % bound;
}

static int slots[SLOTS];
static long written[SLOTS]; /* keeps what is in flight far from any buffer's size */

static void show(const char *call, int slot, long result, const char *format, ...) {
  int error = result < 0 ? errno : 0;
  printf("%s [%d] = %ld %s", call, slot, result, errno_name(error));
  if (format) {
    va_list arguments;
    putchar(' ');
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
  }
  putchar('\n');
}

/* Nothing is held back for an acknowledgement to come: that would be a matter of time. */
static void at_once(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void put(int slot, int fd) {
  at_once(fd);
  if (slots[slot] >= 0) show("close-old", slot, close(slots[slot]), NULL);
  slots[slot] = fd;
  written[slot] = 0;
}

static struct sockaddr_storage address_of(int slot, socklen_t *length) {
  struct sockaddr_storage a;
  memset(&a, 0, sizeof a);
  *length = sizeof a;
  if (slots[slot] < 0 || getsockname(slots[slot], (struct sockaddr *)&a, length) != 0) {
    struct sockaddr_in none = loopback(1);
    memcpy(&a, &none, sizeof none);
    *length = sizeof none;
  }
  // The wildcard is reached through loopback in every kernel; the printout stays the same.
  if (a.ss_family == AF_INET) {
    struct sockaddr_in *in = (struct sockaddr_in *)&a;
    if (in->sin_addr.s_addr == 0) in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (in->sin_port == 0) in->sin_port = htons(1);
  } else if (a.ss_family == AF_INET6) {
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)&a;
    if (IN6_IS_ADDR_UNSPECIFIED(&in->sin6_addr)) in->sin6_addr = in6addr_loopback;
    if (in->sin6_port == 0) in->sin6_port = htons(1);
  }
  return a;
}

static const int OPTIONS[][2] = {
    {SOL_SOCKET, SO_REUSEADDR}, {SOL_SOCKET, SO_KEEPALIVE},  {SOL_SOCKET, SO_BROADCAST},
    {SOL_SOCKET, SO_TYPE},      {SOL_SOCKET, SO_ERROR},      {SOL_SOCKET, SO_ACCEPTCONN},
    {SOL_SOCKET, SO_DOMAIN},    {SOL_SOCKET, SO_PROTOCOL},   {SOL_SOCKET, SO_OOBINLINE},
    {SOL_SOCKET, SO_PRIORITY},  {SOL_SOCKET, SO_REUSEPORT},  {IPPROTO_TCP, TCP_MAXSEG},
    {IPPROTO_TCP, TCP_LINGER2}, {IPPROTO_TCP, TCP_KEEPIDLE}, {IPPROTO_TCP, TCP_SYNCNT},
    {IPPROTO_IP, IP_TTL},       {IPPROTO_IP, IP_TOS},        {IPPROTO_IP, IP_MULTICAST_TTL},
    {IPPROTO_IP, IP_FREEBIND},  {IPPROTO_IPV6, 26},          {SOL_SOCKET, 4242}};

static int epoll;

static void step(void) {
  int i = (int)pick(SLOTS), k = (int)pick(SLOTS), fd = slots[i];
  uint32_t a = pick(1u << 20), b = pick(1u << 20);
  char block[2048];
  struct sockaddr_storage name;
  socklen_t length;
  switch (pick(26)) {
    case 0: case 1: {
      static const int kinds[][3] = {{AF_INET, SOCK_STREAM, 0}, {AF_INET, SOCK_STREAM, 0},
                                     {AF_INET, SOCK_DGRAM, 0},  {AF_INET6, SOCK_STREAM, 0},
                                     {AF_INET6, SOCK_DGRAM, 0}, {AF_INET, SOCK_STREAM, IPPROTO_UDP},
                                     {AF_INET, 77, 0},          {AF_INET, SOCK_DGRAM, IPPROTO_UDP}};
      const int *kind = kinds[a % 8];
      int s = socket(kind[0], kind[1] | SOCK_NONBLOCK, kind[2]);
      show("socket", i, s < 0 ? -1 : 0, "%d %d %d", kind[0], kind[1], kind[2]);
      if (s >= 0) put(i, s);
      break;
    }
    case 2: {
      struct sockaddr_in in = loopback(0);
      if (b % 3 == 0) in.sin_addr.s_addr = 0;
      if (b % 7 == 0) in.sin_addr.s_addr = htonl(0x01020304);
      struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
      long r = a % 3 ? bind(fd, (struct sockaddr *)&in, sizeof in)
                     : bind(fd, (struct sockaddr *)&in6, sizeof in6);
      show("bind", i, r, NULL);
      break;
    }
    case 3: {
      // Two ends of a connection, so that there is something to send on.
      if (i == k) break;
      int ends[2];
      if (a % 4) {
        tcp_pair(ends);
      } else {
        struct sockaddr_in names[2];
        for (int j = 0; j < 2; j++) ends[j] = bound(SOCK_DGRAM, &names[j]);
        for (int j = 0; j < 2; j++)
          CHECK(connect(ends[j], (struct sockaddr *)&names[!j], sizeof names[0]) == 0);
      }
      for (int j = 0; j < 2; j++) CHECK(fcntl(ends[j], F_SETFL, O_NONBLOCK) == 0);
      put(i, ends[0]);
      put(k, ends[1]);
      show("pair", i, 0, "with [%d]", k);
      break;
    }
    case 4:
      show("listen", i, listen(fd, 4), NULL);
      break;
    case 5: case 6: case 7: {
      name = address_of(k, &length);
      long r = connect(fd, (struct sockaddr *)&name, length);
      sleep_us(REST_US);
      show("connect", i, r, "to [%d]", k);
      break;
    }
    case 8: case 9: case 10: {
      sleep_us(REST_US);
      int s = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
      show("accept", i, s < 0 ? -1 : 0, "into [%d]", k);
      if (s >= 0) put(k, s);
      break;
    }
    case 11: case 12: case 13: {
      static const int flags[] = {0, 0, MSG_EOR, MSG_OOB, MSG_DONTROUTE};
      size_t bytes = a % 900;
      if (written[i] + (long)bytes > MOST_PENDING) break;
      memset(block, (char)b, sizeof block);
      sleep_us(REST_US);
      long r = send(fd, block, bytes, MSG_NOSIGNAL | flags[b % 5]);
      if (r > 0) written[i] += r;
      sleep_us(REST_US);
      show("send", i, r, "flags %#x", flags[b % 5]);
      break;
    }
    case 14: case 15: case 16: {
      static const int flags[] = {0, 0, MSG_PEEK, MSG_TRUNC, MSG_OOB, MSG_WAITALL};
      sleep_us(REST_US);
      long r = recv(fd, block, a % sizeof block, flags[b % 6]);
      show("recv", i, r, "flags %#x first %d", flags[b % 6], r > 0 && a % sizeof block ? block[0] : -1);
      break;
    }
    case 17: {
      name = address_of(k, &length);
      if (written[i] > MOST_PENDING) break;
      memset(block, (char)b, sizeof block);
      long r = sendto(fd, block, a % 500, MSG_NOSIGNAL, (struct sockaddr *)&name, length);
      if (r > 0) written[i] += r;
      sleep_us(REST_US);
      show("sendto", i, r, "to [%d]", k);
      break;
    }
    case 18: {
      struct sockaddr_storage from;
      memset(&from, 0, sizeof from);
      length = sizeof from;
      sleep_us(REST_US);
      long r = recvfrom(fd, block, a % sizeof block, 0, (struct sockaddr *)&from, &length);
      show("recvfrom", i, r, "from family %d length %d", r >= 0 ? from.ss_family : -1,
           r >= 0 ? (int)length : -1);
      break;
    }
    case 19:
      show("shutdown", i, shutdown(fd, (int)(a % 4)), "%d", a % 4);
      sleep_us(REST_US);
      break;
    case 20: {
      const int *o = OPTIONS[a % (sizeof OPTIONS / sizeof OPTIONS[0])];
      int value = (int)(b % 3);
      length = b % 11 ? sizeof value : 1;
      long r = setsockopt(fd, o[0], o[1], &value, length);
      show("setsockopt", i, r, "%d/%d := %d of %d", o[0], o[1], value, (int)length);
      break;
    }
    case 21: {
      const int *o = OPTIONS[a % (sizeof OPTIONS / sizeof OPTIONS[0])];
      int value = -7;
      length = b % 11 ? sizeof value : 2;
      long r = getsockopt(fd, o[0], o[1], &value, &length);
      show("getsockopt", i, r, "%d/%d = %d of %d", o[0], o[1], value, (int)length);
      break;
    }
    case 22: {
      length = sizeof name;
      memset(&name, 0, sizeof name);
      long r = a % 2 ? getpeername(fd, (struct sockaddr *)&name, &length)
                     : getsockname(fd, (struct sockaddr *)&name, &length);
      show(a % 2 ? "getpeername" : "getsockname", i, r, "family %d length %d", name.ss_family,
           r ? -1 : (int)length);
      break;
    }
    case 23: {
      if (a % 3 == 0) {
        int copy = dup(fd);
        show("dup", i, copy < 0 ? -1 : 0, "into [%d]", k);
        if (copy >= 0) {
          long in_flight = written[i];
          put(k, copy);
          written[k] = in_flight;
        }
      } else if (a % 3 == 1) {
        show("fcntl", i, fcntl(fd, b % 2 ? F_GETFL : F_GETFD), NULL);
      } else {
        show("close", i, close(fd), NULL);
        slots[i] = -1;
      }
      break;
    }
    case 24: {
      sleep_us(REST_US);
      int value = -1;
      long r = ioctl(fd, a % 2 ? FIONREAD : SIOCATMARK, &value);
      show(a % 2 ? "FIONREAD" : "SIOCATMARK", i, r, "%d", value);
      break;
    }
    default: {
      sleep_us(REST_US);
      if (a % 2) {
        struct pollfd p[3];
        for (int j = 0; j < 3; j++)
          p[j] = (struct pollfd){slots[(i + j) % SLOTS], POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
        long r = poll(p, 3, 0);
        show("poll", i, r, "%#x %#x %#x", p[0].revents, p[1].revents, p[2].revents);
      } else {
        struct epoll_event v = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.u64 = 0};
        int operation = 1 + (int)(b % 3);
        show("epoll_ctl", i, epoll_ctl(epoll, operation, fd, &v), "%d", operation);
        struct epoll_event got[SLOTS];
        long r = epoll_wait(epoll, got, SLOTS, 0);
        uint32_t all = 0;
        for (long j = 0; j < r; j++) all += got[j].events;
        show("epoll_wait", -1, r, "%#x", all);
      }
    }
  }
}

int main(int argc, char **argv) {
  CHECK(argc == 3);
  state = strtoull(argv[1], NULL, 0) * 2862933555777941757ull + 3037000493ull;
  for (int i = 0; i < SLOTS; i++) slots[i] = -1;
  signal(SIGPIPE, SIG_IGN);
  epoll = epoll_create1(0);
  int count = atoi(argv[2]);
  for (int n = 0; n < count; n++) {
    printf("%d ", n);
    step();
    putchar('\n');
    fflush(stdout);
  }
  return 0;
}

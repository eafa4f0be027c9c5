// SPDX-License-Identifier: MIT
// sequence SEED COUNT DIRECTORY [REST]: a random sequence of calls on sockets, pipes and files in DIRECTORY, which
// is empty at first and the device's when offloaded, one line for each with its result, so that two kernels can be compared line by line. The sequence depends on
// the seed alone: what a call returns never decides which call comes next. Ports and descriptor
// numbers that depend on the kernel are not printed. All sockets are non-blocking; before a call
// that can see what a peer did, the program rests, so that loopback traffic has arrived; for REST us if the device is elsewhere: then
// a send may end before it is made, so no call makes two on a connection that the first of them finds broken.
#include "check.h"

#include <linux/errqueue.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

enum { SLOTS = 10, ADDRESSES = 10, MOST_PENDING = 16384 };

static int rest_us = 1500, elsewhere;

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

static int is(int fd, mode_t type) {
  struct stat st;
  return fd >= 0 && fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == type;
}

static int epoll;
static const char *directory;

static void step(void) {
  int i = (int)pick(SLOTS), k = (int)pick(SLOTS), fd = slots[i];
  uint32_t a = pick(1u << 20), b = pick(1u << 20);
  char block[2048];
  struct sockaddr_storage name;
  socklen_t length;
  switch (pick(48)) {
    case 0: case 1: {
      static const int kinds[][3] = {{AF_INET, SOCK_STREAM, 0}, {AF_INET, SOCK_STREAM, 0},
                                     {AF_INET, SOCK_DGRAM, 0},  {AF_INET6, SOCK_STREAM, 0},
                                     {AF_INET6, SOCK_DGRAM, 0}, {AF_INET, SOCK_STREAM, IPPROTO_UDP},
                                     {AF_INET, 77, 0},          {AF_INET, SOCK_DGRAM, IPPROTO_UDP},
                                     {AF_INET6, SOCK_STREAM, 0}, {AF_INET, SOCK_RAW, 0},
                                     {AF_NETLINK, SOCK_RAW, 0}, {AF_NETLINK, SOCK_DGRAM, 77},
                                     {AF_INET, SOCK_RAW, 253},  {AF_INET6, SOCK_RAW, 254}};
      const int *kind = kinds[a % (sizeof kinds / sizeof kinds[0])];
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
      // Longer than it gets: what a full queue drops comes again when a timer says so.
      show("listen", i, listen(fd, 4000), NULL);
      break;
    case 5: case 6: case 7: {
      name = address_of(k, &length);
      long r = connect(fd, (struct sockaddr *)&name, length);
      sleep_us(rest_us);
      show("connect", i, r, "to [%d]", k);
      break;
    }
    case 8: case 9: case 10: {
      sleep_us(rest_us);
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
      sleep_us(rest_us);
      long r = send(fd, block, bytes, MSG_NOSIGNAL | flags[b % 5]);
      if (r > 0) written[i] += r;
      sleep_us(rest_us);
      show("send", i, r, "flags %#x", flags[b % 5]);
      break;
    }
    case 14: case 15: case 16: {
      static const int flags[] = {0, 0, MSG_PEEK, MSG_TRUNC, MSG_OOB, MSG_WAITALL};
      sleep_us(rest_us);
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
      sleep_us(rest_us);
      show("sendto", i, r, "to [%d]", k);
      break;
    }
    case 18: {
      struct sockaddr_storage from;
      memset(&from, 0, sizeof from);
      length = sizeof from;
      sleep_us(rest_us);
      long r = recvfrom(fd, block, a % sizeof block, 0, (struct sockaddr *)&from, &length);
      show("recvfrom", i, r, "from family %d length %d", r >= 0 ? from.ss_family : -1,
           r >= 0 ? (int)length : -1);
      break;
    }
    case 19:
      show("shutdown", i, shutdown(fd, (int)(a % 4)), "%d", a % 4);
      sleep_us(rest_us);
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
      // How the window's half bounds the segment changes with the kernel's version.
      if (o[0] == IPPROTO_TCP && o[1] == TCP_MAXSEG) value = 0;
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
      sleep_us(rest_us);
      int value = -1;
      long r = ioctl(fd, a % 2 ? FIONREAD : SIOCATMARK, &value);
      show(a % 2 ? "FIONREAD" : "SIOCATMARK", i, r, "%d", value);
      break;
    }
    case 26: {
      // Addresses of wrong lengths and families; they are looked at before the descriptor is.
      if (fd >= 0 && !is(fd, S_IFSOCK)) break;
      static const int lengths[] = {0, 1, 2, 8, 15, 16, 24, 28, 110, 128, 129, -1};
      name = address_of(k, &length);
      // A netlink socket's is the process's number: to a raw socket, 127.x.y.z one time in 256.
      if (name.ss_family == AF_NETLINK) memset((char *)&name + 4, 1, 4);
      if (b % 5 == 0) name.ss_family = (sa_family_t)(a >> 8) % 40;
      socklen_t given = (socklen_t)lengths[a % (sizeof lengths / sizeof lengths[0])];
      long r = b % 3 == 0   ? bind(fd, (struct sockaddr *)&name, given)
               : b % 3 == 1 ? connect(fd, (struct sockaddr *)&name, given)
                            : sendto(fd, "wrong", 5, MSG_NOSIGNAL, (struct sockaddr *)&name, given);
      sleep_us(rest_us);
      show(b % 3 == 0 ? "bind" : b % 3 == 1 ? "connect" : "sendto", i, r, "family %d length %d",
           name.ss_family, (int)given);
      break;
    }
    case 27: {
      length = (socklen_t)(int[]){0, 1, 4, 15, 16, 28, 128, -1}[a % 8];
      memset(&name, 0, sizeof name);
      long r = b % 2 ? getpeername(fd, (struct sockaddr *)&name, &length)
                     : getsockname(fd, (struct sockaddr *)&name, &length);
      show(b % 2 ? "getpeername" : "getsockname", i, r, "family %d length %d", name.ss_family,
           r ? -1 : (int)length);
      break;
    }
    case 28: {
      static const int flags[] = {SOCK_NONBLOCK, SOCK_CLOEXEC | SOCK_NONBLOCK, 1, 0x40000000};
      sleep_us(rest_us);
      int s = accept4(fd, NULL, NULL, flags[a % 4]);
      show("accept4", i, s < 0 ? -1 : 0, "flags %#x into [%d]", flags[a % 4], k);
      if (s >= 0) put(k, s);
      break;
    }
    case 29: {
      static const int flags[] = {MSG_ERRQUEUE,       MSG_PEEK | MSG_TRUNC, MSG_PEEK | MSG_WAITALL,
                                  MSG_OOB | MSG_PEEK, MSG_DONTROUTE,        MSG_CMSG_CLOEXEC,
                                  MSG_CONFIRM,        1 << 30 | 1 << 25,    MSG_TRUNC | MSG_OOB};
      int f = flags[b % (sizeof flags / sizeof flags[0])] | MSG_DONTWAIT;
      memset(block, 0x55, sizeof block);
      sleep_us(rest_us);
      long r = recv(fd, block, a % 3 ? a % sizeof block : 0, f);
      show("recv", i, r, "flags %#x first %d", f, block[0]);
      break;
    }
    case 30: {
      // Vectors of no, one, many and too many parts.
      static struct iovec parts[1100];
      static const int counts[] = {0, 1, 2, 7, 1024, 1025, -1};
      int count = counts[a % 7];
      for (int j = 0; j < 1100; j++)
        parts[j] = (struct iovec){block + j, b % 5 == 4 && j == 3 ? (size_t)-1 : j < 8 ? b % 4 : 0};
      memset(block, (char)b, sizeof block);
      int writes = b >> 8 & 1;
      if (writes && written[i] > MOST_PENDING) break;
      sleep_us(rest_us);
      long r = writes ? writev(fd, parts, count) : readv(fd, parts, count);
      if (writes && r > 0) written[i] += r;
      sleep_us(rest_us);
      show(writes ? "writev" : "readv", i, r, "%d parts", count);
      break;
    }
    case 31: {
      // Messages with names, control data and flags that may not fit.
      char control[64] = {0};
      struct cmsghdr *h = (struct cmsghdr *)control;
      struct iovec v = {block, a % 300};
      struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
      int sends = b & 1;
      if (sends && written[i] > MOST_PENDING) break;
      memset(block, (char)b, sizeof block);
      if (b & 2) {
        name = address_of(k, &length);
        m.msg_name = &name;
        m.msg_namelen = b & 4 ? length : 3;
      }
      if (b & 8) {
        *h = (struct cmsghdr){(size_t[]){CMSG_LEN(4), CMSG_LEN(12), 3, 4000}[b >> 4 & 3],
                              (int[]){SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6, 77}[b >> 6 & 3],
                              (int[]){IP_TTL, IP_PKTINFO, SCM_CREDENTIALS, 99}[b >> 8 & 3]};
        m.msg_controllen = b >> 10 & 1 ? sizeof control : CMSG_SPACE(4);
      }
      sleep_us(rest_us);
      long r = sends ? sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) : recvmsg(fd, &m, MSG_DONTWAIT);
      if (sends && r > 0) written[i] += r;
      sleep_us(rest_us);
      if (sends) show("sendmsg", i, r, "%#x", b & 0x7ff);
      else show("recvmsg", i, r, "flags %#x name %d control %d", r < 0 ? 0 : m.msg_flags,
                r < 0 ? 0 : (int)m.msg_namelen, r < 0 ? 0 : (int)m.msg_controllen);
      break;
    }
    case 32: {
      // Options of other levels, of any length.
      static const int more[][2] = {
          {SOL_SOCKET, SO_RCVTIMEO}, {SOL_SOCKET, SO_SNDTIMEO},  {SOL_SOCKET, SO_RCVLOWAT},
          {SOL_SOCKET, SO_LINGER},   {SOL_SOCKET, SO_TIMESTAMP}, {SOL_SOCKET, SO_PEERCRED},
          {SOL_SOCKET, SO_BINDTODEVICE}, {SOL_SOCKET, SO_MARK},
          {IPPROTO_TCP, TCP_CORK},   {IPPROTO_TCP, TCP_DEFER_ACCEPT},
          {IPPROTO_IP, IP_RECVTTL},
          {IPPROTO_IP, IP_PKTINFO},  {IPPROTO_IP, IP_MTU_DISCOVER}, {IPPROTO_IP, IP_MULTICAST_LOOP},
          {IPPROTO_IP, IP_HDRINCL},  {IPPROTO_IPV6, 16},         {IPPROTO_IPV6, 49},
          {IPPROTO_IPV6, 67},
          {IPPROTO_UDP, 103},        {SOL_NETLINK, NETLINK_EXT_ACK},
          {SOL_NETLINK, NETLINK_PKTINFO}};
      static const int lengths[] = {0, 1, 2, 4, 8, 12, 16, 40, 64};
      const int *o = more[a % (sizeof more / sizeof more[0])];
      char value[64] = {0};
      value[0] = (char)(b % 3);
      // Zero times only: a call of this program never waits.
      length = (socklen_t)lengths[b % 9];
      int sets = a >> 10 & 1;
      // Others have to do with time.
      if (sets && (o[0] == IPPROTO_TCP || (o[0] == SOL_SOCKET && o[1] != SO_BINDTODEVICE && o[1] != SO_MARK)))
        break;
      long r = sets ? setsockopt(fd, o[0], o[1], value, length)
                    : getsockopt(fd, o[0], o[1], value, &length);
      show(sets ? "setsockopt" : "getsockopt", i, r, "%d/%d %d of %d", o[0], o[1],
           sets || r == 0 ? value[0] : 0, (int)length);
      break;
    }
    case 33: {
      // Numbers: redirected, taken, closed twice.
      if (fd < 0 || slots[k] < 0 || a % 4 == 3) {
        show("dup3", i, dup3(fd, fd, 0), NULL);
        show("dup2", i, dup2(fd, -1), NULL);
        show("close", i, close(fd < 0 ? fd : 999), NULL);
      } else if (a % 4 == 0 && i != k) {
        show("dup2", i, dup2(fd, slots[k]) == slots[k] ? 0 : -1, "onto [%d]", k);
        written[k] = written[i];
      } else if (a % 4 == 1) {
        int copy = fcntl(fd, b % 2 ? F_DUPFD : F_DUPFD_CLOEXEC, 50);
        show("F_DUPFD", i, copy < 0 ? -1 : 0, "%d", copy >= 50 ? fcntl(copy, F_GETFD) : -1);
        close(copy);
      } else {
        show("F_SETFD", i, fcntl(fd, F_SETFD, (int)(b % 3)), NULL);
        show("F_GETFD", i, fcntl(fd, F_GETFD), NULL);
      }
      break;
    }
    case 34: {
      static const int commands[] = {F_GETOWN, F_GETSIG, F_GETLK, F_GETPIPE_SZ, F_GET_SEALS, 4242,
                                     F_GETLEASE, F_SETPIPE_SZ};
      if (a % 3 == 0) {
        int set = O_NONBLOCK | (b % 2 ? O_APPEND : 0);
        show("F_SETFL", i, fcntl(fd, F_SETFL, set), "%#x", set);
        show("F_GETFL", i, fcntl(fd, F_GETFL), NULL);
      } else {
        struct flock l = {.l_type = F_RDLCK};
        int command = commands[b % 8];
        show("fcntl", i, command == F_GETLK ? fcntl(fd, command, &l) : fcntl(fd, command, 0), "%d",
             command);
      }
      break;
    }
    case 35: {
      static const unsigned long requests[] = {SIOCGIFINDEX, SIOCGIFMTU, SIOCGIFADDR, SIOCGIFNETMASK,
                                               SIOCGIFHWADDR, SIOCGIFNAME, SIOCGSTAMP_OLD, FIOGETOWN,
                                               SIOCOUTQ,     0x8777,     0x5401,      FIONBIO};
      struct ifreq r;
      memset(&r, 0, sizeof r);
      strcpy(r.ifr_name, b % 4 ? "lo" : "none");
      unsigned long request = requests[a % (sizeof requests / sizeof requests[0])];
      if (request == SIOCGIFNAME) r.ifr_ifindex = (int)(b % 2);
      if (request == FIONBIO) r.ifr_name[0] = 1;
      sleep_us(rest_us);
      long result = ioctl(fd, request, &r);
      show("ioctl", i, result, "%#lx %.4s", request, result == 0 && request == SIOCGIFNAME ? r.ifr_name : "");
      break;
    }
    case 36: {
      // What is no call for a socket.
      struct stat st;
      long r = a % 8 == 0   ? lseek(fd, 0, SEEK_SET)
               : a % 8 == 1 ? pread(fd, block, 10, 0)
               : a % 8 == 2 ? pwrite(fd, block, 10, 0)
               : a % 8 == 3 ? ftruncate(fd, 0)
               : a % 8 == 4 ? fsync(fd)
               : a % 8 == 5 ? syscall(SYS_getdents64, fd, block, sizeof block)
               : a % 8 == 6 ? sendfile(slots[k], fd, NULL, 10)
                            : fstat(fd, &st);
      show("file call", i, r, "%d", a % 8);
      break;
    }
    case 37: {
      struct mmsghdr m[3];
      struct iovec v = {block, a % 60};
      memset(m, 0, sizeof m);
      for (int j = 0; j < 3; j++) m[j].msg_hdr = (struct msghdr){.msg_iov = &v, .msg_iovlen = 1};
      int sends = b & 1;
      if (sends && written[i] > MOST_PENDING) break;
      memset(block, (char)b, sizeof block);
      sleep_us(rest_us);
      unsigned count = b >> 1 & 3;
      if (elsewhere && sends && count > 1) count = 1;
      long r = sends ? sendmmsg(fd, m, count, MSG_NOSIGNAL | MSG_DONTWAIT)
                     : recvmmsg(fd, m, count, MSG_DONTWAIT, NULL);
      if (sends && r > 0) written[i] += 180;
      sleep_us(rest_us);
      show(sends ? "sendmmsg" : "recvmmsg", i, r, "%u %u %u", m[0].msg_len, m[1].msg_len, m[2].msg_len);
      break;
    }
    case 38: {
      fd_set sets[3];
      for (int j = 0; j < 3; j++) FD_ZERO(&sets[j]);
      int highest = 0;
      for (int j = 0; j < SLOTS; j++) {
        // A poll of both kernels' files shows less than either does: docs/differences.md.
        if (slots[j] < 0 || is(slots[j], S_IFIFO)) continue;
        for (int q = 0; q < 3; q++)
          if (a >> q & 1) FD_SET(slots[j], &sets[q]);
        if (slots[j] >= highest) highest = slots[j] + 1;
      }
      struct timeval none = {0, b % 9 ? 0 : -1};
      sleep_us(rest_us);
      long r = select(highest, &sets[0], &sets[1], &sets[2], &none);
      show("select", -1, r, NULL);
      for (int j = 0; j < SLOTS && r >= 0; j++)
        if (slots[j] >= 0)
          printf("%d", FD_ISSET(slots[j], &sets[0]) | FD_ISSET(slots[j], &sets[1]) << 1 |
                           FD_ISSET(slots[j], &sets[2]) << 2);
      break;
    }
    case 39: {
      // A set of its own, so that members come and go with all their kinds of events.
      static const uint32_t kinds[] = {EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLOUT | EPOLLRDHUP, EPOLLPRI, 0,
                                       EPOLLRDNORM | EPOLLWRNORM,
                                       EPOLLIN | EPOLLPRI | EPOLLONESHOT};
      int set = epoll_create1(EPOLL_CLOEXEC);
      int added = 0;
      for (int j = 0; j < SLOTS; j++) {
        struct epoll_event v = {.events = kinds[(a + (unsigned)j) % 7], .data.u64 = (uint64_t)j};
        added += epoll_ctl(set, EPOLL_CTL_ADD, slots[j], &v) == 0;
      }
      sleep_us(rest_us);
      uint32_t masks[SLOTS] = {0};
      struct epoll_event got[SLOTS];
      long r = epoll_wait(set, got, SLOTS, 0);
      for (long j = 0; j < r; j++) masks[got[j].data.u64] = got[j].events;
      show("epoll of all", -1, r, "of %d", added);
      for (int j = 0; j < SLOTS; j++) printf(" %#x", masks[j]);
      close(set);
      break;
    }
    case 40: {
      int ends[2];
      if (i == k) break;
      show("pipe2", i, pipe2(ends, O_NONBLOCK | (b % 2 ? O_CLOEXEC : 0)), "with [%d]", k);
      put(i, ends[0]);
      put(k, ends[1]);
      break;
    }
    case 41: {
      static const int flags[] = {O_RDWR | O_CREAT, O_RDWR | O_CREAT, O_RDWR | O_CREAT | O_EXCL,
                                  O_RDONLY, O_WRONLY, O_RDWR | O_TRUNC, O_RDWR | O_APPEND,
                                  O_RDONLY | O_DIRECTORY, O_RDWR | O_CREAT | O_NOFOLLOW};
      static const char *const names[] = {"a", "b", "c", "d/e", "d", ".", "./../%s/a", "link", "a/b", ""};
      char path[256];
      const char *wanted = names[b % (sizeof names / sizeof names[0])];
      // Of the directory's own name, too, by which the way leads out and in again.
      const char *last = strrchr(directory, '/') + 1;
      char relative[200];
      snprintf(relative, sizeof relative, strchr(wanted, '%') ? "./../%s/a" : "%s",
               strchr(wanted, '%') ? last : wanted);
      snprintf(path, sizeof path, "%s/%s", directory, relative);
      int f = flags[a % (sizeof flags / sizeof flags[0])];
      int s = open(path, f | O_NONBLOCK, 0640);
      show("open", i, s < 0 ? -1 : 0, "%s %#x", wanted, f);
      if (s >= 0) put(i, s);
      break;
    }
    case 42: {
      char one[256], other[256];
      static const char *const names[] = {"a", "b", "c", "d", "d/e", "link"};
      snprintf(one, sizeof one, "%s/%s", directory, names[a % 6]);
      snprintf(other, sizeof other, "%s/%s", directory, names[b % 6]);
      struct stat st;
      memset(&st, 0, sizeof st);
      long r = a % 11 == 0   ? mkdir(one, 0750)
               : a % 11 == 1 ? unlink(one)
               : a % 11 == 2 ? rmdir(one)
               : a % 11 == 3 ? rename(one, other)
               : a % 11 == 4 ? link(one, other)
               : a % 11 == 5 ? symlink("a", other)
               : a % 11 == 6 ? truncate(one, (off_t)(b % 9000))
               : a % 11 == 7 ? access(one, (int)(b % 8))
               : a % 11 == 8 ? readlink(one, block, sizeof block)
               : a % 11 == 9 ? chmod(one, 0600 | (b & 077))
                             : lstat(one, &st);
      show("path", -1, r, "%u %s %s %o %ld %lu", a % 11, names[a % 6], names[b % 6], st.st_mode,
           S_ISDIR(st.st_mode) ? 0 : (long)st.st_size, (unsigned long)st.st_nlink);
      break;
    }
    case 43: {
      // At a position of its own, or at the file's.
      memset(block, (char)b, sizeof block);
      size_t bytes = a % 1500;
      struct stat st;
      if (!is(fd, S_IFREG)) break;
      off_t at = (off_t)(b >> 4) % 20000 - 3;
      static const int whence[] = {SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE, 77};
      long r = b % 8 == 0   ? pread(fd, block, bytes, at)
               : b % 8 == 1 ? pwrite(fd, block, bytes, at)
               : b % 8 == 2 ? read(fd, block, bytes)
               : b % 8 == 3 ? write(fd, block, bytes)
               : b % 8 == 4 ? lseek(fd, at, whence[a % 6])
               : b % 8 == 5 ? ftruncate(fd, at)
               : b % 8 == 6 ? fallocate(fd, a % 2 ? FALLOC_FL_KEEP_SIZE : 0, at, (off_t)bytes)
                            : fsync(fd);
      // Where data end and holes begin is the file system's.
      if (b % 8 == 4 && a % 6 >= 3) r = r < 0 ? r : 0;
      show("file", i, r, "%u of %zu at %ld: %d", b % 8, bytes, (long)at, r > 0 ? block[r > 1499 ? 0 : r - 1] : -1);
      r = fstat(fd, &st); // before its result is looked at
      show("fstat", i, r, "%ld", (long)st.st_size);
      break;
    }
    case 44: {
      if (slots[i] < 0 || slots[k] < 0 || written[k] > MOST_PENDING) break;
      size_t bytes = a % 3000;
      int files = is(slots[i], S_IFREG) && is(slots[k], S_IFREG);
      int to_socket = is(slots[i], S_IFREG) && is(slots[k], S_IFSOCK);
      loff_t at = (loff_t)(b % 5000);
      sleep_us(rest_us);
      if (files) {
        show("copy_file_range", i, copy_file_range(slots[i], &at, slots[k], NULL, bytes, 0), "to [%d]", k);
      } else if (to_socket) {
        off_t from = at;
        long r = sendfile(slots[k], slots[i], b & 1 ? &from : NULL, bytes);
        if (r > 0) written[k] += r;
        show("sendfile", i, r, "to [%d] %ld", k, (long)from);
      }
      sleep_us(rest_us);
      break;
    }
    case 45: {
      if (slots[i] < 0 || slots[k] < 0 || i == k || written[k] > MOST_PENDING) break;
      if (!is(slots[i], S_IFIFO) && !is(slots[k], S_IFIFO)) break;
      // Where a directory that has been read stands is its file system's business: beyond what can be
      // added to, the position is refused before the pipe is looked at.
      if (is(slots[i], S_IFDIR)) break;
      sleep_us(rest_us);
      long r = b % 4 ? splice(slots[i], NULL, slots[k], NULL, a % 700, SPLICE_F_NONBLOCK)
                     : tee(slots[i], slots[k], a % 700, SPLICE_F_NONBLOCK);
      if (r > 0) written[k] += r;
      sleep_us(rest_us);
      show(b % 4 ? "splice" : "tee", i, r, "%zu to [%d]", (size_t)(a % 700), k);
      break;
    }
    case 46: {
      // Over a socket of the host to the program itself.
      if (slots[i] < 0) break;
      int ends[2], got = -1;
      CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
      union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
      } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
      memcpy(CMSG_DATA(&control.header), &slots[i], sizeof(int));
      struct iovec v = {block, 1};
      struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
      long sent = sendmsg(ends[0], &m, 0), r = recvmsg(ends[1], &m, MSG_CMSG_CLOEXEC);
      if (m.msg_controllen >= CMSG_LEN(sizeof(int))) memcpy(&got, CMSG_DATA(&control.header), sizeof(int));
      show("SCM_RIGHTS", i, r, "%ld %d into [%d]", sent, got >= 0 ? fcntl(got, F_GETFD) : -1, k);
      close(ends[0]);
      close(ends[1]);
      long in_flight = written[i];
      if (got >= 0) put(k, got);
      written[k] = in_flight;
      break;
    }
    default: {
      sleep_us(rest_us);
      if (a % 2) {
        struct pollfd p[3];
        int pipes = is(fd, S_IFIFO);
        for (int j = 0; j < 3; j++) {
          int other = slots[(i + j) % SLOTS];
          p[j] = (struct pollfd){is(other, S_IFIFO) == pipes ? other : -1, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
        }
        long r = poll(p, 3, 0);
        show("poll", i, r, "%#x %#x %#x", p[0].revents, p[1].revents, p[2].revents);
      } else {
        struct epoll_event v = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.u64 = (uint64_t)i};
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
  CHECK((argc == 4 || argc == 5) && strchr(argv[3], '/'));
  directory = argv[3];
  if (argc == 5) rest_us = atoi(argv[4]), elsewhere = 1;
  umask(027);
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

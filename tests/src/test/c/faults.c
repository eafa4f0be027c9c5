// SPDX-License-Identifier: MIT
// Every pointer argument of every supported call, given NULL, an address that is not mapped, one
// of the kernel's, memory that may only be read, and a buffer whose second half is not mapped: what
// the call returned, and what was left to receive afterwards. All by raw system calls, so that no
// libc touches the pointers. One line for each; the same on every kernel.
#include "check.h"

#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

enum { HALF = 64 };

static char *edge;       /* what is before it may be used, what is at it may not */
static char *only_read;  /* a page that may not be written */
static size_t page;

enum kind { NULL_POINTER, UNMAPPED, KERNEL, READ_ONLY, CROSSING, KINDS };
static const char *const KIND_NAMES[] = {"NULL", "unmapped", "kernel", "read-only", "crossing"};

/* A bad pointer; for CROSSING the good half holds the first bytes of `content`. */
static void *bad(enum kind kind, const void *content, size_t bytes) {
  switch (kind) {
    case NULL_POINTER: return NULL;
    case UNMAPPED: return edge;
    case KERNEL: return (void *)0xffff888000000000UL;
    case READ_ONLY: return only_read;
    default: {
      size_t good = bytes / 2;
      if (content) memcpy(edge - good, content, good);
      else memset(edge - good, 0, good);
      return edge - good;
    }
  }
}

struct world {
  int stream[2];  /* connected TCP; 100 bytes wait in [0] */
  int datagram;   /* bound UDP with one datagram of 100 bytes waiting */
  int idle;       /* unbound UDP */
  int listener;   /* TCP with one connection waiting */
  int client;
  int epoll;
  int file;
  struct sockaddr_in stream_address, datagram_address;
};

static void build(struct world *w) {
  char data[100];
  memset(data, 'd', sizeof data);
  tcp_pair(w->stream);
  CHECK(write(w->stream[1], data, sizeof data) == sizeof data);
  w->datagram = bound(SOCK_DGRAM, &w->datagram_address);
  w->idle = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(sendto(w->idle, data, sizeof data, 0, (struct sockaddr *)&w->datagram_address,
               sizeof w->datagram_address) == sizeof data);
  close(w->idle);
  w->idle = socket(AF_INET, SOCK_DGRAM, 0);
  w->listener = listening(5, &w->stream_address);
  w->client = connected(&w->stream_address);
  w->epoll = epoll_create1(0);
  struct epoll_event v = {.events = EPOLLIN};
  CHECK(epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->stream[0], &v) == 0);
  char path[] = "faults-XXXXXX";
  w->file = mkstemp(path);
  CHECK(w->file >= 0 && unlink(path) == 0 && write(w->file, data, sizeof data) == sizeof data);
  int all[] = {w->stream[0], w->stream[1], w->datagram, w->idle, w->listener};
  for (int i = 0; i < 5; i++) CHECK(fcntl(all[i], F_SETFL, O_NONBLOCK) == 0);
  struct pollfd ready[] = {{w->stream[0], POLLIN, 0}, {w->datagram, POLLIN, 0}, {w->listener, POLLIN, 0}};
  for (int i = 0; i < 3; i++) CHECK(poll(&ready[i], 1, 2000) == 1);
}

static void unbuild(struct world *w) {
  int all[] = {w->stream[0], w->stream[1], w->datagram, w->idle, w->listener, w->client, w->epoll, w->file};
  for (int i = 0; i < 8; i++) close(all[i]);
}

static int remaining(int fd) {
  char drain[4096];
  long n, all = 0;
  while ((n = recv(fd, drain, sizeof drain, MSG_DONTWAIT)) > 0) all += n;
  return (int)all;
}

/* One call with one bad pointer. */
struct probe {
  const char *name;
  long (*call)(struct world *w, enum kind kind);
};


static long p_bind(struct world *w, enum kind k) {
  struct sockaddr_in a = loopback(0);
  return syscall(SYS_bind, w->idle, bad(k, &a, sizeof a), sizeof a);
}
static long p_connect(struct world *w, enum kind k) {
  return syscall(SYS_connect, w->idle, bad(k, &w->datagram_address, 16), 16);
}
static long p_accept_name(struct world *w, enum kind k) {
  socklen_t n = sizeof(struct sockaddr_in);
  long r = syscall(SYS_accept, w->listener, bad(k, NULL, n), &n);
  return r < 0 ? r : (close(r), 1);
}
static long p_accept_length(struct world *w, enum kind k) {
  struct sockaddr_in a;
  long r = syscall(SYS_accept4, w->listener, &a, bad(k, "\20\0\0\0", 4), 0);
  return r < 0 ? r : (close(r), 1);
}
static long p_getsockname(struct world *w, enum kind k) {
  socklen_t n = 16;
  return syscall(SYS_getsockname, w->datagram, bad(k, NULL, 16), &n);
}
static long p_getsockname_length(struct world *w, enum kind k) {
  struct sockaddr_in a;
  return syscall(SYS_getsockname, w->datagram, &a, bad(k, "\20\0\0\0", 4));
}
static long p_getpeername(struct world *w, enum kind k) {
  socklen_t n = 16;
  return syscall(SYS_getpeername, w->stream[0], bad(k, NULL, 16), &n);
}
static long p_getpeername_length(struct world *w, enum kind k) {
  struct sockaddr_in a;
  return syscall(SYS_getpeername, w->stream[0], &a, bad(k, "\20\0\0\0", 4));
}
static long p_sendto(struct world *w, enum kind k) {
  return syscall(SYS_sendto, w->stream[0], bad(k, NULL, HALF), HALF, 0, NULL, 0);
}
static long p_sendto_datagram(struct world *w, enum kind k) {
  return syscall(SYS_sendto, w->idle, bad(k, NULL, HALF), HALF, 0, &w->datagram_address, 16);
}
static long p_sendto_name(struct world *w, enum kind k) {
  return syscall(SYS_sendto, w->idle, "x", 1, 0, bad(k, &w->datagram_address, 16), 16);
}
static long p_recvfrom(struct world *w, enum kind k) {
  return syscall(SYS_recvfrom, w->stream[0], bad(k, NULL, HALF), HALF, 0, NULL, NULL);
}
static long p_recvfrom_datagram(struct world *w, enum kind k) {
  return syscall(SYS_recvfrom, w->datagram, bad(k, NULL, HALF), HALF, 0, NULL, NULL);
}
static long p_recvfrom_name(struct world *w, enum kind k) {
  char b[HALF];
  socklen_t n = 16;
  return syscall(SYS_recvfrom, w->datagram, b, HALF, 0, bad(k, NULL, 16), &n);
}
static long p_recvfrom_length(struct world *w, enum kind k) {
  char b[HALF];
  struct sockaddr_in a;
  return syscall(SYS_recvfrom, w->datagram, b, HALF, 0, &a, bad(k, "\20\0\0\0", 4));
}
static long p_read(struct world *w, enum kind k) {
  return syscall(SYS_read, w->stream[0], bad(k, NULL, HALF), HALF);
}
static long p_write(struct world *w, enum kind k) {
  return syscall(SYS_write, w->stream[0], bad(k, NULL, HALF), HALF);
}
static long p_readv_list(struct world *w, enum kind k) {
  char b[2][8];
  struct iovec v[2] = {{b[0], 8}, {b[1], 8}};
  return syscall(SYS_readv, w->stream[0], bad(k, v, sizeof v), 2);
}
static long p_readv(struct world *w, enum kind k) {
  char b[8];
  struct iovec v[2] = {{b, 8}, {bad(k, NULL, HALF), HALF}};
  return syscall(SYS_readv, w->stream[0], v, 2);
}
static long p_writev_list(struct world *w, enum kind k) {
  struct iovec v[2] = {{"good", 4}, {"more", 4}};
  return syscall(SYS_writev, w->stream[0], bad(k, v, sizeof v), 2);
}
static long p_writev(struct world *w, enum kind k) {
  struct iovec v[2] = {{"good", 4}, {bad(k, NULL, HALF), HALF}};
  return syscall(SYS_writev, w->stream[0], v, 2);
}
static long p_sendmsg(struct world *w, enum kind k) {
  struct iovec v = {"x", 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  return syscall(SYS_sendmsg, w->stream[0], bad(k, &m, sizeof m), 0);
}
static long p_sendmsg_list(struct world *w, enum kind k) {
  struct iovec v[2] = {{"x", 1}, {"y", 1}};
  struct msghdr m = {.msg_iov = bad(k, v, sizeof v), .msg_iovlen = 2};
  return syscall(SYS_sendmsg, w->stream[0], &m, 0);
}
static long p_sendmsg_data(struct world *w, enum kind k) {
  struct iovec v = {bad(k, NULL, HALF), HALF};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  return syscall(SYS_sendmsg, w->stream[0], &m, 0);
}
static long p_sendmsg_name(struct world *w, enum kind k) {
  struct iovec v = {"x", 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_name = bad(k, &w->datagram_address, 16),
                     .msg_namelen = 16};
  return syscall(SYS_sendmsg, w->idle, &m, 0);
}
static long p_sendmsg_control(struct world *w, enum kind k) {
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec v = {"x", 1};
  struct msghdr m = {.msg_name = &w->datagram_address, .msg_namelen = 16, .msg_iov = &v,
                     .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *h = CMSG_FIRSTHDR(&m);
  *h = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_TTL};
  int ttl = 5;
  memcpy(CMSG_DATA(h), &ttl, sizeof ttl);
  m.msg_control = bad(k, control, sizeof control);
  return syscall(SYS_sendmsg, w->idle, &m, 0);
}
static long p_recvmsg(struct world *w, enum kind k) {
  char b[8];
  struct iovec v = {b, 8};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  return syscall(SYS_recvmsg, w->stream[0], bad(k, &m, sizeof m), 0);
}
static long p_recvmsg_list(struct world *w, enum kind k) {
  char b[2][8];
  struct iovec v[2] = {{b[0], 8}, {b[1], 8}};
  struct msghdr m = {.msg_iov = bad(k, v, sizeof v), .msg_iovlen = 2};
  return syscall(SYS_recvmsg, w->stream[0], &m, 0);
}
static long p_recvmsg_data(struct world *w, enum kind k) {
  struct iovec v = {bad(k, NULL, HALF), HALF};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  return syscall(SYS_recvmsg, w->stream[0], &m, 0);
}
static long p_recvmsg_name(struct world *w, enum kind k) {
  char b[HALF];
  struct iovec v = {b, HALF};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_name = bad(k, NULL, 16), .msg_namelen = 16};
  return syscall(SYS_recvmsg, w->datagram, &m, 0);
}
static long p_recvmsg_control(struct world *w, enum kind k) {
  int on = 1;
  CHECK(setsockopt(w->datagram, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0);
  char b[HALF];
  struct iovec v = {b, HALF};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = bad(k, NULL, HALF),
                     .msg_controllen = HALF};
  long r = syscall(SYS_recvmsg, w->datagram, &m, 0);
  if (r >= 0) printf("flags %#x control %zu ", m.msg_flags, m.msg_controllen);
  return r;
}
static long p_sendmmsg(struct world *w, enum kind k) {
  struct iovec v = {"x", 1};
  struct mmsghdr m[2] = {{.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}}};
  return syscall(SYS_sendmmsg, w->stream[0], bad(k, m, sizeof m), 2, 0);
}
static long p_recvmmsg(struct world *w, enum kind k) {
  char b[8];
  struct iovec v = {b, 8};
  struct mmsghdr m[2] = {{.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}}};
  return syscall(SYS_recvmmsg, w->datagram, bad(k, m, sizeof m), 2, 0, NULL);
}
static long p_recvmmsg_timeout(struct world *w, enum kind k) {
  char b[8];
  struct iovec v = {b, 8};
  struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};
  struct timespec t = {0, 1000000};
  return syscall(SYS_recvmmsg, w->datagram, &m, 1, 0, bad(k, &t, sizeof t));
}
static long p_setsockopt(struct world *w, enum kind k) {
  int on = 1;
  return syscall(SYS_setsockopt, w->idle, SOL_SOCKET, SO_REUSEADDR, bad(k, &on, 4), 4);
}
static long p_setsockopt_struct(struct world *w, enum kind k) {
  struct ip_mreq r = {{htonl(0xe0000001)}, {htonl(INADDR_LOOPBACK)}};
  return syscall(SYS_setsockopt, w->idle, IPPROTO_IP, IP_ADD_MEMBERSHIP, bad(k, &r, sizeof r), sizeof r);
}
static long p_setsockopt_linger(struct world *w, enum kind k) {
  struct linger l = {1, 1};
  return syscall(SYS_setsockopt, w->stream[0], SOL_SOCKET, SO_LINGER, bad(k, &l, sizeof l), sizeof l);
}
static long p_getsockopt(struct world *w, enum kind k) {
  socklen_t n = 4;
  return syscall(SYS_getsockopt, w->idle, SOL_SOCKET, SO_TYPE, bad(k, NULL, 4), &n);
}
static long p_getsockopt_length(struct world *w, enum kind k) {
  int value;
  return syscall(SYS_getsockopt, w->idle, SOL_SOCKET, SO_TYPE, &value, bad(k, "\4\0\0\0", 4));
}
static long p_getsockopt_info(struct world *w, enum kind k) {
  socklen_t n = 128;
  return syscall(SYS_getsockopt, w->stream[0], IPPROTO_TCP, TCP_INFO, bad(k, NULL, 128), &n);
}
static long p_poll(struct world *w, enum kind k) {
  struct pollfd p[2] = {{w->stream[0], POLLIN, 0}, {w->datagram, POLLIN, 0}};
  return syscall(SYS_poll, bad(k, p, sizeof p), 2, 0);
}
static long p_ppoll_time(struct world *w, enum kind k) {
  struct pollfd p = {w->stream[0], POLLIN, 0};
  struct timespec t = {0, 0};
  return syscall(SYS_ppoll, &p, 1, bad(k, &t, sizeof t), NULL, 8);
}
static long p_ppoll_mask(struct world *w, enum kind k) {
  struct pollfd p = {w->stream[0], POLLIN, 0};
  uint64_t mask = 0;
  return syscall(SYS_ppoll, &p, 1, NULL, bad(k, &mask, 8), 8);
}
static long p_select(struct world *w, enum kind k) {
  fd_set in;
  FD_ZERO(&in);
  FD_SET(w->stream[0], &in);
  struct timeval t = {0, 0};
  return syscall(SYS_select, 64, bad(k, &in, 8), NULL, NULL, &t);
}
static long p_select_time(struct world *w, enum kind k) {
  fd_set in;
  FD_ZERO(&in);
  FD_SET(w->stream[0], &in);
  struct timeval t = {0, 0};
  return syscall(SYS_select, 64, &in, NULL, NULL, bad(k, &t, sizeof t));
}
static long p_pselect_mask(struct world *w, enum kind k) {
  fd_set in;
  FD_ZERO(&in);
  FD_SET(w->stream[0], &in);
  struct timespec t = {0, 0};
  uint64_t both[2] = {0, 8};
  return syscall(SYS_pselect6, 64, &in, NULL, NULL, &t, bad(k, both, sizeof both));
}
static long p_epoll_ctl(struct world *w, enum kind k) {
  struct epoll_event v = {.events = EPOLLIN};
  return syscall(SYS_epoll_ctl, w->epoll, EPOLL_CTL_ADD, w->datagram, bad(k, &v, sizeof v));
}
static long p_epoll_wait(struct world *w, enum kind k) {
  return syscall(SYS_epoll_wait, w->epoll, bad(k, NULL, 24), 2, 0);
}
static long p_epoll_pwait2(struct world *w, enum kind k) {
  struct epoll_event v[2];
  struct timespec t = {0, 0};
  return syscall(SYS_epoll_pwait2, w->epoll, v, 2, bad(k, &t, sizeof t), NULL, 8);
}
static long p_ioctl_fionread(struct world *w, enum kind k) {
  return syscall(SYS_ioctl, w->stream[0], FIONREAD, bad(k, NULL, 4));
}
static long p_ioctl_fionbio(struct world *w, enum kind k) {
  int on = 1;
  return syscall(SYS_ioctl, w->idle, FIONBIO, bad(k, &on, 4));
}
static long p_ioctl_flags(struct world *w, enum kind k) {
  struct ifreq r = {.ifr_name = "lo"};
  return syscall(SYS_ioctl, w->idle, SIOCGIFFLAGS, bad(k, &r, sizeof r));
}
static long p_ioctl_conf(struct world *w, enum kind k) {
  struct ifconf c = {.ifc_len = 0};
  return syscall(SYS_ioctl, w->idle, SIOCGIFCONF, bad(k, &c, sizeof c));
}
static long p_sendfile_offset(struct world *w, enum kind k) {
  off_t o = 10;
  return syscall(SYS_sendfile, w->stream[0], w->file, bad(k, &o, sizeof o), 20);
}

static const struct probe PROBES[] = {
    {"bind address", p_bind},
    {"connect address", p_connect},
    {"accept address", p_accept_name},
    {"accept4 length", p_accept_length},
    {"getsockname address", p_getsockname},
    {"getsockname length", p_getsockname_length},
    {"getpeername address", p_getpeername},
    {"getpeername length", p_getpeername_length},
    {"sendto stream data", p_sendto},
    {"sendto datagram data", p_sendto_datagram},
    {"sendto address", p_sendto_name},
    {"recvfrom stream data", p_recvfrom},
    {"recvfrom datagram data", p_recvfrom_datagram},
    {"recvfrom address", p_recvfrom_name},
    {"recvfrom length", p_recvfrom_length},
    {"read data", p_read},
    {"write data", p_write},
    {"readv list", p_readv_list},
    {"readv data", p_readv},
    {"writev list", p_writev_list},
    {"writev data", p_writev},
    {"sendmsg header", p_sendmsg},
    {"sendmsg list", p_sendmsg_list},
    {"sendmsg data", p_sendmsg_data},
    {"sendmsg address", p_sendmsg_name},
    {"sendmsg control", p_sendmsg_control},
    {"recvmsg header", p_recvmsg},
    {"recvmsg list", p_recvmsg_list},
    {"recvmsg data", p_recvmsg_data},
    {"recvmsg address", p_recvmsg_name},
    {"recvmsg control", p_recvmsg_control},
    {"sendmmsg headers", p_sendmmsg},
    {"recvmmsg headers", p_recvmmsg},
    {"recvmmsg time", p_recvmmsg_timeout},
    {"setsockopt int", p_setsockopt},
    {"setsockopt membership", p_setsockopt_struct},
    {"setsockopt linger", p_setsockopt_linger},
    {"getsockopt int", p_getsockopt},
    {"getsockopt length", p_getsockopt_length},
    {"getsockopt TCP_INFO", p_getsockopt_info},
    {"poll fds", p_poll},
    {"ppoll time", p_ppoll_time},
    {"ppoll mask", p_ppoll_mask},
    {"select set", p_select},
    {"select time", p_select_time},
    {"pselect6 mask", p_pselect_mask},
    {"epoll_ctl event", p_epoll_ctl},
    {"epoll_wait events", p_epoll_wait},
    {"epoll_pwait2 time", p_epoll_pwait2},
    {"ioctl FIONREAD", p_ioctl_fionread},
    {"ioctl FIONBIO", p_ioctl_fionbio},
    {"ioctl SIOCGIFFLAGS", p_ioctl_flags},
    {"ioctl SIOCGIFCONF", p_ioctl_conf},
    {"sendfile offset", p_sendfile_offset},
};

/* What could not be delivered is still in the stream, for whoever looks, asks or receives next. */
static void after_a_fault(void) {
  int ends[2], go[2], value = -1;
  char b[200];
  tcp_pair(ends);
  CHECK(pipe(go) == 0);
  for (int i = 0; i < 100; i++) b[i] = (char)('0' + i % 64);
  CHECK(write(ends[1], b, 100) == 100);
  struct pollfd p = {ends[0], POLLIN | POLLOUT | POLLRDHUP, 0};
  CHECK(poll(&p, 1, 2000) == 1);
  int set = epoll_create1(0);
  struct epoll_event v = {.events = EPOLLIN};
  CHECK(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &v) == 0);
  CHECK(recv(ends[0], edge - 50, 200, 0) == -1 && errno == EFAULT);
  CHECK(poll(&p, 1, 0) == 1);
  say("after a fault: poll %#x, epoll %d", p.revents, epoll_wait(set, &v, 1, 0));
  CHECK(ioctl(ends[0], FIONREAD, &value) == 0);
  long peeked = recv(ends[0], b, 20, MSG_PEEK);
  say("FIONREAD %d, peeked %ld: %.20s", value, peeked, b);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    struct iovec parts[2] = {{b, 3}, {b + 3, 7}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2, .msg_name = b + 100, .msg_namelen = 16,
                       .msg_control = b + 150, .msg_controllen = 50};
    long r = recvmsg(ends[0], &m, 0);
    say("a child received %ld: %.10s, name %d, control %d, flags %#x", r, b, (int)m.msg_namelen,
        (int)m.msg_controllen, m.msg_flags);
    r = recv(ends[0], NULL, 5, MSG_TRUNC);
    say("and dropped %ld", r);
    r = recv(ends[0], edge, 5, 0);
    say("and could not receive: %ld %s", r, errno_name(errno));
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(write(ends[1], "more", 4) == 4);
  long r = recv(ends[0], b, 89, MSG_WAITALL);
  say("the rest: %ld: %.89s", r, b);
  p.revents = 0;
  long ready = poll(&p, 1, 0);
  r = recv(ends[0], b, 1, MSG_DONTWAIT);
  say("then poll %ld %#x, receive %ld %s, epoll %d", ready, p.revents, r, errno_name(errno),
      epoll_wait(set, &v, 1, 0));
  CHECK(write(ends[1], "last", 4) == 4 && shutdown(ends[1], SHUT_WR) == 0);
  CHECK(poll(&p, 1, 2000) == 1);
  sleep_us(20000);
  CHECK(read(ends[0], edge, 10) == -1 && errno == EFAULT);
  CHECK(poll(&p, 1, 0) == 1);
  say("at the end: poll %#x", p.revents);
  CHECK(read(ends[0], b, 10) == 4 && read(ends[0], b, 10) == 0);
  close(ends[0]);
  close(ends[1]);
  close(set);
}

int main(void) {
  page = sysconf(_SC_PAGESIZE);
  char *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(two != MAP_FAILED && mprotect(two + page, page, PROT_NONE) == 0);
  edge = two + page;
  only_read = mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(only_read != MAP_FAILED);
  signal(SIGPIPE, SIG_IGN);
  for (size_t i = 0; i < sizeof PROBES / sizeof PROBES[0]; i++) {
    for (enum kind k = 0; k < KINDS; k++) {
      struct world w;
      build(&w);
      printf("%s, %s: ", PROBES[i].name, KIND_NAMES[k]);
      errno = 0;
      long result = PROBES[i].call(&w, k);
      int error = result < 0 ? errno : 0;
      say("%ld %s; left %d and %d", result, errno_name(error), remaining(w.stream[0]),
          remaining(w.datagram));
      unbuild(&w);
    }
  }
  after_a_fault();
  return 0;
}

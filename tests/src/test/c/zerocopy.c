// SPDX-License-Identifier: MIT
// Sends by MSG_ZEROCOPY, and is told by the error queue what has become of them.
#include "check.h"

#include <linux/errqueue.h>

enum { SENDS = 12, BYTES = 30000, SMALL = 1000 };

static char outgoing[BYTES], incoming[BYTES];

static int readable_errors(int s, int milliseconds) {
  struct pollfd p = {.fd = s, .events = 0};
  return poll(&p, 1, milliseconds) == 1 && (p.revents & POLLERR);
}

/* Takes one message off the queue; how many sends it tells of. */
static unsigned told(int s, unsigned from, int first) {
  char control[256], byte;
  struct sockaddr_storage name;
  struct iovec v = {&byte, 1};
  struct msghdr m = {.msg_name = &name, .msg_namelen = sizeof name, .msg_iov = &v, .msg_iovlen = 1,
                     .msg_control = control, .msg_controllen = sizeof control};
  CHECK(recvmsg(s, &m, MSG_ERRQUEUE) == 0);
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  CHECK(c);
  struct sock_extended_err *e = (struct sock_extended_err *)CMSG_DATA(c);
  if (first) {
    say("flags %#x, name of %u bytes, control of %zu", m.msg_flags, m.msg_namelen,
        (size_t)m.msg_controllen);
    say("level %d, type %d, %zu bytes; errno %u, origin %u, code %u", c->cmsg_level, c->cmsg_type,
        (size_t)c->cmsg_len, e->ee_errno, e->ee_origin, e->ee_code);
  }
  CHECK(e->ee_origin == SO_EE_ORIGIN_ZEROCOPY && e->ee_info == from && e->ee_data >= from);
  CHECK(CMSG_NXTHDR(&m, c) == NULL);
  return e->ee_data - from + 1;
}

static void all_told(int s, unsigned from, unsigned count) {
  int first = from == 0;
  while (count > 0) {
    CHECK(readable_errors(s, 20000));
    unsigned n = told(s, from, first);
    CHECK(n <= count);
    first = 0;
    from += n;
    count -= n;
  }
}

static void set(int s, int value) {
  int r = setsockopt(s, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof value);
  say("SO_ZEROCOPY %d: %s", value, errno_name(errno_of(r)));
}

static int option(int s) {
  int value = -1;
  socklen_t length = sizeof value;
  CHECK(getsockopt(s, SOL_SOCKET, SO_ZEROCOPY, &value, &length) == 0 && length == sizeof value);
  return value;
}

static void pass(int from, int to, unsigned bytes, int flags, int message) {
  for (unsigned i = 0; i < bytes; i++) outgoing[i] = (char)rand();
  if (message) {
    struct iovec v[2] = {{outgoing, bytes / 2}, {outgoing + bytes / 2, bytes - bytes / 2}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
    CHECK(sendmsg(from, &m, flags) == (ssize_t)bytes);
  } else {
    CHECK(send(from, outgoing, bytes, flags) == (ssize_t)bytes);
  }
  CHECK(recv(to, incoming, bytes, MSG_WAITALL) == (ssize_t)bytes);
  CHECK(memcmp(outgoing, incoming, bytes) == 0);
}

static void pair(int family, int type, int ends[2]) {
  struct sockaddr_storage a = {.ss_family = family};
  socklen_t length = sizeof a;
  if (family == AF_INET)
    ((struct sockaddr_in *)&a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  else
    ((struct sockaddr_in6 *)&a)->sin6_addr = in6addr_loopback;
  int l = socket(family, type, 0);
  CHECK(bind(l, (struct sockaddr *)&a, sizeof a) == 0);
  CHECK(getsockname(l, (struct sockaddr *)&a, &length) == 0);
  CHECK(type == SOCK_DGRAM || listen(l, 1) == 0);
  ends[0] = socket(family, type, 0);
  CHECK(connect(ends[0], (struct sockaddr *)&a, length) == 0);
  ends[1] = l;
  if (type == SOCK_STREAM) {
    ends[1] = accept(l, NULL, NULL);
    CHECK(ends[1] >= 0);
    close(l);
  }
}

static void sends(int family, int type) {
  int ends[2];
  unsigned bytes = type == SOCK_STREAM ? BYTES : SMALL;
  pair(family, type, ends);
  say("%s of %s", type == SOCK_STREAM ? "a stream" : "datagrams", family == AF_INET ? "IPv4" : "IPv6");
  pass(ends[0], ends[1], bytes, MSG_ZEROCOPY, 0);
  say("without the option: %s", readable_errors(ends[0], 100) ? "told" : "nothing");
  say("is %d", option(ends[0]));
  set(ends[0], 2);
  set(ends[0], -1);
  set(ends[0], 1);
  say("is %d", option(ends[0]));
  pass(ends[0], ends[1], bytes, 0, 0);
  say("without the flag: %s", readable_errors(ends[0], 100) ? "told" : "nothing");
  for (int i = 0; i < SENDS; i++) {
    pass(ends[0], ends[1], bytes, MSG_ZEROCOPY, i % 2);
    if (i % 4 == 0) all_told(ends[0], i, 1);
    if (i % 4 == 3) all_told(ends[0], i - 2, 3);
  }
  say("recvmsg: %s", errno_name(errno_of(recvmsg(ends[0], &(struct msghdr){0}, MSG_ERRQUEUE))));
  pass(ends[0], ends[1], bytes, MSG_ZEROCOPY, 0);
  CHECK(readable_errors(ends[0], 20000));
  // Others are not in the way of what comes.
  if (type == SOCK_STREAM) pass(ends[1], ends[0], SMALL, 0, 0);
  char little[20];
  struct msghdr m = {.msg_control = little, .msg_controllen = sizeof little};
  CHECK(recvmsg(ends[0], &m, MSG_ERRQUEUE) == 0);
  say("little room: flags %#x, control of %zu", m.msg_flags, (size_t)m.msg_controllen);
  say("and then: %s", readable_errors(ends[0], 100) ? "more" : "nothing");
  set(ends[0], 0);
  pass(ends[0], ends[1], bytes, MSG_ZEROCOPY, 0);
  say("switched off: %s", readable_errors(ends[0], 100) ? "told" : "nothing");
  close(ends[0]);
  close(ends[1]);
}

/* Sends that fail are not counted; what is accepted has the option of its listener. */
static void ends_of_it(void) {
  struct sockaddr_in a;
  int l = listening(1, &a);
  set(l, 1);
  int s = connected(&a), accepted = accept(l, NULL, NULL);
  CHECK(accepted >= 0);
  say("what is accepted: %d", option(accepted));
  CHECK(fcntl(accepted, F_SETFL, O_NONBLOCK) == 0);
  unsigned count = 0;
  while (send(accepted, outgoing, sizeof outgoing, MSG_ZEROCOPY) > 0) count++;
  CHECK(errno == EAGAIN);
  CHECK(shutdown(accepted, SHUT_WR) == 0);
  say("after the end: %s",
      errno_name(errno_of(send(accepted, outgoing, 1, MSG_ZEROCOPY | MSG_NOSIGNAL))));
  while (recv(s, incoming, sizeof incoming, 0) > 0) {
  }
  for (unsigned from = 0; from < count;) {
    CHECK(readable_errors(accepted, 20000));
    from += told(accepted, from, 0);
    CHECK(from <= count);
  }
  say("all that were sent were told");
  close(s);
  close(accepted);
  close(l);
  int raw = socket(AF_NETLINK, SOCK_RAW, 0);
  CHECK(raw >= 0);
  set(raw, 1);
  close(raw);
}

int main(void) {
  sends(AF_INET, SOCK_STREAM);
  sends(AF_INET6, SOCK_STREAM);
  sends(AF_INET, SOCK_DGRAM);
  ends_of_it();
  return 0;
}

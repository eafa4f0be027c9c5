// SPDX-License-Identifier: MIT
// Requests of route netlink, as tests make them.
#ifndef ROUTE_H
#define ROUTE_H

#include "check.h"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

struct message {
  struct nlmsghdr head;
  union {
    struct ifinfomsg link;
    struct tcmsg traffic;
  };
  char rest[512];
};

static struct rtattr *put(struct message *m, int type, const void *value, int bytes) {
  struct rtattr *a = (void *)((char *)m + NLMSG_ALIGN(m->head.nlmsg_len));
  a->rta_type = type;
  a->rta_len = RTA_LENGTH(bytes);
  if (bytes) memcpy(RTA_DATA(a), value, bytes);
  m->head.nlmsg_len = NLMSG_ALIGN(m->head.nlmsg_len) + RTA_ALIGN(a->rta_len);
  return a;
}

static void end(struct message *m, struct rtattr *nest) {
  nest->rta_len = (char *)m + m->head.nlmsg_len - (char *)nest;
}

/* What the kernel answers: 0 or an errno. */
static int ask(struct message *m) {
  int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  CHECK(s >= 0);
  m->head.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
  CHECK(send(s, m, m->head.nlmsg_len, 0) == m->head.nlmsg_len);
  char answer[4096];
  CHECK(recv(s, answer, sizeof answer, 0) > (ssize_t)sizeof(struct nlmsghdr));
  struct nlmsghdr *h = (void *)answer;
  CHECK(h->nlmsg_type == NLMSG_ERROR);
  close(s);
  return -((struct nlmsgerr *)NLMSG_DATA(h))->error;
}

/* Which XDP program an interface has, in the way that needs nothing of a driver; -1 for none. */
__attribute__((unused)) static int set_xdp(int index, int fd) {
  struct message m = {.head = {NLMSG_LENGTH(sizeof m.link), RTM_SETLINK, 0, 0, 0}, .link = {.ifi_index = index}};
  uint32_t flags = XDP_FLAGS_SKB_MODE;
  struct rtattr *nest = put(&m, IFLA_XDP | NLA_F_NESTED, NULL, 0);
  put(&m, IFLA_XDP_FD, &fd, sizeof fd);
  put(&m, IFLA_XDP_FLAGS, &flags, sizeof flags);
  end(&m, nest);
  return ask(&m);
}

#endif

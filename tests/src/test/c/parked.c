// SPDX-License-Identifier: MIT
// parked FEW MANY: threads that ask something of a socket and then wait for it to receive, which it
// never does. Prints "few" when there are FEW of them, waits for a line, prints "many" when MANY more
// have begun to wait, and waits for a line again.
#include "check.h"

#include <pthread.h>

enum { STACK_BYTES = 64 << 10 };

static int s;
static _Atomic int asked;

static void *waits(void *unused) {
  struct sockaddr_in a;
  socklen_t length = sizeof a;
  char byte;
  CHECK(getsockname(s, (struct sockaddr *)&a, &length) == 0);
  asked++;
  CHECK(recv(s, &byte, 1, 0) == 1 && !"nobody has sent it");
  return unused;
}

static void threads(int count) {
  int all = asked + count;
  pthread_attr_t small;
  CHECK(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, STACK_BYTES) == 0);
  for (int i = 0; i < count; i++) {
    pthread_t t;
    CHECK(pthread_create(&t, &small, waits, NULL) == 0);
  }
  while (asked < all) sleep_us(1000);
}

int main(int argc, char **argv) {
  CHECK(argc == 3);
  struct sockaddr_in a;
  char line[16];
  s = bound(SOCK_DGRAM, &a);
  threads(atoi(argv[1]));
  say("few");
  CHECK(fgets(line, sizeof line, stdin));
  threads(atoi(argv[2]));
  say("many");
  CHECK(fgets(line, sizeof line, stdin));
  return 0;
}

// SPDX-License-Identifier: MIT
// again FILE TIMES [LEFT]: executes itself so many times, one after another; each time it does a
// little with FILE, by calls that a program makes once or twice, and with a socket that the last
// one has left it. Says what it has found, at the end.
#include "check.h"

#include <sys/stat.h>

enum { SOCKETS = 700 };

int main(int argc, char **argv) {
  CHECK(argc >= 3);
  int times = atoi(argv[2]), left = argc > 3 ? atoi(argv[3]) : times;
  int pair[2] = {SOCKETS, SOCKETS + 1};
  if (argc == 3) {
    int made[2];
    tcp_pair(made);
    for (int k = 0; k < 2; k++) CHECK(dup2(made[k], pair[k]) == pair[k] && close(made[k]) == 0);
  }
  char text[32], number[16], got = 0, sent = (char)left;
  struct stat s;
  CHECK(access(argv[1], R_OK) == 0 && stat(argv[1], &s) == 0);
  int fd = open(argv[1], O_RDWR);
  CHECK(fd >= 0 && read(fd, text, sizeof text) == s.st_size);
  CHECK(lseek(fd, 0, SEEK_SET) == 0 && fstat(fd, &s) == 0);
  text[s.st_size] = 0;
  CHECK(atoi(text) == times - left);
  int n = snprintf(number, sizeof number, "%d", times - left + 1);
  CHECK(write(fd, number, n) == n && close(fd) == 0);
  CHECK(write(pair[left % 2], &sent, 1) == 1 && read(pair[!(left % 2)], &got, 1) == 1 && got == sent);
  if (left == 0) {
    say("done");
    return 0;
  }
  snprintf(number, sizeof number, "%d", left - 1);
  execl(argv[0], argv[0], argv[1], argv[2], number, NULL);
  CHECK(!"executed");
}

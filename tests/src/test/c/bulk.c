// SPDX-License-Identifier: MIT
// bulk COUNT: sends 64 KiB from the same memory again and again to a child, which takes all of it
// before the next comes, so that there is always room. Prints the address of a byte in the middle of
// a page of that memory when it is warm, waits for a line, sends COUNT times, prints "sent", and
// waits again.
#include "check.h"

enum { BYTES = 1 << 16, MIDDLE = BYTES / 2 + 0x800, WARM = 300 };

static char memory[BYTES] __attribute__((aligned(4096)));

static void receiver(int s) {
  static char got[BYTES];
  for (uint32_t n = 0;; n++) {
    ssize_t bytes = recv(s, got, BYTES, MSG_WAITALL);
    if (bytes == 0) exit(0);
    CHECK(bytes == BYTES);
    CHECK(memcmp(got, &n, sizeof n) == 0 && memcmp(got + BYTES - sizeof n, &n, sizeof n) == 0);
    CHECK(got[MIDDLE] == 'm');
    CHECK(send(s, &n, 1, 0) == 1);
  }
}

static void sends(int s, int count) {
  static uint32_t n;
  for (int i = 0; i < count; i++, n++) {
    char taken;
    memcpy(memory, &n, sizeof n);
    memcpy(memory + BYTES - sizeof n, &n, sizeof n);
    CHECK(send(s, memory, BYTES, 0) == BYTES);
    CHECK(recv(s, &taken, 1, 0) == 1 && taken == (char)n);
  }
}

int main(int argc, char **argv) {
  CHECK(argc == 2);
  int ends[2], room = 4 * BYTES, status;
  char line[16];
  tcp_pair(ends);
  CHECK(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0);
  pid_t child = fork();
  CHECK(child >= 0);
  close(ends[child != 0]);
  if (child == 0) receiver(ends[1]);
  memset(memory, 'm', BYTES);
  sends(ends[0], WARM);
  say("%d 0x%llx", getpid(), (unsigned long long)(uintptr_t)(memory + MIDDLE));
  CHECK(fgets(line, sizeof line, stdin));
  sends(ends[0], atoi(argv[1]));
  say("sent");
  CHECK(fgets(line, sizeof line, stdin));
  close(ends[0]);
  CHECK(wait(&status) == child && status == 0);
  return 0;
}

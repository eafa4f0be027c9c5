// SPDX-License-Identifier: MIT
// occupied: has memory of its own where the shim and its slots would lie, for each place in a program
// of its own, and makes many calls on sockets from one thread and from two. The heap of a program
// that is not position-independent can be there (brk(2)), and nobody may take it away.
#include "check.h"

#include "../../../../hook/src/main/c/layout.h"

#include <pthread.h>
#include <sys/mman.h>

enum { BYTES = 0x2000, TURNS = 300, THREADS = 2 };

static void exchange(int ends[2], int turns) {
  char block[100] = {0};
  for (int i = 0; i < turns; i++) {
    CHECK(write(ends[0], block, sizeof block) == sizeof block);
    for (size_t got = 0; got < sizeof block;) {
      ssize_t n = read(ends[1], block + got, sizeof block - got);
      CHECK(n > 0);
      got += n;
    }
  }
}

static void *pairs(void *argument) {
  (void)argument;
  int ends[2];
  tcp_pair(ends);
  exchange(ends, TURNS);
  return NULL;
}

static void with(uintptr_t address, long threads) {
  unsigned char *p = mmap((void *)address, BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  CHECK(p == (void *)address);
  memset(p, 0x5a, BYTES);
  pthread_t others[THREADS];
  for (long i = 1; i < threads; i++) CHECK(pthread_create(&others[i], NULL, pairs, NULL) == 0);
  pairs(NULL);
  for (long i = 1; i < threads; i++) CHECK(pthread_join(others[i], NULL) == 0);
  // By a call, as a signal would not say which.
  int ends[2];
  CHECK(pipe(ends) == 0);
  for (int i = 0; i < BYTES; i += 0x1000) CHECK(write(ends[1], p + i, 1) == 1);
  for (int i = 0; i < BYTES; i++) CHECK(p[i] == 0x5a);
}

int main(int argc, char **argv) {
  const uintptr_t places[] = {
      BASE, TEXT, SELF, TABLE, TABLE + TABLE_BYTES - BYTES, SLOTS, SLOTS + SLOT_BYTES - BYTES,
      SLOTS + SLOT_BYTES,
  };
  if (argc == 3) {
    with(places[atol(argv[1])], atol(argv[2]));
    return 0;
  }
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    for (int threads = 1; threads <= THREADS; threads++) {
      pid_t child = fork();
      CHECK(child >= 0);
      if (child == 0) {
        char place[16], count[16];
        snprintf(place, sizeof place, "%zu", i);
        snprintf(count, sizeof count, "%d", threads);
        execl("/proc/self/exe", argv[0], place, count, NULL);
        _exit(126);
      }
      int status;
      CHECK(waitpid(child, &status, 0) == child);
      say("place %zu, %d threads: %d", i, threads, status);
    }
  }
  return 0;
}

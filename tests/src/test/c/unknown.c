// SPDX-License-Identifier: MIT
// unknown SEED SHARED HOST: descriptors that are used once, or looked at while they become others.
// SHARED is a file of a directory that is the device's when offloaded, HOST one of this machine's.
// Files of the host that have just been opened are read, without anybody having told whose they are;
// and a number that one thread makes one file's and another's by turns is asked about by others all
// the time: that thread must always have the file that it has put there.
#include "check.h"

#include <pthread.h>
#include <sys/stat.h>

enum { ONCE = 600, TURNS = 3000, LOOKERS = 2, LAST = 4096 };

static void read_once(const char *path, const char *text) {
  char got[16];
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0 && read(fd, got, sizeof got) == (ssize_t)strlen(text));
  CHECK(memcmp(got, text, strlen(text)) == 0);
  CHECK(close(fd) == 0 && errno_of(read(fd, got, 1)) == EBADF);
}

static void used_once(const char *shared, const char *host, uint32_t *seed) {
  for (int i = 0; i < ONCE; i++) {
    read_once(host, "host");
    if (next(seed) % 4 == 0) read_once(shared, "device's");
    int pipes[2], pair[2], many;
    char got[4];
    CHECK(pipe(pipes) == 0 && write(pipes[1], "ab", 2) == 2 && read(pipes[0], got, 4) == 2);
    int number = fcntl(pipes[1], F_DUPFD_CLOEXEC, 0);
    CHECK(number > pipes[1] && write(number, "c", 1) == 1 && read(pipes[0], got, 4) == 1);
    CHECK(close(pipes[0]) == 0 && close(pipes[1]) == 0 && close(number) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && write(pair[0], "d", 1) == 1);
    CHECK(read(pair[1], got, 4) == 1 && close(pair[0]) == 0 && close(pair[1]) == 0);
    if (next(seed) % 16) continue;
    // By which a number becomes free without its name.
    many = open(host, O_RDONLY);
    CHECK(many >= 0 && read(many, got, 4) == 4 && syscall(SYS_close_range, many, LAST, 0) == 0);
    CHECK(errno_of(read(many, got, 4)) == EBADF);
    int again = open(shared, O_RDONLY);
    CHECK(again == many && read(again, got, 4) == 4 && memcmp(got, "devi", 4) == 0);
    CHECK(close(again) == 0);
  }
}

static volatile int number, over;

static void *looks(void *p) {
  uint32_t seed = (uint32_t)(uintptr_t)p;
  struct stat s;
  while (!over) {
    // What it says is any of them. It is asked in all the ways that may find out whose it is.
    switch (next(&seed) % 4) {
      case 0: fstat(number, &s); break;
      case 1: lseek(number, 0, SEEK_CUR); break;
      case 2: fcntl(number, F_GETFL); break;
      default: pread(number, &s, 1, 0);
    }
  }
  return NULL;
}

static void becomes_others(const char *shared, const char *host, uint32_t *seed) {
  int sockets[2], files[3], pipes[2];
  struct stat s;
  tcp_pair(sockets);
  CHECK(pipe(pipes) == 0);
  files[0] = open(host, O_RDONLY);
  files[1] = open(shared, O_RDONLY);
  files[2] = sockets[0];
  CHECK(files[0] >= 0 && files[1] >= 0);
  number = dup(files[0]);
  pthread_t threads[LOOKERS];
  for (int k = 0; k < LOOKERS; k++)
    CHECK(pthread_create(threads + k, NULL, looks, (void *)(uintptr_t)next(seed)) == 0);
  for (int i = 0; i < TURNS; i++) {
    char got[16] = "", sent = (char)i;
    int k = next(seed) % 4;
    if (next(seed) % 8 == 0) {
      // The number is free for a moment; nobody else makes any.
      CHECK(close(number) == 0 && dup(k == 3 ? pipes[1] : files[k]) == number);
    } else {
      CHECK(dup2(k == 3 ? pipes[1] : files[k], number) == number);
    }
    if (k == 2) {
      CHECK(write(number, &sent, 1) == 1 && read(sockets[1], got, sizeof got) == 1);
      CHECK(got[0] == sent && fstat(number, &s) == 0 && S_ISSOCK(s.st_mode));
    } else if (k == 3) {
      CHECK(write(number, &sent, 1) == 1 && read(pipes[0], got, sizeof got) == 1);
      CHECK(got[0] == sent && fstat(number, &s) == 0 && S_ISFIFO(s.st_mode));
    } else {
      CHECK(pread(number, got, sizeof got, 0) == (k ? 8 : 4));
      CHECK(strcmp(got, k ? "device's" : "host") == 0);
    }
  }
  over = 1;
  for (int k = 0; k < LOOKERS; k++) CHECK(pthread_join(threads[k], NULL) == 0);
  for (int k = 0; k < 3; k++) CHECK(close(files[k]) == 0);
  CHECK(close(sockets[1]) == 0 && close(pipes[0]) == 0 && close(pipes[1]) == 0);
  CHECK(close(number) == 0);
}

int main(int argc, char **argv) {
  CHECK(argc == 4);
  uint32_t seed = strtoul(argv[1], NULL, 0);
  put_text(argv[2], "device's");
  put_text(argv[3], "host");
  used_once(argv[2], argv[3], &seed);
  becomes_others(argv[2], argv[3], &seed);
  CHECK(unlink(argv[2]) == 0 && unlink(argv[3]) == 0);
  say("done");
  return 0;
}

// SPDX-License-Identifier: MIT
// quiet SEED SHARED HOST: opens and closes files for reading, many times: SHARED, which is the
// device's, and HOST by turns, so that one number is both; in threads, in a child, behind a mapping.
// And what does show that a file is closed: locks.
#include "check.h"

#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { TURNS = 300, THREADS = 4, LOCKS = 100 };

static const char *shared, *host;

static int opened(const char *path) {
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0);
  return fd;
}

/* Reads the file as a whole: it has to be that one. */
static void expect(int fd, const char *text) {
  char got[64];
  struct stat s;
  CHECK(pread(fd, got, sizeof got, 0) == (ssize_t)strlen(text));
  CHECK(memcmp(got, text, strlen(text)) == 0);
  CHECK(fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_size == (off_t)strlen(text));
}

/* One number, by turns a file of the device, one of the host, a copy of either, and nothing. */
static void by_turns(uint32_t *seed) {
  int number = opened(shared);
  CHECK(close(number) == 0);
  for (int i = 0; i < TURNS; i++) {
    int of_device = next(seed) % 2;
    const char *text = of_device ? "shared" : "host";
    int fd = opened(of_device ? shared : host);
    CHECK(fd == number);
    expect(fd, text);
    if (next(seed) % 2) {
      int copy = dup(fd);
      CHECK(copy >= 0 && close(fd) == 0);
      CHECK(errno_of(close(fd)) == EBADF);
      expect(copy, text);
      CHECK(dup2(copy, fd) == fd && close(copy) == 0);
      expect(fd, text);
    }
    CHECK(close(fd) == 0);
    CHECK(errno_of(pread(fd, seed, 1, 0)) == EBADF);
  }
}

static void *in_a_thread(void *argument) {
  uint32_t seed = (uint32_t)(uintptr_t)argument;
  char name[256], text[16];
  snprintf(name, sizeof name, "%s-%u", shared, seed % THREADS);
  snprintf(text, sizeof text, "thread %u", seed % THREADS);
  for (int i = 0; i < TURNS; i++) {
    int of_host = next(&seed) % 3 == 0;
    int fd = opened(of_host ? host : name);
    expect(fd, of_host ? "host" : text);
    CHECK(close(fd) == 0);
  }
  return NULL;
}

static void in_threads(uint32_t seed) {
  pthread_t threads[THREADS];
  char name[256], text[16];
  for (uint32_t i = 0; i < THREADS; i++) {
    snprintf(name, sizeof name, "%s-%u", shared, i);
    snprintf(text, sizeof text, "thread %u", i);
    put_text(name, text);
  }
  for (uint32_t i = 0; i < THREADS; i++)
    CHECK(pthread_create(&threads[i], NULL, in_a_thread,
                         (void *)(uintptr_t)(seed % 0x1000 * THREADS + i)) == 0);
  for (int i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

/* The child has what the parent has closed, and the other way round. */
static void in_a_child(void) {
  int fd = opened(shared), status;
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    for (int i = 0; i < TURNS; i++) {
      expect(fd, "shared");
      int other = opened(i % 2 ? host : shared);
      expect(other, i % 2 ? "host" : "shared");
      CHECK(close(other) == 0);
    }
    exit(0);
  }
  CHECK(close(fd) == 0);
  for (int i = 0; i < TURNS; i++) {
    int other = opened(i % 2 ? shared : host);
    expect(other, i % 2 ? "shared" : "host");
    CHECK(close(other) == 0);
  }
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void behind_a_mapping(void) {
  for (int i = 0; i < TURNS / 10; i++) {
    int fd = opened(shared);
    char *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(mapped != MAP_FAILED && close(fd) == 0);
    int other = opened(host);
    CHECK(other == fd && memcmp(mapped, "shared", 6) == 0);
    expect(other, "host");
    CHECK(close(other) == 0 && munmap(mapped, 4096) == 0);
  }
}

/* A lock is free at once when its file is closed, whoever closes it and whatever was closed before. */
static void locks(void) {
  int second = opened(shared);
  for (int i = 0; i < LOCKS; i++) {
    int first = opened(shared);
    expect(first, "shared");
    if (i % 3 == 0) {
      CHECK(flock(first, LOCK_EX | LOCK_NB) == 0);
      CHECK(errno_of(flock(second, LOCK_EX | LOCK_NB)) == EWOULDBLOCK);
    } else if (i % 3 == 1) {
      CHECK(flock(first, LOCK_SH | LOCK_NB) == 0);
      CHECK(errno_of(flock(second, LOCK_EX | LOCK_NB)) == EWOULDBLOCK);
    } else {
      struct flock of_file = {.l_type = F_RDLCK};
      CHECK(fcntl(first, F_OFD_SETLK, &of_file) == 0);
      int writer = open(shared, O_RDWR);
      of_file.l_type = F_WRLCK;
      CHECK(writer >= 0 && errno_of(fcntl(writer, F_OFD_SETLK, &of_file)) == EAGAIN);
      CHECK(close(first) == 0);
      CHECK(fcntl(writer, F_OFD_SETLK, &of_file) == 0);
      CHECK(close(writer) == 0);
      continue;
    }
    CHECK(close(first) == 0);
    CHECK(flock(second, LOCK_EX | LOCK_NB) == 0);
    CHECK(flock(second, LOCK_UN) == 0);
  }
  CHECK(close(second) == 0);
}

int main(int argc, char **argv) {
  CHECK(argc == 4);
  uint32_t seed = strtoul(argv[1], NULL, 10);
  shared = argv[2];
  host = argv[3];
  put_text(shared, "shared");
  put_text(host, "host");
  by_turns(&seed);
  locks();
  behind_a_mapping();
  in_a_child();
  in_threads(next(&seed));
  by_turns(&seed);
  locks();
  say("all as it should be");
  return 0;
}

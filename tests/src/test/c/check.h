// SPDX-License-Identifier: MIT
// What the tests' programs share: a failed check names its line and ends the program with 1.
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                    \
  do {                                                                                      \
    if (!(condition)) {                                                                     \
      int check_errno = errno;                                                              \
      fprintf(stderr, "%s:%d: %s does not hold (errno %d: %s)\n", __FILE__, __LINE__,       \
              #condition, check_errno, strerror(check_errno));                              \
      exit(1);                                                                              \
    }                                                                                       \
  } while (0)

/* One line of output, out at once: what came before a crash must be seen. */
__attribute__((format(printf, 1, 2), unused)) static void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  putchar('\n');
  fflush(stdout);
}

/* The name of an errno; numbers that no program may see (ERESTARTSYS…) keep their digits. */
__attribute__((unused)) static const char *errno_name(int number) {
  static __thread char digits[24];
  const char *name = number ? strerrorname_np(number) : "0";
  if (name) return name;
  snprintf(digits, sizeof digits, "errno-%d", number);
  return digits;
}

/* What a call that returned less than 0 says; 0 for any other. */
__attribute__((unused)) static int errno_of(long result) { return result >= 0 ? 0 : errno; }

/* Makes a file that says something, or has one say nothing else. */
__attribute__((unused)) static void put_text(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  CHECK(fd >= 0);
  CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  CHECK(close(fd) == 0);
}

/* The end of a page behind which there is no memory. */
__attribute__((unused)) static char *end_of_memory(void) {
  char *two = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(two != MAP_FAILED && munmap(two + 0x1000, 0x1000) == 0);
  return two + 0x1000;
}

/* Random numbers of 24 bits. */
__attribute__((unused)) static uint32_t next(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

__attribute__((unused)) static int64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

__attribute__((unused)) static void sleep_us(int64_t us) {
  struct timespec t = {us / 1000000, us % 1000000 * 1000};
  while (nanosleep(&t, &t) != 0) {
  }
}

__attribute__((unused)) static struct sockaddr_in loopback(int port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

/*
 * One quantity, measured until its median is within the margin that the tests allow, or until that
 * is not to be expected: a machine that is busy for a moment spoils some of the tries, what is slow
 * by itself spoils all of them.
 */
enum { MARGIN_US = 20000, TRIES_MAX = 15 };

struct tries {
  int count;
  int64_t us[TRIES_MAX]; /* in ascending order */
};

__attribute__((unused)) static void measured(struct tries *t, int64_t us) {
  int at = t->count++;
  for (; at > 0 && t->us[at - 1] > us; at--) t->us[at] = t->us[at - 1];
  t->us[at] = us;
}

__attribute__((unused)) static int64_t median(const struct tries *t) { return t->us[t->count / 2]; }

/* Whether another try is due. */
__attribute__((unused)) static int undecided(const struct tries *t) {
  return t->count == 0 || (t->count < TRIES_MAX && median(t) > MARGIN_US);
}

/* A socket of this type bound to a free port of 127.0.0.1; *address says which. */
__attribute__((unused)) static int bound(int type, struct sockaddr_in *address) {
  int s = socket(AF_INET, type, 0);
  CHECK(s >= 0);
  *address = loopback(0);
  CHECK(bind(s, (struct sockaddr *)address, sizeof *address) == 0);
  socklen_t length = sizeof *address;
  CHECK(getsockname(s, (struct sockaddr *)address, &length) == 0);
  return s;
}

/* A listening TCP socket on a free port of 127.0.0.1. */
__attribute__((unused)) static int listening(int backlog, struct sockaddr_in *address) {
  int s = bound(SOCK_STREAM, address);
  CHECK(listen(s, backlog) == 0);
  return s;
}

__attribute__((unused)) static int connected(const struct sockaddr_in *address) {
  int s = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(s >= 0);
  CHECK(connect(s, (const struct sockaddr *)address, sizeof *address) == 0);
  return s;
}

/* Two ends of one TCP connection. */
__attribute__((unused)) static void tcp_pair(int ends[2]) {
  struct sockaddr_in a;
  int l = listening(1, &a);
  ends[0] = connected(&a);
  ends[1] = accept(l, NULL, NULL);
  CHECK(ends[1] >= 0);
  close(l);
}

/*
 * Runs each part in a process of its own, all at once, and prints what they print, in order.
 * The number of parts that did not end with 0.
 */
__attribute__((unused)) static int side_by_side(int count, void (*part)(int)) {
  FILE *outputs[count];
  for (int i = 0; i < count; i++) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      CHECK(dup2(ends[1], 1) == 1);
      close(ends[0]);
      close(ends[1]);
      part(i);
      exit(0);
    }
    close(ends[1]);
    outputs[i] = fdopen(ends[0], "r");
    CHECK(outputs[i]);
  }
  for (int i = 0; i < count; i++) {
    int c;
    while ((c = getc(outputs[i])) != EOF) putchar(c);
    fflush(stdout);
    fclose(outputs[i]);
  }
  int failures = 0, status;
  for (int i = 0; i < count; i++) {
    CHECK(wait(&status) > 0);
    failures += status != 0;
  }
  return failures;
}

#endif

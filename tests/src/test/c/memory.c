// SPDX-License-Identifier: MIT
// memory: what a call reads and writes lies at any place there is: up to a page's end, over several
// pages, in pages nobody has touched, that a child shares, or that cannot be read or written.
#include "check.h"

#include <stdint.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>

enum { PAGE = 4096, PAGES = 6, TURNS = 60, FILL = 0xa5 };

static int ends[2], set;
static char source[PAGES * PAGE], found[PAGES * PAGE];

/* Pages of which those in the mask have no rights, or those that are given. */
static char *pages(int mask, int rights) {
  char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(p != MAP_FAILED);
  memset(p, FILL, PAGES * PAGE);
  for (int i = 0; i < PAGES; i++)
    if (mask >> i & 1) CHECK(mprotect(p + i * PAGE, PAGE, rights) == 0);
  return p;
}

static void give_back(char *p) { CHECK(munmap(p, PAGES * PAGE) == 0); }

static int is_filled(const char *p, size_t bytes) {
  for (size_t i = 0; i < bytes; i++)
    if ((unsigned char)p[i] != FILL) return 0;
  return 1;
}

static void drain(char *to, size_t bytes) {
  for (size_t n = 0; n < bytes;) {
    ssize_t r = recv(ends[1], to + n, bytes - n, 0);
    CHECK(r > 0);
    n += r;
  }
}

static void fill(size_t bytes) { CHECK(send(ends[0], source, bytes, 0) == (ssize_t)bytes); }

static long sends(int how, char *from, size_t bytes) {
  struct iovec two[2] = {{from, bytes / 2}, {from + bytes / 2, bytes - bytes / 2}};
  return how == 0 ? send(ends[0], from, bytes, 0)
         : how == 1 ? write(ends[0], from, bytes)
                    : writev(ends[0], two, 2);
}

static long receives(int how, char *to, size_t bytes) {
  struct iovec two[2] = {{to, bytes / 2}, {to + bytes / 2, bytes - bytes / 2}};
  return how == 0 ? recv(ends[1], to, bytes, 0)
         : how == 1 ? read(ends[1], to, bytes)
                    : readv(ends[1], two, 2);
}

/* What is there arrives, and what lies beside it is left alone, wherever it begins and ends. */
static void places(void) {
  const int offsets[] = {0, 1, 7, PAGE - 9, PAGE - 8, PAGE - 3, PAGE - 1};
  const int lengths[] = {1, 3, 8, 9, 100, PAGE, PAGE + 1, 2 * PAGE + 5};
  char *p = pages(1 << (PAGES - 1), PROT_NONE), *last = p + (PAGES - 1) * PAGE;
  for (int how = 0; how < 3; how++) {
    for (unsigned i = 0; i < sizeof offsets / sizeof *offsets; i++) {
      for (unsigned k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        size_t bytes = lengths[k];
        char *at[] = {p + PAGE + offsets[i], last - bytes};
        for (int end = 0; end < 2; end++) {
          memcpy(at[end], source + i, bytes);
          CHECK(sends(how, at[end], bytes) == (long)bytes);
          drain(found, bytes);
          CHECK(memcmp(found, source + i, bytes) == 0);
          // One byte less than there is room for: the last one is to be as it was.
          memset(p, FILL, last - p);
          size_t less = bytes > 1 ? bytes - 1 : bytes;
          fill(less);
          size_t got = receives(how, at[end], bytes);
          CHECK(got > 0 && got <= less);
          CHECK(memcmp(at[end], source, got) == 0);
          CHECK(is_filled(p, at[end] - p) && is_filled(at[end] + got, last - at[end] - got));
          drain(found, less - got);
        }
      }
    }
  }
  give_back(p);
  say("places: what was sent");
}

static void fails(long r) { CHECK(r == -1 && errno == EFAULT); }

/* Memory without the rights: nothing is lost of what could not be received, nor half of it sent. */
static void rights(void) {
  static char *const null = NULL;
  char *none = pages(1 << 1, PROT_NONE), *constant = pages(1 << 1, PROT_READ);
  for (int i = 0; i < TURNS; i++) {
    for (int how = 0; how < 3; how++) {
      fails(sends(how, none + PAGE, 10));
      fails(sends(how, null, 10));
      fails(sends(how, (char *)(INTPTR_MIN + 64), 10));
      CHECK(sends(how, constant + PAGE, 10) == 10);
      drain(found, 10);
      CHECK(is_filled(found, 10));
      fill(10);
      fails(receives(how, none + PAGE, 10));
      fails(receives(how, constant + PAGE, 10));
      fails(receives(how, null, 10));
      drain(found, 10);
      CHECK(memcmp(found, source, 10) == 0 && is_filled(constant, 3 * PAGE));
    }
    // A pipe's worth of answers.
    struct pollfd polled = {ends[0], POLLOUT, 0}, *over = (struct pollfd *)(none + PAGE - 4);
    CHECK(poll(&polled, 1, 0) == 1);
    fails(poll(over, 1, 0));
    fails(poll((struct pollfd *)(constant + PAGE), 1, 0));
    struct epoll_event e;
    CHECK(epoll_wait(set, &e, 1, 0) == 1);
    fails(epoll_wait(set, (struct epoll_event *)(none + PAGE - 4), 1, 0));
    fails(epoll_wait(set, (struct epoll_event *)(constant + PAGE), 1, 0));
    fails(epoll_ctl(set, EPOLL_CTL_MOD, ends[0], (struct epoll_event *)(none + PAGE - 4)));
    struct timeval now = {0, 0};
    fd_set *sets[] = {(fd_set *)(none + PAGE - 4), (fd_set *)(constant + PAGE)};
    FD_ZERO(sets[0] - 1);
    fails(select(ends[0] + 1, NULL, sets[0], NULL, &now));
    CHECK(mprotect(constant + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
    FD_ZERO(sets[1]);
    FD_SET(ends[0], sets[1]);
    CHECK(mprotect(constant + PAGE, PAGE, PROT_READ) == 0);
    fails(select(ends[0] + 1, NULL, sets[1], NULL, &now));
    CHECK(mprotect(constant + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
    memset(constant + PAGE, FILL, PAGE);
    CHECK(mprotect(constant + PAGE, PAGE, PROT_READ) == 0);
    fails(setsockopt(ends[0], IPPROTO_TCP, TCP_NODELAY, none + PAGE - 1, sizeof(int)));
    memset(none, FILL, PAGE);
  }
  give_back(none);
  give_back(constant);
  say("rights: nothing lost");
}

/* Answers that end where the memory does, or are in two pages. */
static void answers(void) {
  char *p = pages(1 << 2, PROT_NONE), *end = p + 2 * PAGE;
  for (int i = 0; i < TURNS; i++) {
    char *at[] = {end, p + PAGE + 2 + i % 6};
    for (int k = 0; k < 2; k++) {
      struct pollfd *polled = (struct pollfd *)(at[k] - sizeof *polled);
      *polled = (struct pollfd){ends[0], POLLOUT, 0};
      CHECK(poll(polled, 1, 0) == 1 && polled->revents == POLLOUT);
      struct epoll_event *e = (struct epoll_event *)(at[k] - sizeof *e);
      *e = (struct epoll_event){.events = EPOLLOUT, .data.u64 = i};
      CHECK(epoll_ctl(set, EPOLL_CTL_MOD, ends[0], e) == 0);
      memset(e, FILL, sizeof *e);
      CHECK(epoll_wait(set, e, 1, 0) == 1 && e->events == EPOLLOUT && e->data.u64 == (uint64_t)i);
      int *on = (int *)(at[k] - sizeof *on);
      *on = i % 2;
      CHECK(setsockopt(ends[0], IPPROTO_TCP, TCP_NODELAY, on, sizeof *on) == 0);
      socklen_t length = sizeof *on;
      CHECK(getsockopt(ends[0], IPPROTO_TCP, TCP_NODELAY, on, &length) == 0 && !*on == !(i % 2));
    }
    memset(p, FILL, 2 * PAGE);
  }
  give_back(p);
  say("answers: as asked");
}

/* Pages that were never touched, and such as a child has as well: each writes to its own. */
static void fresh(void) {
  char *p = mmap(NULL, 256 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(p != MAP_FAILED);
  for (int i = 0; i < TURNS; i++) {
    CHECK(send(ends[0], p + (2 * i + 128) * PAGE, 16, 0) == 16);
    drain(p + i * PAGE + 5, 16);
    for (int k = 0; k < 16; k++) CHECK(p[i * PAGE + 5 + k] == 0);
  }
  memset(p, FILL, PAGE);
  for (int i = 0; i < 8; i++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      fill(64);
      drain(p + 8, 64);
      _exit(memcmp(p + 8, source, 64) == 0 && is_filled(p + 72, PAGE - 72) ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(is_filled(p, PAGE));
  }
  CHECK(munmap(p, 256 * PAGE) == 0);
  say("fresh pages: each its own");
}

/* sendfile's offset. */
static void offsets(void) {
  char name[] = "/tmp/memory-XXXXXX", *none = pages(1 << 1, PROT_NONE), *constant = pages(1, PROT_READ);
  int fd = mkstemp(name);
  CHECK(fd >= 0 && unlink(name) == 0 && write(fd, source, 1000) == 1000);
  for (int i = 0; i < TURNS; i++) {
    off_t *at = (off_t *)(none + PAGE - sizeof *at - i % 3);
    *at = 10;
    CHECK(sendfile(ends[0], fd, at, 100) == 100 && *at == 110);
    drain(found, 100);
    CHECK(memcmp(found, source + 10, 100) == 0);
    fails(sendfile(ends[0], fd, (off_t *)(none + PAGE - 4), 100));
    fails(sendfile(ends[0], fd, (off_t *)8, 100));
  }
  close(fd);
  give_back(none);
  give_back(constant);
  say("offsets: written back");
}

int main(void) {
  for (unsigned i = 0; i < sizeof source; i++) source[i] = (char)(i * 31 + i / 251);
  tcp_pair(ends);
  set = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLOUT};
  CHECK(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &e) == 0);
  for (int i = 0; i < TURNS; i++) {
    fill(1);
    drain(found, 1);
  }
  places();
  rights();
  answers();
  fresh();
  offsets();
  return 0;
}

// SPDX-License-Identifier: MIT
// Sockets that announce themselves by signals: SIGIO, SIGURG and what F_SETSIG names, to whom
// F_SETOWN says. How many signals a burst makes is nobody's promise; that each arrival after which
// the program waits makes one is.
#include "check.h"

#include <sys/ioctl.h>

enum { LIMIT_SECONDS = 20, ROUNDS = 300 };

#ifndef FIOSETOWN
#define FIOSETOWN 0x8901
#endif
#ifndef SIOCSPGRP
#define SIOCSPGRP 0x8902
#endif

static int own_signal(void) { return SIGRTMIN + 3; }

static void block_all(void) {
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, SIGIO);
  sigaddset(&s, SIGURG);
  sigaddset(&s, own_signal());
  CHECK(sigprocmask(SIG_BLOCK, &s, NULL) == 0);
}

/* Waits for a signal that is blocked; 0 if none comes. */
static int waited(int number, siginfo_t *info, int64_t us) {
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, number);
  int64_t end = now_us() + us;
  for (;;) {
    int64_t left = end - now_us();
    if (left < 0) left = 0;
    struct timespec t = {left / 1000000, left % 1000000 * 1000};
    int r = sigtimedwait(&s, info, &t);
    if (r == number) return 1;
    if (errno != EINTR) return 0;
  }
}

static void expect(const char *what, int number) {
  siginfo_t info;
  say("%s: %s", what,
      waited(number, &info, LIMIT_SECONDS * 1000000LL) ? strsignal(number) : "nothing");
}

/* What one arrival has brought is told by more than one signal, the last of them a little later. */
static void forget(void) {
  siginfo_t info;
  int any;
  do {
    any = waited(SIGIO, &info, 60000) + waited(SIGURG, &info, 0) + waited(own_signal(), &info, 0);
  } while (any);
}

static void expect_none(const char *what) {
  siginfo_t info;
  int any = waited(SIGIO, &info, 200000) + waited(SIGURG, &info, 0);
  say("%s: %s", what, any ? "a signal" : "nothing");
}

static void flags(int fd, int set, int clear) {
  int now = fcntl(fd, F_GETFL);
  CHECK(now >= 0 && fcntl(fd, F_SETFL, (now | set) & ~clear) == 0);
}

static void take(int fd, int bytes) {
  char buffer[64];
  CHECK(recv(fd, buffer, bytes, MSG_WAITALL) == bytes);
}

static void stream(void) {
  int ends[2];
  tcp_pair(ends);
  CHECK(send(ends[1], "a", 1, 0) == 1);
  CHECK(poll(&(struct pollfd){.fd = ends[0], .events = POLLIN}, 1, -1) == 1);
  CHECK(fcntl(ends[0], F_SETOWN, getpid()) == 0);
  CHECK(fcntl(ends[0], F_GETOWN) == getpid());
  expect_none("an owner alone");
  flags(ends[0], O_ASYNC, 0);
  say("O_ASYNC is %s", fcntl(ends[0], F_GETFL) & O_ASYNC ? "set" : "not set");
  CHECK(send(ends[1], "b", 1, 0) == 1);
  expect("more behind what was there", SIGIO);
  forget();
  CHECK(send(ends[1], "c", 1, 0) == 1);
  expect("still more", SIGIO);
  forget();
  take(ends[0], 3);
  for (int i = 0; i < 3; i++) {
    CHECK(send(ends[1], "d", 1, 0) == 1);
    expect("after all was read", SIGIO);
    take(ends[0], 1);
    forget();
  }
  flags(ends[0], 0, O_ASYNC);
  CHECK(send(ends[1], "e", 1, 0) == 1);
  expect_none("without O_ASYNC");
  flags(ends[0], O_ASYNC, 0);
  CHECK(fcntl(ends[0], F_SETOWN, 0) == 0);
  CHECK(send(ends[1], "f", 1, 0) == 1);
  expect_none("without an owner");
  CHECK(fcntl(ends[0], F_SETOWN, getpid()) == 0);
  take(ends[0], 2);
  close(ends[1]);
  expect("the peer closes", SIGIO);
  CHECK(recv(ends[0], &(char){0}, 1, 0) == 0);
  close(ends[0]);
  forget();
  tcp_pair(ends);
  CHECK(fcntl(ends[0], F_SETOWN, getpid()) == 0);
  flags(ends[0], O_ASYNC, 0);
  struct linger none = {.l_onoff = 1, .l_linger = 0};
  CHECK(setsockopt(ends[1], SOL_SOCKET, SO_LINGER, &none, sizeof none) == 0);
  close(ends[1]);
  expect("the peer resets", SIGIO);
  say("recv: %s", errno_name(errno_of(recv(ends[0], &(char){0}, 1, 0))));
  close(ends[0]);
  forget();
}

static void datagrams(void) {
  struct sockaddr_in a;
  int to = bound(SOCK_DGRAM, &a), from = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
  int owner = getpid();
  CHECK(ioctl(to, FIOSETOWN, &owner) == 0);
  CHECK(ioctl(to, FIOASYNC, &on) == 0);
  say("O_ASYNC is %s", fcntl(to, F_GETFL) & O_ASYNC ? "set" : "not set");
  for (int i = 0; i < 3; i++) {
    CHECK(sendto(from, "datagram", 8, 0, (struct sockaddr *)&a, sizeof a) == 8);
    expect("a datagram", SIGIO);
    forget();
  }
  on = 0;
  CHECK(ioctl(to, FIOASYNC, &on) == 0);
  CHECK(sendto(from, "datagram", 8, 0, (struct sockaddr *)&a, sizeof a) == 8);
  expect_none("without FIOASYNC");
  close(to);
  close(from);
  forget();
}

static void connections(void) {
  struct sockaddr_in a;
  int l = listening(8, &a);
  int owner = getpid();
  CHECK(ioctl(l, SIOCSPGRP, &owner) == 0);
  flags(l, O_ASYNC, 0);
  int first = connected(&a);
  expect("a connection", SIGIO);
  forget();
  int second = connected(&a);
  expect("another one", SIGIO);
  forget();
  int accepted = accept(l, NULL, NULL);
  CHECK(accepted >= 0);
  say("O_ASYNC of what is accepted is %s",
      fcntl(accepted, F_GETFL) & O_ASYNC ? "set" : "not set");
  CHECK(send(first, "a", 1, 0) == 1);
  expect_none("data on what is accepted");
  close(first);
  close(second);
  close(accepted);
  close(l);
  forget();
}

/* What F_SETSIG's signal says: which descriptor it was, and of what it tells. */
static void expect_told(const char *what, int fd, int band) {
  siginfo_t info;
  for (;;) {
    if (!waited(own_signal(), &info, LIMIT_SECONDS * 1000000LL)) {
      say("%s: nothing", what);
      return;
    }
    if (info.si_band & band) break;
  }
  say("%s: %s, %s descriptor", what, info.si_code == POLL_IN ? "POLL_IN" : "another code",
      info.si_fd == fd ? "the right" : "another");
}

static void expect_room(const char *what, int fd) {
  siginfo_t info;
  do {
    if (!waited(own_signal(), &info, LIMIT_SECONDS * 1000000LL)) {
      say("%s: nothing", what);
      return;
    }
  } while (info.si_code != POLL_OUT);
  say("%s: POLL_OUT, %s descriptor", what, info.si_fd == fd ? "the right" : "another");
}

static void own_signals(void) {
  int ends[2];
  tcp_pair(ends);
  int copy = dup(ends[0]);
  CHECK(fcntl(ends[0], F_SETSIG, own_signal()) == 0);
  say("F_GETSIG: %d", fcntl(ends[0], F_GETSIG) - SIGRTMIN);
  struct f_owner_ex owner = {F_OWNER_TID, gettid()};
  CHECK(fcntl(ends[0], F_SETOWN_EX, &owner) == 0);
  flags(copy, O_ASYNC, 0);
  for (int i = 0; i < 3; i++) {
    CHECK(send(ends[1], "a", 1, 0) == 1);
    expect_told("data", copy, POLLIN);
    forget();
  }
  take(ends[0], 3);
  flags(ends[0], O_NONBLOCK, 0);
  static char block[1 << 16];
  long sent = 0, r;
  while ((r = send(ends[0], block, sizeof block, 0)) > 0) sent += r;
  CHECK(errno == EAGAIN);
  while (sent > 0) {
    r = recv(ends[1], block, sizeof block, 0);
    CHECK(r > 0);
    sent -= r;
  }
  expect_room("room to send", copy);
  close(ends[1]);
  expect_told("the end", copy, POLLIN | POLLHUP);
  close(ends[0]);
  close(copy);
  forget();

  struct sockaddr_in a;
  int l = listening(1, &a), s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  CHECK(fcntl(s, F_SETSIG, own_signal()) == 0 && fcntl(s, F_SETOWN, getpid()) == 0);
  flags(s, O_ASYNC, 0);
  r = connect(s, (struct sockaddr *)&a, sizeof a);
  CHECK(r == 0 || errno == EINPROGRESS);
  expect_room("connected", s);
  close(s);
  close(l);
  forget();
}

static void urgent(void) {
  int ends[2];
  tcp_pair(ends);
  CHECK(fcntl(ends[0], F_SETOWN, getpid()) == 0);
  for (int i = 0; i < 3; i++) {
    char c = 0;
    CHECK(send(ends[1], "!", 1, MSG_OOB) == 1);
    expect("urgent", SIGURG);
    CHECK(recv(ends[0], &c, 1, MSG_OOB) == 1 && c == '!');
    forget();
  }
  CHECK(send(ends[1], "a", 1, 0) == 1);
  expect_none("not urgent");
  close(ends[0]);
  close(ends[1]);
}

/* Signals to a child, by its number or its group's. */
static void others(void) {
  for (int group = 0; group < 2; group++) {
    int ends[2], up[2], down[2];
    tcp_pair(ends);
    CHECK(pipe(up) == 0 && pipe(down) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      CHECK(setpgid(0, 0) == 0);
      close(ends[1]);
      CHECK(write(up[1], "r", 1) == 1 && read(down[0], &(char){0}, 1) == 1);
      for (int i = 0; i < 2; i++) {
        expect(group ? "in the group" : "in the child", SIGIO);
        take(ends[0], 1);
        forget();
        CHECK(write(up[1], "d", 1) == 1);
      }
      exit(0);
    }
    CHECK(read(up[0], &(char){0}, 1) == 1);
    CHECK(fcntl(ends[0], F_SETOWN, group ? -child : child) == 0);
    flags(ends[0], O_ASYNC, 0);
    // Nobody but the child has it: from there on what stands for it is the child's.
    close(ends[0]);
    CHECK(write(down[1], "g", 1) == 1);
    for (int i = 0; i < 2; i++) {
      CHECK(send(ends[1], "a", 1, 0) == 1);
      CHECK(read(up[0], &(char){0}, 1) == 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    expect_none("in the parent");
    close(ends[1]);
    close(up[0]), close(up[1]), close(down[0]), close(down[1]);
  }
}

static int driven = -1;
static volatile sig_atomic_t answered, came;

/* As programs do that live by SIGIO: takes all there is, and answers. */
static void on_io(int number) {
  (void)number;
  int saved = errno;
  char buffer[64];
  ssize_t n;
  came++;
  while ((n = recv(driven, buffer, sizeof buffer, MSG_DONTWAIT)) > 0) {
    CHECK(send(driven, buffer, n, 0) == n);
    answered += n;
  }
  errno = saved;
}

/* Each arrival is told, or both sides wait for ever. */
static void driven_by_signals(void) {
  int ends[2];
  tcp_pair(ends);
  driven = ends[0];
  struct sigaction a = {.sa_handler = on_io};
  CHECK(sigaction(SIGIO, &a, NULL) == 0);
  CHECK(fcntl(driven, F_SETOWN, getpid()) == 0);
  flags(driven, O_ASYNC, 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    for (int i = 0; i < ROUNDS; i++) {
      CHECK(send(ends[1], "a", 1, 0) == 1);
      take(ends[1], 1);
    }
    exit(0);
  }
  sigset_t open_mask;
  CHECK(sigprocmask(SIG_BLOCK, NULL, &open_mask) == 0);
  sigdelset(&open_mask, SIGIO);
  while (answered < ROUNDS) sigsuspend(&open_mask);
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  say("answered: %d", (int)answered);
  close(ends[0]);
  close(ends[1]);
}

/* A thread that waits for something else, on a socket too, is interrupted. */
static void while_blocked(void) {
  int ends[2], other[2];
  tcp_pair(ends);
  tcp_pair(other);
  driven = ends[0];
  sigset_t io;
  sigemptyset(&io);
  sigaddset(&io, SIGIO);
  CHECK(sigprocmask(SIG_UNBLOCK, &io, NULL) == 0);
  CHECK(fcntl(driven, F_SETOWN, getpid()) == 0);
  flags(driven, O_ASYNC, 0);
  came = 0;
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    sleep_us(100000);
    CHECK(send(ends[1], "a", 1, 0) == 1);
    take(ends[1], 1);
    exit(0);
  }
  say("recv of another: %s", errno_name(errno_of(recv(other[0], &(char){0}, 1, 0))));
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  // And one that never waits: it looks, sends and receives.
  came = 0;
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    sleep_us(300000);
    CHECK(send(ends[1], "a", 1, 0) == 1);
    take(ends[1], 1);
    exit(0);
  }
  int64_t end = now_us() + LIMIT_SECONDS * 1000000LL;
  while (!came && now_us() < end) {
    char c;
    // A handler without SA_RESTART may end any call that can wait.
    CHECK(send(other[0], "x", 1, 0) == 1 || errno == EINTR);
    struct pollfd p = {.fd = other[1], .events = POLLIN};
    if (poll(&p, 1, 0) == 1) CHECK(recv(other[1], &c, 1, 0) == 1 || errno == EINTR);
  }
  say("to a busy one: %s", came ? "it came" : "nothing");
  CHECK(sigprocmask(SIG_BLOCK, &io, NULL) == 0);
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  close(ends[0]), close(ends[1]), close(other[0]), close(other[1]);
}

int main(void) {
  block_all();
  stream();
  datagrams();
  connections();
  own_signals();
  urgent();
  others();
  driven_by_signals();
  while_blocked();
  return 0;
}

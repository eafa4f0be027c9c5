// SPDX-License-Identifier: MIT
// The signal masks of ppoll, pselect and epoll_pwait: what a wait returns, how often the handler
// ran and which mask is in force afterwards. One line for each case; the same on every kernel.
#include "check.h"

#include <sys/select.h>

static volatile sig_atomic_t handled;

static void on_usr1(int signal) {
  (void)signal;
  handled = handled + 1;
}

static sigset_t empty, with_usr1;

/* Waits for input on fd and, when it is not -1, on other. */
typedef int waiter(int fd, int other, long timeout_us, const sigset_t *mask);

static struct timespec of_us(long us) {
  return (struct timespec){us / 1000000, us % 1000000 * 1000};
}

static int by_ppoll(int fd, int other, long timeout_us, const sigset_t *mask) {
  struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = other, .events = POLLIN}};
  struct timespec t = of_us(timeout_us);
  return ppoll(p, other < 0 ? 1 : 2, &t, mask);
}

static int by_pselect(int fd, int other, long timeout_us, const sigset_t *mask) {
  fd_set in;
  FD_ZERO(&in);
  FD_SET(fd, &in);
  if (other >= 0) FD_SET(other, &in);
  struct timespec t = of_us(timeout_us);
  return pselect((fd > other ? fd : other) + 1, &in, NULL, NULL, &t, mask);
}

static int epoll_of(int fd, int other) {
  int e = epoll_create1(0);
  struct epoll_event v = {.events = EPOLLIN};
  CHECK(epoll_ctl(e, EPOLL_CTL_ADD, fd, &v) == 0);
  if (other >= 0) CHECK(epoll_ctl(e, EPOLL_CTL_ADD, other, &v) == 0);
  return e;
}

static int by_epoll_pwait(int fd, int other, long timeout_us, const sigset_t *mask) {
  int e = epoll_of(fd, other);
  struct epoll_event got[2];
  int result = epoll_pwait(e, got, 2, (int)(timeout_us / 1000), mask), saved = errno;
  close(e);
  errno = saved;
  return result;
}

static int by_epoll_pwait2(int fd, int other, long timeout_us, const sigset_t *mask) {
  int e = epoll_of(fd, other);
  struct epoll_event got[2];
  struct timespec t = of_us(timeout_us);
  int result = epoll_pwait2(e, got, 2, &t, mask), saved = errno;
  close(e);
  errno = saved;
  return result;
}

static const struct {
  const char *name;
  waiter *wait;
} WAITERS[] = {{"ppoll", by_ppoll},
               {"pselect", by_pselect},
               {"epoll_pwait", by_epoll_pwait},
               {"epoll_pwait2", by_epoll_pwait2}};

static const char *in_force(void) {
  sigset_t now;
  CHECK(sigprocmask(SIG_BLOCK, NULL, &now) == 0);
  return sigismember(&now, SIGUSR1) ? "blocked" : "open";
}

static void report(const char *name, const char *what, int mixed, int result) {
  int error = result < 0 ? errno : 0;
  say("%s, %s, %s: %d %s, handled %d, afterwards %s", name, what,
      mixed ? "socket and pipe" : "socket", result, errno_name(error), (int)handled, in_force());
  CHECK(sigprocmask(SIG_SETMASK, &empty, NULL) == 0); // what is pending is delivered here
  say("  and %d in the end", (int)handled);
  handled = 0;
}

static void cases(const char *name, waiter *wait, int fd, int peer, int other) {
  int mixed = other >= 0;

  CHECK(sigprocmask(SIG_SETMASK, &with_usr1, NULL) == 0);
  raise(SIGUSR1);
  report(name, "pending, opened by the mask", mixed, wait(fd, other, 2000000, &empty));

  CHECK(sigprocmask(SIG_SETMASK, &with_usr1, NULL) == 0);
  raise(SIGUSR1);
  report(name, "pending, no mask", mixed, wait(fd, other, 30000, NULL));

  CHECK(sigprocmask(SIG_SETMASK, &empty, NULL) == 0);
  pid_t parent = getpid(), child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    sleep_us(30000);
    kill(parent, SIGUSR1);
    _exit(0);
  }
  int result = wait(fd, other, 80000, &with_usr1), saved = errno;
  // On a busy machine the signal may come this late.
  while (waitpid(child, NULL, 0) != child) {
  }
  errno = saved;
  report(name, "comes while blocked by the mask", mixed, result);

  CHECK(sigprocmask(SIG_SETMASK, &with_usr1, NULL) == 0);
  child = fork();
  if (child == 0) {
    sleep_us(30000);
    kill(parent, SIGUSR1);
    _exit(0);
  }
  int64_t start = now_us();
  result = wait(fd, other, 2000000, &empty);
  saved = errno;
  CHECK(now_us() - start < 1000000);
  errno = saved;
  report(name, "comes while opened by the mask", mixed, result);
  while (waitpid(child, NULL, 0) != child) {
  }

  CHECK(write(peer, "x", 1) == 1);
  sleep_us(20000);
  CHECK(sigprocmask(SIG_SETMASK, &with_usr1, NULL) == 0);
  raise(SIGUSR1);
  report(name, "pending and ready, opened by the mask", mixed, wait(fd, other, 2000000, &empty));
  CHECK(sigprocmask(SIG_SETMASK, &with_usr1, NULL) == 0);
  report(name, "ready, nothing pending", mixed, wait(fd, other, 2000000, &empty));
  char c;
  CHECK(read(fd, &c, 1) == 1);
}

int main(void) {
  sigemptyset(&empty);
  sigemptyset(&with_usr1);
  sigaddset(&with_usr1, SIGUSR1);
  struct sigaction action = {.sa_handler = on_usr1};
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  int ends[2], quiet[2];
  tcp_pair(ends);
  CHECK(pipe(quiet) == 0);
  for (size_t i = 0; i < sizeof WAITERS / sizeof WAITERS[0]; i++) {
    cases(WAITERS[i].name, WAITERS[i].wait, ends[0], ends[1], -1);
    cases(WAITERS[i].name, WAITERS[i].wait, ends[0], ends[1], quiet[0]);
  }
  return 0;
}

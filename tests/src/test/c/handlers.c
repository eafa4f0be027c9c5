// SPDX-License-Identifier: MIT
// handlers SEED: installs and asks for signal handlers at random, with and without SA_RESTART, so
// often that the calls are no longer trapped. What is asked for has to be what was installed, also
// in children, and a signal has to run just that.
#include "check.h"

enum { TURNS = 1500, SIGNALS = 6, HANDLERS = 5, FIELDS = 4 };

static const int signals[SIGNALS] = {SIGUSR1, SIGUSR2, SIGHUP, SIGALRM, SIGIO, 40};
static volatile sig_atomic_t ran, by;

static void first(int signal) { ran = 1, by = signal; }
static void second(int signal) { ran = 2, by = signal; }
static void third(int signal) { ran = 3, by = signal; }

static void (*const handlers[HANDLERS])(int) = {SIG_DFL, SIG_IGN, first, second, third};

static struct sigaction model[SIGNALS];

static int same(const struct sigaction *a, const struct sigaction *b) {
  return a->sa_handler == b->sa_handler && (a->sa_flags & SA_RESTART) == (b->sa_flags & SA_RESTART) &&
         sigismember(&a->sa_mask, SIGWINCH) == sigismember(&b->sa_mask, SIGWINCH);
}

static void turn(uint32_t *seed, int level) {
  int k = next(seed) % SIGNALS;
  struct sigaction old, act = {0};
  switch (next(seed) % 6) {
    case 0:
      CHECK(sigaction(signals[k], NULL, &old) == 0 && same(&old, model + k));
      break;
    case 1: case 2: case 3:
      act.sa_handler = handlers[next(seed) % HANDLERS];
      // Most programs ask for it; of the others the hook has to know.
      act.sa_flags = next(seed) % 4 || level == 0 ? SA_RESTART : 0;
      if (next(seed) % 2) sigaddset(&act.sa_mask, SIGWINCH);
      memset(&old, 0x55, sizeof old);
      CHECK(sigaction(signals[k], &act, next(seed) % 2 ? &old : NULL) == 0);
      if (old.sa_flags != 0x55555555) CHECK(same(&old, model + k));
      model[k] = act;
      break;
    case 4:
      // What it was, put back.
      CHECK(sigaction(signals[k], NULL, &old) == 0 && sigaction(signals[k], &old, &act) == 0);
      CHECK(same(&old, model + k) && same(&act, model + k));
      break;
    default:
      if (model[k].sa_handler == SIG_DFL) return;
      ran = by = 0;
      CHECK(raise(signals[k]) == 0);
      if (model[k].sa_handler == SIG_IGN)
        CHECK(ran == 0);
      else
        CHECK(by == signals[k] && handlers[1 + ran] == model[k].sa_handler);
  }
}

static void wrong(void) {
  char *end = end_of_memory();
  long kernel[FIELDS] = {(long)SIG_IGN};
  for (int i = 0; i < 40; i++) {
    CHECK(errno_of(syscall(SYS_rt_sigaction, SIGUSR1, 8, 0, 8)) == EFAULT);
    CHECK(errno_of(syscall(SYS_rt_sigaction, SIGUSR1, end - 16, 0, 8)) == EFAULT);
    CHECK(errno_of(syscall(SYS_rt_sigaction, SIGUSR1, 0, 8, 8)) == EFAULT);
    CHECK(errno_of(syscall(SYS_rt_sigaction, SIGKILL, kernel, 0, 8)) == EINVAL);
    CHECK(errno_of(syscall(SYS_rt_sigaction, 65, kernel, 0, 8)) == EINVAL);
    CHECK(errno_of(syscall(SYS_rt_sigaction, 0, kernel, 0, 8)) == EINVAL);
    CHECK(errno_of(syscall(SYS_rt_sigaction, SIGUSR1, kernel, 0, 4)) == EINVAL);
  }
}

int main(int argc, char **argv) {
  CHECK(argc == 2);
  uint32_t seed = strtoul(argv[1], NULL, 0);
  // A program that makes no other calls is not worth a shim.
  for (int i = 0; i < 40; i++) CHECK(access("/", F_OK) == 0);
  for (int level = 0; level < 2; level++) {
    for (int i = 0; i < TURNS; i++) turn(&seed, level);
    pid_t child = fork();
    CHECK(child >= 0);
    for (int i = 0; i < TURNS / 4; i++) turn(&seed, level);
    if (child == 0) _exit(0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
  }
  wrong();
  say("done");
  return 0;
}

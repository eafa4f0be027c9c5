// SPDX-License-Identifier: MIT
// Handlers without SA_RESTART: calls that never say EINTR do not say it, those that do still do, and
// nobody sees what stands before a handler. One line for each case; the same on every kernel.
#include "check.h"

#include <dirent.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { STORM_US = 1500000, EVERY_US = 400, MANY = 300, THREADS = 4, ROUNDS = 100 };

static volatile sig_atomic_t handled, last_signal;

static void on_signal(int signal) {
  last_signal = signal;
  handled = handled + 1;
}

static void on_other(int signal) {
  last_signal = -signal;
  handled = handled + 1;
}

static void on_info(int signal, siginfo_t *info, void *context) {
  ucontext_t *at = context;
  CHECK(info->si_signo == signal && at->uc_mcontext.gregs[REG_RSP] != 0);
  last_signal = info->si_value.sival_int;
}

static void install(int signal, void (*handler)(int), int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  CHECK(sigaction(signal, &action, NULL) == 0);
}

static void tick(int64_t us) {
  struct itimerval timer = {{us / 1000000, us % 1000000}, {us / 1000000, us % 1000000}};
  CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static int descriptors(void) {
  DIR *all = opendir("/proc/self/fd");
  CHECK(all);
  int count = 0;
  while (readdir(all)) count++;
  closedir(all);
  return count;
}

#define NEVER(call)                                                        \
  do {                                                                     \
    if ((call) < 0 && errno == EINTR) {                                    \
      if (!interrupted++) fprintf(stderr, "interrupted: %s\n", #call);     \
    }                                                                      \
  } while (0)

static void storm(void) {
  int before = descriptors(), interrupted = 0, set = epoll_create1(0);
  install(SIGALRM, on_signal, 0);
  tick(EVERY_US);
  int64_t end = now_us() + STORM_US;
  for (int i = 0; now_us() < end; i++) {
    int s, d;
    struct stat status;
    struct epoll_event v = {.events = EPOLLIN};
    NEVER(s = socket(AF_INET, SOCK_STREAM, 0));
    CHECK(s >= 0 || errno == EINTR);
    NEVER(epoll_ctl(set, EPOLL_CTL_ADD, s, &v));
    NEVER(d = fcntl(s, F_DUPFD_CLOEXEC, 100));
    NEVER(dup2(s, 90));
    NEVER(close(d));
    NEVER(close(90));
    NEVER(close(s));
    NEVER(stat("/etc/passwd", &status));
    NEVER(sigaction(SIGUSR1, NULL, &(struct sigaction){0}));
    if (i % 16 == 0) {
      pid_t child;
      NEVER(child = fork());
      if (child == 0) _exit(0);
      char *words[] = {"true", NULL};
      pid_t other = -1;
      int error = posix_spawn(&other, "/bin/true", NULL, NULL, words, environ);
      errno = error;
      NEVER(error ? -1 : 0);
      while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) {
      }
    }
  }
  tick(0);
  close(set);
  say("storm: %s, %d interrupted, %d descriptors more", handled > 100 ? "handled" : "too few", interrupted,
      descriptors() - before);
}

static void natural(void) {
  int ends[2], lock = memfd_create("lock", 0);
  CHECK(pipe(ends) == 0);
  install(SIGALRM, on_signal, 0);
  pid_t child = fork();
  if (child == 0) {
    struct flock all = {.l_type = F_WRLCK};
    CHECK(fcntl(lock, F_SETLK, &all) == 0);
    CHECK(write(ends[1], "x", 1) == 1);
    for (;;) pause();
  }
  char b;
  CHECK(read(ends[0], &b, 1) == 1);
  tick(30000);
  // Said when the timer is silent: a write may wait, so it may say EINTR itself.
  long reads = read(ends[0], &b, 1);
  int read_error = errno;
  struct flock all = {.l_type = F_WRLCK};
  long locks = fcntl(lock, F_SETLKW, &all);
  int lock_error = errno;
  long waits = waitpid(child, NULL, 0);
  int wait_error = errno;
  tick(0);
  say("read: %ld %s", reads, errno_name(read_error));
  say("lock: %ld %s", locks, errno_name(lock_error));
  say("wait: %ld %s", waits, errno_name(wait_error));
  install(SIGALRM, on_signal, SA_RESTART);
  kill(child, SIGKILL);
  CHECK(waitpid(child, NULL, 0) == child);
  close(lock);
  close(ends[0]);
  close(ends[1]);
}

static const char *name_of(void (*handler)(int)) {
  return handler == SIG_DFL     ? "default"
         : handler == SIG_IGN   ? "ignored"
         : handler == on_signal ? "one"
         : handler == on_other  ? "other"
                                : "unknown";
}

static const char *installed(int signal) {
  struct sigaction old;
  CHECK(sigaction(signal, NULL, &old) == 0);
  return name_of(old.sa_handler);
}

static void seen(const char *where) {
  const char *was = installed(SIGUSR1);
  install(SIGUSR1, on_signal, 0);
  struct sigaction action = {.sa_handler = on_other}, old;
  CHECK(sigaction(SIGUSR1, &action, &old) == 0);
  say("%s: %s, then %s, now %s", where, was, name_of(old.sa_handler), installed(SIGUSR1));
  CHECK(sigaction(SIGUSR1, &old, NULL) == 0); // as a program does that puts back what was
  raise(SIGUSR1);
  say("%s: put back %s, which got %d", where, installed(SIGUSR1), last_signal);
  struct sigaction same = {.sa_handler = on_other};
  install(SIGUSR2, on_other, SA_RESETHAND);
  raise(SIGUSR2);
  say("%s: once %d, then %s; by value %s", where, last_signal, installed(SIGUSR2), name_of(same.sa_handler));
  struct sigaction full = {.sa_sigaction = on_info, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGRTMIN, &full, NULL) == 0 && sigqueue(getpid(), SIGRTMIN, (union sigval){42}) == 0);
  say("%s: with a value %d; errors %d %d", where, last_signal, sigaction(SIGKILL, &action, NULL),
      syscall(SYS_rt_sigaction, SIGUSR1, 8, NULL, 8) < 0 ? errno : 0);
}

/* More handlers than there is room for entries. */
static void many(void) {
  unsigned char *code =
      mmap(NULL, MANY * 16, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(code != MAP_FAILED);
  memset(code, 0xc3, MANY * 16); // ret
  int right = 0;
  for (int i = 0; i < MANY; i++) {
    void (*handler)(int) = (void (*)(int))(code + i * 16);
    struct sigaction old;
    install(SIGUSR2, handler, 0);
    raise(SIGUSR2);
    CHECK(sigaction(SIGUSR2, NULL, &old) == 0);
    right += old.sa_handler == handler;
  }
  say("many: %d", right);
}

static void *thread(void *number) {
  int signal = SIGRTMIN + 1 + (int)(intptr_t)number;
  for (int i = 0; i < ROUNDS; i++) {
    struct sigaction action = {.sa_handler = i % 2 ? on_signal : on_other}, old;
    CHECK(sigaction(signal, &action, &old) == 0);
    CHECK(i == 0 || old.sa_handler == (i % 2 ? on_other : on_signal));
  }
  return NULL;
}

int main(int argc, char **argv) {
  seen(argc > 1 ? "executed" : "first");
  if (argc > 1) return 0;
  pid_t child = fork();
  if (child == 0) {
    seen("forked");
    _exit(0);
  }
  CHECK(waitpid(child, NULL, 0) == child);
  child = vfork();
  if (child == 0) {
    execl("/proc/self/exe", argv[0], "again", NULL);
    _exit(1);
  }
  CHECK(waitpid(child, NULL, 0) == child);
  seen("still");
  natural();
  many();
  pthread_t all[THREADS];
  for (intptr_t i = 0; i < THREADS; i++) CHECK(pthread_create(&all[i], NULL, thread, (void *)i) == 0);
  for (int i = 0; i < THREADS; i++) CHECK(pthread_join(all[i], NULL) == 0);
  say("threads: done");
  storm();
  return 0;
}

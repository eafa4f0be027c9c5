// SPDX-License-Identifier: MIT
// storm SEED SECONDS: 16 threads in blocking socket calls while signals, directed at threads and
// at the process, with and without SA_RESTART, fall on them. No call may return an errno that only
// the kernel knows (ERESTARTSYS and its kin, 512 to 516), and no byte and no queued signal may be
// lost or doubled.
// Signals are blocked while a thread makes calls of other kinds: one that comes between a trap and
// its receipt can end any trapped call with EINTR (docs/adr/0006), which few programs look for.
#include "check.h"

#include <pthread.h>
#include <sys/select.h>

enum { THREADS = 16, SIGNALS = 5, BATCH = 64, LIMIT_US = 30000000 };

/* The last one is sent to the process alone, and queued: it has to come as often as it was sent. */
enum { COUNTED = SIGNALS - 1 };

static sigset_t signals;
static volatile int stop;
static volatile long handled, counted, calls, interrupted, wrong;

static void on_signal(int number) {
  (void)number;
  __atomic_add_fetch(&handled, 1, __ATOMIC_RELAXED);
}

static void on_counted(int number) {
  on_signal(number);
  __atomic_add_fetch(&counted, 1, __ATOMIC_RELAXED);
}

/* Looks at what a call returned; true if it is to be made again. */
static int again(const char *call, long result) {
  __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
  if (result >= 0) return 0;
  if (errno == EINTR) {
    __atomic_add_fetch(&interrupted, 1, __ATOMIC_RELAXED);
    return 1;
  }
  if (errno >= 512) __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
  fprintf(stderr, "%s: errno %d (%s)\n", call, errno, errno_name(errno));
  exit(1);
}

struct worker {
  pthread_t thread;
  int number, fd;
  uint32_t seed;
  volatile long moved;
};

static void let_signals(int how) { CHECK(pthread_sigmask(how, &signals, NULL) == 0); }

/* Sends a counted stream of bytes, in pieces of random size by random calls. */
static void *send_all(void *argument) {
  struct worker *w = argument;
  unsigned char block[BATCH];
  let_signals(SIG_UNBLOCK);
  while (!stop) {
    size_t bytes = 1 + next(&w->seed) % BATCH;
    for (size_t i = 0; i < bytes; i++) block[i] = (unsigned char)(w->moved + i);
    long n;
    switch (next(&w->seed) % 3) {
      case 0:
        do n = write(w->fd, block, bytes);
        while (again("write", n));
        break;
      case 1:
        do n = send(w->fd, block, bytes, 0);
        while (again("send", n));
        break;
      default: {
        struct iovec out = {block, bytes};
        struct msghdr m = {.msg_iov = &out, .msg_iovlen = 1};
        do n = sendmsg(w->fd, &m, 0);
        while (again("sendmsg", n));
      }
    }
    w->moved += n;
    if (next(&w->seed) % 4 == 0) sleep_us(next(&w->seed) % 3000);
  }
  let_signals(SIG_BLOCK);
  CHECK(shutdown(w->fd, SHUT_WR) == 0);
  return NULL;
}

/* Receives and checks it; waits now and then by poll, select or epoll. */
static void *receive_all(void *argument) {
  struct worker *w = argument;
  unsigned char block[BATCH];
  int e = epoll_create1(0);
  CHECK(e >= 0);
  struct epoll_event v = {.events = EPOLLIN};
  CHECK(epoll_ctl(e, EPOLL_CTL_ADD, w->fd, &v) == 0);
  let_signals(SIG_UNBLOCK);
  for (;;) {
    long n;
    struct pollfd p = {.fd = w->fd, .events = POLLIN};
    fd_set in;
    switch (next(&w->seed) % 6) {
      case 0:
        do n = poll(&p, 1, 5000);
        while (again("poll", n));
        break;
      case 1:
        do {
          FD_ZERO(&in);
          FD_SET(w->fd, &in);
          n = select(w->fd + 1, &in, NULL, NULL, NULL);
        } while (again("select", n));
        break;
      case 2:
        do n = epoll_wait(e, &v, 1, -1);
        while (again("epoll_wait", n));
        break;
      default:
        break;
    }
    if (next(&w->seed) % 2) {
      do n = recv(w->fd, block, sizeof block, 0);
      while (again("recv", n));
    } else {
      struct iovec in_block = {block, sizeof block};
      struct msghdr m = {.msg_iov = &in_block, .msg_iovlen = 1};
      do n = recvmsg(w->fd, &m, 0);
      while (again("recvmsg", n));
    }
    if (n == 0) break;
    for (long i = 0; i < n; i++) CHECK(block[i] == (unsigned char)(w->moved + i));
    w->moved += n;
  }
  let_signals(SIG_BLOCK);
  CHECK(close(e) == 0);
  return NULL;
}

/* Whether there was a storm: on a busy machine that takes longer than asked for. */
static int enough(const struct worker *workers) {
  long moved = 0;
  for (int i = 1; i < THREADS; i += 2) moved += workers[i].moved;
  return handled > 100 && interrupted > 0 && calls > 1000 && moved > 10000;
}

int main(int argc, char **argv) {
  CHECK(argc == 3);
  uint32_t seed = strtoul(argv[1], NULL, 0);
  int64_t end = now_us() + atol(argv[2]) * 1000000LL;
  int numbers[SIGNALS] = {SIGUSR1, SIGUSR2, SIGRTMIN + 2, SIGRTMIN + 3, SIGRTMIN + 4};
  sigemptyset(&signals);
  for (int i = 0; i < SIGNALS; i++) {
    struct sigaction a = {.sa_handler = i == COUNTED ? on_counted : on_signal,
                          .sa_flags = i % 2 ? SA_RESTART : 0};
    CHECK(sigaction(numbers[i], &a, NULL) == 0);
    sigaddset(&signals, numbers[i]);
  }
  // The workers are to take the signals, from when they are ready.
  let_signals(SIG_BLOCK);
  struct worker workers[THREADS];
  for (int i = 0; i < THREADS; i += 2) {
    int ends[2];
    tcp_pair(ends);
    for (int k = 0; k < 2; k++) {
      workers[i + k] = (struct worker){.number = i + k, .fd = ends[k], .seed = seed + i + k};
      CHECK(pthread_create(&workers[i + k].thread, NULL, k ? receive_all : send_all,
                           &workers[i + k]) == 0);
    }
  }
  int64_t limit = end + LIMIT_US;
  long sent = 0;
  while (now_us() < end || (!enough(workers) && now_us() < limit)) {
    if (next(&seed) % 3) {
      pthread_kill(workers[next(&seed) % THREADS].thread, numbers[next(&seed) % COUNTED]);
    } else {
      int i = next(&seed) % SIGNALS;
      if (kill(getpid(), numbers[i]) == 0 && i == COUNTED) sent++;
    }
    sleep_us(next(&seed) % 1500);
  }
  stop = 1;
  long moved = 0;
  for (int i = 0; i < THREADS; i++) CHECK(pthread_join(workers[i].thread, NULL) == 0);
  for (int i = 0; i < THREADS; i += 2) {
    CHECK(workers[i].moved == workers[i + 1].moved);
    moved += workers[i].moved;
  }
  CHECK(enough(workers));
  let_signals(SIG_UNBLOCK); // what no worker has taken
  if (counted != sent) say("%ld of %ld queued signals", counted, sent);
  fprintf(stderr, "%ld calls, %ld signals, %ld interruptions, %ld bytes\n", calls, handled,
          interrupted, moved);
  say("%ld unknown errnos", wrong);
  return 0;
}

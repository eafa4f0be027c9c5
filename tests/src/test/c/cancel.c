// SPDX-License-Identifier: MIT
// cancel ROUNDS: cancels threads in the middle of calls on sockets and on pipes that such threads
// have made many times before, blocked and busy ones. All that is to be cleaned up on the way out
// of each must be, by handlers and by what the compiler puts there as for a C++ destructor; so it
// is to be compiled with -fexceptions. Each round is a process of its own.
#include "check.h"

#include <pthread.h>

enum { WARM = 120, KINDS = 6, WRAPPED = 3 };

static volatile int destroyed, handled, ready, finished;
static int pipes[KINDS][2], sockets[KINDS][2];

static void destroy(int *depth) { __atomic_add_fetch(&destroyed, *depth > 0, __ATOMIC_SEQ_CST); }

static void handle(void *unused) {
  (void)unused;
  __atomic_add_fetch(&handled, 1, __ATOMIC_SEQ_CST);
}

static void exchange(int kind, int in, int out) {
  char c = (char)kind;
  CHECK(write(out, &c, 1) == 1);
  c = -1;
  CHECK(read(in, &c, 1) == 1 && c == (char)kind);
}

static void exchange_socket(int kind) {
  char c = (char)kind;
  CHECK(send(sockets[kind][0], &c, 1, 0) == 1);
  c = -1;
  CHECK(recv(sockets[kind][1], &c, 1, 0) == 1 && c == (char)kind);
}

static void last(int kind) {
  char bytes[4096] = {0};
  __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
  while (!finished) switch (kind) {
      case 0: CHECK(read(pipes[kind][0], bytes, 1) == 1); break;
      case 1: CHECK(recv(sockets[kind][1], bytes, 1, 0) == 1); break;
      case 2: CHECK(write(pipes[kind][1], bytes, sizeof bytes) > 0); break;
      case 3: exchange(kind, pipes[kind][0], pipes[kind][1]); break;
      case 4: exchange_socket(kind); break;
      // At last one goes in part, and the shim waits to send the rest.
      default: CHECK(send(sockets[kind][0], bytes, sizeof bytes, 0) > 0);
    }
}

__attribute__((noinline)) static void wrapped(int kind, int depth) {
  __attribute__((cleanup(destroy))) int here = depth;
  if (depth > 1)
    wrapped(kind, depth - 1);
  else
    last(kind);
  CHECK(here == depth);
}

static void *work(void *argument) {
  int kind = (int)(intptr_t)argument;
  for (int i = 0; i < WARM; i++) {
    exchange(kind, pipes[kind][0], pipes[kind][1]);
    exchange_socket(kind);
  }
  pthread_cleanup_push(handle, NULL);
  wrapped(kind, WRAPPED);
  pthread_cleanup_pop(0);
  return NULL;
}

static void round_of(int number) {
  pthread_t threads[KINDS];
  for (int i = 0; i < KINDS; i++) {
    CHECK(pipe(pipes[i]) == 0);
    tcp_pair(sockets[i]);
  }
  for (int i = 0; i < KINDS; i++)
    CHECK(pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i) == 0);
  while (ready < KINDS) sleep_us(1000);
  sleep_us(20000 + number * 1000);
  for (int i = 0; i < KINDS; i++) CHECK(pthread_cancel(threads[(i + number) % KINDS]) == 0);
  for (int i = 0; i < KINDS; i++) {
    void *result;
    CHECK(pthread_join(threads[i], &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
  }
  CHECK(handled == KINDS);
  if (destroyed != KINDS * WRAPPED) fprintf(stderr, "destroyed: %d\n", destroyed);
  CHECK(destroyed == KINDS * WRAPPED);
}

int main(int count, char **argument) {
  CHECK(count == 2);
  int rounds = atoi(argument[1]);
  for (int i = 0; i < rounds; i++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      alarm(60);
      round_of(i);
      _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
  }
  say("%d threads were cancelled and have cleaned up", rounds * KINDS);
  return 0;
}

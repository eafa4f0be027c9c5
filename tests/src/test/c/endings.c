// SPDX-License-Identifier: MIT
// Signals that end, stop or are handled by a process which is blocked in a call on a socket, and the
// cancelling of a thread that is: how it ended (standard output), and after how long (standard
// error, "took CASE US", the median of some tries).
#include "check.h"

#include <pthread.h>

enum { IN_CALL_US = 40000 };

static int ends[2], listener;
static struct sockaddr_in address;

static void in_recv(void) {
  char c;
  (void)!recv(ends[0], &c, 1, 0);
}

static void in_accept(void) { (void)!accept(listener, NULL, NULL); }

static void in_poll(void) {
  struct pollfd p = {.fd = ends[0], .events = POLLIN};
  (void)!poll(&p, 1, -1);
}

static void in_epoll(void) {
  int e = epoll_create1(0);
  struct epoll_event v = {.events = EPOLLIN};
  CHECK(epoll_ctl(e, EPOLL_CTL_ADD, ends[0], &v) == 0);
  (void)!epoll_wait(e, &v, 1, -1);
}

static void in_connect(void) {
  int s[4];
  for (int i = 0; i < 3; i++) {
    s[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)!connect(s[i], (struct sockaddr *)&address, sizeof address);
  }
  s[3] = socket(AF_INET, SOCK_STREAM, 0);
  (void)!connect(s[3], (struct sockaddr *)&address, sizeof address);
}

static void on_term(int signal) {
  (void)signal;
  _exit(42);
}

static const struct {
  const char *name;
  void (*block)(void);
} CALLS[] = {{"recv", in_recv},
             {"accept", in_accept},
             {"connect", in_connect},
             {"poll", in_poll},
             {"epoll_wait", in_epoll}};

static const struct {
  const char *name;
  int signal;
  int handled;
} SIGNALS[] = {{"SIGTERM", SIGTERM, 0},
               {"SIGTERM-handled", SIGTERM, 1},
               {"SIGQUIT", SIGQUIT, 0},
               {"SIGKILL", SIGKILL, 0}};

static pid_t blocked(void (*block)(void), int handled) {
  int ready[2];
  CHECK(pipe(ready) == 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    if (handled) {
      struct sigaction action = {.sa_handler = on_term, .sa_flags = SA_RESTART};
      CHECK(sigaction(SIGTERM, &action, NULL) == 0);
    }
    CHECK(write(ready[1], "", 1) == 1);
    block();
    _exit(3); // the call came back instead
  }
  char byte;
  CHECK(read(ready[0], &byte, 1) == 1);
  close(ready[0]);
  close(ready[1]);
  sleep_us(IN_CALL_US);
  return child;
}

static void report(const char *what, int c, const struct tries *took) {
  fprintf(stderr, "took %s-%s %lld\n", what, CALLS[c].name, (long long)median(took));
}

static void ended(int c, int s) {
  struct tries took = {0};
  int status = -1;
  while (undecided(&took)) {
    pid_t child = blocked(CALLS[c].block, SIGNALS[s].handled);
    int64_t start = now_us();
    CHECK(kill(child, SIGNALS[s].signal) == 0);
    CHECK(waitpid(child, &status, 0) == child);
    measured(&took, now_us() - start);
  }
  say("%s in %s: status %#x", SIGNALS[s].name, CALLS[c].name, status & ~0x80);
  report(SIGNALS[s].name, c, &took);
}

static void stopped(int c) {
  struct tries took = {0};
  int back = 0;
  while (undecided(&took)) {
    pid_t child = blocked(CALLS[c].block, 0);
    int status;
    int64_t start = now_us();
    CHECK(kill(child, SIGSTOP) == 0);
    CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    measured(&took, now_us() - start);
    CHECK(kill(child, SIGCONT) == 0);
    // A call that comes back lets the child end, perhaps before it is seen to have continued.
    CHECK(waitpid(child, &status, WCONTINUED) == child);
    if (!WIFCONTINUED(status)) {
      back++;
      continue;
    }
    sleep_us(20000);
    back += waitpid(child, &status, WNOHANG) == child;
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
  }
  say("SIGSTOP and SIGCONT in %s: the call %s", CALLS[c].name, back ? "came back" : "went on");
  report("SIGSTOP", c, &took);
}

static void *in_thread(void *block) {
  ((void (*)(void))block)();
  return NULL; // the call came back instead
}

static void cancelled(int c) {
  struct tries took = {0};
  int back = 0;
  while (undecided(&took)) {
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, in_thread, CALLS[c].block) == 0);
    sleep_us(IN_CALL_US);
    int64_t start = now_us();
    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    measured(&took, now_us() - start);
    back += result != PTHREAD_CANCELED;
  }
  say("pthread_cancel in %s: %s", CALLS[c].name, back ? "the call came back" : "cancelled");
  report("pthread_cancel", c, &took);
}

static void in_call(int c) {
  tcp_pair(ends);
  listener = listening(0, &address);
  for (size_t s = 0; s < sizeof SIGNALS / sizeof SIGNALS[0]; s++) ended(c, s);
  stopped(c);
  cancelled(c);
}

int main(void) { return side_by_side(sizeof CALLS / sizeof CALLS[0], in_call); }

// SPDX-License-Identifier: MIT
// herd SEED SECONDS THREADS: threads that send and receive on sockets and on pipes, that close both
// and open either anew, so that numbers change their meaning under the others, that fork, execute
// and spawn, while signals fall on them whose handlers send and receive, too. Each byte says whose
// it is, and its place: one that goes to the wrong kernel, is lost, doubled or another's ends the
// program, and so does a call that never comes back.
#include "check.h"

#include <pthread.h>
#include <spawn.h>

enum { MOST = 64, BATCH = 3000, STUCK_US = 60000000, PIPE = 0, TCP = 1 };

extern char **environ;

struct stream {
  int kind, in, out;
  unsigned char sent, got;
};

struct worker {
  pthread_t thread;
  int number, null;
  uint64_t state;
  struct stream streams[2], handlers;
  volatile long rounds;
  volatile int inside;
};

static struct worker workers[MOST];
static struct sockaddr_in address;
static int listener;
static pthread_mutex_t accepting = PTHREAD_MUTEX_INITIALIZER;
static volatile int stop;
static volatile long handled, children;
static __thread struct worker *self;

static unsigned chance(struct worker *w, unsigned below) {
  w->state = w->state * 6364136223846793005ULL + 1442695040888963407ULL;
  return (unsigned)(w->state >> 33) % below;
}

static void open_stream(struct stream *s, int kind) {
  memset(s, 0, sizeof *s);
  s->kind = kind;
  if (kind == PIPE) {
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    s->in = ends[0];
    s->out = ends[1];
    return;
  }
  pthread_mutex_lock(&accepting);
  s->out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(s->out >= 0);
  CHECK(connect(s->out, (struct sockaddr *)&address, sizeof address) == 0);
  do s->in = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  while (s->in < 0 && errno == EINTR);
  CHECK(s->in >= 0);
  pthread_mutex_unlock(&accepting);
}

static void close_stream(struct stream *s) {
  // One that a signal ends early has closed.
  CHECK(close(s->out) == 0 || errno == EINTR);
  CHECK(close(s->in) == 0 || errno == EINTR);
}

static ssize_t put(struct worker *w, struct stream *s, const void *from, size_t bytes) {
  struct iovec v[2] = {{(void *)from, bytes / 2}, {(char *)from + bytes / 2, bytes - bytes / 2}};
  switch (chance(w, s->kind == TCP ? 3 : 2)) {
    case 0: return write(s->out, from, bytes);
    case 1: return writev(s->out, v, 2);
  }
  return send(s->out, from, bytes, MSG_NOSIGNAL);
}

static ssize_t get(struct worker *w, struct stream *s, void *to, size_t bytes) {
  struct iovec v[2] = {{to, bytes / 2}, {(char *)to + bytes / 2, bytes - bytes / 2}};
  switch (chance(w, s->kind == TCP ? 3 : 2)) {
    case 0: return read(s->in, to, bytes);
    case 1: return readv(s->in, v, 2);
  }
  return recv(s->in, to, bytes, 0);
}

/* Sends some bytes and receives them. */
static void round_trip(struct worker *w, struct stream *s, unsigned most) {
  unsigned char bytes[BATCH];
  unsigned total = 1 + chance(w, most), sent = 0, got = 0;
  for (unsigned i = 0; i < total; i++) bytes[i] = (unsigned char)(s->sent++ * 3 + w->number);
  while (sent < total) {
    ssize_t n = put(w, s, bytes + sent, total - sent);
    CHECK(n > 0 || errno == EINTR);
    if (n > 0) sent += n;
  }
  memset(bytes, 0, total);
  while (got < total) {
    ssize_t n = get(w, s, bytes + got, total - got);
    CHECK(n != 0 && (n > 0 || errno == EINTR));
    if (n > 0) got += n;
  }
  for (unsigned i = 0; i < total; i++)
    CHECK(bytes[i] == (unsigned char)(s->got++ * 3 + w->number));
}

static void on_signal(int number) {
  (void)number;
  int error = errno;
  struct worker *w = self;
  if (w && !w->inside) {
    w->inside = 1;
    uint64_t state = w->state; // what was interrupted goes on as it would have
    round_trip(w, &w->handlers, 64);
    // A signal between a trap and its receipt ends any trapped call (docs/adr/0006).
    while (write(w->null, "x", 1) != 1) CHECK(errno == EINTR);
    w->state = state;
    w->inside = 0;
  }
  __atomic_add_fetch(&handled, 1, __ATOMIC_RELAXED);
  errno = error;
}

/* In a forked child, which has one thread: its own streams, and its parent's half sent ones. */
static void child(struct worker *w) {
  for (int i = 0; i < 40; i++) {
    int kind = (int)chance(w, 2);
    struct stream s;
    // No lock may be used that another thread had.
    if (kind == TCP) {
      int l = socket(AF_INET, SOCK_STREAM, 0);
      struct sockaddr_in a = loopback(0);
      socklen_t length = sizeof a;
      CHECK(bind(l, (struct sockaddr *)&a, sizeof a) == 0 && listen(l, 1) == 0);
      CHECK(getsockname(l, (struct sockaddr *)&a, &length) == 0);
      memset(&s, 0, sizeof s);
      s.kind = TCP;
      s.out = connected(&a);
      s.in = accept(l, NULL, NULL);
      CHECK(s.in >= 0);
      close(l);
    } else {
      open_stream(&s, PIPE);
    }
    for (int k = 0; k < 4; k++) round_trip(w, &s, 200);
    close_stream(&s);
    if (chance(w, 4) == 0) break;
  }
  if (chance(w, 2)) execl("/bin/true", "true", (char *)NULL);
  _exit(0);
}

static void have_child(struct worker *w) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t pid;
  if (chance(w, 2)) {
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) child(w);
  } else {
    char *arguments[] = {"true", NULL};
    CHECK(posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, environ) == 0);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  int status;
  while (waitpid(pid, &status, 0) < 0) CHECK(errno == EINTR);
  CHECK(status == 0);
  __atomic_add_fetch(&children, 1, __ATOMIC_RELAXED);
}

static void *work(void *argument) {
  struct worker *w = argument;
  w->null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  CHECK(w->null >= 0);
  open_stream(&w->handlers, w->number % 2 ? TCP : PIPE);
  for (int i = 0; i < 2; i++) open_stream(&w->streams[i], i);
  self = w;
  sigset_t none;
  sigemptyset(&none);
  for (; !stop; w->rounds++) {
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    struct stream *s = &w->streams[chance(w, 2)];
    for (unsigned i = 1 + chance(w, 16); i > 0; i--) round_trip(w, s, BATCH);
    sigset_t all;
    sigfillset(&all);
    // What opens and closes is not made to be interrupted.
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    if (chance(w, 8) == 0) {
      close_stream(s);
      open_stream(s, (int)chance(w, 2));
    }
    if (chance(w, 256) == 0) have_child(w);
  }
  return NULL;
}

/* A thread that waits in an epoll set, until it is told; *argument is the set. */
static void *wait_in(void *argument) {
  struct epoll_event e;
  int n;
  do n = epoll_wait(*(int *)argument, &e, 1, 500);
  while (n < 0 && errno == EINTR);
  return (void *)(intptr_t)n;
}

/* What one thread has read is not shown to another that waits, when it is asked for again. */
static void rearm(void) {
  struct worker w = {.state = 1};
  pthread_t waiter;
  void *events;
  int set = epoll_create1(EPOLL_CLOEXEC);
  struct stream s;
  open_stream(&s, TCP);
  struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT};
  CHECK(epoll_ctl(set, EPOLL_CTL_ADD, s.in, &e) == 0);
  CHECK(pthread_create(&waiter, NULL, wait_in, &set) == 0);
  char c = 'c';
  CHECK(put(&w, &s, &c, 1) == 1);
  CHECK(pthread_join(waiter, &events) == 0 && events == (void *)1);
  CHECK(pthread_create(&waiter, NULL, wait_in, &set) == 0);
  CHECK(get(&w, &s, &c, 1) == 1);
  for (int i = 0; i < 200; i++) round_trip(&w, &s, 20);
  CHECK(epoll_ctl(set, EPOLL_CTL_MOD, s.in, &e) == 0);
  CHECK(pthread_join(waiter, &events) == 0 && events == (void *)0);
  close_stream(&s);
  close(set);
}

/* Whether all have done something: a busy machine takes longer than asked for. */
static int all_began(int threads) {
  for (int i = 0; i < threads; i++)
    if (workers[i].rounds == 0) return 0;
  return handled > 0;
}

int main(int count, char **argument) {
  CHECK(count == 4);
  uint64_t seed = strtoull(argument[1], NULL, 10);
  int threads = atoi(argument[3]);
  CHECK(threads > 0 && threads <= MOST);
  listener = listening(MOST, &address);
  rearm();
  int64_t end = now_us() + atoll(argument[2]) * 1000000;
  struct sigaction restarting = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  struct sigaction interrupting = {.sa_handler = on_signal};
  CHECK(sigaction(SIGUSR1, &restarting, NULL) == 0);
  CHECK(sigaction(SIGUSR2, &interrupting, NULL) == 0);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); // the threads begin with it
  for (int i = 0; i < threads; i++) {
    workers[i].number = i;
    workers[i].state = seed * MOST + i;
    CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
  }
  struct worker chooser = {.state = ~seed};
  long last[MOST] = {0};
  int64_t looked = now_us();
  while (now_us() < end || !all_began(threads)) {
    sleep_us(chance(&chooser, 2000));
    struct worker *w = &workers[chance(&chooser, threads)];
    pthread_kill(w->thread, chance(&chooser, 2) ? SIGUSR1 : SIGUSR2);
    if (now_us() - looked > STUCK_US) {
      looked = now_us();
      for (int i = 0; i < threads; i++) {
        CHECK(workers[i].rounds != last[i]);
        last[i] = workers[i].rounds;
      }
    }
  }
  stop = 1;
  for (int i = 0; i < threads; i++) {
    CHECK(pthread_join(workers[i].thread, NULL) == 0);
  }
  fprintf(stderr, "%ld signals, %ld children\n", handled, children);
  say("%d threads have what is theirs", threads);
  return 0;
}

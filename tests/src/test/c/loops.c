// SPDX-License-Identifier: MIT
// loops SEED TURNS: what an epoll set says, beside a model of it, while its members change in all the
// ways that a program has; and event loops of which no wake-up may be missing.
#include "check.h"

#include <pthread.h>

enum { PAIRS = 24, PIPES = 4, FILES = PAIRS + PIPES, MOST = 64, RECORDS = 400, CLIENTS = 3, EACH = 6 };

static unsigned long long state;

static unsigned below(unsigned n) {
  state = state * 6364136223846793005ULL + 1442695040888963407ULL;
  return (unsigned)(state >> 33) % n;
}

/* A file with another end in the same process, and what is known of it. */
static struct file {
  int fd, other, member, pending, ended;
  uint32_t asked;
  uint64_t data;
} files[FILES];

static int set;
static uint64_t last_data;

static void open_file(int i) {
  int ends[2];
  if (i < PAIRS) {
    tcp_pair(ends);
    CHECK(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
  } else {
    CHECK(pipe(ends) == 0);
  }
  files[i] = (struct file){.fd = ends[0], .other = ends[1]};
}

/* What the set is to say of a file now; of the sockets' room nothing, as there always is some. */
static uint32_t truth(const struct file *f) {
  if (!f->member) return 0;
  uint32_t now = f->pending || (f->ended && f - files < PAIRS) ? EPOLLIN : 0;
  if (f - files < PAIRS) now |= EPOLLOUT | (f->ended ? EPOLLRDHUP : 0);
  return now & f->asked;
}

/* Looks, at all or at some in turn, and compares. */
static void compare(void) {
  struct epoll_event events[MOST];
  int ready = 0, most = below(4) ? MOST : 1 + (int)below(5), seen[FILES] = {0};
  for (int i = 0; i < FILES; i++) ready += truth(&files[i]) != 0;
  int looks = (ready + most - 1) / most, missing = ready;
  // In turn, and the turns begin anew where a look is another one's business than the last.
  for (int k = 0; k == 0 || (missing && k < 4 * looks); k++) {
    int n = below(2) ? epoll_wait(set, events, most, ready ? -1 : 0)
                     : epoll_pwait(set, events, most, ready ? 5000 : 0, NULL);
    CHECK(n >= 0);
    CHECK(n == (ready < most ? ready : most));
    for (int e = 0; e < n; e++) {
      int i = (int)(events[e].data.u64 & 0xff);
      CHECK(i < FILES);
      CHECK(files[i].member);
      CHECK(events[e].data.u64 == files[i].data);
      CHECK(events[e].events == truth(&files[i]));
      CHECK(k > 0 || !seen[i]);
      missing -= !seen[i];
      seen[i] = 1;
    }
  }
  for (int i = 0; i < FILES; i++) CHECK(seen[i] == (truth(&files[i]) != 0));
}

static int control(int by, int operation, struct file *f, uint32_t asked) {
  last_data += 256;
  struct epoll_event e = {.events = asked, .data.u64 = last_data | (uint64_t)(f - files)};
  int r = epoll_ctl(by, operation, f->fd, &e);
  if (r == 0) {
    f->member = operation != EPOLL_CTL_DEL;
    f->asked = asked;
    f->data = e.data.u64;
  }
  return r;
}

/* The same by another process that has the set, and by no other way. */
static void control_by_child(int operation, struct file *f, uint32_t asked) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    last_data += 256;
    struct epoll_event e = {.events = asked, .data.u64 = last_data | (uint64_t)(f - files)};
    _exit(epoll_ctl(set, operation, f->fd, &e) == 0 ? 0 : 1);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  last_data += 256;
  f->member = status == 0 ? operation != EPOLL_CTL_DEL : f->member;
  if (status == 0) {
    f->asked = asked;
    f->data = last_data | (uint64_t)(f - files);
  }
}

/* What was sent over the loopback may come a moment later on a machine that is busy. */
static void has_come(const struct file *f, short events) {
  struct pollfd p = {f->fd, events, 0};
  CHECK(poll(&p, 1, 10000) == 1);
}

static uint32_t any_events(void) {
  const uint32_t all[] = {EPOLLIN, EPOLLIN, EPOLLIN, EPOLLIN | EPOLLRDHUP, EPOLLIN | EPOLLOUT, 0};
  return all[below(sizeof all / sizeof *all)];
}

static void change(void) {
  struct file *f = &files[below(FILES)];
  uint32_t asked = f - files < PAIRS ? any_events() : EPOLLIN;
  char block[64] = {0};
  switch (below(12)) {
    case 0: case 1: case 2: {
      if (f->ended || f->pending > 1000) return;
      ssize_t n = write(f->other, block, 1 + below(sizeof block));
      CHECK(n > 0);
      f->pending += (int)n;
      has_come(f, POLLIN);
      return;
    }
    case 3: case 4: case 5: {
      while (f->pending) {
        has_come(f, POLLIN);
        ssize_t n = read(f->fd, block, sizeof block);
        CHECK(n > 0);
        f->pending -= (int)n;
      }
      return;
    }
    case 6: case 7: {
      int expected = f->member ? -1 : 0;
      CHECK(control(set, EPOLL_CTL_ADD, f, asked) == expected);
      return;
    }
    case 8:
      if (!f->member) return;
      CHECK(control(set, EPOLL_CTL_MOD, f, asked) == 0);
      return;
    case 9:
      if (!f->member) return;
      CHECK(control(set, EPOLL_CTL_DEL, f, asked) == 0);
      return;
    case 10: {
      // A number that is closed is in no set any more, whatever gets it next.
      if (below(3)) return;
      close(f->fd);
      close(f->other);
      open_file((int)(f - files));
      return;
    }
    default:
      if (f - files >= PAIRS || f->ended || below(3)) return;
      CHECK(shutdown(f->other, SHUT_WR) == 0);
      f->ended = 1;
      has_come(f, POLLRDHUP);
  }
}

static void model(int turns) {
  set = epoll_create1(EPOLL_CLOEXEC);
  CHECK(set >= 0);
  for (int i = 0; i < FILES; i++) open_file(i);
  for (int i = 0; i < turns; i++) {
    for (unsigned k = below(4); k > 0; k--) change();
    compare();
  }
  say("a set: as the model");
  // From here on others change it, too.
  int alias = dup(set);
  for (int i = 0; i < turns / 20; i++) {
    struct file *f = &files[below(FILES)];
    int operation = !f->member ? EPOLL_CTL_ADD : below(2) ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
    if (i == 0 || below(8) == 0) {
      control_by_child(operation, f, EPOLLIN);
    } else if (i > turns / 40) {
      CHECK(control(alias, operation, f, EPOLLIN) == 0);
    }
    for (unsigned k = below(4); k > 0; k--) change();
    compare();
    compare();
  }
  close(alias);
  close(set);
  for (int i = 0; i < FILES; i++) {
    close(files[i].fd);
    close(files[i].other);
  }
  say("a set that others change: as the model");
}

/* A set in a set shows what its members do. */
static void nested(int turns) {
  int inner = epoll_create1(0), outer = epoll_create1(0), ends[2], own[2];
  tcp_pair(ends);
  tcp_pair(own);
  struct epoll_event e = {.events = EPOLLIN};
  CHECK(epoll_ctl(outer, EPOLL_CTL_ADD, own[0], &e) == 0);
  for (int i = 0; i < turns; i++) {
    CHECK(epoll_wait(outer, &e, 1, 0) == 0);
    CHECK(epoll_pwait(outer, &e, 1, 0, NULL) == 0);
    CHECK(write(own[1], "x", 1) == 1);
    CHECK(epoll_wait(outer, &e, 1, 5000) == 1);
    CHECK(epoll_pwait(outer, &e, 1, 5000, NULL) == 1);
    char c;
    CHECK(read(own[0], &c, 1) == 1);
  }
  e.data.u64 = 1;
  CHECK(epoll_ctl(inner, EPOLL_CTL_ADD, ends[0], &e) == 0);
  CHECK(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &e) == 0);
  for (int i = 0; i < turns; i++) {
    CHECK(epoll_wait(outer, &e, 1, 0) == 0);
    CHECK(write(ends[1], "x", 1) == 1);
    CHECK(epoll_wait(outer, &e, 1, 5000) == 1);
    CHECK(e.data.u64 == 1);
    char c;
    CHECK(read(ends[0], &c, 1) == 1);
  }
  say("a set in a set: as ever");
}

static volatile sig_atomic_t caught;

static void handler(int signal) { caught += signal == SIGUSR1; }

static void *strike(void *argument) {
  pthread_t whom = *(pthread_t *)argument;
  sleep_us(30000);
  pthread_kill(whom, SIGUSR1);
  return NULL;
}

/* A signal ends a wait, also one whose handler has calls restarted. */
static void signals(void) {
  int ends[2], own = epoll_create1(0);
  tcp_pair(ends);
  struct epoll_event e = {.events = EPOLLIN};
  CHECK(epoll_ctl(own, EPOLL_CTL_ADD, ends[0], &e) == 0);
  for (int restart = 0; restart < 2; restart++) {
    struct sigaction a = {.sa_handler = handler, .sa_flags = restart ? SA_RESTART : 0};
    CHECK(sigaction(SIGUSR1, &a, NULL) == 0);
    for (int i = 0; i < 20; i++) {
      for (int k = 0; k < 10; k++) CHECK(epoll_wait(own, &e, 1, 0) == 0);
      pthread_t self = pthread_self(), other;
      int before = caught;
      CHECK(pthread_create(&other, NULL, strike, &self) == 0);
      CHECK(epoll_wait(own, &e, 1, 20000) == -1);
      CHECK(errno == EINTR);
      CHECK(caught == before + 1);
      CHECK(pthread_join(other, NULL) == 0);
    }
  }
  say("signals end waits");
}

/* A client: records over some connections, each answered before the next on the same one. */
static void client(const struct sockaddr_in *address, int records) {
  int fds[EACH];
  unsigned next[EACH] = {0};
  struct timeval limit = {30, 0};
  for (int i = 0; i < EACH; i++) {
    fds[i] = connected(address);
    CHECK(setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  }
  for (int n = 0; n < records; n++) {
    int some = 1 + (int)below(EACH), first = (int)below(EACH);
    for (int k = 0; k < some; k++) {
      int i = (first + k) % EACH;
      CHECK(send(fds[i], &next[i], sizeof next[i], MSG_NOSIGNAL) == sizeof next[i]);
    }
    for (int k = 0; k < some; k++) {
      int i = (first + k) % EACH;
      unsigned answer;
      CHECK(recv(fds[i], &answer, sizeof answer, MSG_WAITALL) == sizeof answer);
      CHECK(answer == next[i]++);
    }
    if (below(50) == 0) sleep_us(below(3000));
  }
}

enum kind { LEVEL, EDGE, ONCE, KINDS };

struct server {
  int set, listener;
  enum kind kind;
  volatile int *left;
  unsigned next[1024];
};

/* A loop of one thread. */
static void *serve(void *argument) {
  struct server *s = argument;
  struct epoll_event events[16];
  const uint32_t flags[KINDS] = {EPOLLIN, EPOLLIN | EPOLLET, EPOLLIN | EPOLLONESHOT};
  while (*s->left) {
    int n = epoll_wait(s->set, events, 16, 200);
    CHECK(n >= 0 || errno == EINTR);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd == s->listener) {
        int c = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
        CHECK(c >= 0 && c < 1024);
        s->next[c] = 0;
        struct epoll_event e = {.events = flags[s->kind], .data.fd = c};
        CHECK(epoll_ctl(s->set, EPOLL_CTL_ADD, c, &e) == 0);
        continue;
      }
      unsigned number;
      ssize_t r;
      // At the end of what there is, or after one: the set has to say then that there is more.
      while ((r = recv(fd, &number, sizeof number, 0)) == sizeof number) {
        CHECK(number == s->next[fd]++);
        CHECK(send(fd, &number, sizeof number, MSG_NOSIGNAL) == sizeof number || errno == EPIPE ||
              errno == ECONNRESET);
        if (s->kind != EDGE) break;
      }
      if (r == 0 || (r < 0 && errno == ECONNRESET)) {
        close(fd);
        __atomic_sub_fetch(s->left, 1, __ATOMIC_SEQ_CST);
        continue;
      }
      CHECK(r == sizeof number || (r < 0 && errno == EAGAIN && s->kind == EDGE));
      if (s->kind == ONCE) {
        struct epoll_event e = {.events = flags[ONCE], .data.fd = fd};
        CHECK(epoll_ctl(s->set, EPOLL_CTL_MOD, fd, &e) == 0);
      }
    }
  }
  return NULL;
}

/* Loops of that kind, beside each other, for clients of which one is killed. */
static void loops(enum kind kind, int threads) {
  struct sockaddr_in address;
  struct server servers[2];
  int listener = listening(64, &address);
  volatile int left = CLIENTS * EACH;
  pid_t children[CLIENTS], killed;
  for (int i = 0; i < CLIENTS; i++) {
    CHECK((children[i] = fork()) >= 0);
    if (children[i] == 0) {
      state += i;
      close(listener);
      client(&address, i == 0 ? INT32_MAX : RECORDS);
      exit(0);
    }
  }
  killed = children[0];
  pthread_t others[2];
  for (int t = 0; t < threads; t++) {
    servers[t] = (struct server){.set = epoll_create1(0), .listener = listener, .kind = kind,
                                 .left = &left};
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
    if (t == 0) CHECK(epoll_ctl(servers[t].set, EPOLL_CTL_ADD, listener, &e) == 0);
    // The second one has no client: it waits all the time, and must not be taken for the first.
    if (t > 0) servers[t].listener = -1;
    CHECK(pthread_create(&others[t], NULL, serve, &servers[t]) == 0);
  }
  for (int i = 1; i < CLIENTS; i++) {
    int status;
    CHECK(waitpid(children[i], &status, 0) == children[i]);
    CHECK(status == 0);
  }
  CHECK(kill(killed, SIGKILL) == 0);
  CHECK(waitpid(killed, NULL, 0) == killed);
  for (int t = 0; t < threads; t++) {
    CHECK(pthread_join(others[t], NULL) == 0);
    close(servers[t].set);
  }
  close(listener);
}

int main(int argc, char **argv) {
  CHECK(argc == 3 || argc == 5);
  state = strtoull(argv[1], NULL, 10);
  int turns = atoi(argv[2]);
  if (argc == 5) {
    loops((enum kind)atoi(argv[3]), atoi(argv[4]));
    return 0;
  }
  model(turns);
  nested(100);
  // In programs of their own: with threads the calls that trap are others.
  for (int kind = 0; kind < KINDS; kind++) {
    for (int threads = 1; threads <= 2; threads++) {
      pid_t child = fork();
      CHECK(child >= 0);
      if (child == 0) {
        char numbers[2][16];
        snprintf(numbers[0], sizeof numbers[0], "%d", kind);
        snprintf(numbers[1], sizeof numbers[1], "%d", threads);
        execl("/proc/self/exe", argv[0], argv[1], argv[2], numbers[0], numbers[1], NULL);
        _exit(126);
      }
      int status;
      CHECK(waitpid(child, &status, 0) == child);
      CHECK(status == 0);
    }
  }
  say("loops: no wake-up is missing");
  signals();
  return 0;
}

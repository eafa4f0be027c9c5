// SPDX-License-Identifier: MIT
// What programs seldom do with descriptors and processes: "corners CASE [ARGUMENT]". What it prints must be the same on every
// kernel, but for "declined", which prints what each says.
#include "check.h"

#include <linux/openat2.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

// ---- a descriptor that another process takes out of one ----

static int pid_fd(pid_t pid) { return syscall(SYS_pidfd_open, pid, 0); }

static int take(int pidfd, int number) { return syscall(SYS_pidfd_getfd, pidfd, number, 0); }

enum { PAIR_A, PAIR_B, LISTENER, DATAGRAMS, SET, NUMBERS };

struct holding {
  int numbers[NUMBERS];
  struct sockaddr_in listener, datagrams;
};

// Opens what is to be taken, says its numbers, and does as it is told by single letters.
static void holder(int orders, int answers) {
  struct holding h;
  int t[2];
  tcp_pair(t);
  h.numbers[PAIR_A] = t[0];
  h.numbers[PAIR_B] = t[1];
  h.numbers[LISTENER] = listening(4, &h.listener);
  h.numbers[DATAGRAMS] = bound(SOCK_DGRAM, &h.datagrams);
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = 77};
  h.numbers[SET] = epoll_create1(0);
  CHECK(epoll_ctl(h.numbers[SET], EPOLL_CTL_ADD, h.numbers[DATAGRAMS], &event) == 0);
  CHECK(write(answers, &h, sizeof h) == sizeof h);
  char order, b[64];
  while (read(orders, &order, 1) == 1) {
    ssize_t n = 0;
    switch (order) {
      case 'r': n = recv(t[1], b, sizeof b, 0); break;
      case 'c': CHECK(close(t[0]) == 0); break;
      case 'n': n = recv(t[1], b, sizeof b, MSG_DONTWAIT); break;
      default: _exit(1);
    }
    int32_t said = n < 0 ? -errno : n;
    CHECK(write(answers, &said, sizeof said) == sizeof said);
  }
  _exit(0);
}

static int32_t order(int orders, int answers, char what) {
  int32_t said;
  CHECK(write(orders, &what, 1) == 1 && read(answers, &said, sizeof said) == sizeof said);
  return said;
}

static void taken(const char *unused) {
  (void)unused;
  int orders[2], answers[2];
  CHECK(pipe2(orders, O_CLOEXEC) == 0 && pipe2(answers, O_CLOEXEC) == 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    close(orders[1]), close(answers[0]);
    holder(orders[0], answers[1]);
  }
  close(orders[0]), close(answers[1]);
  struct holding h;
  CHECK(read(answers[0], &h, sizeof h) == sizeof h);
  int p = pid_fd(child);
  CHECK(p >= 0);
  say("no descriptor: %s", errno_name(errno_of(take(p, 4000))));
  say("flags: %s", errno_name(errno_of(syscall(SYS_pidfd_getfd, p, h.numbers[PAIR_A], 1))));
  int a = take(p, h.numbers[PAIR_A]);
  CHECK(a >= 0);
  say("close-on-exec %d", fcntl(a, F_GETFD));
  // So often that neither side traps any more.
  char b[64];
  for (int i = 0; i < 300; i++) {
    int bytes = 1 + i % 64;
    CHECK(send(a, b, bytes, 0) == bytes);
    CHECK(order(orders[1], answers[0], 'r') == bytes);
  }
  say("bytes come through");
  CHECK(order(orders[1], answers[0], 'c') == 0);
  CHECK(send(a, "more", 4, 0) == 4 && order(orders[1], answers[0], 'r') == 4);
  say("after the holder's close: %s", errno_name(-order(orders[1], answers[0], 'n')));
  int other = dup(a);
  CHECK(close(a) == 0);
  say("after one of two closes: %s", errno_name(-order(orders[1], answers[0], 'n')));
  CHECK(close(other) == 0);
  say("end of file: %d", order(orders[1], answers[0], 'r'));

  int l = take(p, h.numbers[LISTENER]);
  struct sockaddr_in name;
  socklen_t length = sizeof name;
  CHECK(l >= 0 && getsockname(l, (struct sockaddr *)&name, &length) == 0);
  CHECK(name.sin_port == h.listener.sin_port);
  int c = connected(&h.listener), d = accept(l, NULL, NULL);
  CHECK(d >= 0 && send(c, "x", 1, 0) == 1 && recv(d, b, 64, 0) == 1);
  close(c), close(d);
  int set = take(p, h.numbers[SET]), u = take(p, h.numbers[DATAGRAMS]);
  struct epoll_event event;
  CHECK(set >= 0 && u >= 0 && epoll_wait(set, &event, 1, 0) == 0);
  int v = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(sendto(v, "y", 1, 0, (struct sockaddr *)&h.datagrams, sizeof h.datagrams) == 1);
  CHECK(epoll_wait(set, &event, 1, 5000) == 1 && event.data.u32 == 77);
  CHECK(recv(u, b, 64, 0) == 1 && epoll_wait(set, &event, 1, 0) == 0);
  say("a listener and a set are taken");

  // What was taken outlives who had it.
  int of_b = take(p, h.numbers[PAIR_B]);
  CHECK(of_b >= 0 && kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
  say("of one that ended: %s", errno_name(errno_of(take(p, h.numbers[LISTENER]))));
  c = connected(&h.listener);
  d = accept(l, NULL, NULL);
  CHECK(d >= 0 && send(d, "z", 1, 0) == 1 && recv(c, b, 64, 0) == 1);
  say("peer's end: %zd", recv(of_b, b, 64, 0));
  close(l);
  c = socket(AF_INET, SOCK_STREAM, 0);
  say("a closed listener: %s",
      errno_name(errno_of(connect(c, (struct sockaddr *)&h.listener, sizeof h.listener))));
}

// ---- another program, executed by a thread that is not the first ----

struct exec {
  const char *self;
  int kept, closed;
};

static void *execute(void *argument) {
  struct exec *e = argument;
  char number[16];
  snprintf(number, sizeof number, "%d", e->kept);
  sleep_us(20000);
  execl(e->self, e->self, "executed", number, (char *)NULL);
  _exit(99);
}

static void *receive_always(void *fd) {
  char b[8];
  // The other end sends only once the new program is there: none of it may be lost here.
  recv((int)(intptr_t)fd, b, sizeof b, 0);
  _exit(98);
}

static void executed(const char *number) {
  int s = atoi(number);
  char b[8];
  CHECK(send(s, "here", 4, 0) == 4);
  for (size_t got = 0; got < 5;) {
    ssize_t n = recv(s, b, sizeof b, 0);
    CHECK(n > 0);
    got += n;
  }
  CHECK(getpid() == (pid_t)syscall(SYS_gettid));
  // Whether the old program's threads are gone.
  FILE *status = fopen("/proc/self/status", "r");
  char line[256];
  int threads = -1;
  while (status && fgets(line, sizeof line, status)) sscanf(line, "Threads: %d", &threads);
  say("threads %d", threads);
  CHECK(send(s, "done", 4, 0) == 4);
}

static void thread(const char *self) {
  for (int i = 0; i < 12; i++) {
    int kept[2], closed[2];
    tcp_pair(kept), tcp_pair(closed);
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      close(kept[0]), close(closed[0]);
      CHECK(fcntl(closed[1], F_SETFD, FD_CLOEXEC) == 0);
      struct exec e = {self, kept[1], closed[1]};
      pthread_t t;
      CHECK(pthread_create(&t, NULL, execute, &e) == 0);
      // Both of these are ended by the kernel, amid their calls.
      if (i % 2) CHECK(pthread_create(&t, NULL, receive_always, (void *)(intptr_t)closed[1]) == 0);
      receive_always((void *)(intptr_t)kept[1]);
    }
    close(kept[1]), close(closed[1]);
    char b[8];
    CHECK(recv(closed[0], b, sizeof b, 0) == 0);
    CHECK(recv(kept[0], b, sizeof b, 0) == 4 && memcmp(b, "here", 4) == 0);
    CHECK(send(kept[0], "hello", 5, 0) == 5);
    CHECK(recv(kept[0], b, sizeof b, 0) == 4 && memcmp(b, "done", 4) == 0);
    CHECK(recv(kept[0], b, sizeof b, 0) == 0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(kept[0]), close(closed[0]);
  }
}

// ---- with a filter that wants to be told of calls ----

static void listener(const char *unused) {
  (void)unused;
  struct {
    uint16_t code;
    uint8_t yes, no;
    uint32_t k;
  } allow = {0x06, 0, 0, 0x7fff0000};
  struct {
    uint16_t length;
    void *code;
  } program = {1, &allow};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  long r = syscall(SYS_seccomp, 1, 8, &program);
  say("with a listener: %s", r < 0 ? errno_name(errno) : "a descriptor");
  CHECK(r < 0 || close(r) == 0);
  say("without: %s", errno_name(errno_of(syscall(SYS_seccomp, 1, 0, &program))));
  int t[2];
  tcp_pair(t);
  char b[4];
  CHECK(send(t[0], "x", 1, 0) == 1 && recv(t[1], b, sizeof b, 0) == 1);
}

// ---- openat2 in a directory of the device ----

static int open_by(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct open_how how = {flags, mode, resolve};
  return syscall(SYS_openat2, directory, path, &how, sizeof how);
}

static void found(const char *from, int directory, const char *path, const char *ways, uint64_t resolve) {
  char b[32] = "";
  int fd = open_by(directory, path, O_RDONLY, 0, resolve);
  const char *what = fd < 0 ? errno_name(errno) : b;
  if (fd >= 0) {
    if (read(fd, b, sizeof b - 1) < 0) what = errno_name(errno);
    CHECK(close(fd) == 0);
  }
  say("%s %s %s: %s", ways, from, path, what);
}

static void ways(const char *from, int directory, const char *top) {
  char absolute[512];
  snprintf(absolute, sizeof absolute, "%s/share/f", top);
  const struct {
    const char *name;
    uint64_t resolve;
    int scoped, alone;
  } WAYS[] = {
      {"-", 0, 0, 0},
      {"BENEATH", RESOLVE_BENEATH, 1, 0},
      {"IN_ROOT", RESOLVE_IN_ROOT, 1, 0},
      {"NO_SYMLINKS", RESOLVE_NO_SYMLINKS, 0, 0},
      {"NO_MAGICLINKS", RESOLVE_NO_MAGICLINKS, 0, 0},
      {"NO_XDEV", RESOLVE_NO_XDEV, 0, 1},
      {"BENEATH|NO_SYMLINKS", RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, 1, 0},
  };
  for (size_t i = 0; i < sizeof WAYS / sizeof WAYS[0]; i++) {
    const char *inside[] = {"f", "d/f", "./d//f", "d/up", "d/none", "nothing", "f/", "d/../f", "d/e/../../f"};
    for (size_t j = 0; j < sizeof inside / sizeof inside[0]; j++) {
      found(from, directory, inside[j], WAYS[i].name, WAYS[i].resolve);
    }
    // Where a way does not keep them in, these leave a directory of the device: ADR 0020.
    const char *outside[] = {"../share/f", "d/../../f", "/f", "/d/../../d/f", "..", "out", "d/out"};
    for (size_t j = 0; WAYS[i].scoped && j < sizeof outside / sizeof outside[0]; j++) {
      found(from, directory, outside[j], WAYS[i].name, WAYS[i].resolve);
    }
    // IN_ROOT makes another path of it; a mount is crossed on the way.
    if (!WAYS[i].alone && WAYS[i].resolve != RESOLVE_IN_ROOT) {
      int fd = open_by(directory, absolute, O_RDONLY, 0, WAYS[i].resolve);
      say("%s %s ABSOLUTE: %s", WAYS[i].name, from, errno_name(errno_of(fd)));
      if (fd >= 0) close(fd);
    }
  }
}

// DIRECTORY has an empty "share", which is the device's when offloaded.
static void resolve(const char *top) {
  CHECK(chdir(top) == 0 && mkdir("share/d", 0755) == 0 && mkdir("share/d/e", 0755) == 0);
  put_text("share/f", "f");
  put_text("share/d/f", "d/f");
  CHECK(symlink("../f", "share/d/up") == 0 && symlink("none", "share/d/none") == 0);
  CHECK(symlink("/f", "share/out") == 0 && symlink("../../f", "share/d/out") == 0);
  int share = open("share", O_PATH | O_DIRECTORY), d = open("share/d", O_RDONLY | O_DIRECTORY);
  CHECK(share >= 0 && d >= 0);
  ways("share", share, top);
  found("share/d", d, "../f", "-", 0);
  found("share/d", d, "../f", "BENEATH", RESOLVE_BENEATH);
  found("share/d", d, "../f", "IN_ROOT", RESOLVE_IN_ROOT);
  found("share/d", d, "/f", "IN_ROOT", RESOLVE_IN_ROOT);
  CHECK(fchdir(share) == 0);
  ways("cwd", AT_FDCWD, top);

  struct {
    struct open_how how;
    uint64_t more;
  } longer = {{O_RDONLY, 0, 0}, 0};
  for (size_t size = 0; size <= sizeof longer; size += 8) {
    int fd = syscall(SYS_openat2, share, "f", &longer, size);
    say("%zu bytes: %s", size, errno_name(errno_of(fd)));
    if (fd >= 0) close(fd);
  }
  longer.more = 1;
  say("unknown: %s", errno_name(errno_of(syscall(SYS_openat2, share, "f", &longer, sizeof longer))));
  say("too long: %s", errno_name(errno_of(syscall(SYS_openat2, share, "f", &longer, 5000))));
  say("no memory: %s", errno_name(errno_of(syscall(SYS_openat2, share, "f", (void *)8, 24))));
  say("half of it: %s", errno_name(errno_of(syscall(SYS_openat2, share, "f", end_of_memory() - 16, 24))));
  say("bits: %s", errno_name(errno_of(open_by(share, "f", O_RDONLY, 0, 1 << 10))));
  say("both: %s", errno_name(errno_of(open_by(share, "f", 0, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT))));
  say("mode: %s", errno_name(errno_of(open_by(share, "f", O_RDONLY, 0644, 0))));
  say("large mode: %s", errno_name(errno_of(open_by(share, "g", O_WRONLY | O_CREAT, 0200000, 0))));
  umask(027);
  int fd = open_by(share, "g", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666, RESOLVE_BENEATH);
  struct stat s;
  CHECK(fd >= 0 && fstat(fd, &s) == 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
  say("made with mode %o", s.st_mode & 07777);
  CHECK(write(fd, "x", 1) == 1 && close(fd) == 0);
  found("cwd", AT_FDCWD, "g", "BENEATH", RESOLVE_BENEATH);
}

// The network's own files are the device's, too.
static void network(const char *unused) {
  (void)unused;
  int fd = open_by(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", O_RDONLY, 0, RESOLVE_NO_SYMLINKS);
  char b[8];
  CHECK(fd >= 0 && read(fd, b, sizeof b) == 2 && close(fd) == 0);
  int proc = open("/proc/sys/net", O_PATH | O_DIRECTORY);
  fd = open_by(proc, "ipv4/../ipv4/ip_forward", O_RDONLY, 0, RESOLVE_BENEATH);
  CHECK(proc >= 0 && fd >= 0 && read(fd, b, sizeof b) == 2 && close(fd) == 0);
  say("out: %s", errno_name(errno_of(open_by(proc, "../kernel/hostname", O_RDONLY, 0, RESOLVE_BENEATH))));
}

// ---- what a debugger stops and looks at ----

static volatile int reached;

__attribute__((noinline)) static void halfway(int sum) { reached = sum; }

// So many turns that no send or receive traps any more.
static void turns(const char *count) {
  int t[2], n = atoi(count), sum = 0;
  tcp_pair(t);
  for (int i = 0; i < n; i++) {
    char c = i % 50, b[4];
    CHECK(send(t[0], &c, 1, 0) == 1 && recv(t[1], b, sizeof b, 0) == 1 && b[0] == c);
    sum += c;
    if (i == n / 2) halfway(sum);
  }
  say("sum %d", sum);
}

// The same for as long as there is input, from a pipe; says how often.
static void until(const char *unused) {
  (void)unused;
  int t[2];
  tcp_pair(t);
  struct pollfd end = {0, POLLIN, 0};
  say("begun");
  while (poll(&end, 1, 0) == 0) {
    for (int i = 0; i < 100; i++) {
      char b[4];
      CHECK(send(t[0], "x", 1, 0) == 1 && recv(t[1], b, sizeof b, 0) == 1);
    }
    halfway(reached + 1);
  }
  say("done");
}

// ---- a set-user-ID program ----

static void rights(const char *unused) {
  (void)unused;
  int s = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  say("uid %d euid %d raw socket %s", getuid(), geteuid(), errno_name(errno_of(s)));
  int t[2];
  tcp_pair(t);
  char b[4];
  CHECK(send(t[0], "x", 1, 0) == 1 && recv(t[1], b, sizeof b, 0) == 1);
}

// ---- a stream that is reset while it sends ----

enum { RESETS = 120, WARM_SENDS = 60, BLOCK = 1 << 16, READ_BEFORE = 200000 };

static void *reset(void *end) {
  static char some[READ_BEFORE];
  struct linger at_once = {1, 0};
  CHECK(recv(*(int *)end, some, sizeof some, 0) > 0);
  CHECK(setsockopt(*(int *)end, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
  CHECK(close(*(int *)end) == 0);
  return NULL;
}

static const char *const WAYS[] = {"send", "sendfile", "splice"};

// One call that sends what there is; a splice comes behind each send, which has found the error and put it off.
static ssize_t once(int way, int s, int file, const int pipe[2], int *calls) {
  static char block[BLOCK];
  off_t at = 0;
  if (way == 1) return sendfile(s, file, &at, BLOCK);
  if (way == 0 || (*calls)++ % 2 == 0) return send(s, block, sizeof block, 0);
  CHECK(write(pipe[1], block, 64) == 64);
  ssize_t r = splice(pipe[0], NULL, s, NULL, 64, 0);
  int error = errno;
  CHECK(r == 64 || read(pipe[0], block, 64) == 64);
  errno = error;
  return r;
}

// A send that has moved something says so; the next one says why it moved no more, and those behind it that it is over. What a
// sendfile met may be lost, as it goes by a pipe of the kernel's; but it comes first if it comes. What is told shows no more.
static void resets(const char *unused) {
  (void)unused;
  static char block[BLOCK];
  FILE *file = tmpfile();
  int bytes[2];
  CHECK(file && fwrite(block, 1, sizeof block, file) == sizeof block && fflush(file) == 0 && pipe(bytes) == 0);
  signal(SIGPIPE, SIG_IGN);
  int wrong = 0;
  for (int i = 0; i < RESETS; i++) {
    int t[2], told[3], n = 0, way = i % 3, calls = 0;
    char c;
    tcp_pair(t);
    for (int k = 0; k < WARM_SENDS; k++) CHECK(send(t[0], "w", 1, 0) == 1 && recv(t[1], &c, 1, 0) == 1);
    pthread_t other;
    CHECK(pthread_create(&other, NULL, reset, t + 1) == 0);
    while (n < 3)
      if (once(way, t[0], fileno(file), bytes, &calls) < 0) told[n++] = errno;
    struct pollfd p = {t[0], POLLIN, 0};
    CHECK(poll(&p, 1, 0) == 1);
    CHECK(pthread_join(other, NULL) == 0 && close(t[0]) == 0);
    int met = told[0] == ECONNRESET || (way == 1 && told[0] == EPIPE);
    if (!met || told[1] != EPIPE || told[2] != EPIPE || p.revents & POLLERR) {
      fprintf(stderr, "%s: %s, %s, %s; poll %#x\n", WAYS[way], errno_name(told[0]), errno_name(told[1]), errno_name(told[2]),
              p.revents);
      wrong++;
    }
  }
  say("%d of %d told otherwise", wrong, RESETS);
}

// ---- children whose parent does much only after it has forked them ----

enum { EARLY_SENDS = 400 };

// Calls nothing that is offloaded, nor anything that reads or writes, before it may go on.
static void sends_when_told(volatile int *go, volatile int *done) {
  int t[2];
  char c;
  while (!*go) sleep_us(1000);
  tcp_pair(t);
  for (int i = 0; i < EARLY_SENDS; i++) CHECK(send(t[0], "e", 1, 0) == 1 && recv(t[1], &c, 1, 0) == 1);
  *done = 1;
  kill(getpid(), SIGKILL);
}

static void early(const char *unused) {
  (void)unused;
  volatile int *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(words != MAP_FAILED);
  pid_t child = fork();
  if (child == 0) sends_when_told(words, words + 1);
  pid_t between = fork();
  if (between == 0) {
    if (fork() == 0) sends_when_told(words, words + 2); // which nobody is the parent of
    kill(getpid(), SIGKILL);
  }
  CHECK(child > 0 && between > 0 && waitpid(between, NULL, 0) == between);
  int t[2], status;
  tcp_pair(t);
  for (int i = 0; i < EARLY_SENDS; i++) CHECK(send(t[0], "p", 1, 0) == 1);
  words[0] = 1;
  CHECK(waitpid(child, &status, 0) == child);
  for (int i = 0; i < 5000 && !words[2]; i++) sleep_us(1000);
  say("a child is done: %d, by signal %d", words[1], WTERMSIG(status));
  say("an orphan is done: %d", words[2]);
}

// ---- a handler that forks, in the middle of a call that the child then goes on with ----

enum { HANDLER_FORKS = 150 };

static volatile sig_atomic_t in_child, elsewhere;
static volatile pid_t forked;
static volatile int rounds, got, receiving;
static pthread_t receiver;
static pid_t receiver_tid;

/* Whether a signal has come in a system call, which has ended by it or is to be made again. */
static int is_in_call(const void *context) {
  const ucontext_t *c = context;
  const unsigned char *ip = (const unsigned char *)c->uc_mcontext.gregs[REG_RIP];
  return (ip[-2] == 0x0f && ip[-1] == 0x05) || (ip[0] == 0x0f && ip[1] == 0x05);
}

/* Not in the microseconds between two waits: docs/differences.md. */
static void fork_here(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  if (!is_in_call(context)) {
    elsewhere = 1;
    return;
  }
  int error = errno;
  pid_t child = fork();
  if (child == 0) in_child = 1;
  else forked = child;
  errno = error;
}

/* Whether the receiver sleeps in its call. */
static int is_waiting(void) {
  char path[64], text[256];
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", receiver_tid);
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0);
  ssize_t n = read(fd, text, sizeof text - 1);
  CHECK(n > 0 && close(fd) == 0);
  text[n] = 0;
  return receiving && strstr(text, ") S ");
}

static void *disturb(void *end) {
  for (int i = 0; i < HANDLER_FORKS; i++) {
    forked = 0;
    while (!is_waiting()) sleep_us(20);
    if (i % 2) sleep_us(3000); // it waits otherwise by then
    CHECK(pthread_kill(receiver, SIGUSR1) == 0);
    while (!forked && !elsewhere) sleep_us(100);
    if (elsewhere) {
      elsewhere = 0;
      i--;
      continue;
    }
    // One for either of them.
    CHECK(send(*(int *)end, "ab", 2, 0) == 2);
    int status;
    CHECK(waitpid(forked, &status, 0) == forked);
    if (status != 0) fprintf(stderr, "child %d: status %#x\n", i, status), exit(1);
    while (got == rounds) sleep_us(50); // or the next child would have this one's byte, too
    rounds++;
  }
  CHECK(shutdown(*(int *)end, SHUT_WR) == 0);
  return NULL;
}

static void forks(const char *unused) {
  (void)unused;
  int t[2];
  char c;
  ssize_t n;
  tcp_pair(t);
  for (int k = 0; k < WARM_SENDS; k++) CHECK(send(t[0], "w", 1, 0) == 1 && recv(t[1], &c, 1, 0) == 1);
  struct sigaction a = {.sa_sigaction = fork_here, .sa_flags = SA_RESTART | SA_SIGINFO};
  CHECK(sigaction(SIGUSR1, &a, NULL) == 0);
  receiver = pthread_self();
  receiver_tid = gettid();
  pthread_t other;
  CHECK(pthread_create(&other, NULL, disturb, t) == 0);
  while (receiving = 1, (n = recv(t[1], &c, 1, 0)) > 0) {
    receiving = 0;
    if (in_child) _exit(0);
    for (int before = got++; rounds == before;) sleep_us(50); // the other byte is the child's
  }
  CHECK(n == 0 && pthread_join(other, NULL) == 0);
  say("%d children, and as many bytes for this one: %d", HANDLER_FORKS, got);
}

static const struct {
  const char *name;
  void (*run)(const char *argument);
} CASES[] = {{"taken", taken},       {"thread", thread}, {"executed", executed},
             {"listener", listener}, {"resolve", resolve}, {"network", network},  {"turns", turns}, {"until", until}, {"rights", rights}, {"resets", resets},
             {"early", early}, {"forks", forks}};

int main(int argc, char **argv) {
  alarm(150);
  for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
    if (argc > 1 && strcmp(argv[1], CASES[i].name) == 0) {
      CASES[i].run(argc > 2 ? argv[2] : argv[0]);
      return 0;
    }
  }
  return 2;
}

// SPDX-License-Identifier: MIT
/*
 * Answers requests of a peer, ahead_peer.py, and ends in many ways right after its last send. What
 * each connection sends counts on, so the peer knows how much came and that nothing is out of order;
 * how much was sent is told by the connection's parent.
 *
 *   ahead HOST PORT SEED REQUESTS
 */
#include "check.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

enum { PERIOD = 251, MOST = 6000, FILE_BYTES = PERIOD * 64 };

static struct sockaddr_in peer;
static unsigned seed;
static int requests, file;
static char counting[PERIOD + FILE_BYTES];

/* How much has been sent: shared with the parent, who may have killed who writes it. */
static volatile uint64_t *sent;

static unsigned draw(unsigned below) {
  seed = seed * 1103515245 + 12345;
  return (seed >> 16) % below;
}

static int dial(const char *name) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  CHECK(fd >= 0);
  CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
  CHECK(connect(fd, (struct sockaddr *)&peer, sizeof peer) == 0);
  CHECK(send(fd, name, strlen(name), MSG_NOSIGNAL) == (ssize_t)strlen(name));
  return fd;
}

/* Sends some of what is to come, in one of many ways; it goes whole, or never returns. */
static void piece(int fd, size_t bytes) {
  const char *from = counting + *sent % PERIOD;
  ssize_t r;
  switch (draw(6)) {
    case 0: {
      struct iovec v[] = {{(char *)from, bytes / 2}, {(char *)from + bytes / 2, bytes - bytes / 2}};
      r = writev(fd, v, 2);
      break;
    }
    case 1: {
      off_t at = *sent % PERIOD;
      r = sendfile(fd, file, &at, bytes);
      break;
    }
    case 2: r = send(fd, from, bytes, MSG_NOSIGNAL); break;
    case 3: r = send(fd, from, bytes, MSG_NOSIGNAL | MSG_DONTWAIT); break;
    default: r = write(fd, from, bytes);
  }
  CHECK(r == (ssize_t)bytes);
  *sent += bytes;
}

/* Answers one request, which says for how much; 0 at the end. */
static int answer(int fd) {
  uint32_t wanted;
  ssize_t r = recv(fd, &wanted, sizeof wanted, 0);
  if (r == 0) return 0;
  CHECK(r == sizeof wanted);
  int on = 1, off = 0, corked = draw(8) == 0;
  if (corked) CHECK(setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on) == 0);
  while (wanted) {
    size_t bytes = 1 + draw(draw(4) ? 200 : MOST);
    if (bytes > wanted) bytes = wanted;
    piece(fd, bytes);
    wanted -= bytes;
  }
  if (corked) CHECK(setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof off) == 0);
  return 1;
}

/* What the peer has received of a connection by its end. */
static uint64_t received(const char *name) {
  char line[64] = "";
  int fd = dial("report ");
  CHECK(send(fd, name, strlen(name), 0) == (ssize_t)strlen(name));
  ssize_t n = 0, r;
  while ((r = recv(fd, line + n, sizeof line - 1 - n, 0)) > 0) n += r;
  close(fd);
  return strtoull(line, 0, 10);
}

static const char *const ENDS[] = {"close", "exit",    "kill",  "exec",   "shutdown",
                                   "killed", "fork", "threads"};
enum { CLOSE, EXIT, KILL, EXEC, SHUTDOWN, KILLED, FORK, THREADS, WAYS };

static pthread_barrier_t turn;
static int shared;

/* Two threads, each on its slot, that answer by turns. */
static void *turns(void *which) {
  for (int i = 0; i < 2 * requests; i++) {
    if (i % 2 == (which != 0)) CHECK(answer(shared));
    pthread_barrier_wait(&turn);
  }
  return 0;
}

static void run(int fd, int way) {
  for (int i = 0; i < requests; i++) CHECK(answer(fd));
  switch (way) {
    case THREADS: {
      pthread_t t;
      shared = fd;
      CHECK(pthread_barrier_init(&turn, 0, 2) == 0);
      CHECK(pthread_create(&t, 0, turns, 0) == 0);
      turns(&shared);
      CHECK(pthread_join(t, 0) == 0);
      break;
    }
    case FORK: {
      // By turns with a child that has the socket too: what has returned here is before it there.
      int there[2], back[2];
      char token = 0;
      CHECK(pipe(there) == 0 && pipe(back) == 0);
      pid_t child = fork();
      CHECK(child >= 0);
      for (int i = 0; i < requests; i++) {
        if (child == 0) CHECK(read(there[0], &token, 1) == 1);
        CHECK(answer(fd));
        piece(fd, 1 + draw(100));
        CHECK(write(child ? there[1] : back[1], &token, 1) == 1);
        if (child) CHECK(read(back[0], &token, 1) == 1);
      }
      if (child == 0) _exit(0);
      CHECK(waitpid(child, 0, 0) == child);
      break;
    }
    case KILLED:
      while (answer(fd)) {
      }
      break;
    default:
      CHECK(answer(fd));
      for (int i = draw(4); i >= 0; i--) piece(fd, 1 + draw(300));
  }
  switch (way) {
    case CLOSE: CHECK(close(fd) == 0); break;
    case EXEC:
      fcntl(fd, F_SETFD, FD_CLOEXEC);
      execl("/bin/true", "true", (char *)0);
      break;
    case SHUTDOWN:
      CHECK(shutdown(fd, SHUT_WR) == 0);
      while (answer(fd)) {
      }
      break;
    case KILL: kill(getpid(), SIGKILL); break;
  }
  _exit(0);
}

static void end(int way, int round) {
  char name[64];
  snprintf(name, sizeof name, "%s%d %d\n", ENDS[way], round, way == KILLED);
  *sent = 0;
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) run(dial(name), way);
  if (way == KILLED) {
    while (*sent < 20000) sleep_us(1000);
    sleep_us(draw(3000));
    CHECK(kill(child, SIGKILL) == 0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status) == (way == KILL || way == KILLED));
  CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  uint64_t there = received(name), here = *sent;
  // Who is killed at any time may have sent what it did not get to count.
  if (there < here || there > here + (way == KILLED ? MOST : 0)) {
    say("%s: %llu were sent, %llu came", ENDS[way], (unsigned long long)here,
        (unsigned long long)there);
    exit(1);
  }
}

/* The peer resets: the error comes once, then EPIPE, and nobody is told of success for long. */
static void reset(int round) {
  char name[64];
  snprintf(name, sizeof name, "reset%d 0\n", round);
  int fd = dial(name);
  *sent = 0;
  for (int i = 0; i < requests; i++) CHECK(answer(fd));
  int64_t until = now_us() + 10 * 1000000;
  while (send(fd, counting + *sent % PERIOD, 1, MSG_NOSIGNAL) == 1) {
    ++*sent;
    CHECK(now_us() < until);
    sleep_us(500);
  }
  int first = errno;
  CHECK(send(fd, "x", 1, MSG_NOSIGNAL) < 0);
  say("reset: %s, %s", errno_name(first), errno_name(errno));
  close(fd);
}

int main(int argc, char **argv) {
  CHECK(argc == 5);
  peer.sin_family = AF_INET;
  peer.sin_port = htons(atoi(argv[2]));
  CHECK(inet_pton(AF_INET, argv[1], &peer.sin_addr) == 1);
  seed = strtoul(argv[3], 0, 10);
  requests = atoi(argv[4]);
  signal(SIGPIPE, SIG_IGN);
  for (unsigned i = 0; i < sizeof counting; i++) counting[i] = i % PERIOD;
  char path[] = "counting-XXXXXX";
  file = mkstemp(path);
  CHECK(file >= 0 && write(file, counting, sizeof counting) == sizeof counting);
  unlink(path);
  sent = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(sent != MAP_FAILED);
  for (int round = 0; round < 4; round++) {
    for (int way = 0; way < WAYS; way++) end(way, round);
    reset(round);
  }
  say("all of it came, in order");
  return 0;
}

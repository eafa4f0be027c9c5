// SPDX-License-Identifier: MIT
// Descriptor numbers that change their meaning: files of the host and sockets, opened, duplicated,
// passed on, closed and opened anew at random, in children by fork and vfork too, while an alarm's
// handler reads and writes as well. What was written to a descriptor has to come out of its other
// end. numbers SEED ROUNDS
#include "check.h"

#include <pthread.h>
#include <spawn.h>

enum { PLACES = 12, MESSAGE = 32 };

/* Two ends of something that carries bytes, or nothing. */
struct pair {
  int in, out;
};

static struct pair pairs[PLACES];
static uint64_t state;
static int alarmed[2];
static volatile int alarms;

static unsigned chance(unsigned below) {
  state = state * 6364136223846793005ULL + 1442695040888963407ULL;
  return (unsigned)(state >> 33) % below;
}

static void on_alarm(int signal) {
  (void)signal;
  int saved = errno;
  char c = 'a';
  // A program may; and the descriptors are the host's, so that it does not trap.
  CHECK(write(alarmed[1], &c, 1) == 1);
  c = 0;
  CHECK(read(alarmed[0], &c, 1) == 1 && c == 'a');
  alarms++;
  errno = saved;
}

static void open_pair(struct pair *p) {
  int ends[2];
  switch (chance(4)) {
    case 0: CHECK(pipe(ends) == 0); break;
    case 1: CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0); break;
    default: tcp_pair(ends);
  }
  p->out = ends[0];
  p->in = ends[1];
}

static void close_pair(struct pair *p) {
  CHECK(close(p->in) == 0);
  CHECK(close(p->out) == 0);
  p->in = p->out = -1;
}

/* What a wrong kernel would not know. */
static void carry(struct pair *p) {
  char sent[MESSAGE], got[MESSAGE];
  for (int i = 0; i < MESSAGE; i++) sent[i] = (char)chance(256);
  struct iovec both[2] = {{sent, MESSAGE / 2}, {sent + MESSAGE / 2, MESSAGE / 2}};
  if (chance(4))
    CHECK(write(p->in, sent, MESSAGE) == MESSAGE);
  else
    CHECK(writev(p->in, both, 2) == MESSAGE);
  for (int n = 0; n < MESSAGE;) {
    ssize_t r = read(p->out, got + n, MESSAGE - n);
    CHECK(r > 0 || errno == EINTR);
    n += r > 0 ? (int)r : 0;
  }
  CHECK(memcmp(sent, got, MESSAGE) == 0);
}

/* The number of one end becomes another file's. */
static void redirect(struct pair *p) {
  struct pair fresh;
  open_pair(&fresh);
  CHECK(dup2(fresh.in, p->in) == p->in);
  CHECK(dup3(fresh.out, p->out, 0) == p->out);
  close_pair(&fresh);
}

static void duplicate(struct pair *p) {
  int copy = chance(2) ? dup(p->in) : fcntl(p->in, F_DUPFD, 0);
  CHECK(copy >= 0);
  CHECK(close(p->in) == 0);
  p->in = copy;
}

/* By a Unix socket and back: it comes at another number. */
static void pass(struct pair *p) {
  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  char byte = 'x';
  struct iovec data = {&byte, 1};
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct msghdr m = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
                     .msg_controllen = sizeof control};
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &p->out, sizeof(int));
  CHECK(sendmsg(ends[0], &m, 0) == 1);
  CHECK(close(p->out) == 0);
  CHECK(recvmsg(ends[1], &m, 0) == 1);
  memcpy(&p->out, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
  CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

static void steps(int count);

static void in_child(void) {
  uint64_t seed = state + 1;
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    state = seed;
    struct itimerval off = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
    // Its bytes and its parent's must not mix: new files, at numbers that its parent has, too.
    for (int i = 0; i < PLACES; i++)
      if (pairs[i].in >= 0) redirect(&pairs[i]);
    steps(60);
    _exit(0);
  }
  int status;
  while (waitpid(child, &status, 0) != child) CHECK(errno == EINTR);
  CHECK(status == 0);
}

/* The child has this process's memory, and closes and opens what it likes before it executes. */
static void in_vfork(void) {
  posix_spawn_file_actions_t actions;
  CHECK(posix_spawn_file_actions_init(&actions) == 0);
  for (int i = 0; i < PLACES; i++)
    if (pairs[i].in >= 0) {
      CHECK(posix_spawn_file_actions_addclose(&actions, pairs[i].in) == 0);
      CHECK(posix_spawn_file_actions_addopen(&actions, pairs[i].in, "/dev/null", O_RDWR, 0) == 0);
    }
  char *words[] = {"true", NULL};
  pid_t child;
  CHECK(posix_spawnp(&child, "true", &actions, NULL, words, NULL) == 0);
  int status;
  while (waitpid(child, &status, 0) != child) CHECK(errno == EINTR);
  CHECK(status == 0);
  CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
}

static void steps(int count) {
  for (int n = 0; n < count; n++) {
    struct pair *p = &pairs[chance(PLACES)];
    if (p->in < 0) {
      open_pair(p);
      continue;
    }
    switch (chance(12)) {
      case 0: close_pair(p); break;
      case 1: redirect(p); break;
      case 2: duplicate(p); break;
      case 3: pass(p); break;
      default: carry(p);
    }
  }
}

static void *in_thread(void *unused) {
  (void)unused;
  struct pair mine;
  for (int i = 0; i < 200; i++) {
    open_pair(&mine);
    carry(&mine);
    close_pair(&mine);
  }
  return NULL;
}

int main(int argc, char **argv) {
  CHECK(argc == 3);
  state = strtoull(argv[1], NULL, 10);
  int rounds = atoi(argv[2]);
  CHECK(pipe(alarmed) == 0);
  for (int i = 0; i < PLACES; i++) pairs[i].in = pairs[i].out = -1;
  // Places are patched while there is no handler and no other thread.
  steps(3000);
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  struct itimerval often = {{0, 3000}, {0, 3000}};
  CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
  for (int i = 0; i < rounds || alarms == 0; i++) {
    steps(200);
    switch (chance(4)) {
      case 0: in_child(); break;
      case 1: in_vfork(); break;
      default: break;
    }
  }
  CHECK(alarms > 0);
  struct itimerval off = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, in_thread, NULL) == 0);
  for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  say("every byte came out where it had to");
  return 0;
}

// SPDX-License-Identifier: MIT
// crowd CONNECTIONS FORKS THREADS: many of each, then none. Prints "ready" after a small round that
// warms everything up, waits for a line, does the large round, prints "done", and waits again:
// whoever counts descriptors and threads at "ready" and at "done" must find the same.
#include "check.h"

#include <pthread.h>
#include <sys/resource.h>

static void connections(int count) {
  struct sockaddr_in a;
  int l = listening(128, &a);
  int (*ends)[2] = calloc(count, sizeof *ends);
  for (int i = 0; i < count; i++) {
    ends[i][0] = connected(&a);
    ends[i][1] = accept(l, NULL, NULL);
    CHECK(ends[i][1] >= 0);
  }
  for (int i = 0; i < count; i++) CHECK(send(ends[i][0], &i, sizeof i, 0) == sizeof i);
  for (int i = 0; i < count; i++) {
    int got = -1;
    CHECK(recv(ends[i][1], &got, sizeof got, MSG_WAITALL) == sizeof got && got == i);
  }
  for (int i = 0; i < count; i++) {
    close(ends[i][0]);
    close(ends[i][1]);
  }
  free(ends);
  close(l);
}

static void forks(int count) {
  struct sockaddr_in a;
  int l = listening(128, &a);
  for (int done = 0; done < count; done += 10) {
    for (int i = 0; i < 10; i++) {
      pid_t child = fork();
      CHECK(child >= 0);
      if (child == 0) {
        int c = connected(&a);
        CHECK(write(c, "c", 1) == 1);
        _exit(0);
      }
    }
    for (int i = 0; i < 10; i++) {
      int s = accept(l, NULL, NULL), status;
      char byte;
      CHECK(s >= 0 && recv(s, &byte, 1, 0) == 1 && recv(s, &byte, 1, 0) == 0);
      close(s);
      CHECK(wait(&status) > 0 && status == 0);
    }
  }
  close(l);
}

static void *echo_once(void *argument) {
  int fd = *(int *)argument;
  char byte;
  CHECK(recv(fd, &byte, 1, 0) == 1 && send(fd, &byte, 1, 0) == 1);
  return NULL;
}

static void threads(int count) {
  int (*ends)[2] = calloc(count, sizeof *ends);
  pthread_t *all = calloc(count, sizeof *all);
  for (int i = 0; i < count; i++) {
    tcp_pair(ends[i]);
    CHECK(pthread_create(&all[i], NULL, echo_once, &ends[i][1]) == 0);
  }
  for (int i = 0; i < count; i++) {
    char byte = (char)i;
    CHECK(send(ends[i][0], &byte, 1, 0) == 1);
    CHECK(recv(ends[i][0], &byte, 1, 0) == 1 && byte == (char)i);
    CHECK(pthread_join(all[i], NULL) == 0);
    close(ends[i][0]);
    close(ends[i][1]);
  }
  free(ends);
  free(all);
}

static int open_descriptors(void) {
  int count = 0;
  for (int fd = 0; fd < 4096; fd++) count += fcntl(fd, F_GETFD) != -1;
  return count;
}

// Long enough to be looked after for signals, as a thread of the large round may be, too.
static void blocked(void) {
  struct sockaddr_in a;
  struct timeval limit = {.tv_usec = 100000};
  int l = listening(1, &a), c = connected(&a);
  char byte;
  CHECK(setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  CHECK(recv(c, &byte, 1, 0) == -1 && errno == EAGAIN);
  close(c);
  close(l);
}

int main(int argc, char **argv) {
  CHECK(argc == 4);
  struct rlimit files;
  CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
  CHECK(setrlimit(RLIMIT_NOFILE, &files) == 0);
  connections(64);
  forks(10);
  threads(10);
  int before = open_descriptors();
  blocked();
  say("ready");
  char line[16];
  CHECK(fgets(line, sizeof line, stdin));
  int64_t start = now_us();
  connections(atoi(argv[1]));
  int64_t connected_at = now_us();
  forks(atoi(argv[2]));
  int64_t forked_at = now_us();
  threads(atoi(argv[3]));
  fprintf(stderr, "connections %lld us, forks %lld us, threads %lld us\n",
          (long long)(connected_at - start), (long long)(forked_at - connected_at),
          (long long)(now_us() - forked_at));
  CHECK(open_descriptors() == before);
  say("done");
  CHECK(fgets(line, sizeof line, stdin));
  return 0;
}

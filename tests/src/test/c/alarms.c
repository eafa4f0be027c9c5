// SPDX-License-Identifier: MIT
// Signals during calls that block. For each call, with and without SA_RESTART: what the call
// returned and how often the handler ran (standard output, the same on every kernel), and how late
// it was, in microseconds, the median of some tries (standard error, "late CALL RESTART US").
#include "check.h"

#include <sys/mman.h>
#include <sys/select.h>

/* The help comes so long after the handler has run, or after PATIENCE_US if it does not run. */
enum { ALARM_US = 100000, HELP_US = 150000, PATIENCE_US = 1500000 };

/* What the helper sees too. */
static struct {
  volatile int64_t at;
  volatile int times;
  volatile int helped;
} *handled;

static void on_alarm(int signal) {
  (void)signal;
  handled->at = now_us();
  handled->times = handled->times + 1;
}

/* What a call works on, made anew for each try. */
struct setting {
  int fd;                   /* the descriptor that the call blocks on */
  int other;                /* what the helper uses to end a restarted call */
  struct sockaddr_in address;
  int extra[8];             /* closed with the rest */
};

struct blocking {
  const char *name;
  void (*prepare)(struct setting *);
  long (*call)(struct setting *);
  void (*help)(struct setting *); /* lets a call that goes on succeed */
};

static void prepare_pair(struct setting *s) {
  int ends[2];
  tcp_pair(ends);
  s->fd = ends[0];
  s->other = ends[1];
}

static void help_write(struct setting *s) { CHECK(write(s->other, "hello", 5) == 5); }

static long call_recv(struct setting *s) {
  char b[16];
  return recv(s->fd, b, sizeof b, 0);
}

static long call_read(struct setting *s) {
  char b[16];
  return read(s->fd, b, sizeof b);
}

static long call_recvmsg(struct setting *s) {
  char b[16];
  struct iovec in = {b, sizeof b};
  struct msghdr m = {.msg_iov = &in, .msg_iovlen = 1};
  return recvmsg(s->fd, &m, 0);
}

static void prepare_timeout(struct setting *s) {
  prepare_pair(s);
  struct timeval t = {2, 0}; // a receive with a time limit is never restarted
  CHECK(setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) == 0);
}

static void prepare_half(struct setting *s) {
  prepare_pair(s);
  CHECK(write(s->other, "abc", 3) == 3);
}

static long call_recv_all(struct setting *s) {
  char b[8];
  return recv(s->fd, b, 8, MSG_WAITALL); // 3 are there, 5 more come: what was got is returned
}

static void prepare_udp(struct setting *s) {
  struct sockaddr_in ignored;
  s->fd = bound(SOCK_DGRAM, &s->address);
  s->other = bound(SOCK_DGRAM, &ignored);
}

static long call_recvfrom(struct setting *s) {
  char b[16];
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  return recvfrom(s->fd, b, sizeof b, 0, (struct sockaddr *)&from, &length);
}

static void help_send_to(struct setting *s) {
  CHECK(sendto(s->other, "hello", 5, 0, (struct sockaddr *)&s->address, sizeof s->address) == 5);
}

static void prepare_listening(struct setting *s) {
  s->fd = listening(5, &s->address);
  s->other = socket(AF_INET, SOCK_STREAM, 0);
}

static long call_accept(struct setting *s) {
  s->extra[0] = accept(s->fd, NULL, NULL);
  return s->extra[0] < 0 ? -1 : 1;
}

static void help_connect(struct setting *s) {
  CHECK(connect(s->other, (struct sockaddr *)&s->address, sizeof s->address) == 0);
}

/* A queue of one that is full: the connect waits until something is accepted. */
static void prepare_full_queue(struct setting *s) {
  s->other = listening(0, &s->address);
  s->extra[0] = connected(&s->address);
  for (int i = 1; i < 3; i++) {
    s->extra[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)!connect(s->extra[i], (struct sockaddr *)&s->address, sizeof s->address);
  }
  s->fd = socket(AF_INET, SOCK_STREAM, 0);
}

static long call_connect(struct setting *s) {
  return connect(s->fd, (struct sockaddr *)&s->address, sizeof s->address);
}

static void help_accept(struct setting *s) {
  for (int i = 0; i < 3; i++) close(accept4(s->other, NULL, NULL, SOCK_NONBLOCK));
}

static void prepare_full_buffer(struct setting *s) {
  prepare_pair(s);
  char block[4096] = {0};
  // The other end's window may still open a little: full is when nothing fits after a rest.
  for (int rests = 0; rests < 2; rests++) {
    while (send(s->fd, block, sizeof block, MSG_DONTWAIT) > 0) rests = 0;
    CHECK(errno == EAGAIN);
    sleep_us(250000); // longer than the first probe of a closed window takes
  }
}

static long call_send(struct setting *s) {
  return send(s->fd, "x", 1, 0);
}

static void help_drain(struct setting *s) {
  char block[65536];
  for (int i = 0; i < 50; i++) {
    while (recv(s->other, block, sizeof block, MSG_DONTWAIT) > 0) {
    }
    sleep_us(1000);
  }
}

static void prepare_set(struct setting *s) {
  prepare_pair(s);
  s->extra[0] = epoll_create1(0);
  struct epoll_event v = {.events = EPOLLIN};
  CHECK(epoll_ctl(s->extra[0], EPOLL_CTL_ADD, s->fd, &v) == 0);
}

static long call_epoll_wait(struct setting *s) {
  struct epoll_event v;
  return epoll_wait(s->extra[0], &v, 1, 2000);
}

static long call_poll(struct setting *s) {
  struct pollfd p = {.fd = s->fd, .events = POLLIN};
  return poll(&p, 1, 2000);
}

static long call_poll_forever(struct setting *s) {
  struct pollfd p = {.fd = s->fd, .events = POLLIN};
  return poll(&p, 1, -1);
}

static long call_select(struct setting *s) {
  fd_set in;
  FD_ZERO(&in);
  FD_SET(s->fd, &in);
  return select(s->fd + 1, &in, NULL, NULL, NULL);
}

static const struct blocking CALLS[] = {
    {"recv", prepare_pair, call_recv, help_write},
    {"read", prepare_pair, call_read, help_write},
    {"recvmsg", prepare_pair, call_recvmsg, help_write},
    {"recv-timeout", prepare_timeout, call_recv, help_write},
    {"recv-all", prepare_half, call_recv_all, help_write},
    {"recvfrom", prepare_udp, call_recvfrom, help_send_to},
    {"accept", prepare_listening, call_accept, help_connect},
    {"connect", prepare_full_queue, call_connect, help_accept},
    {"send", prepare_full_buffer, call_send, help_drain},
    {"epoll_wait", prepare_set, call_epoll_wait, help_write},
    {"poll", prepare_pair, call_poll, help_write},
    {"poll-forever", prepare_pair, call_poll_forever, help_write},
    {"select", prepare_pair, call_select, help_write},
};

/* Lets the call go on once the handler has run, and the call had time to come back. */
static void help(const struct blocking *b, struct setting *s) {
  for (int64_t end = now_us() + PATIENCE_US; !handled->times && now_us() < end;) sleep_us(5000);
  sleep_us(HELP_US);
  handled->helped = 1;
  b->help(s);
  sleep_us(1500000); // holds its descriptors open until the call has surely returned
}

/* False if the alarm came before the call: a machine that was too busy, and no try. */
static int try_call(const struct blocking *b, int restart, char *line, size_t room,
                    struct tries *late) {
  struct setting s;
  memset(&s, 0xff, sizeof s);
  b->prepare(&s);
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = restart ? SA_RESTART : 0};
  CHECK(sigaction(SIGALRM, &action, NULL) == 0);
  handled->times = handled->helped = 0;
  pid_t helper = fork();
  CHECK(helper >= 0);
  if (helper == 0) {
    help(b, &s);
    _exit(0);
  }
  int64_t start = now_us();
  struct itimerval timer = {.it_value = {0, ALARM_US}};
  CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
  errno = 0;
  int64_t begun = now_us();
  long result = b->call(&s);
  int error = result < 0 ? errno : 0;
  int64_t end = now_us();
  // A call that was not restarted is back at once; one that was has waited for the helper.
  int at_once = !handled->helped;
  snprintf(line, room, "%s %s: %ld %s, handled %d, back %s", b->name,
           restart ? "restarting" : "interrupted", result, errno_name(error), handled->times,
           at_once ? "at once" : "after the help");
  int valid = !handled->times || handled->at > begun;
  if (valid) measured(late, (error && at_once ? end : handled->at) - start - ALARM_US);
  kill(helper, SIGKILL);
  CHECK(waitpid(helper, NULL, 0) == helper);
  close(s.fd);
  close(s.other);
  for (int i = 0; i < 8; i++)
    if (s.extra[i] >= 0) close(s.extra[i]);
  return valid;
}

static void both_ways(int number) {
  const struct blocking *call = &CALLS[number];
  handled = mmap(NULL, sizeof *handled, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(handled != MAP_FAILED);
  for (int restart = 0; restart < 2; restart++) {
    struct tries late = {0};
    char line[200], first[200];
    while (undecided(&late)) {
      if (!try_call(call, restart, line, sizeof line, &late)) continue;
      if (late.count == 1) {
        strcpy(first, line);
        say("%s", line);
      } else if (strcmp(first, line)) {
        say("and in try %d: %s", late.count, line);
      }
    }
    fprintf(stderr, "late %s %s %lld\n", call->name, restart ? "restarting" : "interrupted",
            (long long)median(&late));
  }
}

/* alarms [CALL]: all calls at once, or the one named. */
int main(int argc, char **argv) {
  enum { COUNT = sizeof CALLS / sizeof CALLS[0] };
  if (argc == 1) return side_by_side(COUNT, both_ways);
  for (int i = 0; i < COUNT; i++)
    if (!strcmp(argv[1], CALLS[i].name)) both_ways(i);
  return 0;
}

// SPDX-License-Identifier: MIT
// transfers DIR BESIDE: splice, tee, vmsplice, sendfile, copy_file_range, preadv2 and their kin in all
// directions between sockets, pipes, files in DIR, which is a device's or not, and files in BESIDE,
// which is not. Prints what must be the same on every kernel. DIR is empty and stays so.
#include "check.h"

#include <pthread.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define TELL(call)                                   \
  do {                                               \
    errno = 0;                                       \
    long long told = (long long)(call);              \
    if (told < 0)                                    \
      say("%s = %s", #call, errno_name(errno));      \
    else                                             \
      say("%s = %lld", #call, told);                 \
  } while (0)

enum { PIPE = 65536 };

static const char *dir, *beside;

static int open_in(const char *where, const char *name, int flags) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", where, name);
  int fd = open(path, flags | O_CLOEXEC, 0644);
  CHECK(fd >= 0);
  return fd;
}

static void remove_in(const char *where, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", where, name);
  CHECK(unlink(path) == 0);
}

static char pattern(long at) { return (char)(at * 7 + at / 251); }

static void fill(char *b, long n, long from) {
  for (long i = 0; i < n; i++) b[i] = pattern(from + i);
}

static int same(const char *b, long n, long from) {
  for (long i = 0; i < n; i++)
    if (b[i] != pattern(from + i)) return 0;
  return 1;
}

static void new_pipe(int ends[2], int flags) { CHECK(pipe2(ends, flags | O_CLOEXEC) == 0); }

static void close_all(int n, const int *fds) {
  for (int i = 0; i < n; i++) close(fds[i]);
}

/* Waits until a descriptor holds n bytes to read. */
static void await_bytes(int fd, int n) {
  int there = 0;
  for (int i = 0; i < 5000 && there < n; i++) {
    CHECK(ioctl(fd, FIONREAD, &there) == 0);
    if (there < n) sleep_us(1000);
  }
  CHECK(there >= n);
}

static void set_flag(int fd, int flag, int on) {
  int flags = fcntl(fd, F_GETFL);
  CHECK(fcntl(fd, F_SETFL, on ? flags | flag : flags & ~flag) == 0);
}

static void send_all(int fd, const char *b, long n) {
  for (long done = 0; done < n;) {
    ssize_t r = write(fd, b + done, n - done);
    CHECK(r > 0);
    done += r;
  }
}

/* Reads n bytes, which must be those of the pattern from there on. */
static void expect(int fd, long n, long from) {
  char *b = malloc(n);
  long got = 0;
  while (got < n) {
    ssize_t r = read(fd, b + got, n - got);
    CHECK(r > 0);
    got += r;
  }
  CHECK(same(b, n, from));
  free(b);
}

/* ---- what is wrong with a call ---- */

static void mistakes(void) {
  say("mistakes");
  int s[2], p[2], q[2], u[2];
  tcp_pair(s);
  new_pipe(p, 0);
  new_pipe(q, 0);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, u) == 0);
  int f = open_in(dir, "f", O_RDWR | O_CREAT), h = open_in(beside, "h", O_RDWR | O_CREAT);
  int ro = open_in(dir, "f", O_RDONLY), wo = open_in(dir, "f", O_WRONLY);
  int d = open(dir, O_RDONLY | O_DIRECTORY);
  CHECK(write(f, "0123456789", 10) == 10 && write(h, "0123456789", 10) == 10);
  CHECK(write(p[1], "abcdef", 6) == 6 && write(s[0], "uvwxyz", 6) == 6);
  await_bytes(s[1], 6);
  loff_t at = 0, minus = -1;
  loff_t *bad = (loff_t *)8;
  TELL(splice(s[1], NULL, s[1], NULL, 10, 0));
  TELL(splice(s[1], NULL, f, NULL, 10, 0));
  TELL(splice(f, NULL, s[1], NULL, 10, 0));
  TELL(splice(f, NULL, f, NULL, 10, 0));
  TELL(splice(f, NULL, h, NULL, 10, 0));
  TELL(splice(h, NULL, f, NULL, 10, 0));
  TELL(splice(h, NULL, s[1], NULL, 10, 0));
  TELL(splice(s[1], NULL, u[0], NULL, 10, 0));
  TELL(splice(s[1], NULL, q[1], NULL, 0, 0));
  TELL(splice(s[1], NULL, f, NULL, 0, 99));
  TELL(splice(s[1], NULL, q[1], NULL, 10, 16));
  TELL(splice(s[1], NULL, q[1], NULL, -1, 0));
  TELL(splice(p[0], NULL, s[1], NULL, -1, 0));
  TELL(splice(s[1], &at, q[1], NULL, 10, 0));
  TELL(splice(s[1], NULL, q[1], &at, 10, 0));
  TELL(splice(p[0], &at, s[1], NULL, 10, 0));
  TELL(splice(p[0], NULL, s[1], &at, 10, 0));
  TELL(splice(p[0], bad, s[1], NULL, 10, 0));
  TELL(splice(p[0], NULL, f, bad, 10, 0));
  TELL(splice(p[0], NULL, f, &minus, 10, 0));
  TELL(splice(f, &minus, q[1], NULL, 10, 0));
  TELL(splice(f, bad, q[1], NULL, 10, 0));
  TELL(splice(s[1], NULL, q[0], NULL, 10, 0));
  TELL(splice(p[1], NULL, s[1], NULL, 10, 0));
  TELL(splice(wo, NULL, q[1], NULL, 10, 0));
  TELL(splice(p[0], NULL, ro, NULL, 10, 0));
  TELL(splice(d, NULL, q[1], NULL, 10, 0));
  TELL(splice(-1, NULL, s[1], NULL, 10, 0));
  TELL(splice(s[1], NULL, 999, NULL, 10, 0));
  TELL(splice(999, NULL, s[1], NULL, 10, 0));
  set_flag(f, O_APPEND, 1);
  TELL(splice(p[0], NULL, f, NULL, 10, 0));
  TELL(sendfile(f, h, &at, 5));
  set_flag(f, O_APPEND, 0);
  int unconnected = socket(AF_INET, SOCK_STREAM, 0);
  TELL(splice(unconnected, NULL, q[1], NULL, 10, 0));
  struct sockaddr_in a;
  int l = listening(1, &a);
  TELL(splice(l, NULL, q[1], NULL, 10, 0));
  TELL(splice(p[0], NULL, l, NULL, 10, 0));
  /* None of that has taken anything. */
  int left;
  CHECK(ioctl(p[0], FIONREAD, &left) == 0);
  say("in the pipe: %d, in the file: %lld", left, (long long)lseek(f, 0, SEEK_END));
  TELL(tee(s[1], q[1], 10, 0));
  TELL(tee(p[0], s[1], 10, 0));
  TELL(tee(f, q[1], 10, 0));
  TELL(tee(p[0], f, 10, 0));
  struct iovec v = {"text", 4};
  TELL(vmsplice(s[1], &v, 1, 0));
  TELL(vmsplice(f, &v, 1, 0));
  TELL(tee(p[0], q[1], 100, 0));
  TELL(vmsplice(q[1], &v, 1, 0));
  TELL(splice(q[0], NULL, s[1], NULL, 100, 0));
  char b[16];
  TELL(read(s[0], b, 16));
  say("%.10s", b);
  close_all(2, s);
  close_all(2, p);
  close_all(2, q);
  close_all(2, u);
  int others[] = {f, h, ro, wo, d, unconnected, l};
  close_all(7, others);
  remove_in(dir, "f");
  remove_in(beside, "h");
}

/* ---- sockets ---- */

static void from_socket(void) {
  say("socket to pipe");
  int s[2], p[2];
  tcp_pair(s);
  new_pipe(p, 0);
  char *b = malloc(PIPE * 2);
  fill(b, PIPE * 2, 0);
  send_all(s[0], b, 1000);
  await_bytes(s[1], 1000);
  TELL(splice(s[1], NULL, p[1], NULL, 300, 0));
  TELL(splice(s[1], NULL, p[1], NULL, PIPE, SPLICE_F_MOVE | SPLICE_F_MORE));
  expect(p[0], 1000, 0);
  set_flag(s[1], O_NONBLOCK, 1);
  TELL(splice(s[1], NULL, p[1], NULL, PIPE, 0));
  TELL(splice(s[1], NULL, p[1], NULL, PIPE, SPLICE_F_NONBLOCK));
  /* A pipe that is full, and one that nobody reads. */
  send_all(s[0], b, 5000);
  await_bytes(s[1], 5000);
  char *stuff = malloc(PIPE);
  fill(stuff, PIPE, 0);
  CHECK(write(p[1], stuff, PIPE) == PIPE);
  TELL(splice(s[1], NULL, p[1], NULL, PIPE, SPLICE_F_NONBLOCK));
  set_flag(p[1], O_NONBLOCK, 1);
  TELL(splice(s[1], NULL, p[1], NULL, PIPE, 0));
  set_flag(p[1], O_NONBLOCK, 0);
  expect(p[0], PIPE, 0);
  TELL(splice(s[1], NULL, p[1], NULL, 4000, SPLICE_F_NONBLOCK));
  expect(p[0], 4000, 0);
  expect(s[1], 1000, 4000);
  send_all(s[0], b, 100);
  await_bytes(s[1], 100);
  int nobody[2];
  new_pipe(nobody, 0);
  close(nobody[0]);
  signal(SIGPIPE, SIG_IGN);
  TELL(splice(s[1], NULL, nobody[1], NULL, 100, 0));
  TELL(sendfile(nobody[1], open_in(beside, "e", O_RDWR | O_CREAT), NULL, 100));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    signal(SIGPIPE, SIG_DFL);
    splice(s[1], NULL, nobody[1], NULL, 100, 0);
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  say("killed by %d", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  close(nobody[1]);
  expect(s[1], 100, 0);
  remove_in(beside, "e");
  /* By sendfile, into a pipe and into what is none. */
  int to_host[2], file = open_in(beside, "e", O_RDWR | O_CREAT);
  off_t at = 0;
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, to_host) == 0);
  send_all(s[0], b, 700);
  await_bytes(s[1], 700);
  TELL(sendfile(p[1], s[1], NULL, 300));
  expect(p[0], 300, 0);
  TELL(sendfile(file, s[1], NULL, 100));
  TELL(sendfile(to_host[0], s[1], NULL, 100));
  TELL(sendfile(p[1], s[1], &at, 100));
  TELL(sendfile(p[0], s[1], NULL, 100));
  TELL(sendfile(-1, s[1], NULL, 100));
  set_flag(p[1], O_NONBLOCK, 1);
  TELL(sendfile(p[1], s[1], NULL, PIPE));
  expect(p[0], 400, 300);
  TELL(sendfile(p[1], s[1], NULL, PIPE));
  set_flag(p[1], O_NONBLOCK, 0);
  int unconnected = socket(AF_INET, SOCK_STREAM, 0);
  TELL(sendfile(p[1], unconnected, NULL, 10));
  close_all(4, (int[]){to_host[0], to_host[1], file, unconnected});
  remove_in(beside, "e");
  /* A splice does not go past urgent data. */
  send_all(s[0], b, 30);
  CHECK(send(s[0], "!", 1, MSG_OOB) == 1);
  send_all(s[0], b + 30, 20);
  await_bytes(s[1], 30);
  CHECK(poll(&(struct pollfd){s[1], POLLPRI, 0}, 1, 5000) == 1);
  TELL(splice(s[1], NULL, p[1], NULL, PIPE, 0));
  expect(p[0], 30, 0);
  TELL(splice(s[1], NULL, p[1], NULL, PIPE, 0));
  set_flag(s[1], O_NONBLOCK, 0);
  TELL(splice(s[1], NULL, p[1], NULL, PIPE, 0));
  TELL(recv(s[1], b, 1, MSG_OOB));
  TELL(splice(s[1], NULL, p[1], NULL, PIPE, 0));
  expect(s[1], 20, 30);
  fill(b, PIPE * 2, 0);
  set_flag(s[1], O_NONBLOCK, 1);
  /* The end. */
  send_all(s[0], b, 10);
  shutdown(s[0], SHUT_WR);
  await_bytes(s[1], 10);
  TELL(splice(s[1], NULL, p[1], NULL, PIPE, 0));
  struct pollfd ready = {s[1], POLLIN | POLLRDHUP, 0};
  CHECK(poll(&ready, 1, 5000) == 1);
  say("revents %x", ready.revents);
  TELL(splice(s[1], NULL, p[1], NULL, PIPE, 0));
  TELL(splice(s[1], NULL, p[1], NULL, PIPE, SPLICE_F_NONBLOCK));
  close_all(2, s);
  /* A reset, and one behind urgent data; so far they are in the way of an end only. */
  struct linger hard = {1, 0};
  for (int resets = 0; resets < 2; resets++) {
    tcp_pair(s);
    CHECK(send(s[0], "!", 1, MSG_OOB) == 1);
    if (resets) CHECK(setsockopt(s[0], SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
    close(s[0]);
    CHECK(poll(&(struct pollfd){s[1], resets ? POLLERR : POLLRDHUP, 0}, 1, 5000) == 1);
    set_flag(s[1], O_NONBLOCK, 1);
    for (int i = 0; i < 3; i++) TELL(splice(s[1], NULL, p[1], NULL, PIPE, 0));
    TELL(recv(s[1], b, 1, MSG_OOB));
    TELL(splice(s[1], NULL, p[1], NULL, PIPE, 0));
    close(s[1]);
  }
  tcp_pair(s);
  CHECK(setsockopt(s[0], SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
  close(s[0]);
  ready.fd = s[1];
  CHECK(poll(&ready, 1, 5000) == 1);
  TELL(splice(s[1], NULL, p[1], NULL, PIPE, 0));
  TELL(splice(s[1], NULL, p[1], NULL, PIPE, 0));
  close(s[1]);
  close_all(2, p);
  free(b);
  free(stuff);
}

static void to_socket(void) {
  say("pipe to socket");
  int s[2], p[2];
  tcp_pair(s);
  new_pipe(p, 0);
  char *b = malloc(PIPE);
  fill(b, PIPE, 0);
  CHECK(write(p[1], b, PIPE) == PIPE);
  TELL(splice(p[0], NULL, s[0], NULL, 100, SPLICE_F_MORE));
  TELL(splice(p[0], NULL, s[0], NULL, 1 << 20, SPLICE_F_MOVE));
  expect(s[1], PIPE, 0);
  TELL(splice(p[0], NULL, s[0], NULL, 100, SPLICE_F_NONBLOCK));
  set_flag(p[0], O_NONBLOCK, 1);
  TELL(splice(p[0], NULL, s[0], NULL, 100, 0));
  set_flag(p[0], O_NONBLOCK, 0);
  /* Parts of pages, and pages in part. */
  for (int i = 0; i < 7; i++) CHECK(write(p[1], b + i * 5000, 5000) == 5000);
  for (long done = 0; done < 35000;) {
    ssize_t r = splice(p[0], NULL, s[0], NULL, 777, 0);
    CHECK(r > 0 && r <= 777);
    done += r;
  }
  expect(s[1], 35000, 0);
  /* A socket that takes no more: what it does not take stays in the pipe. */
  set_flag(s[0], O_NONBLOCK, 1);
  long in = 0, out = 0;
  for (int again = 0; again < 3;) {
    fill(b, PIPE, in);
    set_flag(p[1], O_NONBLOCK, 1);
    ssize_t w = write(p[1], b, PIPE);
    if (w > 0) in += w;
    ssize_t r = splice(p[0], NULL, s[0], NULL, PIPE, 0);
    if (r < 0) {
      CHECK(errno == EAGAIN);
      again++;
      sleep_us(50000);
    } else {
      CHECK(r > 0);
      out += r;
    }
  }
  int left;
  CHECK(ioctl(p[0], FIONREAD, &left) == 0);
  say("all is there: %d", left == in - out);
  expect(s[1], out, 0);
  set_flag(s[0], O_NONBLOCK, 0);
  while (out < in) {
    ssize_t r = splice(p[0], NULL, s[0], NULL, in - out, 0);
    CHECK(r > 0);
    expect(s[1], r, out);
    out += r;
  }
  /* The end of the pipe is none of the socket. */
  set_flag(p[1], O_NONBLOCK, 0);
  CHECK(write(p[1], "end", 3) == 3);
  close(p[1]);
  TELL(splice(p[0], NULL, s[0], NULL, 100, 0));
  TELL(splice(p[0], NULL, s[0], NULL, 100, 0));
  char small[8];
  TELL(read(s[1], small, 8));
  close(p[0]);
  /* A socket that is closed for writing. */
  new_pipe(p, 0);
  CHECK(write(p[1], "gone", 4) == 4);
  shutdown(s[0], SHUT_WR);
  signal(SIGPIPE, SIG_IGN);
  TELL(splice(p[0], NULL, s[0], NULL, 100, 0));
  CHECK(ioctl(p[0], FIONREAD, &left) == 0);
  say("in the pipe: %d", left);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    signal(SIGPIPE, SIG_DFL);
    splice(p[0], NULL, s[0], NULL, 100, 0);
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  say("killed by %d", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  close_all(2, p);
  close_all(2, s);
  /* A pipe of packets. */
  tcp_pair(s);
  new_pipe(p, O_DIRECT);
  CHECK(write(p[1], b, 10) == 10 && write(p[1], b + 10, 20) == 20);
  TELL(splice(p[0], NULL, s[0], NULL, 30, 0));
  TELL(recv(s[1], b, 30, MSG_WAITALL));
  close_all(2, p);
  close_all(2, s);
  free(b);
}

static void datagrams(void) {
  say("datagrams");
  struct sockaddr_in a, c;
  int from = bound(SOCK_DGRAM, &a), to = bound(SOCK_DGRAM, &c), p[2];
  CHECK(connect(from, (struct sockaddr *)&c, sizeof c) == 0);
  new_pipe(p, 0);
  char *b = malloc(PIPE);
  fill(b, PIPE, 0);
  CHECK(write(p[1], b, 3000) == 3000);
  CHECK(write(p[1], b + 3000, 3000) == 3000);
  TELL(splice(p[0], NULL, from, NULL, 1000, 0));
  TELL(splice(p[0], NULL, from, NULL, 4000, SPLICE_F_MORE));
  TELL(splice(p[0], NULL, from, NULL, PIPE, 0));
  TELL(recv(to, b, PIPE, 0));
  CHECK(same(b, 1000, 0));
  TELL(recv(to, b, PIPE, 0));
  CHECK(same(b, 5000, 1000));
  TELL(recv(to, b, PIPE, MSG_DONTWAIT));
  fill(b, PIPE, 0);
  CHECK(send(from, b, 1400, 0) == 1400 && send(from, b, 9000, 0) == 9000 && send(from, b, 0, 0) == 0);
  TELL(splice(to, NULL, p[1], NULL, PIPE, 0));
  expect(p[0], 1400, 0);
  TELL(splice(to, NULL, p[1], NULL, 100, 0)); /* the rest of it is lost */
  expect(p[0], 100, 0);
  TELL(splice(to, NULL, p[1], NULL, PIPE, 0));
  set_flag(to, O_NONBLOCK, 1);
  TELL(splice(to, NULL, p[1], NULL, PIPE, 0));
  close(from);
  close(to);
  close_all(2, p);
  free(b);
}

/* ---- a proxy, as haproxy and nginx are one ---- */

enum { STREAM = 3 << 20 };

static void *feed(void *of) {
  int fd = *(int *)of;
  char *b = malloc(STREAM);
  fill(b, STREAM, 0);
  send_all(fd, b, STREAM);
  shutdown(fd, SHUT_WR);
  free(b);
  return NULL;
}

static void *drain(void *of) {
  int fd = *(int *)of;
  expect(fd, STREAM, 0);
  char b;
  CHECK(read(fd, &b, 1) == 0);
  return NULL;
}

static void proxy(int nonblocking) {
  int client[2], server[2], p[2];
  tcp_pair(client);
  tcp_pair(server);
  new_pipe(p, 0);
  set_flag(client[1], O_NONBLOCK, nonblocking);
  set_flag(server[0], O_NONBLOCK, nonblocking);
  pthread_t feeder, drainer;
  CHECK(pthread_create(&feeder, NULL, feed, &client[0]) == 0);
  CHECK(pthread_create(&drainer, NULL, drain, &server[1]) == 0);
  int flags = SPLICE_F_MOVE | (nonblocking ? SPLICE_F_NONBLOCK : 0);
  long in = 0, out = 0;
  int end = 0, ep = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.fd = client[1]};
  CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, client[1], &e) == 0);
  e = (struct epoll_event){.events = EPOLLOUT | EPOLLET, .data.fd = server[0]};
  CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, server[0], &e) == 0);
  while (!end || out < in) {
    int idle = 1;
    if (!end && out == in) {
      ssize_t r = splice(client[1], NULL, p[1], NULL, 1 << 30, flags);
      CHECK(r >= 0 || (nonblocking && errno == EAGAIN));
      end = r == 0;
      if (r >= 0) {
        in += r;
        idle = 0;
      }
    }
    if (out < in) {
      ssize_t r = splice(p[0], NULL, server[0], NULL, in - out, flags);
      CHECK(r > 0 || (nonblocking && errno == EAGAIN));
      if (r > 0) {
        out += r;
        idle = 0;
      }
    }
    if (idle) {
      struct epoll_event ready[2];
      CHECK(epoll_wait(ep, ready, 2, 10000) > 0);
    }
  }
  shutdown(server[0], SHUT_WR);
  CHECK(pthread_join(feeder, NULL) == 0 && pthread_join(drainer, NULL) == 0);
  say("proxy, %sblocking: %ld bytes", nonblocking ? "non-" : "", out);
  close(ep);
  close_all(2, client);
  close_all(2, server);
  close_all(2, p);
}

/* ---- files ---- */

static void files(const char *where) {
  say("files");
  int f = open_in(where, "f", O_RDWR | O_CREAT), p[2], left;
  new_pipe(p, 0);
  char *b = malloc(1 << 20);
  fill(b, 1 << 20, 0);
  CHECK(write(f, b, 200000) == 200000);
  CHECK(lseek(f, 0, SEEK_SET) == 0);
  TELL(splice(f, NULL, p[1], NULL, 1000, 0));
  TELL(lseek(f, 0, SEEK_CUR));
  expect(p[0], 1000, 0);
  lseek(f, 4096, SEEK_SET);
  TELL(splice(f, NULL, p[1], NULL, 1 << 20, 0));
  TELL(lseek(f, 0, SEEK_CUR));
  TELL(splice(f, NULL, p[1], NULL, 1 << 20, SPLICE_F_NONBLOCK));
  expect(p[0], PIPE, 4096);
  loff_t at = 199000;
  TELL(splice(f, &at, p[1], NULL, 5000, 0));
  say("at %lld", (long long)at);
  expect(p[0], 1000, 199000);
  TELL(splice(f, &at, p[1], NULL, 5000, 0));
  say("at %lld, file at %lld", (long long)at, (long long)lseek(f, 0, SEEK_CUR));
  off_t from = 10;
  TELL(sendfile(p[1], f, &from, 1000));
  say("from %lld", (long long)from);
  expect(p[0], 1000, 10);
  lseek(f, 20, SEEK_SET);
  TELL(sendfile(p[1], f, NULL, 1000));
  TELL(lseek(f, 0, SEEK_CUR));
  expect(p[0], 1000, 20);
  /* A sendfile that fills the pipe while a reader empties it. */
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    close(p[1]);
    expect(p[0], 200000, 0);
    _exit(0);
  }
  from = 0;
  while (from < 200000) CHECK(sendfile(p[1], f, &from, 200000 - from) > 0);
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  /* Into a file. */
  CHECK(ftruncate(f, 0) == 0 && lseek(f, 0, SEEK_SET) == 0);
  CHECK(write(p[1], b, 60000) == 60000);
  TELL(splice(p[0], NULL, f, NULL, 10000, 0));
  TELL(lseek(f, 0, SEEK_CUR));
  TELL(splice(p[0], NULL, f, NULL, 1 << 20, 0));
  at = 100000;
  CHECK(write(p[1], b, 5000) == 5000);
  TELL(splice(p[0], NULL, f, &at, 3000, 0));
  say("at %lld, file at %lld of %lld", (long long)at, (long long)lseek(f, 0, SEEK_CUR),
      (long long)lseek(f, 0, SEEK_END));
  TELL(splice(p[0], NULL, f, &at, 3000, 0));
  TELL(splice(p[0], NULL, f, &at, 3000, SPLICE_F_NONBLOCK));
  CHECK(ioctl(p[0], FIONREAD, &left) == 0);
  say("in the pipe: %d", left);
  CHECK(pread(f, b, 60000, 0) == 60000 && same(b, 60000, 0));
  CHECK(pread(f, b, 10000, 100000) == 5000 && same(b, 5000, 0));
  close(p[1]);
  TELL(splice(p[0], NULL, f, NULL, 3000, 0));
  close(p[0]);
  close(f);
  remove_in(where, "f");
  free(b);
}

static void send_files(void) {
  say("sendfile");
  int f = open_in(dir, "f", O_RDWR | O_CREAT), g = open_in(dir, "g", O_RDWR | O_CREAT);
  int h = open_in(beside, "h", O_RDWR | O_CREAT), k = open_in(beside, "k", O_RDWR | O_CREAT);
  char *b = malloc(1 << 20);
  fill(b, 1 << 20, 0);
  CHECK(write(f, b, 1 << 20) == 1 << 20 && write(h, b, 1 << 20) == 1 << 20);
  int pairs[4][2] = {{f, g}, {f, k}, {h, g}, {h, k}};
  for (int i = 0; i < 4; i++) {
    int in = pairs[i][0], out = pairs[i][1];
    off_t at = 100;
    CHECK(lseek(in, 7, SEEK_SET) == 7 && ftruncate(out, 0) == 0 && lseek(out, 0, SEEK_SET) == 0);
    TELL(sendfile(out, in, &at, 300000));
    TELL(sendfile(out, in, NULL, 5000));
    say("at %lld, in at %lld, out at %lld", (long long)at, (long long)lseek(in, 0, SEEK_CUR),
        (long long)lseek(out, 0, SEEK_CUR));
    TELL(sendfile(out, in, &at, 1 << 30));
    TELL(sendfile(out, in, &at, 1 << 30));
    CHECK(pread(out, b, 300000, 0) == 300000 && same(b, 300000, 100));
    CHECK(pread(out, b, 5000, 300000) == 5000 && same(b, 5000, 7));
    CHECK(pread(out, b, 1000, 305000) == 1000 && same(b, 1000, 300100));
    at = -1;
    TELL(sendfile(out, in, &at, 10));
    TELL(sendfile(out, in, (off_t *)8, 10));
    TELL(sendfile(out, in, NULL, 0));
  }
  int ro = open_in(dir, "g", O_RDONLY), d = open(dir, O_RDONLY | O_DIRECTORY);
  TELL(sendfile(ro, h, NULL, 10));
  TELL(sendfile(k, d, NULL, 10));
  /* To a socket of the host: all of it, as the other end reads. */
  int u[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, u) == 0);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    sleep_us(100000);
    expect(u[1], 1 << 20, 0);
    _exit(0);
  }
  off_t at = 0;
  TELL(sendfile(u[0], f, &at, 1 << 20));
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  set_flag(u[0], O_NONBLOCK, 1);
  at = 0;
  ssize_t sent = sendfile(u[0], f, &at, 1 << 20);
  CHECK(sent > 0 && sent < 1 << 20 && at == sent);
  expect(u[1], sent, 0);
  close(u[1]);
  signal(SIGPIPE, SIG_IGN);
  at = 0;
  TELL(sendfile(u[0], f, &at, 100));
  close(u[0]);
  int s[2];
  tcp_pair(s);
  TELL(sendfile(k, s[0], NULL, 10));
  TELL(sendfile(f, s[0], NULL, 10));
  TELL(sendfile(s[0], s[0], NULL, 10));
  at = 0;
  TELL(sendfile(f, s[0], &at, 10));
  close_all(2, s);
  int all[] = {f, g, h, k, ro, d};
  close_all(6, all);
  remove_in(dir, "f");
  remove_in(dir, "g");
  remove_in(beside, "h");
  remove_in(beside, "k");
  free(b);
}

static ssize_t copied(int in, int out, size_t n) {
  loff_t from = 0, to = 0;
  ssize_t r = copy_file_range(in, &from, out, &to, n, 0);
  if (r >= 0 || errno != EXDEV) return r;
  char *b = malloc(n); /* between two kernels, as between two file systems */
  r = pread(in, b, n, 0);
  r = r < 0 ? r : pwrite(out, b, r, 0);
  free(b);
  return r;
}

static void ranges(void) {
  say("copy_file_range");
  int f = open_in(dir, "f", O_RDWR | O_CREAT), g = open_in(dir, "g", O_RDWR | O_CREAT);
  int h = open_in(beside, "h", O_RDWR | O_CREAT), d = open(dir, O_RDONLY | O_DIRECTORY);
  int ro = open_in(dir, "g", O_RDONLY), append = open_in(dir, "g", O_WRONLY | O_APPEND);
  int s[2], p[2];
  tcp_pair(s);
  new_pipe(p, 0);
  char *b = malloc(300000);
  fill(b, 300000, 0);
  CHECK(write(f, b, 300000) == 300000);
  TELL(copied(f, g, 300000));
  TELL(copied(f, h, 300000));
  TELL(copied(h, g, 300000));
  loff_t from = 1000, to = 500000;
  TELL(copy_file_range(f, &from, g, &to, 2000, 0));
  say("from %lld to %lld", (long long)from, (long long)to);
  lseek(f, 0, SEEK_SET);
  lseek(g, 0, SEEK_SET);
  TELL(copy_file_range(f, NULL, g, NULL, 100, 0));
  say("in at %lld, out at %lld", (long long)lseek(f, 0, SEEK_CUR), (long long)lseek(g, 0, SEEK_CUR));
  TELL(copy_file_range(f, NULL, g, NULL, 100, 1));
  TELL(copy_file_range(f, NULL, h, NULL, 100, 1));
  TELL(copy_file_range(f, NULL, d, NULL, 100, 0));
  TELL(copy_file_range(h, NULL, d, NULL, 100, 0));
  TELL(copy_file_range(h, NULL, ro, NULL, 100, 0));
  TELL(copy_file_range(h, NULL, append, NULL, 100, 0));
  TELL(copy_file_range(h, NULL, s[0], NULL, 100, 0));
  TELL(copy_file_range(s[0], NULL, f, NULL, 100, 0));
  TELL(copy_file_range(p[0], NULL, f, NULL, 100, 0));
  TELL(copy_file_range(f, NULL, p[1], NULL, 100, 0));
  TELL(copy_file_range(f, NULL, 999, NULL, 100, 0));
  CHECK(pread(g, b, 300000, 0) == 300000 && same(b, 300000, 0));
  CHECK(pread(h, b, 300000, 0) == 300000 && same(b, 300000, 0));
  close_all(2, s);
  close_all(2, p);
  int all[] = {f, g, h, d, ro, append};
  close_all(6, all);
  remove_in(dir, "f");
  remove_in(dir, "g");
  remove_in(beside, "h");
  free(b);
}

/* A FIFO is a pipe of the kernel that has its directory. */
static void fifos(void) {
  say("FIFOs");
  char path[4096];
  snprintf(path, sizeof path, "%s/fifo", dir);
  CHECK(mkfifo(path, 0600) == 0);
  int fifo = open_in(dir, "fifo", O_RDWR | O_NONBLOCK), f = open_in(dir, "f", O_RDWR | O_CREAT);
  int s[2], p[2];
  tcp_pair(s);
  new_pipe(p, 0);
  char b[100];
  fill(b, 100, 0);
  loff_t at = 0;
  TELL(fcntl(fifo, F_GETPIPE_SZ));
  TELL(fcntl(fifo, F_SETPIPE_SZ, 16384));
  TELL(fcntl(f, F_GETPIPE_SZ));
  TELL(fcntl(s[0], F_GETPIPE_SZ));
  TELL(splice(fifo, NULL, p[1], NULL, 100, 0));
  CHECK(write(p[1], b, 100) == 100);
  TELL(splice(p[0], NULL, fifo, NULL, 60, 0));
  TELL(splice(p[0], NULL, fifo, NULL, 60, 0));
  TELL(splice(fifo, NULL, p[1], NULL, 30, 0));
  expect(p[0], 30, 0);
  TELL(splice(fifo, NULL, s[0], NULL, 30, 0));
  expect(s[1], 30, 30);
  TELL(splice(fifo, NULL, f, &at, 30, 0));
  TELL(splice(f, NULL, fifo, NULL, 30, 0));
  TELL(sendfile(fifo, f, NULL, 30));
  TELL(splice(fifo, NULL, p[1], NULL, 100, 0));
  expect(p[0], 10, 90);
  expect(p[0], 30, 60);
  TELL(splice(fifo, &at, s[0], NULL, 30, 0));
  TELL(tee(fifo, fifo, 30, 0));
  close_all(2, s);
  close_all(2, p);
  close(fifo);
  close(f);
  remove_in(dir, "f");
  remove_in(dir, "fifo");
}

/* ---- flags of single transfers, and what else is done to a file ---- */

#ifndef RWF_APPEND
#define RWF_APPEND 0x10
#endif

static void flagged(void) {
  say("preadv2 and pwritev2");
  int s[2], f = open_in(dir, "f", O_RDWR | O_CREAT);
  tcp_pair(s);
  char b[16] = "0123456789";
  struct iovec v = {b, 4}, two[2] = {{b, 4}, {b + 4, 6}};
  TELL(preadv2(s[1], &v, 1, -1, RWF_NOWAIT));
  TELL(pwritev2(s[0], &v, 1, -1, RWF_NOWAIT));
  TELL(preadv2(s[1], &v, 1, -1, 0));
  TELL(preadv2(s[1], &v, 1, 0, 0));
  TELL(pwritev2(s[1], &v, 1, 0, 0));
  TELL(preadv2(s[1], &v, 1, -1, 1 << 30));
  TELL(pwritev2(f, two, 2, -1, RWF_DSYNC));
  TELL(pwritev2(f, &v, 1, 2, RWF_SYNC));
  TELL(pwritev2(f, &v, 1, 0, RWF_APPEND));
  TELL(lseek(f, 0, SEEK_CUR));
  TELL(pwritev2(f, &v, 1, -1, RWF_APPEND));
  TELL(lseek(f, 0, SEEK_CUR));
  TELL(lseek(f, 0, SEEK_END));
  TELL(preadv2(f, two, 2, 0, 0));
  TELL(preadv2(f, two, 2, 0, RWF_HIPRI));
  TELL(preadv2(f, two, 2, -2, 0));
  TELL(preadv2(f, two, 2, 0, 1 << 30));
  TELL(syscall(SYS_preadv2, f, two, 2000, 0, 0, 0));
  say("what else");
  TELL(readahead(f, 0, 4096));
  TELL(readahead(s[0], 0, 4096));
  TELL(sync_file_range(f, 0, 0, SYNC_FILE_RANGE_WRITE));
  TELL(sync_file_range(s[0], 0, 0, SYNC_FILE_RANGE_WRITE));
  TELL(sync_file_range(f, 0, 0, 99));
  TELL(syscall(SYS_fadvise64, f, 0, 0, POSIX_FADV_WILLNEED));
  TELL(syscall(SYS_fadvise64, s[0], 0, 0, POSIX_FADV_WILLNEED));
  TELL(fallocate(f, FALLOC_FL_KEEP_SIZE, 0, 1 << 16));
  TELL(fallocate(s[0], 0, 0, 4096));
  TELL(fallocate(f, 0, -1, 4096));
  TELL(fsync(f));
  TELL(fsync(s[0]));
  TELL(fdatasync(s[0]));
  TELL(syncfs(f));
  TELL(ftruncate(s[0], 0));
  TELL(flock(s[0], LOCK_SH));
  char big[8192] = {1};
  CHECK(pwrite(f, big, sizeof big, 0) == sizeof big && pread(f, big, sizeof big, 0) == sizeof big);
  uint64_t range[2] = {0, 0}, state[5] = {0};
  errno = 0;
  long r = syscall(451 /* cachestat */, f, range, state, 0);
  if (r < 0 && errno == ENOSYS)
    say("cachestat = 0, some pages: 1"); /* older than 6.5 */
  else
    say("cachestat = %ld, some pages: %d", r, state[0] > 0);
  close_all(2, s);
  close(f);
  remove_in(dir, "f");
}

/* ---- waits, and signals that end them ---- */

/* The first signal lets the process that is to end a wait begin: the order is certain. */
static volatile int alarms;
static int go[2];

static void count_alarm(int number) {
  (void)number;
  if (alarms++ == 0) (void)!write(go[1], "x", 1);
}

/* Signals from now on, again and again: the first may come before the call. */
static void on_alarm(int flags) {
  struct sigaction a = {.sa_handler = count_alarm, .sa_flags = flags};
  CHECK(sigaction(SIGALRM, &a, NULL) == 0);
  alarms = 0;
  struct itimerval t = {.it_value = {0, 150000}, .it_interval = {0, 150000}};
  CHECK(setitimer(ITIMER_REAL, &t, NULL) == 0);
}

static void quiet(void) {
  struct itimerval none = {0};
  CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
}

/* As TELL, for a call under on_alarm: what is printed must not be interrupted. */
#define TELL_QUIETLY(call)                                                                  \
  do {                                                                                      \
    errno = 0;                                                                              \
    long long told = (long long)(call);                                                     \
    int why = errno;                                                                        \
    quiet();                                                                                \
    say("%s = %lld %s, signals: %d", #call, told, told < 0 ? errno_name(why) : "", alarms > 0); \
  } while (0)

static void renew_go(void) {
  if (go[0]) close_all(2, go);
  new_pipe(go, 0);
}

/* Does something to fd from another process, a while after a byte of go. */
static pid_t later(int fd, int what) {
  renew_go();
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    char *b = malloc(PIPE);
    CHECK(read(go[0], b, 1) == 1);
    sleep_us(200000);
    fill(b, PIPE, 0);
    if (what == 'w') send_all(fd, b, 100);
    if (what == 'r') expect(fd, PIPE, 0);
    _exit(0);
  }
  return child;
}

static pid_t soon(int fd, int what) {
  pid_t child = later(fd, what);
  CHECK(write(go[1], "x", 1) == 1);
  return child;
}

static void ended(pid_t child) {
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void waits(void) {
  say("waits");
  int s[2], p[2];
  tcp_pair(s);
  new_pipe(p, 0);
  renew_go();
  char *b = malloc(PIPE);
  fill(b, PIPE, 0);
  int f = open_in(dir, "f", O_RDWR | O_CREAT);
  CHECK(write(f, b, 100) == 100);
  /* Nothing in the socket. SPLICE_F_NONBLOCK is about the pipe. */
  on_alarm(0);
  TELL_QUIETLY(splice(s[1], NULL, p[1], NULL, 100, SPLICE_F_NONBLOCK));
  pid_t child = later(s[0], 'w');
  on_alarm(SA_RESTART);
  TELL_QUIETLY(splice(s[1], NULL, p[1], NULL, 100, 0));
  ended(child);
  expect(p[0], 100, 0);
  /* Nothing in the pipe. */
  on_alarm(0);
  TELL_QUIETLY(splice(p[0], NULL, s[0], NULL, 100, 0));
  on_alarm(0);
  TELL_QUIETLY(splice(p[0], NULL, f, NULL, 100, 0));
  child = later(p[1], 'w');
  on_alarm(SA_RESTART);
  TELL_QUIETLY(splice(p[0], NULL, s[0], NULL, 100, 0));
  ended(child);
  expect(s[1], 100, 0);
  child = soon(p[1], 'w');
  TELL(splice(p[0], NULL, f, NULL, 100, 0));
  ended(child);
  /* The writer goes. */
  fflush(stdout);
  child = fork();
  if (child == 0) {
    sleep_us(200000);
    _exit(0);
  }
  close(p[1]);
  TELL(splice(p[0], NULL, s[0], NULL, 100, 0));
  ended(child);
  close(p[0]);
  /* No room in the pipe. */
  new_pipe(p, 0);
  CHECK(write(p[1], b, PIPE) == PIPE);
  send_all(s[0], b, 100);
  await_bytes(s[1], 100);
  on_alarm(0);
  TELL_QUIETLY(splice(s[1], NULL, p[1], NULL, 100, 0));
  off_t at = 0;
  on_alarm(0);
  TELL_QUIETLY(sendfile(p[1], f, &at, 100));
  child = later(p[0], 'r');
  on_alarm(SA_RESTART);
  TELL_QUIETLY(splice(s[1], NULL, p[1], NULL, 100, 0));
  ended(child);
  expect(p[0], 100, 0);
  CHECK(write(p[1], b, PIPE) == PIPE);
  child = soon(p[0], 'r');
  TELL(sendfile(p[1], f, &at, 100));
  ended(child);
  expect(p[0], 100, 0);
  /* The reader goes. */
  CHECK(write(p[1], b, PIPE) == PIPE);
  send_all(s[0], b, 100);
  signal(SIGPIPE, SIG_IGN);
  fflush(stdout);
  child = fork();
  if (child == 0) {
    sleep_us(200000);
    _exit(0);
  }
  close(p[0]);
  TELL(splice(s[1], NULL, p[1], NULL, 100, 0));
  ended(child);
  expect(s[1], 100, 0);
  close(p[1]);
  /* A socket of the host that nobody reads. */
  int u[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, u) == 0);
  CHECK(ftruncate(f, 1 << 20) == 0);
  on_alarm(0);
  at = 0;
  ssize_t r;
  while ((r = sendfile(u[0], f, &at, 1 << 20)) < 0) CHECK(errno == EINTR);
  CHECK(r > 0 && r < 1 << 20 && at == r);
  quiet();
  on_alarm(0);
  TELL_QUIETLY(sendfile(u[0], f, &at, 1 << 20));
  close_all(2, u);
  /* A process that waits can be killed. */
  new_pipe(p, 0);
  fflush(stdout);
  child = fork();
  if (child == 0) {
    splice(p[0], NULL, s[0], NULL, 100, 0);
    _exit(1);
  }
  sleep_us(200000);
  kill(child, SIGKILL);
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  say("killed by %d", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  /* And its pipe has no reader then. */
  close(p[0]);
  struct pollfd ready = {p[1], POLLOUT, 0};
  for (int i = 0; i < 100 && !(ready.revents & POLLERR); i++) {
    CHECK(poll(&ready, 1, 10) >= 0);
    sleep_us(10000);
  }
  say("nobody reads: %d", (ready.revents & POLLERR) != 0);
  close(p[1]);
  close_all(2, s);
  close(f);
  remove_in(dir, "f");
  free(b);
}

/* Two processes splice out of one pipe, and two into one: no byte is lost, none comes twice. */
static void together(void) {
  enum { EACH = 1 << 20 };
  int p[2], s[2][2];
  new_pipe(p, 0);
  tcp_pair(s[0]);
  tcp_pair(s[1]);
  fflush(stdout);
  pid_t children[5];
  for (int i = 0; i < 2; i++) { /* into: from a socket of its own */
    if ((children[i] = fork()) == 0) {
      close(p[0]);
      for (long in = 0; in < EACH;) {
        ssize_t r = splice(s[i][1], NULL, p[1], NULL, EACH - in, 0);
        CHECK(r > 0);
        in += r;
      }
      _exit(0);
    }
  }
  int out[2][2];
  for (int i = 0; i < 2; i++) tcp_pair(out[i]);
  for (int i = 0; i < 2; i++) {
    if ((children[2 + i] = fork()) == 0) {
      close(p[1]);
      ssize_t r;
      while ((r = splice(p[0], NULL, out[i][0], NULL, 10000, 0)) > 0) continue;
      CHECK(r == 0);
      shutdown(out[i][0], SHUT_WR);
      _exit(0);
    }
  }
  if ((children[4] = fork()) == 0) {
    char *b = malloc(EACH);
    for (int i = 0; i < 2; i++) {
      memset(b, 'a' + i, EACH);
      send_all(s[i][0], b, EACH);
    }
    _exit(0);
  }
  close_all(2, p);
  long count[2] = {0}, open_ends = 2;
  char *b = malloc(PIPE);
  struct pollfd ready[2] = {{out[0][1], POLLIN, 0}, {out[1][1], POLLIN, 0}};
  while (open_ends > 0) {
    CHECK(poll(ready, 2, 20000) > 0);
    for (int i = 0; i < 2; i++) {
      if (ready[i].fd < 0 || !ready[i].revents) continue;
      ssize_t r = read(ready[i].fd, b, PIPE);
      CHECK(r >= 0);
      if (r == 0) {
        ready[i].fd = -1;
        open_ends--;
      }
      for (ssize_t k = 0; k < r; k++) count[b[k] - 'a']++;
    }
  }
  for (int i = 0; i < 5; i++) ended(children[i]);
  say("together: %ld and %ld", count[0], count[1]);
  for (int i = 0; i < 2; i++) {
    close_all(2, s[i]);
    close_all(2, out[i]);
  }
  free(b);
}

int main(int argc, char **argv) {
  CHECK(argc == 3);
  dir = argv[1];
  beside = argv[2];
  umask(022);
  signal(SIGPIPE, SIG_IGN);
  mistakes();
  from_socket();
  to_socket();
  datagrams();
  proxy(0);
  proxy(1);
  files(dir);
  files(beside);
  send_files();
  ranges();
  fifos();
  flagged();
  waits();
  together();
  return 0;
}

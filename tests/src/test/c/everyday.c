// SPDX-License-Identifier: MIT
// What a program does with sockets every day, linked with nothing shared. Each step prints one
// line; a step that goes wrong ends the program with 1.
#include "check.h"

#include <linux/futex.h>
#include <sched.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

extern char **environ;

static void lowest_number(void) {
  int saved = dup(0);
  CHECK(saved > 2);
  close(0);
  int s = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(s == 0);
  int u = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  CHECK(u == saved + 1);
  CHECK(fcntl(u, F_GETFD) == FD_CLOEXEC);
  CHECK(fcntl(s, F_GETFD) == 0);
  int high = fcntl(s, F_DUPFD_CLOEXEC, 100);
  CHECK(high == 100 && fcntl(high, F_GETFD) == FD_CLOEXEC);
  close(high);
  close(u);
  CHECK(dup2(saved, 0) == 0);
  CHECK(dup2(saved, saved) == saved);
  close(saved);
  CHECK(socket(AF_INET, SOCK_STREAM, 0) == saved);
  close(saved);
  say("the lowest free number is used, 0 too");
}

static void stream(void) {
  struct sockaddr_in a, peer;
  int l = listening(5, &a);
  int c = connected(&a);
  socklen_t length = sizeof peer;
  int s = accept4(l, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC);
  CHECK(s >= 0 && length == sizeof peer && fcntl(s, F_GETFD) == FD_CLOEXEC);
  struct sockaddr_in own;
  length = sizeof own;
  CHECK(getsockname(c, (struct sockaddr *)&own, &length) == 0);
  CHECK(own.sin_port == peer.sin_port && own.sin_addr.s_addr == peer.sin_addr.s_addr);
  length = sizeof own;
  CHECK(getpeername(c, (struct sockaddr *)&own, &length) == 0 && own.sin_port == a.sin_port);

  CHECK(send(c, "hello, world", 12, 0) == 12);
  char buffer[64] = {0};
  CHECK(recv(s, buffer, 5, MSG_WAITALL) == 5 && !memcmp(buffer, "hello", 5));
  CHECK(recv(s, buffer, 64, MSG_PEEK) == 7);
  int waiting = -1;
  CHECK(ioctl(s, FIONREAD, &waiting) == 0 && waiting == 7);
  CHECK(read(s, buffer, 64) == 7 && !memcmp(buffer, ", world", 7));
  CHECK(recv(s, buffer, 64, MSG_DONTWAIT) == -1 && errno == EAGAIN);

  struct iovec out[3] = {{"one", 3}, {"", 0}, {"two", 3}};
  CHECK(writev(s, out, 3) == 6);
  char x[4] = {0}, y[8] = {0};
  struct iovec in[2] = {{x, 4}, {y, 8}};
  CHECK(readv(c, in, 2) == 6 && !memcmp(x, "onet", 4) && !memcmp(y, "wo", 2));

  struct msghdr m = {.msg_iov = out, .msg_iovlen = 3};
  CHECK(sendmsg(c, &m, 0) == 6);
  m = (struct msghdr){.msg_iov = in, .msg_iovlen = 2};
  CHECK(recvmsg(s, &m, 0) == 6 && m.msg_flags == 0);

  CHECK(send(c, "!", 1, MSG_OOB) == 1);
  struct pollfd urgent = {.fd = s, .events = POLLPRI};
  CHECK(poll(&urgent, 1, 1000) == 1 && (urgent.revents & POLLPRI));
  CHECK(recv(s, buffer, 1, MSG_OOB) == 1 && buffer[0] == '!');

  CHECK(shutdown(c, SHUT_WR) == 0);
  CHECK(read(s, buffer, 64) == 0);
  CHECK(write(s, "still", 5) == 5 && read(c, buffer, 64) == 5);
  close(s);
  CHECK(read(c, buffer, 64) == 0);
  close(c);
  close(l);

  int ends[2];
  tcp_pair(ends);
  close(ends[1]);
  signal(SIGPIPE, SIG_IGN);
  sleep_us(20000);
  (void)!write(ends[0], "x", 1);
  sleep_us(20000);
  CHECK(write(ends[0], "x", 1) == -1 && errno == EPIPE);
  signal(SIGPIPE, SIG_DFL);
  close(ends[0]);
  say("streams: names, peeks, vectors, messages, urgent data, half and full ends");
}

static void options(void) {
  int s = socket(AF_INET, SOCK_STREAM, 0);
  int value;
  socklen_t length = sizeof value;
  CHECK(getsockopt(s, SOL_SOCKET, SO_TYPE, &value, &length) == 0 && value == SOCK_STREAM);
  CHECK(getsockopt(s, SOL_SOCKET, SO_DOMAIN, &value, &length) == 0 && value == AF_INET);
  CHECK(getsockopt(s, SOL_SOCKET, SO_PROTOCOL, &value, &length) == 0 && value == IPPROTO_TCP);
  CHECK(getsockopt(s, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0 && value == 0);
  value = 1;
  CHECK(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value) == 0);
  value = 0;
  CHECK(getsockopt(s, IPPROTO_TCP, TCP_NODELAY, &value, &length) == 0 && value == 1);
  struct timeval timeout = {0, 30000}, got = {0, 0};
  CHECK(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0);
  length = sizeof got;
  CHECK(getsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &got, &length) == 0 && length == sizeof got);
  CHECK(got.tv_sec == 0 && got.tv_usec > 0);
  char name[16] = {0};
  length = sizeof name;
  CHECK(getsockopt(s, IPPROTO_TCP, TCP_CONGESTION, name, &length) == 0 && name[0]);
  CHECK(getsockopt(s, SOL_SOCKET, 9999, &value, &length) == -1 && errno == ENOPROTOOPT);
  CHECK(getsockopt(1, SOL_SOCKET, SO_TYPE, &value, &length) == -1);
  struct stat st;
  CHECK(fstat(s, &st) == 0 && S_ISSOCK(st.st_mode));
  CHECK(lseek(s, 0, SEEK_CUR) == -1 && errno == ESPIPE);
  close(s);
  CHECK(getsockopt(s, SOL_SOCKET, SO_TYPE, &value, &length) == -1 && errno == EBADF);
  say("options of the socket, of TCP, and of neither");
}

static void nonblocking(void) {
  struct sockaddr_in a;
  int l = listening(5, &a);
  int c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  CHECK(fcntl(c, F_GETFL) == (O_RDWR | O_NONBLOCK));
  CHECK(connect(c, (struct sockaddr *)&a, sizeof a) == 0 || errno == EINPROGRESS);
  struct pollfd p = {.fd = c, .events = POLLOUT};
  CHECK(poll(&p, 1, 1000) == 1 && p.revents == POLLOUT);
  int error = -1;
  socklen_t length = sizeof error;
  CHECK(getsockopt(c, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0);
  p = (struct pollfd){.fd = l, .events = POLLIN};
  CHECK(poll(&p, 1, 1000) == 1 && p.revents == POLLIN);
  close(c);
  close(l);

  c = socket(AF_INET, SOCK_STREAM, 0);
  int on = 1;
  CHECK(ioctl(c, FIONBIO, &on) == 0 && (fcntl(c, F_GETFL) & O_NONBLOCK));
  int result = connect(c, (struct sockaddr *)&a, sizeof a);
  CHECK(result == -1 && (errno == EINPROGRESS || errno == ECONNREFUSED));
  if (errno == EINPROGRESS) {
    p = (struct pollfd){.fd = c, .events = POLLOUT};
    CHECK(poll(&p, 1, 1000) == 1 && (p.revents & (POLLERR | POLLHUP)));
    length = sizeof error;
    CHECK(getsockopt(c, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == ECONNREFUSED);
  }
  close(c);

  int ends[2];
  tcp_pair(ends);
  char block[4096] = {0};
  CHECK(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
  long sent = 0;
  ssize_t n;
  p = (struct pollfd){.fd = ends[0], .events = POLLOUT};
  // What was full may have been the way, which empties itself; the buffers do not.
  do {
    while ((n = send(ends[0], block, sizeof block, 0)) > 0) sent += n;
    CHECK(n == -1 && errno == EAGAIN);
  } while (poll(&p, 1, 50) == 1);
  long received = 0;
  CHECK(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
  while (received < sent) {
    struct pollfd r = {.fd = ends[1], .events = POLLIN};
    CHECK(poll(&r, 1, 5000) == 1);
    while ((n = recv(ends[1], block, sizeof block, 0)) > 0) received += n;
    CHECK(n == -1 && errno == EAGAIN);
  }
  CHECK(received == sent && poll(&p, 1, 1000) == 1 && p.revents == POLLOUT);
  close(ends[0]);
  close(ends[1]);
  say("non-blocking connect, refusal, full and drained buffers");
}

static void datagrams(void) {
  struct sockaddr_in a, b, from;
  int s = bound(SOCK_DGRAM, &a), c = bound(SOCK_DGRAM, &b);
  CHECK(sendto(c, "datagram", 8, 0, (struct sockaddr *)&a, sizeof a) == 8);
  char buffer[16];
  socklen_t length = sizeof from;
  CHECK(recvfrom(s, buffer, 4, MSG_TRUNC, (struct sockaddr *)&from, &length) == 8);
  CHECK(length == sizeof from && from.sin_port == b.sin_port);
  CHECK(sendto(c, "", 0, 0, (struct sockaddr *)&a, sizeof a) == 0);
  CHECK(recv(s, buffer, sizeof buffer, 0) == 0);
  int on = 1;
  CHECK(setsockopt(s, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0);
  CHECK(connect(c, (struct sockaddr *)&a, sizeof a) == 0 && write(c, "pktinfo", 7) == 7);
  struct iovec in = {buffer, sizeof buffer};
  char control[128];
  struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &in,
                     .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  CHECK(recvmsg(s, &m, 0) == 7 && m.msg_namelen == sizeof from);
  struct cmsghdr *h = CMSG_FIRSTHDR(&m);
  CHECK(h && h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO);
  CHECK(((struct in_pktinfo *)CMSG_DATA(h))->ipi_addr.s_addr == htonl(INADDR_LOOPBACK));
  CHECK(CMSG_NXTHDR(&m, h) == NULL);

  struct mmsghdr many[3];
  struct iovec parts[3] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
  memset(many, 0, sizeof many);
  for (int i = 0; i < 3; i++) many[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  CHECK(sendmmsg(c, many, 3, 0) == 3 && many[2].msg_len == 3);
  char into[3][8];
  memset(many, 0, sizeof many);
  for (int i = 0; i < 3; i++) {
    parts[i] = (struct iovec){into[i], 8};
    many[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  CHECK(recvmmsg(s, many, 3, MSG_WAITFORONE, NULL) == 3);
  CHECK(many[0].msg_len == 1 && many[1].msg_len == 2 && many[2].msg_len == 3);
  CHECK(!memcmp(into[2], "ccc", 3));
  close(s);
  sleep_us(10000);
  CHECK(write(c, "x", 1) == 1);
  sleep_us(20000);
  CHECK(write(c, "x", 1) == -1 && errno == ECONNREFUSED);
  close(c);

  int six = socket(AF_INET6, SOCK_DGRAM, 0);
  CHECK(six >= 0);
  struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  CHECK(bind(six, (struct sockaddr *)&own, sizeof own) == 0);
  length = sizeof own;
  CHECK(getsockname(six, (struct sockaddr *)&own, &length) == 0 && length == sizeof own);
  CHECK(sendto(six, "six", 3, 0, (struct sockaddr *)&own, sizeof own) == 3);
  CHECK(recv(six, buffer, sizeof buffer, 0) == 3);
  close(six);
  say("datagrams: truncated, empty, with control messages, many at once, refused, IPv6");
}

static void forks(void) {
  struct sockaddr_in a;
  int l = listening(5, &a);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    close(l);
    int c = connected(&a);
    CHECK(write(c, "child", 5) == 5);
    _exit(close(c) == 0 ? 7 : 8);
  }
  int s = accept(l, NULL, NULL);
  CHECK(s >= 0);
  char buffer[16];
  CHECK(recv(s, buffer, sizeof buffer, MSG_WAITALL) == 5);
  int status;
  CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7);
  close(s);

  // The end of the stream comes with the last close of the open file, whichever process does it.
  int c = connected(&a);
  s = accept(l, NULL, NULL);
  int go[2];
  CHECK(pipe(go) == 0);
  child = fork();
  if (child == 0) {
    CHECK(read(go[0], buffer, 1) == 1);
    CHECK(write(c, "late", 4) == 4);
    _exit(0);
  }
  close(c);
  struct pollfd p = {.fd = s, .events = POLLIN};
  CHECK(poll(&p, 1, 50) == 0);
  CHECK(write(go[1], "g", 1) == 1);
  CHECK(recv(s, buffer, sizeof buffer, MSG_WAITALL) == 4);
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(poll(&p, 1, 1000) == 1 && read(s, buffer, 1) == 0);
  close(s);
  close(go[0]);
  close(go[1]);

  // A child that is killed closes too.
  c = connected(&a);
  s = accept(l, NULL, NULL);
  child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  close(c);
  CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
  CHECK(read(s, buffer, 1) == 0);
  close(s);
  close(l);
  // A port is free again when close has returned.
  int again = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind(again, (struct sockaddr *)&a, sizeof a) == 0 || errno == EADDRINUSE);
  close(again);
  say("fork: inherited, shared, closed last, killed");
}

static void rebind(void) {
  struct sockaddr_in a;
  int s = listening(1, &a);
  for (int i = 0; i < 50; i++) {
    close(s);
    s = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(s, (struct sockaddr *)&a, sizeof a) == 0);
    CHECK(listen(s, 1) == 0);
  }
  close(s);
  say("close, then bind of the same port, 50 times");
}

static void exec_child(void) {
  int ends[2];
  tcp_pair(ends);
  CHECK(fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0);
  char keep[16], gone[16], buffer[16];
  snprintf(keep, sizeof keep, "%d", ends[1]);
  snprintf(gone, sizeof gone, "%d", ends[0]);
  for (int i = 0; i < 3; i++) {
    pid_t child;
    char *arguments[] = {"everyday", "exec", keep, gone, NULL};
    if (i == 0) {
      child = fork();
      if (child == 0) {
        execv("/proc/self/exe", arguments);
        _exit(99);
      }
    } else if (i == 1) {
      child = vfork();
      if (child == 0) {
        execv("/proc/self/exe", arguments);
        _exit(99);
      }
    } else {
      CHECK(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ) == 0);
    }
    CHECK(child > 0);
    CHECK(recv(ends[0], buffer, 4, MSG_WAITALL) == 4 && !memcmp(buffer, "exec", 4));
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
  }
  close(ends[0]);
  close(ends[1]);
  say("exec after fork, vfork and posix_spawn: descriptors kept and closed");
}

static int after_exec(int keep, int gone) {
  CHECK(fcntl(gone, F_GETFD) == -1 && errno == EBADF);
  CHECK(send(gone, "x", 1, 0) == -1 && errno == EBADF);
  CHECK(write(keep, "exec", 4) == 4);
  return 0;
}

/* A thread made of nothing but clone(2): no libc state of its own, so only raw calls. */
static long raw(long nr, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

struct raw_thread {
  int fd;
  int done; /* cleared by the kernel at the thread's end */
  long result;
  char buffer[16];
  char stack[16384] __attribute__((aligned(16)));
};

static int raw_main(void *argument) {
  struct raw_thread *t = argument;
  t->result = raw(SYS_recvfrom, t->fd, (long)t->buffer, sizeof t->buffer, 0, 0, 0);
  if (t->result > 0) t->result = raw(SYS_sendto, t->fd, (long)t->buffer, t->result, 0, 0, 0);
  raw(SYS_exit, 0, 0, 0, 0, 0, 0);
  return 0;
}

static void raw_threads(void) {
  enum { COUNT = 8 };
  static struct raw_thread threads[COUNT];
  int ends[COUNT][2];
  for (int i = 0; i < COUNT; i++) {
    tcp_pair(ends[i]);
    threads[i].fd = ends[i][1];
    threads[i].done = 1;
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                CLONE_CHILD_CLEARTID;
    CHECK(clone(raw_main, threads[i].stack + sizeof threads[i].stack, flags, &threads[i], NULL,
                NULL, &threads[i].done) > 0);
  }
  sleep_us(20000);
  for (int i = COUNT - 1; i >= 0; i--) {
    char buffer[4];
    CHECK(write(ends[i][0], "ping", 4) == 4);
    CHECK(recv(ends[i][0], buffer, 4, MSG_WAITALL) == 4 && !memcmp(buffer, "ping", 4));
  }
  for (int i = 0; i < COUNT; i++) {
    int value;
    while ((value = __atomic_load_n(&threads[i].done, __ATOMIC_ACQUIRE)) != 0)
      syscall(SYS_futex, &threads[i].done, FUTEX_WAIT, value, NULL, NULL, 0);
    CHECK(threads[i].result == 4);
    close(ends[i][0]);
    close(ends[i][1]);
  }
  say("threads of raw clone block and answer");
}

static void selects(void) {
  int ends[2], quiet[2], turn[2];
  tcp_pair(ends);
  CHECK(pipe(quiet) == 0 && pipe(turn) == 0);
  fd_set in, out;
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_SET(ends[0], &in);
  FD_SET(quiet[0], &in);
  FD_SET(ends[0], &out);
  int highest = 64; // above all of them
  struct timeval t = {5, 0};
  CHECK(select(highest, &in, &out, NULL, &t) == 1);
  CHECK(FD_ISSET(ends[0], &out) && !FD_ISSET(ends[0], &in) && t.tv_sec == 4);
  FD_ZERO(&in);
  FD_SET(ends[0], &in);
  FD_SET(quiet[0], &in);
  t = (struct timeval){0, 30000};
  int64_t start = now_us();
  CHECK(select(highest, &in, NULL, NULL, &t) == 0 && now_us() - start >= 30000);
  CHECK(!FD_ISSET(ends[0], &in) && t.tv_sec == 0 && t.tv_usec == 0);
  pid_t child = fork();
  if (child == 0) {
    sleep_us(30000);
    CHECK(write(ends[1], "x", 1) == 1);
    // Else both may be there by the time that the other process is on a processor.
    char b;
    CHECK(read(turn[0], &b, 1) == 1);
    sleep_us(30000);
    CHECK(write(quiet[1], "y", 1) == 1);
    _exit(0);
  }
  FD_SET(ends[0], &in);
  FD_SET(quiet[0], &in);
  CHECK(select(highest, &in, NULL, NULL, NULL) == 1);
  CHECK(FD_ISSET(ends[0], &in) && !FD_ISSET(quiet[0], &in));
  char c;
  CHECK(read(ends[0], &c, 1) == 1 && c == 'x' && write(turn[1], &c, 1) == 1);
  FD_SET(ends[0], &in);
  FD_SET(quiet[0], &in);
  CHECK(select(highest, &in, NULL, NULL, NULL) == 1);
  CHECK(!FD_ISSET(ends[0], &in) && FD_ISSET(quiet[0], &in));
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  FD_ZERO(&in);
  FD_SET(60, &in);
  CHECK(select(61, &in, NULL, NULL, NULL) == -1 && errno == EBADF);
  close(ends[0]);
  close(ends[1]);
  close(quiet[0]);
  close(quiet[1]);
  close(turn[0]);
  close(turn[1]);
  say("select on sockets and pipes: ready, in time, bad");
}

static void standard_streams(void) {
  int ends[2];
  tcp_pair(ends);
  int saved = dup(0);
  CHECK(dup2(ends[1], 0) == 0);
  close(ends[1]);
  CHECK(write(ends[0], "stdin", 5) == 5);
  char buffer[8];
  CHECK(read(0, buffer, 5) == 5 && !memcmp(buffer, "stdin", 5));
  CHECK(write(0, "up", 2) == 2 && read(ends[0], buffer, 2) == 2);
  CHECK(dup2(saved, 0) == 0); // and so the last close of the socket
  CHECK(read(ends[0], buffer, 1) == 0);
  int null = open("/dev/null", O_RDWR);
  CHECK(dup3(null, ends[0], O_CLOEXEC) == ends[0]); // a host file where a socket was
  CHECK(write(ends[0], "nowhere", 7) == 7 && read(ends[0], buffer, 1) == 0);
  close(null);
  close(saved);
  close(ends[0]);
  say("dup2 onto 0, and a file onto a socket's number");
}

static void passed(void) {
  int ends[2], pair[2];
  tcp_pair(ends);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    close(ends[1]);
    char data, control[CMSG_SPACE(sizeof(int))];
    struct iovec in = {&data, 1};
    struct msghdr m = {.msg_iov = &in, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = sizeof control};
    CHECK(recvmsg(pair[1], &m, MSG_CMSG_CLOEXEC) == 1);
    int fd;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    CHECK(write(fd, "passed", 6) == 6);
    _exit(0);
  }
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec out = {"f", 1};
  struct msghdr m = {.msg_iov = &out, .msg_iovlen = 1, .msg_control = control,
                     .msg_controllen = sizeof control};
  struct cmsghdr *h = CMSG_FIRSTHDR(&m);
  h->cmsg_level = SOL_SOCKET;
  h->cmsg_type = SCM_RIGHTS;
  h->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(h), &ends[1], sizeof(int));
  CHECK(sendmsg(pair[0], &m, 0) == 1);
  close(ends[1]); // only the message in flight, then the child, holds it
  char buffer[8];
  CHECK(recv(ends[0], buffer, 6, MSG_WAITALL) == 6 && !memcmp(buffer, "passed", 6));
  CHECK(read(ends[0], buffer, 1) == 0);
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  close(ends[0]);
  close(pair[0]);
  close(pair[1]);
  say("a socket passed over a Unix socket, closed while in flight");
}

static void epolls(void) {
  int ends[2], other = eventfd(0, EFD_NONBLOCK), e = epoll_create1(EPOLL_CLOEXEC);
  tcp_pair(ends);
  struct epoll_event v = {.events = EPOLLIN | EPOLLET, .data.u64 = 1};
  CHECK(epoll_ctl(e, EPOLL_CTL_ADD, ends[0], &v) == 0);
  CHECK(epoll_ctl(e, EPOLL_CTL_ADD, ends[0], &v) == -1 && errno == EEXIST);
  v = (struct epoll_event){.events = EPOLLIN, .data.u64 = 2};
  CHECK(epoll_ctl(e, EPOLL_CTL_ADD, other, &v) == 0);
  struct epoll_event got[4];
  CHECK(epoll_wait(e, got, 4, 20) == 0);
  CHECK(write(ends[1], "ab", 2) == 2);
  CHECK(epoll_wait(e, got, 4, 1000) == 1 && got[0].data.u64 == 1 && got[0].events == EPOLLIN);
  CHECK(epoll_wait(e, got, 4, 20) == 0); // edge: not again
  CHECK(write(ends[1], "c", 1) == 1);
  CHECK(epoll_wait(e, got, 4, 1000) == 1 && got[0].data.u64 == 1); // a new edge, nothing read
  CHECK(eventfd_write(other, 1) == 0);
  CHECK(epoll_wait(e, got, 4, 1000) == 1 && got[0].data.u64 == 2);
  char buffer[8];
  CHECK(read(ends[0], buffer, 8) == 3);
  v = (struct epoll_event){.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 3};
  CHECK(epoll_ctl(e, EPOLL_CTL_MOD, ends[0], &v) == 0);
  CHECK(epoll_ctl(e, EPOLL_CTL_DEL, other, NULL) == 0);
  CHECK(write(ends[1], "d", 1) == 1);
  CHECK(epoll_wait(e, got, 4, 1000) == 1 && got[0].data.u64 == 3);
  CHECK(epoll_wait(e, got, 4, 20) == 0);
  CHECK(epoll_ctl(e, EPOLL_CTL_MOD, ends[0], &v) == 0);
  CHECK(epoll_wait(e, got, 4, 1000) == 1);
  v = (struct epoll_event){.events = EPOLLIN | EPOLLRDHUP, .data.u64 = 4};
  CHECK(epoll_ctl(e, EPOLL_CTL_MOD, ends[0], &v) == 0);
  CHECK(read(ends[0], buffer, 8) == 1);
  CHECK(epoll_wait(e, got, 4, 20) == 0);
  CHECK(shutdown(ends[1], SHUT_WR) == 0);
  CHECK(epoll_wait(e, got, 4, 1000) == 1 && got[0].events == (EPOLLIN | EPOLLRDHUP));
  int outer = epoll_create1(0);
  v = (struct epoll_event){.events = EPOLLIN, .data.u64 = 5};
  CHECK(epoll_ctl(outer, EPOLL_CTL_ADD, e, &v) == 0);
  CHECK(epoll_wait(outer, got, 4, 1000) == 1 && got[0].data.u64 == 5);
  close(ends[0]); // leaves the epoll with its last close
  CHECK(epoll_wait(outer, got, 4, 50) == 0);
  close(outer);
  close(ends[1]);
  close(e);
  close(other);
  say("epoll: level, edge, one shot, mixed, nested, gone with the close");
}

static void sent_files(void) {
  char path[] = "sendfile-XXXXXX";
  int file = mkstemp(path);
  CHECK(file >= 0 && unlink(path) == 0);
  enum { BYTES = 300000 };
  char *content = malloc(BYTES), *copy = malloc(BYTES);
  for (int i = 0; i < BYTES; i++) content[i] = (char)(i * 7 + i / 1000);
  CHECK(write(file, content, BYTES) == BYTES);
  int ends[2];
  tcp_pair(ends);
  pid_t child = fork();
  if (child == 0) {
    off_t offset = 1000;
    while (offset < BYTES) CHECK(sendfile(ends[0], file, &offset, BYTES - offset) > 0);
    CHECK(offset == BYTES && lseek(file, 0, SEEK_CUR) == BYTES);
    CHECK(lseek(file, 0, SEEK_SET) == 0);
    CHECK(sendfile(ends[0], file, NULL, 1000) == 1000 && lseek(file, 0, SEEK_CUR) == 1000);
    _exit(0);
  }
  CHECK(recv(ends[1], copy, BYTES - 1000, MSG_WAITALL) == BYTES - 1000);
  CHECK(!memcmp(copy, content + 1000, BYTES - 1000));
  CHECK(recv(ends[1], copy, 1000, MSG_WAITALL) == 1000 && !memcmp(copy, content, 1000));
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  close(ends[0]);
  close(ends[1]);
  close(file);
  free(content);
  free(copy);
  say("sendfile with and without an offset");
}

static const struct {
  const char *name;
  void (*run)(void);
} STEPS[] = {
    {"lowest-number", lowest_number},
    {"stream", stream},
    {"options", options},
    {"nonblocking", nonblocking},
    {"datagrams", datagrams},
    {"forks", forks},
    {"rebind", rebind},
    {"exec", exec_child},
    {"raw-threads", raw_threads},
    {"selects", selects},
    {"standard-streams", standard_streams},
    {"passed", passed},
    {"epolls", epolls},
    {"sent-files", sent_files},
};

/* everyday: every step, each in a process of its own; everyday STEP: this one. */
int main(int argc, char **argv) {
  if (argc == 4 && !strcmp(argv[1], "exec")) return after_exec(atoi(argv[2]), atoi(argv[3]));
  int failures = 0;
  for (size_t i = 0; i < sizeof STEPS / sizeof STEPS[0]; i++) {
    if (argc == 2) {
      if (!strcmp(argv[1], STEPS[i].name)) {
        STEPS[i].run();
        return 0;
      }
      continue;
    }
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      alarm(20); // a step that hangs must not hide the others
      STEPS[i].run();
      exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    if (status != 0) {
      failures++;
      fprintf(stderr, "step %s ended with status %#x\n", STEPS[i].name, status);
    }
  }
  return argc == 2 || failures;
}

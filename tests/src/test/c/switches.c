// SPDX-License-Identifier: MIT
/*
 * A little of each kind of call that may be spared a trap or a wait: files of the host by name and
 * number, handlers, looks and questions at sockets, sets, files that are sent, and small messages to
 * and from a peer that sends them back, echo_peer.py. SwitchesTest counts what becomes of them.
 *
 *   switches HOST PORT
 */
#include "check.h"

#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

enum { FILES = 600, HANDLERS = 150, LOOKS = 150, ROUNDS = 80, CONNECTIONS = 6, PIECES = 3, BYTES = 16 };

static const char text[BYTES] = "fifteen letters";

static void files(void) {
  char directory[] = "switches-XXXXXX", name[64], got[BYTES];
  CHECK(mkdtemp(directory));
  long bytes = 0;
  for (int i = 0; i < FILES; i++) {
    snprintf(name, sizeof name, "%s/%d", directory, i);
    int fd = open(name, O_RDWR | O_CREAT, 0600);
    struct stat s;
    CHECK(fd >= 0 && write(fd, text, BYTES) == BYTES && close(fd) == 0);
    CHECK((fd = open(name, O_RDONLY)) >= 0);
    CHECK(read(fd, got, BYTES) == BYTES && memcmp(got, text, BYTES) == 0 && close(fd) == 0);
    CHECK(stat(name, &s) == 0 && unlink(name) == 0);
    bytes += s.st_size;
  }
  CHECK(rmdir(directory) == 0);
  say("files: %ld bytes", bytes);
}

static volatile int handled;

static void one_handled(int signal) { handled += signal == SIGUSR1; }

static void two_handled(int signal) { handled += 2 * (signal == SIGUSR1); }

static void handlers(void) {
  for (int i = 0; i < HANDLERS; i++) {
    struct sigaction a = {.sa_handler = i % 2 ? one_handled : two_handled, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGUSR1, &a, 0) == 0 && raise(SIGUSR1) == 0);
  }
  say("handlers: %d", handled);
}

static void sockets(void) {
  char path[] = "sent-XXXXXX", got[BYTES];
  int ends[2], set = epoll_create1(0), file = mkstemp(path);
  tcp_pair(ends);
  CHECK(set >= 0 && file >= 0 && write(file, text, BYTES) == BYTES && unlink(path) == 0);
  struct epoll_event e = {.events = EPOLLIN};
  CHECK(epoll_ctl(set, EPOLL_CTL_ADD, ends[1], &e) == 0);
  long asked = 0, found = 0;
  for (int i = 0; i < LOOKS; i++) {
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    int type, there;
    CHECK(getsockname(ends[0], (struct sockaddr *)&name, &length) == 0);
    asked += length == sizeof name;
    length = sizeof type;
    CHECK(getsockopt(ends[0], SOL_SOCKET, SO_TYPE, &type, &length) == 0);
    asked += type == SOCK_STREAM;
    off_t from = 0;
    CHECK(sendfile(ends[0], file, &from, BYTES) == BYTES && from == BYTES);
    struct pollfd p = {.fd = ends[1], .events = POLLIN};
    CHECK(poll(&p, 1, 5000) == 1);
    found += p.revents == POLLIN;
    fd_set in;
    FD_ZERO(&in);
    FD_SET(ends[1], &in);
    struct timeval limit = {5, 0};
    CHECK(select(ends[1] + 1, &in, 0, 0, &limit) == 1);
    found += FD_ISSET(ends[1], &in) != 0;
    CHECK(epoll_ctl(set, EPOLL_CTL_MOD, ends[1], &e) == 0);
    CHECK(epoll_wait(set, &e, 1, 5000) == 1);
    found += e.events == EPOLLIN;
    CHECK(ioctl(ends[1], FIONREAD, &there) == 0);
    asked += there == BYTES;
    CHECK(recv(ends[1], got, BYTES, MSG_WAITALL) == BYTES && memcmp(got, text, BYTES) == 0);
  }
  say("sockets: %ld answers, %ld looks", asked, found);
}

static void messages(const char *host, const char *port) {
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  CHECK(inet_pton(AF_INET, host, &peer.sin_addr) == 1);
  int fds[CONNECTIONS], on = 1;
  long came = 0;
  for (int i = 0; i < CONNECTIONS; i++) {
    fds[i] = connected(&peer);
    CHECK(setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
  }
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < CONNECTIONS; i++)
      for (int k = 0; k < PIECES; k++) {
        CHECK(send(fds[i], text, BYTES, 0) == BYTES);
        CHECK(setsockopt(fds[i], IPPROTO_TCP, TCP_CORK, &(int){k + 1 < PIECES}, sizeof on) == 0);
      }
    // What comes back is there when it is asked for, of all but the first connections.
    for (int i = 0; i < CONNECTIONS; i++) {
      sleep_us(500);
      for (int left = PIECES * BYTES; left > 0;) {
        char got[PIECES * BYTES];
        ssize_t n = recv(fds[i], got, left, 0);
        CHECK(n > 0);
        for (ssize_t at = 0; at < n; at++)
          CHECK(got[at] == text[(PIECES * BYTES - left + at) % BYTES]);
        left -= n;
        came += n;
      }
    }
  }
  for (int i = 0; i < CONNECTIONS; i++) CHECK(close(fds[i]) == 0);
  say("messages: %ld bytes came back", came);
}

int main(int argc, char **argv) {
  CHECK(argc == 3);
  files();
  handlers();
  sockets();
  messages(argv[1], argv[2]);
  return 0;
}

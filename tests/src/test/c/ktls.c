// SPDX-License-Identifier: MIT
// Kernel TLS 1.2 on both ends of one connection: records that the kernel seals and opens, from
// memory and from a file, with a record type of its own. The bytes on the wire are not the bytes
// sent: a third end without keys sees them.
#include "check.h"

#include <linux/tls.h>
#include <sys/sendfile.h>

#ifndef TCP_ULP
#define TCP_ULP 31
#endif

static void keys(int fd, int direction) {
  struct tls12_crypto_info_aes_gcm_128 info = {
      .info = {.version = TLS_1_2_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128}};
  memset(info.key, 0x11, sizeof info.key);
  memset(info.salt, 0x22, sizeof info.salt);
  memset(info.iv, 0x33, sizeof info.iv);
  CHECK(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") == 0);
  CHECK(setsockopt(fd, SOL_TLS, direction, &info, sizeof info) == 0);
}

int main(void) {
  int ends[2];
  tcp_pair(ends);
  keys(ends[0], TLS_TX);
  keys(ends[1], TLS_RX);
  char buffer[256] = {0};
  CHECK(send(ends[0], "sealed", 6, 0) == 6);
  CHECK(recv(ends[1], buffer, sizeof buffer, 0) == 6 && !memcmp(buffer, "sealed", 6));
  say("one record");

  enum { BYTES = 400000 };
  char *content = malloc(BYTES), *copy = malloc(BYTES);
  for (int i = 0; i < BYTES; i++) content[i] = (char)(i * 31 + i / 777);
  char path[] = "ktls-XXXXXX";
  int file = mkstemp(path);
  CHECK(file >= 0 && unlink(path) == 0 && write(file, content, BYTES) == BYTES);
  pid_t child = fork();
  if (child == 0) {
    CHECK(write(ends[0], content, BYTES) == BYTES);
    off_t offset = 0;
    while (offset < BYTES) CHECK(sendfile(ends[0], file, &offset, BYTES - offset) > 0);
    _exit(0);
  }
  for (int round = 0; round < 2; round++) {
    for (int got = 0; got < BYTES;) {
      long n = read(ends[1], copy + got, BYTES - got);
      CHECK(n > 0);
      got += n;
    }
    CHECK(!memcmp(copy, content, BYTES));
    memset(copy, 0, BYTES);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  say("many records, from memory and from a file");

  char control[CMSG_SPACE(1)] = {0};
  struct iovec out = {"\1\0", 2};
  struct msghdr m = {.msg_iov = &out, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *h = CMSG_FIRSTHDR(&m);
  h->cmsg_level = SOL_TLS;
  h->cmsg_type = TLS_SET_RECORD_TYPE;
  h->cmsg_len = CMSG_LEN(1);
  *CMSG_DATA(h) = 21; // an alert
  CHECK(sendmsg(ends[0], &m, 0) == 2);
  struct iovec in = {buffer, sizeof buffer};
  m = (struct msghdr){.msg_iov = &in, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  memset(control, 0, sizeof control);
  CHECK(recvmsg(ends[1], &m, 0) == 2);
  h = CMSG_FIRSTHDR(&m);
  CHECK(h && h->cmsg_level == SOL_TLS && h->cmsg_type == TLS_GET_RECORD_TYPE && *CMSG_DATA(h) == 21);
  say("a record of another type");

  tcp_pair(ends);
  keys(ends[0], TLS_TX);
  CHECK(send(ends[0], "sealed", 6, 0) == 6);
  long n = recv(ends[1], buffer, sizeof buffer, 0);
  CHECK(n == 5 + 8 + 6 + 16 && buffer[0] == 23 && memcmp(buffer + 13, "sealed", 6));
  say("sealed on the wire: %ld bytes", n);
  return 0;
}

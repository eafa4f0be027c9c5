// SPDX-License-Identifier: MIT
// Kernel TLS on both ends of one connection, 1.2 and 1.3: records that the kernel seals and opens,
// from memory and from a file, with record types of their own, and what it refuses. The bytes on
// the wire are not the bytes sent: a third end without keys sees them.
#include "check.h"

#include <linux/tls.h>
#include <sys/sendfile.h>

#ifndef TCP_ULP
#define TCP_ULP 31
#endif
// the library's header may be older than these
#ifndef TLS_TX_ZEROCOPY_RO
#define TLS_TX_ZEROCOPY_RO 3
#endif
#ifndef TLS_RX_EXPECT_NO_PAD
#define TLS_RX_EXPECT_NO_PAD 4
#endif

static struct tls12_crypto_info_aes_gcm_128 key_of(int version) {
  struct tls12_crypto_info_aes_gcm_128 info = {
      .info = {.version = version, .cipher_type = TLS_CIPHER_AES_GCM_128}};
  memset(info.key, 0x11, sizeof info.key);
  memset(info.salt, 0x22, sizeof info.salt);
  memset(info.iv, 0x33, sizeof info.iv);
  return info;
}

static void keys(int fd, int direction, int version) {
  struct tls12_crypto_info_aes_gcm_128 info = key_of(version);
  CHECK(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") == 0);
  CHECK(setsockopt(fd, SOL_TLS, direction, &info, sizeof info) == 0);
}

static void send_typed(int fd, int type, const void *bytes, size_t length) {
  char control[CMSG_SPACE(1)] = {0};
  struct iovec out = {(void *)bytes, length};
  struct msghdr m = {.msg_iov = &out, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *h = CMSG_FIRSTHDR(&m);
  h->cmsg_level = SOL_TLS;
  h->cmsg_type = TLS_SET_RECORD_TYPE;
  h->cmsg_len = CMSG_LEN(1);
  *CMSG_DATA(h) = type;
  CHECK(sendmsg(fd, &m, 0) == (ssize_t)length);
}

static void receive_typed(int fd, int type, const void *bytes, size_t length) {
  char control[CMSG_SPACE(1)] = {0}, buffer[64];
  struct iovec in = {buffer, sizeof buffer};
  struct msghdr m = {.msg_iov = &in, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  CHECK(recvmsg(fd, &m, 0) == (ssize_t)length && !memcmp(buffer, bytes, length));
  struct cmsghdr *h = CMSG_FIRSTHDR(&m);
  CHECK(h && h->cmsg_level == SOL_TLS && h->cmsg_type == TLS_GET_RECORD_TYPE && *CMSG_DATA(h) == type);
}

static void refused(const char *what, int expected, int result) {
  int number = errno;
  if (result != -1 || number != expected) {
    fprintf(stderr, "%s: %d, %s\n", what, result, errno_name(number));
    exit(1);
  }
}

static void records(int version) {
  int ends[2];
  tcp_pair(ends);
  keys(ends[0], TLS_TX, version);
  keys(ends[1], TLS_RX, version);
  char buffer[256] = {0};
  CHECK(send(ends[0], "sealed", 6, 0) == 6);
  CHECK(recv(ends[1], buffer, sizeof buffer, 0) == 6 && !memcmp(buffer, "sealed", 6));
  say("one record");

  enum { BYTES = 400000 };
  char *content = malloc(BYTES), *copy = malloc(BYTES);
  for (int i = 0; i < BYTES; i++) content[i] = (char)(i * 31 + i / 777);
  char path[] = "ktls-XXXXXX";
  int file = mkstemp(path), on = 1;
  CHECK(file >= 0 && unlink(path) == 0 && write(file, content, BYTES) == BYTES);
  CHECK(setsockopt(ends[0], SOL_TLS, TLS_TX_ZEROCOPY_RO, &on, sizeof on) == 0);
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
  free(content);
  free(copy);
  close(file);
  say("many records, from memory and from a file");

  send_typed(ends[0], 21, "\1\0", 2); // an alert
  receive_typed(ends[1], 21, "\1\0", 2);
  send_typed(ends[0], 21, "\1\0", 2);
  refused("a read of a record that is not data", EIO, read(ends[1], buffer, sizeof buffer));
  say("a record of another type");

  // A new key is for a connection's peer to ask for and for a later kernel to take.
  static const char key_update[] = {24, 0, 0, 1, 0};
  tcp_pair(ends);
  keys(ends[0], TLS_TX, version);
  keys(ends[1], TLS_RX, version);
  send_typed(ends[0], 22, key_update, sizeof key_update);
  receive_typed(ends[1], 22, key_update, sizeof key_update);
  struct tls12_crypto_info_aes_gcm_128 info = key_of(version);
  refused("a second key to send", EBUSY, setsockopt(ends[0], SOL_TLS, TLS_TX, &info, sizeof info));
  refused("a second key to receive", EBUSY, setsockopt(ends[1], SOL_TLS, TLS_RX, &info, sizeof info));
  CHECK(send(ends[0], "after", 5, 0) == 5);
  CHECK(recv(ends[1], buffer, sizeof buffer, 0) == 5 && !memcmp(buffer, "after", 5));
  say("a key update, refused");

  tcp_pair(ends);
  keys(ends[0], TLS_TX, version);
  CHECK(send(ends[0], "sealed", 6, 0) == 6);
  long n = recv(ends[1], buffer, sizeof buffer, 0);
  int head = version == TLS_1_2_VERSION ? 5 + 8 : 5;
  CHECK(buffer[0] == 23 && memcmp(buffer + head, "sealed", 6));
  say("sealed on the wire: %ld bytes", n);
}

static void rules(void) {
  int ends[2], on = 1;
  struct tls12_crypto_info_aes_gcm_128 info = key_of(TLS_1_3_VERSION), got = {0};
  int s = socket(AF_INET, SOCK_STREAM, 0);
  refused("not connected", ENOTCONN, setsockopt(s, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls"));
  close(s);
  tcp_pair(ends);
  refused("no such protocol", ENOENT, setsockopt(ends[0], IPPROTO_TCP, TCP_ULP, "slt", sizeof "slt"));
  refused("keys before TLS", ENOPROTOOPT, setsockopt(ends[0], SOL_TLS, TLS_TX, &info, sizeof info));
  CHECK(setsockopt(ends[0], IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") == 0);
  refused("TLS twice", EEXIST, setsockopt(ends[0], IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls"));
  refused("a short key", EINVAL, setsockopt(ends[0], SOL_TLS, TLS_TX, &info, sizeof info - 1));
  info.info.version = 0x302;
  refused("version 1.1", EINVAL, setsockopt(ends[0], SOL_TLS, TLS_TX, &info, sizeof info));
  info.info.version = TLS_1_3_VERSION;
  info.info.cipher_type = 1;
  refused("no such cipher", EINVAL, setsockopt(ends[0], SOL_TLS, TLS_TX, &info, sizeof info));
  info.info.cipher_type = TLS_CIPHER_AES_GCM_128;
  refused("padding of what is not received", EINVAL,
          setsockopt(ends[0], SOL_TLS, TLS_RX_EXPECT_NO_PAD, &on, sizeof on));
  CHECK(setsockopt(ends[0], SOL_TLS, TLS_TX, &info, sizeof info) == 0);
  socklen_t length = sizeof got;
  CHECK(getsockopt(ends[0], SOL_TLS, TLS_TX, &got, &length) == 0 && length == sizeof got);
  CHECK(!memcmp(&got.key, &info.key, sizeof got.key) && !memcmp(&got.info, &info.info, sizeof got.info));
  say("what is refused");
}

int main(void) {
  records(TLS_1_2_VERSION);
  records(TLS_1_3_VERSION);
  rules();
  return 0;
}

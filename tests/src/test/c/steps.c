// SPDX-License-Identifier: MIT
/*
 * Makes calls of all kinds one instruction at a time, and keeps a shadow stack of its own meanwhile:
 * whatever runs, the program's code, libc's or other code that was put into its memory, each `ret` must
 * go to where the last open `call` came from. That is what a processor with shadow stacks demands.
 *
 *   steps ROUNDS
 *
 * To standard error: how many instructions were stepped over, and how many of them were neither the
 * program's nor a library's, by their addresses (the shim's: ShimLayout.java).
 */
#include "check.h"

#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <ucontext.h>

enum { TRAP_FLAG = 0x100, DEPTH = 256, BYTES = 16, CHILD_CALLS = 24 };

#define SHIM_BEGIN 0x05100000
#define SHIM_END 0x05147000

static uint64_t shadow[DEPTH];
static int depth, called;
static uint64_t skipped, skipped_sp; /* what a `syscall` returns to, which runs before the next trap */
static volatile int stepping;
static volatile long steps, in_shim, wrong;

static uint64_t first_wrong;

static void wrong_at(uint64_t at) {
  if (wrong++ == 0) first_wrong = at;
}

/* The instruction at `at` is about to run, or has run, with the stack at `sp`. */
static void follow(uint64_t at, uint64_t sp) {
  const uint8_t *code = (const uint8_t *)at;
  while (strchr("\xf2\xf3\x2e\x36\x3e\x26\x64\x65\x66\x67", *code) || (*code & 0xf0) == 0x40) code++;
  if (*code == 0xe8 || (*code == 0xff && (code[1] >> 3 & 7) == 2)) {
    called = 1;
  } else if (*code == 0xc3 || *code == 0xc2) {
    if (depth == 0 || shadow[--depth] != *(const uint64_t *)sp) wrong_at(at);
  } else if (*code == 0x0f && code[1] == 0x05) {
    skipped = (uint64_t)code + 2;
    skipped_sp = sp;
  }
}

static void stepped(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
  uint64_t at = r[REG_RIP], sp = r[REG_RSP];
  steps++;
  in_shim += at >= SHIM_BEGIN && at < SHIM_END;
  if (called) {
    CHECK(depth < DEPTH);
    shadow[depth++] = *(const uint64_t *)sp;
    called = 0;
  }
  if (skipped) {
    uint64_t before = skipped;
    skipped = 0;
    if (before != at) follow(before, skipped_sp);
  }
  if (stepping) {
    follow(at, sp);
  } else {
    r[REG_EFL] &= ~TRAP_FLAG;
  }
}

/* Runs something step by step. */
static __attribute__((noinline)) void step(void (*what)(void)) {
  depth = called = 0;
  stepping = 1;
  __asm__ volatile(
      "lea -128(%%rsp), %%rsp\n pushfq\n orq %0, (%%rsp)\n popfq\n lea 128(%%rsp), %%rsp"
      :: "i"(TRAP_FLAG) : "memory", "cc");
  what();
  stepping = 0;
  __asm__ volatile("nop\n nop" ::: "memory");
  if (depth != 0) wrong_at(0);
}

static int ends[2], file, pipes[2], set;
static char out[BYTES] = "what is sent", in[BYTES];
static struct sockaddr_in udp_name;
static int udp;

/* Returns to where nothing was called from, which has to be noticed. */
static void out_of_balance(void) {
  __asm__ volatile("lea 1f(%%rip), %%rax\n push %%rax\n ret\n 1:" ::: "rax", "memory");
}

/* Calls on the host's descriptors. */
static void of_host(void) {
  int fd = dup(file);
  CHECK(fd >= 0);
  CHECK(write(pipes[1], out, BYTES) == BYTES);
  CHECK(read(pipes[0], in, BYTES) == BYTES);
  CHECK(lseek(fd, 0, SEEK_SET) == 0);
  CHECK(read(fd, in, BYTES) == BYTES);
  CHECK(close(fd) == 0);
  CHECK(close(fd) < 0 && errno == EBADF);
}

/* Calls on sockets, that have their results and that have none. */
static void of_sockets(void) {
  struct iovec v[] = {{out, 4}, {out + 4, BYTES - 4}};
  CHECK(send(ends[0], out, BYTES, 0) == BYTES);
  struct pollfd p = {.fd = ends[1], .events = POLLIN};
  CHECK(poll(&p, 1, 1000) == 1 && p.revents == POLLIN);
  struct epoll_event e;
  CHECK(epoll_wait(set, &e, 1, 1000) == 1 && e.events == EPOLLIN);
  CHECK(recv(ends[1], in, BYTES, MSG_WAITALL) == BYTES && memcmp(in, out, BYTES) == 0);
  CHECK(recv(ends[1], in, BYTES, MSG_DONTWAIT) < 0 && errno == EAGAIN);
  CHECK(writev(ends[1], v, 2) == BYTES);
  CHECK(read(ends[0], in, BYTES) == BYTES && memcmp(in, out, BYTES) == 0);
  CHECK(sendto(udp, out, 1, 0, (struct sockaddr *)&udp_name, sizeof udp_name) == 1);
  CHECK(recv(udp, in, BYTES, 0) == 1);
  CHECK(send(ends[0], (void *)8, BYTES, 0) < 0 && errno == EFAULT);
  off_t from = 0;
  CHECK(sendfile(ends[0], file, &from, BYTES) == BYTES);
  CHECK(read(ends[1], in, BYTES) == BYTES);
}

/* Questions, names and handlers. */
static void of_all(void) {
  struct sockaddr_in name;
  socklen_t length = sizeof name;
  int value, on = 1;
  struct stat s;
  struct sigaction a;
  CHECK(getsockname(ends[0], (struct sockaddr *)&name, &length) == 0);
  length = sizeof value;
  CHECK(getsockopt(ends[0], SOL_SOCKET, SO_TYPE, &value, &length) == 0 && value == SOCK_STREAM);
  CHECK(setsockopt(ends[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
  CHECK(ioctl(ends[1], FIONREAD, &value) == 0 && value == 0);
  CHECK(fcntl(ends[0], F_GETFL) >= 0);
  CHECK(stat("/", &s) == 0 && fstat(file, &s) == 0);
  CHECK(access("no-such-file", F_OK) < 0);
  CHECK(sigaction(SIGUSR2, 0, &a) == 0);
  a.sa_flags |= SA_RESTART;
  CHECK(sigaction(SIGUSR2, &a, 0) == 0);
  struct epoll_event e = {.events = EPOLLIN};
  CHECK(epoll_ctl(set, EPOLL_CTL_MOD, ends[1], &e) == 0);
}

/* A child, which has to ask for what its parent has. */
static void of_child(void) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    long before = in_shim;
    for (int i = 0; i < CHILD_CALLS; i++) of_host();
    _exit(wrong ? 1 : in_shim == before ? 3 : 0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
  // Natively there is nothing of the kind.
  CHECK(WEXITSTATUS(status) == 0 || (WEXITSTATUS(status) == 3 && in_shim == 0));
}

int main(int argc, char **argv) {
  CHECK(argc == 2);
  int rounds = atoi(argv[1]);
  char path[] = "steps-XXXXXX";
  file = mkstemp(path);
  CHECK(file >= 0 && write(file, out, BYTES) == BYTES && unlink(path) == 0 && pipe(pipes) == 0);
  tcp_pair(ends);
  udp = bound(SOCK_DGRAM, &udp_name);
  set = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLIN};
  CHECK(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, ends[1], &e) == 0);
  struct sigaction a = {.sa_sigaction = stepped, .sa_flags = SA_SIGINFO | SA_RESTART};
  CHECK(sigaction(SIGTRAP, &a, 0) == 0);
  step(out_of_balance);
  CHECK(wrong > 0);
  wrong = 0;
  void (*const all[])(void) = {of_host, of_sockets, of_all};
  for (int k = 0; k < 3; k++) {
    // At full speed until places are patched, then step by step.
    for (int i = 0; i < 100; i++) all[k]();
    for (int i = 0; i < rounds; i++) step(all[k]);
  }
  step(of_child);
  if (wrong) say("%ld returns to elsewhere, the first at %#lx", wrong, (unsigned long)first_wrong);
  CHECK(wrong == 0);
  fprintf(stderr, "%ld steps, %ld of them in the shim\n", steps, in_shim);
  say("each return went to where its call had come from");
  return 0;
}

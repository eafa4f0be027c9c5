// SPDX-License-Identifier: MIT
// Ways past a hook that looks at x86-64 system calls: each prints what the kernel answered.
#include "check.h"

int main(void) {
  long result;
  // socket(AF_INET, SOCK_STREAM, 0) by the 32-bit table's number, through its own gate. A kernel
  // without 32-bit calls has no gate there, and the instruction is a fault.
  pid_t child = fork();
  if (child == 0) {
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(359), "b"(2), "c"(1), "d"(0) : "memory");
    _exit(result < 0 ? (int)-result : 0);
  }
  int status;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV)
    say("int 0x80: no gate");
  else
    say("int 0x80: %s", WEXITSTATUS(status) ? errno_name(WEXITSTATUS(status)) : "a descriptor");
  errno = 0;
  result = syscall(0x40000000 | SYS_socket, AF_INET, SOCK_STREAM, 0);
  say("x32: %s", result < 0 ? errno_name(errno) : "a descriptor");
  char parameters[120] = {0};
  result = syscall(SYS_io_uring_setup, 4, parameters);
  say("io_uring_setup: %s", result < 0 ? errno_name(errno) : "a descriptor");
  result = syscall(SYS_io_uring_enter, 0, 0, 0, 0, NULL, 0);
  say("io_uring_enter: %s", result < 0 ? errno_name(errno) : "something");
  unsigned long context = 0;
  result = syscall(SYS_io_setup, 4, &context);
  say("io_setup: %s", result < 0 ? errno_name(errno) : "a context");
  result = syscall(SYS_io_submit, context, 0, NULL);
  say("io_submit: %s", result < 0 ? errno_name(errno) : "something");
  static const long unknown[] = {600, 1023, 9999, 0x3fffffff};
  for (int i = 0; i < 4; i++) {
    result = syscall(unknown[i], 0, 0, 0);
    say("call %ld: %s", unknown[i], result < 0 ? errno_name(errno) : "something");
  }
  return 0;
}

// SPDX-License-Identifier: MIT
// Asks for network namespaces in every way that Linux has, and for others beside them. The argument
// is the path of one in which this process is not.
#include "check.h"

#include <linux/sched.h>
#include <sched.h>

static long pidfd_of_self(void) { return syscall(SYS_pidfd_open, getpid(), 0); }

/* What a call says in a child, which is another process whatever it does. */
static void in_child(const char *what, long (*call)(void)) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    say("%s: %s", what, errno_name(errno_of(call())));
    exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static long unshare_net(void) { return unshare(CLONE_NEWNET); }
static long unshare_more(void) { return unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_FS); }
static long unshare_user(void) { return unshare(CLONE_NEWUSER | CLONE_NEWNET); }
static long unshare_other(void) { return unshare(CLONE_NEWUTS); }

static long named(const char *path, int type) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  return setns(fd, type);
}
static const char *another;
static long set_net(void) { return named(another, CLONE_NEWNET); }
static long set_any(void) { return named(another, 0); }
static long set_own(void) { return named("/proc/self/ns/net", CLONE_NEWNET); }
static long set_any_own(void) { return named("/proc/self/ns/net", 0); }
static long set_other(void) { return named("/proc/self/ns/uts", CLONE_NEWUTS); }
static long set_any_other(void) { return named("/proc/self/ns/uts", 0); }
static long set_by_process(void) { return setns(pidfd_of_self(), CLONE_NEWUTS | CLONE_NEWNET); }
static long set_nothing(void) { return setns(999, CLONE_NEWNET); }
static long set_file(void) { return named("/dev/null", 0); }

/* The child of a clone ends at once. */
static long ended(long child) {
  if (child == 0) _exit(0);
  if (child > 0) {
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
  }
  return child;
}

static long clone_net(void) {
  return ended(syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0));
}
static long clone_sandbox(void) {
  return ended(syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0));
}
static long clone3_with(uint64_t flags) {
  struct clone_args a = {.flags = flags, .exit_signal = SIGCHLD};
  return ended(syscall(SYS_clone3, &a, sizeof a));
}
static long clone3_net(void) { return clone3_with(CLONE_NEWNET); }
static long clone3_other(void) { return clone3_with(CLONE_NEWUTS); }

/* As sandboxes do it: first with a network of its own, then without. */
static long sandbox(void) {
  if (unshare(CLONE_NEWNS | CLONE_NEWNET) == 0) return 0;
  CHECK(errno == EINVAL);
  return unshare(CLONE_NEWNS);
}

int main(int count, char **words) {
  CHECK(count == 2);
  another = words[1];
  in_child("unshare(CLONE_NEWNET)", unshare_net);
  in_child("unshare(CLONE_NEWNET | CLONE_NEWUTS | CLONE_FS)", unshare_more);
  in_child("unshare(CLONE_NEWUSER | CLONE_NEWNET)", unshare_user);
  in_child("clone(CLONE_NEWNET)", clone_net);
  in_child("clone(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)", clone_sandbox);
  in_child("clone3(CLONE_NEWNET)", clone3_net);
  in_child("setns(net, CLONE_NEWNET)", set_net);
  in_child("setns(net, 0)", set_any);
  in_child("setns(pidfd, CLONE_NEWUTS | CLONE_NEWNET)", set_by_process);
  in_child("setns(nothing, CLONE_NEWNET)", set_nothing);
  in_child("setns(a file, 0)", set_file);
  in_child("setns(its own, CLONE_NEWNET)", set_own);
  in_child("setns(its own, 0)", set_any_own);
  in_child("unshare(CLONE_NEWUTS)", unshare_other);
  in_child("clone3(CLONE_NEWUTS)", clone3_other);
  in_child("setns(uts, CLONE_NEWUTS)", set_other);
  in_child("setns(uts, 0)", set_any_other);
  in_child("one that does without", sandbox);
  return 0;
}

// SPDX-License-Identifier: MIT
// files DIR: everything that a program does to files, in a directory that is a device's or not.
// Prints what must be the same on every kernel. DIR is empty and stays so.
#include "check.h"

#include <dirent.h>
#include <linux/sockios.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

#define TELL(call)                                                              \
  do {                                                                          \
    errno = 0;                                                                  \
    long long told = (long long)(call);                                         \
    if (told < 0)                                                               \
      say("%s = %s", #call, errno_name(errno));                                 \
    else                                                                        \
      say("%s = %lld", #call, told);                                            \
  } while (0)

/* The same for a call whose value is a number of no meaning. */
#define TRY(call)                                                  \
  do {                                                             \
    errno = 0;                                                     \
    say("%s: %s", #call, (call) < 0 ? errno_name(errno) : "done"); \
  } while (0)

static const char *dir;
static char path_buffer[8][4096];

static const char *in(const char *name) {
  static int next;
  char *p = path_buffer[next++ % 8];
  snprintf(p, 4096, "%s/%s", dir, name);
  return p;
}

static void show(const char *what, const struct stat *s) {
  say("%s: type %o mode %o links %d uid %d gid %d size %lld", what, (int)(s->st_mode & S_IFMT),
      (int)(s->st_mode & 07777), (int)s->st_nlink, (int)s->st_uid, (int)s->st_gid,
      S_ISDIR(s->st_mode) ? 0LL : (long long)s->st_size);
}

static void transfers(void) {
  int fd = open(in("a"), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  CHECK(fd >= 0);
  TELL(open(in("a"), O_RDWR | O_CREAT | O_EXCL, 0666));
  TELL(open(in("none"), O_RDONLY));
  TELL(open(in("a/b"), O_RDONLY));
  struct stat s, t;
  CHECK(fstat(fd, &s) == 0);
  show("new file", &s);
  CHECK(stat(in("a"), &t) == 0 && t.st_ino == s.st_ino && t.st_dev == s.st_dev);
  TELL(write(fd, "0123456789", 10));
  TELL(lseek(fd, 0, SEEK_CUR));
  TELL(lseek(fd, 2, SEEK_SET));
  char b[64] = {0};
  TELL(read(fd, b, 3));
  say("%s", b);
  TELL(pwrite(fd, "XY", 2, 8));
  TELL(pread(fd, b, 10, 0));
  say("%.10s", b);
  TELL(lseek(fd, 0, SEEK_CUR));
  struct iovec v[2] = {{b, 4}, {b + 10, 20}};
  TELL(preadv(fd, v, 2, 1));
  TELL(pwritev(fd, v, 1, 20));
  TELL(readv(fd, v, 2));
  TELL(lseek(fd, -1, SEEK_END));
  TELL(lseek(fd, -100, SEEK_SET));
  TELL(read(fd, b, 10));
  TELL(read(fd, b, 10));
  TELL(pread(fd, b, 10, -1));
  TELL(ftruncate(fd, 5));
  TELL(lseek(fd, 0, SEEK_END));
  TELL(fallocate(fd, 0, 0, 8192));
  TELL(lseek(fd, 0, SEEK_END));
  TELL(fsync(fd));
  TELL(fdatasync(fd));
  TELL(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
  say("flags %o", fcntl(fd, F_GETFL) & ~O_LARGEFILE);
  TELL(fcntl(fd, F_SETFL, O_APPEND));
  TELL(write(fd, "end", 3));
  TELL(lseek(fd, 0, SEEK_CUR));
  say("flags %o", fcntl(fd, F_GETFL) & ~O_LARGEFILE);
  TELL(fchmod(fd, 0640));
  TELL(fstat(fd, &s));
  show("after fchmod", &s);
  /* Shared over dup and fork, not over a second open. */
  int d = dup(fd), again = open(in("a"), O_RDONLY);
  CHECK(d >= 0 && again >= 0);
  TELL(lseek(d, 3, SEEK_SET));
  TELL(lseek(fd, 0, SEEK_CUR));
  TELL(lseek(again, 0, SEEK_CUR));
  pid_t child = fork();
  if (child == 0) _exit(lseek(fd, 7, SEEK_SET) == 7 ? 0 : 1);
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  TELL(lseek(d, 0, SEEK_CUR));
  TELL(write(again, "x", 1));
  TELL(close(d));
  TELL(close(fd));
  TELL(close(again));
  TELL(read(again, b, 1));
  /* Longer than any piece that crosses at once. */
  size_t n = 1 << 20;
  char *big = malloc(n), *back = malloc(n);
  for (size_t i = 0; i < n; i++) big[i] = (char)(i * 7 + i / 251);
  fd = open(in("big"), O_RDWR | O_CREAT | O_TRUNC, 0600);
  TELL(write(fd, big, n));
  TELL(lseek(fd, 0, SEEK_SET));
  TELL(read(fd, back, n));
  CHECK(memcmp(big, back, n) == 0);
  TELL(pread(fd, back, n, 4097));
  CHECK(memcmp(big + 4097, back, n - 4097) == 0);
  TELL(pwrite(fd, big, n, 100));
  TELL(pread(fd, back, n, 100));
  CHECK(memcmp(big, back, n) == 0);
  TELL(close(fd));
  free(big);
  free(back);
}

static void ready(void) {
  int fd = open(in("a"), O_RDONLY), e = epoll_create1(0);
  struct epoll_event w = {.events = EPOLLIN};
  TELL(epoll_ctl(e, EPOLL_CTL_ADD, fd, &w));
  struct pollfd p = {fd, POLLIN | POLLOUT, 0};
  TELL(poll(&p, 1, 1000));
  say("revents %x", p.revents);
  int dirfd = open(dir, O_RDONLY | O_DIRECTORY);
  p.fd = dirfd;
  TELL(poll(&p, 1, 1000));
  say("revents %x", p.revents);
  char b[8];
  TELL(read(dirfd, b, 8));
  TELL(lseek(dirfd, 0, SEEK_SET));
  TELL(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, dirfd, 0) == MAP_FAILED ? -1 : 0);
  close(e);
  close(fd);
  close(dirfd);
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(const char *what) {
  DIR *d = opendir(what);
  CHECK(d != NULL);
  char *names[64];
  int n = 0;
  struct dirent *e;
  while ((e = readdir(d)) != NULL && n < 64) names[n++] = strdup(e->d_name);
  closedir(d);
  qsort(names, n, sizeof *names, by_name);
  for (int i = 0; i < n; i++) say("  entry %s", names[i]);
}

static void names(void) {
  struct stat s;
  char b[256];
  TELL(mkdir(in("d"), 0777));
  TELL(mkdir(in("d"), 0777));
  umask(077);
  TELL(mkdir(in("private"), 0777));
  CHECK(stat(in("private"), &s) == 0);
  show("under umask 077", &s);
  umask(022);
  TELL(rmdir(in("private")));
  int d = open(in("d"), O_RDONLY | O_DIRECTORY);
  int owner = 0;
  TELL(ioctl(d, FIOGETOWN, &owner));
  TELL(ioctl(d, SIOCSPGRP, &owner));
  TELL(syscall(SYS_writev, d, &owner, 5000));
  TELL(write(d, "x", 1));
  CHECK(d >= 0 && fstat(d, &s) == 0);
  show("directory", &s);
  int fd = openat(d, "f", O_RDWR | O_CREAT, 0644);
  CHECK(fd >= 0);
  TELL(write(fd, "hello", 5));
  close(fd);
  TELL(openat(d, "none", O_RDONLY));
  TELL(symlinkat("f", d, "l"));
  TELL(symlink("d/f", in("to-f")));
  ssize_t n = readlink(in("to-f"), b, sizeof b);
  say("link to %.*s", (int)n, b);
  n = readlinkat(d, "l", b, 1);
  say("cut to %.*s", (int)n, b);
  CHECK(lstat(in("to-f"), &s) == 0);
  show("link", &s);
  CHECK(stat(in("to-f"), &s) == 0);
  show("target", &s);
  CHECK(fstatat(d, "l", &s, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(s.st_mode));
  CHECK(fstatat(d, "", &s, AT_EMPTY_PATH) == 0 && S_ISDIR(s.st_mode));
  struct statx x;
  CHECK(statx(d, "f", 0, STATX_BASIC_STATS, &x) == 0 && x.stx_size == 5);
  TELL(linkat(d, "f", d, "hard", 0));
  CHECK(fstatat(d, "hard", &s, 0) == 0);
  show("hard", &s);
  TELL(renameat(d, "hard", d, "harder"));
  TELL(rename(in("d/harder"), in("moved")));
  TELL(renameat2(d, "f", AT_FDCWD, in("moved"), 1 /* RENAME_NOREPLACE */));
  TELL(access(in("moved"), R_OK | W_OK));
  TELL(access(in("moved"), X_OK));
  TELL(faccessat(d, "f", F_OK, 0));
  TELL(faccessat(d, "none", F_OK, 0));
  TELL(chmod(in("moved"), 0600));
  TELL(fchmodat(d, "f", 0444, 0));
  TELL(chown(in("moved"), geteuid(), getegid()));
  struct timespec when[2] = {{1000000000, 0}, {1100000000, 500}};
  TELL(utimensat(d, "f", when, 0));
  CHECK(fstatat(d, "f", &s, 0) == 0);
  say("times %ld %ld.%09ld", (long)s.st_atim.tv_sec, (long)s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
  struct timeval tv[2] = {{1000000001, 0}, {1100000001, 7}};
  TELL(utimes(in("d/f"), tv));
  CHECK(fstatat(d, "f", &s, 0) == 0);
  say("times %ld %ld.%09ld", (long)s.st_atim.tv_sec, (long)s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
  TELL(truncate(in("moved"), 3));
  struct statfs f;
  TELL(statfs(dir, &f));
  TELL(mkfifo(in("fifo"), 0600));
  CHECK(lstat(in("fifo"), &s) == 0);
  show("fifo", &s);
  say("in d:");
  list(in("d"));
  say("in DIR:");
  list(dir);
  TELL(rmdir(in("d")));
  TELL(unlink(in("d")));
  TELL(unlinkat(d, "f", AT_REMOVEDIR));
  TELL(open(in("d/l"), O_RDONLY | O_NOFOLLOW));
  TELL(open(in("moved/"), O_RDONLY));
  TELL(open(in("moved"), O_RDONLY | O_DIRECTORY));
  TELL(open(in("d"), O_RDWR));
  int t = open(dir, O_TMPFILE | O_RDWR, 0600);
  TRY(t);
  if (t >= 0) {
    TELL(write(t, "nameless", 8));
    close(t);
  }
  close(d);
}

static void attributes(void) {
  char b[64];
  errno = 0;
  if (setxattr(in("moved"), "user.colour", "blue", 4, 0) < 0 && errno == ENOTSUP) {
    say("no attributes here");
    return;
  }
  TELL(getxattr(in("moved"), "user.colour", b, sizeof b));
  TELL(getxattr(in("moved"), "user.colour", NULL, 0));
  TELL(getxattr(in("moved"), "user.colour", b, 2));
  TELL(getxattr(in("moved"), "user.none", b, sizeof b));
  TELL(listxattr(in("moved"), b, sizeof b) > 0 ? 1 : 0);
  int fd = open(in("moved"), O_RDONLY);
  TELL(fgetxattr(fd, "user.colour", b, sizeof b));
  TELL(fremovexattr(fd, "user.colour"));
  TELL(fgetxattr(fd, "user.colour", b, sizeof b));
  close(fd);
}

/* The working directory: who has it, who inherits it, and how to leave it. */
static void working_directory(void) {
  char b[4096];
  struct stat s;
  CHECK(chdir(dir) == 0);
  say("cwd %s", getcwd(b, sizeof b) && strcmp(b, dir) == 0 ? "is DIR" : b);
  TELL(open("none", O_RDONLY));
  CHECK(stat("d/f", &s) == 0);
  CHECK(stat(".", &s) == 0 && S_ISDIR(s.st_mode));
  CHECK(stat("./d/../moved", &s) == 0);
  TELL(chdir("moved"));
  TELL(chdir("none"));
  CHECK(chdir("d") == 0);
  CHECK(getcwd(b, sizeof b) != NULL);
  say("cwd ends in %s", strrchr(b, '/'));
  pid_t child = fork();
  if (child == 0) {
    CHECK(stat("f", &s) == 0);
    CHECK(chdir("..") == 0 && stat("moved", &s) == 0);
    CHECK(chdir("/") == 0 && stat("f", &s) < 0 && errno == ENOENT);
    CHECK(getcwd(b, sizeof b) && strcmp(b, "/") == 0);
    execl("/bin/true", "true", (char *)NULL);
    _exit(9);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(stat("f", &s) == 0);
  fflush(stdout);
  if ((child = fork()) == 0) {
    execl("/bin/cat", "cat", "f", (char *)NULL);
    _exit(9);
  }
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  say(" from an executed program");
  int host = open("/", O_RDONLY | O_DIRECTORY), d = open(dir, O_RDONLY | O_DIRECTORY);
  CHECK(fchdir(host) == 0 && stat("f", &s) < 0);
  CHECK(fchdir(d) == 0 && stat("moved", &s) == 0);
  CHECK(chdir("/none-such") < 0 && errno == ENOENT && stat("moved", &s) == 0);
  CHECK(chdir("/") == 0);
  close(host);
  close(d);
}

static int set_lock(int fd, int command, int type, off_t from, off_t length) {
  struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = length};
  return fcntl(fd, command, &l);
}

static void locks(void) {
  int fd = open(in("a"), O_RDWR), other = open(in("a"), O_RDWR);
  TELL(flock(fd, LOCK_EX | LOCK_NB));
  TELL(flock(other, LOCK_EX | LOCK_NB));
  TELL(close(fd));
  TELL(flock(other, LOCK_EX | LOCK_NB));
  TELL(flock(other, LOCK_UN));
  fd = open(in("a"), O_RDWR);
  TELL(set_lock(fd, F_OFD_SETLK, F_WRLCK, 0, 10));
  TELL(set_lock(other, F_OFD_SETLK, F_WRLCK, 5, 10));
  TELL(set_lock(other, F_OFD_SETLK, F_WRLCK, 10, 10));
  TELL(set_lock(fd, F_OFD_SETLK, F_UNLCK, 0, 0));
  TELL(set_lock(other, F_OFD_SETLK, F_UNLCK, 0, 0));
  TELL(set_lock(fd, F_SETLK, F_WRLCK, 0, 0));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int mine = open(in("a"), O_RDWR);
    TELL(set_lock(mine, F_SETLK, F_WRLCK, 0, 0));
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    TELL(fcntl(mine, F_GETLK, &l));
    say("held: %d from %lld", l.l_type, (long long)l.l_start);
    CHECK(set_lock(mine, F_SETLKW, F_WRLCK, 0, 0) == 0); /* until the parent lets go */
    _exit(0);
  }
  sleep_us(200000);
  TELL(set_lock(fd, F_SETLK, F_UNLCK, 0, 0));
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  close(fd);
  close(other);
}

static void mappings(void) {
  int fd = open(in("big"), O_RDWR), readable = open(in("big"), O_RDONLY);
  char b[16];
  CHECK(pread(fd, b, 16, 300000) == 16);
  size_t n = 1 << 20;
  char *m = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
  CHECK(m != MAP_FAILED);
  CHECK(memcmp(m + 300000, b, 16) == 0);
  char *w = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, readable, 4096);
  CHECK(w != MAP_FAILED && memcmp(w, m + 4096, 8192) == 0);
  w[0] ^= 1;
  CHECK(w[0] != m[4096]);
  char *s = mmap(NULL, 4096, PROT_READ, MAP_SHARED, readable, 0);
  CHECK(s != MAP_FAILED && memcmp(s, m, 4096) == 0);
  TELL(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, readable, 0) == MAP_FAILED ? -1 : 0);
  close(fd);
  CHECK(memcmp(m + 300000, b, 16) == 0);
  munmap(m, n);
  munmap(w, 8192);
  munmap(s, 4096);
  int written = open(in("big"), O_WRONLY);
  TELL(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, written, 0) == MAP_FAILED ? -1 : 0);
  close(written);
  close(readable);
}

/* sendfile and its kin, with ends on either side. */
static void sends(const char *beside) {
  char name[4096], b[16];
  snprintf(name, sizeof name, "%s/beside", beside);
  int in_dir = open(in("big"), O_RDONLY), out_dir = open(in("copy"), O_RDWR | O_CREAT, 0600);
  int host = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
  CHECK(in_dir >= 0 && out_dir >= 0 && host >= 0);
  off_t at = 100;
  TELL(sendfile(out_dir, in_dir, &at, 500000));
  say("at %lld, file at %lld", (long long)at, (long long)lseek(in_dir, 0, SEEK_CUR));
  TELL(sendfile(host, in_dir, NULL, 300000));
  TELL(lseek(in_dir, 0, SEEK_CUR));
  at = 1000000;
  TELL(sendfile(host, in_dir, &at, 1 << 20));
  say("at %lld", (long long)at);
  TELL(lseek(host, 0, SEEK_END));
  lseek(in_dir, 0, SEEK_SET);
  loff_t from = 10, to = 20;
  TELL(copy_file_range(in_dir, &from, out_dir, &to, 1000, 0));
  say("from %lld to %lld", (long long)from, (long long)to);
  struct sockaddr_in a;
  int l = listening(1, &a), c = connected(&a), s = accept(l, NULL, NULL);
  CHECK(s >= 0);
  at = 0;
  long total = 0, got;
  pid_t child = fork();
  if (child == 0) {
    close(s);
    char *buffer = malloc(1 << 16);
    while ((got = read(c, buffer, 1 << 16)) > 0) total += got;
    _exit(total == 1048676 ? 0 : 1);
  }
  TELL(sendfile(s, in_dir, &at, 1 << 30));
  close(s);
  close(c);
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  say("all arrived: %d", status == 0);
  CHECK(pread(out_dir, b, 16, 0) == 16);
  close(l);
  close(in_dir);
  close(out_dir);
  close(host);
  unlink(name);
  char elsewhere[4096];
  snprintf(elsewhere, sizeof elsewhere, "%s/moved", beside);
  (void)elsewhere;
}

static void passed(void) {
  int pair[2], fd = open(in("a"), O_RDONLY);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  pid_t child = fork();
  if (child == 0) {
    close(fd);
    char b, control[CMSG_SPACE(sizeof(int))];
    struct iovec v = {&b, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = sizeof control};
    CHECK(recvmsg(pair[1], &m, 0) == 1);
    int got;
    memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
    char text[4];
    CHECK(pread(got, text, 4, 0) == 4);
    _exit(0);
  }
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec v = {"x", 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
                     .msg_controllen = sizeof control};
  struct cmsghdr *h = CMSG_FIRSTHDR(&m);
  h->cmsg_level = SOL_SOCKET;
  h->cmsg_type = SCM_RIGHTS;
  h->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(h), &fd, sizeof fd);
  CHECK(sendmsg(pair[0], &m, 0) == 1);
  close(fd);
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  say("a file was passed on");
  close(pair[0]);
  close(pair[1]);
}

static void many(void) {
  int fds[64];
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < 64; i++) CHECK((fds[i] = open(in("a"), O_RDONLY)) >= 0);
    for (int i = 0; i < 64; i++) CHECK(close(fds[i]) == 0);
  }
  say("opened and closed");
}

int main(int argc, char **argv) {
  CHECK(argc == 3);
  dir = argv[1];
  umask(022);
  transfers();
  ready();
  names();
  attributes();
  working_directory();
  locks();
  mappings();
  sends(argv[2]);
  passed();
  many();
  const char *left[] = {"a", "big", "copy", "d/f", "d/l", "to-f", "moved", "fifo"};
  for (size_t i = 0; i < sizeof left / sizeof *left; i++) CHECK(unlink(in(left[i])) == 0);
  TELL(rmdir(in("d")));
  list(dir);
  return 0;
}

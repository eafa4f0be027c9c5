// SPDX-License-Identifier: MIT
// status SEED SHARED HOST: asks what files are, many times: one of a directory that is the device's
// (SHARED), one of the host's, pipes, sockets, and a number that is each of them by turns.
// What fstat says of a file has to be what stat says by its name.
#include "check.h"

#include <sys/stat.h>

enum { TURNS = 400, SIZE = 1000 };

static int same(const struct stat *a, const struct stat *b) {
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_mode == b->st_mode &&
         a->st_nlink == b->st_nlink && a->st_uid == b->st_uid && a->st_gid == b->st_gid &&
         a->st_rdev == b->st_rdev && a->st_size == b->st_size && a->st_blksize == b->st_blksize &&
         a->st_blocks == b->st_blocks && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
         a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
         a->st_ctim.tv_nsec == b->st_ctim.tv_nsec && a->st_atim.tv_sec == b->st_atim.tv_sec &&
         a->st_atim.tv_nsec == b->st_atim.tv_nsec;
}

static int made(const char *path) {
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0640);
  CHECK(fd >= 0);
  return fd;
}

/* A file of which one is written to, cut and given other rights while it is asked about. */
static void changing(const char *path, uint32_t *seed) {
  int fd = made(path);
  struct stat opened, named;
  for (int i = 0; i < TURNS; i++) {
    off_t size = next(seed) % SIZE;
    switch (next(seed) % 3) {
      case 0: CHECK(ftruncate(fd, size) == 0); break;
      case 1: CHECK(pwrite(fd, "x", 1, size) == 1); break;
      default: CHECK(fchmod(fd, 0600 | (next(seed) & 077)) == 0);
    }
    CHECK(fstat(fd, &opened) == 0);
    CHECK(stat(path, &named) == 0);
    CHECK(same(&opened, &named) && S_ISREG(opened.st_mode));
    // By the older call, which others than glibc make.
    CHECK(syscall(SYS_fstat, fd, &named) == 0 && same(&opened, &named));
    int other = open(path, O_RDONLY);
    CHECK(other >= 0 && fstat(other, &named) == 0 && same(&opened, &named) && close(other) == 0);
  }
  CHECK(unlink(path) == 0);
  CHECK(fstat(fd, &opened) == 0 && opened.st_nlink == 0);
  CHECK(close(fd) == 0);
}

/* What goes wrong, and what looks like the same question and is another. */
static void wrong(const char *path) {
  int fd = made(path);
  struct stat s, own;
  char *end = end_of_memory();
  char *only = mmap(NULL, 0x1000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(only != MAP_FAILED);
  CHECK(fstat(fd, &own) == 0);
  for (int i = 0; i < 40; i++) {
    CHECK(errno_of(fstat(fd, (struct stat *)(end - sizeof s + 8))) == EFAULT);
    CHECK(errno_of(fstat(fd, (struct stat *)only)) == EFAULT);
    CHECK(errno_of(fstat(fd, (struct stat *)8)) == EFAULT);
    CHECK(fstat(fd, (struct stat *)(end - sizeof s)) == 0);
    CHECK(same((struct stat *)(end - sizeof s), &own));
    CHECK(errno_of(fstatat(fd, (char *)8, &s, AT_EMPTY_PATH)) == EFAULT);
    CHECK(errno_of(fstatat(fd, "", &s, 0)) == ENOENT);
    CHECK(errno_of(fstatat(fd, "x", &s, AT_EMPTY_PATH)) == ENOTDIR);
    CHECK(fstatat(fd, path, &s, AT_EMPTY_PATH) == 0 && same(&s, &own));
    CHECK(fstatat(fd, "", &s, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0 && same(&s, &own));
    CHECK(fstatat(AT_FDCWD, "", &s, AT_EMPTY_PATH) == 0 && S_ISDIR(s.st_mode));
    CHECK(errno_of(fstat(-1, &s)) == EBADF && errno_of(fstat(0xffff, &s)) == EBADF);
  }
  CHECK(close(fd) == 0 && errno_of(fstat(fd, &s)) == EBADF);
  CHECK(unlink(path) == 0);
}

static void others(void) {
  int sockets[2], pipes[2];
  tcp_pair(sockets);
  CHECK(pipe(pipes) == 0);
  struct stat s;
  for (int i = 0; i < 100; i++) {
    CHECK(fstat(sockets[0], &s) == 0 && S_ISSOCK(s.st_mode));
    CHECK(fstat(pipes[1], &s) == 0 && S_ISFIFO(s.st_mode));
  }
  for (int k = 0; k < 2; k++) CHECK(close(sockets[k]) == 0 && close(pipes[k]) == 0);
}

/* A number that is one file's and another's by turns. */
static void redirected(const char *shared, const char *host) {
  const char *paths[] = {shared, host};
  int files[3];
  struct stat are[3], s;
  for (int k = 0; k < 2; k++) {
    files[k] = made(paths[k]);
    CHECK(ftruncate(files[k], SIZE + k) == 0 && fstat(files[k], &are[k]) == 0);
  }
  files[2] = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(files[2] >= 0 && fstat(files[2], &are[2]) == 0);
  int number = dup(files[0]);
  for (int i = 0; i < TURNS; i++) {
    int k = i % 3;
    CHECK(dup2(files[k], number) == number);
    CHECK(fstat(number, &s) == 0 && same(&s, &are[k]));
    CHECK(fstat(number, &s) == 0 && same(&s, &are[k]));
  }
  for (int k = 0; k < 2; k++) CHECK(unlink(paths[k]) == 0);
}

int main(int argc, char **argv) {
  CHECK(argc == 4);
  uint32_t seed = strtoul(argv[1], NULL, 0);
  for (int k = 2; k < 4; k++) {
    changing(argv[k], &seed);
    wrong(argv[k]);
  }
  others();
  redirected(argv[2], argv[3]);
  say("done");
  return 0;
}

// SPDX-License-Identifier: MIT
// paths SEED DIRECTORY: opens, looks at and removes files by names of all kinds, so often that the
// calls are no longer trapped. DIRECTORY has "host", which is this machine's, and "share", which is
// the device's when offloaded. What lies in "share" has to be found by each of its names, and nothing
// of it by others; and what is the device's of /proc, /sys and /dev, as well.
#include "check.h"

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statfs.h>

enum { TURNS = 60 };

/* What a file says that is opened by this name from that directory. */
static const char *said(int directory, const char *path) {
  static char text[16];
  int fd = openat(directory, path, O_RDONLY);
  if (fd < 0) return errno_name(errno);
  ssize_t n = read(fd, text, sizeof text - 1);
  CHECK(n >= 0 && close(fd) == 0);
  text[n] = 0;
  return text;
}

/* One and the same file, by all calls that take a name. */
static void by_all_calls(int directory, const char *path, const char *text) {
  struct stat a, b;
  struct statx x;
  char leads[8];
  const char *was = said(directory, path);
  if (strcmp(was, text) != 0) {
    fprintf(stderr, "%s says %s, not %s\n", path, was, text);
    exit(1);
  }
  CHECK(fstatat(directory, path, &a, 0) == 0 && a.st_size == (off_t)strlen(text));
  int fd = openat(directory, path, O_RDONLY);
  CHECK(fd >= 0 && fstat(fd, &b) == 0 && close(fd) == 0);
  CHECK(a.st_dev == b.st_dev && a.st_ino == b.st_ino);
  CHECK(statx(directory, path, 0, STATX_BASIC_STATS, &x) == 0 && x.stx_ino == a.st_ino);
  CHECK(faccessat(directory, path, R_OK, 0) == 0);
  CHECK(errno_of(readlinkat(directory, path, leads, sizeof leads)) == EINVAL);
  CHECK(errno_of(mkdirat(directory, path, 0700)) == EEXIST);
  CHECK(errno_of(unlinkat(directory, path, AT_REMOVEDIR)) == ENOTDIR);
  CHECK(renameat(directory, path, directory, path) == 0);
  CHECK(errno_of(linkat(directory, path, directory, path, 0)) == EEXIST);
  CHECK(errno_of(symlinkat("share/f", directory, path)) == EEXIST);
  CHECK(errno_of(mknodat(directory, path, S_IFIFO | 0600, 0)) == EEXIST);
  CHECK(fchownat(directory, path, -1, -1, 0) == 0 && utimensat(directory, path, NULL, 0) == 0);
  if (directory != AT_FDCWD) return;
  struct statfs f;
  CHECK(statfs(path, &f) == 0 && truncate(path, strlen(text)) == 0);
  CHECK(rename(path, path) == 0 && errno_of(link(path, path)) == EEXIST);
  CHECK(errno_of(symlink("share/f", path)) == EEXIST && utimes(path, NULL) == 0);
  CHECK(chown(path, -1, -1) == 0 && lchown(path, -1, -1) == 0);
  CHECK(stat(path, &b) == 0 && b.st_ino == a.st_ino && b.st_dev == a.st_dev);
  CHECK(lstat(path, &b) == 0 && b.st_ino == a.st_ino && b.st_dev == a.st_dev);
  CHECK(access(path, R_OK) == 0 && chmod(path, 0644) == 0);
  CHECK(errno_of(readlink(path, leads, sizeof leads)) == EINVAL);
  CHECK(errno_of(mkdir(path, 0700)) == EEXIST && errno_of(rmdir(path)) == ENOTDIR);
}

static char top[PATH_MAX / 4];

static const char *joined(const char *form, uint32_t *seed) {
  static char path[PATH_MAX];
  char *to = path;
  for (; *form; form++) {
    if (*form == '@') {
      to = stpcpy(to, top);
    } else if (*form == '/' && next(seed) % 4 == 0) {
      const char *slashes[] = {"//", "/./", "/././/", "///"};
      to = stpcpy(to, slashes[next(seed) % 4]);
    } else {
      *to++ = *form;
    }
  }
  *to = 0;
  return path;
}

static void names(uint32_t *seed) {
  // From the root or, with the working directory in `top`, from there.
  const char *shared[] = {
      "@/share/f", "@/share/d/f", "@/share/d/../f", "@/host/../share/f", "share/f", "./share/d/f",
      "host/../share/f", "host/d/../../share/d/f", "share/d/../d/f",
  };
  const char *hosts[] = {
      "@/host/f", "@/host/d/f", "@/host/d/../f", "host/f", "./host/d/f", "host/d/../f",
      "@/host/shared/f", "host/shared/f", "@/host/shar/f", "@/host/fd/f", "host/net/f",
      "@/host/resolv.conf/f", "host/tun/f",
  };
  for (int i = 0; i < TURNS; i++) {
    by_all_calls(AT_FDCWD, joined(shared[next(seed) % 9], seed), "device's");
    by_all_calls(AT_FDCWD, joined(hosts[next(seed) % 13], seed), "host");
  }
}

static void directories(uint32_t *seed) {
  int all = open(top, O_RDONLY | O_DIRECTORY), host = openat(all, "host", O_RDONLY | O_DIRECTORY);
  int share = openat(all, "share", O_RDONLY | O_DIRECTORY);
  CHECK(all >= 0 && host >= 0 && share >= 0);
  for (int i = 0; i < TURNS; i++) {
    by_all_calls(all, joined("share/f", seed), "device's");
    by_all_calls(share, joined("d/f", seed), "device's");
    by_all_calls(host, joined("../share/d/f", seed), "device's");
    by_all_calls(all, joined("host/f", seed), "host");
    by_all_calls(host, joined("d/f", seed), "host");
    // Numbers that change what they are.
    int number = dup(i % 2 ? share : host);
    by_all_calls(number, "f", i % 2 ? "device's" : "host");
    CHECK(dup2(i % 2 ? host : share, number) == number);
    by_all_calls(number, "f", i % 2 ? "host" : "device's");
    CHECK(close(number) == 0);
  }
  // The working directory on one side and the other.
  for (int i = 0; i < TURNS; i++) {
    CHECK((i % 4 < 2 ? chdir(joined("@/share/d", seed)) : fchdir(share)) == 0);
    by_all_calls(AT_FDCWD, "f", "device's");
    by_all_calls(AT_FDCWD, joined("@/host/f", seed), "host");
    pid_t child = i % 8 ? 0 : fork();
    if (i % 8 == 0 && child == 0) {
      for (int k = 0; k < TURNS; k++) by_all_calls(AT_FDCWD, "./f", "device's");
      CHECK(chdir(top) == 0);
      for (int k = 0; k < TURNS; k++) by_all_calls(AT_FDCWD, "host/f", "host");
      exit(0);
    }
    int status = 0;
    if (i % 8 == 0) CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK((i % 2 ? chdir(joined("@/host", seed)) : fchdir(host)) == 0);
    by_all_calls(AT_FDCWD, "f", "host");
    by_all_calls(AT_FDCWD, joined("../share/f", seed), "device's");
  }
  CHECK(chdir(top) == 0);
  CHECK(close(all) == 0 && close(host) == 0 && close(share) == 0);
}

/* From one side to the other: that is done wholly, or not at all. */
static void across(uint32_t *seed) {
  const char *here[] = {"host/m", "@/host/m"}, *there[] = {"share/m", "@/share/m"};
  put_text("host/m", "m");
  for (int i = 0; i < TURNS; i++) {
    char from[PATH_MAX], to[PATH_MAX];
    strcpy(from, joined(here[next(seed) % 2], seed));
    strcpy(to, joined(there[next(seed) % 2], seed));
    int e = errno_of(i % 2 ? rename(from, to) : link(from, to));
    CHECK(e == 0 || e == EXDEV);
    CHECK(strcmp(said(AT_FDCWD, "share/m"), e ? "ENOENT" : "m") == 0);
    if (e == 0) CHECK(i % 2 ? rename(to, from) == 0 : unlink(to) == 0);
    CHECK(strcmp(said(AT_FDCWD, "host/m"), "m") == 0);
    CHECK(symlink("../share/f", "host/s") == 0);
    CHECK(readlink("host/s", from, sizeof from) == 10 && unlink("host/s") == 0);
    CHECK(getcwd(to, sizeof to) && strcmp(to, top) == 0);
  }
  CHECK(unlink("host/m") == 0);
}

/* Names of what is open, and of the network. */
static void others(uint32_t *seed) {
  char path[64];
  int fd = open("share/f", O_RDONLY), pid = getpid();
  CHECK(fd >= 0);
  const char *forms[] = {"/proc/self/fd/%d", "/dev/fd/%d", "/proc/../proc/self/fd/%d", "//dev//fd/%d"};
  for (int i = 0; i < TURNS; i++) {
    snprintf(path, sizeof path, forms[next(seed) % 4], fd);
    CHECK(strcmp(said(AT_FDCWD, path), "device's") == 0);
    snprintf(path, sizeof path, "/proc/%d/net/dev", pid);
    const char *nets[] = {"/proc/net/dev", "/proc/self/net/dev", "/sys/class/net/lo/mtu", path};
    CHECK(access(nets[next(seed) % 4], R_OK) == 0);
  }
  CHECK(close(fd) == 0);
}

static void wrong(void) {
  char *end = end_of_memory();
  char longest[PATH_MAX + 2], within[PATH_MAX];
  memset(longest, 'x', sizeof longest);
  longest[sizeof longest - 1] = 0;
  // Longer than what is looked at without a trap.
  char *to = stpcpy(within, top);
  for (int i = 0; i < 150; i++) to = stpcpy(to, "/.");
  stpcpy(to, "/share/f");
  for (int i = 0; i < 40; i++) {
    CHECK(errno_of(open((char *)8, O_RDONLY)) == EFAULT);
    CHECK(errno_of(access("", F_OK)) == ENOENT);
    CHECK(errno_of(open(longest, O_RDONLY)) == ENAMETOOLONG);
    CHECK(strcmp(said(AT_FDCWD, within), "device's") == 0);
    char *last = strcpy(end - sizeof "host/f", "host/f");
    CHECK(strcmp(said(AT_FDCWD, last), "host") == 0);
    memset(end - 16, 'x', 16);
    CHECK(errno_of(access(end - 16, F_OK)) == EFAULT);
    CHECK(errno_of(openat(-1, "host/f", O_RDONLY)) == EBADF);
    CHECK(errno_of(access("host/none", F_OK)) == ENOENT);
    int fd = open("host/new", O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0 && close(fd) == 0 && unlink("host/new") == 0);
    CHECK(mkdir("host/new", 0700) == 0 && rmdir("host/new") == 0);
    CHECK(symlink("f", "host/link") == 0);
    char link[8];
    CHECK(readlink("host/link", link, sizeof link) == 1 && link[0] == 'f');
    CHECK(unlinkat(AT_FDCWD, "host/link", 0) == 0);
  }
}

int main(int argc, char **argv) {
  CHECK(argc == 3);
  uint32_t seed = strtoul(argv[1], NULL, 0);
  CHECK(chdir(argv[2]) == 0 && strlen(argv[2]) < sizeof top);
  strcpy(top, argv[2]);
  const char *made[] = {"host/d", "host/shared", "host/shar", "host/fd", "host/net",
                        "host/resolv.conf", "host/tun", "share/d"};
  for (int i = 0; i < 8; i++) CHECK(mkdir(made[i], 0755) == 0);
  put_text("host/f", "host");
  put_text("share/f", "device's");
  char path[64];
  for (int i = 0; i < 8; i++) {
    snprintf(path, sizeof path, "%s/f", made[i]);
    put_text(path, i < 7 ? "host" : "device's");
  }
  names(&seed);
  directories(&seed);
  across(&seed);
  others(&seed);
  wrong();
  say("done");
  return 0;
}

// SPDX-License-Identifier: MIT
// executed DIR HOST: programs are executed from files of a directory, in all ways that there are; HOST is
// another directory. executed show …: what is executed, and says what it sees.
#include "check.h"

#include <elf.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>

#ifndef AT_EXECVE_CHECK
#define AT_EXECVE_CHECK 0x10000
#endif

extern char **environ;

static char dir[3000];
static char host[3000];

/* Prints a text with the two directories' names in the place of the directories. */
static void shown(const char *text) {
  for (const char *at = text; *at;) {
    if (strncmp(at, dir, strlen(dir)) == 0) {
      printf("DIR");
      at += strlen(dir);
    } else if (strncmp(at, host, strlen(host)) == 0) {
      printf("HOST");
      at += strlen(host);
    } else {
      putchar(*at++);
    }
  }
}

static void contents(const char *path) {
  char text[5000];
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0);
  ssize_t n = read(fd, text, sizeof text - 1);
  CHECK(n >= 0);
  for (ssize_t i = 0; i < n - 1; i++) text[i] = text[i] ? text[i] : '|';
  text[n > 0 ? n - 1 : 0] = 0;
  shown(text);
  close(fd);
}

/* What the new program sees. */
static int show(int argc, char **argv) {
  CHECK(getenv("EXECUTED_DIR") && getenv("EXECUTED_HOST"));
  strcpy(dir, getenv("EXECUTED_DIR"));
  strcpy(host, getenv("EXECUTED_HOST"));
  for (int i = 0; i < argc; i++) {
    printf(i ? " [" : "[");
    shown(argv[i]);
    printf("]");
  }
  char exe[4096];
  ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
  CHECK(n > 0);
  exe[n] = 0;
  printf(" exe ");
  shown(exe);
  char name[17] = "";
  CHECK(prctl(PR_GET_NAME, name) == 0);
  printf(" comm %s name ", name);
  shown((char *)getauxval(AT_EXECFN));
  printf(" line ");
  contents("/proc/self/cmdline");
  char other[64];
  snprintf(other, sizeof other, "/proc/%d/exe", getpid());
  struct stat a, b;
  CHECK(stat(other, &a) == 0 && stat(exe, &b) == 0);
  sigset_t mask;
  CHECK(sigprocmask(SIG_BLOCK, NULL, &mask) == 0);
  printf(" %s%s", a.st_ino == b.st_ino && a.st_dev == b.st_dev ? "same" : "another",
         sigismember(&mask, SIGUSR1) ? " blocked" : "");
  struct sigaction usr2;
  CHECK(sigaction(SIGUSR2, NULL, &usr2) == 0);
  if (usr2.sa_handler == SIG_IGN) printf(" ignored");
  printf(" fds");
  for (int fd = 0; fd < 64; fd++)
    if (fcntl(fd, F_GETFD) >= 0) printf(" %d", fd);
  printf("\n");
  fflush(stdout);
  return 7;
}

static char *path_of(const char *name) {
  static char paths[8][4096];
  static int turn;
  char *path = paths[turn++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", dir, name);
  return path;
}

static void executable(const char *path, const char *text) {
  put_text(path, text);
  CHECK(chmod(path, 0755) == 0);
}

static void copy(const char *from, const char *to) {
  static char block[1 << 16];
  int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
  CHECK(in >= 0 && out >= 0);
  ssize_t n;
  while ((n = read(in, block, sizeof block)) > 0) CHECK(write(out, block, (size_t)n) == n);
  CHECK(n == 0 && close(in) == 0 && close(out) == 0);
}

static int open_files(void) {
  int count = 0;
  for (int fd = 0; fd < 64; fd++) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

/* What became of a child. */
static void ended(const char *what, pid_t child) {
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  if (WIFEXITED(status))
    say("%s: exit %d", what, WEXITSTATUS(status));
  else
    say("%s: signal %d", what, WTERMSIG(status));
}

enum way { EXECVE, AT, AT_EMPTY };

struct how {
  enum way way;
  int directory;
  const char *path;
  char **arguments;
  int flags;
};

static long now(const struct how *h) {
  return h->way == EXECVE ? execve(h->path, h->arguments, environ)
                          : syscall(SYS_execveat, h->directory, h->path, h->arguments, environ, h->flags);
}

/* In a child: an execution that should succeed, or what it fails with, which must leave no trace. */
static void try(const char *what, struct how h) {
  fflush(stdout);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    int before = open_files();
    CHECK(now(&h) == -1);
    int error = errno;
    CHECK(open_files() == before);
    CHECK(now(&h) == -1 && errno == error && open_files() == before);
    say("%s: %s", what, errno_name(error));
    _exit(0);
  }
  ended(what, child);
}

static char *show_arguments[] = {"first", "show", "second", NULL};

static void try_path(const char *what, const char *path) {
  try(what, (struct how){.way = EXECVE, .path = path, .arguments = show_arguments});
}

static void try_at(const char *what, int directory, const char *path, int flags) {
  try(what, (struct how){.way = AT, .directory = directory, .path = path, .arguments = show_arguments, .flags = flags});
}

static void ways(void) {
  try_path("by its path", path_of("tool"));
  CHECK(chdir(dir) == 0);
  try_path("from the working directory", "./tool");
  try_path("with a longer way", "sub/../tool");
  CHECK(chdir(host) == 0);
  int d = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  CHECK(d >= 0);
  try_at("from a directory", d, "tool", 0);
  try_at("of a script from one that is closed", d, "script", 0);
  CHECK(fcntl(d, F_SETFD, 0) == 0);
  try_at("of a script from one that stays", d, "script", 0);
  int fd = open(path_of("tool"), O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  try_at("by a descriptor", fd, "", AT_EMPTY_PATH);
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  try_path("by its link", link);
  snprintf(link, sizeof link, "/dev/fd/%d", fd);
  try_path("by another", link);
  close(fd);
  fd = open(path_of("tool"), O_PATH);
  CHECK(fd >= 0);
  try_at("by one that cannot be read", fd, "", AT_EMPTY_PATH);
  close(fd);
  fd = open(path_of("script"), O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  try_at("of a script by a descriptor that is closed", fd, "", AT_EMPTY_PATH);
  CHECK(fcntl(fd, F_SETFD, 0) == 0);
  try_at("of a script by one that stays", fd, "", AT_EMPTY_PATH);
  close(fd);
  fd = open(path_of("tool"), O_WRONLY);
  CHECK(fd >= 0);
  try_at("by one that is written to", fd, "", AT_EMPTY_PATH);
  close(fd);
  try_path("by a link of its directory", path_of("link"));
  close(d);
}

static void scripts(void) {
  char text[8000];
  snprintf(text, sizeof text, "#!%s/tool show", dir);
  executable(path_of("one"), text);
  snprintf(text, sizeof text, "#! %s/tool\tshow more  \nrest\n", dir);
  executable(path_of("two"), text);
  snprintf(text, sizeof text, "#!%s/two again\n", dir);
  executable(path_of("three"), text);
  for (int i = 4; i < 9; i++) {
    char name[16];
    snprintf(text, sizeof text, "#!%s/%d\n", dir, i - 1);
    snprintf(name, sizeof name, "%d", i);
    executable(path_of(name), i == 4 ? "#!/bin/sh\necho \"$0\" | sed 's:.*/::'\n" : text);
  }
  try_path("of a script without an end", path_of("one"));
  try_path("of a script", path_of("two"));
  try_path("of a script of a script", path_of("three"));
  try_path("of a script of five", path_of("8"));
  snprintf(text, sizeof text, "#!%s/8\n", dir);
  executable(path_of("9"), text);
  try_path("of a script of six", path_of("9"));
  snprintf(text, sizeof text, "#!%s/9\n", dir);
  executable(path_of("10"), text);
  try_path("of a script of seven", path_of("10"));
  snprintf(text, sizeof text, "%s/script", host);
  char line[8000];
  snprintf(line, sizeof line, "#!%s/tool show\n", dir);
  executable(text, line);
  try_path("of a script of the host", text);
  CHECK(chmod(text, 0644) == 0);
  try_path("of one that is not to be executed", text);
  executable(path_of("script"), "#!/bin/sh -e\ncd /; echo \"script $# $1\"; exit 9\n");
  try_path("of a script for a shell", path_of("script"));
  CHECK(chdir(dir) == 0);
  executable("relative", "#!tool show\n");
  try_path("of an interpreter from the working directory", "relative");
  CHECK(chdir(host) == 0);
  static const char *const bad[] = {"#!\n", "#!", "#!   \n", "#!/no/such/interpreter\n", "", "text\n", "#"};
  for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
    executable(path_of("bad"), bad[i]);
    snprintf(text, sizeof text, "of what begins with \"%.*s\"", (int)strcspn(bad[i], "\n"), bad[i]);
    try_path(text, path_of("bad"));
  }
  memset(line, 'a', sizeof line);
  memcpy(line, "#!/", 3);
  line[300] = 0;
  executable(path_of("bad"), line);
  try_path("of an interpreter that is too long", path_of("bad"));
}

static void refused(void) {
  try_path("that is not there", path_of("nothing"));
  try_path("in what is no directory", path_of("tool/x"));
  try_path("with a slash", path_of("tool/"));
  CHECK(chmod(path_of("text"), 0644) == 0);
  try_path("that may not be executed", path_of("text"));
  try_path("that is a directory", path_of("sub"));
  try_path("that is a FIFO", path_of("fifo"));
  try_path("by a circle of links", path_of("circle"));
  int d = open(dir, O_RDONLY | O_DIRECTORY);
  CHECK(d >= 0);
  try_at("by a link that is not followed", d, "link", AT_SYMLINK_NOFOLLOW);
  try_at("by no link", d, "tool", AT_SYMLINK_NOFOLLOW);
  try_at("with a flag that is not known", d, "tool", 1);
  try_at("by no name", d, "", 0);
  try_at("by the directory itself", d, "", AT_EMPTY_PATH);
  close(d);
  try_path("by an empty path", "");
  char longer[4200];
  memset(longer, 'x', sizeof longer - 1);
  longer[sizeof longer - 1] = 0;
  memcpy(longer, dir, strlen(dir));
  longer[strlen(dir)] = '/';
  try_path("by a path that is too long", longer);
  try_path("by a path that is not there", (char *)8);
  try("with arguments that are not there", (struct how){.path = path_of("tool"), .arguments = (char **)8});
  char *wrong[] = {"a", (char *)8, NULL};
  try("with an argument that is not there", (struct how){.path = path_of("tool"), .arguments = wrong});
  size_t bytes = 200000;
  char *much = malloc(bytes);
  CHECK(much);
  memset(much, 'y', bytes - 1);
  much[bytes - 1] = 0;
  char *too_much[] = {"a", much, NULL};
  try("with an argument that is too long", (struct how){.path = path_of("tool"), .arguments = too_much});
  free(much);
}

static void *execute(void *path) {
  execv(path, show_arguments);
  say("not executed: %s", errno_name(errno));
  return NULL;
}

static void *forever(void *unused) {
  for (;;) pause();
  return unused;
}

static void callers(void) {
  fflush(stdout);
  pid_t child;
  CHECK(posix_spawn(&child, path_of("tool"), NULL, NULL, show_arguments, environ) == 0);
  ended("by posix_spawn", child);
  CHECK(posix_spawn(&child, path_of("nothing"), NULL, NULL, show_arguments, environ) == ENOENT);
  char *path = path_of("script");
  child = vfork();
  if (child == 0) {
    execv(path, show_arguments);
    _exit(99);
  }
  ended("by vfork", child);
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    pthread_t t;
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&t, NULL, forever, NULL) == 0);
    path = path_of("tool");
    CHECK(pthread_create(&t, NULL, execute, path) == 0);
    forever(NULL);
  }
  ended("by a thread that is not the first", child);
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGUSR2, SIG_IGN);
    CHECK(dup2(1, 20) == 20 && fcntl(20, F_SETFD, 0) == 0);
    CHECK(dup2(1, 21) == 21 && fcntl(21, F_SETFD, FD_CLOEXEC) == 0);
    execve(path_of("tool"), show_arguments, environ);
    _exit(99);
  }
  ended("with signals and descriptors", child);
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    raise(SIGSTOP);
    execve(path_of("tool"), show_arguments, environ);
    _exit(99);
  }
  int status;
  CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
  CHECK(kill(child, SIGCONT) == 0);
  ended("after a stop", child);
  char *none[] = {NULL};
  try("without arguments", (struct how){.path = path_of("tool"), .arguments = none});
  enum { MANY = 30000 };
  char **many = calloc(MANY + 1, sizeof *many);
  CHECK(many);
  for (int i = 0; i < MANY; i++) many[i] = "argument";
  many[1] = "count";
  try("with many arguments", (struct how){.path = path_of("tool"), .arguments = many});
  try("of a script with many arguments", (struct how){.path = path_of("counting"), .arguments = many});
  free(many);
}

/* Has a program name another interpreter: its name stands behind all else. */
static void interpreted_by(const char *program, const char *interpreter) {
  int fd = open(program, O_RDWR);
  CHECK(fd >= 0);
  Elf64_Ehdr e;
  CHECK(pread(fd, &e, sizeof e, 0) == sizeof e);
  int found = 0;
  off_t end = lseek(fd, 0, SEEK_END);
  for (int i = 0; i < e.e_phnum; i++) {
    Elf64_Phdr p;
    off_t at = (off_t)(e.e_phoff + (unsigned)i * sizeof p);
    CHECK(pread(fd, &p, sizeof p, at) == sizeof p);
    if (p.p_type != PT_INTERP) continue;
    found = 1;
    p.p_offset = (Elf64_Off)end;
    p.p_filesz = p.p_memsz = strlen(interpreter) + 1;
    CHECK(pwrite(fd, interpreter, p.p_filesz, end) == (ssize_t)p.p_filesz);
    CHECK(pwrite(fd, &p, sizeof p, at) == sizeof p);
  }
  CHECK(found && close(fd) == 0);
}

static void programs(const char *self) {
  char command[10000];
  /* The interpreter of this program, from its own auxiliary vector's side: the loader of the machine. */
  copy("/lib64/ld-linux-x86-64.so.2", path_of("loader"));
  copy(self, path_of("loaded"));
  interpreted_by(path_of("loaded"), path_of("loader"));
  try_path("with a loader beside it", path_of("loaded"));
  interpreted_by(path_of("loaded"), path_of("nothing"));
  try_path("with a loader that is not there", path_of("loaded"));
  copy(self, path_of("large"));
  CHECK(truncate(path_of("large"), 40 << 20) == 0);
  try_path("with 40 MiB", path_of("large"));
  CHECK(truncate(path_of("large"), 1000) == 0);
  try_path("that ends early", path_of("large"));
  snprintf(command, sizeof command, "PATH=%s:$PATH; tool show by PATH; script one; exec tool show last", dir);
  fflush(stdout);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", command, NULL);
    _exit(99);
  }
  ended("by a shell", child);
}

static void traced(void) {
  fflush(stdout);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
    execve(path_of("tool"), show_arguments, environ);
    say("traced: %s", errno_name(errno));
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  if (WIFSTOPPED(status)) {
    say("stops with signal %d", WSTOPSIG(status));
    CHECK(ptrace(PTRACE_CONT, child, 0, 0) == 0);
    ended("traced", child);
  } else {
    say("traced: exit %d", WEXITSTATUS(status));
  }
}

/* Ends children while they execute a program, sooner or later; what is left of them is an end. */
static void killed(void) {
  static const char *const names[] = {"tool", "counting", "script", "large"};
  copy(path_of("tool"), path_of("large"));
  CHECK(truncate(path_of("large"), 8 << 20) == 0);
  int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  CHECK(null >= 0);
  for (int i = 0; i < 120; i++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      dup2(null, 1);
      execve(path_of(names[i % 4]), show_arguments, environ);
      _exit(99);
    }
    sleep_us(i * 250);
    kill(child, i % 3 ? SIGKILL : SIGTERM);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == (i % 3 ? SIGKILL : SIGTERM) : WEXITSTATUS(status) < 10);
  }
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], "show") == 0) return show(argc, argv);
  if (argc > 1 && strcmp(argv[1], "count") == 0) {
    say("%d arguments", argc);
    return 0;
  }
  if (argc < 3 && getenv("EXECUTED_DIR")) {
    say("%d arguments, the first is \"%s\"", argc, argv[0]);
    return 0;
  }
  CHECK(argc == 4);
  CHECK(realpath(argv[1], dir) && realpath(argv[2], host));
  CHECK(setenv("EXECUTED_DIR", dir, 1) == 0 && setenv("EXECUTED_HOST", host, 1) == 0);
  char self[4096];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  CHECK(n > 0);
  self[n] = 0;
  umask(022);
  copy(self, path_of("tool"));
  CHECK(mkdir(path_of("sub"), 0755) == 0);
  CHECK(mkfifo(path_of("fifo"), 0755) == 0);
  CHECK(symlink("tool", path_of("link")) == 0 && symlink("circle", path_of("circle")) == 0);
  put_text(path_of("text"), "text\n");
  executable(path_of("script"), "#!/bin/sh\necho \"script $# $1\"\nexit 9\n");
  char text[4200];
  snprintf(text, sizeof text, "#!%s/tool count\n", dir);
  executable(path_of("counting"), text);
  if (strcmp(argv[3], "ways") == 0) ways();
  if (strcmp(argv[3], "scripts") == 0) scripts();
  if (strcmp(argv[3], "refused") == 0) refused();
  if (strcmp(argv[3], "callers") == 0) callers();
  if (strcmp(argv[3], "programs") == 0) programs(self);
  if (strcmp(argv[3], "traced") == 0) traced();
  if (strcmp(argv[3], "killed") == 0) killed();
  say("all");
  return 0;
}

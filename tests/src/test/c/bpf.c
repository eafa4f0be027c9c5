// SPDX-License-Identifier: MIT
// bpf(2) by its bare calls: maps of each type, programs of sockets, of XDP and of tc, what names
// them elsewhere, what is refused and how, and that nothing is left.
#include "check.h"
#include "route.h"

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <net/if.h>
#include <sys/mman.h>

// the library's headers may be older than these
#ifndef SO_ATTACH_BPF
#define SO_ATTACH_BPF 50
#endif
#ifndef SO_ATTACH_REUSEPORT_EBPF
#define SO_ATTACH_REUSEPORT_EBPF 52
#endif

enum { ENTRIES = 16, LO = 1 };

static long bpf(int command, union bpf_attr *a, unsigned size) {
  return syscall(SYS_bpf, command, a, size);
}

static void fails(const char *what, int expected, long result) {
  int number = errno;
  if (result != -1 || number != expected) {
    fprintf(stderr, "%s: %ld, %s, and not %s\n", what, result, errno_name(number),
            errno_name(expected));
    exit(1);
  }
}

// ---- maps ----

static long try_map(int type, int key, int value, int entries, int flags) {
  union bpf_attr a = {.map_type = type, .key_size = key, .value_size = value,
                      .max_entries = entries, .map_flags = flags};
  memcpy(a.map_name, "judge", 6);
  return bpf(BPF_MAP_CREATE, &a, sizeof a);
}

static int new_map(int type, int key, int value, int flags) {
  long fd = try_map(type, key, value, ENTRIES, flags);
  CHECK(fd >= 0);
  CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
  return fd;
}

static long element(int command, int map, const void *key, void *value, uint64_t flags) {
  union bpf_attr a = {.map_fd = map, .key = (uintptr_t)key, .value = (uintptr_t)value, .flags = flags};
  return bpf(command, &a, command == BPF_MAP_DELETE_ELEM ? 16 : sizeof a);
}

static long lookup(int map, const void *key, void *value) {
  return element(BPF_MAP_LOOKUP_ELEM, map, key, value, 0);
}

static long update(int map, const void *key, const void *value, uint64_t flags) {
  return element(BPF_MAP_UPDATE_ELEM, map, key, (void *)value, flags);
}

static uint64_t counted(int map) {
  uint32_t key = 0;
  uint64_t value = 0;
  CHECK(lookup(map, &key, &value) == 0);
  return value;
}

/* How many keys an iteration meets. */
static int walk(int map, int key_bytes) {
  char key[64], next[64];
  const char *from = NULL;
  int n = 0;
  for (; n <= 2 * ENTRIES; n++) {
    union bpf_attr a = {.map_fd = map, .key = (uintptr_t)from, .next_key = (uintptr_t)next};
    if (bpf(BPF_MAP_GET_NEXT_KEY, &a, 24) != 0) {
      CHECK(errno == ENOENT);
      return n;
    }
    memcpy(key, next, key_bytes);
    from = key;
  }
  return -1;
}

static void plain_maps(void) {
  int array = new_map(BPF_MAP_TYPE_ARRAY, 4, 24, 0);
  uint32_t key = 3;
  char value[24] = "as it was put in", got[24] = "";
  CHECK(update(array, &key, value, 0) == 0 && lookup(array, &key, got) == 0);
  CHECK(!memcmp(value, got, sizeof got) && walk(array, 4) == ENTRIES);
  fails("delete", EINVAL, element(BPF_MAP_DELETE_ELEM, array, &key, NULL, 0));
  fails("exists", EEXIST, update(array, &key, value, BPF_NOEXIST));
  key = ENTRIES;
  fails("beyond", ENOENT, lookup(array, &key, got));
  fails("beyond", E2BIG, update(array, &key, value, 0));
  close(array);

  int hash = new_map(BPF_MAP_TYPE_HASH, 12, 8, 0);
  for (uint64_t i = 0; i < ENTRIES; i++) {
    char name[12] = {0};
    snprintf(name, sizeof name, "key %d", (int)i);
    CHECK(update(hash, name, &i, BPF_NOEXIST) == 0);
  }
  uint64_t number = 0;
  fails("full", E2BIG, update(hash, "one more....", &number, 0));
  CHECK(lookup(hash, "key 7\0\0\0\0\0\0\0", &number) == 0 && number == 7);
  CHECK(element(BPF_MAP_LOOKUP_AND_DELETE_ELEM, hash, "key 7\0\0\0\0\0\0\0", &number, 0) == 0);
  fails("gone", ENOENT, lookup(hash, "key 7\0\0\0\0\0\0\0", &number));
  CHECK(element(BPF_MAP_DELETE_ELEM, hash, "key 8\0\0\0\0\0\0\0", NULL, 0) == 0);
  CHECK(walk(hash, 12) == ENTRIES - 2);
  union bpf_attr freeze = {.map_fd = hash};
  CHECK(bpf(BPF_MAP_FREEZE, &freeze, 4) == 0);
  fails("frozen", EPERM, update(hash, "key 1\0\0\0\0\0\0\0", &number, 0));
  close(hash);

  int lru = new_map(BPF_MAP_TYPE_LRU_HASH, 4, 8, 0);
  for (uint32_t i = 0; i < 20 * ENTRIES; i++) {
    number = i;
    CHECK(update(lru, &i, &number, 0) == 0);
  }
  int left = walk(lru, 4);
  CHECK(left > 0 && left <= ENTRIES);
  close(lru);

  int trie = new_map(BPF_MAP_TYPE_LPM_TRIE, 8, 8, BPF_F_NO_PREALLOC);
  struct { uint32_t bits; uint8_t address[4]; } wide = {8, {10}}, narrow = {16, {10, 1}},
      one = {32, {10, 1, 2, 3}}, other = {32, {10, 9, 9, 9}}, none = {32, {11, 0, 0, 1}};
  uint64_t a = 1, b = 2;
  CHECK(update(trie, &wide, &a, 0) == 0 && update(trie, &narrow, &b, 0) == 0);
  CHECK(lookup(trie, &one, &number) == 0 && number == 2);
  CHECK(lookup(trie, &other, &number) == 0 && number == 1);
  fails("no prefix", ENOENT, lookup(trie, &none, &number));
  close(trie);

  int queue = new_map(BPF_MAP_TYPE_QUEUE, 0, 8, 0), stack = new_map(BPF_MAP_TYPE_STACK, 0, 8, 0);
  CHECK(update(queue, NULL, &a, 0) == 0 && update(queue, NULL, &b, 0) == 0);
  CHECK(update(stack, NULL, &a, 0) == 0 && update(stack, NULL, &b, 0) == 0);
  CHECK(lookup(queue, NULL, &number) == 0 && number == 1);
  CHECK(element(BPF_MAP_LOOKUP_AND_DELETE_ELEM, queue, NULL, &number, 0) == 0 && number == 1);
  CHECK(element(BPF_MAP_LOOKUP_AND_DELETE_ELEM, stack, NULL, &number, 0) == 0 && number == 2);
  close(queue);
  close(stack);

  int bloom = new_map(BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 0);
  CHECK(update(bloom, NULL, &a, 0) == 0 && lookup(bloom, NULL, &a) == 0);
  fails("not in it", ENOENT, lookup(bloom, NULL, &b));
  close(bloom);
  say("maps");
}

/* The number of values that a program has to make room for. */
static int processors(void) {
  char list[256] = "";
  int fd = open("/sys/devices/system/cpu/possible", O_RDONLY);
  CHECK(fd >= 0 && read(fd, list, sizeof list - 1) > 0);
  close(fd);
  char *last = strpbrk(list, "-,") ? strrchr(list, strchr(list, '-') ? '-' : ',') + 1 : list;
  return atoi(last) + 1;
}

static void per_cpu_maps(void) {
  int types[] = {BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH};
  int n = processors();
  for (int i = 0; i < 3; i++) {
    int map = new_map(types[i], 4, 4, 0);
    // Each value takes a multiple of eight bytes; behind them is nobody's.
    uint64_t put[n + 1], got[n + 1];
    uint32_t key = 5;
    memset(put, 0, sizeof put);
    *(uint32_t *)put = 77;
    memset(got, 0x55, sizeof got);
    CHECK(update(map, &key, put, 0) == 0 && lookup(map, &key, got) == 0);
    uint64_t sum = 0;
    for (int c = 0; c < n; c++) sum += *(uint32_t *)&got[c];
    CHECK(sum == 77 && got[n] == 0x5555555555555555);
    close(map);
  }
  say("values of each processor");
}

static long batch(int command, int map, void *in, void *out, void *keys, void *values, uint32_t *count) {
  union bpf_attr a = {.batch = {.in_batch = (uintptr_t)in, .out_batch = (uintptr_t)out,
                                .keys = (uintptr_t)keys, .values = (uintptr_t)values,
                                .count = *count, .map_fd = map}};
  long r = bpf(command, &a, sizeof a);
  *count = a.batch.count;
  return r;
}

static void batches(void) {
  enum { MANY = 20000 };
  static uint32_t keys[MANY], got[MANY];
  static uint64_t values[MANY], back[MANY];
  for (uint32_t i = 0; i < MANY; i++) {
    keys[i] = i;
    values[i] = 3 * i;
  }
  int types[] = {BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH};
  for (int t = 0; t < 2; t++) {
    long map = try_map(types[t], 4, 8, MANY, 0);
    CHECK(map >= 0);
    uint32_t n = MANY;
    CHECK(batch(BPF_MAP_UPDATE_BATCH, map, NULL, NULL, keys, values, &n) == 0 && n == MANY);
    uint32_t from, all = 0;
    uint64_t sum = 0;
    for (int first = 1;; first = 0) {
      n = MANY;
      long r = batch(BPF_MAP_LOOKUP_BATCH, map, first ? NULL : &from, &from, got, back, &n);
      CHECK(r == 0 || errno == ENOENT);
      for (uint32_t i = 0; i < n; i++) {
        CHECK(back[i] == 3 * got[i]);
        sum += got[i];
      }
      all += n;
      if (r != 0) break;
      CHECK(all <= MANY);
    }
    CHECK(all == MANY && sum == MANY * (MANY - 1ULL) / 2);
    if (types[t] == BPF_MAP_TYPE_HASH) {
      n = 100;
      CHECK(batch(BPF_MAP_DELETE_BATCH, map, NULL, NULL, keys, NULL, &n) == 0 && n == 100);
      fails("deleted", ENOENT, lookup(map, keys + 99, back));
      CHECK(lookup(map, keys + 100, back) == 0);
    }
    close(map);
  }
  say("batches");
}

// ---- programs ----

#define I(c, d, s, o, i) {.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)}
#define MAP(r, fd) I(0x18, r, BPF_PSEUDO_MAP_FD, 0, fd), I(0, 0, 0, 0, 0)
#define MOV(r, i) I(0xb7, r, 0, 0, i)
#define MOVE(d, s) I(0xbf, d, s, 0, 0)
#define CALL(helper) I(0x85, 0, 0, 0, helper)
#define EXIT I(0x95, 0, 0, 0, 0)
// The first value of an array of u64 becomes one more; registers from 6 on stay.
#define COUNT(fd) I(0x62, 10, 0, -4, 0), MAP(1, fd), MOVE(2, 10), I(0x07, 2, 0, 0, -4), \
    CALL(BPF_FUNC_map_lookup_elem), I(0x15, 0, 0, 2, 0), MOV(1, 1), I(0xdb, 0, 1, 0, 0)
#define LENGTH(a) ((int)(sizeof(a) / sizeof *(a)))

static long try_load(int type, const struct bpf_insn *code, int count, char *log, int log_bytes, int level) {
  union bpf_attr a = {.prog_type = type, .insn_cnt = count, .insns = (uintptr_t)code,
                      .license = (uintptr_t) "GPL", .log_buf = (uintptr_t)log,
                      .log_size = log_bytes, .log_level = level};
  memcpy(a.prog_name, "judge", 6);
  return bpf(BPF_PROG_LOAD, &a, sizeof a);
}

static int load(int type, const struct bpf_insn *code, int count) {
  long fd = try_load(type, code, count, NULL, 0, 0);
  if (fd < 0) {
    static char log[32768];
    int number = errno;
    try_load(type, code, count, log, sizeof log, 1);
    fprintf(stderr, "load: %s\n%s\n", errno_name(number), log);
    exit(1);
  }
  return fd;
}

static int counter(void) { return new_map(BPF_MAP_TYPE_ARRAY, 4, 8, 0); }

static int send_to(int from, int to, const struct sockaddr_in *address, const char *text, int wait) {
  char got[64];
  CHECK(sendto(from, text, strlen(text), 0, (const struct sockaddr *)address, sizeof *address) > 0);
  struct pollfd p = {to, POLLIN, 0};
  if (poll(&p, 1, wait) == 0) return 0;
  CHECK(recv(to, got, sizeof got, 0) == (ssize_t)strlen(text) && !memcmp(got, text, strlen(text)));
  return 1;
}

/* A kernel whose interrupts have taken long leaves the rest of them to a thread. */
static int arrives(int from, int to, const struct sockaddr_in *address, const char *text) {
  return send_to(from, to, address, text, 5000);
}

/* What is dropped on the way through the loopback is so before the send returns, but for the same. */
static int dropped(int from, int to, const struct sockaddr_in *address, const char *text) {
  return !send_to(from, to, address, text, 0);
}

static void socket_filter(void) {
  int map = counter();
  // A datagram's first byte is behind eight of its header; those that begin with x do not pass.
  struct bpf_insn code[] = {MOVE(6, 1), I(0x30, 0, 0, 0, 8), MOVE(7, 0), COUNT(map),
                            MOV(0, 0x7fffffff), I(0x55, 7, 0, 1, 'x'), MOV(0, 0), EXIT};
  int program = load(BPF_PROG_TYPE_SOCKET_FILTER, code, LENGTH(code));
  struct sockaddr_in at;
  int to = bound(SOCK_DGRAM, &at), from = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(setsockopt(to, SOL_SOCKET, SO_ATTACH_BPF, &program, sizeof program) == 0);
  CHECK(close(program) == 0);
  CHECK(arrives(from, to, &at, "a word") && dropped(from, to, &at, "x word") && arrives(from, to, &at, "a word"));
  CHECK(counted(map) == 3);
  int zero = 0;
  CHECK(setsockopt(to, SOL_SOCKET, SO_DETACH_BPF, &zero, sizeof zero) == 0);
  CHECK(arrives(from, to, &at, "x word") && counted(map) == 3);
  fails("a map", EINVAL, setsockopt(to, SOL_SOCKET, SO_ATTACH_BPF, &map, sizeof map));
  fails("a socket", EINVAL, setsockopt(to, SOL_SOCKET, SO_ATTACH_BPF, &to, sizeof to));
  fails("stdin", EINVAL, setsockopt(to, SOL_SOCKET, SO_ATTACH_BPF, &zero, sizeof zero));
  int closed = 999;
  fails("none", EBADF, setsockopt(to, SOL_SOCKET, SO_ATTACH_BPF, &closed, sizeof closed));
  close(to);
  close(from);
  close(map);
  say("a filter of a socket");
}

static void reuseport(void) {
  int group = new_map(BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 4, 8, 0), one = 1;
  // The first byte of a datagram, a digit, says which socket of the group it is for.
  struct bpf_insn code[] = {
      MOVE(6, 1), I(0x79, 2, 1, 0, 0), I(0x79, 3, 1, 8, 0), MOVE(4, 2), I(0x07, 4, 0, 0, 9),
      I(0x2d, 4, 3, 11, 0), I(0x71, 5, 2, 8, 0), I(0x17, 5, 0, 0, '0'), I(0x63, 10, 5, -4, 0),
      MOVE(1, 6), MAP(2, group), MOVE(3, 10), I(0x07, 3, 0, 0, -4), MOV(4, 0),
      CALL(BPF_FUNC_sk_select_reuseport), MOV(0, 1), EXIT, MOV(0, 0), EXIT};
  code[5].off = LENGTH(code) - 2 - 6;
  int program = load(BPF_PROG_TYPE_SK_REUSEPORT, code, LENGTH(code));
  struct sockaddr_in at = loopback(0);
  int to[3], from = socket(AF_INET, SOCK_DGRAM, 0);
  for (uint32_t i = 0; i < 3; i++) {
    to[i] = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(setsockopt(to[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) == 0);
    CHECK(bind(to[i], (struct sockaddr *)&at, sizeof at) == 0);
    socklen_t length = sizeof at;
    CHECK(getsockname(to[i], (struct sockaddr *)&at, &length) == 0);
    uint64_t fd = to[i];
    CHECK(update(group, &i, &fd, BPF_NOEXIST) == 0);
  }
  CHECK(setsockopt(to[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &program, sizeof program) == 0);
  for (int round = 0; round < 6; round++) {
    char text[] = "0: for you";
    text[0] += round % 3;
    CHECK(arrives(from, to[round % 3], &at, text));
  }
  uint64_t fd = 0;
  uint32_t key = 3;
  CHECK(update(group, &key, &fd, 0) == -1); // stdin is no socket
  for (int i = 0; i < 3; i++) close(to[i]);
  close(from);
  close(program);
  close(group);
  say("a group of sockets");
}

static void maps_in_maps(void) {
  int inner = counter(), other = counter();
  union bpf_attr a = {.map_type = BPF_MAP_TYPE_HASH_OF_MAPS, .key_size = 4, .value_size = 4,
                      .max_entries = ENTRIES, .inner_map_fd = inner};
  int outer = bpf(BPF_MAP_CREATE, &a, sizeof a);
  CHECK(outer >= 0);
  uint32_t key = 9, id = 0;
  CHECK(update(outer, &key, &other, 0) == 0 && lookup(outer, &key, &id) == 0 && id != 0);
  int input = 0;
  CHECK(update(outer, &key, &input, 0) == -1 && errno == EINVAL);
  // A program finds the map in the map, and counts there.
  struct bpf_insn code[] = {
      I(0x62, 10, 0, -4, 9), MAP(1, outer), MOVE(2, 10), I(0x07, 2, 0, 0, -4),
      CALL(BPF_FUNC_map_lookup_elem), I(0x15, 0, 0, 8, 0), I(0x62, 10, 0, -4, 0), MOVE(1, 0),
      MOVE(2, 10), I(0x07, 2, 0, 0, -4), CALL(BPF_FUNC_map_lookup_elem), I(0x15, 0, 0, 2, 0),
      MOV(1, 1), I(0xdb, 0, 1, 0, 0), MOV(0, XDP_PASS), EXIT};
  int program = load(BPF_PROG_TYPE_XDP, code, LENGTH(code));
  // And one calls it by its place in an array of programs.
  int programs = new_map(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 0);
  key = 2;
  struct bpf_insn caller[] = {MAP(2, programs), MOV(3, 2), CALL(BPF_FUNC_tail_call), MOV(0, XDP_ABORTED), EXIT};
  int first = load(BPF_PROG_TYPE_XDP, caller, LENGTH(caller));
  CHECK(update(programs, &key, &program, 0) == 0 && lookup(programs, &key, &id) == 0 && id != 0);
  char in[64] = {0}, out[128];
  union bpf_attr run = {.test = {.prog_fd = first, .data_in = (uintptr_t)in, .data_size_in = sizeof in,
                                 .data_out = (uintptr_t)out, .data_size_out = sizeof out, .repeat = 5}};
  CHECK(bpf(BPF_PROG_TEST_RUN, &run, sizeof run) == 0);
  CHECK(run.test.retval == XDP_PASS && run.test.data_size_out == sizeof in && counted(other) == 5 && counted(inner) == 0);
  run.test.data_out = (uintptr_t)out;
  run.test.data_size_out = 10;
  fails("too little room", ENOSPC, bpf(BPF_PROG_TEST_RUN, &run, sizeof run));
  // Of the room there is only what the packet has become is written to, and nothing if nothing runs.
  struct {
    uint32_t bytes_in, room, written;
  } rooms[] = {{64, 128, 64}, {64, 0, 64}, {64, 10, 10}, {1, 0, 0}, {1, 128, 0}};
  for (int i = 0; i < LENGTH(rooms); i++) {
    memset(out, 0x55, sizeof out);
    run.test.data_size_in = rooms[i].bytes_in;
    run.test.data_size_out = rooms[i].room;
    int r = bpf(BPF_PROG_TEST_RUN, &run, sizeof run);
    CHECK(r == 0 ? rooms[i].written == 64 : errno == (rooms[i].written ? ENOSPC : EINVAL));
    for (uint32_t k = 0; k < sizeof out; k++) CHECK(out[k] == (k < rooms[i].written ? 0 : 0x55));
    CHECK(run.test.data_size_out == (rooms[i].written ? 64 : rooms[i].room));
  }
  close(first);
  close(program);
  close(programs);
  close(outer);
  close(inner);
  close(other);
  say("maps in maps, programs in maps");
}

// ---- netlink ----

static void xdp(void) {
  struct sockaddr_in at;
  int map = counter(), to = bound(SOCK_DGRAM, &at), from = socket(AF_INET, SOCK_DGRAM, 0);
  struct bpf_insn code[] = {
      I(0x61, 2, 1, 0, 0), I(0x61, 3, 1, 4, 0), MOVE(4, 2), I(0x07, 4, 0, 0, 38), I(0x2d, 4, 3, 0, 0),
      I(0x71, 5, 2, 23, 0), I(0x55, 5, 0, 0, IPPROTO_UDP), I(0x69, 5, 2, 36, 0), I(0x55, 5, 0, 0, at.sin_port),
      COUNT(map), MOV(0, XDP_DROP), EXIT, MOV(0, XDP_PASS), EXIT};
  for (int i = 4; i <= 8; i += i == 4 ? 2 : 2) code[i].off = LENGTH(code) - 2 - i - 1;
  int program = load(BPF_PROG_TYPE_XDP, code, LENGTH(code));
  CHECK(arrives(from, to, &at, "before"));
  CHECK(set_xdp(LO, program) == 0);
  CHECK(dropped(from, to, &at, "meanwhile") && counted(map) == 1);
  CHECK(set_xdp(LO, -1) == 0);
  CHECK(arrives(from, to, &at, "after") && counted(map) == 1);
  CHECK(set_xdp(LO, map) == EINVAL);
  CHECK(set_xdp(LO, 999) == EBADF);

  // The same by a link, which ends with its last descriptor.
  union bpf_attr a = {.link_create = {.prog_fd = program, .target_ifindex = LO, .attach_type = BPF_XDP,
                                      .flags = XDP_FLAGS_SKB_MODE}};
  int link = bpf(BPF_LINK_CREATE, &a, sizeof a);
  CHECK(link >= 0 && dropped(from, to, &at, "meanwhile") && counted(map) == 2);
  struct bpf_link_info info = {0};
  union bpf_attr about = {.info = {.bpf_fd = link, .info = (uintptr_t)&info, .info_len = sizeof info}};
  CHECK(bpf(BPF_OBJ_GET_INFO_BY_FD, &about, 16) == 0 && info.type == BPF_LINK_TYPE_XDP && info.xdp.ifindex == LO);
  close(link);
  // The hang-up of a last descriptor is seen before the next call to the device.
  CHECK(arrives(from, to, &at, "after"));
  close(program);
  close(to);
  close(from);
  close(map);
  say("XDP");
}

static int qdisc(int type) {
  struct message m = {.head = {NLMSG_LENGTH(sizeof m.traffic), type, NLM_F_CREATE | NLM_F_EXCL, 0, 0},
                      .traffic = {.tcm_ifindex = LO, .tcm_handle = 0xffff0000, .tcm_parent = TC_H_CLSACT}};
  if (type == RTM_DELQDISC) m.head.nlmsg_flags = 0;
  put(&m, TCA_KIND, "clsact", 7);
  return ask(&m);
}

static struct message filter(int priority, const char *kind) {
  struct message m = {.head = {NLMSG_LENGTH(sizeof m.traffic), RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, 0, 0},
                      .traffic = {.tcm_ifindex = LO, .tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
                                  .tcm_info = TC_H_MAKE(priority << 16, htons(3 /* ETH_P_ALL */))}};
  put(&m, TCA_KIND, kind, strlen(kind) + 1);
  return m;
}

static int classify(int fd) {
  struct message m = filter(1, "bpf");
  uint32_t flags = TCA_BPF_FLAG_ACT_DIRECT;
  struct rtattr *nest = put(&m, TCA_OPTIONS, NULL, 0);
  put(&m, TCA_BPF_FD, &fd, sizeof fd);
  put(&m, TCA_BPF_NAME, "judge", 6);
  put(&m, TCA_BPF_FLAGS, &flags, sizeof flags);
  end(&m, nest);
  return ask(&m);
}

/* An action of a filter of another kind: what neither kernel of a machine need have. */
static int act(int fd) {
  struct message m = filter(2, "matchall");
  struct { uint32_t index, capab; int action, refcnt, bindcnt; } parameters = {.action = TC_ACT_PIPE};
  struct rtattr *options = put(&m, TCA_OPTIONS, NULL, 0), *list = put(&m, TCA_MATCHALL_ACT, NULL, 0);
  struct rtattr *first = put(&m, 1, NULL, 0);
  put(&m, TCA_ACT_KIND, "bpf", 4);
  struct rtattr *own = put(&m, TCA_ACT_OPTIONS | NLA_F_NESTED, NULL, 0);
  put(&m, 2 /* TCA_ACT_BPF_PARMS */, &parameters, sizeof parameters);
  put(&m, 5 /* TCA_ACT_BPF_FD */, &fd, sizeof fd);
  put(&m, 6 /* TCA_ACT_BPF_NAME */, "judge", 6);
  end(&m, own);
  end(&m, first);
  end(&m, list);
  end(&m, options);
  return ask(&m);
}

static int dropper(int type, int map, int port) {
  // What is sent to that port: 2 is TC_ACT_SHOT; others, also what is too short, 0 and TC_ACT_OK.
  struct bpf_insn code[] = {MOVE(6, 1), I(0x28, 0, 0, 0, 36), MOVE(7, 0), MOV(0, 0), I(0x55, 7, 0, 11, port),
                            COUNT(map), MOV(0, TC_ACT_SHOT), EXIT};
  code[4].off = LENGTH(code) - 1 - 5;
  return load(type, code, LENGTH(code));
}

static void traffic(int actions) {
  struct sockaddr_in at;
  int map = counter(), to = bound(SOCK_DGRAM, &at), from = socket(AF_INET, SOCK_DGRAM, 0);
  int program = dropper(BPF_PROG_TYPE_SCHED_CLS, map, ntohs(at.sin_port));
  CHECK(qdisc(RTM_NEWQDISC) == 0);
  CHECK(classify(map) == EINVAL);
  CHECK(classify(999) == EBADF);
  CHECK(arrives(from, to, &at, "before"));
  CHECK(classify(program) == 0);
  CHECK(dropped(from, to, &at, "meanwhile") && counted(map) == 1);
  CHECK(qdisc(RTM_DELQDISC) == 0);
  CHECK(arrives(from, to, &at, "after") && counted(map) == 1);
  if (actions) {
    int action = dropper(BPF_PROG_TYPE_SCHED_ACT, map, ntohs(at.sin_port));
    CHECK(qdisc(RTM_NEWQDISC) == 0 && act(action) == 0);
    CHECK(dropped(from, to, &at, "meanwhile") && counted(map) == 2);
    CHECK(qdisc(RTM_DELQDISC) == 0);
    close(action);
  }
  close(program);
  close(to);
  close(from);
  close(map);
  say("filters of tc");
}

// ---- errors ----

static void errors(void) {
  union bpf_attr a = {0};
  fails("no such command", EINVAL, bpf(10000, &a, sizeof a));
  char large[4097] = {0};
  fails("more than a page", E2BIG, syscall(SYS_bpf, BPF_MAP_CREATE, large, sizeof large));
  large[4000] = 1;
  fails("what no kernel knows", E2BIG, syscall(SYS_bpf, BPF_MAP_CREATE, large, 4096));
  fails("no attribute", EFAULT, syscall(SYS_bpf, BPF_MAP_CREATE, 8, sizeof a));
  union bpf_attr more = {.map_fd = 0, .next_key = 1};
  ((char *)&more)[100] = 1;
  fails("a field of another command", EINVAL, bpf(BPF_MAP_LOOKUP_ELEM, &more, sizeof more));

  int map = new_map(BPF_MAP_TYPE_HASH, 4, 8, 0), socket_fd = socket(AF_INET, SOCK_DGRAM, 0);
  uint32_t key = 1;
  uint64_t value = 1;
  char *gone = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fails("no file", EBADF, update(999, &key, &value, 0));
  fails("a socket", EINVAL, update(socket_fd, &key, &value, 0));
  fails("a key that faults", EFAULT, update(map, gone, &value, 0));
  fails("a value that faults", EFAULT, update(map, &key, gone, 0));
  fails("not there, wherever to", ENOENT, lookup(map, &key, gone));
  CHECK(update(map, &key, &value, 0) == 0);
  fails("a value that faults", EFAULT, lookup(map, &key, gone));
  fails("no such type", EINVAL, try_map(4711, 4, 4, 1, 0));
  fails("no entries", EINVAL, try_map(BPF_MAP_TYPE_ARRAY, 4, 4, 0, 0));
  fails("a key of an array", EINVAL, try_map(BPF_MAP_TYPE_ARRAY, 8, 4, 1, 0));

  struct bpf_insn good[] = {MOV(0, 0), EXIT}, bad[] = {MOVE(0, 5), EXIT};
  struct bpf_insn foreign[] = {MAP(1, socket_fd), MOV(0, 0), EXIT}, none[] = {MAP(1, 999), MOV(0, 0), EXIT};
  static char log[65536];
  fails("unknown register", EACCES, try_load(BPF_PROG_TYPE_SOCKET_FILTER, bad, 2, NULL, 0, 0));
  fails("unknown register", EACCES, try_load(BPF_PROG_TYPE_SOCKET_FILTER, bad, 2, log, sizeof log, 1));
  CHECK(strstr(log, "R5 !read_ok"));
  memset(log, 0x7f, sizeof log);
  fails("a short log", ENOSPC, try_load(BPF_PROG_TYPE_SOCKET_FILTER, good, 2, log, 16, 2));
  CHECK(memchr(log, 0, 16) && log[16] == 0x7f);
  fails("a log without a level", EINVAL, try_load(BPF_PROG_TYPE_SOCKET_FILTER, good, 2, log, sizeof log, 0));
  fails("a log without bytes", EINVAL, try_load(BPF_PROG_TYPE_SOCKET_FILTER, good, 2, log, 0, 1));
  fails("a log that faults", EFAULT, try_load(BPF_PROG_TYPE_SOCKET_FILTER, good, 2, gone, 4096, 2));
  long fd = try_load(BPF_PROG_TYPE_SOCKET_FILTER, good, 2, log, sizeof log, 2);
  CHECK(fd >= 0 && strstr(log, "processed 2 insns"));
  close(fd);
  // Room for more than any call carries.
  char *room = mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fd = try_load(BPF_PROG_TYPE_SOCKET_FILTER, good, 2, room, 16 << 20, 2);
  CHECK(fd >= 0 && strstr(room, "processed 2 insns"));
  close(fd);
  munmap(room, 16 << 20);
  fails("a socket for a map", EINVAL, try_load(BPF_PROG_TYPE_SOCKET_FILTER, foreign, 4, NULL, 0, 0));
  fails("nothing for a map", EBADF, try_load(BPF_PROG_TYPE_SOCKET_FILTER, none, 4, NULL, 0, 0));
  fails("code that faults", EFAULT, try_load(BPF_PROG_TYPE_SOCKET_FILTER, (void *)gone, 2, NULL, 0, 0));
  fails("no code", E2BIG, try_load(BPF_PROG_TYPE_SOCKET_FILTER, good, 0, NULL, 0, 0));
  munmap(gone, 4096);
  close(socket_fd);
  close(map);
  say("errors");
}

// ---- lives ----

static uint32_t ids(int command, uint32_t first) {
  union bpf_attr a = {.start_id = first};
  return bpf(command, &a, sizeof a) == 0 ? a.next_id : 0;
}

static int by_id(int command, uint32_t id) {
  union bpf_attr a = {.map_id = id};
  return bpf(command, &a, sizeof a);
}

static uint32_t map_id(int fd, struct bpf_map_info *info) {
  union bpf_attr a = {.info = {.bpf_fd = fd, .info = (uintptr_t)info, .info_len = sizeof *info}};
  memset(info, 0, sizeof *info);
  CHECK(bpf(BPF_OBJ_GET_INFO_BY_FD, &a, 16) == 0);
  return info->id;
}

static void lives(void) {
  struct bpf_map_info info;
  int map = counter(), pair[2];
  uint32_t id = map_id(map, &info);
  CHECK(info.type == BPF_MAP_TYPE_ARRAY && info.key_size == 4 && info.value_size == 8);
  CHECK(info.max_entries == ENTRIES && !strcmp(info.name, "judge"));
  struct bpf_insn code[] = {COUNT(map), MOV(0, 0), EXIT};
  int program = load(BPF_PROG_TYPE_SOCKET_FILTER, code, LENGTH(code));
  uint32_t used[4] = {0};
  char instructions[512];
  struct bpf_prog_info about = {.nr_map_ids = 4, .map_ids = (uintptr_t)used,
                                .xlated_prog_len = sizeof instructions, .xlated_prog_insns = (uintptr_t)instructions};
  union bpf_attr a = {.info = {.bpf_fd = program, .info = (uintptr_t)&about, .info_len = sizeof about}};
  CHECK(bpf(BPF_OBJ_GET_INFO_BY_FD, &a, 16) == 0);
  CHECK(about.type == BPF_PROG_TYPE_SOCKET_FILTER && about.nr_map_ids == 1 && used[0] == id);
  CHECK(about.map_ids == (uintptr_t)used && about.xlated_prog_len > 0 && !strcmp(about.name, "judge"));
  close(program);

  // A copy, a child and a message hold it; each close but the last changes nothing.
  uint32_t key = 0;
  uint64_t value = 41;
  int copy = dup(map);
  CHECK(copy >= 0 && close(map) == 0);
  pid_t child = fork();
  if (child == 0) {
    CHECK(update(copy, &key, &value, 0) == 0);
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0 && counted(copy) == 41);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec io = {&byte, 1};
  struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *h = CMSG_FIRSTHDR(&m);
  h->cmsg_level = SOL_SOCKET;
  h->cmsg_type = SCM_RIGHTS;
  h->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(h), &copy, sizeof copy);
  CHECK(sendmsg(pair[0], &m, 0) == 1 && close(copy) == 0);
  CHECK(recvmsg(pair[1], &m, 0) == 1);
  memcpy(&copy, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof copy);
  CHECK(counted(copy) == 41);

  // By its number: another descriptor, another open file, the same map.
  int again = by_id(BPF_MAP_GET_FD_BY_ID, id);
  CHECK(again >= 0 && again != copy && counted(again) == 41 && map_id(again, &info) == id);
  int met = 0;
  for (uint32_t i = ids(BPF_MAP_GET_NEXT_ID, 0); i; i = ids(BPF_MAP_GET_NEXT_ID, i)) met |= i == id;
  CHECK(met);
  close(copy);
  close(again);
  close(pair[0]);
  close(pair[1]);
  // What a kernel frees, it frees in its own time.
  for (int64_t limit = now_us() + 10000000; (again = by_id(BPF_MAP_GET_FD_BY_ID, id)) >= 0;) {
    close(again);
    CHECK(now_us() < limit);
    sleep_us(2000);
  }
  CHECK(errno == ENOENT);
  say("lives");
}

/* What a kernel in a machine with an MMU does, and the library kernel does not. */
static void refused(void) {
  fails("an array to be mapped", EINVAL, try_map(BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_MMAPABLE));
  fails("a ring buffer", EINVAL, try_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0));
  fails("a ring buffer of programs", EINVAL, try_map(31 /* USER_RINGBUF */, 0, 0, 4096, 0));
  fails("an arena", EINVAL, try_map(33 /* ARENA */, 0, 0, 1, BPF_F_MMAPABLE));
  fails("perf events", EINVAL, try_map(BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 1, 0));
  fails("a value too long", E2BIG, try_map(BPF_MAP_TYPE_ARRAY, 4, 1 << 16, 1, 0));
  struct bpf_insn code[] = {MOV(0, 0), EXIT};
  fails("a program for tracing", EINVAL, try_load(BPF_PROG_TYPE_KPROBE, code, 2, NULL, 0, 0));
  fails("a program that calls bpf(2)", EINVAL, try_load(31 /* SYSCALL */, code, 2, NULL, 0, 0));
  int map = counter();
  CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, map, 0) == MAP_FAILED);
  union bpf_attr pin = {.pathname = (uintptr_t) "/tmp/pinned", .bpf_fd = map}, get = {.pathname = (uintptr_t) "/tmp/pinned"};
  fails("a name", EPERM, bpf(BPF_OBJ_PIN, &pin, sizeof pin));
  fails("what has no name", ENOENT, bpf(BPF_OBJ_GET, &get, sizeof get));
  close(map);
  say("what is refused");
}

static int open_files(void) {
  int n = 0;
  for (int fd = 0; fd < 1024; fd++) n += fcntl(fd, F_GETFD) >= 0;
  return n;
}

int main(int argc, char **argv) {
  int device = argc > 1 && !strcmp(argv[1], "device"), files = open_files();
  plain_maps();
  per_cpu_maps();
  batches();
  socket_filter();
  reuseport();
  maps_in_maps();
  xdp();
  traffic(device);
  errors();
  lives();
  if (device) refused();
  CHECK(open_files() == files);
  return 0;
}

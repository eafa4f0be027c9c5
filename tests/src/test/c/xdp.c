// SPDX-License-Identifier: MIT
// XDP sockets by their bare calls, in copy mode on one end of a veth pair that this program makes:
// what is wrong with calls, frames that come and that go, counts, and that nothing is left. At the
// other end is a packet socket.
#include "check.h"
#include "route.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <linux/veth.h>
#include <net/if.h>

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

enum {
  CHUNK = 2048,
  FRAMES = 64,
  MEMORY = CHUNK * FRAMES,
  HEADROOM = 64,
  BEFORE = 256 + HEADROOM, /* what the kernel leaves free in a chunk */
  LONGEST = CHUNK - BEFORE,
  PROTOCOL = 0x88b5, /* for experiments */
  HEADER = 14,
  METADATA = 8,
  PATIENCE = 10000,
};

static void fails(const char *what, int expected, long result) {
  int number = errno;
  if (result != -1 || number != expected) {
    fprintf(stderr, "%s: %ld, %s, and not %s\n", what, result, errno_name(number), errno_name(expected));
    exit(1);
  }
}

// ---- links ----

static void set_up(const char *name) {
  struct message m = {.head = {NLMSG_LENGTH(sizeof m.link), RTM_SETLINK, 0, 0, 0},
                      .link = {.ifi_index = if_nametoindex(name), .ifi_flags = IFF_UP, .ifi_change = IFF_UP}};
  CHECK(ask(&m) == 0);
}

static void make_pair(const char *one, const char *other) {
  struct message m = {.head = {NLMSG_LENGTH(sizeof m.link), RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, 0}};
  put(&m, IFLA_IFNAME, one, strlen(one) + 1);
  struct rtattr *info = put(&m, IFLA_LINKINFO, NULL, 0);
  put(&m, IFLA_INFO_KIND, "veth", 4);
  struct rtattr *data = put(&m, IFLA_INFO_DATA, NULL, 0), *peer = put(&m, VETH_INFO_PEER, NULL, 0);
  m.head.nlmsg_len += sizeof(struct ifinfomsg);
  put(&m, IFLA_IFNAME, other, strlen(other) + 1);
  end(&m, peer);
  end(&m, data);
  end(&m, info);
  CHECK(ask(&m) == 0);
  set_up(one);
  set_up(other);
}

static void end_pair(int index) {
  struct message m = {.head = {NLMSG_LENGTH(sizeof m.link), RTM_DELLINK, 0, 0, 0}, .link = {.ifi_index = index}};
  CHECK(ask(&m) == 0);
}

// ---- the program that leads frames to a socket ----

static long bpf(int command, union bpf_attr *a, unsigned size) {
  return syscall(SYS_bpf, command, a, size);
}

static int new_map(void) {
  union bpf_attr a = {.map_type = BPF_MAP_TYPE_XSKMAP, .key_size = 4, .value_size = 4, .max_entries = 4};
  int fd = bpf(BPF_MAP_CREATE, &a, sizeof a);
  CHECK(fd >= 0);
  return fd;
}

static long update(int map, uint32_t key, int fd) {
  union bpf_attr a = {.map_fd = map, .key = (uintptr_t)&key, .value = (uintptr_t)&fd};
  return bpf(BPF_MAP_UPDATE_ELEM, &a, sizeof a);
}

#define I(c, d, s, o, i) ((struct bpf_insn){.code = c, .dst_reg = d, .src_reg = s, .off = o, .imm = i})

/* Frames of our protocol go to the map's socket, with a mark before them; others pass. */
static int load(int map) {
  struct bpf_insn code[] = {
      I(0xbf, 6, 1, 0, 0),              // r6 = context
      I(0xb7, 2, 0, 0, -METADATA), I(0x85, 0, 0, 0, 54), // bpf_xdp_adjust_meta
      I(0x55, 0, 0, 20, 0),             // none: drop
      I(0x61, 2, 6, 0, 0), I(0x61, 3, 6, 4, 0), I(0x61, 7, 6, 8, 0), // data, its end, metadata
      I(0xbf, 4, 2, 0, 0), I(0x07, 4, 0, 0, HEADER), I(0x2d, 4, 3, 14, 0),
      I(0xbf, 4, 7, 0, 0), I(0x07, 4, 0, 0, METADATA), I(0x2d, 4, 2, 11, 0),
      I(0x71, 5, 2, HEADER - 2, 0), I(0x55, 5, 0, 9, PROTOCOL >> 8),
      I(0x62, 7, 0, 0, 0), I(0x62, 7, 0, 4, 0x12345678), // the mark, whose first half is zero
      I(0x61, 2, 6, 16, 0), I(0x18, 1, BPF_PSEUDO_MAP_FD, 0, map), I(0, 0, 0, 0, 0),
      I(0xb7, 3, 0, 0, XDP_PASS), I(0x85, 0, 0, 0, 51), I(0x95, 0, 0, 0, 0), // bpf_redirect_map
      I(0xb7, 0, 0, 0, XDP_PASS), I(0x95, 0, 0, 0, 0)};
  for (int i = 0, to = sizeof code / sizeof *code - 2; i < to; i++) {
    int class = code[i].code & 7, is = class == 5 && code[i].code != 0x85 && code[i].code != 0x95;
    if (is) code[i].off = to - i - 1;
  }
  static char log[16384];
  union bpf_attr a = {.prog_type = BPF_PROG_TYPE_XDP, .insns = (uintptr_t)code,
                      .insn_cnt = sizeof code / sizeof *code, .license = (uintptr_t) "GPL",
                      .log_buf = (uintptr_t)log, .log_size = sizeof log, .log_level = 1};
  int fd = bpf(BPF_PROG_LOAD, &a, sizeof a);
  if (fd < 0) fprintf(stderr, "%s", log);
  CHECK(fd >= 0);
  return fd;
}

// ---- sockets ----

struct ring {
  uint32_t *producer, *consumer, *flags, mask;
  union {
    struct xdp_desc *frames;
    uint64_t *chunks;
  };
  void *map;
  size_t bytes;
};

struct xsk {
  int fd;
  char *memory;
  struct ring rx, tx, fill, done;
};

static int new_socket(void) {
  int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0);
  return fd;
}

static char *new_memory(size_t bytes) {
  char *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(m != MAP_FAILED);
  return m;
}

static int set_memory(int fd, void *memory, uint64_t bytes, uint32_t chunk, uint32_t headroom, uint32_t flags) {
  struct xdp_umem_reg r = {.addr = (uintptr_t)memory, .len = bytes, .chunk_size = chunk, .headroom = headroom, .flags = flags};
  return setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &r, sizeof r);
}

static int set_ring(int fd, int option, int entries) {
  return setsockopt(fd, SOL_XDP, option, &entries, sizeof entries);
}

static struct ring map_ring(int fd, const struct xdp_ring_offset *o, int entries, int width, uint64_t offset) {
  struct ring r = {.mask = entries - 1, .bytes = o->desc + entries * width};
  char *m = mmap(NULL, r.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);
  CHECK(m != MAP_FAILED);
  r.map = m;
  r.producer = (void *)(m + o->producer);
  r.consumer = (void *)(m + o->consumer);
  r.flags = (void *)(m + o->flags);
  r.chunks = (void *)(m + o->desc);
  return r;
}

static int bind_to(int fd, int index, int queue, int flags) {
  struct sockaddr_xdp a = {.sxdp_family = AF_XDP, .sxdp_flags = flags, .sxdp_ifindex = index, .sxdp_queue_id = queue};
  return bind(fd, (void *)&a, sizeof a);
}

/* Binds to a queue whose last socket is gone, or goes in the kernel's own time. */
static int bind_again(int fd, int index, int flags) {
  int64_t limit = now_us() + PATIENCE * 1000LL;
  int r;
  while ((r = bind_to(fd, index, 0, flags)) != 0 && errno == EBUSY && now_us() < limit) sleep_us(1000);
  return r;
}

static struct xsk open_xsk(int index, int receive, int send, uint32_t chunk, uint32_t memory_flags) {
  struct xsk x = {.fd = new_socket(), .memory = new_memory(MEMORY)};
  struct xdp_mmap_offsets o;
  socklen_t length = sizeof o;
  CHECK(set_memory(x.fd, x.memory, MEMORY, chunk, HEADROOM, memory_flags) == 0);
  CHECK(set_ring(x.fd, XDP_UMEM_FILL_RING, FRAMES) == 0 && set_ring(x.fd, XDP_UMEM_COMPLETION_RING, FRAMES) == 0);
  if (receive) CHECK(set_ring(x.fd, XDP_RX_RING, receive) == 0);
  if (send) CHECK(set_ring(x.fd, XDP_TX_RING, send) == 0);
  CHECK(getsockopt(x.fd, SOL_XDP, XDP_MMAP_OFFSETS, &o, &length) == 0 && length == sizeof o);
  if (receive) x.rx = map_ring(x.fd, &o.rx, receive, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING);
  if (send) x.tx = map_ring(x.fd, &o.tx, send, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING);
  x.fill = map_ring(x.fd, &o.fr, FRAMES, 8, XDP_UMEM_PGOFF_FILL_RING);
  x.done = map_ring(x.fd, &o.cr, FRAMES, 8, XDP_UMEM_PGOFF_COMPLETION_RING);
  CHECK(bind_again(x.fd, index, XDP_COPY | XDP_USE_NEED_WAKEUP) == 0);
  return x;
}

static void unmap(struct ring *r) {
  if (r->map) CHECK(munmap(r->map, r->bytes) == 0);
}

static void close_xsk(struct xsk *x) {
  unmap(&x->rx);
  unmap(&x->tx);
  unmap(&x->fill);
  unmap(&x->done);
  CHECK(close(x->fd) == 0 && munmap(x->memory, MEMORY) == 0);
}

static uint32_t get(uint32_t *index) { return __atomic_load_n(index, __ATOMIC_ACQUIRE); }
static void advance(uint32_t *index, uint32_t by) { __atomic_store_n(index, *index + by, __ATOMIC_RELEASE); }

static void fill(struct xsk *x, uint64_t chunk) {
  x->fill.chunks[*x->fill.producer & x->fill.mask] = chunk;
  advance(x->fill.producer, 1);
}

/* The next frame that comes, as long as it takes. */
static struct xdp_desc take(struct xsk *x) {
  struct pollfd p = {x->fd, POLLIN, 0};
  while (get(x->rx.producer) == *x->rx.consumer) CHECK(poll(&p, 1, PATIENCE) == 1 && (p.revents & POLLIN));
  struct xdp_desc d = x->rx.frames[*x->rx.consumer & x->rx.mask];
  advance(x->rx.consumer, 1);
  return d;
}

static void give(struct xsk *x, uint64_t address, uint32_t bytes, uint32_t options) {
  x->tx.frames[*x->tx.producer & x->tx.mask] = (struct xdp_desc){address, bytes, options};
  advance(x->tx.producer, 1);
}

static void kick(struct xsk *x) {
  // A kernel may send a part with each call, and say so.
  while (sendto(x->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) != 0) CHECK(errno == EAGAIN || errno == EBUSY || errno == ENOBUFS);
}

/* Kicks until all is sent, and so many chunks have come back: which. */
static void completed(struct xsk *x, uint64_t *chunks, int count) {
  int64_t limit = now_us() + PATIENCE * 1000LL;
  for (int i = 0; i < count;) {
    if (get(x->done.producer) == *x->done.consumer) {
      kick(x);
      CHECK(now_us() < limit);
      continue;
    }
    chunks[i++] = x->done.chunks[*x->done.consumer & x->done.mask];
    advance(x->done.consumer, 1);
  }
}

static struct xdp_statistics statistics(struct xsk *x) {
  struct xdp_statistics s = {0};
  socklen_t length = sizeof s;
  CHECK(getsockopt(x->fd, SOL_XDP, XDP_STATISTICS, &s, &length) == 0 && length == sizeof s);
  return s;
}

// ---- the other end ----

static int open_far(int index) {
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(PROTOCOL));
  struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(PROTOCOL), .sll_ifindex = index};
  struct timeval limit = {PATIENCE / 1000, 0};
  CHECK(fd >= 0 && bind(fd, (void *)&a, sizeof a) == 0);
  CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  return fd;
}

/* The frame of a number: every byte of it depends on that. */
static int frame(char *to, uint32_t number, int bytes) {
  memset(to, 0xff, 6);
  memset(to + 6, 2, 6);
  to[12] = PROTOCOL >> 8;
  to[13] = (char)PROTOCOL;
  uint32_t state = number;
  for (int i = HEADER; i < bytes; i++) to[i] = next(&state);
  return bytes;
}

static void send_far(int far, uint32_t number, int bytes) {
  char out[CHUNK];
  CHECK(send(far, out, frame(out, number, bytes), 0) == bytes);
}

static void is_frame(const char *got, ssize_t length, uint32_t number, int bytes) {
  char expected[CHUNK];
  frame(expected, number, bytes);
  CHECK(length == bytes && !memcmp(got, expected, bytes));
}

static void receive_far(int far, uint32_t number, int bytes) {
  char in[CHUNK];
  ssize_t length = recv(far, in, sizeof in, 0);
  is_frame(in, length, number, bytes);
}

static int size_of(int i) { return 60 + i * 37 % 1400; }

// ---- what is tested ----

static void errors(int near) {
  int fd = new_socket(), option = 0;
  char *memory = new_memory(MEMORY);
  socklen_t length = 4;
  fails("another type", ESOCKTNOSUPPORT, socket(AF_XDP, SOCK_DGRAM, 0));
  fails("another protocol", EPROTONOSUPPORT, socket(AF_XDP, SOCK_RAW, 1));
  fails("a chunk too small", EINVAL, set_memory(fd, memory, MEMORY, 1024, 0, 0));
  fails("a chunk too large", EINVAL, set_memory(fd, memory, MEMORY, 8192, 0, 0));
  fails("an odd chunk", EINVAL, set_memory(fd, memory, MEMORY, 3000, 0, 0));
  fails("a piece of a chunk", EINVAL, set_memory(fd, memory, MEMORY + 1, CHUNK, 0, 0));
  fails("no chunk", EINVAL, set_memory(fd, memory, 0, CHUNK, 0, 0));
  fails("an odd address", EINVAL, set_memory(fd, memory + 64, MEMORY, CHUNK, 0, 0));
  fails("no room in a chunk", EINVAL, set_memory(fd, memory, MEMORY, CHUNK, CHUNK - 256, 0));
  fails("around the end", EINVAL, set_memory(fd, memory, -CHUNK, CHUNK, 0, 0));
  fails("a flag", EINVAL, set_memory(fd, memory, MEMORY, CHUNK, 0, 1u << 31));
  fails("no memory", EFAULT, set_memory(fd, end_of_memory(), MEMORY, CHUNK, 0, 0));
  fails("not an option", ENOPROTOOPT, set_ring(fd, 99, 4));
  fails("not that long", EINVAL, setsockopt(fd, SOL_XDP, XDP_RX_RING, &option, 2));
  fails("no entries", EINVAL, set_ring(fd, XDP_RX_RING, 0));
  fails("odd entries", EINVAL, set_ring(fd, XDP_RX_RING, 12));
  fails("from nowhere", EFAULT, setsockopt(fd, SOL_XDP, XDP_RX_RING, end_of_memory(), 4));
  fails("no offsets", EINVAL, getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &option, &length));
  fails("no ring", EINVAL, bind_to(fd, near, 0, XDP_COPY));
  fails("no ring", EINVAL, (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, XDP_PGOFF_RX_RING));
  CHECK(set_ring(fd, XDP_RX_RING, 16) == 0);
  fails("twice", EINVAL, set_ring(fd, XDP_RX_RING, 16));
  fails("beyond it", EINVAL, (long)mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, XDP_PGOFF_RX_RING));
  fails("elsewhere", EINVAL, (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096));
  fails("no memory", EINVAL, bind_to(fd, near, 0, XDP_COPY));
  CHECK(set_memory(fd, memory, MEMORY, CHUNK, 0, 0) == 0);
  fails("twice", EBUSY, set_memory(fd, memory, MEMORY, CHUNK, 0, 0));
  fails("no fill ring", EINVAL, bind_to(fd, near, 0, XDP_COPY));
  fails("not bound", ENXIO, sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0));
  CHECK(set_ring(fd, XDP_UMEM_FILL_RING, 16) == 0 && set_ring(fd, XDP_UMEM_COMPLETION_RING, 16) == 0);
  fails("no interface", ENODEV, bind_to(fd, 12345, 0, XDP_COPY));
  fails("no queue", EINVAL, bind_to(fd, near, 1000, XDP_COPY));
  fails("both", EINVAL, bind_to(fd, near, 0, XDP_COPY | XDP_ZEROCOPY));
  fails("no copies", EOPNOTSUPP, bind_to(fd, near, 0, XDP_ZEROCOPY));
  fails("a flag", EINVAL, bind_to(fd, near, 0, 1 << 14));
  fails("not an address", EINVAL, bind(fd, (void *)&(struct sockaddr_xdp){.sxdp_family = AF_INET}, 16));
  fails("half an address", EINVAL, bind(fd, (void *)&(struct sockaddr_xdp){.sxdp_family = AF_XDP}, 8));
  CHECK(bind_to(fd, near, 0, XDP_USE_NEED_WAKEUP) == 0);
  fails("twice", EBUSY, bind_to(fd, near, 0, XDP_COPY));
  fails("too late", EBUSY, set_ring(fd, XDP_TX_RING, 16));
  fails("no ring to send", ENOBUFS, sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0));
  fails("to wait", EOPNOTSUPP, sendto(fd, NULL, 0, 0, NULL, 0));
  fails("to wait", EOPNOTSUPP, recvfrom(fd, NULL, 0, 0, NULL, NULL));
  CHECK(recvfrom(fd, NULL, 0, MSG_DONTWAIT, NULL, NULL) == 0);
  struct xdp_options o = {.flags = 99};
  length = sizeof o;
  CHECK(getsockopt(fd, SOL_XDP, XDP_OPTIONS, &o, &length) == 0 && o.flags == 0);
  int second = new_socket();
  CHECK(set_memory(second, memory, MEMORY, CHUNK, 0, 0) == 0 && set_ring(second, XDP_RX_RING, 16) == 0);
  CHECK(set_ring(second, XDP_UMEM_FILL_RING, 16) == 0 && set_ring(second, XDP_UMEM_COMPLETION_RING, 16) == 0);
  fails("the same queue", EBUSY, bind_to(second, near, 0, XDP_COPY));
  close(second);
  close(fd);
  munmap(memory, MEMORY);
  say("errors");
}

static void receive(int near, int far, int map) {
  struct xsk x = open_xsk(near, 16, 0, CHUNK, 0);
  struct pollfd p = {x.fd, POLLIN | POLLOUT, 0};
  CHECK(update(map, 0, x.fd) == 0);
  CHECK(poll(&p, 1, 0) == 0);
  memset(x.memory, 0x5a, MEMORY);
  for (int i = 0; i < 12; i++) fill(&x, (uint64_t)(40 - 3 * i) * CHUNK + i); // anywhere in a chunk names it
  for (int i = 0; i < 12; i++) send_far(far, i, size_of(i));
  for (int i = 0; i < 12; i++) {
    struct xdp_desc d = take(&x);
    CHECK(d.addr == (uint64_t)(40 - 3 * i) * CHUNK + BEFORE && d.options == 0);
    is_frame(x.memory + d.addr, d.len, i, size_of(i));
    uint32_t mark[2];
    memcpy(mark, x.memory + d.addr - METADATA, METADATA);
    CHECK(mark[0] == 0 && mark[1] == 0x12345678);
    CHECK(x.memory[40 * CHUNK - 3 * i * CHUNK] == 0x5a && x.memory[d.addr + d.len] == 0x5a);
  }
  CHECK(poll(&p, 1, 0) == 0 && get(x.fill.consumer) == 12);

  // The longest frame that there is room for, and a longer one.
  fill(&x, 0);
  send_far(far, 100, 1514 < LONGEST ? 1514 : LONGEST);
  CHECK(take(&x).len == (1514 < LONGEST ? 1514 : LONGEST));

  // Nowhere to go.
  struct xdp_statistics before = statistics(&x);
  CHECK(before.rx_dropped == 0 && before.rx_ring_full == 0 && before.rx_fill_ring_empty_descs == 0);
  for (int i = 0; i < 5; i++) send_far(far, 200 + i, 100);
  struct xdp_statistics s;
  for (int64_t limit = now_us() + PATIENCE * 1000LL; (s = statistics(&x)).rx_dropped < 5;) CHECK(now_us() < limit);
  CHECK(s.rx_dropped == 5 && s.rx_fill_ring_empty_descs == 5 && s.rx_ring_full == 0);

  // A chunk outside of the memory is passed over; the ring is full before the frames end.
  fill(&x, MEMORY);
  for (int i = 0; i < 24; i++) fill(&x, (uint64_t)i * CHUNK);
  for (int i = 0; i < 20; i++) send_far(far, 300 + i, 200);
  for (int64_t limit = now_us() + PATIENCE * 1000LL; (s = statistics(&x)).rx_ring_full < 4;) CHECK(now_us() < limit);
  CHECK(s.rx_ring_full == 4 && s.rx_dropped == 5);
  for (int i = 0; i < 16; i++) {
    struct xdp_desc d = take(&x);
    CHECK(d.addr == (uint64_t)i * CHUNK + BEFORE);
    is_frame(x.memory + d.addr, d.len, 300 + i, 200);
  }
  // An old program asks for less.
  uint64_t old[3] = {0};
  socklen_t length = sizeof old;
  CHECK(getsockopt(x.fd, SOL_XDP, XDP_STATISTICS, old, &length) == 0 && length == sizeof old && old[0] == 9);

  // By epoll as well, and edges come with frames.
  int set = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event e = {.events = EPOLLIN | EPOLLET};
  CHECK(epoll_ctl(set, EPOLL_CTL_ADD, x.fd, &e) == 0 && epoll_wait(set, &e, 1, 0) == 0);
  for (int i = 0; i < 3; i++) {
    send_far(far, 400 + i, 300);
    CHECK(epoll_wait(set, &e, 1, PATIENCE) == 1 && (e.events & EPOLLIN));
    struct xdp_desc d = take(&x);
    is_frame(x.memory + d.addr, d.len, 400 + i, 300);
  }
  close(set);
  close_xsk(&x);
  say("frames that come");
}

static void transmit(int near, int far) {
  struct xsk x = open_xsk(near, 0, 32, CHUNK, 0);
  struct pollfd p = {x.fd, POLLIN | POLLOUT, 0};
  CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLOUT);
  CHECK(*x.tx.flags == XDP_RING_NEED_WAKEUP && *x.fill.flags == 0);
  uint64_t back[32];
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 32; i++) {
      uint64_t at = (uint64_t)(63 - i) * CHUNK + 4 * i;
      give(&x, at, frame(x.memory + at, round * 32 + i, size_of(i)), 0);
    }
    completed(&x, back, 32);
    CHECK(get(x.tx.consumer) == *x.tx.producer);
    // Each once; in which order is the kernel's affair, as is the lowest bit of an address (6.18).
    uint32_t met = 0;
    for (int i = 0; i < 32; i++) {
      receive_far(far, round * 32 + i, size_of(i));
      int which = 63 - back[i] / CHUNK;
      CHECK(which >= 0 && which < 32 && back[i] == (uint64_t)(63 - which) * CHUNK + 4 * which);
      met |= 1u << which;
    }
    CHECK(met == UINT32_MAX);
  }
  // A poll sends, too.
  give(&x, 0, frame(x.memory, 1000, 777), 0);
  CHECK(poll(&p, 1, PATIENCE) == 1 && p.revents == POLLOUT);
  receive_far(far, 1000, 777);
  completed(&x, back, 1);
  CHECK(back[0] == 0);

  // What no kernel sends is counted, and what is behind it goes all the same.
  CHECK(statistics(&x).tx_invalid_descs == 0);
  give(&x, MEMORY, 100, 0);
  give(&x, CHUNK - 10, 100, 0);
  give(&x, 0, 0, 0);
  give(&x, -CHUNK, 100, 0);
  give(&x, 0, 100, 1u << 30);
  give(&x, CHUNK, frame(x.memory + CHUNK, 1001, 99), 0);
  for (int64_t limit = now_us() + PATIENCE * 1000LL; get(x.tx.consumer) != *x.tx.producer; kick(&x)) CHECK(now_us() < limit);
  receive_far(far, 1001, 99);
  CHECK(statistics(&x).tx_invalid_descs == 5);
  kick(&x);
  CHECK(statistics(&x).tx_ring_empty_descs > 0);
  fails("to wait", EOPNOTSUPP, sendto(x.fd, NULL, 0, 0, NULL, 0));
  fails("to receive", ENOBUFS, recvfrom(x.fd, NULL, 0, MSG_DONTWAIT, NULL, NULL));
  close_xsk(&x);
  say("frames that go");
}

/* Frames come back as they came, in memory whose chunks begin anywhere. */
static void echo(int near, int far, int map) {
  struct xsk x = open_xsk(near, FRAMES, FRAMES, 3000, XDP_UMEM_UNALIGNED_CHUNK_FLAG);
  CHECK(update(map, 0, x.fd) == 0);
  enum { SPARE = 20 };
  for (int i = 0; i < SPARE; i++) fill(&x, 100 + i * 3001);
  uint32_t sent = 0, returned = 0;
  for (int round = 0; round < 60; round++) {
    for (int i = 0; i < SPARE; i++, sent++) send_far(far, sent, size_of(sent % 97));
    for (int i = 0; i < SPARE; i++) {
      struct xdp_desc d = take(&x);
      uint64_t at = (d.addr & ((1ull << 48) - 1)) + (d.addr >> 48);
      CHECK(d.addr >> 48 == BEFORE && at + d.len <= MEMORY);
      give(&x, d.addr, d.len, 0);
    }
    uint64_t back[SPARE];
    completed(&x, back, SPARE);
    for (int i = 0; i < SPARE; i++, returned++) {
      receive_far(far, returned, size_of(returned % 97));
      fill(&x, back[i] & ((1ull << 48) - 1));
    }
  }
  struct xdp_statistics s = statistics(&x);
  CHECK(s.rx_dropped == 0 && s.rx_ring_full == 0 && s.tx_invalid_descs == 0 && s.rx_fill_ring_empty_descs == 0);
  close_xsk(&x);
  say("frames that come back");
}

static int open_files(void) {
  int n = 0;
  for (int fd = 0; fd < 1024; fd++) n += fcntl(fd, F_GETFD) >= 0;
  return n;
}

static void half_open(int fd, char *memory) {
  CHECK(set_memory(fd, memory, MEMORY, CHUNK, 0, 0) == 0 && set_ring(fd, XDP_RX_RING, 1024) == 0);
  CHECK(set_ring(fd, XDP_TX_RING, 1024) == 0 && set_ring(fd, XDP_UMEM_FILL_RING, 1024) == 0);
  CHECK(set_ring(fd, XDP_UMEM_COMPLETION_RING, 1024) == 0);
}

static void lives(int near, int far, int map) {
  int files = open_files();
  char *memory = new_memory(MEMORY);
  // More than a kernel has memory for, and than may be there at a time.
  for (int i = 0; i < 100; i++) {
    int fd = new_socket();
    half_open(fd, memory);
    CHECK(bind_again(fd, near, XDP_COPY) == 0 && close(fd) == 0);
  }
  // A process that has one is killed, with frames on their way to it.
  for (int i = 0; i < 3; i++) {
    int ready[2];
    CHECK(pipe(ready) == 0);
    pid_t child = fork();
    if (child == 0) {
      struct xsk x = open_xsk(near, 16, 16, CHUNK, 0);
      for (int n = 0; n < 16; n++) fill(&x, (uint64_t)n * CHUNK);
      CHECK(update(map, 0, x.fd) == 0 && write(ready[1], "x", 1) == 1);
      pause();
    }
    char byte;
    CHECK(read(ready[0], &byte, 1) == 1);
    for (int n = 0; n < 10; n++) send_far(far, n, 500);
    int status;
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    close(ready[0]);
    close(ready[1]);
  }
  // A child has what its parent has; the last one's end is the socket's.
  int fd = new_socket();
  half_open(fd, memory);
  CHECK(bind_again(fd, near, XDP_COPY) == 0);
  pid_t child = fork();
  if (child == 0) _exit(recvfrom(fd, NULL, 0, MSG_DONTWAIT, NULL, NULL) != 0);
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(recvfrom(fd, NULL, 0, MSG_DONTWAIT, NULL, NULL) == 0);
  // Its interface goes first.
  end_pair(near);
  fails("no interface any more", ENXIO, recvfrom(fd, NULL, 0, MSG_DONTWAIT, NULL, NULL));
  close(fd);
  munmap(memory, MEMORY);
  CHECK(open_files() == files);
  say("lives");
}

int main(void) {
  make_pair("obx0", "obx1");
  int near = if_nametoindex("obx0"), far = open_far(if_nametoindex("obx1"));
  int map = new_map(), program = load(map);
  CHECK(near > 0 && set_xdp(near, program) == 0);
  close(program);
  errors(near);
  receive(near, far, map);
  transmit(near, far);
  echo(near, far, map);
  lives(near, far, map);
  return 0;
}

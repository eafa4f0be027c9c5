// SPDX-License-Identifier: MIT
// touches PID ADDRESS: counts what all threads of a process do to one byte of its memory, by the
// processor's debug registers (perf_event_open(2)); threads that begin later are not seen. Prints
// "ready", waits for a line, and prints for each place of code how often it touched the byte: the name
// of its file, and of the file whose code called that. Then how many touches were lost. Ends with 2
// where that cannot be done; some hypervisors let a breakpoint be set and never report it.
#include "check.h"

#include <dirent.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>

enum {
  MAX_THREADS = 512,
  RING_BYTES = 32 * 4096, /* of each thread */
  HEADER_BYTES = 4096,
  STACK_BYTES = 512,
  MAX_PLACES = 64,
  MAX_CODES = 1024,
  NAME_BYTES = 64,
};

static struct {
  int fd;
  struct perf_event_mmap_page *ring;
} watched[MAX_THREADS];

/* Memory of the process that can be executed. */
static struct code {
  uint64_t begin, end;
  char name[NAME_BYTES];
} codes[MAX_CODES];
static int code_count;

static struct {
  uint64_t address, count;
  const struct code *code, *caller;
} places[MAX_PLACES];

/* What a thread did, as the kernel writes it down. */
struct sample {
  uint64_t address, stack_bytes, stack[STACK_BYTES / sizeof(uint64_t)], stack_valid;
};

static const struct code unknown = {.name = "-"};

static void read_codes(const char *pid) {
  char path[64], line[1024], rights[8];
  snprintf(path, sizeof path, "/proc/%s/maps", pid);
  FILE *maps = fopen(path, "r");
  CHECK(maps);
  while (fgets(line, sizeof line, maps)) {
    struct code *c = &codes[code_count];
    unsigned long long begin, end;
    CHECK(sscanf(line, "%llx-%llx %7s", &begin, &end, rights) == 3);
    if (rights[2] != 'x') continue;
    c->begin = begin;
    c->end = end;
    char *slash = strrchr(line, '/');
    char name[NAME_BYTES] = "-";
    if (slash) sscanf(slash + 1, "%63s", name);
    memcpy(c->name, name, sizeof name);
    CHECK(++code_count < MAX_CODES);
  }
  fclose(maps);
}

static const struct code *code_at(uint64_t address) {
  for (int i = 0; i < code_count; i++)
    if (address >= codes[i].begin && address < codes[i].end) return &codes[i];
  return &unknown;
}

/* The other file's code that a thread returns to: the first of its addresses on the stack. */
static const struct code *caller_of(const struct code *code, const struct sample *s) {
  for (uint64_t i = 0; i < s->stack_valid / sizeof *s->stack; i++) {
    const struct code *c = code_at(s->stack[i]);
    if (c != &unknown && strcmp(c->name, code->name) != 0) return c;
  }
  return &unknown;
}

static int watch(int n, pid_t tid, uint64_t address) {
  struct perf_event_attr a = {
      .type = PERF_TYPE_BREAKPOINT,
      .size = sizeof a,
      .bp_type = HW_BREAKPOINT_RW,
      .bp_addr = address,
      .bp_len = HW_BREAKPOINT_LEN_1,
      .sample_period = 1,
      .sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_STACK_USER,
      .sample_stack_user = STACK_BYTES,
  };
  int fd = syscall(SYS_perf_event_open, &a, tid, -1, -1, 0);
  if (fd < 0 && errno == EACCES) {
    // Who may not watch the kernel may watch a program.
    a.exclude_kernel = 1;
    fd = syscall(SYS_perf_event_open, &a, tid, -1, -1, 0);
  }
  if (fd < 0) return errno == ESRCH ? 0 : -1;
  watched[n].fd = fd;
  watched[n].ring =
      mmap(NULL, HEADER_BYTES + RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return watched[n].ring == MAP_FAILED ? -1 : 1;
}

static void found(const struct sample *s) {
  const struct code *code = code_at(s->address);
  const struct code *caller = caller_of(code, s);
  for (int i = 0; i < MAX_PLACES; i++)
    if (places[i].count == 0 || (places[i].address == s->address && places[i].caller == caller)) {
      places[i].address = s->address;
      places[i].code = code;
      places[i].caller = caller;
      places[i].count++;
      return;
    }
  CHECK(!"too many places");
}

/* Takes what is in a ring, which is never read before its end; how many did not find room. */
static uint64_t collect(struct perf_event_mmap_page *ring) {
  uint64_t lost = 0, head = __atomic_load_n(&ring->data_head, __ATOMIC_ACQUIRE);
  const char *data = (const char *)ring + ring->data_offset;
  for (uint64_t at = 0; at < head;) {
    const struct perf_event_header *h = (const void *)(data + at);
    CHECK(h->size > 0 && at + h->size <= ring->data_size);
    if (h->type == PERF_RECORD_SAMPLE) {
      struct sample s = {.stack_valid = 0};
      memcpy(&s, h + 1, h->size - sizeof *h < sizeof s ? h->size - sizeof *h : sizeof s);
      // Without a stack there is no word that says how much of it is valid.
      if (s.stack_bytes != STACK_BYTES) s.stack_valid = 0;
      found(&s);
    }
    if (h->type == PERF_RECORD_LOST) lost += ((const uint64_t *)(h + 1))[1];
    at += h->size;
  }
  return lost;
}

/* Whether a touch of this program's own is counted. */
static int counts(void) {
  static volatile char byte;
  if (watch(0, 0, (uint64_t)&byte) != 1) return -1;
  byte = 1;
  int seen = __atomic_load_n(&watched[0].ring->data_head, __ATOMIC_ACQUIRE) > 0;
  munmap(watched[0].ring, HEADER_BYTES + RING_BYTES);
  close(watched[0].fd);
  return seen;
}

int main(int argc, char **argv) {
  CHECK(argc == 3);
  uint64_t address = strtoull(argv[2], NULL, 0), lost = 0;
  char path[64], line[16];
  int count = 0;
  int counted = counts();
  if (counted <= 0) {
    if (counted < 0) perror("perf_event_open");
    else fputs("a breakpoint is set and nothing is counted\n", stderr);
    return 2;
  }
  snprintf(path, sizeof path, "/proc/%s/task", argv[1]);
  DIR *all = opendir(path);
  CHECK(all);
  for (struct dirent *e; (e = readdir(all));) {
    if (e->d_name[0] == '.') continue;
    CHECK(count < MAX_THREADS);
    int r = watch(count, atoi(e->d_name), address);
    if (r < 0) {
      perror("perf_event_open");
      return 2;
    }
    count += r;
  }
  say("ready");
  CHECK(fgets(line, sizeof line, stdin));
  read_codes(argv[1]);
  for (int i = 0; i < count; i++) lost += collect(watched[i].ring);
  for (int i = 0; i < MAX_PLACES && places[i].count; i++)
    say("%llu by %s for %s", (unsigned long long)places[i].count, places[i].code->name,
        places[i].caller->name);
  say("lost %llu", (unsigned long long)lost);
  return 0;
}

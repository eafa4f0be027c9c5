// SPDX-License-Identifier: MIT
// killed SEED ROUNDS [WARM]: receivers are killed in their receives, again and again, while other processes have the socket, too. Bytes
// that come then, right after the end of a receiver, are the others': each once, and in order. All receive into memory that
// outlives them, so that what a kernel has put there for one that was killed would be seen. With WARM they have made so many calls
// before that those on the shared socket need no trap; then others are stopped in their receives, and streams end while they are
// received.
#include "check.h"

#include <pthread.h>
#include <sys/prctl.h>

enum { TOTAL = 1 << 20, LONGEST = 4096, NUMBERS = 1 << 16, WARM_CALLS = 60 };

static uint32_t seed;

/* Set by a receiver that is about to receive. */
static volatile int *begun;

static uint8_t byte_at(size_t i) { return 1 + (i * 2654435761u >> 16) % 255; }

static void *shared(size_t bytes) {
  void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(m != MAP_FAILED);
  return m;
}

static pid_t child(void) {
  fflush(stdout);
  *begun = 0;
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
  return pid;
}

static void end(pid_t pid) {
  int status;
  CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
    fprintf(stderr, "the receiver ended by itself: %x\n", status);
    exit(1);
  }
}

static void await_begin(void) {
  int64_t limit = now_us() + 20000000;
  while (!*begun && now_us() < limit) sleep_us(50);
  CHECK(*begun);
}

static ssize_t receive(int s, uint8_t *to, size_t most, uint32_t way) {
  struct iovec two[2] = {{to, most / 2}, {to + most / 2, most - most / 2}};
  struct msghdr m = {.msg_iov = two, .msg_iovlen = 2};
  struct mmsghdr mm = {.msg_hdr = {.msg_iov = two, .msg_iovlen = 2}};
  switch (way) {
    case 0: return read(s, to, most);
    case 1: return readv(s, two, 2);
    case 2: return recvmsg(s, &m, 0);
    case 3: return recv(s, to, most, MSG_WAITALL);
    case 4: return recvmmsg(s, &mm, 1, 0, NULL) == 1 ? (ssize_t)mm.msg_len : -1;
    default: return recv(s, to, most, 0);
  }
}

/* Receives a stream from `at` on, in all ways that there are. */
static void victim(int s, uint8_t *stream, size_t at, uint32_t own, int all) {
  while (at < TOTAL) {
    size_t most = 1 + next(&own) % LONGEST;
    if (most > TOTAL - at) most = TOTAL - at;
    *begun = 1;
    uint32_t way = next(&own) % 7;
    ssize_t n = receive(s, stream + at, most, way == 3 && !all ? 0 : way);
    if (n <= 0) _exit(3);
    at += n;
  }
  _exit(4);
}

static size_t received(const uint8_t *stream, size_t from) {
  while (stream[from]) {
    if (stream[from] != byte_at(from)) {
      fprintf(stderr, "byte %zu is %d, not %d\n", from, stream[from], byte_at(from));
      exit(1);
    }
    from++;
  }
  return from;
}

static size_t send_some(int s, size_t at) {
  uint8_t piece[700];
  size_t n = 1 + next(&seed) % sizeof piece;
  for (size_t i = 0; i < n; i++) piece[i] = byte_at(at + i);
  CHECK(send(s, piece, n, 0) == (ssize_t)n);
  return at + n;
}

/* One receiver after another; what comes when one has ended is the next one's, or this process's. */
static void in_turn(int rounds) {
  uint8_t *stream = shared(TOTAL + 1);
  int t[2];
  tcp_pair(t);
  size_t sent = 0, at = 0;
  for (int i = 0; i < rounds && sent < TOTAL - 4096; i++) {
    uint32_t own = next(&seed);
    pid_t pid = child();
    // When a receiver is killed there is nothing that it is just being given: whether it has that
    // could not be said.
    int gets = i % 3 == 0 || at < sent;
    if (pid == 0) victim(t[1], stream, at, own, !gets);
    // Some are killed before they begin, some in their first receive, and some in a later one.
    if (i % 8) await_begin();
    if (gets) {
      if (i % 3 == 0) sent = send_some(t[0], sent);
      int64_t limit = now_us() + 20000000;
      while ((at = received(stream, at)) < sent && now_us() < limit) sleep_us(100);
      CHECK(at == sent);
    }
    sleep_us(next(&seed) % 3000);
    end(pid);
    at = received(stream, at);
    sent = send_some(t[0], sent);
    if (i % 2) {
      ssize_t n = recv(t[1], stream + at, LONGEST, 0);
      CHECK(n > 0);
      at += n;
      CHECK(received(stream, at - n) == at);
    }
  }
  while (at < sent) {
    CHECK(recv(t[1], stream + at, TOTAL - at, 0) > 0);
    at = received(stream, at);
  }
  CHECK(at == sent && errno_of(recv(t[1], stream + at, 1, MSG_DONTWAIT)) == EAGAIN);
  close(t[0]), close(t[1]);
  CHECK(munmap(stream, TOTAL + 1) == 0);
}

enum { AT_A_TIME = 16 };

/* A pair that sends at once what it is given. */
static void prompt_pair(int t[2]) {
  int one = 1;
  tcp_pair(t);
  CHECK(setsockopt(t[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
}

/* For `collect`, and behind them how many it has. */
static volatile uint32_t *shared_numbers(void) { return shared((NUMBERS + 1) * sizeof(uint32_t)); }

/* Behind the numbers that it has received it says how many it knows that it has. */
static void collect(int s, volatile uint32_t *numbers, size_t at) {
  for (;;) {
    *begun = 1;
    ssize_t n = recv(s, (void *)(numbers + at), AT_A_TIME * 4, 0);
    if (n <= 0 || n % 4) {
      fprintf(stderr, "received %zd %s\n", n, errno_name(errno_of(n)));
      _exit(5);
    }
    at += n / 4;
    numbers[NUMBERS] = at;
  }
}

/* Two that receive at one time; what comes when one of them has ended is the other's. */
static void beside(int rounds) {
  volatile uint32_t *first = shared_numbers(), *second = shared_numbers();
  int t[2], rest;
  prompt_pair(t);
  pid_t survivor = child();
  if (survivor == 0) collect(t[1], second, 0);
  await_begin();
  size_t at = 0;
  for (int i = 0; i < rounds; i++) {
    pid_t pid = child();
    if (pid == 0) collect(t[1], first, 0);
    if (i % 4) await_begin();
    sleep_us(next(&seed) % 5000);
    end(pid);
    CHECK(first[0] == 0);
    uint32_t number = i + 1;
    CHECK(send(t[0], &number, 4, 0) == 4);
    int64_t limit = now_us() + 20000000;
    while (second[at] == 0 && now_us() < limit) sleep_us(100);
    if (second[at] != number) {
      fprintf(stderr, "number %u of %d is lost, %u came\n", number, rounds, second[at]);
      exit(1);
    }
    at++;
  }
  end(survivor);
  CHECK(second[at] == 0 && errno_of(recv(t[1], &rest, 4, MSG_DONTWAIT)) == EAGAIN);
  close(t[0]), close(t[1]);
}

/* Makes calls, of the kind that are to need no trap soon. */
static void warm_up(void) {
  int t[2];
  char c;
  tcp_pair(t);
  for (int i = 0; i < WARM_CALLS; i++) {
    CHECK(send(t[0], "x", 1, 0) == 1);
    CHECK((i % 2 ? read(t[1], &c, 1) : recv(t[1], &c, 1, 0)) == 1);
  }
  close(t[0]), close(t[1]);
}

static void warm_victim(int s, uint8_t *stream, size_t at, uint32_t own) {
  warm_up();
  *begun = 1;
  while (at < TOTAL) {
    size_t most = 1 + next(&own) % LONGEST;
    ssize_t n = receive(s, stream + at, most, next(&own) % 3 ? 6 : next(&own) % 2);
    if (n <= 0) _exit(3);
    at += n;
  }
  _exit(4);
}

static size_t await_received(const uint8_t *stream, size_t at, size_t least) {
  int64_t limit = now_us() + 20000000;
  while ((at = received(stream, at)) < least && now_us() < limit) sleep_us(20);
  return at;
}

/* All that there is; more than nothing, soon. */
static size_t drain(int s, uint8_t *to, size_t most) {
  struct timeval limit = {10, 0};
  CHECK(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  ssize_t n = recv(s, to, most, 0);
  size_t got = n > 0 ? n : 0;
  while (n > 0 && (n = recv(s, to + got, most - got, MSG_DONTWAIT)) > 0) got += n;
  CHECK(n < 0 && errno == EAGAIN);
  limit.tv_sec = 0;
  CHECK(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  return got;
}

/*
 * Receivers are killed in receives that began a moment ago, or while bytes are on their way to them. What a receiver was being
 * given when it was killed may be in its memory and come again; nothing else may, and nothing may be missing.
 */
static void warm(int rounds) {
  uint8_t *stream = shared(TOTAL + 1);
  static uint8_t rest[16 * LONGEST];
  int t[2], again = 0;
  tcp_pair(t);
  size_t sent = 0, at = 0;
  for (int i = 0; i < rounds && sent < TOTAL - 16 * LONGEST; i++) {
    uint32_t own = next(&seed);
    pid_t pid = child();
    if (pid == 0) warm_victim(t[1], stream, at, own);
    await_begin();
    for (int k = 4 + next(&seed) % 8; k > 0; k--) {
      sent = send_some(t[0], sent);
      at = await_received(stream, at, sent);
      CHECK(at == sent);
    }
    size_t sure = at;
    int given = i % 3 == 0;
    if (given) sent = send_some(t[0], sent);
    // With nothing on its way: within the time that a receive waits without a trap, or a little later.
    int64_t pause = next(&seed) % (given ? 150 : i % 3 == 1 ? 300 : 2000);
    for (int64_t until = now_us() + pause; now_us() < until;) {
    }
    end(pid);
    at = received(stream, at);
    sent = send_some(t[0], sent);
    size_t n = drain(t[1], rest, sizeof rest);
    if (n > sent - sure) {
      fprintf(stderr, "round %d: %zu bytes of %zu came\n", i, n, sent - sure);
      exit(1);
    }
    size_t from = sent - n;
    // What was being put into the memory of a process that is ending may be there a little later.
    if (from > at) at = await_received(stream, at, from);
    if (from > at) {
      fprintf(stderr, "round %d: bytes from %zu to %zu are lost\n", i, at, from);
      exit(1);
    }
    if (!given) CHECK(from == at);
    again += from < at;
    for (size_t k = 0; k < n; k++) {
      CHECK(rest[k] == byte_at(from + k));
      stream[from + k] = rest[k];
    }
    at = sent;
  }
  CHECK(errno_of(recv(t[1], rest, 1, MSG_DONTWAIT)) == EAGAIN);
  fprintf(stderr, "%d rounds in which something came again\n", again);
  close(t[0]), close(t[1]);
  CHECK(munmap(stream, TOTAL + 1) == 0);
}

/*
 * Counts the numbers that a process has, and where they are in all. They are in order, but for what the victim was being given,
 * docs/differences.md: that may come once, in a receive that ends behind the first `from` of them.
 */
static int count(volatile uint32_t *numbers, uint8_t *seen, int most, int from) {
  int n = 0, late = 0, receives = 0;
  uint32_t last = 0, before = 0;
  for (; numbers[n]; before = numbers[n++]) {
    if (numbers[n] < before) receives++;
    late = numbers[n] > last ? late : late + 1;
    if (numbers[n] > (uint32_t)most || receives > 1 || late > AT_A_TIME || (late && n < from)) {
      fprintf(stderr, "%u comes behind %u\n", numbers[n], before);
      exit(1);
    }
    last = numbers[n] > last ? numbers[n] : last;
    seen[numbers[n]]++;
  }
  return n;
}

/* Waits until one of two has a number. */
static void await_number(volatile uint32_t *first, volatile uint32_t *second, uint32_t number) {
  int64_t limit = now_us() + 20000000;
  for (int i = 0, k = 0; now_us() < limit; sleep_us(50)) {
    while (first[i] && first[i] != number) i++;
    while (second[k] && second[k] != number) k++;
    if (first[i] || second[k]) return;
  }
  fprintf(stderr, "%u is lost\n", number);
  exit(1);
}

/* Two that receive at one time without traps, one of which is killed meanwhile. */
static void warm_beside(int rounds) {
  volatile uint32_t *first = shared_numbers(), *second = shared_numbers();
  int t[2], shares = 0;
  prompt_pair(t);
  for (int i = 0; i < rounds; i++) {
    memset((void *)first, 0, 4096 * 4);
    memset((void *)second, 0, 4096 * 4);
    second[NUMBERS] = 0;
    pid_t victim = child();
    if (victim == 0) warm_up(), collect(t[1], first, 0);
    await_begin();
    pid_t survivor = child();
    if (survivor == 0) warm_up(), collect(t[1], second, 0);
    await_begin();
    int all = 200 + next(&seed) % 200, killed = all / 2 + next(&seed) % (all / 2), from = 0;
    for (int k = 1; k <= all; k++) {
      uint32_t number = k;
      CHECK(send(t[0], &number, 4, 0) == 4);
      if (next(&seed) % 4 == 0) sleep_us(next(&seed) % 400);
      if (k == killed) {
        while (second[from]) from++;
        end(victim);
      }
      // Not more than that moment: what comes at it may be out of order.
      if (k == killed + 1) await_number(first, second, k);
    }
    uint8_t seen[512];
    int64_t limit = now_us() + 20000000;
    int missing, n = 0, m = 0;
    do {
      sleep_us(200);
      memset(seen, 0, sizeof seen);
      n = count(first, seen, all, all), m = count(second, seen, all, from);
      missing = 0;
      for (int k = 1; k <= all; k++) missing += seen[k] == 0;
      // What it does not know yet that it has would come again if it were killed.
      missing += m != (int)second[NUMBERS];
    } while (missing && now_us() < limit);
    end(survivor);
    for (int k = 1; k <= all; k++) {
      // Only the last of what the victim was being given.
      int last = n > 0 && (uint32_t)k >= first[n > AT_A_TIME ? n - AT_A_TIME : 0];
      if (seen[k] != 1 && !(seen[k] == 2 && last)) {
        fprintf(stderr, "round %d: %d of %d came %d times\n", i, k, all, seen[k]);
        exit(1);
      }
    }
    shares += n > 0 && m > 0;
  }
  CHECK(shares > rounds / 2);
  close(t[0]), close(t[1]);
}

enum { BURST = 12 };

/* One of two receivers is stopped while it gets something; what it has then, the other does not get. */
static void warm_stopped(int rounds) {
  volatile uint32_t *numbers = shared_numbers();
  int t[2], rest;
  prompt_pair(t);
  warm_up();
  pid_t other = child();
  if (other == 0) warm_up(), collect(t[1], numbers, 0);
  await_begin();
  uint32_t sent = 0, here = 0;
  int there = 0;
  for (int i = 0; i < rounds; i++) {
    int64_t limit = now_us() + 20000000;
    // Until it waits without a trap.
    for (int k = 0; k < BURST; k++, there++) {
      sent++;
      CHECK(send(t[0], &sent, 4, 0) == 4);
      while (numbers[there] == 0 && now_us() < limit) sleep_us(20);
      CHECK(numbers[there] == sent);
    }
    sleep_us(next(&seed) % 700);
    CHECK(kill(other, SIGSTOP) == 0);
    sent++;
    CHECK(send(t[0], &sent, 4, 0) == 4);
    sleep_us(1000);
    uint32_t got;
    ssize_t n = recv(t[1], &got, 4, MSG_DONTWAIT);
    CHECK(n == 4 ? got == sent : errno_of(n) == EAGAIN);
    here += n == 4;
    sleep_us(i % 2 ? 12000 : 500);
    CHECK(kill(other, SIGCONT) == 0);
    limit = now_us() + (n == 4 ? 2000 : 20000000);
    while (numbers[there] == 0 && now_us() < limit) sleep_us(50);
    if (numbers[there] != (n == 4 ? 0 : sent)) {
      fprintf(stderr, "round %d: %u of %u came here, %u there\n", i, n == 4 ? got : 0, sent, numbers[there]);
      exit(1);
    }
    there += n != 4;
  }
  fprintf(stderr, "%u of %d found the other one stopped before it had something\n", here, rounds);
  end(other);
  CHECK(errno_of(recv(t[1], &rest, 4, MSG_DONTWAIT)) == EAGAIN);
  close(t[0]), close(t[1]);
}

enum { ENDS_BEHIND = 4 };

static volatile int turn;
static int sender_at;

static void *send_and_end(void *rounds) {
  for (int i = 1; i <= *(int *)rounds; i++) {
    while (turn != i) sleep_us(20);
    uint32_t own = seed + i;
    for (uint32_t k = 1; k <= ENDS_BEHIND; k++) {
      CHECK(send(sender_at, &k, 4, 0) == 4);
      for (int64_t until = now_us() + next(&own) % 400; now_us() < until;) {
      }
    }
    CHECK(shutdown(sender_at, SHUT_WR) == 0);
  }
  return NULL;
}

/* Streams end right behind what is being received. */
static void warm_ends(int rounds) {
  pthread_t sender;
  warm_up();
  CHECK(pthread_create(&sender, NULL, send_and_end, &rounds) == 0);
  for (int i = 1; i <= rounds; i++) {
    int t[2];
    prompt_pair(t);
    sender_at = t[0];
    turn = i;
    uint32_t got = 0, before = 0;
    ssize_t n;
    for (; (n = recv(t[1], &got, 4, 0)) > 0; before = got) {
      CHECK(n == 4);
      if (got != before + 1) {
        fprintf(stderr, "stream %d: %u comes behind %u\n", i, got, before);
        exit(1);
      }
    }
    CHECK(n == 0 && before == ENDS_BEHIND);
    close(t[0]), close(t[1]);
  }
  CHECK(pthread_join(sender, NULL) == 0);
}

int main(int argc, char **argv) {
  CHECK(argc == 3 || argc == 4);
  alarm(120 + 3 * atoi(argv[2]));
  seed = strtoul(argv[1], NULL, 10);
  int rounds = atoi(argv[2]);
  begun = shared(4096);
  if (argc == 4) {
    warm(rounds);
    say("one after another, warm");
    warm_beside(rounds / 8 + 1);
    say("beside another, warm");
    warm_stopped(rounds);
    say("beside one that is stopped, warm");
    warm_ends(5 * rounds);
    say("to the end, warm");
    return 0;
  }
  in_turn(rounds);
  say("one after another");
  beside(rounds);
  say("beside another");
  return 0;
}

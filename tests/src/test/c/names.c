// SPDX-License-Identifier: MIT
// names [NAME]...: what getaddrinfo of this C library finds; without names, the cases of zone.py and
// what eight threads find at once.

#include "check.h"

#include <netdb.h>
#include <pthread.h>

static const char *found(char *text, size_t room, const char *name, int family, int flags) {
  struct addrinfo hints = {.ai_family = family, .ai_flags = flags, .ai_socktype = SOCK_STREAM};
  struct addrinfo *list = NULL;
  int error = getaddrinfo(name, "https", &hints, &list);
  size_t at = 0;
  if (error) {
    snprintf(text, room, " %s", gai_strerror(error));
    return text;
  }
  if (list->ai_canonname) {
    at += snprintf(text + at, room - at, " (%s)", list->ai_canonname);
  }
  for (struct addrinfo *a = list; a && at < room; a = a->ai_next) {
    char host[NI_MAXHOST], port[NI_MAXSERV];
    CHECK(getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV) == 0);
    at += snprintf(text + at, room - at, " %s:%s", host, port);
  }
  freeaddrinfo(list);
  return text;
}

static void show(const char *name, int family, int flags) {
  char text[8192];
  printf("%s %d %#x:%s\n", name, family, flags, found(text, sizeof text, name, family, flags));
}

static const char *const MANY[] = {"host", "alias", "v4", "v6", "none", "deep.host"};
enum { NAMES = sizeof MANY / sizeof *MANY, THREADS = 8 };
static char expected[NAMES][8192];

static void *look_up(void *unused) {
  (void)unused;
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < NAMES; i++) {
      char text[8192];
      CHECK(strcmp(found(text, sizeof text, MANY[i], AF_UNSPEC, 0), expected[i]) == 0);
    }
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc > 1) {
    for (int i = 1; i < argc; i++) {
      show(argv[i], AF_UNSPEC, AI_ADDRCONFIG);
    }
    return 0;
  }
  show("host.zone.example", AF_UNSPEC, AI_CANONNAME);
  show("host.zone.example.", AF_INET, 0);
  show("alias", AF_UNSPEC, AI_CANONNAME);
  show("v4", AF_UNSPEC, AI_ADDRCONFIG);
  show("v4", AF_INET6, 0);
  show("v4", AF_INET6, AI_V4MAPPED);
  show("v6", AF_UNSPEC, AI_ADDRCONFIG);
  show("host", AF_INET6, AI_V4MAPPED | AI_ALL);
  show("only", AF_UNSPEC, 0);
  show("deep.host", AF_UNSPEC, 0);
  show("none.zone.example", AF_UNSPEC, 0);
  show("many.zone.example", AF_UNSPEC, 0);
  show("failing.zone.example", AF_UNSPEC, 0);
  show("broken.zone.example", AF_UNSPEC, 0);
  show("entry.example", AF_UNSPEC, AI_CANONNAME);
  show("localhost", AF_UNSPEC, 0);
  show("192.0.2.7", AF_UNSPEC, AI_NUMERICHOST);
  show("host", AF_UNSPEC, AI_NUMERICHOST);
  struct sockaddr_in of = {.sin_family = AF_INET};
  char host[NI_MAXHOST];
  inet_aton("192.0.2.10", &of.sin_addr);
  CHECK(getnameinfo((void *)&of, sizeof of, host, sizeof host, NULL, 0, NI_NAMEREQD) == 0);
  printf("192.0.2.10 is %s\n", host);

  for (int i = 0; i < NAMES; i++) {
    found(expected[i], sizeof expected[i], MANY[i], AF_UNSPEC, 0);
  }
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) {
    CHECK(pthread_create(&threads[i], NULL, look_up, NULL) == 0);
  }
  for (int i = 0; i < THREADS; i++) {
    CHECK(pthread_join(threads[i], NULL) == 0);
  }
  puts("at once, the same");
  return 0;
}

// SPDX-License-Identifier: MIT
/*
 * One byte to and fro over TCP, one at a time: what a request costs that does nothing.
 *
 *   roundtrips serve PORT                  answers, one connection after another
 *   roundtrips ask ADDRESS PORT SECONDS    asks; a line of JSON: how many, and in how many seconds
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void need(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static int prompt_socket(int s)
{
	int one = 1;

	need(s >= 0, "socket");
	need(!setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), "TCP_NODELAY");
	return s;
}

static int serve(struct sockaddr_in *a)
{
	int one = 1, l = socket(AF_INET, SOCK_STREAM, 0);

	need(l >= 0, "socket");
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	need(!bind(l, (void *)a, sizeof(*a)) && !listen(l, 8), "listen");
	for (;;) {
		int s = prompt_socket(accept(l, NULL, NULL));
		char c;

		while (recv(s, &c, 1, 0) == 1 && send(s, &c, 1, MSG_NOSIGNAL) == 1)
			;
		close(s);
	}
}

static int ask(struct sockaddr_in *a, double limit)
{
	int s = prompt_socket(socket(AF_INET, SOCK_STREAM, 0));
	double begin, seconds;
	long n = 0;
	char c = 1;

	need(!connect(s, (void *)a, sizeof(*a)), "connect");
	begin = now();
	do {
		need(send(s, &c, 1, 0) == 1 && recv(s, &c, 1, 0) == 1, "round trip");
		n++;
	} while ((seconds = now() - begin) < limit);
	printf("{\"amount\": %ld, \"seconds\": %.9f}\n", n, seconds);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET };

	if (argc == 3 && !strcmp(argv[1], "serve")) {
		a.sin_port = htons(atoi(argv[2]));
		return serve(&a);
	}
	if (argc == 5 && !strcmp(argv[1], "ask")) {
		a.sin_port = htons(atoi(argv[3]));
		need(inet_pton(AF_INET, argv[2], &a.sin_addr) == 1, "address");
		return ask(&a, atof(argv[4]));
	}
	return 2;
}

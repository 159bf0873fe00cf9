// SPDX-License-Identifier: Apache-2.0
/*
 * Sends small UDP packets at a steady rate: sender ADDRESS RATE SECONDS FLOWS
 * The packets go round FLOWS pairs of ports in a scattered order. Prints how many were sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#define SOURCES 64
#define PORTS 40000 /* and up from LOWEST: above the ports of tunnels */
#define LOWEST 20000
#define BATCH 256
#define TICK_NS 1000000

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	long rate = atol(argv[2]), seconds = atol(argv[3]), flows = atol(argv[4]), sent = 0;
	int sources[SOURCES];

	for (int i = 0; i < SOURCES; i++) {
		sources[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (sources[i] < 0)
			return perror("socket"), 1;
	}

	static struct sockaddr_in to[BATCH];
	static struct mmsghdr messages[BATCH];
	static char payload[18];
	static struct iovec part = {payload, sizeof(payload)};

	for (int i = 0; i < BATCH; i++) {
		to[i].sin_family = AF_INET;
		inet_pton(AF_INET, argv[1], &to[i].sin_addr);
		messages[i].msg_hdr = (struct msghdr){.msg_name = &to[i], .msg_namelen = sizeof(to[i]), .msg_iov = &part, .msg_iovlen = 1};
	}

	struct timespec wake;
	clock_gettime(CLOCK_MONOTONIC, &wake);
	for (long tick = 0; tick < seconds * 1000; tick++) {
		long due = rate * (tick + 1) / 1000;

		while (sent < due) {
			/* one system call for each source: flow i has source i / PORTS, its port steps by a number prime to PORTS */
			long flow = sent % flows, source = flow / PORTS, count = 0;

			while (count < BATCH && sent + count < due && (sent + count) % flows / PORTS == source) {
				to[count].sin_port = htons(LOWEST + (sent + count) % flows % PORTS * 12347 % PORTS);
				count++;
			}
			long done = sendmmsg(sources[source % SOURCES], messages, count, 0);
			if (done <= 0)
				return perror("sendmmsg"), 1;
			sent += done;
		}
		wake.tv_nsec += TICK_NS;
		if (wake.tv_nsec >= 1000000000) {
			wake.tv_nsec -= 1000000000;
			wake.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, 0);
	}
	printf("%ld\n", sent);
	return 0;
}

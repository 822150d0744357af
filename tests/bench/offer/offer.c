// SPDX-License-Identifier: Apache-2.0
/*
 * Offers new flows at a rate, from inside a pod: UDP datagrams that each have another pair of ports,
 * by a packet socket, so that no flow costs the sender a socket.
 *
 *   offer INTERFACE FRAME-IN-HEX RATE SECONDS
 *
 * The frame is Ethernet, IPv4 without options and UDP; source and destination port are counted on,
 * and its UDP checksum is 0: none. Prints how many were sent and in what time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 64
#define FRAME_MAX 128
#define PORTS_OFFSET 34 /* Ethernet 14, IPv4 20 */
#define FIRST_PORT 1024u
#define SOURCE_PORTS (65536u - FIRST_PORT)

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static size_t parse_frame(const char *hex, uint8_t frame[FRAME_MAX])
{
	size_t len = strlen(hex) / 2;

	if (len < PORTS_OFFSET + 8 || len > FRAME_MAX)
		return 0;
	for (size_t i = 0; i < len; i++) {
		unsigned int byte;

		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return 0;
		frame[i] = (uint8_t)byte;
	}
	return len;
}

/* The n-th flow: all source ports towards one destination port, then towards the next. */
static void set_ports(uint8_t *frame, uint64_t n)
{
	uint16_t ports[2] = {htons((uint16_t)(FIRST_PORT + n % SOURCE_PORTS)),
			     htons((uint16_t)(FIRST_PORT + n / SOURCE_PORTS))};

	memcpy(frame + PORTS_OFFSET, ports, sizeof(ports));
}

int main(int argc, char **argv)
{
	static uint8_t frames[BATCH][FRAME_MAX];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec parts[BATCH];
	struct sockaddr_ll to = {.sll_family = AF_PACKET};
	uint64_t sent = 0;
	double rate, seconds, begin;
	size_t len;
	int fd;

	if (argc != 5) {
		fprintf(stderr, "usage: offer INTERFACE FRAME-IN-HEX RATE SECONDS\n");
		return 2;
	}
	len = parse_frame(argv[2], frames[0]);
	rate = strtod(argv[3], NULL);
	seconds = strtod(argv[4], NULL);
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (!len || !to.sll_ifindex || fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to))) {
		perror("offer");
		return 1;
	}
	for (int i = 0; i < BATCH; i++) {
		memcpy(frames[i], frames[0], len);
		parts[i] = (struct iovec){.iov_base = frames[i], .iov_len = len};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	}
	begin = now();
	while (now() - begin < seconds) {
		int n;

		if ((double)sent > (now() - begin) * rate)
			continue;
		for (int i = 0; i < BATCH; i++)
			set_ports(frames[i], sent + (uint64_t)i);
		n = sendmmsg(fd, messages, BATCH, 0);
		if (n > 0)
			sent += (uint64_t)n;
		else if (errno != ENOBUFS && errno != EINTR) {
			perror("offer");
			return 1;
		}
	}
	printf("%llu %.3f\n", (unsigned long long)sent, now() - begin);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of loader/net run in namespaces of their own, which end with the process: a network
 * namespace as the node, more as pods, and a mount namespace with a state folder and bpffs.
 */
#pragma once

#include "error.h"
#include "net/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define TN_OUTPUT 65536

/* A tmpfs over a folder that every system has; only this process and its children see it. */
#define TN_DIR "/mnt"
#define TN_STATE TN_DIR "/state"
#define TN_BPFFS TN_DIR "/bpf"

struct tn_command {
	char line[1024];
	char *output;
	int status;
};

static inline int tn_run_here(void *user)
{
	struct tn_command *c = user;
	FILE *f = popen(c->line, "r");
	size_t n;

	assert_non_null(f);
	n = fread(c->output, 1, TN_OUTPUT - 1, f);
	c->output[n] = '\0';
	c->status = pclose(f);
	return 0;
}

/* Runs a shell command in the namespace of fd (-1: the node's); returns what it printed. */
static inline const char *__attribute__((format(printf, 2, 3))) tn_sh(int fd, const char *format,
								      ...)
{
	static char output[TN_OUTPUT];
	struct tn_command c = {.output = output};
	va_list ap;

	va_start(ap, format);
	vsnprintf(c.line, sizeof(c.line) - 8, format, ap);
	va_end(ap);
	strcat(c.line, " 2>&1");
	if (fd < 0)
		tn_run_here(&c);
	else
		assert_int_equal(bn_netns_run(fd, tn_run_here, &c), 0);
	if (c.status)
		printf("[ %s ]: status %d: %s\n", c.line, c.status, output);
	return output;
}

static inline bool tn_has(const char *text, const char *part)
{
	if (strstr(text, part))
		return true;
	printf("'%s' is not in:\n%s\n", part, text);
	return false;
}

/* A new namespace; the process stays where it is. */
static inline int tn_pod(void)
{
	int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int pod;

	assert_true(own >= 0);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	pod = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(pod >= 0);
	assert_int_equal(setns(own, CLONE_NEWNET), 0);
	close(own);
	return pod;
}

/* Enters a fresh node: group setup of every test file. */
static inline int tn_enter(void **state)
{
	if (geteuid() != 0) {
		fprintf(stderr, "these tests need root\n");
		return -1;
	}
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", TN_DIR, "tmpfs", 0, NULL) < 0 || mkdir(TN_STATE, 0700) < 0 ||
	    mkdir(TN_BPFFS, 0700) < 0 || mount("bpf", TN_BPFFS, "bpf", 0, NULL) < 0) {
		perror("setting up namespaces");
		return -1;
	}
	tn_sh(-1, "ip link set lo up");
	return 0;
}

/* A fresh node for one test. */
static inline int tn_fresh_node(void **state)
{
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	tn_sh(-1, "ip link set lo up; rm -rf " TN_STATE "/*");
	return 0;
}

/* A TCP connection from where this process is, the caller's, or -errno. `port` in host order. */
static inline int tn_dial(const char *host, uint16_t port)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
	bool v6 = strchr(host, ':');
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(v6 ? AF_INET6 : AF_INET, host,
		  v6 ? (void *)&six.sin6_addr : (void *)&four.sin_addr);
	if (connect(fd, v6 ? (struct sockaddr *)&six : (struct sockaddr *)&four,
		    v6 ? sizeof(six) : sizeof(four)) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

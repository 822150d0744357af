// SPDX-License-Identifier: Apache-2.0
/*
 * The `bpfnet` command: takes the command line apart, runs the command, and makes sure that what
 * was printed has arrived. Exit codes: 0 done, 1 failed, 2 wrong usage; `status` has 3.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "text.h"
#include "wait.h"

static int run(struct bn_call *call, int argc, char **argv)
{
	int r;

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("bpfnet " BN_VERSION);
		return BN_EXIT_DONE;
	}
	if (argc == 1) {
		bn_help_print(stderr, (const struct bn_command *const[]){&bn_root}, 1);
		return BN_EXIT_USAGE;
	}
	r = bn_call_parse(call, argc, argv);
	if (r)
		return r;
	if (call->help) {
		bn_help_print(stdout, call->path, call->depth);
		return BN_EXIT_DONE;
	}
	return bn_call_command(call)->run(call);
}

/* Without the usual three, the agent's socket would take the place of one of them. */
static void open_usual_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static bool output_has_reader(void)
{
	struct pollfd p = {.fd = STDOUT_FILENO};

	return poll(&p, 1, 0) <= 0 || !(p.revents & (POLLERR | POLLHUP));
}

int main(int argc, char **argv)
{
	struct bn_call call = {0};
	int r;

	open_usual_descriptors();
	bn_wait_signals();
	r = run(&call, argc, argv);
	bn_call_done(&call);
	errno = EIO; /* where an earlier write failed, its own is lost */
	/* a reader that has seen enough is nothing to complain about */
	if ((fflush(stdout) == EOF || ferror(stdout)) && output_has_reader()) {
		bn_fail("can't write the output: %s", strerror(errno));
		return r ? r : BN_EXIT_FAILED;
	}
	return r;
}

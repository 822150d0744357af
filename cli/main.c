// SPDX-License-Identifier: Apache-2.0
/*
 * The `bpfnet` command: takes the command line apart, runs the command, and makes sure that what
 * was printed has arrived. Exit codes: 0 done, 1 failed, 2 wrong usage; `status` has 3.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "command.h"
#include "text.h"

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

int main(int argc, char **argv)
{
	struct bn_call call = {0};
	int r;

	bn_client_signals();
	r = run(&call, argc, argv);
	bn_call_done(&call);
	errno = 0;
	if (fflush(stdout) == EOF || ferror(stdout)) {
		/* a reader that has seen enough is nothing to complain about */
		if (errno == EPIPE || errno == 0)
			return r;
		bn_fail("can't write the output: %s", strerror(errno));
		return r ? r : BN_EXIT_FAILED;
	}
	return r;
}

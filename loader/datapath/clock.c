// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel's HZ, which user space is not told: jiffies start at 2^32 - 300 * HZ and count from
 * boot, so one reading of them beside the clock gives it, except within a minute of the moment
 * when all candidates agree (five minutes after boot); then two readings 200 ms apart do.
 */
#include "datapath/clock.h"

#include "clock.skel.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

static const uint32_t candidates[] = {100, 250, 300, 1000};

static uint32_t nearest(double hz)
{
	uint32_t best = candidates[0];

	for (size_t i = 1; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
		if (fabs(hz - candidates[i]) < fabs(hz - best))
			best = candidates[i];
	}
	return best;
}

static int read_clock(struct bn_clock *skel, uint64_t *ret_jiffies, uint64_t *ret_ns)
{
	char packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = 1);

	if (bpf_prog_test_run_opts(bpf_program__fd(skel->progs.bn_read_clock), &opts))
		return -errno;
	*ret_jiffies = skel->bss->bn_clock_jiffies;
	*ret_ns = skel->bss->bn_clock_ktime;
	return 0;
}

int bn_clock_hz(uint32_t *ret, struct bn_error *err)
{
	struct timespec wait = {.tv_nsec = 200000000};
	struct bn_clock *skel = bn_clock__open_and_load();
	uint64_t j0, j1, t0, t1;
	int r;

	if (!skel)
		return bn_error_set(err, -errno,
				    "can't load a BPF program: %m; bpfnetd needs root "
				    "and Linux 5.10 or later");
	r = read_clock(skel, &j0, &t0);
	if (!r) {
		double since = (double)t0 / 1e9 - 300, jiffies = (double)j0 - 4294967296.0;

		if (fabs(since) > 60) {
			*ret = nearest(jiffies / since);
		} else {
			nanosleep(&wait, NULL);
			r = read_clock(skel, &j1, &t1);
			if (!r)
				*ret = nearest((double)(j1 - j0) / ((double)(t1 - t0) / 1e9));
		}
	}
	bn_clock__destroy(skel);
	if (r)
		return bn_error_set(err, r, "can't run a BPF program: %s",
				    "BPF_PROG_TEST_RUN was refused");
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An explained failure: what was attempted, on what, why, what to try. Functions that can fail
 * for a reason a person should read take `struct bn_error *err` last and return -errno; the
 * first error set stays. `err` may be NULL.
 */
#pragma once

struct bn_error {
	char *text; /* owned; one line without a newline */
};

#define BN_ERROR_INIT {0}

/* Sets the text unless one is set, and returns r (so: return bn_error_set(err, -EINVAL, ...)). */
int bn_error_set(struct bn_error *err, int r, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
const char *bn_error_text(const struct bn_error *err);
void bn_error_done(struct bn_error *err);

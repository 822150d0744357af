/* SPDX-License-Identifier: Apache-2.0 */
/* The first line of a request. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "error.h"

struct bn_head {
	json_t *root;       /* owned */
	const char *method; /* borrowed from root, of at most BN_HEAD_METHOD_MAX bytes */
	json_t *params;     /* borrowed from root, an object */
	json_int_t body;    /* bytes that follow, not negative */
};

#define BN_HEAD_NULL {0}
#define BN_HEAD_METHOD_MAX 64

/*
 * Reads a line (without its newline). -EPROTO: not a request at all, -EPROTONOSUPPORT: one of
 * another version; `ret` is untouched then.
 */
int bn_head_parse(const char *line, size_t len, struct bn_head *ret, struct bn_error *err);
void bn_head_done(struct bn_head *h);

/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of the control protocol. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "command.h"

struct bn_ask {
	const char *method;
	json_t *params;           /* borrowed; may be NULL */
	const struct iovec *body; /* sent one after the other */
	size_t n_body;
	int fd;     /* sent along; -1: none */
	bool quiet; /* don't say why it failed */
};

#define BN_ASK(m, p) {.method = (m), .params = (p), .fd = -1}

/*
 * Asks and waits for the answer. 0 with the result, the caller's; or an exit code after having
 * said why.
 */
int bn_client_ask(const struct bn_call *call, const struct bn_ask *ask, json_t **ret);
/*
 * Asks for a stream. `line` gets every object, and its text without the newline; it returns 0 to
 * go on. Ends with 0 at the stream's end, on SIGINT, or when standard output has no reader.
 */
int bn_client_stream(const struct bn_call *call, const struct bn_ask *ask,
		     int (*line)(const json_t *object, const char *text, size_t len, void *user),
		     void *user);

/* SIGINT and SIGTERM end a wait, SIGPIPE is an error of write(2). */
void bn_client_signals(void);

/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of the control protocol. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "command.h"

struct bn_ask {
	const char *method;
	json_t *params;           /* borrowed; may be NULL */
	const struct iovec *body; /* sent one after the other */
	size_t n_body;
	int fd;                   /* sent along; -1: none */
	bool quiet;               /* don't say why it failed */
	void (*idle)(void *user); /* of a stream: nothing has come for a moment; or NULL */
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
typedef int (*bn_line_fn)(const json_t *object, const char *text, size_t len, void *user);
int bn_client_stream(const struct bn_call *call, const struct bn_ask *ask, bn_line_fn line,
		     void *user);

/*
 * A stream beside other things: open, wait, take what has arrived, close. Lines that this reader was
 * too slow for are added to *lost, which must live as long. 0, or an exit code after having said why.
 */
struct bn_client;
int bn_client_open(const struct bn_call *call, const struct bn_ask *ask, uint64_t *lost,
		   struct bn_client **ret);
int bn_client_take(struct bn_client *c, bn_line_fn line, void *user);
void bn_client_close(struct bn_client *c);
/* Waits for more of it, as bn_wait_key() does. */
int bn_client_wait(const struct bn_client *c, bool keys, int64_t usec);

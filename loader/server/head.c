// SPDX-License-Identifier: Apache-2.0
/*
 * Reads the request line: the one place where bytes of strangers become values. Whatever it
 * accepts has a method name of printable ASCII, a params object and a body size that is no less
 * than 0; limits that depend on the method and on who asks are the caller's.
 */
#include "server/head.h"

#include <bpfnet/control.h>
#include <errno.h>
#include <string.h>

static int method_valid(const char *m)
{
	size_t n = strlen(m);

	return n > 0 && n <= BN_HEAD_METHOD_MAX &&
	       strspn(m, "abcdefghijklmnopqrstuvwxyz0123456789.-") == n;
}

int bn_head_parse(const char *line, size_t len, struct bn_head *ret, struct bn_error *err)
{
	json_t *version, *method, *params, *body;
	json_error_t why;
	json_t *root;
	int r;

	root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return bn_error_set(err, -EPROTO,
				    "can't read the request: not a line of JSON (byte %d: %s)",
				    why.position, why.text);
	if (!json_is_object(root)) {
		r = bn_error_set(err, -EPROTO, "can't read the request: not a JSON object");
		goto fail;
	}
	version = json_object_get(root, "v");
	if (!json_is_integer(version)) {
		r = bn_error_set(err, -EPROTO,
				 "can't read the request: 'v', the protocol version, is missing");
		goto fail;
	}
	if (json_integer_value(version) != BN_CONTROL_VERSION) {
		r = bn_error_set(
			err, -EPROTONOSUPPORT,
			"can't serve protocol version %lld: this agent (%s) speaks version "
			"%d; use the bpfnet that came with it",
			(long long)json_integer_value(version), BN_VERSION, BN_CONTROL_VERSION);
		goto fail;
	}
	method = json_object_get(root, "method");
	if (!json_is_string(method) || !method_valid(json_string_value(method))) {
		r = bn_error_set(err, -EPROTO,
				 "can't read the request: 'method' must be a method's name");
		goto fail;
	}
	params = json_object_get(root, "params");
	if (!params || json_is_null(params)) {
		params = json_object();
		if (!params || json_object_set_new(root, "params", params) < 0) {
			r = -ENOMEM;
			goto fail;
		}
	}
	if (!json_is_object(params)) {
		r = bn_error_set(err, -EPROTO, "can't read the request: 'params' is not an object");
		goto fail;
	}
	body = json_object_get(root, "body");
	if (body && (!json_is_integer(body) || json_integer_value(body) < 0)) {
		r = bn_error_set(err, -EPROTO,
				 "can't read the request: 'body' must be the number of bytes that "
				 "follow the line");
		goto fail;
	}
	*ret = (struct bn_head){
		.root = root,
		.method = json_string_value(method),
		.params = params,
		.body = body ? json_integer_value(body) : 0,
	};
	return 0;
fail:
	json_decref(root);
	return r;
}

void bn_head_done(struct bn_head *h)
{
	json_decref(h->root);
	*h = (struct bn_head)BN_HEAD_NULL;
}

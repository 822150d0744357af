// SPDX-License-Identifier: Apache-2.0
/* `why`: the agent walks the layers, and this prints what it looked at and what is wrong first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "output.h"
#include "text.h"

static void print_text(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	bn_text_clean(stdout, text ? text : "?");
}

static void print_layer(const json_t *layer, bool color)
{
	const bool ok = json_is_true(json_object_get(layer, "ok"));
	const char *name = json_string_value(json_object_get(layer, "layer"));

	if (color)
		fputs(ok ? "\033[32m" : "\033[31m", stdout);
	fputs(ok ? "ok     " : "WRONG  ", stdout);
	if (color)
		fputs("\033[0m", stdout);
	bn_text_clean(stdout, name ? name : "?");
	printf("%*s", (int)(13 - (name ? bn_text_width(name) : 1)), "");
	print_text(layer, "text");
	if (!ok && json_is_string(json_object_get(layer, "advice"))) {
		fputs("\n                    -> ", stdout);
		print_text(layer, "advice");
	}
	putchar('\n');
}

int bn_cmd_why(struct bn_call *call)
{
	const char *to = call->n_args > 1 ? call->args[1] : NULL;
	json_t *params = NULL, *result = NULL, *layer;
	char *namespace = NULL;
	const char *pod;
	size_t i;
	int r;

	if (!bn_split_name(call->args[0], &namespace, &pod) || strchr(pod, '/'))
		r = bn_call_usage(call, "'%s' is not of the form NS/POD", call->args[0]);
	else
		r = 0;
	free(namespace);
	if (r)
		return r;
	if (bn_call_option(call, "port") && !to)
		return bn_call_usage(call, "--port is the destination's, and none is given");
	params = json_pack("{s:s,s:s*,s:s*}", "from", call->args[0], "to", to, "protocol",
			   bn_call_option(call, "protocol"));
	r = bn_call_port(call, params);
	if (!r)
		r = bn_client_ask(call, &(struct bn_ask)BN_ASK("why", params), &result);
	if (!r && bn_output_is_table(call)) {
		json_array_foreach(json_object_get(result, "layers"), i, layer)
			print_layer(layer, bn_text_color(NULL));
		putchar('\n');
		print_text(result, "text");
		putchar('\n');
	} else if (!r) {
		r = bn_output(call, NULL, result);
	}
	if (!r && !json_is_true(json_object_get(result, "ok")))
		r = BN_EXIT_FAILED;
	json_decref(params);
	json_decref(result);
	return r;
}

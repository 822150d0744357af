// SPDX-License-Identifier: Apache-2.0
/*
 * The question, the order of the walk, and the answer. A layer that is wrong does not end the walk
 * unless those behind it could not be asked: what else is wrong is worth knowing, and the first one
 * is the cause more often than not.
 */
#include "agent/why.h"

#include "agent/agent.h"

#include <bpfnet/control.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CANNOT "can't say why: "

static char *format_text(const char *format, va_list ap)
{
	char *text = NULL;

	return vasprintf(&text, format, ap) < 0 ? NULL : text;
}

char *why_text(const char *format, ...)
{
	va_list ap;
	char *text;

	va_start(ap, format);
	text = format_text(format, ap);
	va_end(ap);
	return text;
}

/* NULL where it is not UTF-8 or there is no memory. */
static json_t *string_or(char *text, const char *otherwise)
{
	json_t *s = text ? json_string(text) : NULL;

	free(text);
	return s ? s : otherwise ? json_string(otherwise) : json_null();
}

static json_t *add(struct why *w, const char *layer, const char *of, bool ok, char *text,
		   char *advice)
{
	json_t *o = json_pack("{s:s, s:s?, s:b, s:o, s:o}", "layer", layer, "of", of, "ok", ok,
			      "text", string_or(text, "?"), "advice", string_or(advice, NULL));

	return o && json_array_append_new(w->layers, o) == 0 ? o : NULL;
}

void why_ok(struct why *w, const char *layer, const char *of, const char *format, ...)
{
	va_list ap;

	if (w->quiet)
		return;
	va_start(ap, format);
	add(w, layer, of, true, format_text(format, ap), NULL);
	va_end(ap);
}

void why_wrong(struct why *w, const char *layer, const char *of, char *advice, const char *format,
	       ...)
{
	va_list ap;
	json_t *o;

	va_start(ap, format);
	o = add(w, layer, of, false, format_text(format, ap), advice);
	va_end(ap);
	if (!w->wrong)
		w->wrong = o;
}

const char *why_protocol(uint8_t protocol)
{
	return protocol == IPPROTO_TCP    ? "TCP"
	       : protocol == IPPROTO_UDP  ? "UDP"
	       : protocol == IPPROTO_SCTP ? "SCTP"
					  : "ICMP";
}

const char *why_address(const union bn_addr *addr, uint16_t port, char buf[64])
{
	char text[BN_ADDR_STRLEN];

	bn_addr_format(addr, text);
	if (port)
		snprintf(buf, 64, bn_addr_is_v4(addr) ? "%s:%u" : "[%s]:%u", text, port);
	else
		snprintf(buf, 64, "%s", text);
	return buf;
}

/* The node as `status` sees it: what degrades it may be what the pod suffers from. */
static void node_layer(struct why *w)
{
	json_t *notes, *reasons = bn_agent_reasons(w->a, &notes), *reason;
	size_t i;

	json_array_foreach(reasons, i, reason)
		why_wrong(w, "node", w->a->config->node_name,
			  why_text("see 'bpfnet status' and bpfnetd's log"),
			  "the node is degraded: %s", json_string_value(reason));
	if (!json_array_size(reasons))
		why_ok(w, "node", w->a->config->node_name,
		       "the node is live, with all that is configured in force");
	json_decref(reasons);
	json_decref(notes);
}

static void walk(struct why *w)
{
	if (why_pod_known(w, &w->from, true)) {
		if (w->from.here)
			why_pod_walk(w, &w->from);
		why_services_of(w, &w->from);
		why_target_walk(w);
		why_route(w);
		why_policy(w);
		why_drops(w);
	}
	node_layer(w);
}

static json_t *sentence(const struct why *w)
{
	const char *advice;

	if (!w->wrong)
		return w->target == WHY_NOTHING
			       ? json_sprintf("nothing is wrong with %s, as far as this node can "
					      "tell",
					      w->from.key)
			       : json_sprintf("nothing is wrong between %s and %s, as far as this "
					      "node can tell",
					      w->from.key, w->to_text);
	advice = json_string_value(json_object_get(w->wrong, "advice"));
	return json_sprintf(advice ? "%s: %s" : "%s",
			    json_string_value(json_object_get(w->wrong, "text")), advice);
}

static int read_question(struct why *w, json_t *params, struct bn_error *err)
{
	const char *from = json_string_value(json_object_get(params, "from")), *slash;
	struct bn_trace flow = {0};
	char *namespace;
	int r;

	slash = from ? strchr(from, '/') : NULL;
	if (!slash || slash == from || !slash[1] || strchr(slash + 1, '/'))
		return bn_error_set(err, -EINVAL, CANNOT "'%s' is not of the form NS/POD",
				    from ? from : "");
	namespace = strndup(from, (size_t)(slash - from));
	r = namespace ? why_pod_set(&w->from, namespace, slash + 1) : -ENOMEM;
	free(namespace);
	if (!r)
		r = bn_trace_read_flow(params, false, &flow, err);
	if (r)
		return r;
	w->protocol = flow.protocol;
	w->port = flow.port;
	w->to_text = json_string_value(json_object_get(params, "to"));
	return w->to_text ? why_target_find(w, err) : 0;
}

int bn_agent_method_why(struct bn_request *r, void *user)
{
	struct why w = {.a = user, .layers = json_array()};
	struct bn_error err = BN_ERROR_INIT;
	json_t *result = NULL;
	int e;

	e = read_question(&w, bn_request_params(r), &err);
	if (!e)
		e = bn_nl_open(NETLINK_ROUTE, &w.nl, &err);
	if (!e) {
		walk(&w);
		result = json_pack("{s:b, s:O, s:o}", "ok", !w.wrong, "layers", w.layers, "text",
				   sentence(&w));
	}
	if (result)
		bn_reply(r, result);
	else
		bn_reply_errno(r, e ? e : -ENOMEM, &err);
	json_decref(w.layers);
	why_pod_done(&w.from);
	why_pod_done(&w.to);
	bn_nl_free(w.nl);
	free(w.to_copy);
	bn_error_done(&err);
	return 0;
}

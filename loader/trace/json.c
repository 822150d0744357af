// SPDX-License-Identifier: Apache-2.0
#include "trace/json.h"

#define put_lit(b, text) bn_buf_put(b, text, sizeof(text) - 1)

static const char *const hooks[BN_HOOK_MAX] = {
	[BN_HOOK_FROM_POD] = "from-pod",
	[BN_HOOK_TO_POD] = "to-pod",
	[BN_HOOK_FROM_UPLINK] = "from-uplink",
	[BN_HOOK_FROM_HOST] = "from-host",
	[BN_HOOK_XDP] = "xdp",
	[BN_HOOK_TO_UPLINK] = "to-uplink",
	[BN_HOOK_HOST_EGRESS] = "host-egress",
	[BN_HOOK_LOOPBACK] = "loopback",
};

static const char *const actions[BN_TRACE_ACTION_MAX] = {
	[BN_TRACE_PASSED] = "passed",       [BN_TRACE_REDIRECTED] = "redirected",
	[BN_TRACE_DELIVERED] = "delivered", [BN_TRACE_INJECTED] = "injected",
	[BN_TRACE_SENT_BACK] = "sent-back", [BN_TRACE_DROP] = "dropped",
	[BN_TRACE_ANSWERED] = "answered",
};

static void put_base64(struct bn_buf *b, const uint8_t *p, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3) {
		uint32_t n = (uint32_t)p[i] << 16;
		char out[4];

		if (i + 1 < len)
			n |= (uint32_t)p[i + 1] << 8;
		if (i + 2 < len)
			n |= p[i + 2];
		out[0] = digits[n >> 18];
		out[1] = digits[n >> 12 & 63];
		out[2] = i + 1 < len ? digits[n >> 6 & 63] : '=';
		out[3] = i + 2 < len ? digits[n & 63] : '=';
		bn_buf_put(b, out, sizeof(out));
	}
}

static void put_name(struct bn_buf *b, const char *key, const char *value)
{
	put_lit(b, ",\"");
	bn_buf_puts(b, key);
	put_lit(b, "\":");
	bn_buf_json_string(b, value);
}

void bn_trace_json(struct bn_buf *b, const struct bn_trace_line *line)
{
	const struct bn_trace_record *r = line->record;

	bn_flow_json(b, line->named, line->node_name);
	if (b->failed)
		return;
	b->len--; /* the object goes on */
	put_lit(b, ",\"trace\":{\"packet\":");
	bn_buf_u64(b, line->packet);
	put_name(b, "hook", hooks[r->event.hook]);
	if (*line->device)
		put_name(b, "device", line->device);
	put_name(b, "action", actions[r->action]);
	if (*line->to_device)
		put_name(b, "to_device", line->to_device);
	put_lit(b, ",\"verdict\":");
	if (r->verdict < 0)
		bn_buf_putc(b, '-');
	bn_buf_u64(b, (uint64_t)(r->verdict < 0 ? -(int64_t)r->verdict : r->verdict));
	put_lit(b, "},\"capture\":{\"length\":");
	bn_buf_u64(b, r->captured);
	put_lit(b, ",\"original_length\":");
	bn_buf_u64(b, r->frame);
	put_lit(b, ",\"data\":\"");
	put_base64(b, r->bytes, r->captured);
	put_lit(b, "\"}}");
}

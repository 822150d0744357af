// SPDX-License-Identifier: Apache-2.0
#include "flows/filter-text.h"

#include <errno.h>
#include <string.h>

#define NOT "not "

static int add(json_t *filters, const char *item, struct bn_error *err)
{
	bool not = !strncmp(item, NOT, strlen(NOT));
	const char *field = not ? item + strlen(NOT) : item;
	const char *value = strchr(field, '=');
	json_t *filter;

	if (!value)
		return bn_error_set(err, -EINVAL,
				    "'%s' is no filter: expected FIELD=VALUE or not FIELD=VALUE",
				    item);
	filter = json_pack("{s:s%, s:s, s:b}", "field", field, (size_t)(value - field), "value",
			   value + 1, "not", not);
	if (!filter)
		return bn_error_set(err, -EINVAL, "'%s' is no filter: it is not UTF-8", item);
	return json_array_append_new(filters, filter) < 0 ? -ENOMEM : 0;
}

int bn_flow_filter_text(char *const *items, size_t n, struct bn_flow_filter **ret,
			struct bn_error *err)
{
	json_t *filters = json_array();
	int r = filters ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && r == 0; i++)
		r = add(filters, items[i], err);
	if (r == 0)
		r = bn_flow_filter_parse(filters, ret, err);
	json_decref(filters);
	return r;
}

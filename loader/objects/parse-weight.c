// SPDX-License-Identifier: Apache-2.0
/*
 * Weights, for which Kubernetes has no field:
 *
 *   Pod      bpfnet.io/weight: "3"                              three times another's share
 *   Service  bpfnet.io/weights: "version=v1:90,version=v2:10"   shares of groups of pods
 *
 * A group's share is divided among its pods by their own weights, however many there are. Shares
 * are relative, as in Gateway API, so percent are what they look like where they sum to 100. Weight
 * 0 gets no new flows, and neither does a pod in no group; the share of a group that has nobody
 * ready goes to the others.
 */
#include "state.h"

#include <errno.h>
#include <string.h>

#define WEIGHT_MAX 1000

/* Digits alone, of a small number. */
static bool parse_number(const char *s, size_t n, uint16_t *ret)
{
	unsigned v = 0;

	if (!n || n > 4)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = 10 * v + (unsigned)(s[i] - '0');
	}
	if (v > WEIGHT_MAX)
		return false;
	*ret = (uint16_t)v;
	return true;
}

int bn_parse_weight(const struct bn_field *root, uint16_t *ret)
{
	struct bn_field metadata = bn_field_get(root, "metadata");
	struct bn_field annotations = bn_field_get(&metadata, "annotations");
	struct bn_field field = bn_field_get(&annotations, "bpfnet.io/weight");
	const char *text = NULL;

	if (bn_field_string(&field, &text) < 0)
		return -EINVAL;
	if (text && !parse_number(text, strlen(text), ret))
		return bn_field_fail(&field, "\"%.64s\" is not a weight, a number from 0 to %d",
				     text, WEIGHT_MAX);
	return 0;
}

static int copy(struct bn_arena *arena, const char *s, size_t n, const char **ret)
{
	char *p = bn_arena_alloc(arena, n + 1, 1);

	if (!p)
		return -ENOMEM;
	*ret = memcpy(p, s, n);
	return 0;
}

/* KEY=VALUE:SHARE, n bytes long. */
static int parse_group(const struct bn_field *field, const char *s, size_t n,
		       struct bn_service_object *service)
{
	struct bn_weight_group *group = &service->groups[service->n_groups];
	const char *equals = memchr(s, '=', n), *colon = memchr(s, ':', n);

	if (!equals || !colon || colon < equals)
		return bn_field_fail(field, "\"%.*s\" is not of the form KEY=VALUE:WEIGHT",
				     n > 64 ? 64 : (int)n, s);
	if (!parse_number(colon + 1, n - (size_t)(colon + 1 - s), &group->share))
		return bn_field_fail(field, "\"%.*s\" is not a weight, a number from 0 to %d",
				     (int)(n - (size_t)(colon + 1 - s)) > 64
					     ? 64
					     : (int)(n - (size_t)(colon + 1 - s)),
				     colon + 1, WEIGHT_MAX);
	if (copy(&service->o.arena, s, (size_t)(equals - s), &group->label.key) < 0 ||
	    copy(&service->o.arena, equals + 1, (size_t)(colon - equals - 1), &group->label.value) <
		    0)
		return -ENOMEM;
	if (bn_name_label_key(group->label.key))
		return bn_field_fail(field, "the key \"%.100s\" must be %s", group->label.key,
				     bn_name_label_key(group->label.key));
	if (bn_name_label_value(group->label.value))
		return bn_field_fail(field, "\"%.100s\" must be %s", group->label.value,
				     bn_name_label_value(group->label.value));
	service->n_groups++;
	return 0;
}

int bn_parse_weight_groups(const struct bn_field *root, struct bn_service_object *service)
{
	struct bn_field metadata = bn_field_get(root, "metadata");
	struct bn_field annotations = bn_field_get(&metadata, "annotations");
	struct bn_field field = bn_field_get(&annotations, "bpfnet.io/weights");
	const char *text = NULL;
	bool any = false;
	int r = 0;

	if (bn_field_string(&field, &text) < 0)
		return -EINVAL;
	if (!text)
		return 0;
	service->groups =
		bn_arena_alloc(&service->o.arena, BN_WEIGHT_GROUPS_MAX, sizeof(*service->groups));
	if (!service->groups)
		return -ENOMEM;
	for (const char *s = text; r == 0 && s;) {
		const char *comma = strchr(s, ','), *next = comma ? comma + 1 : NULL;
		size_t n = comma ? (size_t)(comma - s) : strlen(s);

		for (; n && *s == ' '; n--)
			s++;
		for (; n && s[n - 1] == ' '; n--)
			;
		if (service->n_groups == BN_WEIGHT_GROUPS_MAX)
			return bn_field_fail(&field, "has more than %d groups",
					     BN_WEIGHT_GROUPS_MAX);
		r = parse_group(&field, s, n, service);
		any = r == 0 && (any || service->groups[service->n_groups - 1].share);
		s = next;
	}
	if (r == 0 && !any)
		return bn_field_fail(&field, "leaves nobody a share");
	return r;
}

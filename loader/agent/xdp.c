// SPDX-License-Identifier: Apache-2.0
/*
 * XDP on the uplinks: which mode, between which of them it may redirect, and why not. Nothing here
 * keeps the node down: what XDP does not take, the tc program does.
 */
#include "agent/agent.h"

#include "datapath/audit.h"
#include "log.h"

#include <errno.h>
#include <linux/if_link.h>
#include <stdlib.h>
#include <string.h>

static bool is_veth(struct bn_agent *a, const struct bn_uplink *u, struct bn_link *ret)
{
	return bn_link_get(a->nl, NULL, u->ifindex, ret) == 0 && !strcmp(ret->kind, "veth");
}

/*
 * Whether frames that XDP sends back through a veth stay in its ring: the driver wakes the other end
 * for them only if that has an XDP program too, of whatever kind.
 */
static bool peer_sleeps(struct bn_agent *a, const struct bn_uplink *u)
{
	struct bn_link link, peer;

	if (!is_veth(a, u, &link))
		return false;
	return bn_link_get_peer(a->nl, &link, &peer) < 0 ||
	       (peer.xdp != XDP_ATTACHED_DRV && peer.xdp != XDP_ATTACHED_MULTI);
}

static int attach(struct bn_agent *a, struct bn_uplink *u, enum bn_xdp_mode mode,
		  struct bn_error *err)
{
	const int fd = a->programs.programs[BN_PROGRAM_XDP];

	if (fd >= 0 && mode == BN_XDP_NATIVE && peer_sleeps(a, u)) {
		bn_xdp_attach(a->links_dir, u->ifindex, BN_XDP_OFF, -1, NULL);
		return bn_error_set(err, -ENODEV,
				    "the other end of this veth has no native XDP program, so it "
				    "would not wake for frames that XDP sends");
	}
	return bn_xdp_attach(a->links_dir, u->ifindex, mode, fd, err);
}

/* Why it is off, told once. */
static void say_off(struct bn_uplink *u, const char *why, bool warn)
{
	char *text;

	if (why && u->xdp_why && !strcmp(u->xdp_why, why))
		return;
	text = why ? strdup(why) : NULL;
	free(u->xdp_why);
	u->xdp_why = text;
	if (why && warn)
		bn_log(BN_LOG_WARNING, "no XDP, packets are taken by tc only", "device", u->name,
		       "reason", why, NULL);
}

void bn_agent_xdp_attach(struct bn_agent *a, struct bn_uplink *u)
{
	enum bn_xdp_mode modes[2] = {a->config->xdp};
	struct bn_error err = BN_ERROR_INIT;
	const char *why = NULL;
	int n = 1, r = -1;

	if (a->config->xdp == BN_XDP_OFF) {
		n = 0;
		why = "off in the configuration";
	} else if (a->config->xdp == BN_XDP_AUTO) {
		n = bn_xdp_choose(u->name, modes, &why);
	}
	for (int i = 0; i < n && r < 0 && r != -EBUSY; i++) {
		bn_error_done(&err);
		err = (struct bn_error)BN_ERROR_INIT;
		r = attach(a, u, modes[i], &err);
	}
	/* a predecessor's, which was configured otherwise */
	if (!n && bn_xdp_attach(a->links_dir, u->ifindex, BN_XDP_OFF, -1, &err) < 0)
		bn_logf(BN_LOG_ERROR, "%s, ignoring", bn_error_text(&err));
	bn_xdp_attached(a->links_dir, u->ifindex, &u->xdp);
	say_off(u, r == 0 ? NULL : n ? bn_error_text(&err) : why, n > 0);
	bn_error_done(&err);
}

/*
 * Whether frames may be redirected from and to the device, as enum bn_device_flag; 0: *ret_why says
 * why not. To a veth whose other end has no program, frames would be lost; it isn't native either.
 */
static uint32_t redirects(struct bn_agent *a, const struct bn_uplink *u, const char **ret_why)
{
	struct bn_link link;
	bool from, to;
	int r;

	*ret_why = NULL;
	if (u->xdp == BN_XDP_GENERIC)
		return BN_DEVICE_REDIRECTS | BN_DEVICE_GENERIC;
	if (u->xdp != BN_XDP_NATIVE) {
		*ret_why = "no XDP on it";
		return 0;
	}
	r = bn_xdp_redirects(u->ifindex, &from, &to);
	if (r == -EOPNOTSUPP && is_veth(a, u, &link))
		return BN_DEVICE_REDIRECTS | BN_DEVICE_TAKES;
	if (r < 0)
		*ret_why = r == -EOPNOTSUPP ? "this kernel (before 6.3) doesn't tell whether the "
					      "driver sends frames that another one received"
					    : "the kernel doesn't tell what the driver can";
	else if (!from || !to)
		*ret_why = from ? "the driver doesn't send frames that another one received"
				: "the driver can't redirect frames";
	return r < 0 ? 0 : (from ? BN_DEVICE_REDIRECTS : 0u) | (to ? BN_DEVICE_TAKES : 0u);
}

void bn_agent_xdp_redirects(struct bn_agent *a)
{
	for (size_t i = 0; i < a->n_uplinks; i++) {
		struct bn_uplink *u = &a->uplinks[i];
		struct bn_error err = BN_ERROR_INIT;
		const char *why;
		uint32_t flags = redirects(a, u, &why);

		if (flags == u->device.flags)
			continue;
		u->device.flags = flags;
		if (bn_addresses_device(a->addresses, (uint32_t)u->ifindex, &u->device, &err) < 0)
			bn_logf(BN_LOG_ERROR, "%s, ignoring", bn_error_text(&err));
		bn_error_done(&err);
	}
}

void bn_agent_xdp_prune(struct bn_agent *a)
{
	struct bn_error err = BN_ERROR_INIT;
	int *keep = calloc(a->n_uplinks + 1, sizeof(*keep));

	if (!keep)
		return;
	for (size_t i = 0; i < a->n_uplinks; i++)
		keep[i] = a->uplinks[i].ifindex;
	if (bn_xdp_detach_others(a->links_dir, keep, a->n_uplinks, &err) < 0)
		bn_logf(BN_LOG_ERROR, "%s, ignoring", bn_error_text(&err));
	free(keep);
	bn_error_done(&err);
}

void bn_agent_xdp_audit(struct bn_agent *a, struct bn_audit_count *c)
{
	for (size_t i = 0; i < a->n_uplinks; i++) {
		struct bn_uplink *u = &a->uplinks[i];
		bool asleep = u->xdp == BN_XDP_NATIVE && peer_sleeps(a, u);
		bool wanted = u->xdp != BN_XDP_OFF && !asleep;
		enum bn_xdp_mode mode;

		if (a->config->xdp == BN_XDP_OFF)
			continue;
		c->checked += wanted;
		if (wanted && bn_xdp_attached(a->links_dir, u->ifindex, &mode))
			continue;
		/* what stood in the way may be gone: a foreign program, a veth's other end */
		bn_agent_xdp_attach(a, u);
		c->missing += wanted;
		c->failed += wanted && u->xdp == BN_XDP_OFF;
	}
	bn_agent_xdp_redirects(a);
}

static json_t *redirects_text(struct bn_agent *a, const struct bn_uplink *u)
{
	const char *why;
	uint32_t flags = redirects(a, u, &why);

	if (flags & BN_DEVICE_GENERIC)
		return json_string("on: to every uplink, and from those that are generic");
	if (!why)
		return json_string("on");
	if (!flags)
		return json_sprintf("off: %s", why);
	return json_sprintf("%s it only: %s", flags & BN_DEVICE_TAKES ? "to" : "from", why);
}

void bn_agent_xdp_status(struct bn_agent *a, json_t *features, json_t *attachments)
{
	json_t *modes = json_object(), *redirect = json_object();

	for (size_t i = 0; i < a->n_uplinks; i++) {
		const struct bn_uplink *u = &a->uplinks[i];
		enum bn_xdp_mode mode;
		uint32_t id = bn_xdp_attached(a->links_dir, u->ifindex, &mode);

		json_object_set_new(modes, u->name,
				    u->xdp_why ? json_sprintf("off: %s", u->xdp_why)
					       : json_string(bn_xdp_mode_name(mode)));
		json_object_set_new(redirect, u->name, redirects_text(a, u));
		if (id)
			json_array_append_new(attachments,
					      json_pack("{s:s, s:i, s:s, s:s, s:I}", "device",
							u->name, "ifindex", u->ifindex, "hook",
							"xdp", "mechanism", bn_xdp_mode_name(mode),
							"program", (json_int_t)id));
	}
	json_object_set_new(features, "xdp", modes);
	if (a->n_uplinks > 1)
		json_object_set(features, "xdp_redirect", redirect);
	json_decref(redirect);
}

void bn_agent_xdp_problems(const struct bn_agent *a, void (*fn)(void *user, json_t *text),
			   void *user)
{
	if (a->config->xdp == BN_XDP_OFF || a->config->xdp == BN_XDP_AUTO)
		return;
	for (size_t i = 0; i < a->n_uplinks; i++) {
		if (a->uplinks[i].xdp_why)
			fn(user,
			   json_sprintf("device %s: xdp: %s: %s", a->uplinks[i].name,
					bn_xdp_mode_name(a->config->xdp), a->uplinks[i].xdp_why));
	}
}

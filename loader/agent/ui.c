// SPDX-License-Identifier: Apache-2.0
/* What the page is told of the agent. */
#include "agent/agent.h"

#include "log.h"

static json_t *services(void *user)
{
	return bn_agent_services_json(user, NULL);
}

static json_t *endpoints(void *user)
{
	const struct bn_agent *a = user;

	return bn_endpoints_json(a->endpoints);
}

static json_t *status(void *user)
{
	return bn_agent_status_json(user);
}

static const struct bn_ui_document documents[] = {
	{"services", services},
	{"endpoints", endpoints},
	{"status", status},
};

static bool is_loopback(const union bn_addr *addr)
{
	static const union bn_addr one6 = {.b = {[15] = 1}};

	return bn_addr_family(addr) == BN_IPV4 ? addr->b[12] == 127 : bn_addr_equal(addr, &one6);
}

int bn_agent_ui_start(struct bn_agent *a)
{
	const struct bn_ui_config config = {
		.at = &a->config->ui_listen,
		.hosts = &a->config->ui_hosts,
		.observer = a->observer,
		.documents = documents,
		.n_documents = sizeof(documents) / sizeof(*documents),
		.user = a,
	};
	char at[BN_LISTEN_STRLEN];

	if (!config.at->port)
		return 0;
	if (!is_loopback(&config.at->addr))
		bn_log(BN_LOG_WARNING,
		       "the page asks for no password: whoever reaches it reads every flow",
		       "address", bn_listen_format(config.at, at), NULL);
	return bn_ui_new(a->event, &config, &a->ui);
}

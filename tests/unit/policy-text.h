/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy's manifest means, as a line of text. */
#pragma once

#include "policy/selector.h"
#include "test-objects.h"

static inline void print_selector(FILE *f, const char *what, const struct bn_selector *selector)
{
	char *text = bn_selector_text(selector);

	assert_non_null(text);
	fprintf(f, "%s{%s}", what, text);
	free(text);
}

static inline void print_peer(FILE *f, const struct bn_policy_peer *peer)
{
	char cidr[BN_CIDR_STRLEN];

	if (peer->is_block) {
		assert_true(!peer->pods && !peer->namespaces);
		fputs(bn_cidr_format(&peer->block, cidr), f);
		for (size_t i = 0; i < peer->n_except; i++)
			fprintf(f, "-%s", bn_cidr_format(&peer->except[i], cidr));
		return;
	}
	if (peer->nodes) {
		assert_true(!peer->pods && !peer->namespaces);
		print_selector(f, "nodes", peer->nodes);
	}
	if (peer->pods)
		print_selector(f, "pods", peer->pods);
	if (peer->namespaces)
		print_selector(f, "namespaces", peer->namespaces);
}

static inline void print_port(FILE *f, const struct bn_policy_port *port)
{
	fprintf(f, "%u/", port->protocol);
	if (port->name)
		fprintf(f, "%s", port->name);
	else if (!port->port)
		fprintf(f, "%s", port->end ? "?" : "*");
	else if (port->port == port->end)
		fprintf(f, "%u", port->port);
	else
		fprintf(f, "%u-%u", port->port, port->end);
}

static inline void print_rule(FILE *f, const struct bn_policy_rule *rule)
{
	static const char *const actions[] = {"", "Deny", "Pass"};

	fprintf(f, "%s%s%s(", actions[rule->action], rule->name ? " " : "",
		rule->name ? rule->name : "");
	for (size_t i = 0; i < rule->n_peers; i++) {
		fputs(i ? " " : "", f);
		print_peer(f, &rule->peers[i]);
	}
	fputc(':', f);
	for (size_t i = 0; i < rule->n_ports; i++) {
		fputc(' ', f);
		print_port(f, &rule->ports[i]);
	}
	fputc(')', f);
}

/* "pods{app=a} ingress (PEERS: PORTS)(...) egress ...", each direction that is selected. */
static inline void print_policy(FILE *f, const struct bn_policy_spec *spec)
{
	static const char *const names[] = {
		[BN_POLICY_EGRESS] = "egress", [BN_POLICY_INGRESS] = "ingress"};
	static const int order[] = {BN_POLICY_INGRESS, BN_POLICY_EGRESS};

	print_selector(f, "pods", &spec->pods);
	for (size_t i = 0; i < 2; i++) {
		if (!spec->selects[order[i]])
			continue;
		fprintf(f, " %s", names[order[i]]);
		for (size_t k = 0; k < spec->n_rules[order[i]]; k++) {
			fputs(k ? "" : " ", f);
			print_rule(f, &spec->rules[order[i]][k]);
		}
	}
}

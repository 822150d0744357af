// SPDX-License-Identifier: Apache-2.0
/*
 * Why: chains of nf_tables at the forward hook (nft, iptables-nft, firewalld, and through them
 * Docker and ufw) that drop what pods send and receive.
 *
 * A chain counts as dropping if its policy is drop or a rule without a condition drops or rejects,
 * unless its table has rules that accept both what comes from and what goes to bn* devices, which
 * is what the explanation asks for.
 *
 * Invariant: rules are read only of tables with a forward chain, and only until the answer is
 * known; an expression that is not understood makes its rule conditional.
 */
#include "net/hostcheck.h"
#include "net/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>

#define CHAINS_MAX 16
#define NAME_MAX_LEN 128
#define HOST_PREFIX "bn"

struct chain {
	char table[NAME_MAX_LEN];
	char name[NAME_MAX_LEN];
	uint8_t family;
	bool policy_drop;
	bool drops;     /* a rule without a condition does */
	bool from_pods; /* the table accepts iifname bn* */
	bool to_pods;
};

struct chains {
	struct chain list[CHAINS_MAX];
	size_t n;
};

static const char *family_name(uint8_t family)
{
	return family == NFPROTO_INET ? "inet" : family == NFPROTO_IPV6 ? "ip6" : "ip";
}

static int take_chain(const struct nlmsghdr *m, void *user)
{
	const struct nlattr *a[NFTA_CHAIN_POLICY + 1], *hook[NFTA_HOOK_HOOKNUM + 1];
	const struct nfgenmsg *nfg;
	struct chains *chains = user;
	struct chain *c;

	if (mnl_nlmsg_get_payload_len(m) < sizeof(*nfg) || chains->n == CHAINS_MAX)
		return 0;
	nfg = mnl_nlmsg_get_payload(m);
	bn_nl_attrs(m, sizeof(*nfg), a, NFTA_CHAIN_POLICY);
	bn_nl_nested(a[NFTA_CHAIN_HOOK], hook, NFTA_HOOK_HOOKNUM);
	if (!hook[NFTA_HOOK_HOOKNUM] ||
	    bn_nl_u32(hook[NFTA_HOOK_HOOKNUM], 0) != htonl(NF_INET_FORWARD) ||
	    (nfg->nfgen_family != NFPROTO_IPV4 && nfg->nfgen_family != NFPROTO_IPV6 &&
	     nfg->nfgen_family != NFPROTO_INET))
		return 0;
	c = &chains->list[chains->n++];
	snprintf(c->table, sizeof(c->table), "%s", bn_nl_str(a[NFTA_CHAIN_TABLE]));
	snprintf(c->name, sizeof(c->name), "%s", bn_nl_str(a[NFTA_CHAIN_NAME]));
	c->family = nfg->nfgen_family;
	c->policy_drop = bn_nl_u32(a[NFTA_CHAIN_POLICY], htonl(NF_ACCEPT)) == htonl(NF_DROP);
	return 0;
}

/* What one rule amounts to. */
struct meaning {
	bool conditional;
	bool drops;
	bool accepts;
	bool from_pods; /* compares the input device's name with bn... */
	bool to_pods;
	uint32_t meta_key; /* of the last meta expression */
};

static void read_meta(const struct nlattr *data, struct meaning *ret)
{
	const struct nlattr *a[NFTA_META_KEY + 1];

	bn_nl_nested(data, a, NFTA_META_KEY);
	ret->meta_key = ntohl(bn_nl_u32(a[NFTA_META_KEY], htonl(UINT32_MAX)));
}

static void read_cmp(const struct nlattr *data, struct meaning *ret)
{
	const struct nlattr *a[NFTA_CMP_DATA + 1], *value[NFTA_DATA_VALUE + 1];
	const struct nlattr *v;

	ret->conditional = true;
	bn_nl_nested(data, a, NFTA_CMP_DATA);
	bn_nl_nested(a[NFTA_CMP_DATA], value, NFTA_DATA_VALUE);
	v = value[NFTA_DATA_VALUE];
	if (!v || bn_nl_u32(a[NFTA_CMP_OP], htonl(NFT_CMP_NEQ)) != htonl(NFT_CMP_EQ) ||
	    mnl_attr_get_payload_len(v) != strlen(HOST_PREFIX) ||
	    memcmp(mnl_attr_get_payload(v), HOST_PREFIX, strlen(HOST_PREFIX)) != 0)
		return;
	ret->from_pods = ret->from_pods || ret->meta_key == NFT_META_IIFNAME;
	ret->to_pods = ret->to_pods || ret->meta_key == NFT_META_OIFNAME;
}

static void read_immediate(const struct nlattr *data, struct meaning *ret)
{
	const struct nlattr *a[NFTA_IMMEDIATE_DATA + 1], *d[NFTA_DATA_VERDICT + 1];
	const struct nlattr *v[NFTA_VERDICT_CODE + 1];

	bn_nl_nested(data, a, NFTA_IMMEDIATE_DATA);
	bn_nl_nested(a[NFTA_IMMEDIATE_DATA], d, NFTA_DATA_VERDICT);
	bn_nl_nested(d[NFTA_DATA_VERDICT], v, NFTA_VERDICT_CODE);
	if (!v[NFTA_VERDICT_CODE])
		return;
	ret->drops = ret->drops || bn_nl_u32(v[NFTA_VERDICT_CODE], UINT32_MAX) == htonl(NF_DROP);
	ret->accepts = ret->accepts ||
		       bn_nl_u32(v[NFTA_VERDICT_CODE], UINT32_MAX) == htonl(NF_ACCEPT);
}

static void read_target(const struct nlattr *data, struct meaning *ret)
{
	const struct nlattr *a[NFTA_TARGET_NAME + 1];

	bn_nl_nested(data, a, NFTA_TARGET_NAME);
	if (!strcmp(bn_nl_str(a[NFTA_TARGET_NAME]), "REJECT"))
		ret->drops = true;
}

static void read_rule(const struct nlattr *expressions, struct meaning *ret)
{
	const struct nlattr *one;

	memset(ret, 0, sizeof(*ret));
	ret->meta_key = UINT32_MAX;
	mnl_attr_for_each_nested(one, expressions)
	{
		const struct nlattr *a[NFTA_EXPR_DATA + 1];
		const char *kind;

		bn_nl_nested(one, a, NFTA_EXPR_DATA);
		kind = bn_nl_str(a[NFTA_EXPR_NAME]);
		if (!strcmp(kind, "immediate"))
			read_immediate(a[NFTA_EXPR_DATA], ret);
		else if (!strcmp(kind, "reject"))
			ret->drops = true;
		else if (!strcmp(kind, "target"))
			read_target(a[NFTA_EXPR_DATA], ret);
		else if (!strcmp(kind, "cmp"))
			read_cmp(a[NFTA_EXPR_DATA], ret);
		else if (!strcmp(kind, "meta"))
			read_meta(a[NFTA_EXPR_DATA], ret);
		else if (strcmp(kind, "counter") != 0 && strcmp(kind, "log") != 0)
			ret->conditional = true;
	}
}

static int take_rule(const struct nlmsghdr *m, void *user)
{
	const struct nlattr *a[NFTA_RULE_EXPRESSIONS + 1];
	const struct nfgenmsg *nfg;
	struct chain *c = user;
	struct meaning rule;

	if (mnl_nlmsg_get_payload_len(m) < sizeof(*nfg))
		return 0;
	nfg = mnl_nlmsg_get_payload(m);
	bn_nl_attrs(m, sizeof(*nfg), a, NFTA_RULE_EXPRESSIONS);
	/* Older kernels don't filter by table. */
	if (nfg->nfgen_family != c->family ||
	    strcmp(bn_nl_str(a[NFTA_RULE_TABLE]), c->table) != 0 || !a[NFTA_RULE_EXPRESSIONS])
		return 0;
	read_rule(a[NFTA_RULE_EXPRESSIONS], &rule);
	if (rule.drops && !rule.conditional && !strcmp(bn_nl_str(a[NFTA_RULE_CHAIN]), c->name))
		c->drops = true;
	c->from_pods = c->from_pods || (rule.accepts && rule.from_pods);
	c->to_pods = c->to_pods || (rule.accepts && rule.to_pods);
	return 0;
}

static int dump(struct bn_nl *nl, uint16_t type, const struct chain *c, bn_nl_fn fn, void *user)
{
	const struct nfgenmsg nfg = {
		.nfgen_family = c ? c->family : NFPROTO_UNSPEC,
		.version = NFNETLINK_V0,
	};

	bn_nl_begin(nl, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), 0);
	bn_nl_header(nl, &nfg, sizeof(nfg));
	if (c)
		bn_nl_put_str(nl, NFTA_RULE_TABLE, c->table);
	return bn_nl_dump(nl, fn, user);
}

static int report(struct bn_hostcheck *h, const struct chain *c)
{
	const char *family = family_name(c->family);

	return bn_hostcheck_add(
		h, c->policy_drop ? "forward-policy-drop" : "forward-rule-drop",
		BN_HOSTCHECK_DEGRADED,
		"the chain %s %s %s drops what it does not know (%s; Docker, ufw or firewalld do that), pods' traffic past this node included: 'nft insert rule %s %s %s iifname \"" HOST_PREFIX
		"*\" accept' and the same with oifname",
		family, c->table, c->name, c->policy_drop ? "policy drop" : "a last rule", family,
		c->table, c->name);
}

/* The generation of the ruleset changes often on a busy node: as far as it goes is good enough. */
static int tolerate(int r)
{
	return r == -ENOMEM ? r : 0;
}

int bn_hostcheck_nft(struct bn_hostcheck *h)
{
	struct chains chains = {.n = 0};
	struct bn_nl *nl;
	int r;

	/* A kernel without nf_tables has no such chains. */
	if (bn_nl_open(NETLINK_NETFILTER, &nl, NULL) < 0)
		return 0;
	memset(&chains, 0, sizeof(chains));
	r = tolerate(dump(nl, NFT_MSG_GETCHAIN, NULL, take_chain, &chains));
	for (size_t i = 0; i < chains.n && r == 0; i++) {
		struct chain *c = &chains.list[i];

		r = tolerate(dump(nl, NFT_MSG_GETRULE, c, take_rule, c));
		if (r == 0 && (c->policy_drop || c->drops) && !(c->from_pods && c->to_pods))
			r = report(h, c);
	}
	bn_nl_free(nl);
	return r;
}

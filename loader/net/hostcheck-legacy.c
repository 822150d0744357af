// SPDX-License-Identifier: Apache-2.0
/*
 * Why: the same as hostcheck-nft.c for iptables-legacy, whose rules are another subsystem's.
 *
 * The kernel gives the filter table as one block: entries of the forward chain stand between
 * hook_entry and underflow, and the entry at underflow is the chain's policy.
 *
 *   ipt_entry { ip, ..., target_offset, next_offset } matches... target | next entry
 *
 * Invariants: a table that does not exist yet is not asked for, because asking makes it; every
 * offset is checked before it is followed.
 */
#include "net/hostcheck.h"

/* Before the kernel's headers, which then leave out what these declare. */
#include <net/if.h>
#include <netinet/in.h>

#include <errno.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST_PREFIX "bn"
#define TABLE_SIZE_MAX (64u << 20)

/* The two families' structs differ in the addresses only. */
struct family {
	const char *command;
	const char *names; /* tables that exist in this namespace */
	int domain, level, get_info, get_entries;
	size_t entry_size;
	size_t selector_size; /* ipt_ip, ip6t_ip6 at the start of an entry */
	size_t iniface, outiface;
	size_t target_offset, next_offset;
};

static const struct family families[] = {
	{
		.command = "iptables-legacy",
		.names = "/proc/net/ip_tables_names",
		.domain = AF_INET,
		.level = IPPROTO_IP,
		.get_info = IPT_SO_GET_INFO,
		.get_entries = IPT_SO_GET_ENTRIES,
		.entry_size = sizeof(struct ipt_entry),
		.selector_size = sizeof(struct ipt_ip),
		.iniface = offsetof(struct ipt_entry, ip.iniface),
		.outiface = offsetof(struct ipt_entry, ip.outiface),
		.target_offset = offsetof(struct ipt_entry, target_offset),
		.next_offset = offsetof(struct ipt_entry, next_offset),
	},
	{
		.command = "ip6tables-legacy",
		.names = "/proc/net/ip6_tables_names",
		.domain = AF_INET6,
		.level = IPPROTO_IPV6,
		.get_info = IP6T_SO_GET_INFO,
		.get_entries = IP6T_SO_GET_ENTRIES,
		.entry_size = sizeof(struct ip6t_entry),
		.selector_size = sizeof(struct ip6t_ip6),
		.iniface = offsetof(struct ip6t_entry, ipv6.iniface),
		.outiface = offsetof(struct ip6t_entry, ipv6.outiface),
		.target_offset = offsetof(struct ip6t_entry, target_offset),
		.next_offset = offsetof(struct ip6t_entry, next_offset),
	},
};

struct table {
	const struct family *family;
	struct ipt_getinfo info; /* the same for both families */
	struct ipt_get_entries *entries;
};

static bool table_exists(const char *path)
{
	FILE *f = fopen(path, "re");
	bool found = false;
	char line[64];

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = !strcmp(line, "filter\n");
	fclose(f);
	return found;
}

static int fetch(const struct family *family, struct table *ret)
{
	socklen_t size = sizeof(ret->info);
	int r = 0;
	int fd;

	ret->family = family;
	fd = socket(family->domain, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (fd < 0)
		return -errno;
	strcpy(ret->info.name, "filter");
	if (getsockopt(fd, family->level, family->get_info, &ret->info, &size) < 0) {
		r = -errno;
		goto out;
	}
	if (ret->info.size > TABLE_SIZE_MAX) {
		r = -EFBIG;
		goto out;
	}
	size = (socklen_t)(sizeof(*ret->entries) + ret->info.size);
	ret->entries = calloc(1, size);
	if (!ret->entries) {
		r = -ENOMEM;
		goto out;
	}
	strcpy(ret->entries->name, "filter");
	ret->entries->size = ret->info.size;
	if (getsockopt(fd, family->level, family->get_entries, ret->entries, &size) < 0)
		r = -errno;
out:
	close(fd);
	return r;
}

struct entry {
	const char *start;
	uint16_t target_offset;
	uint16_t next_offset;
	const struct xt_entry_target *target;
};

static bool entry_at(const struct table *t, size_t offset, struct entry *ret)
{
	const struct family *f = t->family;
	const size_t size = t->entries->size;
	const char *start = (const char *)t->entries->entrytable + offset;

	if (offset > size || size - offset < f->entry_size)
		return false;
	ret->start = start;
	memcpy(&ret->target_offset, start + f->target_offset, sizeof(uint16_t));
	memcpy(&ret->next_offset, start + f->next_offset, sizeof(uint16_t));
	if (ret->target_offset < f->entry_size || ret->next_offset > size - offset ||
	    ret->next_offset < ret->target_offset + sizeof(struct xt_entry_target))
		return false;
	ret->target = (const void *)(start + ret->target_offset);
	return true;
}

/* NF_DROP, NF_ACCEPT; -1: a jump, a return or a target with code of its own. */
static int verdict(const struct entry *e)
{
	const struct xt_standard_target *standard = (const void *)e->target;

	if (!strcmp(e->target->u.user.name, "REJECT"))
		return NF_DROP;
	/* The standard target has no name. Verdicts are stored as -(verdict) - 1. */
	if (*e->target->u.user.name ||
	    (size_t)(e->next_offset - e->target_offset) < sizeof(*standard))
		return -1;
	return standard->verdict == -NF_DROP - 1     ? NF_DROP
	       : standard->verdict == -NF_ACCEPT - 1 ? NF_ACCEPT
						     : -1;
}

static bool unconditional(const struct table *t, const struct entry *e)
{
	static const char zero[sizeof(struct ip6t_ip6)];

	return e->target_offset == t->family->entry_size &&
	       !memcmp(e->start, zero, t->family->selector_size);
}

static bool names_pods(const struct entry *e, size_t at)
{
	/* As it was typed; the plus sign is outside the mask. */
	return !strncmp(e->start + at, HOST_PREFIX "+", IFNAMSIZ);
}

static int check(struct bn_hostcheck *h, const struct table *t)
{
	const size_t end = t->info.underflow[NF_INET_FORWARD];
	size_t at = t->info.hook_entry[NF_INET_FORWARD];
	bool from_pods = false, to_pods = false, drops = false;
	const char *command = t->family->command;
	struct entry e;

	if (!(t->info.valid_hooks & (1 << NF_INET_FORWARD)))
		return 0;
	for (; at <= end && entry_at(t, at, &e); at += e.next_offset) {
		const int v = verdict(&e);

		if (v == NF_DROP && unconditional(t, &e))
			drops = true;
		if (v == NF_ACCEPT && names_pods(&e, t->family->iniface))
			from_pods = true;
		if (v == NF_ACCEPT && names_pods(&e, t->family->outiface))
			to_pods = true;
	}
	if (!drops || (from_pods && to_pods))
		return 0;
	return bn_hostcheck_add(
		h, "forward-legacy-drop", BN_HOSTCHECK_DEGRADED,
		"the FORWARD chain of %s drops what it does not know (Docker or ufw do that), pods' traffic past this node included: '%s -I FORWARD -i " HOST_PREFIX
		"+ -j ACCEPT' and the same with -o",
		command, command);
}

int bn_hostcheck_legacy(struct bn_hostcheck *h)
{
	int r = 0;

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]) && r == 0; i++) {
		struct table t;

		if (!table_exists(families[i].names))
			continue;
		memset(&t, 0, sizeof(t));
		/* A table that is being replaced right now is looked at next time. */
		if (fetch(&families[i], &t) == 0)
			r = check(h, &t);
		free(t.entries);
	}
	return r;
}

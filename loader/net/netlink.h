/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Synchronous netlink requests: one socket, one request at a time, the kernel's own words
 * (extended acknowledgement) when it refuses. A request is built in the socket's buffer:
 *
 *   bn_nl_begin(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
 *   bn_nl_header(nl, &ifi, sizeof(ifi));
 *   bn_nl_put_str(nl, IFLA_IFNAME, name);
 *   r = bn_nl_send(nl, NULL, NULL);
 *
 * An attribute that does not fit makes the send fail with -EMSGSIZE; nothing is written past the
 * buffer. A request takes at most BN_NL_TIMEOUT_S, whatever the kernel does.
 */
#pragma once

#include <libmnl/libmnl.h>
#include <stddef.h>
#include <stdint.h>

#define BN_NL_TIMEOUT_S 5

struct bn_error;
struct bn_nl;

/* Called for each message of an answer; a negative result ends the request and is returned. */
typedef int (*bn_nl_fn)(const struct nlmsghdr *m, void *user);

/* `protocol` is NETLINK_ROUTE or NETLINK_NETFILTER. The socket stays in the network namespace
 * that it is opened in, wherever it is used. */
int bn_nl_open(int protocol, struct bn_nl **ret, struct bn_error *err);
void bn_nl_free(struct bn_nl *nl);

void bn_nl_begin(struct bn_nl *nl, uint16_t type, uint16_t flags);
void bn_nl_header(struct bn_nl *nl, const void *header, size_t size);
void bn_nl_put(struct bn_nl *nl, uint16_t type, const void *data, size_t size);
void bn_nl_put_u8(struct bn_nl *nl, uint16_t type, uint8_t v);
void bn_nl_put_u32(struct bn_nl *nl, uint16_t type, uint32_t v);
void bn_nl_put_str(struct bn_nl *nl, uint16_t type, const char *s);
/* Nested attributes; `nest` is what bn_nl_nest() returned, NULL where it did not fit. */
struct nlattr *bn_nl_nest(struct bn_nl *nl, uint16_t type);
void bn_nl_nest_end(struct bn_nl *nl, struct nlattr *nest);
/* Room for a plain struct in the middle of attributes (VETH_INFO_PEER has one). */
void bn_nl_put_raw(struct bn_nl *nl, const void *data, size_t size);

/* Sends the request and waits for its acknowledgement. */
int bn_nl_send(struct bn_nl *nl, bn_nl_fn fn, void *user);
/* The same for a dump; -EAGAIN: the tables changed meanwhile, start over. */
int bn_nl_dump(struct bn_nl *nl, bn_nl_fn fn, void *user);

/* Why the last request failed with r: the kernel's text if it gave one, else strerror's. */
const char *bn_nl_reason(const struct bn_nl *nl, int r);

/* The attributes of a message by type, those past `max` left out. For use on hostile or newer
 * input: lengths are checked, `ret` has max + 1 places. */
void bn_nl_attrs(const struct nlmsghdr *m, size_t header, const struct nlattr **ret, int max);
void bn_nl_nested(const struct nlattr *nest, const struct nlattr **ret, int max);
/* Values with their size checked: `missing` where the attribute is absent or too short. */
uint32_t bn_nl_u32(const struct nlattr *a, uint32_t missing);
uint8_t bn_nl_u8(const struct nlattr *a, uint8_t missing);
/* A string that is terminated inside the attribute, or "". */
const char *bn_nl_str(const struct nlattr *a);

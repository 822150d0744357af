/* SPDX-License-Identifier: Apache-2.0 */
/* Finding, and where the kernel can, ending connected UDP sockets whose backend is gone. */
#pragma once

#include "datapath/programs.h"

#include <bpfnet/sock.h>
#include <stddef.h>

struct bn_sock_iters;

int bn_sock_iters_new(const struct bn_programs *programs, struct bn_sock_iters **ret,
		      struct bn_error *err);
void bn_sock_iters_free(struct bn_sock_iters *s);

/*
 * Whether bn_sock_iters_stale() can be asked. Where not, bn_sock_iters_destroy() works, and has to be
 * called in every namespace.
 */
bool bn_sock_iters_finds(const struct bn_sock_iters *s);
/* Those of all namespaces; *ret is the caller's to free. -ENOMEM, or as read(2). */
int bn_sock_iters_stale(struct bn_sock_iters *s, struct bn_sock_stale **ret, size_t *ret_n);
/*
 * Ends those of the network namespace that the caller is in: recv() says ECONNABORTED, send()
 * EDESTADDRREQ.
 * Does nothing where the kernel has no bpf_sock_destroy() (before 6.5).
 */
int bn_sock_iters_destroy(struct bn_sock_iters *s);

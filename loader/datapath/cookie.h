/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "error.h"

#include <stdint.h>

/*
 * The cookie of a network namespace, fd -1: the caller's, where no socket option tells it (before
 * Linux 5.14). Makes a cgroup below the given one for as long as it takes.
 */
int bn_cookie_by_program(const char *cgroup, int netns_fd, uint64_t *ret, struct bn_error *err);

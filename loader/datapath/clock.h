/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "error.h"

#include <stdint.h>

/* Jiffies a second of the running kernel: 100, 250, 300 or 1000. */
int bn_clock_hz(uint32_t *ret, struct bn_error *err);

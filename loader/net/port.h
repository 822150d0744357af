/* SPDX-License-Identifier: Apache-2.0 */
/* Ports of the host that its own sockets hold. */
#pragma once

#include <bpfnet/types.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Whether no socket of this network namespace has an address, or 0.0.0.0 or ::, and port. A
 * protocol that the kernel has no sockets of, and an address that the host has not, are free.
 */
bool bn_port_is_free(const union bn_addr *addr, uint16_t port, uint8_t protocol);

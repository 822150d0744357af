/* SPDX-License-Identifier: Apache-2.0 */
/* The maps that struct bn_addresses mirrors. */
#pragma once

#include "datapath/addresses.h"
#include "maps-fixture.h"

#include <bpfnet/flow.h>
#include <unistd.h>

static inline struct bn_addresses_config addresses_maps(uint32_t max)
{
	return (struct bn_addresses_config){
		.endpoints_fd = maps_hash(4, sizeof(struct bn_endpoint), 16),
		.addresses_fd = maps_hash(16, sizeof(struct bn_address), max),
		.devices_fd = maps_hash(4, sizeof(struct bn_device), 16),
		.node_fd = maps_array(sizeof(struct bn_node), 1, 0),
		.ranges_fd = maps_hash(sizeof(struct bn_range_key), sizeof(struct bn_range), 16),
		.epochs_fd = maps_array(sizeof(struct bn_epochs), 1, BPF_F_MMAPABLE),
		.max_addresses = max,
	};
}

static inline void addresses_maps_done(const struct bn_addresses_config *config)
{
	for (const int *fd = &config->endpoints_fd; fd <= &config->epochs_fd; fd++)
		close(*fd);
}

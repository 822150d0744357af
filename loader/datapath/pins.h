/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The maps' pins, <bpffs>/maps/NAME, by which a successor finds them. A predecessor's map is used if its
 * shape is what we would create, its ABI is ours, and flows are laid out by our hash; otherwise ours takes
 * its pin's place, and since the links still run the predecessor's programs on its map until they are
 * updated, nothing is interrupted.
 */
#pragma once

#include "datapath/programs.h"

/* A predecessor's maps. */
struct bn_pins {
	int found[BN_MAP_MAX]; /* descriptors, owned; -1: none */
	bool fits[BN_MAP_MAX]; /* the object has it in place of one of its own */
};

/* What is configured, in elements; 0: what the object says. */
uint32_t bn_pins_size(const struct bn_sizes *s, enum bn_map_id id);
int bn_pins_size_maps(struct bpf_object *obj, const struct bn_sizes *sizes, struct bn_error *err);

int bn_pins_folder(const char *bpffs, struct bn_error *err);
/* The predecessor's bn_node, if it is of this ABI. */
bool bn_pins_node(const char *bpffs, struct bn_node *ret);

void bn_pins_none(struct bn_pins *ret);
/* Gives the object, which is not loaded yet, the maps that fit. `hash`: what bn_node says of it. */
int bn_pins_reuse(struct bn_pins *ret, struct bpf_object *obj, const char *bpffs, uint32_t hash,
		  struct bn_error *err);
/* The table of flows that another replaces which can take them; borrowed, -1: there is none. */
int bn_pins_flows(const struct bn_pins *pins, struct bpf_object *obj);
/* Pins what does not fit, in the old ones' places. */
int bn_pins_replace(const struct bn_pins *pins, struct bpf_object *obj, const char *bpffs,
		    struct bn_error *err);
void bn_pins_done(struct bn_pins *pins);

/* Removes all pins and the folder. */
int bn_pins_remove(const char *bpffs, struct bn_error *err);

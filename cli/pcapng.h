/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes packets as pcapng (draft-ietf-opsawg-pcapng), which Wireshark reads: names of devices, times
 * in nanoseconds, and for each packet a comment, its direction, its number and the verdict.
 *
 * By hand, because nothing packaged does it: libpcap writes pcap only, which has no place for any of
 * this, and Wireshark's libwiretap is not meant for others and brings all of GLib.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct bn_pcapng;

struct bn_pcapng_packet {
	const char *device;
	uint64_t time; /* ns since the epoch */
	const uint8_t *data;
	size_t len, original_len; /* bytes, from the Ethernet header on */
	bool outbound;
	uint64_t number; /* the same of one packet at several places */
	bool xdp;        /* what the verdict is of, else of tc */
	int64_t verdict; /* XDP_* or TC_ACT_* */
	const char *comment;
};

/* Writes the section's header; `f` is borrowed. NULL: out of memory. */
struct bn_pcapng *bn_pcapng_new(FILE *f);
/* Whole blocks, so that what is cut off between two of them is a file. False: not written. */
bool bn_pcapng_write(struct bn_pcapng *w, const struct bn_pcapng_packet *packet);
void bn_pcapng_free(struct bn_pcapng *w);

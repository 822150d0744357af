/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows into a file, as the lines that `bpfnet flows -o json` prints, with what is lost told in
 * between as it is to every reader.
 *
 * The exporter is one more reader of the observer. Its lines go to a thread that does nothing but
 * write them, through a queue of BN_EXPORT_QUEUE bytes: the event loop copies a line and goes on.
 * Where the disk is slow, full or gone the queue fills, and the exporter waits with its place in
 * the history like any reader; what the history overwrites meanwhile is told in the file.
 */
#pragma once

#include "flows/export-file.h"
#include "flows/observer.h"

#define BN_EXPORT_QUEUE (1u << 20) /* bytes that wait, and as many that are being written */

struct bn_export;

struct bn_export_config {
	const char *path;
	uint64_t max_bytes; /* of a file */
	unsigned int backups;
	void (*changed)(void *user); /* the problem is another, or over; from the event loop */
	void *user;
};

struct bn_export_stats {
	enum bn_export_problem problem; /* as of the last attempt */
	int error;                      /* errno of it */
	uint64_t lines, bytes;          /* written */
	uint64_t lost;                  /* records that a lost line tells of, or will */
	uint64_t rotations;
	uint64_t failures[BN_EXPORT_PROBLEM_MAX]; /* attempts, one a second */
};

/* From the next flow on. Takes *filter on success, and clears it; NULL is every flow. */
int bn_export_new(sd_event *loop, struct bn_observer *observer,
		  const struct bn_export_config *config, struct bn_flow_filter **filter,
		  struct bn_export **ret);
/* Writes what waits, unless that takes seconds. */
void bn_export_free(struct bn_export *export);
void bn_export_stats(const struct bn_export *export, struct bn_export_stats *ret);

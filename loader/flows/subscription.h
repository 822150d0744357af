/* SPDX-License-Identifier: Apache-2.0 */
/* The readers of an observer: its inside, shared by observer.c and subscription.c. */
#pragma once

#include "flows/buffer.h"
#include "flows/observer.h"

#include <sys/queue.h>

struct bn_readers {
	sd_event *loop;
	sd_event_source *turn; /* on while some reader has something to do */
	int turn_fd;           /* always readable */
	unsigned int runnable; /* readers that have */
	struct bn_history *history;
	char *node_name;
	TAILQ_HEAD(, bn_subscription) list;
	unsigned int busy; /* callbacks of readers are running: free later */
	struct bn_buf line;
	struct bn_buf notice; /* of what is lost, sent ahead of `line` */
	uint64_t current;
	uint64_t total;
	uint64_t sent;
	uint64_t lost; /* by readers' own slowness */
};

int bn_readers_init(struct bn_readers *readers, sd_event *loop);
void bn_readers_done(struct bn_readers *readers);
/* A flow was added to the history under this number. */
void bn_readers_offer(struct bn_readers *readers, uint64_t number);
/* The datapath lost records that every follower might have wanted. */
void bn_readers_lost(struct bn_readers *readers, uint64_t count);
int bn_readers_subscribe(struct bn_readers *readers, struct bn_flow_query *query,
			 bn_flow_send_fn send, bn_flow_end_fn end, void *user,
			 struct bn_subscription **ret);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page over HTTP, in the agent's loop. All of it can only be read:
 *
 *   /               the page
 *   /api/flows      lines of JSON as they come (ui/streams.h); ?query={...} asks as the control
 *                   socket's method does
 *   /api/NAME       a document, made at most once a second
 *
 * Errors of /api are {"error": TEXT}.
 */
#pragma once

#include "address.h"
#include "config.h"
#include "flows/observer.h"

#include <jansson.h>
#include <systemd/sd-event.h>

#define BN_UI_DOCUMENTS_MAX 8

struct bn_ui;

struct bn_ui_document {
	const char *name;
	json_t *(*make)(void *user); /* NULL: no memory */
};

struct bn_ui_config {
	const struct bn_listen *at;
	const struct bn_string_list *hosts; /* names that the page has besides its address */
	struct bn_observer *observer;
	const struct bn_ui_document *documents;
	size_t n_documents; /* at most BN_UI_DOCUMENTS_MAX */
	void *user;
};

/* Listens, or tries again every few seconds. All that is given must outlive it. */
int bn_ui_new(sd_event *event, const struct bn_ui_config *config, struct bn_ui **ret);
void bn_ui_free(struct bn_ui *ui);
/* Why nobody is served, -errno; 0: they are. NULL: nobody is to be. */
int bn_ui_error(const struct bn_ui *ui);

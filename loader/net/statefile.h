/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON files under the state folder: whole or not there, at whatever moment the machine stops.
 */
#pragma once

#include <jansson.h>

struct bn_error;

/* -ENOENT where there is no file, -EBADMSG where it is no JSON (explained). */
int bn_statefile_read(const char *path, json_t **ret, struct bn_error *err);
/* Written beside it, synced, renamed over it, the folder synced. */
int bn_statefile_write(const char *path, const json_t *value, struct bn_error *err);
/* Removes it, durably; fine where it is gone. */
int bn_statefile_remove(const char *path, struct bn_error *err);

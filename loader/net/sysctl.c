// SPDX-License-Identifier: Apache-2.0
/*
 * Why: the node must route, and must be as before once bpfnet is uninstalled.
 *
 * Invariants: the old value is on disk before the new one is in the kernel; a key's first old
 * value is never overwritten; restoring goes backwards, so that a setting that overwrites others
 * (forwarding does) is put back before those.
 */
#include "net/sysctl.h"

#include "error.h"
#include "net/statefile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "sysctls.json"
#define V4_FORWARD "net/ipv4/ip_forward"
#define V6_FORWARD "net/ipv6/conf/all/forwarding"

struct bn_sysctl {
	char *path;
	json_t *changed; /* [{key, old, new}], oldest first */
};

static int open_key(const char *key, int flags)
{
	char path[256];
	int fd;

	if (strstr(key, "..") ||
	    snprintf(path, sizeof(path), "/proc/sys/%s", key) >= (int)sizeof(path))
		return -EINVAL;
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int bn_sysctl_read(const char *key, char ret[BN_SYSCTL_VALUE_MAX])
{
	int fd = open_key(key, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, ret, BN_SYSCTL_VALUE_MAX - 1);
	if (n < 0) {
		n = -errno;
		close(fd);
		return (int)n;
	}
	close(fd);
	while (n > 0 && (ret[n - 1] == '\n' || ret[n - 1] == ' '))
		n--;
	ret[n] = '\0';
	return 0;
}

int bn_sysctl_write(const char *key, const char *value)
{
	int fd = open_key(key, O_WRONLY);
	int r;

	if (fd < 0)
		return fd;
	r = write(fd, value, strlen(value)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static bool entry_ok(const json_t *e)
{
	return json_is_string(json_object_get(e, "key")) &&
	       json_is_string(json_object_get(e, "old")) &&
	       json_is_string(json_object_get(e, "new"));
}

int bn_sysctl_new(const char *state_dir, struct bn_sysctl **ret, struct bn_error *err)
{
	struct bn_sysctl *s = calloc(1, sizeof(*s));
	const json_t *e;
	size_t i;
	int r = -ENOMEM;

	if (!s || asprintf(&s->path, "%s/" FILE_NAME, state_dir) < 0)
		goto fail;
	r = bn_statefile_read(s->path, &s->changed, err);
	if (r == -ENOENT)
		s->changed = json_array();
	else if (r < 0)
		goto fail;
	r = s->changed ? 0 : -ENOMEM;
	json_array_foreach((json_t *)s->changed, i, e) {
		if (!entry_ok(e))
			r = -EBADMSG;
	}
	if (r == 0 && !json_is_array(s->changed))
		r = -EBADMSG;
	if (r == -EBADMSG)
		bn_error_set(
			err, r,
			"%s is damaged; it holds the kernel settings from before bpfnet: repair or remove it",
			s->path);
	if (r < 0)
		goto fail;
	*ret = s;
	return 0;
fail:
	bn_sysctl_free(s);
	return r;
}

void bn_sysctl_free(struct bn_sysctl *s)
{
	if (!s)
		return;
	json_decref(s->changed);
	free(s->path);
	free(s);
}

static json_t *find(const struct bn_sysctl *s, const char *key)
{
	json_t *e;
	size_t i;

	json_array_foreach((json_t *)s->changed, i, e) {
		if (!strcmp(json_string_value(json_object_get(e, "key")), key))
			return e;
	}
	return NULL;
}

/* Notes on disk that `key` is about to change from `old` to `value`. */
static int remember(struct bn_sysctl *s, const char *key, const char *old, const char *value,
		    struct bn_error *err)
{
	json_t *e = find(s, key);
	int r;

	if (e)
		r = json_object_set_new(e, "new", json_string(value));
	else
		r = json_array_append_new(
			s->changed, json_pack("{ssssss}", "key", key, "old", old, "new", value));
	if (r < 0)
		return bn_error_set(err, -ENOMEM, "cannot remember %s: out of memory", key);
	return bn_statefile_write(s->path, s->changed, err);
}

int bn_sysctl_set(struct bn_sysctl *s, const char *key, const char *value, struct bn_error *err)
{
	char old[BN_SYSCTL_VALUE_MAX];
	int r;

	r = bn_sysctl_read(key, old);
	if (r < 0)
		return bn_error_set(err, r, "cannot read the kernel setting %s: %s", key,
				    strerror(-r));
	if (!strcmp(old, value))
		return 0;
	r = remember(s, key, old, value, err);
	if (r < 0)
		return r;
	r = bn_sysctl_write(key, value);
	return r < 0 ? bn_error_set(err, r, "cannot set %s to %s: %s; is /proc/sys writable here?",
				    key, value, strerror(-r))
		     : 0;
}

/*
 * Switching forwarding sets every device's own switch, on and later off again: those that were on
 * by themselves are noted first, so that restoring brings them back.
 */
static int keep_devices(struct bn_sysctl *s, const char *family, struct bn_error *err)
{
	struct dirent *entry;
	char path[64];
	int r = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf", family);
	dir = opendir(path);
	if (!dir)
		return 0;
	while (r == 0 && (entry = readdir(dir))) {
		char value[BN_SYSCTL_VALUE_MAX];
		char key[128];

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
		    !strcmp(entry->d_name, "all"))
			continue;
		snprintf(key, sizeof(key), "net/%s/conf/%.32s/forwarding", family, entry->d_name);
		if (bn_sysctl_read(key, value) == 0 && !strcmp(value, "1") && !find(s, key))
			r = remember(s, key, value, "0", err);
	}
	closedir(dir);
	return r;
}

static int enable(struct bn_sysctl *s, const char *family, const char *key, struct bn_error *err)
{
	char value[BN_SYSCTL_VALUE_MAX];
	int r;

	if (bn_sysctl_read(key, value) == 0 && !strcmp(value, "1"))
		return 0;
	r = find(s, key) ? 0 : keep_devices(s, family, err);
	return r < 0 ? r : bn_sysctl_set(s, key, "1", err);
}

int bn_sysctl_enable_forwarding(struct bn_sysctl *s, const char *const *uplinks, size_t n,
				struct bn_error *err)
{
	char value[BN_SYSCTL_VALUE_MAX];
	int r;

	r = enable(s, "ipv4", V4_FORWARD, err);
	if (r < 0)
		return r;
	if (bn_sysctl_read(V6_FORWARD, value) == -ENOENT)
		return 0; /* a kernel without IPv6 */
	for (size_t i = 0; i < n; i++) {
		char key[128];

		snprintf(key, sizeof(key), "net/ipv6/conf/%s/accept_ra", uplinks[i]);
		if (bn_sysctl_read(key, value) < 0 || strcmp(value, "1") != 0)
			continue;
		r = bn_sysctl_set(s, key, "2", err);
		if (r < 0)
			return r;
	}
	return enable(s, "ipv6", V6_FORWARD, err);
}

int bn_sysctl_restore(struct bn_sysctl *s, struct bn_error *err)
{
	int result = 0;

	for (size_t i = json_array_size(s->changed); i-- > 0;) {
		const json_t *e = json_array_get(s->changed, i);
		const char *key = json_string_value(json_object_get(e, "key"));
		const char *old = json_string_value(json_object_get(e, "old"));
		const char *set = json_string_value(json_object_get(e, "new"));
		char value[BN_SYSCTL_VALUE_MAX];
		int r;

		/* Gone with its device, or someone else's by now. */
		if (bn_sysctl_read(key, value) < 0 || strcmp(value, set) != 0)
			continue;
		r = bn_sysctl_write(key, old);
		if (r < 0)
			result = bn_error_set(err, r, "cannot set %s back to %s: %s", key, old,
					      strerror(-r));
	}
	if (result < 0)
		return result;
	json_array_clear(s->changed);
	return bn_statefile_remove(s->path, err);
}

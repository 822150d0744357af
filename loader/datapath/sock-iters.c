// SPDX-License-Identifier: Apache-2.0
#include "datapath/sock-iters.h"

#include "sock-iter.skel.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOM_MAX (64u << 20) /* bytes of one answer */

struct bn_sock_iters {
	struct bn_sock_iter *skel;
	struct bpf_link *stale, *destroy;
};

static bool kernel_destroys(void)
{
	struct btf *kernel = btf__load_vmlinux_btf();
	bool has = kernel && btf__find_by_name_kind(kernel, "bpf_sock_destroy", BTF_KIND_FUNC) > 0;

	btf__free(kernel);
	return has;
}

static int load(struct bn_sock_iters *s, const struct bn_programs *programs, bool finds,
		struct bn_error *err)
{
	union bpf_iter_link_info info = {.map.map_fd =
						 (uint32_t)programs->maps[BN_MAP_bn_sock_peer]};
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	int r;

	s->skel = bn_sock_iter__open();
	if (!s->skel)
		return -errno;
	bpf_program__set_autoload(s->skel->progs.bn_iter_stale, finds);
	r = bn_programs_share_maps(s->skel->obj, programs, err);
	if (!r)
		r = bpf_object__load(s->skel->obj);
	if (r)
		return r;
	if (finds)
		s->stale = bpf_program__attach_iter(s->skel->progs.bn_iter_stale, &opts);
	s->destroy = bpf_program__attach_iter(s->skel->progs.bn_iter_destroy, NULL);
	return (!finds || s->stale) && s->destroy ? 0 : -errno;
}

static void unload(struct bn_sock_iters *s)
{
	bpf_link__destroy(s->stale);
	bpf_link__destroy(s->destroy);
	bn_sock_iter__destroy(s->skel);
	*s = (struct bn_sock_iters){0};
}

int bn_sock_iters_new(const struct bn_programs *programs, struct bn_sock_iters **ret,
		      struct bn_error *err)
{
	struct bn_sock_iters *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = load(s, programs, true, NULL);
	if (r && kernel_destroys()) {
		/* some kernels admit no iterator over socket storage */
		unload(s);
		if (!load(s, programs, false, err))
			r = 0;
	}
	if (r) {
		bn_sock_iters_free(s);
		return bn_error_set(err, r, "can't load the iterators over sockets: %s",
				    strerror(-r));
	}
	*ret = s;
	return 0;
}

bool bn_sock_iters_finds(const struct bn_sock_iters *s)
{
	return s->stale;
}

void bn_sock_iters_free(struct bn_sock_iters *s)
{
	if (!s)
		return;
	unload(s);
	free(s);
}

/* Reads an iterator to its end; *ret may be NULL where it says nothing. */
static int read_all(const struct bpf_link *link, char **ret, size_t *ret_size)
{
	int fd = bpf_iter_create(bpf_link__fd(link));
	size_t size = 0, room = 0;
	char *all = NULL;
	int r = 0;

	if (fd < 0)
		return fd;
	for (;;) {
		ssize_t n;

		if (room - size < 4096) {
			char *more = room < ROOM_MAX ? realloc(all, room ? room * 2 : 16384) : NULL;

			if (!more) {
				r = -ENOMEM;
				break;
			}
			all = more;
			room = room ? room * 2 : 16384;
		}
		n = read(fd, all + size, room - size);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0) {
			r = n < 0 ? -errno : 0;
			break;
		}
		size += (size_t)n;
	}
	close(fd);
	if (r) {
		free(all);
		return r;
	}
	*ret = all;
	*ret_size = size;
	return 0;
}

int bn_sock_iters_stale(struct bn_sock_iters *s, struct bn_sock_stale **ret, size_t *ret_n)
{
	char *all;
	size_t size;
	int r = read_all(s->stale, &all, &size);

	if (r)
		return r;
	*ret = (struct bn_sock_stale *)all;
	*ret_n = size / sizeof(**ret);
	return 0;
}

int bn_sock_iters_destroy(struct bn_sock_iters *s)
{
	char *nothing;
	size_t size;
	int r = read_all(s->destroy, &nothing, &size);

	if (!r)
		free(nothing);
	return r;
}

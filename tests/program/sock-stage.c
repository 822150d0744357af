// SPDX-License-Identifier: Apache-2.0
#include "sock-stage.h"

#include "sock.skel.h"

#include <arpa/inet.h>
#include <bpfnet/sock.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "datapath/cookie.h"
#include "error.h"
#include "net/netns.h"
#include "lib/temp.h"

struct bn_rig rig;
static struct bn_sock *sock;
static uint64_t netns;
static char cgroup[BN_TEMP_MAX + 32];

socklen_t address(struct sockaddr_storage *ret, const char *addr, uint16_t port)
{
	struct sockaddr_in *in = (void *)ret;
	struct sockaddr_in6 *in6 = (void *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, addr, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		return sizeof(*in);
	}
	assert_int_equal(inet_pton(AF_INET6, addr, &in6->sin6_addr), 1);
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	return sizeof(*in6);
}

struct name name_of(const struct sockaddr_storage *a)
{
	const struct sockaddr_in *in = (const void *)a;
	const struct sockaddr_in6 *in6 = (const void *)a;
	char addr[INET6_ADDRSTRLEN];
	struct name ret;

	if (a->ss_family == AF_INET)
		inet_ntop(AF_INET, &in->sin_addr, addr, sizeof(addr));
	else
		inet_ntop(AF_INET6, &in6->sin6_addr, addr, sizeof(addr));
	snprintf(ret.text, sizeof(ret.text), "[%s]:%u", addr,
		 ntohs(a->ss_family == AF_INET ? in->sin_port : in6->sin6_port));
	return ret;
}

struct name name(const char *addr, uint16_t port)
{
	struct sockaddr_storage a;

	address(&a, addr, port);
	return name_of(&a);
}

struct name peer(int fd)
{
	struct sockaddr_storage a;
	socklen_t size = sizeof(a);

	assert_int_equal(getpeername(fd, (struct sockaddr *)&a, &size), 0);
	return name_of(&a);
}

int family_of(const char *addr)
{
	return strchr(addr, ':') ? AF_INET6 : AF_INET;
}

int open_socket(const char *addr, int type)
{
	int fd = socket(family_of(addr), type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

int bind_to(int fd, const char *addr, uint16_t port)
{
	struct sockaddr_storage a;
	socklen_t size = address(&a, addr, port);

	return bind(fd, (struct sockaddr *)&a, size) ? errno : 0;
}

int connect_to(int fd, const char *addr, uint16_t port)
{
	struct sockaddr_storage a;
	socklen_t size = address(&a, addr, port);

	return connect(fd, (struct sockaddr *)&a, size) ? errno : 0;
}

int listener(const char *addr, int type, uint16_t port)
{
	int fd = open_socket(addr, type), on = 1;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind_to(fd, addr, port), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 8), 0);
	return fd;
}

void stage_namespace_is(__u32 kind)
{
	int fd = bn_rig_map(&rig, "bn_sock_netns");
	struct bn_sock_netns value = {.kind = kind};

	if (kind)
		assert_int_equal(bpf_map_update_elem(fd, &netns, &value, BPF_ANY), 0);
	else
		bpf_map_delete_elem(fd, &netns);
}

bool stage_can_set_retval(void)
{
	return ((struct bn_config *)&sock->rodata->bn_config)->features & BN_FEATURE_SET_RETVAL;
}

static void attach(void)
{
	const struct bn_config config = rig.config;
	int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct bpf_program *prog;
	struct bpf_map *m;
	int r;

	sock = bn_sock__open();
	if (!sock || fd < 0)
		bn_rig_die("open the socket programs", errno);
	memcpy((void *)&sock->rodata->bn_config, &config, sizeof(config));
	if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK, BPF_FUNC_set_retval, NULL) == 1)
		((struct bn_config *)&sock->rodata->bn_config)->features |= BN_FEATURE_SET_RETVAL;
	bpf_object__for_each_map(m, sock->obj)
	{
		struct bpf_map *have =
			bpf_object__find_map_by_name(rig.objects[0], bpf_map__name(m));

		if (bpf_map__is_internal(m) || !have)
			continue;
		r = bpf_map__reuse_fd(m, bpf_map__fd(have));
		if (r)
			bn_rig_die(bpf_map__name(m), -r);
	}
	r = bn_sock__load(sock);
	if (r)
		bn_rig_die("load the socket programs", -r);
	/* held for the process's life, which is the cgroup's */
	bpf_object__for_each_program(prog, sock->obj)
	{
		if (!bpf_program__attach_cgroup(prog, fd))
			bn_rig_die(bpf_program__name(prog), errno);
	}
	close(fd);
}

void stage_build(void)
{
	const struct bn_rig_options options = {0};
	struct bn_error err = BN_ERROR_INIT;

	bn_rig_enter();
	if (bn_netns_cookie(-1, &netns) < 0 && bn_cookie_by_program(cgroup, -1, &netns, &err) < 0)
		bn_rig_die(bn_error_text(&err), 0);
	bn_rig_new(&rig, &options);
	attach();
}

static void join(void)
{
	char path[sizeof(cgroup) + 16];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		bn_rig_die(path, errno);
	close(fd);
}

/* A child is in the cgroup, so that it can be removed when all is over. */
int stage_main(int (*test)(void))
{
	char mount_point[BN_TEMP_MAX];
	int status = 0;
	pid_t pid;

	if (!bn_temp_dir(mount_point, "sock") || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", mount_point, "cgroup2", 0, NULL))
		bn_rig_die("mount cgroup2", errno);
	snprintf(cgroup, sizeof(cgroup), "%s/bpfnet-test-%d", mount_point, (int)getpid());
	if (mkdir(cgroup, 0755))
		bn_rig_die(cgroup, errno);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		join();
		exit(test());
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rmdir(cgroup) || umount(mount_point) || rmdir(mount_point))
		bn_rig_die("remove the cgroup", errno);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

// SPDX-License-Identifier: Apache-2.0
/*
 * The rig's network namespace. Programs are run by BPF_PROG_TEST_RUN, so nothing is ever sent:
 * the devices, routes and neighbours exist for what the programs ask the kernel (fib, MTU).
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char setup[] =
	"link set lo up\n"
	"link add bna type veth peer name bna1\n"
	"link add bnb type veth peer name bnb1\n"
	"link add bnc type veth peer name bnc1\n"
	"link add bnup type veth peer name bnup1\n"
	"link add bnh type veth peer name bnh1\n"
	"link add bnx type veth peer name bnx1\n"
	"link add bnup2 mtu 1400 type veth peer name bnup21\n"
	"link set bna up\nlink set bna1 up\n"
	"link set bnb up\nlink set bnb1 up\n"
	"link set bnc up\nlink set bnc1 up\n"
	"link set bnup up\nlink set bnup1 up\n"
	"link set bnh up\nlink set bnh1 up\n"
	"link set bnx up\nlink set bnx1 up\n"
	"link set bnup2 up\nlink set bnup21 up\n"
	"route add 10.244.0.2 dev bna\n"
	"route add 10.244.0.3 dev bnb\n"
	"route add 10.244.0.4 dev bnc\n"
	"route add fd00:244::2 dev bna\n"
	"route add fd00:244::3 dev bnb\n"
	"route add fd00:244::4 dev bnc\n"
	"addr add 172.31.0.2/24 dev bnup\n"
	"addr add fd00:31::2/64 dev bnup nodad\n"
	"route add default via 172.31.0.1\n"
	"route add default via fd00:31::1\n"
	"neigh add 172.31.0.1 lladdr 02:00:00:00:00:01 dev bnup nud permanent\n"
	"neigh add fd00:31::1 lladdr 02:00:00:00:00:01 dev bnup nud permanent\n"
	"addr add 172.31.2.2/24 dev bnup2\n"
	"addr add fd00:31:2::2/64 dev bnup2 nodad\n"
	"route add 10.244.8.8 via 172.31.2.1\n"
	"route add fd00:244::8:8 via fd00:31:2::1\n"
	"neigh add 172.31.2.1 lladdr 02:00:00:00:00:02 dev bnup2 nud permanent\n"
	"neigh add fd00:31:2::1 lladdr 02:00:00:00:00:02 dev bnup2 nud permanent\n";

static void sysctl_set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		bn_rig_die(path, errno);
	if (write(fd, value, strlen(value)) < 0)
		bn_rig_die(path, errno);
	close(fd);
}

void bn_rig_die(const char *what, int error)
{
	fprintf(stderr, "tests/lib: %s: %s\n", what, error ? strerror(error) : "failed");
	exit(2);
}

void bn_rig_enter(void)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	FILE *ip;

	if (geteuid())
		bn_rig_die("program tests need root", EPERM);
	setrlimit(RLIMIT_MEMLOCK, &unlimited); /* maps are charged to it before 5.11 */
	if (unshare(CLONE_NEWNET))
		bn_rig_die("unshare(CLONE_NEWNET)", errno);
	/* no duplicate address detection or router solicitation in the background */
	sysctl_set("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
	sysctl_set("/proc/sys/net/ipv4/ip_forward", "1");
	sysctl_set("/proc/sys/net/ipv6/conf/all/forwarding", "1");
	ip = popen("ip -batch -", "w");
	if (!ip)
		bn_rig_die("ip -batch", errno);
	fputs(setup, ip);
	if (pclose(ip))
		bn_rig_die("ip -batch", 0);
}

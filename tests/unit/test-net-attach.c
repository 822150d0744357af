// SPDX-License-Identifier: Apache-2.0
/* Attaching by tcx, by clsact and XDP: new, replaced, adopted, removed, and nothing else touched. */
#include "test-net-fixture.h"

#include "net/attach-xdp.h"
#include "net/attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>

#define DIR_LINKS TN_BPFFS "/links"

static int prog_of(enum bpf_prog_type type, const char *name, uint32_t *ret_id)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);
	int fd;

	fd = bpf_prog_load(type, name, "Dual BSD/GPL", insns, 2, NULL);
	assert_true(fd >= 0);
	assert_int_equal(bpf_prog_get_info_by_fd(fd, &info, &size), 0);
	*ret_id = info.id;
	return fd;
}

static int prog(const char *name, uint32_t *ret_id)
{
	return prog_of(BPF_PROG_TYPE_SCHED_CLS, name, ret_id);
}

static int device(const char *name)
{
	tn_sh(-1, "ip link add %s type veth peer name %sp", name, name);
	return (int)if_nametoindex(name);
}

struct found {
	int n;
	struct bn_attachment list[16];
};

static int collect(void *user, const struct bn_attachment *a)
{
	struct found *f = user;

	assert_true(f->n < 16);
	f->list[f->n++] = *a;
	return 0;
}

static struct found list(const struct bn_attach *how)
{
	struct found f = {0};

	assert_int_equal(bn_attach_list(how, collect, &f, NULL), 0);
	return f;
}

static void test_probe(void **state)
{
	enum bn_attach_mechanism m = _BN_ATTACH_MECHANISM_MAX;
	const bool kernel_has_tcx =
		tn_has(tn_sh(-1, "grep -c ' tcx_link_attach$' /proc/kallsyms; true"), "1");

	assert_int_equal(bn_attach_probe(&m, NULL), 0);
	assert_int_equal(m, kernel_has_tcx ? BN_ATTACH_TCX : BN_ATTACH_CLSACT);
}

/* The same story for each mechanism. */
static void story(enum bn_attach_mechanism mechanism)
{
	const struct bn_attach how = {.mechanism = mechanism, .dir = DIR_LINKS};
	struct bn_error err = BN_ERROR_INIT;
	uint32_t first_id, second_id;
	const int first = prog("tn_first", &first_id), second = prog("tn_second", &second_id);
	const int ifindex = device("tn0");
	struct found f;
	int r;

	assert_int_equal(list(&how).n, 0);
	r = bn_attach(&how, ifindex, BN_ATTACH_INGRESS, first, &err);
	if (r < 0)
		fail_msg("%s", bn_error_text(&err));
	assert_int_equal(bn_attach(&how, ifindex, BN_ATTACH_EGRESS, first, &err), 0);
	f = list(&how);
	assert_int_equal(f.n, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(f.list[i].ifindex, ifindex);
		assert_string_equal(f.list[i].ifname, "tn0");
		assert_int_equal(f.list[i].mechanism, mechanism);
		assert_int_equal(f.list[i].prog_id, first_id);
	}
	assert_int_not_equal(f.list[0].point, f.list[1].point);

	/* A newer agent: the program is another, the attachment is the same one. */
	assert_int_equal(bn_attach(&how, ifindex, BN_ATTACH_INGRESS, second, &err), 0);
	assert_int_equal(bn_attach(&how, ifindex, BN_ATTACH_EGRESS, second, &err), 0);
	f = list(&how);
	assert_int_equal(f.n, 2);
	assert_int_equal(f.list[0].prog_id, second_id);
	assert_int_equal(f.list[1].prog_id, second_id);
	assert_string_equal(tn_sh(-1, "bpftool net show dev tn0 | grep -c tn_first; true"), "0\n");
	assert_string_equal(tn_sh(-1, "bpftool net show dev tn0 | grep -c tn_second"), "2\n");
	assert_int_equal(bn_attach_sweep(&how, &err), 0);

	assert_int_equal(bn_detach(&how, ifindex, BN_ATTACH_INGRESS, &err), 0);
	assert_int_equal(bn_detach(&how, ifindex, BN_ATTACH_INGRESS, &err), 0);
	assert_int_equal(list(&how).n, 1);
	assert_string_equal(tn_sh(-1, "bpftool net show dev tn0 | grep -c tn_second"), "1\n");
	assert_int_equal(bn_detach(&how, ifindex, BN_ATTACH_EGRESS, &err), 0);
	assert_int_equal(list(&how).n, 0);
	assert_string_equal(tn_sh(-1, "bpftool net show dev tn0 | grep -c tn_; true"), "0\n");
	assert_string_equal(tn_sh(-1, "tc qdisc show dev tn0 | grep -c clsact; true"), "0\n");

	/* A device that goes takes its programs along; the records are swept. */
	assert_int_equal(bn_attach(&how, ifindex, BN_ATTACH_INGRESS, first, &err), 0);
	assert_int_equal(bn_attach(&how, ifindex, BN_ATTACH_EGRESS, first, &err), 0);
	tn_sh(-1, "ip link del tn0");
	f = list(&how);
	assert_int_equal(f.n, 2);
	assert_int_equal(f.list[0].prog_id, 0);
	assert_string_equal(f.list[0].ifname, "");
	assert_int_equal(bn_attach_sweep(&how, &err), 2);
	assert_string_equal(tn_sh(-1, "ls " DIR_LINKS), "");

	/* A new device with an old number is not taken for attached. */
	tn_sh(-1, "ip link add tn1 index 777 type bridge");
	assert_int_equal(bn_attach(&how, 777, BN_ATTACH_INGRESS, first, &err), 0);
	tn_sh(-1, "ip link del tn1; ip link add tn1 index 777 type bridge");
	assert_int_equal(list(&how).list[0].prog_id, 0);
	assert_int_equal(bn_attach(&how, 777, BN_ATTACH_INGRESS, second, &err), 0);
	assert_int_equal(list(&how).n, 1);
	assert_int_equal(list(&how).list[0].prog_id, second_id);

	/* A device that is not there. */
	assert_int_equal(bn_attach(&how, 4242, BN_ATTACH_INGRESS, first, &err), -ENODEV);
	assert_true(tn_has(bn_error_text(&err), "interface 4242"));
	assert_int_equal(list(&how).n, 1);

	assert_int_equal(bn_attach_uninstall(&how, NULL), 0);
	assert_string_equal(tn_sh(-1, "ls " TN_BPFFS " | grep -v debug; true"), "");
	assert_string_equal(tn_sh(-1, "bpftool net show dev tn1 | grep -c tn_; true"), "0\n");
	assert_string_equal(tn_sh(-1, "tc qdisc show dev tn1 | grep -c clsact; true"), "0\n");
	bn_error_done(&err);
	close(first);
	close(second);
}

static void test_tcx(void **state)
{
	story(BN_ATTACH_TCX);
}

static void test_clsact(void **state)
{
	story(BN_ATTACH_CLSACT);
}

/* Someone else's qdisc and filters stay; our qdisc stays while someone else uses it. */
static void test_clsact_others(void **state)
{
	const struct bn_attach how = {.mechanism = BN_ATTACH_CLSACT, .dir = DIR_LINKS};
	LIBBPF_OPTS(bpf_tc_hook, theirs, .attach_point = BPF_TC_INGRESS);
	uint32_t id;
	const int fd = prog("tn_ours", &id);
	int ifindex = device("tn0");
	LIBBPF_OPTS(bpf_tc_opts, filter, .handle = 1, .priority = 7, .prog_fd = fd);

	tn_sh(-1, "tc qdisc add dev tn0 clsact");
	assert_int_equal(bn_attach(&how, ifindex, BN_ATTACH_INGRESS, fd, NULL), 0);
	assert_int_equal(bn_detach(&how, ifindex, BN_ATTACH_INGRESS, NULL), 0);
	assert_string_equal(tn_sh(-1, "tc qdisc show dev tn0 | grep -c clsact"), "1\n");

	ifindex = device("tn1");
	assert_int_equal(bn_attach(&how, ifindex, BN_ATTACH_EGRESS, fd, NULL), 0);
	theirs.ifindex = ifindex;
	assert_int_equal(bpf_tc_attach(&theirs, &filter), 0);
	assert_int_equal(bn_detach(&how, ifindex, BN_ATTACH_EGRESS, NULL), 0);
	assert_true(tn_has(tn_sh(-1, "tc filter show dev tn1 ingress"), "pref 7 bpf"));
	assert_string_equal(tn_sh(-1, "ls " DIR_LINKS), "");
	assert_int_equal(bn_attach_uninstall(&how, NULL), 0);
	assert_true(tn_has(tn_sh(-1, "tc filter show dev tn1 ingress"), "pref 7 bpf"));
	close(fd);
}

/* A kernel upgrade brings tcx: the filter goes once the link is there; and back. */
static void test_change_of_mechanism(void **state)
{
	const struct bn_attach old = {.mechanism = BN_ATTACH_CLSACT, .dir = DIR_LINKS};
	const struct bn_attach new = {.mechanism = BN_ATTACH_TCX, .dir = DIR_LINKS};
	const struct bn_attach *const steps[] = {&old, &new, &old};
	uint32_t id;
	const int fd = prog("tn_ours", &id);
	const int ifindex = device("tn0");

	for (int i = 0; i < 3; i++) {
		struct found f;

		assert_int_equal(bn_attach(steps[i], ifindex, BN_ATTACH_INGRESS, fd, NULL), 0);
		f = list(steps[i]);
		assert_int_equal(f.n, 1);
		assert_int_equal(f.list[0].mechanism, steps[i]->mechanism);
		assert_int_equal(f.list[0].prog_id, id);
		assert_string_equal(tn_sh(-1, "bpftool net show dev tn0 | grep -c tn_ours"), "1\n");
	}
	assert_int_equal(bn_attach_uninstall(&old, NULL), 0);
	close(fd);
}

/* The links are pinned: they stay when nobody holds them. */
static void test_outlives(void **state)
{
	const struct bn_attach how = {.mechanism = BN_ATTACH_TCX, .dir = DIR_LINKS};
	uint32_t id;
	const int fd = prog("tn_ours", &id);
	const int ifindex = device("tn0");

	assert_int_equal(bn_attach(&how, ifindex, BN_ATTACH_INGRESS, fd, NULL), 0);
	close(fd);
	assert_string_equal(tn_sh(-1, "bpftool net show dev tn0 | grep -c tn_ours"), "1\n");
	/* Names that are not ours are left alone, and keep the folder. */
	tn_sh(-1, "mkdir " DIR_LINKS "/other-thing " DIR_LINKS "/tcx-ingress-0 " DIR_LINKS
		  "/tcx-sideways-5");
	assert_int_equal(list(&how).n, 1);
	assert_int_equal(bn_attach_uninstall(&how, NULL), -ENOTEMPTY);
	tn_sh(-1, "rmdir " DIR_LINKS "/*");
	assert_int_equal(bn_attach_uninstall(&how, NULL), 0);
}

/* No program to take the place of a predecessor's: that goes, and the reason is the kernel's. */
static void test_xdp_refused(void **state)
{
	struct bn_error err = BN_ERROR_INIT;
	enum bn_xdp_mode mode;
	uint32_t id;
	const int fd = prog_of(BPF_PROG_TYPE_XDP, "tn_xdp", &id);
	const int ifindex = device("tn0");

	assert_int_equal(bn_xdp_attach(DIR_LINKS, ifindex, BN_XDP_NATIVE, fd, &err), 0);
	assert_int_equal(bn_xdp_attached(DIR_LINKS, ifindex, &mode), id);
	assert_int_equal(mode, BN_XDP_NATIVE);
	assert_int_equal(bn_xdp_attach(DIR_LINKS, ifindex, BN_XDP_NATIVE, -E2BIG, &err), -E2BIG);
	assert_true(tn_has(bn_error_text(&err), strerror(E2BIG)));
	assert_int_equal(bn_xdp_attached(DIR_LINKS, ifindex, &mode), 0);
	assert_int_equal(mode, BN_XDP_OFF);
	assert_string_equal(tn_sh(-1, "ls " DIR_LINKS), "");
	bn_error_done(&err);
	close(fd);
}

/* What a veth takes depends on its other end; before 6.3 the kernel doesn't tell. */
static void test_xdp_redirects(void **state)
{
	uint32_t id;
	const int fd = prog_of(BPF_PROG_TYPE_XDP, "tn_xdp", &id);
	const int ifindex = device("tn0"), peer = (int)if_nametoindex("tn0p");
	bool from, to;
	int r = bn_xdp_redirects(ifindex, &from, &to);

	if (r == -EOPNOTSUPP) {
		assert_false(from || to);
	} else {
		assert_int_equal(r, 0);
		assert_true(from);
		assert_false(to);
		assert_int_equal(bn_xdp_attach(DIR_LINKS, peer, BN_XDP_NATIVE, fd, NULL), 0);
		assert_int_equal(bn_xdp_redirects(ifindex, &from, &to), 0);
		assert_true(from && to);
		assert_int_equal(bn_xdp_detach_others(DIR_LINKS, NULL, 0, NULL), 0);
	}
	/* a device without XDP of its own, and one that is gone */
	assert_int_equal(bn_xdp_redirects((int)if_nametoindex("lo"), &from, &to), -EOPNOTSUPP);
	assert_true(bn_xdp_redirects(9999, &from, &to) < 0);
	assert_false(from || to);
	close(fd);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list ap)
{
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_probe, tn_fresh_node),
		cmocka_unit_test_setup(test_tcx, tn_fresh_node),
		cmocka_unit_test_setup(test_clsact, tn_fresh_node),
		cmocka_unit_test_setup(test_clsact_others, tn_fresh_node),
		cmocka_unit_test_setup(test_change_of_mechanism, tn_fresh_node),
		cmocka_unit_test_setup(test_outlives, tn_fresh_node),
		cmocka_unit_test_setup(test_xdp_refused, tn_fresh_node),
		cmocka_unit_test_setup(test_xdp_redirects, tn_fresh_node),
	};

	libbpf_set_print(quiet);
	return cmocka_run_group_tests(tests, tn_enter, NULL);
}

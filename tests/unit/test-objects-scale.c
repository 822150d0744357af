// SPDX-License-Identifier: Apache-2.0
/* 10,000 services with 100,000 endpoints: that all of it arrives, and one change tells one. */
#include "test-objects.h"

#include <sys/resource.h>

#define SERVICES 10000
#define ENDPOINTS 10

static char *make_services(size_t *size)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, size);

	fputs("{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":[", f);
	for (int i = 0; i < SERVICES; i++)
		fprintf(f,
			"%s{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":"
			"\"svc-%d\"},\"spec\":{\"ports\":[{\"port\":80,\"targetPort\":8080}]}}",
			i ? "," : "", i);
	fputs("]}", f);
	fclose(f);
	return text;
}

static void put_slice(FILE *f, int i, const char *state)
{
	fprintf(f,
		"{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{"
		"\"name\":\"svc-%d-abcde\",\"namespace\":\"default\",\"labels\":{\"kubernetes.io/"
		"service-name\":\"svc-%d\",\"endpointslice.kubernetes.io/managed-by\":"
		"\"endpointslice-controller.k8s.io\"}},\"addressType\":\"IPv4\",\"ports\":[{"
		"\"name\":\"\",\"port\":8080,\"protocol\":\"TCP\"}],\"endpoints\":[",
		i, i);
	for (int k = 0; k < ENDPOINTS; k++) {
		int n = i * ENDPOINTS + k;

		fprintf(f,
			"%s{\"addresses\":[\"10.%d.%d.%d\"],\"conditions\":{\"ready\":%s,\"serving\":"
			"true,\"terminating\":false},\"nodeName\":\"node-%d\",\"targetRef\":{"
			"\"kind\":\"Pod\",\"namespace\":\"default\",\"name\":\"svc-%d-pod-%d\"}}",
			k ? "," : "", n >> 16, n >> 8 & 255, n & 255, state, n % 100, i, k);
	}
	fputs("]}", f);
}

static char *make_slices(size_t *size)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, size);

	fputs("{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":[", f);
	for (int i = 0; i < SERVICES; i++) {
		fputs(i ? ",\n" : "", f);
		put_slice(f, i, "true");
	}
	fputs("]}", f);
	fclose(f);
	return text;
}

static void apply_text(struct rig *rig, const char *what, char *text, size_t size)
{
	struct bn_error err = BN_ERROR_INIT;
	struct rusage a, b;
	char *out;

	getrusage(RUSAGE_SELF, &a);
	out = rig_run(rig, false, text, size, &err);
	getrusage(RUSAGE_SELF, &b);
	if (!out)
		fail_msg("%s", bn_error_text(&err));
	print_message("%s: %zu bytes, %.2f s of CPU\n", what, size,
		      (double)(b.ru_utime.tv_sec - a.ru_utime.tv_sec + b.ru_stime.tv_sec -
			       a.ru_stime.tv_sec) +
			      (double)(b.ru_utime.tv_usec - a.ru_utime.tv_usec +
				       b.ru_stime.tv_usec - a.ru_stime.tv_usec) /
				      1e6);
	free(out);
	free(text);
}

static void test_scale(void **state)
{
	struct rig rig;
	size_t size;
	char *text;
	FILE *f;

	rig_setup(&rig);
	text = make_services(&size);
	apply_text(&rig, "services", text, size);
	text = make_slices(&size);
	apply_text(&rig, "slices", text, size);
	assert_int_equal(json_object_size(rig.services), SERVICES);
	assert_int_equal(rig.commits, 3 - 1);

	/* one endpoint changes: one service is told */
	rig.services_told = 0;
	f = open_memstream(&text, &size);
	put_slice(f, 4711, "false");
	fclose(f);
	apply_text(&rig, "one slice", text, size);
	assert_int_equal(rig.services_told, 1);

	/* all of it again changes one back and leaves the rest */
	rig.services_told = 0;
	text = make_slices(&size);
	apply_text(&rig, "slices again", text, size);
	assert_int_equal(rig.services_told, 1);

	json_t *before = json_deep_copy(rig.services);

	rig_reopen(&rig);
	assert_int_equal(rig.commits, 5);
	assert_true(json_equal(before, rig.services));
	json_decref(before);
	rig_teardown(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

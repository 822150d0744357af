// SPDX-License-Identifier: Apache-2.0
/* What the command reads from people and shows to them, apart from any agent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "flow.h"
#include "output.h"
#include "text.h"

#define SEC INT64_C(1000000000)

static void test_times(void **state)
{
	static const struct {
		const char *text;
		int64_t ns; /* -1: refused */
	} cases[] = {
		{"5m", 1000000 * SEC - 300 * SEC},
		{"1h30m", 1000000 * SEC - 5400 * SEC},
		{"1.5s", 1000000 * SEC - 3 * SEC / 2},
		{"250ms", 1000000 * SEC - SEC / 4},
		{"2d", 1000000 * SEC - 2 * 86400 * SEC},
		{"30d", 0}, /* before the beginning */
		{"1970-01-02", 86400 * SEC},
		{"1970-01-01 00:01", 60 * SEC},
		{"1970-01-01 00:01:02", 62 * SEC},
		{"1970-01-01T00:01:02Z", 62 * SEC},
		{"1970-01-01T02:01:02.5+02:00", 62 * SEC + SEC / 2},
		{"1970-01-01T00:00:00.000000001Z", 1},
		{"1970-01-01T00:00:00.0000000019Z", 1},
		{"", -1},
		{"5", -1},
		{"m", -1},
		{"5x", -1},
		{"5m3", -1},
		{"-5m", -1},
		{"1..5s", -1},
		{"99999999999999999999999s", -1},
		{"200000d", -1},
		{"yesterday", -1},
		{"1970-13-01", -1},
		{"1970-01-01T", -1},
		{"1970-01-01T25:00:00Z", -1},
		{"1970-01-01T00:00:00.Z", -1},
		{"1970-01-01T00:00:00+0200", -1},
		{"1970-01-01T00:00:00Zulu", -1},
		{"1969-12-31T23:59:59Z", -1},
	};

	setenv("TZ", "UTC", 1);
	tzset();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ns = -1;

		if (bn_time_parse(cases[i].text, 1000000 * SEC, &ns) != (cases[i].ns >= 0) ||
		    ns != cases[i].ns)
			fail_msg("'%s' gives %lld", cases[i].text, (long long)ns);
	}
}

/* Runs what prints and returns it, to be freed. */
static char *printed(void (*print)(FILE *f, const void *arg), const void *arg)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	print(f, arg);
	fclose(f);
	return text;
}

static void print_clean(FILE *f, const void *arg)
{
	bn_text_clean(f, arg);
}

static void test_clean(void **state)
{
	static const char *const cases[][2] = {
		{"plain text", "plain text"},
		{"\033[31mred\033[0m", "\\x1b[31mred\\x1b[0m"},
		{"a\nb\tc\x7f", "a\\x0ab\\x09c\\x7f"},
		{"gr\303\274n \346\227\245", "gr\303\274n \346\227\245"},
		{"\302\233[31m", "\\x9b[31m"},           /* CSI as one character */
		{"abc\342\200\256def", "abc\\u202edef"}, /* writes backwards */
		{"broken \xff \xc3", "broken \\xff \\xc3"},
		{"cut \342\200", "cut \\xe2\\x80"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = printed(print_clean, cases[i][0]);

		assert_string_equal(text, cases[i][1]);
		free(text);
	}
	assert_int_equal(bn_text_width("gr\303\274n"), 4);
}

static void print_yaml(FILE *f, const void *arg)
{
	assert_int_equal(bn_output_yaml(f, arg, false), 0);
}

static void test_yaml(void **state)
{
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:b,s:n,s:[],s:{},s:[i,i],s:f,s:s}",
			      "plain", "hello world", "yes", "yes", "number", "0x10", "octal",
			      "010", "date", "2020-01-01", "colon", "a: b", "lines", "one\ntwo\n",
			      "int", 3, "bool", 1, "nothing", "list", "map", "items", 1, 2, "real",
			      1.5, "escape", "\033[31m");
	char *text = printed(print_yaml, o);

	assert_string_equal(text, "plain: hello world\n"
				  "\"yes\": \"yes\"\n"
				  "number: \"0x10\"\n"
				  "octal: \"010\"\n"
				  "date: \"2020-01-01\"\n"
				  "colon: 'a: b'\n"
				  "lines: |\n  one\n  two\n"
				  "int: 3\n"
				  "bool: true\n"
				  "nothing: null\n"
				  "list: []\n"
				  "map: {}\n"
				  "items:\n- 1\n- 2\n"
				  "real: 1.5\n"
				  "escape: \"\\e[31m\"\n");
	free(text);
	json_decref(o);
}

static int parse(struct bn_call *call, const char *const *argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	return bn_call_parse(call, argc, (char **)argv);
}

static void test_command_line(void **state)
{
	struct bn_call call;
	const char *usual[] = {"bpfnet", "-ojson",       "svc",         "--run-dir=/x",
			       "get",    "--no-headers", "default/web", NULL};
	const char *bundle[] = {"bpfnet", "get", "-An", "x", "--", "pods", NULL};

	assert_int_equal(parse(&call, usual), 0);
	assert_int_equal(call.format, BN_FORMAT_JSON);
	assert_string_equal(call.run_dir, "/x");
	assert_true(call.no_headers);
	assert_ptr_equal(bn_call_command(&call)->run, bn_cmd_svc_get);
	assert_int_equal(call.n_args, 1);
	assert_string_equal(call.args[0], "default/web");
	bn_call_done(&call);
	assert_int_equal(parse(&call, bundle), 0);
	assert_string_equal(bn_call_option(&call, "namespace"), "x");
	assert_string_equal(bn_call_option(&call, "all-namespaces"), "");
	assert_string_equal(call.args[0], "pods");
	bn_call_done(&call);
}

/* Every table entry can be found the way people type it, and says what it is for. */
static void check_command(const struct bn_command *c, int depth)
{
	assert_true(depth < BN_DEPTH_MAX);
	assert_non_null(c->help);
	assert_true((c->run != NULL) != (c->commands != NULL));
	for (const struct bn_option *o = c->options; o && o->name; o++) {
		assert_non_null(o->help);
		assert_ptr_equal(bn_option_find(c, o->name, strlen(o->name)), o);
		assert_true(!o->letter || bn_option_find_letter(c, o->letter) == o);
		assert_true((o->complete == BN_COMPLETE_WORDS ||
			     o->complete == BN_COMPLETE_WORDS_OPEN) == (o->words != NULL));
		/* a command may have formats of its own */
		if (strcmp(o->name, "output") == 0)
			continue;
		for (const struct bn_option *common = bn_common_options; common->name; common++) {
			assert_string_not_equal(common->name, o->name);
			assert_true(!o->letter || common->letter != o->letter);
		}
	}
	for (const struct bn_argument *a = c->args; a && a->name; a++) {
		assert_true(!a->repeat || !a[1].name);
		assert_true(!a->optional || !a[1].name || a[1].optional);
	}
	for (const struct bn_command *s = c->commands; s && s->name; s++) {
		assert_ptr_equal(bn_command_find(c, s->name), s);
		check_command(s, depth + 1);
	}
}

static void test_table(void **state)
{
	check_command(&bn_root, 0);
}

static void test_filters(void **state)
{
	static const char *const good[] = {
		"--ip=10.0.0.0/8",        "--ip=::1",
		"--ip=fd00::/64",         "--port=1",
		"--port=65535",           "--pod=web",
		"--pod=default/",         "--pod=default/web",
		"--label=app=web",        "--label=a,b!=c",
		"--protocol=ICMPv6",      "--verdict=dropped",
		"--drop-reason=no-route", "--service=a/b",
		"--namespace=x",
	};
	static const char *const bad[] = {
		"--ip=",           "--ip=10.0.0",     "--ip=10.0.0.0/33",
		"--ip=10.0.0.0/",  "--ip=::1/129",    "--ip=1.2.3.4/-1",
		"--ip=1.2.3.4/8x", "--port=",         "--port=0",
		"--port=65536",    "--port=http",     "--port=-1",
		"--port=000080",   "--pod=",          "--pod=/x",
		"--pod=a/b/c",     "--label=",        "--label==x",
		"--label=a,",      "--namespace=a/b", "--drop-reason=bad-mood",
		"--service=",      "--ip=1.2.3.4 ",
	};
	struct bn_filters *filters;
	struct bn_call call;
	json_t *json;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		const char *argv[] = {"bpfnet", "flows", "--not", good[i], NULL};

		assert_int_equal(parse(&call, argv), 0);
		if (bn_filters_parse(&call, &filters) != 0)
			fail_msg("%s is refused", good[i]);
		json = bn_filters_json(filters);
		assert_int_equal(json_array_size(json), 1);
		assert_true(json_is_true(json_object_get(json_array_get(json, 0), "not")));
		json_decref(json);
		bn_filters_free(filters);
		bn_call_done(&call);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *argv[] = {"bpfnet", "flows", bad[i], NULL};

		assert_int_equal(parse(&call, argv), 0);
		if (bn_filters_parse(&call, &filters) != BN_EXIT_USAGE)
			fail_msg("%s is accepted", bad[i]);
		bn_call_done(&call);
	}
}

static void print_flow(FILE *f, const void *arg)
{
	static const struct bn_flow_style style;

	bn_flow_print(f, arg, &style);
}

/* Whatever an agent sends, a line comes out, and nothing of it steers the terminal. */
static void test_odd_flows(void **state)
{
	static const char *const cases[] = {
		"{}",
		"{\"time\":3,\"l4\":[],\"IP\":\"x\",\"source\":null,\"verdict\":{}}",
		"{\"time\":\"\\u001b[2J\",\"verdict\":\"\\u001b[2J\",\"source\":{\"pod_name\":"
		"\"\\u001b\",\"namespace\":\"\\n\"},\"l4\":{\"\\u001b\":{\"flags\":{\"\\u001b\":"
		"true}}},\"drop_reason_desc\":\"\\r\",\"event_type\":\"closed\",\"close_cause\":"
		"\"\\u009b\",\"destination_service\":{\"name\":\"\\u0007\"}}",
		"{\"l4\":{\"protocol\":47},\"event_type\":\"closed\",\"bytes\":-1}",
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *flow = json_loads(cases[i], 0, NULL);
		char *text = printed(print_flow, flow);

		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
		assert_null(strpbrk(text, "\033\r\a"));
		assert_null(strstr(text, "\302\233"));
		free(text);
		json_decref(flow);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),     cmocka_unit_test(test_clean),
		cmocka_unit_test(test_yaml),      cmocka_unit_test(test_command_line),
		cmocka_unit_test(test_table),     cmocka_unit_test(test_filters),
		cmocka_unit_test(test_odd_flows),
	};

	/* refusals are printed; here only their codes count */
	if (!freopen("/dev/null", "w", stderr))
		return 1;
	cmocka_set_message_output(CM_OUTPUT_STDOUT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/* The database against foreign, broken and shared files, and the manifest folder. */
#include "test-objects.h"

#include "objects/folder.h"
#include "lib/temp.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SVC "apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {ports: [{port: %d}]}\n"

static void put(const char *dir, const char *name, const char *text)
{
	char path[200], tmp[200];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(tmp, sizeof(tmp), "%s/.%s.tmp", dir, name);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_int_equal(rename(tmp, path), 0);
}

static void expect_open(struct rig *rig, const char *message)
{
	struct bn_error err = BN_ERROR_INIT;

	assert_true(rig_try_open(rig, &err) < 0);
	if (!strstr(bn_error_text(&err), message))
		fail_msg("%s", bn_error_text(&err));
	bn_error_done(&err);
}

static void test_damaged(void **state)
{
	char path[128], junk[8192], before[64] = "", after[64];
	struct rig rig;
	int fd;

	rig_setup(&rig);
	rig_close(&rig);
	snprintf(path, sizeof(path), "%s/objects.db", rig.dir);

	/* not a database: refused, and left alone */
	memset(junk, 'x', sizeof(junk));
	fd = open(path, O_RDWR | O_TRUNC);
	assert_int_equal(write(fd, junk, sizeof(junk)), sizeof(junk));
	expect_open(&rig, "the file is damaged or no database");
	assert_int_equal(pread(fd, after, sizeof(after), 0), sizeof(after));
	memset(before, 'x', sizeof(before));
	assert_memory_equal(before, after, sizeof(after));
	close(fd);

	/* another program's */
	unlink(path);
	rig_open(&rig);
	rig_close(&rig);
	fd = open(path, O_RDWR);
	assert_int_equal(pwrite(fd, "\0\0\0\7", 4, 68), 4); /* application_id */
	close(fd);
	expect_open(&rig, "it is another program's database");

	/* pages overwritten */
	unlink(path);
	rig_open(&rig);
	for (int i = 0; i < 200; i++) {
		char text[200];

		snprintf(text, sizeof(text), "apiVersion: v1\nkind: Pod\nmetadata: {name: p%d}\n",
			 i);
		rig_apply(&rig, text, NULL);
	}
	rig_close(&rig);
	fd = open(path, O_RDWR);
	for (off_t at = 4096; at < 16384; at += 4096)
		assert_int_equal(pwrite(fd, junk, 2000, at), 2000);
	close(fd);
	expect_open(&rig, "damaged");
	unlink(path);
	rig_open(&rig);
	rig_teardown(&rig);
}

static void test_shared(void **state)
{
	struct bn_objects *first;
	struct rig rig;

	rig_setup(&rig);
	first = rig.objects;
	expect_open(&rig, "another bpfnetd uses it");
	rig.objects = first;
	rig_teardown(&rig);
}

/* A child is killed without notice right after apply returned; its allotment is still there. */
static void test_killed(void **state)
{
	struct rig rig;
	json_t *list;
	int status;
	pid_t pid;

	rig_setup(&rig);
	rig_close(&rig);
	pid = fork();
	if (!pid) {
		rig_open(&rig);
		rig_apply(
			&rig,
			"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: "
			"1}]}\n",
			NULL);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	rig_open(&rig);
	list = rig_get(&rig, "svc", NULL, "a");
	assert_int_equal(json_array_size(list), 1);
	json_decref(list);
	rig_json(rig.services, "{\"default/a\": {\"10.96.1.1:1/6\": []}}");
	rig_teardown(&rig);
}

/* The disk is full when the store commits: the datapath is told the old state again. */
static void test_full_disk(void **state)
{
	static const char first[] = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: "
				    "{clusterIP: 10.96.0.5, ports: [{port: 1}]}\n";
	static const char second[] =
		"apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {ports: [{port: 1}]}\n---\n"
		"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 2}]}\n---\n"
		"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nstatus: {podIP: 10.0.0.1}\n";
	struct rlimit none = {.rlim_cur = 1, .rlim_max = RLIM_INFINITY}, old;
	struct bn_error err = BN_ERROR_INIT;
	struct rig rig;

	rig_setup(&rig);
	rig_apply(&rig, first, NULL);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	rig.commits = 0;
	assert_null(rig_run(&rig, false, second, strlen(second), &err));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_non_null(strstr(bn_error_text(&err), "cannot write "));
	bn_error_done(&err);
	assert_int_equal(rig.commits, 2);
	rig_json(rig.services, "{\"default/a\": {\"10.96.0.5:1/6\": []}}");
	rig_json(rig.peers, "{}");
	rig_apply(&rig, second, NULL);
	assert_int_equal(json_object_size(rig.services), 2);
	rig_reopen(&rig);
	assert_int_equal(json_object_size(rig.services), 2);
	rig_teardown(&rig);
}

static void loop(sd_event *event)
{
	/* inotify's events arm the timer, which reloads; then there is nothing more to do */
	while (sd_event_run(event, 200000) > 0)
		;
}

static size_t services(struct rig *rig)
{
	return json_object_size(rig->services);
}

static void test_folder(void **state)
{
	char dir[BN_TEMP_MAX], text[400];
	struct bn_error err = BN_ERROR_INIT;
	struct bn_folder *folder = NULL;
	sd_event *event = NULL;
	struct rig rig;
	unsigned commits;

	rig_setup(&rig);
	assert_non_null(bn_temp_dir(dir, "folder"));
	assert_int_equal(sd_event_new(&event), 0);
	snprintf(text, sizeof(text), SVC, "hand", 1);
	rig_apply(&rig, text, NULL);
	snprintf(text, sizeof(text), SVC "---\n" SVC, "one", 1, "two", 2);
	put(dir, "a.yaml", text);
	put(dir, "b.yml", "kind: broken");
	put(dir, "note.txt", "not a manifest");
	assert_int_equal(bn_folder_new(event, rig.objects, dir, &folder, &err), 0);
	assert_int_equal(services(&rig), 3);

	/* the broken file is mended */
	snprintf(text, sizeof(text), SVC, "three", 3);
	put(dir, "b.yml", text);
	loop(event);
	assert_int_equal(services(&rig), 4);

	/* broken again: what it brought stays; a file that leaves out an object drops it */
	put(dir, "b.yml", "kind: [");
	snprintf(text, sizeof(text), SVC, "one", 1);
	put(dir, "a.yaml", text);
	loop(event);
	assert_int_equal(services(&rig), 3);
	assert_non_null(json_object_get(rig.services, "default/three"));
	assert_null(json_object_get(rig.services, "default/two"));

	/* an object moves from one file to the other in one change, and nothing is told */
	commits = rig.commits;
	put(dir, "c.json",
	    "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"one\"},"
	    "\"spec\":{\"ports\":[{\"port\":1}]}}");
	snprintf(text, sizeof(text), "%s/a.yaml", dir);
	unlink(text);
	loop(event);
	assert_int_equal(rig.commits, commits);
	assert_int_equal(services(&rig), 3);

	/* the same object in two files: the second one is refused */
	snprintf(text, sizeof(text), SVC, "one", 7);
	put(dir, "d.yaml", text);
	loop(event);
	assert_int_equal(rig.commits, commits);

	/* files vanish while nobody watches; what was applied by hand stays */
	bn_folder_free(folder);
	snprintf(text, sizeof(text), "%s/b.yml", dir);
	unlink(text);
	snprintf(text, sizeof(text), "%s/c.json", dir);
	unlink(text);
	rig_reopen(&rig);
	assert_int_equal(services(&rig), 3);
	assert_int_equal(bn_folder_new(event, rig.objects, dir, &folder, &err), 0);
	assert_int_equal(services(&rig), 2);
	assert_non_null(json_object_get(rig.services, "default/hand"));
	bn_folder_free(folder);

	assert_int_equal(bn_folder_new(event, rig.objects, "/nonexistent", &folder, &err), -ENOENT);
	assert_string_equal(bn_error_text(&err),
			    "cannot use the manifest folder /nonexistent: No such "
			    "file or directory");
	bn_error_done(&err);
	sd_event_unref(event);
	rig_teardown(&rig);
	snprintf(text, sizeof(text), "%s/d.yaml", dir);
	unlink(text);
	snprintf(text, sizeof(text), "%s/note.txt", dir);
	unlink(text);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_damaged), cmocka_unit_test(test_shared),
		cmocka_unit_test(test_killed),  cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/*
 * SQLite keeps the objects because a change must survive kill -9 whole or not at all. The lock is
 * exclusive for the agent's life, so a second agent on the folder is refused and no shared-memory
 * file is needed. The journal is synced at checkpoints only: losing power may lose the last
 * changes but never half of one.
 */
#include "store.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STORE_APPLICATION 0x62706e74 /* "bpnt" */
#define STORE_VERSION 1
#define STORE_LARGE 1000 /* rows that a large transaction writes */
#define STORE_COLUMNS "kind, namespace, name, text, allotted, origin"

enum statement {
	STATEMENT_BEGIN,
	STATEMENT_COMMIT,
	STATEMENT_ROLLBACK,
	STATEMENT_GET,
	STATEMENT_PUT,
	STATEMENT_SET_ALLOTTED,
	STATEMENT_SET_ORIGIN,
	STATEMENT_DELETE,
	STATEMENT_EACH,
	STATEMENT_EACH_KIND,
	STATEMENT_EACH_NAMESPACE,
	STATEMENT_EACH_FROM,
	_STATEMENT_MAX,
};

static const char *const statements[_STATEMENT_MAX] = {
	[STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
	[STATEMENT_COMMIT] = "COMMIT",
	[STATEMENT_ROLLBACK] = "ROLLBACK",
	[STATEMENT_GET] = "SELECT " STORE_COLUMNS
			  " FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
	[STATEMENT_PUT] =
		"INSERT INTO objects (kind, namespace, name, text, origin) VALUES (?1, ?2, ?3, ?4, "
		"?5) ON CONFLICT (kind, namespace, name) DO UPDATE SET text = excluded.text, "
		"origin = excluded.origin, allotted = NULL",
	[STATEMENT_SET_ALLOTTED] = "UPDATE objects SET allotted = ?4 WHERE kind = ?1 AND "
				   "namespace = ?2 AND name = ?3",
	[STATEMENT_SET_ORIGIN] = "UPDATE objects SET origin = ?4 WHERE kind = ?1 AND "
				 "namespace = ?2 AND name = ?3",
	[STATEMENT_DELETE] = "DELETE FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
	[STATEMENT_EACH] = "SELECT " STORE_COLUMNS " FROM objects ORDER BY id",
	[STATEMENT_EACH_KIND] = "SELECT " STORE_COLUMNS
				" FROM objects WHERE kind = ?1 ORDER BY namespace, name",
	[STATEMENT_EACH_NAMESPACE] =
		"SELECT " STORE_COLUMNS
		" FROM objects WHERE kind = ?1 AND namespace = ?2 ORDER BY name",
	[STATEMENT_EACH_FROM] = "SELECT " STORE_COLUMNS
				" FROM objects WHERE origin IS NOT NULL AND "
				"substr(origin, 1, length(?1)) = ?1 ORDER BY id",
};

static const char schema[] =
	"CREATE TABLE objects (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, namespace TEXT NOT "
	"NULL, name TEXT NOT NULL, text TEXT NOT NULL, allotted TEXT, origin TEXT, UNIQUE (kind, "
	"namespace, name)) STRICT;"
	"CREATE INDEX objects_origin ON objects (origin) WHERE origin IS NOT NULL;";

struct bn_store {
	sqlite3 *db;
	int changes; /* before the transaction */
	sqlite3_stmt *prepared[_STATEMENT_MAX];
	char *path;
};

static int code_errno(int code)
{
	switch (code & 0xff) {
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
		return -EACCES;
	default:
		return -EIO;
	}
}

static int fail(struct bn_store *store, const char *what, struct bn_error *err)
{
	int code = sqlite3_errcode(store->db);

	switch (code & 0xff) {
	case SQLITE_BUSY:
		return bn_error_set(err, -EBUSY,
				    "cannot %s %s: another bpfnetd uses it, give this one a "
				    "--state-dir of its own",
				    what, store->path);
	case SQLITE_NOTADB:
	case SQLITE_CORRUPT:
		return bn_error_set(
			err, -EBADMSG,
			"cannot %s %s: the file is damaged or no database (%s); move it "
			"away and apply the manifests again",
			what, store->path, sqlite3_errmsg(store->db));
	default:
		return bn_error_set(err, code_errno(code), "cannot %s %s: %s", what, store->path,
				    sqlite3_errmsg(store->db));
	}
}

/* One integer that a pragma or a query answers. */
static int ask(struct bn_store *store, const char *sql, sqlite3_int64 *ret, struct bn_error *err)
{
	sqlite3_stmt *stmt = NULL;
	int r = 0;

	if (sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		r = fail(store, "open", err);
	else
		*ret = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return r;
}

static int run(struct bn_store *store, const char *sql, struct bn_error *err)
{
	if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return fail(store, "open", err);
	return 0;
}

static int check_sound(struct bn_store *store, struct bn_error *err)
{
	sqlite3_stmt *stmt = NULL;
	const char *answer;
	int r = 0;

	if (sqlite3_prepare_v2(store->db, "PRAGMA quick_check(1)", -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW) {
		r = fail(store, "open", err);
	} else {
		answer = (const char *)sqlite3_column_text(stmt, 0);
		if (!answer || strcmp(answer, "ok"))
			r = bn_error_set(err, -EBADMSG,
					 "cannot open %s: the file is damaged (%.200s); move it "
					 "away and apply the manifests again",
					 store->path, answer ? answer : "unreadable");
	}
	sqlite3_finalize(stmt);
	return r;
}

/* Makes the tables in an empty database; refuses one that is not ours. */
static int check_schema(struct bn_store *store, struct bn_error *err)
{
	sqlite3_int64 application, version, tables;
	char pragmas[96];
	int r;

	r = ask(store, "PRAGMA application_id", &application, err);
	if (r == 0)
		r = ask(store, "PRAGMA user_version", &version, err);
	if (r == 0)
		r = ask(store, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (r < 0)
		return r;
	if (!application && !version && !tables) {
		snprintf(pragmas, sizeof(pragmas),
			 "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
			 STORE_APPLICATION, STORE_VERSION);
		r = run(store, "BEGIN IMMEDIATE", err);
		if (r == 0)
			r = run(store, schema, err);
		return r == 0 ? run(store, pragmas, err) : r;
	}
	if (application != STORE_APPLICATION)
		return bn_error_set(err, -EBADMSG,
				    "cannot open %s: it is another program's database; choose "
				    "another --state-dir",
				    store->path);
	if (version != STORE_VERSION)
		return bn_error_set(err, -EBADMSG,
				    "cannot open %s: it has version %lld, this bpfnetd reads %d; "
				    "move it away and apply the manifests again",
				    store->path, (long long)version, STORE_VERSION);
	return check_sound(store, err);
}

static int open_database(struct bn_store *store, struct bn_error *err)
{
	int r;

	if (sqlite3_open_v2(store->path, &store->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK)
		return fail(store, "open", err);
	sqlite3_extended_result_codes(store->db, 1);
	sqlite3_limit(store->db, SQLITE_LIMIT_LENGTH, 16 << 20);
	r = run(store,
		"PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -512; "
		"PRAGMA trusted_schema = OFF",
		err);
	if (r == 0)
		r = run(store, "PRAGMA journal_mode = WAL", err);
	if (r == 0)
		r = run(store, "PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 1048576",
			err);
	return r == 0 ? check_schema(store, err) : r;
}

int bn_store_open(const char *dir, struct bn_store **ret, struct bn_error *err)
{
	struct bn_store *store;
	int r;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return bn_error_set(err, -errno, "cannot make the state folder %s: %m", dir);
	store = calloc(1, sizeof(*store));
	if (!store || asprintf(&store->path, "%s/objects.db", dir) < 0) {
		free(store);
		return -ENOMEM;
	}
	r = open_database(store, err);
	for (int i = 0; r == 0 && i < _STATEMENT_MAX; i++) {
		if (sqlite3_prepare_v3(store->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &store->prepared[i], NULL) != SQLITE_OK)
			r = fail(store, "open", err);
	}
	if (r < 0) {
		bn_store_free(store);
		return r;
	}
	*ret = store;
	return 0;
}

void bn_store_free(struct bn_store *store)
{
	if (!store)
		return;
	for (int i = 0; i < _STATEMENT_MAX; i++)
		sqlite3_finalize(store->prepared[i]);
	sqlite3_close(store->db);
	free(store->path);
	free(store);
}

/* Runs a statement that answers nothing, and leaves it ready for the next time. */
static int finish(struct bn_store *store, sqlite3_stmt *stmt, const char *what,
		  struct bn_error *err)
{
	int r = 0;

	if (sqlite3_step(stmt) != SQLITE_DONE)
		r = fail(store, what, err);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return r;
}

int bn_store_begin(struct bn_store *store, struct bn_error *err)
{
	store->changes = sqlite3_total_changes(store->db);
	return finish(store, store->prepared[STATEMENT_BEGIN], "write", err);
}

int bn_store_commit(struct bn_store *store, struct bn_error *err)
{
	int r = finish(store, store->prepared[STATEMENT_COMMIT], "write", err);

	/* a large journal is put away now, rather than at the cost of the next small change */
	if (r == 0 && sqlite3_total_changes(store->db) - store->changes > STORE_LARGE)
		sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	sqlite3_db_release_memory(store->db);
	return r;
}

void bn_store_rollback(struct bn_store *store)
{
	/* SQLite may have rolled back by itself; a failure here has nothing left to undo */
	if (!sqlite3_get_autocommit(store->db))
		finish(store, store->prepared[STATEMENT_ROLLBACK], "write", NULL);
	sqlite3_db_release_memory(store->db);
}

static sqlite3_stmt *bind_key(struct bn_store *store, enum statement which, int kind,
			      const char *namespace, const char *name)
{
	sqlite3_stmt *stmt = store->prepared[which];

	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	sqlite3_bind_int(stmt, 1, kind);
	if (namespace)
		sqlite3_bind_text(stmt, 2, namespace, -1, SQLITE_STATIC);
	if (name)
		sqlite3_bind_text(stmt, 3, name, -1, SQLITE_STATIC);
	return stmt;
}

/* A row of a database that someone may have changed by hand: nothing is taken for granted. */
static int read_row(struct bn_store *store, sqlite3_stmt *stmt, struct bn_row *ret,
		    struct bn_error *err)
{
	*ret = (struct bn_row){
		.kind = sqlite3_column_int(stmt, 0),
		.namespace = (const char *)sqlite3_column_text(stmt, 1),
		.name = (const char *)sqlite3_column_text(stmt, 2),
		.text = (const char *)sqlite3_column_text(stmt, 3),
		.size = (size_t)sqlite3_column_bytes(stmt, 3),
		.allotted = (const char *)sqlite3_column_text(stmt, 4),
		.origin = (const char *)sqlite3_column_text(stmt, 5),
	};
	if (!ret->namespace || !ret->name || !ret->text)
		return fail(store, "read", err);
	return 0;
}

int bn_store_get(struct bn_store *store, int kind, const char *namespace, const char *name,
		 struct bn_row *ret, struct bn_error *err)
{
	sqlite3_stmt *stmt = bind_key(store, STATEMENT_GET, kind, namespace, name);

	switch (sqlite3_step(stmt)) {
	case SQLITE_ROW:
		return read_row(store, stmt, ret, err);
	case SQLITE_DONE:
		sqlite3_reset(stmt);
		return -ENOENT;
	default:
		return fail(store, "read", err);
	}
}

int bn_store_put(struct bn_store *store, const struct bn_row *row, struct bn_error *err)
{
	sqlite3_stmt *stmt = bind_key(store, STATEMENT_PUT, row->kind, row->namespace, row->name);

	sqlite3_bind_text(stmt, 4, row->text, (int)row->size, SQLITE_STATIC);
	if (row->origin)
		sqlite3_bind_text(stmt, 5, row->origin, -1, SQLITE_STATIC);
	return finish(store, stmt, "write", err);
}

static int set_one(struct bn_store *store, enum statement which, const struct bn_row *row,
		   const char *value, struct bn_error *err)
{
	sqlite3_stmt *stmt = bind_key(store, which, row->kind, row->namespace, row->name);

	if (value)
		sqlite3_bind_text(stmt, 4, value, -1, SQLITE_STATIC);
	return finish(store, stmt, "write", err);
}

int bn_store_set_allotted(struct bn_store *store, const struct bn_row *row, struct bn_error *err)
{
	return set_one(store, STATEMENT_SET_ALLOTTED, row, row->allotted, err);
}

int bn_store_set_origin(struct bn_store *store, const struct bn_row *row, struct bn_error *err)
{
	return set_one(store, STATEMENT_SET_ORIGIN, row, row->origin, err);
}

int bn_store_delete(struct bn_store *store, int kind, const char *namespace, const char *name,
		    struct bn_error *err)
{
	return finish(store, bind_key(store, STATEMENT_DELETE, kind, namespace, name), "write",
		      err);
}

static int each(struct bn_store *store, sqlite3_stmt *stmt, bn_store_fn *fn, void *user,
		struct bn_error *err)
{
	struct bn_row row;
	int r = 0, step;

	while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
		r = read_row(store, stmt, &row, err);
		if (r == 0)
			r = fn(user, &row, err);
		if (r != 0)
			break;
	}
	if (r == 0 && step != SQLITE_DONE)
		r = fail(store, "read", err);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return r;
}

int bn_store_each(struct bn_store *store, bn_store_fn *fn, void *user, struct bn_error *err)
{
	return each(store, store->prepared[STATEMENT_EACH], fn, user, err);
}

int bn_store_each_of(struct bn_store *store, int kind, const char *namespace, bn_store_fn *fn,
		     void *user, struct bn_error *err)
{
	enum statement which = namespace ? STATEMENT_EACH_NAMESPACE : STATEMENT_EACH_KIND;

	return each(store, bind_key(store, which, kind, namespace, NULL), fn, user, err);
}

int bn_store_each_from(struct bn_store *store, const char *prefix, bn_store_fn *fn, void *user,
		       struct bn_error *err)
{
	sqlite3_stmt *stmt = store->prepared[STATEMENT_EACH_FROM];

	sqlite3_reset(stmt);
	sqlite3_bind_text(stmt, 1, prefix, -1, SQLITE_STATIC);
	return each(store, stmt, fn, user, err);
}

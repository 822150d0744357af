// SPDX-License-Identifier: Apache-2.0
/*
 * Invariants: page 0 and line 0 are never written, they deny. A page in a hash has the content that
 * it was hashed with; one that is named once may be written in place, after it was taken out.
 */
#include "policy/space.h"

#include "datapath/runs.h"
#include "error.h"
#include "policy/shared.h"
#include "policy/stock.h"

#include <bpfnet/policy-run.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

struct bn_space {
	struct bn_policy_table *tables; /* the maps' memory; NULL while nothing changes */
	struct bn_policy_page *pages;
	struct bn_policy_line *lines;
	struct bn_space_config config;
	struct bn_runs runs_free;
	struct bn_stock stock_tables, stock_pages;
	struct bn_shared_set shared_runs; /* numbered as pages name them */
	struct bn_shared_set shared_pages;
	uint32_t *found; /* tables of an earlier run, as long as nobody wants or drops them */
	size_t n_found;
	bool begun;
	bool measures; /* a copy, of these sizes: */
	struct bn_space_use fit;
};

/* ---- the maps' memory ---- */

static int map(int fd, uint32_t n, size_t size, void *ret)
{
	void *p = mmap(NULL, n * size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*(void **)ret = p;
	return 0;
}

static int hold(struct bn_space *s)
{
	int r = 0;

	if (!s->tables)
		r = map(s->config.tables_fd, s->config.tables, sizeof(*s->tables), &s->tables);
	if (!r && !s->pages)
		r = map(s->config.pages_fd, s->config.pages, sizeof(*s->pages), &s->pages);
	if (!r && !s->lines)
		r = map(s->config.ports_fd, s->config.lines, sizeof(*s->lines), &s->lines);
	return r;
}

static void unmap(struct bn_space *s)
{
	if (s->tables)
		munmap(s->tables, s->config.tables * sizeof(*s->tables));
	if (s->pages)
		munmap(s->pages, s->config.pages * sizeof(*s->pages));
	if (s->lines)
		munmap(s->lines, s->config.lines * sizeof(*s->lines));
	s->tables = NULL;
	s->pages = NULL;
	s->lines = NULL;
}

void bn_space_release(struct bn_space *s)
{
	/* a copy's memory is nowhere else */
	if (!s->measures)
		unmap(s);
}

/* Numbers below the top that nobody was found to use are free. */
static int begin(struct bn_space *s)
{
	bool *used = calloc(s->stock_tables.top, sizeof(*used));

	if (!used)
		return -ENOMEM;
	s->begun = true;
	for (size_t i = 0; i < s->n_found; i++)
		used[s->found[i]] = true;
	for (uint32_t i = 1; i < s->stock_tables.top; i++) {
		if (!used[i])
			bn_stock_free(&s->stock_tables, i);
	}
	free(used);
	for (uint32_t i = 1; i < s->stock_pages.top; i++) {
		if (!bn_shared_get(&s->shared_pages, i))
			bn_stock_free(&s->stock_pages, i);
	}
	return bn_runs_claimed(&s->runs_free);
}

/* ---- runs ---- */

static uint64_t run_hash(const struct bn_policy_line *lines, uint32_t n)
{
	return XXH3_64bits(lines, n * sizeof(*lines));
}

static struct bn_shared *find_run(struct bn_space *s, const struct bn_policy_run *run)
{
	struct bn_shared *at = bn_shared_find(&s->shared_runs, run_hash(run->lines, run->n));

	for (; at; at = at->next) {
		uint32_t first = bn_policy_run_first(at->number);

		if ((run->name | first) == at->number &&
		    !memcmp(&s->lines[first], run->lines, run->n * sizeof(*run->lines)))
			return at;
	}
	return NULL;
}

static int no_room(uint32_t have, uint32_t more, const char *what, const char *key,
		   struct bn_error *err)
{
	return bn_error_set(err, -ENOSPC,
			    "policy needs %u %s more than fit, %u are the most; raise maps.%s",
			    more, what, have, key);
}

/* Writes a run that no other is like. */
static int add_run(struct bn_space *s, const struct bn_policy_run *run, struct bn_shared **ret,
		   struct bn_error *err)
{
	uint32_t first = 0;
	int r = bn_runs_take(&s->runs_free, run->n, &first);

	if (r == -ENOSPC && s->measures &&
	    bn_run_capacity(run->n) <= s->config.lines - s->runs_free.top) {
		bn_runs_grow(&s->runs_free, run->n);
		r = bn_runs_take(&s->runs_free, run->n, &first);
	}
	if (r == -ENOSPC)
		no_room(s->config.lines, run->n, "lines of ports", "policy-lines", err);
	if (r)
		return r;
	memcpy(&s->lines[first], run->lines, run->n * sizeof(*run->lines));
	r = bn_shared_add(&s->shared_runs, run_hash(run->lines, run->n), run->name | first, ret);
	if (r)
		bn_runs_give(&s->runs_free, first, run->n);
	return r;
}

int bn_space_run(struct bn_space *s, const struct bn_policy_part *parts, size_t n, uint32_t *ret,
		 struct bn_error *err)
{
	struct bn_policy_run run;
	struct bn_shared *at;
	int r = hold(s);

	if (!r && !s->begun)
		r = begin(s);
	if (!r)
		r = bn_policy_run_make(&run, parts, n);
	if (r)
		return r;
	at = find_run(s, &run);
	if (!at)
		r = add_run(s, &run, &at, err);
	bn_policy_run_done(&run);
	if (r)
		return r;
	at->references++;
	*ret = at->number;
	return 0;
}

static void run_hold(struct bn_space *s, uint32_t run)
{
	struct bn_shared *at = run ? bn_shared_get(&s->shared_runs, run) : NULL;

	if (at)
		at->references++;
}

void bn_space_run_put(struct bn_space *s, uint32_t run)
{
	struct bn_shared *at = run ? bn_shared_get(&s->shared_runs, run) : NULL;

	if (!at || --at->references)
		return;
	bn_shared_remove(&s->shared_runs, at);
	bn_runs_give(&s->runs_free, bn_policy_run_first(run), bn_policy_run_lines(run));
}

/* ---- pages ---- */

static struct bn_shared *find_page(struct bn_space *s, const struct bn_policy_page *page,
				   uint64_t hash)
{
	struct bn_shared *at = bn_shared_find(&s->shared_pages, hash);

	for (; at; at = at->next) {
		if (!memcmp(&s->pages[at->number], page, sizeof(*page)))
			return at;
	}
	return NULL;
}

/* A page of this content; takes a reference. Page 0 needs none. */
static int page_get(struct bn_space *s, const struct bn_policy_page *page, uint32_t *ret,
		    struct bn_error *err)
{
	static const struct bn_policy_page nothing;
	uint64_t hash = XXH3_64bits(page, sizeof(*page));
	struct bn_shared *at;
	uint32_t number;
	int r;

	*ret = 0;
	if (!memcmp(page, &nothing, sizeof(nothing)))
		return 0;
	at = find_page(s, page, hash);
	if (!at) {
		if (!bn_stock_take(&s->stock_pages, &number))
			return no_room(s->config.pages, 1, "page of identities", "policy-pages",
				       err);
		s->pages[number] = *page;
		r = bn_shared_add(&s->shared_pages, hash, number, &at);
		if (r) {
			bn_stock_give(&s->stock_pages, number);
			return r;
		}
		for (int i = 0; i < BN_POLICY_PAGE; i++)
			run_hold(s, page->run[i]);
	}
	at->references++;
	*ret = at->number;
	return 0;
}

static void page_put(struct bn_space *s, uint32_t number)
{
	struct bn_shared *at = number ? bn_shared_get(&s->shared_pages, number) : NULL;

	if (!at || --at->references)
		return;
	bn_shared_remove(&s->shared_pages, at);
	for (int i = 0; i < BN_POLICY_PAGE; i++)
		bn_space_run_put(s, s->pages[number].run[i]);
	bn_stock_give(&s->stock_pages, number);
}

/* ---- what an earlier run left ---- */

static int found_run(struct bn_space *s, uint32_t run)
{
	uint32_t first = bn_policy_run_first(run), n = bn_policy_run_lines(run);
	struct bn_shared *at = bn_shared_get(&s->shared_runs, run);
	int r = 0;

	if (!run)
		return 0;
	if (first + n > s->config.lines || bn_policy_run_index(run) >= n)
		return -EINVAL;
	if (!at) {
		bn_runs_claim(&s->runs_free, first, n);
		r = bn_shared_add(&s->shared_runs, run_hash(&s->lines[first], n), run, &at);
	}
	if (!r)
		at->references++;
	return r;
}

static int found_page(struct bn_space *s, uint32_t number)
{
	struct bn_shared *at = bn_shared_get(&s->shared_pages, number);
	int r = 0;

	if (!number)
		return 0;
	if (number >= s->config.pages)
		return -EINVAL;
	if (!at) {
		for (int i = 0; i < BN_POLICY_PAGE && !r; i++)
			r = found_run(s, s->pages[number].run[i]);
		if (!r)
			r = bn_shared_add(&s->shared_pages,
					  XXH3_64bits(&s->pages[number], sizeof(s->pages[number])),
					  number, &at);
		bn_stock_found(&s->stock_pages, number);
	}
	if (!r)
		at->references++;
	return r;
}

int bn_space_found(struct bn_space *s, uint32_t table)
{
	uint32_t *found;
	int r;

	if (table == BN_POLICY_OPEN || table >= s->config.tables)
		return 0;
	for (size_t i = 0; i < s->n_found; i++) {
		if (s->found[i] == table)
			return 0;
	}
	r = hold(s);
	if (r)
		return r;
	found = reallocarray(s->found, s->n_found + 1, sizeof(*found));
	if (!found)
		return -ENOMEM;
	s->found = found;
	found[s->n_found++] = table;
	bn_stock_found(&s->stock_tables, table);
	for (size_t i = 0; i < BN_POLICY_PAGES && !r; i++)
		r = found_page(s, s->tables[table].page[i]);
	return r;
}

/* A table that was found with just this content. */
static bool take_found(struct bn_space *s, const struct bn_policy_table *table, uint32_t *ret)
{
	for (size_t i = 0; i < s->n_found; i++) {
		if (memcmp(&s->tables[s->found[i]], table, sizeof(*table)))
			continue;
		*ret = s->found[i];
		s->found[i] = s->found[--s->n_found];
		return true;
	}
	return false;
}

void bn_space_settle(struct bn_space *s)
{
	while (s->n_found)
		bn_space_table_put(s, s->found[--s->n_found]);
}

/* ---- tables ---- */

int bn_space_table(struct bn_space *s, const uint32_t *runs, size_t n, uint32_t rest, uint32_t *ret,
		   struct bn_error *err)
{
	struct bn_policy_table table = {0};
	uint32_t number = 0;
	int r = hold(s);

	if (r)
		return r;
	for (size_t i = 0; i < BN_POLICY_PAGES && !r; i++) {
		struct bn_policy_page page;

		for (size_t k = 0; k < BN_POLICY_PAGE; k++) {
			size_t identity = i * BN_POLICY_PAGE + k;

			page.run[k] = identity < n ? runs[identity] : rest;
		}
		/* beyond what is known all pages are the same */
		if (i && (i - 1) * BN_POLICY_PAGE >= n) {
			struct bn_shared *last = bn_shared_get(&s->shared_pages, table.page[i - 1]);

			table.page[i] = table.page[i - 1];
			if (last)
				last->references++;
		} else {
			r = page_get(s, &page, &table.page[i], err);
		}
	}
	if (!r && take_found(s, &table, ret)) {
		for (size_t i = 0; i < BN_POLICY_PAGES; i++)
			page_put(s, table.page[i]);
		return 0;
	}
	if (!r && !bn_stock_take(&s->stock_tables, &number))
		r = no_room(s->config.tables, 1, "table", "policy-tables", err);
	if (r) {
		for (size_t i = 0; i < BN_POLICY_PAGES; i++)
			page_put(s, table.page[i]);
		return r;
	}
	s->tables[number] = table;
	*ret = number;
	return 0;
}

void bn_space_table_put(struct bn_space *s, uint32_t table)
{
	if (table == BN_POLICY_OPEN || table >= s->config.tables)
		return;
	/* without memory for it nothing of it is used again before a restart */
	if (hold(s))
		return;
	/* its content stays until the number is used again: somebody may be reading it */
	for (size_t i = 0; i < BN_POLICY_PAGES; i++)
		page_put(s, s->tables[table].page[i]);
	bn_stock_give(&s->stock_tables, table);
}

static void store(uint32_t *at, uint32_t value)
{
	atomic_store_explicit((_Atomic uint32_t *)at, value, memory_order_release);
}

int bn_space_table_set(struct bn_space *s, uint32_t table, uint32_t identity, uint32_t run,
		       struct bn_error *err)
{
	uint32_t place = identity % BN_POLICY_PAGE, *slot, old, had, number;
	struct bn_policy_page page;
	struct bn_shared *at;
	int r = hold(s);

	if (r)
		return r;
	slot = &s->tables[table].page[identity / BN_POLICY_PAGE];
	old = *slot;
	at = old ? bn_shared_get(&s->shared_pages, old) : NULL;
	page = s->pages[old];
	had = page.run[place];
	if (had == run)
		return 0;
	page.run[place] = run;
	if (at && at->references == 1 && !find_page(s, &page, XXH3_64bits(&page, sizeof(page)))) {
		bn_shared_unhash(&s->shared_pages, at);
		run_hold(s, run);
		store(&s->pages[old].run[place], run);
		bn_space_run_put(s, had);
		bn_shared_rehash(&s->shared_pages, at, XXH3_64bits(&page, sizeof(page)));
		return 0;
	}
	r = page_get(s, &page, &number, err);
	if (r)
		return r;
	store(slot, number);
	page_put(s, old);
	return 0;
}

/* ---- life ---- */

int bn_space_open(const struct bn_space_config *config, struct bn_space **ret, struct bn_error *err)
{
	struct bn_space *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	if (!bn_stock_init(&s->stock_tables, config->tables) &&
	    !bn_stock_init(&s->stock_pages, config->pages))
		r = 0;
	bn_runs_init(&s->runs_free, config->lines);
	bn_runs_claim(&s->runs_free, 0, 1);
	if (r) {
		bn_space_close(s);
		return bn_error_set(err, r, "can't set up the policy tables: %s", strerror(-r));
	}
	*ret = s;
	return 0;
}

void bn_space_close(struct bn_space *s)
{
	if (!s)
		return;
	bn_shared_clear(&s->shared_runs);
	bn_shared_clear(&s->shared_pages);
	unmap(s);
	free(s->found);
	bn_runs_done(&s->runs_free);
	bn_stock_done(&s->stock_tables);
	bn_stock_done(&s->stock_pages);
	free(s);
}

void bn_space_turn(struct bn_space *s)
{
	/* nothing has been freed, and what rests among the runs are those that were found */
	if (!s->begun)
		return;
	bn_stock_turn(&s->stock_tables);
	bn_stock_turn(&s->stock_pages);
	bn_runs_settle(&s->runs_free);
}

struct bn_space_use bn_space_use(const struct bn_space *s)
{
	return (struct bn_space_use){
		.tables = s->stock_tables.used,
		.pages = s->stock_pages.used,
		.lines = (uint32_t)s->runs_free.used,
	};
}

/* ---- by how much a change does not fit ---- */

/* What a copy has more room for: 64 MB of each, of which only what is written takes any. */
#define MORE_TABLES 65536u
#define MORE_PAGES 65536u
#define MORE_LINES (1u << 20)

/* Memory for n things, and in it the `fit` that stand in the map. */
static int copy_map(const void *from, uint32_t fit, uint32_t n, size_t size, void *ret)
{
	void *p = mmap(NULL, n * size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	memcpy(p, from, fit * size);
	*(void **)ret = p;
	return 0;
}

static int copy_maps(struct bn_space *to, const struct bn_space *from)
{
	const struct bn_space_config *fit = &from->config, *room = &to->config;
	int r = copy_map(from->tables, fit->tables, room->tables, sizeof(*to->tables), &to->tables);

	if (!r)
		r = copy_map(from->pages, fit->pages, room->pages, sizeof(*to->pages), &to->pages);
	if (!r)
		r = copy_map(from->lines, fit->lines, room->lines, sizeof(*to->lines), &to->lines);
	return r;
}

static int copy_numbers(struct bn_space *to, const struct bn_space *from)
{
	int r = bn_stock_copy(&to->stock_tables, &from->stock_tables, to->config.tables);

	if (!r)
		r = bn_stock_copy(&to->stock_pages, &from->stock_pages, to->config.pages);
	if (!r)
		r = bn_runs_copy(&to->runs_free, &from->runs_free);
	if (!r)
		r = bn_shared_copy(&to->shared_runs, &from->shared_runs);
	if (!r)
		r = bn_shared_copy(&to->shared_pages, &from->shared_pages);
	return r;
}

int bn_space_measure(struct bn_space *s, struct bn_space **ret)
{
	struct bn_space *copy;
	int r = hold(s);

	/* before the first run nothing is known to be free, and what was found belongs to nobody yet */
	if (!r && !s->begun)
		r = begin(s);
	if (r)
		return r;
	copy = calloc(1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	copy->measures = copy->begun = true;
	copy->fit = (struct bn_space_use){s->config.tables, s->config.pages, s->config.lines};
	copy->config = (struct bn_space_config){
		.tables_fd = -1,
		.pages_fd = -1,
		.ports_fd = -1,
		.tables = s->config.tables + MORE_TABLES,
		.pages = s->config.pages + MORE_PAGES,
		.lines = s->config.lines + MORE_LINES,
	};
	r = copy_maps(copy, s);
	if (!r)
		r = copy_numbers(copy, s);
	if (!r && s->n_found) {
		copy->found = calloc(s->n_found, sizeof(*copy->found));
		if (copy->found)
			memcpy(copy->found, s->found, s->n_found * sizeof(*copy->found));
		copy->n_found = copy->found ? s->n_found : 0;
		r = copy->found ? 0 : -ENOMEM;
	}
	if (r)
		bn_space_close(copy);
	else
		*ret = copy;
	return r;
}

static uint32_t above(uint32_t n, uint32_t fit)
{
	return n > fit ? n - fit : 0;
}

struct bn_space_use bn_space_lacks(const struct bn_space *copy)
{
	return (struct bn_space_use){
		.tables = above(copy->stock_tables.top, copy->fit.tables),
		.pages = above(copy->stock_pages.top, copy->fit.pages),
		.lines = above(copy->runs_free.size, copy->fit.lines),
	};
}

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/half.h"
#include "libcore/base/le.h"
#include "libcore/format/bnb.h"
#include "libcore/format/safetensors.h"
#include "libcore/model/source_impl.h"

enum { STATE_MAX = 1 << 16, PIECES_MAX = QZ_SECTIONS_MAX };

struct part {
	char *path, *name;
	uint64_t base;
	struct qz_st st;
};

/* A tensor of a header, by name. */
struct entry {
	const struct qz_st_tensor *t;
	int part;
	bool used; /* as a part of a 4-bit tensor */
};

/* Bytes of a tensor: from a file, or a literal; then zeros up to the next section. */
struct piece {
	uint64_t at, n, zeros;
	int part; /* -1: the literal */
	uint8_t literal[4];
};

struct item {
	struct qz_tensor t;
	uint64_t order;
	struct piece pieces[PIECES_MAX];
	int n_pieces;
};

struct parts {
	struct part *parts;
	int n_parts;
	struct entry *entries;
	size_t n_entries;
	struct item *items;
	size_t n_items;
	struct qz_arena arena;

	size_t next; /* item to come */
	struct item *now;
	int piece;
	uint64_t done;    /* bytes of the piece and its zeros that are read */
	struct qz_in *in; /* the one open file */
	int in_part;
};

struct parts *
parts_new(struct qz_err *e)
{
	struct parts *p = calloc(1, sizeof *p);

	if (!p)
		qz_nomem(e, sizeof *p);
	return p;
}

void
parts_free(struct parts *p)
{
	if (!p)
		return;
	for (int i = 0; i < p->n_parts; i++) {
		free(p->parts[i].path);
		free(p->parts[i].name);
		qz_st_free(&p->parts[i].st);
	}
	qz_in_close(p->in);
	qz_arena_free(&p->arena);
	free(p->parts);
	free(p->entries);
	free(p->items);
	free(p);
}

static int
open_part(struct parts *p, int part, struct qz_err *e)
{
	if (p->in && p->in_part == part)
		return 0;
	qz_in_close(p->in);
	p->in = qz_in_open(p->parts[part].path, e);
	p->in_part = part;
	return p->in ? 0 : -1;
}

static int
read_at(struct parts *p, int part, uint64_t at, void *data, size_t n, struct qz_err *e)
{
	if (open_part(p, part, e) < 0)
		return -1;
	at += p->parts[part].base + p->parts[part].st.data;
	if (qz_in_offset(p->in) != at && qz_in_seek(p->in, at, e) < 0)
		return -1;
	return qz_in_read(p->in, data, n, e);
}

static int
read_header(struct parts *p, struct part *part, uint64_t size, struct qz_err *e)
{
	uint8_t first[8];
	struct qz_buf text = { 0 };
	uint64_t n;
	char *room;
	int ret;

	if (open_part(p, (int)(part - p->parts), e) < 0 || qz_in_seek(p->in, part->base, e) < 0 ||
	    qz_in_read(p->in, first, sizeof first, e) < 0)
		return -1;
	if (qz_st_length(first, (int64_t)size, &n, e) < 0)
		return qz_at(e, "%s", part->name);
	room = qz_buf_room(&text, (size_t)n);
	ret = room ? qz_in_read(p->in, room, (size_t)n, e) : qz_buf_ok(&text, e);
	if (ret == 0 && qz_st_parse(&part->st, room, (size_t)n, (int64_t)size, e) < 0)
		ret = qz_at(e, "%s", part->name);
	qz_buf_free(&text);
	return ret;
}

int
parts_add(struct parts *p, const char *path, const char *name, uint64_t base, uint64_t size,
    struct qz_err *e)
{
	struct part *more = realloc(p->parts, (size_t)(p->n_parts + 1) * sizeof *more), *part;

	if (!more)
		return qz_nomem(e, sizeof *more);
	p->parts = more;
	part = &more[p->n_parts++];
	*part = (struct part){ .path = strdup(path), .name = strdup(name), .base = base };
	if (!part->path || !part->name)
		return qz_nomem(e, strlen(path));
	if (size == 0) { /* a file of its own: as large as it is */
		if (open_part(p, p->n_parts - 1, e) < 0)
			return -1;
		if (qz_in_size(p->in) < 0)
			return qz_fail(e, QZ_EDATA, "%s: is no plain file", name);
		size = (uint64_t)qz_in_size(p->in);
	}
	return read_header(p, part, size, e);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->t->name, ((const struct entry *)b)->t->name);
}

static int
list_entries(struct parts *p, struct qz_err *e)
{
	size_t n = 0;

	for (int i = 0; i < p->n_parts; i++)
		n += p->parts[i].st.n;
	p->entries = calloc(n + 1, sizeof *p->entries);
	p->items = calloc(n + 1, sizeof *p->items);
	if (!p->entries || !p->items)
		return qz_nomem(e, n * sizeof *p->items);
	for (int i = 0; i < p->n_parts; i++)
		for (size_t k = 0; k < p->parts[i].st.n; k++)
			p->entries[p->n_entries++] = (struct entry){ &p->parts[i].st.tensors[k], i,
				false };
	qsort(p->entries, n, sizeof *p->entries, by_name);
	for (size_t i = 1; i < n; i++)
		if (!strcmp(p->entries[i - 1].t->name, p->entries[i].t->name))
			return qz_fail(e, QZ_EDATA, "%s: tensor %.200s is also in %s",
			    p->parts[p->entries[i].part].name, p->entries[i].t->name,
			    p->parts[p->entries[i - 1].part].name);
	return 0;
}

static struct entry *
find_entry(const struct parts *p, const char *name)
{
	struct qz_st_tensor t = { .name = name };
	struct entry key = { &t, 0, false };

	return bsearch(&key, p->entries, p->n_entries, sizeof key, by_name);
}

const char *
parts_file_of(const struct parts *p, const char *tensor)
{
	const struct entry *x = find_entry(p, tensor);

	return x ? p->parts[x->part].name : NULL;
}

/* "M.weight" of "M.weight.quant_state.bitsandbytes__nf4", or 0: how long it is. */
static size_t
bnb_stem(const char *name)
{
	const char *at = strstr(name, QZ_BNB_STATE);

	return at && at > name ? (size_t)(at - name) : 0;
}

bool
parts_is_bnb(const struct qz_st *st)
{
	for (size_t i = 0; i < st->n; i++)
		if (bnb_stem(st->tensors[i].name))
			return true;
	return false;
}

/* One section of a 4-bit tensor: its key, checked against the plan. */
static int
add_section(struct parts *p, struct item *it, const struct qz_section *s, float offset,
    const char *file, struct qz_err *e)
{
	struct piece *piece = &it->pieces[it->n_pieces++];
	const char *suffix = qz_bnb_suffix((enum qz_section_kind)s->kind);
	char name[QZ_NAME_LEN_MAX + 64];
	struct entry *x;
	bool typed;

	*piece = (struct piece){ .n = s->nbytes,
		.zeros = (QZ_SHARD_ALIGN - s->nbytes % QZ_SHARD_ALIGN) % QZ_SHARD_ALIGN,
		.part = -1 };
	if (!suffix) {
		le32_put(piece->literal, qz_f32_bits(offset));
		return 0;
	}
	snprintf(name, sizeof name, "%s%s", it->t.name, suffix);
	x = find_entry(p, name);
	if (!x)
		return qz_fail(e, QZ_EDATA, "%s: tensor %s is missing", file, name);
	/* quant_storage: the codes may be stored as any type, the same bytes under another name. */
	typed = s->kind == QZ_SEC_DATA || x->t->dtype == (enum qz_dtype)s->dtype;
	if (!typed || x->t->end - x->t->begin != s->nbytes)
		return qz_fail(e, QZ_EDATA,
		    "%s: tensor %s has %llu bytes of %s, %llu of %s are expected",
		    p->parts[x->part].name, name, (unsigned long long)(x->t->end - x->t->begin),
		    x->t->type, (unsigned long long)s->nbytes, qz_dtype(s->dtype)->st);
	x->used = true;
	piece->part = x->part;
	piece->at = x->t->begin;
	return 0;
}

static int
add_bnb(struct parts *p, struct entry *state, size_t stem, struct qz_err *e)
{
	struct item *it = &p->items[p->n_items++];
	const struct qz_st_tensor *t = state->t;
	struct qz_bnb_state s;
	char text[STATE_MAX];
	const char *file = p->parts[state->part].name;

	state->used = true;
	if (stem > QZ_NAME_LEN_MAX || t->end - t->begin > STATE_MAX || t->dtype != QZ_U8)
		return qz_fail(
		    e, QZ_EDATA, "%s: tensor %.200s is no state of bitsandbytes", file, t->name);
	if (read_at(p, state->part, t->begin, text, (size_t)(t->end - t->begin), e) < 0)
		return -1;
	if (qz_bnb_parse(&s, text, (size_t)(t->end - t->begin), e) < 0)
		return qz_at(e, "%s: tensor %.200s", file, t->name);
	it->t = (struct qz_tensor){ .name = qz_arena_strndup(&p->arena, t->name, stem),
		.dtype = s.type,
		.n_dims = s.n_dims,
		.block = s.block,
		.nested_block = s.nested_block };
	memcpy(it->t.dims, s.dims, sizeof s.dims);
	if (!it->t.name)
		return qz_nomem(e, stem);
	if (qz_tensor_plan(&it->t, e) < 0)
		return qz_at(e, "%s: tensor %.200s", file, it->t.name);
	for (int i = 0; i < it->t.n_sections; i++)
		if (add_section(p, it, &it->t.sections[i], s.offset, file, e) < 0)
			return -1;
	return 0;
}

static int
add_plain(struct parts *p, const struct entry *x, struct qz_err *e)
{
	struct item *it = &p->items[p->n_items++];
	const char *file = p->parts[x->part].name;
	uint64_t n = x->t->end - x->t->begin;

	it->t = (struct qz_tensor){
		.name = x->t->name, .dtype = x->t->dtype, .n_dims = x->t->n_dims
	};
	memcpy(it->t.dims, x->t->dims, sizeof it->t.dims);
	if (!it->t.dtype || !qz_dtype((unsigned)it->t.dtype)->plain)
		return qz_fail(e, QZ_EDATA, "%s: tensor %.200s: its type %s is not supported", file,
		    x->t->name, x->t->type);
	if (strlen(x->t->name) > QZ_NAME_LEN_MAX)
		return qz_fail(e, QZ_EDATA, "%s: a name of %zu bytes", file, strlen(x->t->name));
	if (qz_tensor_plan(&it->t, e) < 0)
		return qz_at(e, "%s: tensor %.200s", file, x->t->name);
	it->pieces[0] = (struct piece){ x->t->begin, n, it->t.nbytes - n, x->part, { 0 } };
	it->n_pieces = 1;
	return 0;
}

static int
by_order(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return x->order < y->order ? -1 : x->order > y->order;
}

/* The manifest has all but what source.c leaves out by itself: a stored head that is tied. */
static int
set_manifest(struct parts *p, struct qz_source *s, struct qz_err *e)
{
	struct qz_tensor *t = calloc(p->n_items + 1, sizeof *t);
	size_t n = 0;
	int ret;

	if (!t)
		return qz_nomem(e, p->n_items * sizeof *t);
	for (size_t i = 0; i < p->n_items; i++)
		if (!s->config.tied || strcmp(p->items[i].t.name, qz_role(QZ_HEAD)->hf))
			t[n++] = p->items[i].t;
	ret = source_set_manifest(s, t, n, e);
	free(t);
	return ret < 0 ? qz_at(e, "%s", s->name) : 0;
}

int
parts_finish(struct parts *p, struct qz_source *s, struct qz_err *e)
{
	if (list_entries(p, e) < 0)
		return -1;
	for (size_t i = 0; i < p->n_entries; i++) {
		size_t stem = bnb_stem(p->entries[i].t->name);

		if (stem && add_bnb(p, &p->entries[i], stem, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < p->n_entries; i++)
		if (!p->entries[i].used && !source_is_junk(p->entries[i].t->name) &&
		    add_plain(p, &p->entries[i], e) < 0)
			return -1;
	for (size_t i = 0; i < p->n_items; i++)
		p->items[i].order = source_order(p->items[i].t.name);
	qsort(p->items, p->n_items, sizeof *p->items, by_order);
	return set_manifest(p, s, e);
}

int
parts_next(struct parts *p, struct qz_tensor *t, struct qz_err *e)
{
	(void)e;
	if (p->next == p->n_items)
		return 0;
	p->now = &p->items[p->next++];
	p->piece = 0;
	p->done = 0;
	*t = p->now->t;
	return 1;
}

int
parts_read(struct parts *p, void *data, size_t n, struct qz_err *e)
{
	char *to = data;

	while (n) {
		const struct piece *x = &p->now->pieces[p->piece];
		uint64_t end = p->done < x->n ? x->n : x->n + x->zeros;
		size_t part = n < end - p->done ? n : (size_t)(end - p->done);

		if (p->done >= x->n)
			memset(to, 0, part);
		else if (x->part < 0)
			memcpy(to, x->literal + p->done, part);
		else if (read_at(p, x->part, x->at + p->done, to, part, e) < 0)
			return -1;
		to += part;
		n -= part;
		p->done += part;
		if (p->done == x->n + x->zeros) {
			p->piece++;
			p->done = 0;
		}
	}
	return 0;
}

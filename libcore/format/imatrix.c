#include "libcore/format/imatrix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/half.h"
#include "libcore/base/le.h"
#include "libcore/base/size.h"
#include "libcore/base/utf8.h"
#include "libcore/format/gguf_read.h"
#include "libcore/format/gguf_write.h"

enum { ENTRIES_MAX = 1 << 20, COLS_MAX = 1 << 26, NAME_BYTES = 63 };

static int
by_name(const void *a, const void *b)
{
	return strcmp(
	    ((const struct qz_imatrix_entry *)a)->name, ((const struct qz_imatrix_entry *)b)->name);
}

/* Sorts, and sees that no name is there twice and that all values are numbers. */
static int
check(struct qz_imatrix *m, struct qz_err *e)
{
	qsort(m->entries, m->n, sizeof *m->entries, by_name);
	for (size_t k = 0; k < m->n; k++) {
		const struct qz_imatrix_entry *x = &m->entries[k];

		if (k && !strcmp(x->name, x[-1].name))
			return qz_fail(e, QZ_EDATA, "%s is there twice", x->name);
		for (uint64_t i = 0; i < x->n; i++)
			if (!(x->values[i] >= 0 && x->values[i] < INFINITY))
				return qz_fail(e, QZ_EDATA,
				    "%s: the value of column %llu is %g: not finite, or negative",
				    x->name, (unsigned long long)i, (double)x->values[i]);
	}
	return 0;
}

/* ---- the binary form: a count, entries, the number of the last chunk, the name of the text ---- */

static int
read_i32(struct qz_in *in, int32_t lo, int32_t hi, const char *what, int32_t *v, struct qz_err *e)
{
	uint64_t at = qz_in_offset(in);
	uint8_t b[4];

	if (qz_in_read(in, b, sizeof b, e) < 0)
		return -1;
	*v = (int32_t)le32_get(b);
	if (*v < lo || *v > hi)
		return qz_fail(e, QZ_EDATA, "at byte %llu: %s is %d, not within %d..%d",
		    (unsigned long long)at, what, *v, lo, hi);
	return 0;
}

static int
read_name(struct qz_imatrix *m, struct qz_in *in, int32_t most, const char **name, struct qz_err *e)
{
	char text[1024];
	int32_t n;

	if (read_i32(in, 0, most, "the length of a name", &n, e) < 0 ||
	    qz_in_read(in, text, (size_t)n, e) < 0)
		return -1;
	if (memchr(text, 0, (size_t)n) || qz_utf8_valid(text, (size_t)n) < (size_t)n)
		return qz_fail(e, QZ_EDATA, "at byte %llu: a name that is not UTF-8",
		    (unsigned long long)qz_in_offset(in) - (unsigned)n);
	*name = qz_arena_strndup(&m->arena, text, (size_t)n);
	return *name ? 0 : qz_nomem(e, (size_t)n);
}

/* Values are sums over calls, to be divided by their number. */
static int
read_entry(struct qz_imatrix *m, struct qz_in *in, struct qz_imatrix_entry *x, struct qz_err *e)
{
	int32_t calls, n;
	int64_t size = qz_in_size(in);

	if (read_name(m, in, NAME_BYTES, &x->name, e) < 0 ||
	    read_i32(in, 0, INT32_MAX, "a number of calls", &calls, e) < 0 ||
	    read_i32(in, 1, COLS_MAX, "a number of columns", &n, e) < 0)
		return -1;
	if (size >= 0 && (uint64_t)n > ((uint64_t)size - qz_in_offset(in)) / 4)
		return qz_fail(e, QZ_EDATA, "%s: %d values, the file ends before them", x->name, n);
	x->n = (uint64_t)n;
	x->values = qz_arena_alloc(&m->arena, (size_t)n * sizeof *x->values);
	if (!x->values)
		return qz_nomem(e, (uint64_t)n * sizeof *x->values);
	if (qz_in_read(in, x->values, (size_t)n * sizeof *x->values, e) < 0)
		return -1;
	for (int32_t i = 0; i < n; i++) {
		float v = qz_f32_from_bits(le32_get((const uint8_t *)&x->values[i]));

		x->values[i] = calls > 0 ? v / (float)calls : v;
	}
	return 0;
}

static int
read_dat(struct qz_imatrix *m, struct qz_in *in, struct qz_err *e)
{
	int32_t n, chunks;
	const void *more;

	if (read_i32(in, 1, ENTRIES_MAX, "the number of entries", &n, e) < 0)
		return qz_at(e, "not an importance matrix");
	m->entries = calloc((size_t)n, sizeof *m->entries);
	if (!m->entries)
		return qz_nomem(e, (size_t)n * sizeof *m->entries);
	for (; m->n < (size_t)n; m->n++)
		if (read_entry(m, in, &m->entries[m->n], e) < 0)
			return qz_at(e, "entry %zu", m->n);
	if (qz_in_peek(in, &more, 1, e) < 1) /* older files end here */
		return 0;
	if (read_i32(in, 0, INT32_MAX, "the number of chunks", &chunks, e) < 0 ||
	    read_name(m, in, 1023, &m->dataset, e) < 0)
		return -1;
	m->chunks = (uint32_t)chunks;
	return 0;
}

/* ---- the GGUF form ---- */

static int
read_floats(struct qz_in *in, const struct qz_gguf_tensor *t, float *to, struct qz_err *e)
{
	if (qz_in_seek(in, t->offset, e) < 0 || qz_in_read(in, to, (size_t)t->nbytes, e) < 0)
		return -1;
	for (uint64_t i = 0; i < t->nbytes / 4; i++)
		to[i] = qz_f32_from_bits(le32_get((const uint8_t *)&to[i]));
	return 0;
}

/* Sums over tokens, to be divided by their number; a matrix that saw none weighs all columns alike. */
static int
read_sums(struct qz_imatrix *m, const struct qz_gguf *g, struct qz_in *in,
    const struct qz_gguf_tensor *sums, size_t len, struct qz_err *e)
{
	struct qz_imatrix_entry *x = &m->entries[m->n];
	char name[128];
	const struct qz_gguf_tensor *counts;
	float count;

	snprintf(name, sizeof name, "%.*s.counts", (int)len, sums->name);
	counts = qz_gguf_tensor(g, name);
	if (!counts || counts->dtype != QZ_F32 || sums->dtype != QZ_F32)
		return qz_fail(e, QZ_EDATA, "%s without %s, both in f32", sums->name, name);
	if (counts->nbytes != 4 || sums->nbytes > 4ull * COLS_MAX)
		return qz_fail(e, QZ_EDATA, "%s: several matrices in one are not supported", name);
	x->name = qz_arena_strndup(&m->arena, sums->name, len);
	x->n = sums->nbytes / 4;
	x->values = qz_arena_alloc(&m->arena, (size_t)sums->nbytes);
	if (!x->name || !x->values)
		return qz_nomem(e, sums->nbytes);
	if (read_floats(in, counts, &count, e) < 0 || read_floats(in, sums, x->values, e) < 0)
		return -1;
	if (!(count >= 0 && count < INFINITY))
		return qz_fail(e, QZ_EDATA, "%s is %g", name, (double)count);
	for (uint64_t i = 0; i < x->n; i++)
		x->values[i] = count > 0 ? x->values[i] / count : 1;
	m->n++;
	return 0;
}

static int
read_keys(struct qz_imatrix *m, struct qz_gguf *g, struct qz_err *e)
{
	const char *const *names;
	const size_t *lens;
	uint64_t n = 0;
	int64_t chunks = 0;

	if (qz_gguf_strings(g, "imatrix.datasets", &names, &lens, &n, e) < 0 ||
	    qz_gguf_int(g, "imatrix.chunk_count", 0, UINT32_MAX, &chunks, e) < 0)
		return -1;
	m->chunks = (uint32_t)chunks;
	if (!n)
		return 0;
	m->dataset = qz_arena_strdup(&m->arena, names[0]);
	return m->dataset ? 0 : qz_nomem(e, lens[0]);
}

static int
read_gguf(struct qz_imatrix *m, struct qz_in *in, struct qz_err *e)
{
	static const char ending[] = ".in_sum2";
	struct qz_gguf g = { 0 };
	int ret = qz_gguf_read(&g, in, e);

	m->entries = calloc(g.n_tensors + 1, sizeof *m->entries);
	if (ret == 0 && !m->entries)
		ret = qz_nomem(e, g.n_tensors * sizeof *m->entries);
	for (size_t i = 0; ret == 0 && i < g.n_tensors; i++) {
		size_t len = strlen(g.tensors[i].name), tail = sizeof ending - 1;

		if (len > tail && !strcmp(g.tensors[i].name + len - tail, ending))
			ret = read_sums(m, &g, in, &g.tensors[i], len - tail, e);
	}
	if (ret == 0 && !m->n)
		ret = qz_fail(
		    e, QZ_EDATA, "a GGUF file without importance: no tensor ends in %s", ending);
	if (ret == 0)
		ret = read_keys(m, &g, e);
	qz_gguf_free(&g);
	return ret;
}

int
qz_imatrix_read(struct qz_imatrix *m, const char *path, struct qz_err *e)
{
	struct qz_in *in = qz_in_open(path, e);
	const void *magic;
	int ret = -1;
	int64_t n;

	if (!in)
		return -1;
	n = qz_in_peek(in, &magic, 4, e);
	if (n >= 0)
		ret = n == 4 && !memcmp(magic, "GGUF", 4) ? read_gguf(m, in, e)
							  : read_dat(m, in, e);
	if (ret == 0)
		ret = check(m, e);
	qz_in_close(in);
	return ret < 0 ? qz_at(e, "%s", path) : 0;
}

void
qz_imatrix_free(struct qz_imatrix *m)
{
	free(m->entries);
	qz_arena_free(&m->arena);
	*m = (struct qz_imatrix){ 0 };
}

const struct qz_imatrix_entry *
qz_imatrix_find(const struct qz_imatrix *m, const char *name)
{
	struct qz_imatrix_entry key = { .name = name };

	return m->n ? bsearch(&key, m->entries, m->n, sizeof *m->entries, by_name) : NULL;
}

/* ---- writing ---- */

static int
write_i32(struct qz_out *o, int32_t v, struct qz_err *e)
{
	uint8_t le[4];

	le32_put(le, (uint32_t)v);
	return qz_out_write(o, le, sizeof le, e);
}

static int
write_text(struct qz_out *o, const char *s, struct qz_err *e)
{
	return write_i32(o, (int32_t)strlen(s), e) < 0 ? -1 : qz_out_write(o, s, strlen(s), e);
}

/* Means as sums over chunks. */
static int
write_dat(const struct qz_imatrix *m, struct qz_out *o, struct qz_err *e)
{
	if (write_i32(o, (int32_t)m->n, e) < 0)
		return -1;
	for (size_t k = 0; k < m->n; k++) {
		const struct qz_imatrix_entry *x = &m->entries[k];

		if (write_text(o, x->name, e) < 0 || write_i32(o, (int32_t)m->chunks, e) < 0 ||
		    write_i32(o, (int32_t)x->n, e) < 0)
			return -1;
		for (uint64_t i = 0; i < x->n; i++)
			if (write_i32(o, (int32_t)qz_f32_bits(x->values[i] * (float)m->chunks), e) <
			    0)
				return -1;
	}
	return write_i32(o, (int32_t)m->chunks, e) < 0
		   ? -1
		   : write_text(o, m->dataset ? m->dataset : "", e);
}

/* Means as sums over tokens, then the number of tokens. */
static int
write_sums(const struct qz_imatrix_entry *x, float tokens, struct qz_ggufw *g, struct qz_out *o,
    struct qz_err *e)
{
	uint8_t le[4];

	for (uint64_t i = 0; i <= x->n; i++) {
		le32_put(le, qz_f32_bits(i < x->n ? x->values[i] * tokens : tokens));
		if (qz_ggufw_write(g, o, le, sizeof le, e) < 0)
			return -1;
	}
	return 0;
}

static int
write_gguf(const struct qz_imatrix *m, uint64_t tokens, struct qz_ggufw *g, struct qz_out *o,
    struct qz_err *e)
{
	const char *dataset = m->dataset ? m->dataset : "";
	const struct qz_gguf_text text = { dataset, strlen(dataset) };
	const uint64_t one = 1;
	char name[128];

	qz_ggufw_str(g, "general.type", "imatrix");
	qz_ggufw_texts(g, "imatrix.datasets", &text, 1);
	qz_ggufw_u32(g, "imatrix.chunk_count", m->chunks);
	qz_ggufw_u32(g, "imatrix.chunk_size", m->chunks ? (uint32_t)(tokens / m->chunks) : 0);
	for (size_t k = 0; k < m->n; k++) {
		snprintf(name, sizeof name, "%s.in_sum2", m->entries[k].name);
		if (qz_ggufw_tensor(g, name, QZ_F32, &m->entries[k].n, 1, e) < 0)
			return -1;
		snprintf(name, sizeof name, "%s.counts", m->entries[k].name);
		if (qz_ggufw_tensor(g, name, QZ_F32, &one, 1, e) < 0)
			return -1;
	}
	if (qz_ggufw_begin(g, o, e) < 0)
		return -1;
	for (size_t k = 0; k < m->n; k++)
		if (write_sums(&m->entries[k], (float)tokens, g, o, e) < 0)
			return -1;
	return qz_ggufw_end(g, e);
}

int
qz_imatrix_write(
    struct qz_imatrix *m, uint64_t tokens, bool dat, struct qz_out *o, struct qz_err *e)
{
	struct qz_ggufw g = { 0 };
	int ret = check(m, e);

	if (ret == 0)
		ret = dat ? write_dat(m, o, e) : write_gguf(m, tokens, &g, o, e);
	qz_ggufw_free(&g);
	return ret;
}

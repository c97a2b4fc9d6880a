#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcore/shard/rows.h"
#include "tools/common/rowview.h"
#include "tools/show/show.h"

static int
load_tokenizer(struct show_rows *s, struct qz_err *e)
{
	struct qz_text_files f = { 0 };
	bool any = false;

	if (s->t || s->json)
		return 0;
	for (int i = 0; i < QZ_TEXT_FILES; i++) {
		f.file[i].s = s->files[i].data;
		f.file[i].n = s->files[i].n;
		any |= i != QZ_TEXT_CONFIG && s->files[i].n;
	}
	if (!any)
		return qz_fail(e, QZ_EDATA, "the shard carries no tokenizer: --json shows the ids");
	s->t = qz_tokenizer_load(&f, e);
	return s->t ? 0 : -1;
}

static void
put_numbers(struct qz_buf *out, const char *key, const void *values, int width, uint64_t n)
{
	qz_buf_fmt(out, "\"%s\":[", key);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t v = width == 1 ? ((const uint8_t *)values)[i]
					: ((const uint32_t *)values)[i];

		qz_buf_fmt(out, "%s%llu", i ? "," : "", (unsigned long long)v);
	}
	qz_buf_chr(out, ']');
}

/* doc_ends: absolute ends of the row's documents. */
static void
put_json(const struct qz_rows *rows, uint64_t start, uint64_t end, const uint64_t *doc_ends,
    uint64_t n_docs, struct qz_buf *out)
{
	qz_buf_chr(out, '{');
	put_numbers(out, "ids", rows->ids + start, 4, end - start);
	qz_buf_chr(out, ',');
	put_numbers(out, "mask", rows->mask + start, 1, end - start);
	qz_buf_str(out, ",\"docs\":[");
	for (uint64_t d = 0; d < n_docs; d++)
		qz_buf_fmt(out, "%s%llu", d ? "," : "", (unsigned long long)(doc_ends[d] - start));
	qz_buf_str(out, "]}\n");
}

static int
put_row(struct show_rows *s, const struct qz_rowview *v, const struct qz_rows *rows, uint64_t start,
    uint64_t end, uint64_t *doc_ends, uint64_t n_docs, struct qz_buf *out, struct qz_err *e)
{
	if (s->json) {
		put_json(rows, start, end, doc_ends, n_docs, out);
		return qz_buf_ok(out, e);
	}
	for (uint64_t d = 0; d < n_docs; d++)
		doc_ends[d] -= start;
	return qz_rowview_put(v, s->number, rows->ids + start, rows->mask + start, end - start,
	    doc_ends, n_docs, out, e);
}

int
show_rows(struct show_rows *s, struct qz_shard_reader *r, const struct qz_record *rec,
    struct qz_out *o, struct qz_err *e)
{
	struct qz_rows rows = { 0 };
	struct qz_buf out = { 0 };
	struct qz_rowview view;
	uint64_t start = 0, doc = 0;
	int ret = load_tokenizer(s, e);

	qz_rowview_init(&view, s->t, STDOUT_FILENO);
	if (ret == 0)
		ret = qz_rows_read(&rows, r, rec, e);
	for (uint64_t i = 0; ret == 0 && i < rows.n_rows && s->left != 0; i++) {
		uint64_t end = rows.row_ends[i], first = doc;

		while (rows.doc_ends[doc] != end)
			doc++;
		doc++;
		qz_buf_clear(&out);
		ret = put_row(
		    s, &view, &rows, start, end, rows.doc_ends + first, doc - first, &out, e);
		if (ret == 0)
			ret = qz_out_write(o, out.data, out.n, e);
		start = end;
		s->number++;
		s->left -= s->left > 0;
	}
	qz_rows_free(&rows);
	qz_buf_free(&out);
	return ret;
}

void
show_rows_free(struct show_rows *s)
{
	qz_tokenizer_free(s->t);
	for (int i = 0; i < QZ_TEXT_FILES; i++)
		qz_buf_free(&s->files[i]);
}

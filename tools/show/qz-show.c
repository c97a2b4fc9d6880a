/* qz-show - look into shards: list, verify, provenance, rows, one member. */
#include <string.h>

#include "libcore/base/num.h"
#include "tools/common/cli.h"
#include "tools/show/show.h"

static bool json, verify;
static const char *rows, *extract, *output;

static const struct qz_opt opts[] = {
	{ 0, "json", QZ_OPT_FLAG, &json, NULL,
	    "Print JSON, one object a line. With --rows a line is a row: ids, mask, docs.", 0, 0,
	    NULL },
	{ 0, "verify", QZ_OPT_FLAG, &verify, NULL,
	    "Read everything and print the digest of each shard. Damage ends with status 3 and "
	    "says where. Of a GGUF file the data is compared with the digest that qz-gguf puts in.",
	    0, 0, NULL },
	{ 0, "rows", QZ_OPT_STR, &rows, "N",
	    "Draw the first N rows of tokens, or all. Trained tokens are green; where there is no "
	    "terminal they stand in [[ ]].",
	    0, 0, NULL },
	{ 0, "extract", QZ_OPT_STR, &extract, "NAME", "Write the bytes of the file or tensor NAME.",
	    0, 0, NULL },
	{ 'o', "output", QZ_OPT_STR, &output, "FILE",
	    "Write to FILE instead of standard output. It appears complete or not at all.", 0, 0,
	    NULL },
	QZ_OPT_SYNC,
	QZ_OPT_LAST,
};
static const struct qz_tool tool = { "qz-show", "look into shards and GGUF files", "SHARD...", opts,
	"qz-show --rows 3 tokens.qz" };

struct view {
	struct qz_out *o;
	struct qz_buf text;
	struct show_rows rows;
	bool found;
};

/* The data of the current record, in windows: to the output, or into a buffer. */
static int
copy_data(struct qz_shard_reader *r, const struct qz_record *rec, struct qz_out *o,
    struct qz_buf *b, struct qz_err *e)
{
	char window[64 * 1024];

	for (uint64_t left = rec->nbytes; left;) {
		size_t n = left < sizeof window ? (size_t)left : sizeof window;

		if (qz_shard_read(r, window, n, e) < 0 || (o && qz_out_write(o, window, n, e) < 0))
			return -1;
		if (b)
			qz_buf_add(b, window, n);
		left -= n;
	}
	return qz_shard_finish(r, e);
}

static int
keep_tokenizer(
    struct view *v, struct qz_shard_reader *r, const struct qz_record *rec, struct qz_err *e)
{
	struct qz_buf *b = NULL;

	for (int i = 0; i < QZ_TEXT_FILES; i++)
		if (!strcmp(rec->name, qz_text_file_names[i]))
			b = &v->rows.files[i];
	if (!b || v->rows.json)
		return 0;
	qz_buf_clear(b);
	return copy_data(r, rec, NULL, b, e) < 0 ? -1 : qz_buf_ok(b, e);
}

static int
look(struct view *v, struct qz_shard_reader *r, const char *name, const struct qz_record *rec,
    struct qz_err *e)
{
	char hex[33];

	if (extract) {
		bool member = rec->type == QZ_REC_BLOB || rec->type == QZ_REC_TENSOR;

		if (!member || v->found || strcmp(rec->name, extract))
			return 0;
		v->found = true;
		return copy_data(r, rec, v->o, NULL, e);
	}
	if (rows) {
		if (rec->type == QZ_REC_BLOB)
			return keep_tokenizer(v, r, rec, e);
		return rec->type == QZ_REC_TOKENS ? show_rows(&v->rows, r, rec, v->o, e) : 0;
	}
	if (qz_shard_finish(r, e) < 0)
		return -1;
	qz_buf_clear(&v->text);
	if (verify) {
		if (rec->type != QZ_REC_END)
			return 0;
		qz_digest_hex(rec->end.digest, hex);
		qz_buf_fmt(&v->text, "%s  %s  ok, %llu records\n", hex, name,
		    (unsigned long long)rec->end.records + 1);
	} else if (json) {
		show_record_json(rec, &v->text);
	} else if (rec->type == QZ_REC_HEAD) {
		show_head(qz_shard_head(r), name, &v->text);
	} else if (rec->type == QZ_REC_PROVENANCE) {
		if (show_provenance(rec->meta, &v->text, e) < 0)
			return -1;
	} else {
		show_record(rec, &v->text);
	}
	if (qz_buf_ok(&v->text, e) < 0)
		return -1;
	return qz_out_write(v->o, v->text.data, v->text.n, e);
}

/* Takes in. */
static int
show_gguf_file(struct view *v, struct qz_in *in, struct qz_err *e)
{
	int ret;

	if (rows || extract)
		ret = qz_fail(e, QZ_EUSAGE,
		    "%s: is a GGUF file: --rows and --extract are for shards", qz_in_name(in));
	else
		ret = show_gguf(in, json, verify, &v->text, e);
	if (ret == 0)
		ret = qz_out_write(v->o, v->text.data, v->text.n, e);
	qz_buf_clear(&v->text);
	qz_in_close(in);
	return ret;
}

static int
show_file(struct view *v, const char *path, struct qz_err *e)
{
	struct qz_in *in = qz_in_open(path, e);

	if (in && show_is_gguf(in, e))
		return show_gguf_file(v, in, e);
	struct qz_shard_reader *r = in ? qz_shard_reader_new(in, rows ? "tokens" : NULL, e) : NULL;
	const struct qz_record *rec;
	int got = r ? 1 : -1;

	while (got > 0 && (got = qz_shard_next(r, &rec, e)) > 0)
		if (look(v, r, qz_in_name(in), rec, e) < 0)
			got = -1;
	qz_shard_reader_free(r);
	qz_in_close(in);
	return got;
}

static int
run(char **files, int n, struct qz_err *e)
{
	struct view v = { .rows = { .json = json, .left = -1 } };
	int ret = 0;

	if (rows && strcmp(rows, "all") &&
	    (qz_num_int(rows, &v.rows.left, e) < 0 || v.rows.left < 0))
		qz_usage("--rows: '%s' is neither a count of rows nor 'all'", rows);
	if (rows && extract)
		qz_usage("--rows and --extract print different things: choose one");
	v.o = qz_out_open(output, !extract, e);
	if (!v.o)
		return -1;
	for (int i = 0; i < n && ret == 0; i++)
		ret = show_file(&v, files[i], e);
	if (ret == 0 && extract && !v.found)
		ret = qz_fail(e, QZ_EDATA, "%s: has no file or tensor named %s", files[0], extract);
	if (ret == 0)
		ret = qz_out_commit(v.o, e);
	qz_out_close(v.o);
	qz_buf_free(&v.text);
	show_rows_free(&v.rows);
	return ret;
}

int
main(int argc, char **argv)
{
	struct qz_err e;
	int first = qz_cli(&tool, argc, argv);
	char *standard_input[] = { "-" };
	char **files = first < argc ? argv + first : standard_input;

	if (first == argc && qz_on_terminal(0))
		qz_usage("which shard?");
	if (run(files, first < argc ? argc - first : 1, &e) < 0)
		qz_die(&e);
	return QZ_OK;
}

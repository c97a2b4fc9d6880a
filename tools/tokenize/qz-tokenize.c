/* qz-tokenize - training data to rows of tokens with masks. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libcore/base/hash.h"
#include "libcore/io/in.h"
#include "libcore/model/modeltext.h"
#include "libcore/shard/provenance.h"
#include "tools/common/cli.h"
#include "tools/common/rowview.h"
#include "tools/tokenize/tokenize.h"

static const char *model, *format = "auto", *prompt_field, *response_field, *output;
static const char *train_on = "response", *special = "auto", *cut = "end", *invalid = "refuse";
static const char *date = "2024-07-26";
static int64_t length, show, skip_bad, zstd_level, seed = 42;
static struct qz_list fields, roles;
static bool pack, by_length, parse_special, stats, as_json;

static const struct qz_opt opts[] = {
	{ 'm', "model", QZ_OPT_STR, &model, "MODEL",
	    "Take tokenizer and chat template from MODEL: a folder, an archive, a GGUF file or a "
	    "shard. A folder may hold tokenizer files only.",
	    0, 0, NULL },
	{ 'f', "format", QZ_OPT_STR, &format, "FORMAT",
	    "Read data of this format: auto, chat, prompt, alpaca, dolly, text, or a template "
	    "FILE.jinja. Auto looks at the fields of the first record and says what it took.",
	    0, 0, NULL },
	{ 'p', "prompt", QZ_OPT_STR, &prompt_field, "FIELD",
	    "Take prompts from this field. In a chat it is the field with the messages.", 0, 0,
	    NULL },
	{ 'r', "response", QZ_OPT_STR, &response_field, "FIELD", "Take responses from this field.",
	    0, 0, NULL },
	{ 0, "field", QZ_OPT_LIST, &fields, "NAME=FIELD",
	    "The data calls the field NAME, as the formats have it, FIELD: instruction=task. May "
	    "be given several times.",
	    0, 0, NULL },
	{ 0, "role", QZ_OPT_LIST, &roles, "WORD=ROLE",
	    "Who is WORD in the data has this role: bot=assistant. May be given several times.", 0,
	    0, NULL },
	{ 0, "date", QZ_OPT_STR, &date, "DATE",
	    "Give templates that ask for the date this one, as 2024-12-31. It is never that of the "
	    "day, so that runs repeat.",
	    0, 0, NULL },
	{ 0, "train-on", QZ_OPT_STR, &train_on, "WHAT", "Train on the response, or on all tokens.",
	    0, 0, "response|all" },
	{ 0, "special", QZ_OPT_STR, &special, "WHAT",
	    "Add the special tokens that the model wants around a text (auto), or none.", 0, 0,
	    "auto|none" },
	{ 0, "parse-special", QZ_OPT_FLAG, &parse_special, NULL,
	    "Read the text of a special token in the data as that token. Without it, <|im_end|> in "
	    "a prompt stays plain text.",
	    0, 0, NULL },
	{ 'l', "length", QZ_OPT_INT, &length, "N",
	    "Cut documents at N tokens. 0 leaves them as they are; with --pack it is the length of "
	    "a row.",
	    0, 1 << 24, NULL },
	{ 0, "cut", QZ_OPT_STR, &cut, "WHAT",
	    "Of a document that is too long cut its end, its start, drop it, or split it into "
	    "rows. "
	    "Split suits plain text: the document goes on in the next row.",
	    0, 0, "end|start|drop|split" },
	{ 0, "pack", QZ_OPT_FLAG, &pack, NULL,
	    "Put several documents into a row of --length tokens. They never attend to each other. "
	    "The longest of some 32,000 documents are placed first, each in the first row with "
	    "room.",
	    0, 0, NULL },
	{ 0, "by-length", QZ_OPT_FLAG, &by_length, NULL,
	    "Write the rows of some 32,000 documents with the longest first. Batches of like rows "
	    "need little padding.",
	    0, 0, NULL },
	{ 0, "seed", QZ_OPT_INT, &seed, "N", "Shuffle packed rows by this seed.", 0, 1e15, NULL },
	{ 0, "invalid", QZ_OPT_STR, &invalid, "WHAT",
	    "Refuse bytes that are not UTF-8 and half surrogate pairs in JSON, or replace them "
	    "with "
	    "U+FFFD.",
	    0, 0, "refuse|replace" },
	{ 0, "skip-bad", QZ_OPT_INT, &skip_bad, "N",
	    "Pass over up to N broken records. They are named and counted.", 0, 1e15, NULL },
	{ 0, "show", QZ_OPT_INT, &show, "N",
	    "Draw the first N rows with what is trained in colour.", 0, 1e9, NULL },
	{ 0, "stats", QZ_OPT_FLAG, &stats, NULL, "Add a histogram of lengths to the report.", 0, 0,
	    NULL },
	{ 0, "json", QZ_OPT_FLAG, &as_json, NULL,
	    "Print the report as a line of JSON, with -q too.", 0, 0, NULL },
	{ 'j', "threads", QZ_OPT_INT, &qz_threads, "N",
	    "Use N threads; 0, the default, takes all processors. The output does not depend on "
	    "it.",
	    0, 1024, NULL },
	{ 0, "zstd", QZ_OPT_INT, &zstd_level, "LEVEL",
	    "Compress the shard at this level. 0 stores it as it is.", 0, 19, NULL },
	{ 'o', "output", QZ_OPT_STR, &output, "FILE",
	    "Write to FILE instead of standard output. It appears complete or not at all.", 0, 0,
	    NULL },
	QZ_OPT_SYNC,
	QZ_OPT_LAST,
};
static const struct qz_tool tool = { "qz-tokenize", "turn training data into tokens", "[DATA...]",
	opts, "qz-tokenize -m base.qz -o train.qz chats.jsonl" };

enum { TOLD_MAX = 10 }; /* broken records that are named, of each file */

struct work {
	struct qz_model_text text;
	struct qz_template *user_template;
	struct qz_renames fields, roles;
	struct job job;
	struct packer packer;
	struct lengths lengths;
	struct qz_out *out;
	struct qz_shard_writer *w;
	struct qz_step step;
	struct report *reports;
	const char *file; /* at hand */
	uint64_t told;
	struct qz_rowview view;
};

static int
see(void *arg, uint64_t row, const uint32_t *ids, const uint8_t *mask, uint64_t n,
    const uint64_t *doc_ends, uint64_t n_docs, struct qz_err *e)
{
	struct work *w = arg;
	struct qz_buf b = { 0 };
	int ret = qz_rowview_put(&w->view, row, ids, mask, n, doc_ends, n_docs, &b, e);

	if (ret == 0 && write(STDERR_FILENO, b.data, b.n) < 0)
		ret = qz_fail_errno(e, "<stderr>: cannot write");
	qz_buf_free(&b);
	return ret;
}

/* Noon of --date in seconds since 1970. */
static int64_t
date_seconds(void)
{
	struct tm t = { .tm_hour = 12 };
	const char *end = strptime(date, "%Y-%m-%d", &t);
	int day = t.tm_mday;
	time_t seconds = timegm(&t); /* makes 30 February 2 March */

	if (strlen(date) != 10 || !end || *end || day != t.tm_mday)
		qz_usage("--date: '%s' is no date like 2024-12-31", date);
	return seconds;
}

static int
docs_options(struct work *w, struct qz_docs_options *o, struct qz_err *e)
{
	struct qz_buf source = { 0 };
	int f = qz_docs_format_by_name(format);

	*o = (struct qz_docs_options){ .prompt_field = prompt_field,
		.response_field = response_field,
		.fields = w->fields,
		.roles = w->roles,
		.model_template = w->text.template,
		.tool_template = w->text.tool_template,
		.train_all = w->job.encoder.train_all,
		.skip_bad = skip_bad,
		.repair = !strcmp(invalid, "replace"),
		.vars = { .bos_token = w->text.bos,
		    .eos_token = w->text.eos,
		    .pad_token = w->text.pad,
		    .unk_token = w->text.unk,
		    .now = date_seconds() } };
	if (f >= 0) {
		o->format = (enum qz_docs_format)f;
		return 0;
	}
	if (!strstr(format, ".jinja"))
		qz_usage(
		    "--format: '%s' is none of auto, chat, prompt, alpaca, dolly, text, FILE.jinja",
		    format);
	o->format = QZ_DOCS_JINJA;
	o->user_template = w->user_template;
	if (w->user_template)
		return 0;
	if (qz_file_read(format, &source, 1 << 20, e) < 0)
		return -1;
	w->user_template = qz_template_new(source.data ? source.data : "", source.n, e);
	qz_buf_free(&source);
	o->user_template = w->user_template;
	return w->user_template ? 0 : qz_at(e, "%s", format);
}

static int
take(void *arg, const uint32_t *ids, const uint8_t *mask, size_t n, struct qz_err *e)
{
	struct work *w = arg;

	lengths_add(&w->lengths, n);
	return packer_add(&w->packer, ids, mask, n, e);
}

static void
skip(void *arg, const struct qz_err *e)
{
	struct work *w = arg;

	if (w->told++ < TOLD_MAX)
		qz_say("%s: %s: passed over", w->file, e->msg);
	if (w->told == TOLD_MAX)
		qz_say("%s: further broken records are only counted", w->file);
}

static int
add_file(struct work *w, const char *path, struct report *r, struct qz_err *e)
{
	struct qz_docs_options o;
	struct data *data = data_open(path, e);
	struct qz_docs *docs = NULL;
	int ret = -1;

	r->name = path;
	if (data && docs_options(w, &o, e) == 0) {
		w->file = data_name(data);
		w->told = 0;
		docs = qz_docs_new(&o, data_read, data, e);
		w->job.options = &o;
		ret = docs ? run_batches(&w->job, docs, &r->c, e) : -1;
		if (docs)
			r->format = qz_docs_format_name(qz_docs_found(docs));
		if (ret < 0)
			qz_at(e, "%s", w->file);
		else
			qz_step_input(&w->step, "data", data_digest(data));
	}
	qz_docs_free(docs);
	data_close(data);
	return ret;
}

static int
open_shard(struct work *w, struct qz_err *e)
{
	const struct qz_text_files *f = &w->text.files;
	struct qz_buf meta = { 0 };
	char hex[33];
	struct qz_digest d = qz_tokenizer_digest(w->text.tokenizer);

	qz_digest_hex(d, hex);
	qz_step_input(&w->step, "tokenizer", d);
	qz_buf_fmt(&meta, "{\"tokenizer\":\"%s\",\"length\":%lld,\"packed\":%s}", hex,
	    (long long)length, pack ? "true" : "false");
	w->out = qz_out_open(output, false, e);
	if (w->out)
		w->w = qz_shard_writer_new(
		    w->out, "tokens", meta.data, NULL, 0, (int)zstd_level, e);
	qz_buf_free(&meta);
	if (!w->w)
		return -1;
	for (int i = 0; i < QZ_TEXT_FILES; i++)
		if (f->file[i].n &&
		    qz_shard_blob(w->w, qz_text_file_names[i], f->file[i].s, f->file[i].n, e) < 0)
			return -1;
	return 0;
}

/* What an option was given, one behind the other. */
static void
note_list(struct work *w, const char *option, const struct qz_list *given)
{
	struct qz_buf b = { 0 };

	for (size_t i = 0; i < given->n; i++)
		qz_buf_fmt(&b, "%s%s", i ? " " : "", given->items[i]);
	if (b.data)
		qz_step_option_str(&w->step, option, b.data);
	qz_buf_free(&b);
}

static void
note_options(struct work *w)
{
	qz_step_option_str(&w->step, "format", w->reports[0].format);
	if (prompt_field)
		qz_step_option_str(&w->step, "prompt", prompt_field);
	if (response_field)
		qz_step_option_str(&w->step, "response", response_field);
	note_list(w, "field", &fields);
	note_list(w, "role", &roles);
	qz_step_option_str(&w->step, "train_on", train_on);
	qz_step_option_str(&w->step, "special", special);
	qz_step_option_num(&w->step, "length", (double)length);
	qz_step_option_str(&w->step, "cut", cut);
	qz_step_option_num(&w->step, "pack", pack);
	if (pack)
		qz_step_option_num(&w->step, "seed", (double)seed);
	if (by_length)
		qz_step_option_num(&w->step, "by_length", 1);
	if (strcmp(invalid, "refuse") != 0)
		qz_step_option_str(&w->step, "invalid", invalid);
	qz_step_option_num(&w->step, "parse_special", parse_special);
	qz_step_option_str(&w->step, "date", date);
}

static int
close_shard(struct work *w, struct qz_err *e)
{
	struct qz_buf chain = { 0 };
	int ret;

	note_options(w);
	ret = qz_step_chain(&w->step, tool.name, NULL, &chain, e);
	if (ret == 0)
		ret = qz_shard_provenance_put(w->w, chain.data, e);
	qz_buf_free(&chain);
	if (ret < 0 || qz_shard_writer_end(w->w, e) < 0)
		return -1;
	return qz_out_commit(w->out, e);
}

static int
check_trained(const struct work *w, int n, struct qz_err *e)
{
	const char *name = w->reports[0].name;
	struct counts c = { 0 };

	for (int i = 0; i < n; i++)
		counts_add(&c, &w->reports[i].c);
	if (c.trained)
		return 0;
	if (!c.docs)
		return qz_fail(e, QZ_EDATA, "%s: there is no document in the data", name);
	if (c.dropped == c.docs)
		return qz_fail(e, QZ_EDATA,
		    "%s: each of %llu documents is longer than the %lld tokens of --length", name,
		    (unsigned long long)c.docs, (long long)length);
	if (c.truncated)
		return qz_fail(e, QZ_EDATA,
		    "%s: none of %llu documents has a token to learn: --length %lld cuts their "
		    "answers off, or they are empty",
		    name, (unsigned long long)c.docs, (long long)length);
	return qz_fail(e, QZ_EDATA,
	    "%s: none of %llu documents has a token to learn: they have no answer, or an empty one",
	    name, (unsigned long long)c.docs);
}

static enum cut
cut_by_name(void)
{
	static const char *const names[] = { "end", "start", "drop", "split" };
	int i = 0;

	while (strcmp(cut, names[i]) != 0) /* the table of options has checked it */
		i++;
	return (enum cut)i;
}

static void
configure(struct work *w)
{
	w->job = (struct job){ .pool = w->job.pool, .take = take, .skip = skip, .arg = w };
	w->job.encoder = (struct encoder){ .t = w->text.tokenizer,
		.add_special = !strcmp(special, "auto"),
		.parse_special = parse_special,
		.train_all = !strcmp(train_on, "all"),
		.length = (uint64_t)length,
		.cut = cut_by_name(),
		.rows = w->text.rows };
	w->packer = (struct packer){ .w = w->w,
		.order = pack        ? ORDER_PACK
			 : by_length ? ORDER_LENGTH
				     : ORDER_INPUT,
		.length = (uint64_t)length,
		.seed = (uint64_t)seed,
		.show = (uint64_t)show,
		.see = see,
		.arg = w };
}

static int
tokenize(struct work *w, char **files, int n, struct qz_err *e)
{
	uint64_t before = 0;

	if (qz_model_text_open(&w->text, model, e) < 0 || open_shard(w, e) < 0)
		return -1;
	w->job.pool = qz_pool_new((int)qz_threads, e);
	if (!w->job.pool)
		return -1;
	qz_rowview_init(&w->view, w->text.tokenizer, STDERR_FILENO);
	configure(w);
	for (int i = 0; i < n; i++) {
		struct report *r = &w->reports[i];

		/* Rows do not span files: each is counted for itself. */
		if (add_file(w, files[i], r, e) < 0 || packer_flush(&w->packer, e) < 0)
			return -1;
		r->c.rows = w->packer.rows - before;
		r->c.capacity = pack ? r->c.rows * (uint64_t)length : 0;
		before = w->packer.rows;
	}
	return check_trained(w, n, e) < 0 ? -1 : close_shard(w, e);
}

static int
report(const struct work *w, size_t n, struct qz_err *e)
{
	struct report_style style = { .cut = cut_by_name(),
		.parse_special = parse_special,
		.packed = pack,
		.stats = stats,
		.json = as_json,
		.width = w->view.width };
	struct qz_buf text = { 0 };
	int ret;

	report_put(w->reports, n, &w->lengths, &style, &text);
	ret = write(STDERR_FILENO, text.data, text.n) < 0
		  ? qz_fail_errno(e, "<stderr>: cannot write")
		  : 0;
	qz_buf_free(&text);
	return ret;
}

static int
run(char **files, int n, struct qz_err *e)
{
	struct work *w = calloc(1, sizeof *w);
	int ret;

	if (!w)
		return qz_nomem(e, sizeof *w);
	w->fields = renames_read("field", &fields);
	w->roles = renames_read("role", &roles);
	w->reports = calloc((size_t)n, sizeof *w->reports);
	ret = w->reports ? tokenize(w, files, n, e) : qz_nomem(e, 1);
	if (ret == 0 && (!qz_quiet || stats || as_json))
		ret = report(w, (size_t)n, e);
	packer_free(&w->packer);
	qz_pool_free(w->job.pool);
	qz_shard_writer_free(w->w);
	qz_out_close(w->out);
	qz_template_free(w->user_template);
	qz_model_text_free(&w->text);
	qz_step_free(&w->step);
	renames_free(&w->fields);
	renames_free(&w->roles);
	free(w->reports);
	free(w);
	return ret;
}

int
main(int argc, char **argv)
{
	struct qz_err e;
	int first = qz_cli(&tool, argc, argv);
	char *standard_input[] = { "-" };

	if (!model)
		qz_usage("--model MODEL is needed: its tokenizer and chat template are used");
	if (pack && !length)
		qz_usage("--pack needs --length N, the tokens of a row");
	if (pack && by_length)
		qz_usage("--pack and --by-length are two ways to order rows: choose one");
	if (!strcmp(cut, "split") && !length)
		qz_usage("--cut split needs --length N, the tokens of a row");
	date_seconds(); /* before anything is open */
	if (run(first < argc ? argv + first : standard_input, first < argc ? argc - first : 1, &e) <
	    0)
		qz_die(&e);
	return QZ_OK;
}

#include "libcore/model/modeltext.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libcore/base/json.h"
#include "libcore/io/in.h"
#include "libcore/text/ready.h"

enum { FILE_MAX = 256 << 20 };

static char *
token_text(const struct qz_tokenizer *t, int64_t id)
{
	size_t n = 0;
	const char *s = id >= 0 ? qz_vocab_text(t, (uint32_t)id, &n) : NULL;

	return strndup(s ? s : "", n);
}

/* "chat_template" as models write it; a list names them. */
static const char *
template_of(const struct qz_json *config, const char *name)
{
	const struct qz_json *t = qz_json_get(config, "chat_template");

	if (!qz_json_is(t, QZ_JSON_ARRAY))
		return strcmp(name, "default") ? NULL : qz_json_string(t, NULL);
	for (const struct qz_json *c = qz_json_first(t); c; c = qz_json_next(c))
		if (!strcmp(qz_json_string(qz_json_get(c, "name"), ""), name))
			return qz_json_string(qz_json_get(c, "template"), NULL);
	return NULL;
}

/* NULL text: none. */
static int
compile(struct qz_template **t, const char *text, struct qz_err *e)
{
	*t = text ? qz_template_new(text, strlen(text), e) : NULL;
	return text && !*t ? qz_at(e, "chat template") : 0;
}

static int
load_template(struct qz_model_text *m, const struct qz_buf *file, struct qz_err *e)
{
	const struct qz_buf *c = &m->files[QZ_TEXT_CONFIG];
	struct qz_json *config;
	int ret;

	if (file->n)
		return compile(&m->template, file->data, e);
	if (!c->n)
		return 0;
	config = qz_json_parse(c->data, c->n, e);
	if (!config)
		return qz_at(e, "tokenizer_config.json");
	ret = compile(&m->template, template_of(config, "default"), e);
	if (!ret)
		ret = compile(&m->tool_template, template_of(config, "tool_use"), e);
	qz_json_free(config);
	return ret;
}

/* One file tells the tokenizer: the others are not carried on. */
static void
drop_unread(struct qz_model_text *m)
{
	static const enum qz_text_file order[] = { QZ_TEXT_JSON, QZ_TEXT_TEKKEN, QZ_TEXT_SPM };
	bool found = false;

	for (int i = 0; i < 3; i++) {
		if (found)
			qz_buf_free(&m->files[order[i]]);
		found |= m->files[order[i]].n > 0;
	}
}

/* s: where the files come from, or NULL. */
static int
load(struct qz_model_text *m, const struct qz_source *s, const struct qz_buf *jinja,
    struct qz_err *e)
{
	struct qz_text_files f = { 0 };
	const struct qz_tokenizer *t;

	drop_unread(m);
	for (int i = 0; i < QZ_TEXT_FILES; i++) {
		f.file[i].s = m->files[i].data;
		f.file[i].n = m->files[i].n;
	}
	if (s)
		f.ready.s = qz_source_ready(s, &f.ready.n);
	m->tokenizer = qz_tokenizer_load(&f, e);
	if (!m->tokenizer)
		return -1;
	t = m->tokenizer;
	m->bos = token_text(t, qz_vocab_bos(t));
	m->eos = token_text(t, qz_vocab_eos(t));
	m->pad = token_text(t, qz_vocab_pad(t));
	m->unk = token_text(t, qz_vocab_unk(t));
	if (!m->bos || !m->eos || !m->pad || !m->unk)
		return qz_nomem(e, 1);
	return load_template(m, jinja, e);
}

static void
keep(struct qz_buf *b, const struct qz_source *s, const char *name)
{
	const struct qz_source_file *f = qz_source_file(s, name);

	if (f)
		qz_buf_add(b, f->data, f->n);
}

int
qz_model_text_load(struct qz_model_text *m, const struct qz_source *s, struct qz_err *e)
{
	struct qz_buf jinja = { 0 };
	int ret;

	*m = (struct qz_model_text){ 0 };
	for (int i = 0; i < QZ_TEXT_FILES; i++)
		keep(&m->files[i], s, qz_text_file_names[i]);
	keep(&jinja, s, "chat_template.jinja");
	ret = load(m, s, &jinja, e);
	m->rows = qz_source_config(s) ? qz_source_config(s)->vocab : -1;
	qz_buf_free(&jinja);
	return ret < 0 ? qz_at(e, "%s", qz_source_name(s)) : 0;
}

/* A file of a folder; one that is not there is empty. */
static int
read_file(const char *folder, const char *name, struct qz_buf *b, struct qz_err *e)
{
	struct qz_buf path = { 0 };
	struct stat st;
	int ret = 0;

	qz_buf_fmt(&path, "%s/%s", folder, name);
	if (!path.failed && stat(path.data, &st) == 0)
		ret = qz_file_read(path.data, b, FILE_MAX, e);
	qz_buf_free(&path);
	return ret;
}

/* From config.json, of which a folder of tokenizer files has none. */
static int
read_rows(struct qz_model_text *m, const char *path, struct qz_err *e)
{
	struct qz_buf text = { 0 };
	struct qz_json *j = NULL;
	int ret = read_file(path, "config.json", &text, e);

	m->rows = -1;
	if (!ret && text.n) {
		j = qz_json_parse(text.data, text.n, e);
		ret = j ? 0 : qz_at(e, "config.json");
	}
	if (!ret && qz_json_get(j, "vocab_size") &&
	    qz_json_int(qz_json_get(j, "vocab_size"), 1, INT32_MAX, &m->rows, e) < 0)
		ret = qz_at(e, "config.json: vocab_size");
	qz_json_free(j);
	qz_buf_free(&text);
	return ret;
}

static int
open_folder(struct qz_model_text *m, const char *path, struct qz_err *e)
{
	struct qz_buf jinja = { 0 };
	int ret = read_file(path, "chat_template.jinja", &jinja, e);

	*m = (struct qz_model_text){ 0 };
	if (!ret)
		ret = read_rows(m, path, e);
	for (int i = 0; i < QZ_TEXT_FILES && !ret; i++)
		ret = read_file(path, qz_text_file_names[i], &m->files[i], e);
	if (!ret)
		ret = load(m, NULL, &jinja, e);
	qz_buf_free(&jinja);
	return ret < 0 ? qz_at(e, "%s", path) : 0;
}

int
qz_model_text_open(struct qz_model_text *m, const char *path, struct qz_err *e)
{
	struct qz_source *s;
	struct stat st;
	int ret;

	*m = (struct qz_model_text){ 0 };
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return open_folder(m, path, e);
	s = qz_source_open(path, e);
	if (!s)
		return -1;
	ret = qz_model_text_load(m, s, e);
	qz_source_close(s);
	return ret;
}

/* Of the file that tells the tokenizer. */
static int
put_ready(struct qz_shard_writer *w, const struct qz_source *s, const struct qz_source_file *f,
    struct qz_err *e)
{
	enum qz_text_file kind = qz_source_file(s, qz_text_file_names[QZ_TEXT_JSON])
				     ? QZ_TEXT_JSON
				     : QZ_TEXT_TEKKEN;
	struct qz_buf b = { 0 };
	int ret = 0;

	if (!strcmp(f->name, qz_text_file_names[kind]))
		ret = qz_ready_make(kind, f->data, f->n, &b, e);
	if (ret > 0)
		ret = qz_shard_blob(w, QZ_READY_NAME, b.data, b.n, e);
	qz_buf_free(&b);
	return ret;
}

int
qz_model_text_put(struct qz_shard_writer *w, const struct qz_source *s, const struct qz_buf *config,
    size_t *n_files, struct qz_err *e)
{
	const struct qz_source_file *files;
	size_t n = qz_source_files(s, &files);

	for (; *n_files < n; ++*n_files) {
		const struct qz_source_file *f = &files[*n_files];
		bool changed = config && !strcmp(f->name, "config.json");

		if (qz_shard_blob(w, f->name, changed ? config->data : f->data,
			changed ? config->n : f->n, e) < 0 ||
		    put_ready(w, s, f, e) < 0)
			return -1;
	}
	return 0;
}

void
qz_model_text_free(struct qz_model_text *m)
{
	qz_tokenizer_free(m->tokenizer);
	qz_template_free(m->template);
	qz_template_free(m->tool_template);
	for (int i = 0; i < QZ_TEXT_FILES; i++)
		qz_buf_free(&m->files[i]);
	free(m->bos);
	free(m->eos);
	free(m->pad);
	free(m->unk);
	*m = (struct qz_model_text){ 0 };
}

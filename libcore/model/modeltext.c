#include "libcore/model/modeltext.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libcore/base/json.h"
#include "libcore/io/in.h"
#include "libcore/model/templates.h"
#include "libcore/text/ready.h"

enum { FILE_MAX = 256 << 20 };

static char *
token_text(const struct qz_tokenizer *t, int64_t id)
{
	size_t n = 0;
	const char *s = id >= 0 ? qz_vocab_text(t, (uint32_t)id, &n) : NULL;

	return strndup(s ? s : "", n);
}

/* NULL text: none. */
static int
compile(struct qz_template **t, const char *text, struct qz_err *e)
{
	*t = text ? qz_template_new(text, strlen(text), e) : NULL;
	return text && !*t ? qz_at(e, "chat template") : 0;
}

static int
load_templates(
    struct qz_model_text *m, const struct qz_source_file *files, size_t n, struct qz_err *e)
{
	struct qz_templates t;
	int ret = qz_templates_load(&t, files, n, NULL, e);

	if (ret < 0)
		return -1;
	ret = compile(&m->template, qz_templates_find(&t, "default"), e);
	if (ret == 0)
		ret = compile(&m->tool_template, qz_templates_find(&t, "tool_use"), e);
	qz_templates_free(&t);
	return ret;
}

/* One file tells the tokenizer: the others are not carried on. */
static void
drop_unread(struct qz_model_text *m)
{
	static const enum qz_text_file order[] = { QZ_TEXT_JSON, QZ_TEXT_TEKKEN, QZ_TEXT_SPM };
	bool found = false;

	for (int i = 0; i < 3; i++) {
		if (found) {
			m->files.file[order[i]].s = NULL;
			m->files.file[order[i]].n = 0;
		}
		found |= m->files.file[order[i]].n > 0;
	}
}

static int
load(struct qz_model_text *m, struct qz_err *e)
{
	const struct qz_tokenizer *t;

	drop_unread(m);
	m->tokenizer = qz_tokenizer_load(&m->files, e);
	if (!m->tokenizer)
		return -1;
	t = m->tokenizer;
	m->bos = token_text(t, qz_vocab_bos(t));
	m->eos = token_text(t, qz_vocab_eos(t));
	m->pad = token_text(t, qz_vocab_pad(t));
	m->unk = token_text(t, qz_vocab_unk(t));
	if (!m->bos || !m->eos || !m->pad || !m->unk)
		return qz_nomem(e, 1);
	return 0;
}

int
qz_model_text_load(struct qz_model_text *m, const struct qz_source *s, struct qz_err *e)
{
	const struct qz_source_file *files;
	size_t n = qz_source_files(s, &files);
	int ret;

	*m = (struct qz_model_text){ 0 };
	for (int i = 0; i < QZ_TEXT_FILES; i++) {
		const struct qz_source_file *f = qz_source_file(s, qz_text_file_names[i]);

		if (f) {
			m->files.file[i].s = f->data;
			m->files.file[i].n = f->n;
		}
	}
	m->files.ready.s = qz_source_ready(s, &m->files.ready.n);
	ret = load_templates(m, files, n, e);
	if (ret == 0)
		ret = load(m, e);
	m->rows = qz_source_config(s) ? qz_source_config(s)->vocab : -1;
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

/* The templates of a folder that need not be a whole model's. */
static int
open_templates(struct qz_model_text *m, const char *path, struct qz_err *e)
{
	static const char *const fixed[] = { "chat_template.jinja", "chat_template.json" };
	enum { FIXED = sizeof fixed / sizeof *fixed, MOST = FIXED + QZ_TEMPLATES_MAX };
	const struct qz_buf *config = &m->folder[QZ_TEXT_CONFIG];
	struct qz_source_file files[MOST + 1];
	struct qz_buf data[MOST] = { { 0 } };
	char **more;
	size_t n_more, n = 0;
	int ret = qz_template_files(path, &more, &n_more, e);

	for (size_t i = 0; ret == 0 && i < FIXED + n_more; i++) {
		const char *name = i < FIXED ? fixed[i] : more[i - FIXED];

		ret = read_file(path, name, &data[i], e);
		if (data[i].n)
			files[n++] = (struct qz_source_file){ name, data[i].data, data[i].n };
	}
	if (config->n)
		files[n++] = (struct qz_source_file){ qz_text_file_names[QZ_TEXT_CONFIG],
			config->data, config->n };
	if (ret == 0)
		ret = load_templates(m, files, n, e);
	for (size_t i = 0; i < MOST; i++)
		qz_buf_free(&data[i]);
	while (n_more)
		free(more[--n_more]);
	free(more);
	return ret;
}

static int
open_folder(struct qz_model_text *m, const char *path, struct qz_err *e)
{
	int ret;

	*m = (struct qz_model_text){ 0 };
	ret = read_rows(m, path, e);
	for (int i = 0; i < QZ_TEXT_FILES && !ret; i++)
		ret = read_file(path, qz_text_file_names[i], &m->folder[i], e);
	for (int i = 0; i < QZ_TEXT_FILES; i++) {
		m->files.file[i].s = m->folder[i].data;
		m->files.file[i].n = m->folder[i].n;
	}
	if (!ret)
		ret = open_templates(m, path, e);
	if (!ret)
		ret = load(m, e);
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
	m->source = s;
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
		qz_buf_free(&m->folder[i]);
	qz_source_close(m->source);
	free(m->bos);
	free(m->eos);
	free(m->pad);
	free(m->unk);
	*m = (struct qz_model_text){ 0 };
}

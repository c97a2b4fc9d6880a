/* The formats as tables: which fields a record has, and the text that it becomes. */
#include "libcore/text/docs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/records.h"

struct qz_docs {
	struct qz_docs_options o;
	struct qz_records in;
	enum qz_docs_format found;
	bool opened;
	uint64_t skipped;
	struct qz_rendering r;
	struct qz_doc doc;
	struct qz_buf scratch;
};

static const char *const format_names[] = { "auto", "chat", "prompt", "alpaca", "dolly", "text",
	"jinja" };
enum { N_FORMATS = sizeof format_names / sizeof *format_names };

int
qz_docs_format_by_name(const char *name)
{
	for (int i = 0; i < N_FORMATS; i++)
		if (!strcmp(name, format_names[i]))
			return i;
	return -1;
}

const char *
qz_docs_format_name(enum qz_docs_format f)
{
	return (unsigned)f < N_FORMATS ? format_names[f] : "unknown";
}

/* Told by the fields of the first record; the first row that fits.  Also the names that a format's
 * two fields may have. */
static const struct row {
	enum qz_docs_format format;
	const char *a, *b; /* b NULL: one is enough */
} rows[] = {
	{ QZ_DOCS_CHAT, "messages", NULL },
	{ QZ_DOCS_CHAT, "conversations", NULL },
	{ QZ_DOCS_ALPACA, "instruction", "output" },
	{ QZ_DOCS_DOLLY, "instruction", "response" },
	{ QZ_DOCS_PROMPT, "prompt", "completion" },
	{ QZ_DOCS_PROMPT, "prompt", "response" },
	{ QZ_DOCS_PROMPT, "question", "answer" },
	{ QZ_DOCS_PROMPT, "input", "output" },
	{ QZ_DOCS_TEXT, "text", NULL },
};
enum { N_ROWS = sizeof rows / sizeof *rows };

/* A format's text: pieces of the template and fields of the record; the answer follows the last.  Some
 * belong to it only where the optional field is there and not empty, some only where it is not. */
struct piece {
	const char *text, *field;
	bool when_there, when_not;
};

/* As Stanford Alpaca published it. */
static const struct piece alpaca[] = {
	{ "Below is an instruction that describes a task, paired with an input that provides "
	  "further context. "
	  "Write a response that appropriately completes the request.\n\n### Instruction:\n",
	    NULL, true, false },
	{ "Below is an instruction that describes a task. Write a response that appropriately "
	  "completes the "
	  "request.\n\n### Instruction:\n",
	    NULL, false, true },
	{ NULL, "instruction", false, false },
	{ "\n\n### Input:\n", NULL, true, false },
	{ NULL, "input", true, false },
	{ "\n\n### Response:\n", NULL, false, false },
	{ NULL, NULL, false, false },
};

static const struct piece dolly[] = {
	{ "[INST] Below is an instruction that describes a task, paired with further context. "
	  "Write a response "
	  "that completes the request.\n\n### Instruction:\n",
	    NULL, true, false },
	{ "[INST] Below is an instruction that describes a task. Write a response that completes "
	  "the request."
	  "\n\n### Instruction:\n",
	    NULL, false, true },
	{ NULL, "instruction", false, false },
	{ "\n\n### Context:\n", NULL, true, false },
	{ NULL, "context", true, false },
	{ "\n\n### Response: [/INST] ", NULL, false, false },
	{ NULL, NULL, false, false },
};

static int
add(struct qz_docs *d, const char *s, size_t n, bool from_data, bool trained, struct qz_err *e)
{
	struct qz_rendering *r = &d->r;
	struct qz_segment *more;

	if (!n)
		return 0;
	if (r->n_segments == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 16;

		more = realloc(r->segments, cap * sizeof *more);
		if (!more)
			return qz_nomem(e, cap * sizeof *more);
		r->segments = more;
		r->cap = cap;
	}
	r->segments[r->n_segments++] = (struct qz_segment){
		.at = r->text.n, .n = n, .from_data = from_data, .trained = trained, .message = -1
	};
	qz_buf_add(&r->text, s, n);
	return qz_buf_ok(&r->text, e);
}

static const char *
text_field(const struct qz_json *record, const char *name, struct qz_err *e)
{
	const struct qz_json *v = qz_json_get(record, name);

	if (qz_json_is(v, QZ_JSON_STRING))
		return qz_json_string(v, "");
	if (!v)
		qz_fail(e, QZ_EDATA, "the field \"%s\" is missing", name);
	else
		qz_fail(e, QZ_EDATA, "the field \"%s\" is %s, expected a string", name,
		    qz_json_kind_name(qz_json_kind(v)));
	return NULL;
}

/* The answer's field: the one the user names, or the one of two that is there. */
static const char *
answer_field(
    const struct qz_docs *d, const struct qz_json *record, const char *usual, const char *other)
{
	if (d->o.response_field)
		return d->o.response_field;
	return !qz_json_get(record, usual) && qz_json_get(record, other) ? other : usual;
}

static int
instruction(struct qz_docs *d, const struct qz_json *record, const struct piece *p,
    const char *optional, const char *answer, struct qz_err *e)
{
	const struct qz_json *v = qz_json_get(record, optional);
	bool there = v && qz_json_kind(v) != QZ_JSON_NULL;
	const char *s = there ? text_field(record, optional, e) : "";

	if (!s)
		return -1;
	there = *s != 0;
	for (; p->text || p->field; p++) {
		if ((p->when_there && !there) || (p->when_not && there))
			continue;
		s = p->text
			? p->text
			: text_field(record,
			      !p->when_there && d->o.prompt_field ? d->o.prompt_field : p->field,
			      e);
		if (!s || add(d, s, strlen(s), p->field != NULL, false, e) < 0)
			return -1;
	}
	s = text_field(record, answer, e);
	return s ? add(d, s, strlen(s), true, true, e) : -1;
}

static int
prompt(struct qz_docs *d, const struct qz_json *record, struct qz_err *e)
{
	const char *a = d->o.prompt_field, *b = d->o.response_field, *s;

	for (int i = 0; i < N_ROWS && !(a && b); i++)
		if (rows[i].format == QZ_DOCS_PROMPT &&
		    (a      ? !strcmp(a, rows[i].a)
			: b ? !strcmp(b, rows[i].b)
			    : qz_json_get(record, rows[i].a) && qz_json_get(record, rows[i].b))) {
			a = a ? a : rows[i].a;
			b = b ? b : rows[i].b;
		}
	a = a ? a : "prompt";
	b = b ? b : "completion";
	s = text_field(record, a, e);
	if (!s || add(d, s, strlen(s), true, false, e) < 0)
		return -1;
	s = text_field(record, b, e);
	return s ? add(d, s, strlen(s), true, true, e) : -1;
}

static int
plain(struct qz_docs *d, const char *s, size_t n, struct qz_err *e)
{
	size_t bad = qz_utf8_valid(s, n);
	const char *nul = memchr(s, 0, n);

	if (bad < n)
		return qz_fail(e, QZ_EDATA, "byte %zu is not valid UTF-8", bad);
	if (nul)
		return qz_fail(e, QZ_EDATA, "byte %zu is NUL, expected text", (size_t)(nul - s));
	return add(d, s, n, false, true, e); /* as written: special tokens in raw text are meant */
}

static int
plain_field(struct qz_docs *d, const struct qz_json *record, struct qz_err *e)
{
	const char *name = d->o.response_field ? d->o.response_field : d->o.prompt_field;
	const char *s = text_field(record, name ? name : "text", e);

	return s ? plain(d, s, strlen(s), e) : -1;
}

/* ---- conversations ---- */

/* One turn of ShareGPT as a message. */
static int
share_turn(struct qz_buf *b, const struct qz_json *turn, struct qz_err *e)
{
	static const struct {
		const char *from, *role;
	} roles[] = { { "human", "user" }, { "user", "user" }, { "gpt", "assistant" },
		{ "assistant", "assistant" }, { "chatgpt", "assistant" }, { "bing", "assistant" },
		{ "bard", "assistant" }, { "model", "assistant" }, { "function_call", "assistant" },
		{ "system", "system" }, { "tool", "tool" }, { "function", "tool" },
		{ "observation", "tool" } };
	const char *from = text_field(turn, "from", e), *value;

	if (!from)
		return -1;
	value = text_field(turn, "value", e);
	if (!value)
		return -1;
	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
		if (!strcmp(roles[i].from, from)) {
			qz_buf_fmt(b, "%s{\"role\":\"%s\",\"content\":", b->n > 1 ? "," : "",
			    roles[i].role);
			qz_json_put_string(b, value, strlen(value));
			qz_buf_chr(b, '}');
			return 0;
		}
	return qz_fail(
	    e, QZ_EDATA, "a turn is from \"%.100s\", expected human, gpt, system or tool", from);
}

/* ShareGPT's turns as messages, for the caller to free; NULL with an error. */
static struct qz_json *
from_share(struct qz_docs *d, const struct qz_json *turns, struct qz_err *e)
{
	size_t i = 0;

	qz_buf_clear(&d->scratch);
	qz_buf_chr(&d->scratch, '[');
	for (const struct qz_json *t = qz_json_first(turns); t; t = qz_json_next(t), i++)
		if (share_turn(&d->scratch, t, e) < 0) {
			qz_at(e, "turn %zu", i + 1);
			return NULL;
		}
	qz_buf_chr(&d->scratch, ']');
	if (qz_buf_ok(&d->scratch, e) < 0)
		return NULL;
	return qz_json_parse(d->scratch.data, d->scratch.n, e);
}

/* "tools" is an array, or, as some collections have it, an array as text. */
static int
find_tools(const struct qz_json *record, const struct qz_json **tools, struct qz_json **parsed,
    struct qz_err *e)
{
	const struct qz_json *t = qz_json_get(record, "tools");
	const char *s = qz_json_string(t, NULL);

	if (s && !*s)
		return 0;
	if (s) {
		t = *parsed = qz_json_parse(s, strlen(s), e);
		if (!t)
			return qz_at(e, "the field \"tools\"");
	}
	if (!t || qz_json_kind(t) == QZ_JSON_NULL)
		return 0;
	if (!qz_json_is(t, QZ_JSON_ARRAY))
		return qz_fail(e, QZ_EDATA, "the field \"tools\" is %s, expected an array",
		    qz_json_kind_name(qz_json_kind(t)));
	*tools = qz_json_count(t) ? t : NULL;
	return 0;
}

static int
check_messages(const struct qz_json *messages, struct qz_err *e)
{
	size_t i = 1;

	if (!qz_json_is(messages, QZ_JSON_ARRAY) || !qz_json_count(messages))
		return qz_fail(e, QZ_EDATA, "the messages are %s, expected an array of some",
		    qz_json_is(messages, QZ_JSON_ARRAY)
			? "none"
			: qz_json_kind_name(qz_json_kind(messages)));
	for (const struct qz_json *m = qz_json_first(messages); m; m = qz_json_next(m), i++)
		if (!text_field(m, "role", e))
			return qz_at(e, "message %zu", i);
	return 0;
}

static int
render(struct qz_docs *d, const struct qz_template *t, struct qz_chat_vars *v,
    const struct qz_json *record, struct qz_err *e)
{
	struct qz_json *parsed = NULL;
	int ret = find_tools(record, &v->tools, &parsed, e);

	if (ret == 0) {
		ret = qz_template_render(t, v, &d->r, e);
		if (ret < 0)
			qz_at(e, "chat template");
	}
	qz_json_free(parsed);
	return ret;
}

static int
chat(struct qz_docs *d, const struct qz_json *record, struct qz_err *e)
{
	struct qz_chat_vars v = d->o.vars;
	const struct qz_json *turns = qz_json_get(record, "conversations");
	const struct qz_json *kwargs = qz_json_get(record, "chat_template_kwargs");
	struct qz_json *made = NULL;
	int ret;

	if (!d->o.model_template)
		return qz_fail(e, QZ_EDATA, "the model has no chat template: give one as a file");
	v.messages = qz_json_get(record, d->o.prompt_field ? d->o.prompt_field : "messages");
	if (d->o.prompt_field && !v.messages)
		return qz_fail(e, QZ_EDATA, "the field \"%s\" is missing", d->o.prompt_field);
	if (!v.messages && !turns)
		return qz_fail(e, QZ_EDATA, "neither \"messages\" nor \"conversations\" is there");
	v.messages = v.messages ? v.messages : turns;
	if (qz_json_get(qz_json_first(v.messages), "from")) {
		made = from_share(d, v.messages, e);
		if (!made)
			return -1;
		v.messages = made;
	}
	if (qz_json_is(kwargs, QZ_JSON_OBJECT))
		v.extra = kwargs;
	ret = check_messages(v.messages, e);
	if (ret == 0)
		ret = render(d, d->o.model_template, &v, record, e);
	qz_json_free(made);
	return ret;
}

/* A user's template sees the record's fields.  What is learned: its {% generation %} blocks, or what the
 * assistant says in `messages`, or the field that holds the answer; else all of it, as plain text. */
static int
jinja(struct qz_docs *d, const struct qz_json *record, struct qz_err *e)
{
	struct qz_chat_vars v = d->o.vars;
	const struct qz_json *messages = qz_json_get(record, "messages");
	bool any = false;

	v.extra = record;
	v.messages = qz_json_is(messages, QZ_JSON_ARRAY) ? messages : NULL;
	v.response = v.messages ? NULL : d->o.response_field;
	for (int i = 0; i < N_ROWS && !v.messages && !v.response; i++)
		if (rows[i].b && qz_json_get(record, rows[i].b))
			v.response = rows[i].b;
	if (render(d, d->o.user_template, &v, record, e) < 0)
		return -1;
	for (size_t i = 0; i < d->r.n_segments; i++)
		any |= d->r.segments[i].trained;
	for (size_t i = 0; i < d->r.n_segments && !any && !v.messages && !v.response; i++)
		d->r.segments[i].trained = true;
	return 0;
}

/* ---- records ---- */

/* "a", "b", "c" */
static void
list_fields(const struct qz_json *record, char *out, size_t n)
{
	size_t at = 0;

	out[0] = 0;
	for (const struct qz_json *k = qz_json_first(record); k && at + 60 < n; k = qz_json_next(k))
		at += (size_t)snprintf(
		    out + at, n - at, "%s\"%.40s\"", at ? ", " : "", qz_json_key(k));
}

static int
detect(struct qz_docs *d, const struct qz_json *record, struct qz_err *e)
{
	char fields[400];

	if (d->found != QZ_DOCS_AUTO)
		return 0;
	for (int i = 0; i < N_ROWS; i++)
		if (qz_json_get(record, rows[i].a) &&
		    (!rows[i].b || qz_json_get(record, rows[i].b))) {
			d->found = rows[i].format;
			return 0;
		}
	list_fields(record, fields, sizeof fields);
	return qz_fail(e, QZ_EDATA,
	    "the fields %s fit no known format: name the format, or the fields",
	    fields[0] ? fields : "(none)");
}

static int
convert(struct qz_docs *d, const struct qz_json *record, struct qz_err *e)
{
	switch (d->found) {
	case QZ_DOCS_CHAT:
		return chat(d, record, e);
	case QZ_DOCS_PROMPT:
		return prompt(d, record, e);
	case QZ_DOCS_ALPACA:
		return instruction(
		    d, record, alpaca, "input", answer_field(d, record, "output", "response"), e);
	case QZ_DOCS_DOLLY:
		return instruction(
		    d, record, dolly, "context", answer_field(d, record, "response", "output"), e);
	case QZ_DOCS_TEXT:
		return plain_field(d, record, e);
	default:
		return jinja(d, record, e);
	}
}

static int
convert_text(struct qz_docs *d, const char *s, size_t n, struct qz_err *e)
{
	struct qz_json *record;
	int ret = -1;

	if (d->in.kind == QZ_RECORDS_TEXT)
		return plain(d, s, n, e);
	record = qz_json_parse(s, n, e);
	if (!record)
		return -1;
	if (!qz_json_is(record, QZ_JSON_OBJECT))
		qz_fail(e, QZ_EDATA, "the record is %s, expected an object",
		    qz_json_kind_name(qz_json_kind(record)));
	else if (detect(d, record, e) == 0)
		ret = convert(d, record, e);
	qz_json_free(record);
	return ret;
}

/* A chat has the BOS that its template writes; it lacks an end when nothing but blanks follows what was
 * said last, and that is to be learned. */
static void
finish(struct qz_docs *d, uint64_t line)
{
	struct qz_rendering *r = &d->r;
	bool chat_like = d->found == QZ_DOCS_CHAT || d->found == QZ_DOCS_JINJA;
	const char *bos = d->o.vars.bos_token ? d->o.vars.bos_token : "";
	size_t end = r->text.n, k = r->n_segments;

	while (end > 0 && strchr(" \n\r\t", r->text.data[end - 1]))
		end--;
	while (k > 1 && r->segments[k - 1].at >= end)
		k--;
	d->doc = (struct qz_doc){ .text = r->text,
		.segments = r->segments,
		.n_segments = r->n_segments,
		.line = line,
		.needs_bos = d->found != QZ_DOCS_CHAT,
		.needs_eos = !chat_like || (k > 0 && r->segments[k - 1].from_data &&
					       r->segments[k - 1].trained) };
	if (d->found == QZ_DOCS_JINJA && *bos && r->text.n >= strlen(bos) &&
	    !memcmp(r->text.data, bos, strlen(bos)))
		d->doc.needs_bos = false;
	for (size_t i = 0; i < r->n_segments && d->o.train_all; i++)
		r->segments[i].trained = true;
}

/* Is this line a record with a text in it, though it was asked for as text? */
static bool
has_text(const struct qz_docs *d, const char *line, size_t n)
{
	struct qz_err e;
	struct qz_json *j = d->in.kind == QZ_RECORDS_LINES ? qz_json_parse(line, n, &e) : NULL;
	bool has = qz_json_is(j, QZ_JSON_OBJECT);

	qz_json_free(j);
	if (d->in.kind == QZ_RECORDS_ARRAY && n > 1) {
		size_t i = 1;

		while (i < n && strchr(" \t\r\n", line[i]))
			i++;
		has = i == n || line[i] == '{';
	}
	return has;
}

static int
open_input(struct qz_docs *d, struct qz_err *e)
{
	const char *line;
	size_t n;
	int got = qz_records_open(&d->in, &line, &n, e);

	if (got <= 0)
		return got;
	d->opened = true;
	if (d->found == QZ_DOCS_TEXT && !has_text(d, line, n))
		d->in.kind = QZ_RECORDS_TEXT;
	if (d->in.kind != QZ_RECORDS_TEXT)
		return 1;
	if (d->found == QZ_DOCS_AUTO)
		d->found = QZ_DOCS_TEXT;
	if (d->found != QZ_DOCS_TEXT) {
		qz_fail(e, QZ_EDATA, "plain text, expected JSON objects for the format %s",
		    qz_docs_format_name(d->found));
		return qz_at(e, "line 1");
	}
	return 1;
}

struct qz_docs *
qz_docs_new(const struct qz_docs_options *o, qz_read_fn *read, void *arg, struct qz_err *e)
{
	struct qz_docs *d = calloc(1, sizeof *d);

	if (!d) {
		qz_nomem(e, sizeof *d);
		return NULL;
	}
	d->o = *o;
	d->found = o->format;
	if (o->format == QZ_DOCS_AUTO && (o->prompt_field || o->response_field))
		d->found = QZ_DOCS_PROMPT;
	d->in.read = read;
	d->in.arg = arg;
	if (o->format == QZ_DOCS_JINJA && !o->user_template) {
		qz_fail(e, QZ_EUSAGE, "the format jinja needs a template");
		free(d);
		return NULL;
	}
	return d;
}

void
qz_docs_free(struct qz_docs *d)
{
	if (!d)
		return;
	qz_records_free(&d->in);
	qz_rendering_free(&d->r);
	qz_buf_free(&d->scratch);
	free(d);
}

int
qz_docs_next(struct qz_docs *d, const struct qz_doc **doc, struct qz_err *e)
{
	const char *s;
	uint64_t line;
	size_t n;
	int got = d->opened ? 1 : open_input(d, e);

	while (got > 0 && (got = qz_records_next(&d->in, &s, &n, &line, e)) > 0) {
		qz_buf_clear(&d->r.text);
		d->r.n_segments = 0;
		if (convert_text(d, s, n, e) == 0) {
			finish(d, line);
			*doc = &d->doc;
			return 1;
		}
		qz_at(e, "line %llu", (unsigned long long)line);
		if (e->code != QZ_EDATA || d->in.kind == QZ_RECORDS_TEXT ||
		    d->skipped >= (uint64_t)(d->o.skip_bad > 0 ? d->o.skip_bad : 0))
			return -1;
		d->skipped++;
	}
	return got;
}

enum qz_docs_format
qz_docs_found(const struct qz_docs *d)
{
	return d->found;
}

uint64_t
qz_docs_skipped(const struct qz_docs *d)
{
	return d->skipped;
}

/* A record becomes a document: the formats as tables, which fields a record has, and its text. */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/docs_formats.h"
#include "libcore/text/fields.h"

struct qz_maker {
	const struct qz_docs_options *o;
	enum qz_docs_format format; /* of the record at hand */
	struct qz_rendering r;
	struct qz_doc doc;
	struct qz_buf scratch, repaired;
};

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
add(struct qz_maker *d, const char *s, size_t n, bool from_data, bool trained, struct qz_err *e)
{
	struct qz_rendering *r = &d->r;
	struct qz_segment segment = {
		.at = r->text.n, .n = n, .from_data = from_data, .trained = trained, .message = -1
	};

	if (!n)
		return 0;
	if (qz_rendering_add(r, segment, e) < 0)
		return -1;
	qz_buf_add(&r->text, s, n);
	return qz_buf_ok(&r->text, e);
}

/* What the data calls a field. */
static const char *
named(const struct qz_maker *d, const char *ours)
{
	return qz_field_theirs(&d->o->fields, ours);
}

static const struct qz_json *
get(const struct qz_maker *d, const struct qz_json *record, const char *ours)
{
	return qz_json_get(record, named(d, ours));
}

/* The answer's field: the one the user names, or the one of two that is there. */
static const char *
answer_field(
    const struct qz_maker *d, const struct qz_json *record, const char *usual, const char *other)
{
	if (d->o->response_field)
		return d->o->response_field;
	return named(d, !get(d, record, usual) && get(d, record, other) ? other : usual);
}

static int
instruction(struct qz_maker *d, const struct qz_json *record, const struct piece *p,
    const char *optional, const char *answer, struct qz_err *e)
{
	const struct qz_json *v = get(d, record, optional);
	bool there = v && qz_json_kind(v) != QZ_JSON_NULL;
	const char *s = there ? qz_field_text(record, named(d, optional), e) : "";

	if (!s)
		return -1;
	there = *s != 0;
	for (; p->text || p->field; p++) {
		if ((p->when_there && !there) || (p->when_not && there))
			continue;
		s = p->text ? p->text
			    : qz_field_text(record,
				  !p->when_there && d->o->prompt_field ? d->o->prompt_field
								       : named(d, p->field),
				  e);
		if (!s || add(d, s, strlen(s), p->field != NULL, false, e) < 0)
			return -1;
	}
	s = qz_field_text(record, answer, e);
	return s ? add(d, s, strlen(s), true, true, e) : -1;
}

static int
prompt(struct qz_maker *d, const struct qz_json *record, struct qz_err *e)
{
	const char *a = d->o->prompt_field, *b = d->o->response_field, *s;

	for (int i = 0; i < QZ_DOCS_ROWS && !(a && b); i++) {
		const struct qz_docs_row *row = &qz_docs_rows[i];

		if (row->format == QZ_DOCS_PROMPT &&
		    (a      ? !strcmp(a, named(d, row->a))
			: b ? !strcmp(b, named(d, row->b))
			    : get(d, record, row->a) && get(d, record, row->b))) {
			a = a ? a : named(d, row->a);
			b = b ? b : named(d, row->b);
		}
	}
	a = a ? a : named(d, "prompt");
	b = b ? b : named(d, "completion");
	s = qz_field_text(record, a, e);
	if (!s || add(d, s, strlen(s), true, false, e) < 0)
		return -1;
	s = qz_field_text(record, b, e);
	return s ? add(d, s, strlen(s), true, true, e) : -1;
}

static int
plain(struct qz_maker *d, const char *s, size_t n, struct qz_err *e)
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
plain_field(struct qz_maker *d, const struct qz_json *record, struct qz_err *e)
{
	const char *name = d->o->response_field ? d->o->response_field : d->o->prompt_field;
	const char *s = qz_field_text(record, name ? name : named(d, "text"), e);

	return s ? plain(d, s, strlen(s), e) : -1;
}

/* ---- conversations ---- */

/* The role of one who speaks, by the user's words; in ShareGPT by its own; NULL: it is none of these. */
static const char *
role_of(const struct qz_maker *d, const char *who, bool share)
{
	static const struct qz_rename words[] = { { "user", "human" }, { "user", "user" },
		{ "assistant", "gpt" }, { "assistant", "assistant" }, { "assistant", "chatgpt" },
		{ "assistant", "bing" }, { "assistant", "bard" }, { "assistant", "model" },
		{ "assistant", "function_call" }, { "system", "system" }, { "tool", "tool" },
		{ "tool", "function" }, { "tool", "observation" } };
	const char *role = qz_field_ours(&d->o->roles, who);

	if (role || !share)
		return role ? role : who;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (!strcmp(words[i].theirs, who))
			return words[i].ours;
	return NULL;
}

/* One turn as a message: ShareGPT's has a role and text alone, another keeps its further fields. */
static int
put_turn(struct qz_maker *d, const struct qz_json *turn, struct qz_err *e)
{
	bool share = get(d, turn, "from") != NULL;
	const char *from = named(d, share ? "from" : "role"), *who = qz_field_text(turn, from, e);
	const char *says = named(d, share ? "value" : "content"),
		   *role = who ? role_of(d, who, share) : NULL;
	struct qz_buf *b = &d->scratch;

	if (who && !role)
		return qz_fail(e, QZ_EDATA,
		    "a turn is from \"%.100s\", expected human, gpt, system or tool", who);
	if (!role || (share && !qz_field_text(turn, says, e)))
		return -1;
	qz_buf_str(b, b->n > 1 ? ",{\"role\":" : "{\"role\":");
	qz_json_put_string(b, role, strlen(role));
	for (const struct qz_json *k = qz_json_first(turn); k; k = qz_json_next(k)) {
		const char *key = qz_json_key(k);
		bool text = !strcmp(key, says);

		if (!text && (share || !strcmp(key, from) || !strcmp(key, "role") ||
				 !strcmp(key, "content")))
			continue;
		key = text ? "content" : key;
		qz_buf_chr(b, ',');
		qz_json_put_string(b, key, strlen(key));
		qz_buf_chr(b, ':');
		qz_json_put(b, k, 0);
	}
	qz_buf_chr(b, '}');
	return 0;
}

/* Are they not yet as the template wants them? */
static bool
are_turns(const struct qz_maker *d, const struct qz_json *messages)
{
	return qz_json_is(messages, QZ_JSON_ARRAY) &&
	       (get(d, qz_json_first(messages), "from") || d->o->roles.n ||
		   strcmp(named(d, "role"), "role") != 0 ||
		   strcmp(named(d, "content"), "content") != 0);
}

/* Turns as messages, for the caller to free; NULL with an error. */
static struct qz_json *
from_turns(struct qz_maker *d, const struct qz_json *turns, struct qz_err *e)
{
	size_t i = 0;

	qz_buf_clear(&d->scratch);
	qz_buf_chr(&d->scratch, '[');
	for (const struct qz_json *t = qz_json_first(turns); t; t = qz_json_next(t), i++)
		if (put_turn(d, t, e) < 0) {
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
find_tools(const struct qz_maker *d, const struct qz_json *record, const struct qz_json **tools,
    struct qz_json **parsed, struct qz_err *e)
{
	const struct qz_json *t = get(d, record, "tools");
	const char *s = qz_json_string(t, NULL);

	if (s && !*s)
		return 0;
	if (s) {
		t = *parsed = qz_json_parse(s, strlen(s), e);
		if (!t)
			return qz_at(e, "the field \"%s\"", named(d, "tools"));
	}
	if (!t || qz_json_kind(t) == QZ_JSON_NULL)
		return 0;
	if (!qz_json_is(t, QZ_JSON_ARRAY))
		return qz_fail(e, QZ_EDATA, "the field \"%s\" is %s, expected an array",
		    named(d, "tools"), qz_json_kind_name(qz_json_kind(t)));
	*tools = qz_json_count(t) ? t : NULL;
	return 0;
}

static int
render(struct qz_maker *d, const struct qz_template *t, struct qz_chat_vars *v,
    const struct qz_json *record, struct qz_err *e)
{
	struct qz_json *parsed = NULL;
	int ret = find_tools(d, record, &v->tools, &parsed, e);

	if (v->tools && t == d->o->model_template && d->o->tool_template)
		t = d->o->tool_template;
	if (ret == 0) {
		ret = qz_template_render(t, v, &d->r, e);
		if (ret < 0)
			qz_at(e, "chat template");
		if (ret < 0 && d->r.failed_at >= 0)
			qz_at(e, "message %d", d->r.failed_at + 1);
	}
	qz_json_free(parsed);
	return ret;
}

static int
chat(struct qz_maker *d, const struct qz_json *record, struct qz_err *e)
{
	struct qz_chat_vars v = d->o->vars;
	const struct qz_json *turns = get(d, record, "conversations");
	const struct qz_json *kwargs = get(d, record, "chat_template_kwargs");
	struct qz_json *made = NULL;
	int ret;

	if (!d->o->model_template)
		return qz_fail(e, QZ_EDATA, "the model has no chat template: give one as a file");
	if (kwargs && qz_json_kind(kwargs) == QZ_JSON_NULL)
		kwargs = NULL;
	if (kwargs && !qz_json_is(kwargs, QZ_JSON_OBJECT))
		return qz_fail(e, QZ_EDATA, "the field \"%s\" is %s, expected an object",
		    named(d, "chat_template_kwargs"), qz_json_kind_name(qz_json_kind(kwargs)));
	v.extra = kwargs;
	v.messages = qz_json_get(
	    record, d->o->prompt_field ? d->o->prompt_field : named(d, "messages"));
	if (d->o->prompt_field && !v.messages)
		return qz_fail(e, QZ_EDATA, "the field \"%s\" is missing", d->o->prompt_field);
	if (!v.messages && !turns)
		return qz_fail(e, QZ_EDATA, "neither \"%s\" nor \"%s\" is there",
		    named(d, "messages"), named(d, "conversations"));
	v.messages = v.messages ? v.messages : turns;
	if (are_turns(d, v.messages)) {
		made = from_turns(d, v.messages, e);
		if (!made)
			return -1;
		v.messages = made;
	}
	ret = qz_messages_check(v.messages, e);
	if (ret == 0)
		ret = render(d, d->o->model_template, &v, record, e);
	qz_json_free(made);
	return ret;
}

/* Messages for a user's template may have any shape; those with a role are as in a chat. */
static int
check_said(const struct qz_json *messages, struct qz_err *e)
{
	size_t i = 1;

	for (const struct qz_json *m = qz_json_first(messages); m; m = qz_json_next(m), i++)
		if (qz_json_get(m, "role") && qz_message_says(m, e) < 0)
			return qz_at(e, "message %zu", i);
	return 0;
}

/* A user's template sees the record's fields.  What is learned: its {% generation %} blocks, or what the
 * assistant says in `messages`, or the field that holds the answer; else all of it, as plain text. */
static int
jinja(struct qz_maker *d, const struct qz_json *record, struct qz_err *e)
{
	struct qz_chat_vars v = d->o->vars;
	const struct qz_json *messages = get(d, record, "messages");
	bool any = false;

	v.extra = record;
	v.messages = qz_json_is(messages, QZ_JSON_ARRAY) ? messages : NULL;
	v.response = v.messages ? NULL : d->o->response_field;
	if (check_said(v.messages, e) < 0)
		return -1;
	for (int i = 0; i < QZ_DOCS_ROWS && !v.messages && !v.response; i++)
		if (qz_docs_rows[i].b && get(d, record, qz_docs_rows[i].b))
			v.response = named(d, qz_docs_rows[i].b);
	if (render(d, d->o->user_template, &v, record, e) < 0)
		return -1;
	for (size_t i = 0; i < d->r.n_segments; i++)
		any |= d->r.segments[i].trained;
	for (size_t i = 0; i < d->r.n_segments && !any && !v.messages && !v.response; i++)
		d->r.segments[i].trained = true;
	return 0;
}

static int
convert(struct qz_maker *d, const struct qz_json *record, struct qz_err *e)
{
	switch (d->format) {
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
convert_json(struct qz_maker *d, const char *s, size_t n, struct qz_err *e)
{
	struct qz_json *record = qz_record_parse(s, n, e);
	int ret = record ? convert(d, record, e) : -1;

	qz_json_free(record);
	return ret;
}

/* A chat has the BOS that its template writes; it lacks an end when nothing but blanks follows what was
 * said last, and that is to be learned. */
static void
finish(struct qz_maker *d, uint64_t line, bool repaired)
{
	struct qz_rendering *r = &d->r;
	bool chat_like = d->format == QZ_DOCS_CHAT || d->format == QZ_DOCS_JINJA;
	const char *bos = d->o->vars.bos_token ? d->o->vars.bos_token : "";
	size_t end = r->text.n, k = r->n_segments;

	while (end > 0 && strchr(" \n\r\t", r->text.data[end - 1]))
		end--;
	while (k > 1 && r->segments[k - 1].at >= end)
		k--;
	d->doc = (struct qz_doc){ .text = r->text,
		.segments = r->segments,
		.n_segments = r->n_segments,
		.line = line,
		.repaired = repaired,
		.plain = d->format == QZ_DOCS_TEXT,
		.needs_bos = d->format != QZ_DOCS_CHAT,
		.needs_eos = !chat_like || (k > 0 && r->segments[k - 1].from_data &&
					       r->segments[k - 1].trained) };
	if (d->format == QZ_DOCS_JINJA && *bos && r->text.n >= strlen(bos) &&
	    !memcmp(r->text.data, bos, strlen(bos)))
		d->doc.needs_bos = false;
	for (size_t i = 0; i < r->n_segments && d->o->train_all; i++)
		r->segments[i].trained = true;
}

/* ---- text that is none ---- */

/* A \uD83D without its other half at s: it is written as \uFFFD. */
static bool
half_pair(const char *s, size_t n, bool *whole)
{
	*whole = n >= 12 && s[1] == 'u' && strchr("dD", s[2]) && strchr("89abAB", s[3]) &&
		 s[6] == '\\' && s[7] == 'u' && strchr("dD", s[8]) && strchr("cdefCDEF", s[9]);
	return n >= 6 && s[1] == 'u' && strchr("dD", s[2]) && strchr("89abcdefABCDEF", s[3]) &&
	       !*whole;
}

/* Appends s with U+FFFD for what is no UTF-8, each maximal part of a character once (Unicode 15, table
 * 3-8), and in JSON for half a surrogate pair; whether there was any. */
static bool
repair(const char *s, size_t n, bool json, struct qz_buf *out)
{
	bool any = false, whole;
	size_t from = 0;
	int len;

	for (size_t i = 0; i < n; i += (size_t)len) {
		const char *by = NULL;

		len = 1;
		if ((unsigned char)s[i] >= 0x80) {
			by = qz_utf8_get(s + i, n - i, &len) < 0 ? "\xef\xbf\xbd" : NULL;
		} else if (json && s[i] == '\\' && n - i > 1) {
			by = half_pair(s + i, n - i, &whole) ? "\\ufffd" : NULL;
			len = by ? 6 : whole ? 12 : 2;
		}
		if (!by)
			continue;
		qz_buf_add(out, s + from, i - from);
		qz_buf_str(out, by);
		from = i + (size_t)len;
		any = true;
	}
	if (any)
		qz_buf_add(out, s + from, n - from);
	return any;
}

struct qz_maker *
qz_maker_new(const struct qz_docs_options *o, struct qz_err *e)
{
	struct qz_maker *m = calloc(1, sizeof *m);

	if (m)
		m->o = o;
	else
		qz_nomem(e, sizeof *m);
	return m;
}

void
qz_maker_free(struct qz_maker *m)
{
	if (!m)
		return;
	qz_rendering_free(&m->r);
	qz_buf_free(&m->scratch);
	qz_buf_free(&m->repaired);
	free(m);
}

int
qz_maker_text(struct qz_maker *m, struct qz_record *r, bool *repaired, struct qz_err *e)
{
	*repaired = false;
	if (!m->o->repair)
		return 0;
	qz_buf_clear(&m->repaired);
	*repaired = repair(r->s, r->n, !r->plain, &m->repaired);
	if (*repaired) {
		r->s = m->repaired.data;
		r->n = m->repaired.n;
	}
	return qz_buf_ok(&m->repaired, e);
}

int
qz_maker_make(struct qz_maker *m, enum qz_docs_format format, const struct qz_record *record,
    const struct qz_doc **doc, struct qz_err *e)
{
	struct qz_record r = *record;
	bool repaired;

	m->format = format;
	qz_buf_clear(&m->r.text);
	m->r.n_segments = 0;
	if (qz_maker_text(m, &r, &repaired, e) < 0)
		return -1;
	if ((r.plain ? plain(m, r.s, r.n, e) : convert_json(m, r.s, r.n, e)) < 0)
		return qz_record_at(&r, e);
	finish(m, r.line, repaired);
	*doc = &m->doc;
	return 0;
}

/* Conversations, and records for a user's own template. */
#include <string.h>

#include "libcore/text/docs_formats.h"
#include "libcore/text/fields.h"

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
	bool share = qz_record_get(d, turn, "from") != NULL;
	const char *from = qz_named(d, share ? "from" : "role"),
		   *who = qz_field_text(turn, from, e);
	const char *says = qz_named(d, share ? "value" : "content"),
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
	       (qz_record_get(d, qz_json_first(messages), "from") || d->o->roles.n ||
		   strcmp(qz_named(d, "role"), "role") != 0 ||
		   strcmp(qz_named(d, "content"), "content") != 0);
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
	const struct qz_json *t = qz_record_get(d, record, "tools");
	const char *s = qz_json_string(t, NULL);

	if (s && !*s)
		return 0;
	if (s) {
		t = *parsed = qz_json_parse(s, strlen(s), e);
		if (!t)
			return qz_at(e, "the field \"%s\"", qz_named(d, "tools"));
	}
	if (!t || qz_json_kind(t) == QZ_JSON_NULL)
		return 0;
	if (!qz_json_is(t, QZ_JSON_ARRAY))
		return qz_fail(e, QZ_EDATA, "the field \"%s\" is %s, expected an array",
		    qz_named(d, "tools"), qz_json_kind_name(qz_json_kind(t)));
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

int
qz_docs_chat(struct qz_maker *d, const struct qz_json *record, struct qz_err *e)
{
	struct qz_chat_vars v = d->o->vars;
	const struct qz_json *turns = qz_record_get(d, record, "conversations");
	const struct qz_json *kwargs = qz_record_get(d, record, "chat_template_kwargs");
	struct qz_json *made = NULL;
	int ret;

	if (!d->o->model_template)
		return qz_fail(e, QZ_EDATA, "the model has no chat template: give one as a file");
	if (kwargs && qz_json_kind(kwargs) == QZ_JSON_NULL)
		kwargs = NULL;
	if (kwargs && !qz_json_is(kwargs, QZ_JSON_OBJECT))
		return qz_fail(e, QZ_EDATA, "the field \"%s\" is %s, expected an object",
		    qz_named(d, "chat_template_kwargs"), qz_json_kind_name(qz_json_kind(kwargs)));
	v.extra = kwargs;
	v.messages = qz_json_get(
	    record, d->o->prompt_field ? d->o->prompt_field : qz_named(d, "messages"));
	if (d->o->prompt_field && !v.messages)
		return qz_fail(e, QZ_EDATA, "the field \"%s\" is missing", d->o->prompt_field);
	if (!v.messages && !turns)
		return qz_fail(e, QZ_EDATA, "neither \"%s\" nor \"%s\" is there",
		    qz_named(d, "messages"), qz_named(d, "conversations"));
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
int
qz_docs_jinja(struct qz_maker *d, const struct qz_json *record, struct qz_err *e)
{
	struct qz_chat_vars v = d->o->vars;
	const struct qz_json *messages = qz_record_get(d, record, "messages");
	bool any = false;

	v.extra = record;
	v.messages = qz_json_is(messages, QZ_JSON_ARRAY) ? messages : NULL;
	v.response = v.messages ? NULL : d->o->response_field;
	if (check_said(v.messages, e) < 0)
		return -1;
	for (int i = 0; i < QZ_DOCS_ROWS && !v.messages && !v.response; i++)
		if (qz_docs_rows[i].b && qz_record_get(d, record, qz_docs_rows[i].b))
			v.response = qz_named(d, qz_docs_rows[i].b);
	if (render(d, d->o->user_template, &v, record, e) < 0)
		return -1;
	for (size_t i = 0; i < d->r.n_segments; i++)
		any |= d->r.segments[i].trained;
	for (size_t i = 0; i < d->r.n_segments && !any && !v.messages && !v.response; i++)
		d->r.segments[i].trained = true;
	return 0;
}

#include "libcore/text/fields.h"

#include <stdio.h>
#include <string.h>

const char *const qz_field_names[] = { "messages", "conversations", "role", "content", "from",
	"value", "tools", "chat_template_kwargs", "prompt", "completion", "question", "answer",
	"instruction", "input", "output", "context", "response", "text", NULL };

const char *
qz_field_theirs(const struct qz_renames *r, const char *ours)
{
	for (size_t i = 0; i < r->n; i++)
		if (!strcmp(r->list[i].ours, ours))
			return r->list[i].theirs;
	return ours;
}

const char *
qz_field_ours(const struct qz_renames *r, const char *theirs)
{
	for (size_t i = 0; i < r->n; i++)
		if (!strcmp(r->list[i].theirs, theirs))
			return r->list[i].ours;
	return NULL;
}

void
qz_fields_list(const struct qz_json *record, char *out, size_t n)
{
	size_t at = 0;

	out[0] = 0;
	for (const struct qz_json *k = qz_json_first(record); k && at + 60 < n; k = qz_json_next(k))
		at += (size_t)snprintf(
		    out + at, n - at, "%s\"%.40s\"", at ? ", " : "", qz_json_key(k));
}

const char *
qz_field_text(const struct qz_json *record, const char *name, struct qz_err *e)
{
	const struct qz_json *v = qz_json_get(record, name);
	char fields[400];

	if (qz_json_is(v, QZ_JSON_STRING))
		return qz_json_string(v, "");
	qz_fields_list(record, fields, sizeof fields);
	if (!v)
		qz_fail(e, QZ_EDATA, "the field \"%s\" is missing%s%s", name,
		    fields[0] ? " among " : "", fields);
	else
		qz_fail(e, QZ_EDATA, "the field \"%s\" is %s, expected a string", name,
		    qz_json_kind_name(qz_json_kind(v)));
	return NULL;
}

/* A field besides those that say nothing by themselves. */
static bool
has_more(const struct qz_json *message)
{
	static const char *const plain[] = { "role", "content", "name", "tool_call_id", "weight" };
	bool known;

	for (const struct qz_json *k = qz_json_first(message); k; k = qz_json_next(k)) {
		known = qz_json_kind(k) == QZ_JSON_NULL;
		for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
			known |= !strcmp(qz_json_key(k), plain[i]);
		if (!known)
			return true;
	}
	return false;
}

int
qz_message_says(const struct qz_json *message, struct qz_err *e)
{
	const struct qz_json *v = qz_json_get(message, "content");
	bool none = !v || qz_json_kind(v) == QZ_JSON_NULL;

	if (none ? has_more(message)
		 : qz_json_is(v, QZ_JSON_ARRAY) || qz_json_is(v, QZ_JSON_OBJECT)) /* parts */
		return 0;
	return qz_field_text(message, "content", e) ? 0 : -1;
}

int
qz_messages_check(const struct qz_json *messages, struct qz_err *e)
{
	size_t i = 1;

	if (!qz_json_is(messages, QZ_JSON_ARRAY) || !qz_json_count(messages))
		return qz_fail(e, QZ_EDATA, "the messages are %s, expected an array of some",
		    qz_json_is(messages, QZ_JSON_ARRAY)
			? "none"
			: qz_json_kind_name(qz_json_kind(messages)));
	for (const struct qz_json *m = qz_json_first(messages); m; m = qz_json_next(m), i++) {
		if (!qz_json_is(m, QZ_JSON_OBJECT))
			qz_fail(e, QZ_EDATA, "is %s, expected an object",
			    qz_json_kind_name(qz_json_kind(m)));
		else if (qz_field_text(m, "role", e) && qz_message_says(m, e) == 0)
			continue;
		return qz_at(e, "message %zu", i);
	}
	return 0;
}

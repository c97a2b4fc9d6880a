#include "libcore/text/post.h"

#include <string.h>

enum { AROUND_MAX = 1024 }; /* ids before, and after */

int
qz_post_put(struct qz_ids *ids, uint32_t id, struct qz_err *e)
{
	if (ids->n == AROUND_MAX)
		return qz_fail(e, QZ_EDATA, "more than %d ids beside a text", AROUND_MAX);
	if (qz_ids_room(ids, 1, e) < 0)
		return -1;
	ids->v[ids->n++] = id; /* whoever adds them to a text sets their ends */
	return 0;
}

/* The ids that a template's special token stands for. */
static int
put_special(struct qz_ids *to, const struct qz_vocab *v, const struct qz_json *specials,
    const char *name, struct qz_err *e)
{
	const struct qz_json *ids = name ? qz_json_get(qz_json_get(specials, name), "ids") : NULL;
	int64_t id;
	size_t n;

	if (!name || !qz_json_is(ids, QZ_JSON_ARRAY))
		return qz_fail(e, QZ_EDATA, "special token \"%.60s\" has no ids", name ? name : "");
	for (ids = qz_json_first(ids); ids; ids = qz_json_next(ids)) {
		if (qz_json_int(ids, 0, QZ_ID_MAX, &id, e) < 0)
			return qz_at(e, "id of \"%.60s\"", name);
		if (!qz_vocab_get(v, (uint32_t)id, &n))
			return qz_fail(e, QZ_EDATA,
			    "special token \"%.60s\" is id %lld, which the vocabulary has not",
			    name, (long long)id);
		if (qz_post_put(to, (uint32_t)id, e) < 0)
			return -1;
	}
	return 0;
}

/* "single": special tokens before and after one Sequence A. */
static int
load_template(
    struct qz_post *p, const struct qz_vocab *v, const struct qz_json *j, struct qz_err *e)
{
	const struct qz_json *specials = qz_json_get(j, "special_tokens");
	struct qz_ids before = { 0 }, after = { 0 };
	bool seen = false;
	int ret = 0;

	for (const struct qz_json *c = qz_json_first(qz_json_get(j, "single")); c && !ret;
	     c = qz_json_next(c)) {
		const struct qz_json *special = qz_json_get(c, "SpecialToken");
		const char *which = qz_json_string(
		    qz_json_get(qz_json_get(c, "Sequence"), "id"), "");

		if (special)
			ret = put_special(seen ? &after : &before, v, specials,
			    qz_json_string(qz_json_get(special, "id"), NULL), e);
		else if (strcmp(which, "A") || seen)
			ret = qz_fail(
			    e, QZ_EDATA, "single: expected one Sequence A among SpecialTokens");
		else
			seen = true;
	}
	if (!ret && !seen)
		ret = qz_fail(e, QZ_EDATA, "single: no Sequence A");
	if (!ret && p->says)
		ret = qz_fail(e, QZ_EDATA, "a second template");
	qz_ids_clear(&p->before);
	qz_ids_clear(&p->after);
	p->before = before;
	p->after = after;
	p->says = true;
	return ret;
}

static int
load(struct qz_post *p, const struct qz_vocab *v, const struct qz_json *j, struct qz_err *e)
{
	const char *name = qz_json_string(qz_json_get(j, "type"), "(none)");

	if (!strcmp(name, "Sequence")) {
		const struct qz_json *c = qz_json_get(j, "processors");

		if (!qz_json_is(c, QZ_JSON_ARRAY))
			return qz_fail(e, QZ_EDATA, "a Sequence without the array \"processors\"");
		for (c = qz_json_first(c); c; c = qz_json_next(c))
			if (load(p, v, c, e) < 0)
				return -1;
		return 0;
	}
	if (!strcmp(name, "ByteLevel")) /* moves offsets, not ids */
		return 0;
	if (strcmp(name, "TemplateProcessing"))
		return qz_fail(e, QZ_EDATA, "the type %.60s is not supported", name);
	return load_template(p, v, j, e) < 0 ? qz_at(e, "%s", name) : 0;
}

int
qz_post_load(struct qz_post *p, const struct qz_vocab *v, const struct qz_json *j, struct qz_err *e)
{
	if (qz_json_kind(j) == QZ_JSON_NULL)
		return 0;
	return load(p, v, j, e) < 0 ? qz_at(e, "post_processor") : 0;
}

void
qz_post_clear(struct qz_post *p)
{
	qz_ids_clear(&p->before);
	qz_ids_clear(&p->after);
	memset(p, 0, sizeof *p);
}

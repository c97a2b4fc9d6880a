/* A template is compiled once and rendered for each conversation. */
#include "libcore/text/chat.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/grow.h"
#include "libcore/text/jinja.h"

struct qz_template *
qz_template_new(const char *source, size_t n, struct qz_err *e)
{
	struct qz_template *t = calloc(1, sizeof *t);
	struct qz_jtoken *tokens;

	if (!t) {
		qz_nomem(e, sizeof *t);
		return NULL;
	}
	if (n > QZ_J_TEXT_MAX) {
		qz_fail(
		    e, QZ_EDATA, "a template of %zu bytes, expected at most %d", n, QZ_J_TEXT_MAX);
		qz_template_free(t);
		return NULL;
	}
	tokens = qz_jinja_lex(&t->arena, source, n, e);
	if (!tokens || qz_jinja_parse(t, tokens, e) < 0) {
		qz_template_free(t);
		return NULL;
	}
	return t;
}

void
qz_template_free(struct qz_template *t)
{
	if (t)
		qz_arena_free(&t->arena);
	free(t);
}

static void
bind(struct qz_jctx *c, const char *name, struct qz_jv v)
{
	uint32_t id = qz_jname_find(c->t, name, strlen(name));

	if (id != UINT32_MAX && !c->failed)
		c->globals[id] = v;
}

static void
bind_token(struct qz_jctx *c, const char *name, const char *s, enum qz_jfrom from)
{
	struct qz_jbuild b = { 0 };

	if (!s)
		return;
	qz_jbuild_run(c, &b,
	    (struct qz_jrun){ .s = s, .n = strlen(s), .message = -1, .turn = -1, .from = from });
	bind(c, name, qz_jbuild_done(c, &b));
}

/* A role is part of the template's notation as long as it is a plain word; else it is data that
 * nobody learns. */
static void
mark_role(struct qz_jctx *c, struct qz_jv message)
{
	const struct qz_jv *role = qz_jdict_name(c, message.u.d, "role", 4);
	struct qz_jrun *r;

	if (!role || role->kind != QZ_J_STR || !role->u.s->n_runs)
		return;
	r = role->u.s->runs;
	r->message = -1;
	r->from = QZ_J_TEMPLATE;
	for (size_t i = 0; i < r->n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-",
			r->s[i]))
			r->from = QZ_J_DATA;
}

static struct qz_jv
constant(struct qz_jctx *c, const char *s, enum qz_jfrom from, int32_t message)
{
	struct qz_jbuild b = { 0 };
	struct qz_jrun r = { .s = s, .n = strlen(s), .message = message, .turn = -1, .from = from };

	qz_jbuild_run(c, &b, r);
	return qz_jbuild_done(c, &b);
}

/* An assistant's message that has nothing but content. */
static struct qz_jv
plain_message(struct qz_jctx *c, int32_t i)
{
	struct qz_jv m = qz_jv_dict(c, 2), key = constant(c, "role", QZ_J_TEMPLATE, -1);

	qz_jdict_put(c, m.u.d, key, constant(c, "assistant", QZ_J_TEMPLATE, -1));
	key = constant(c, "content", QZ_J_TEMPLATE, -1);
	qz_jdict_put(c, m.u.d, key, constant(c, "x", QZ_J_DATA, i));
	if (!c->failed)
		m.u.d->message = i;
	return m;
}

/* The first n messages, and a plain one of the assistant where that is asked for. */
static struct qz_jv
messages(struct qz_jctx *c, const struct qz_json *list, size_t n, bool plain)
{
	struct qz_jv q = qz_jv_seq(c, QZ_J_LIST, 0), m;
	int32_t i = 0;

	for (const struct qz_json *k = qz_json_first(list); k && (size_t)i < n && !c->failed;
	     k = qz_json_next(k), i++) {
		m = qz_jv_json(c, k, i);
		if (m.kind == QZ_J_DICT && !c->failed) {
			m.u.d->message = i;
			mark_role(c, m);
		}
		qz_jseq_add(c, q.u.q, m);
	}
	if (plain)
		qz_jseq_add(c, q.u.q, plain_message(c, i));
	return q;
}

struct what {
	size_t n; /* messages */
	bool prompt, plain;
};

/* Renders some messages into c->out; the caller frees c->arena. */
static int
render(struct qz_jctx *c, const struct qz_template *t, const struct qz_chat_vars *v, struct what w,
    struct qz_err *e)
{
	*c = (struct qz_jctx){ .t = t, .e = e, .line = 1, .turn = -1, .now = v->now };
	c->globals = qz_jalloc(c, (t->n_names + 1) * sizeof *c->globals);
	c->out = qz_jalloc(c, sizeof *c->out);
	if (c->failed)
		return -1;
	for (size_t i = 0; i < t->n_names; i++)
		c->globals[i].kind = QZ_J_MISSING;
	bind(c, "messages", messages(c, v->messages, w.n, w.plain));
	bind(c, "tools", v->tools ? qz_jv_json(c, v->tools, -1) : qz_jv_none());
	bind(c, "documents", qz_jv_none());
	bind(c, "add_generation_prompt", qz_jv_bool(w.prompt));
	bind_token(c, "bos_token", v->bos_token, QZ_J_TEMPLATE);
	bind_token(c, "eos_token", v->eos_token, QZ_J_EOS);
	bind_token(c, "pad_token", v->pad_token, QZ_J_TEMPLATE);
	bind_token(c, "unk_token", v->unk_token, QZ_J_TEMPLATE);
	for (const struct qz_json *k = qz_json_first(v->extra); k && !c->failed;
	     k = qz_json_next(k)) {
		bool learned = v->response && !strcmp(v->response, qz_json_key(k));
		int32_t message = learned ? (int32_t)qz_json_count(v->messages) : -1;

		if (!v->messages || strcmp(qz_json_key(k), "messages"))
			bind(c, qz_json_key(k), qz_jv_json(c, k, message));
	}
	return c->failed ? -1 : qz_jinja_run(c);
}

int
qz_chat_prefix(const struct qz_template *t, const struct qz_chat_vars *v, size_t n, bool prompt,
    struct qz_buf *text, uint64_t *steps)
{
	struct what w = { .n = n, .prompt = prompt };
	struct qz_err ignored;
	struct qz_jctx c;
	int ret = render(&c, t, v, w, &ignored);

	for (size_t i = 0; ret == 0 && i < c.out->n_runs; i++)
		qz_buf_add(text, c.out->runs[i].s, c.out->runs[i].n);
	*steps += c.steps + n;
	qz_arena_free(&c.arena);
	return ret < 0 || text->failed ? -1 : 0;
}

int
qz_chat_header(const struct qz_template *t, const struct qz_chat_vars *v, size_t n,
    struct qz_buf *header, uint64_t *steps)
{
	struct what w = { .n = n, .plain = true };
	struct qz_err ignored;
	struct qz_jctx c;
	int ret = render(&c, t, v, w, &ignored);
	bool found = false;

	for (size_t i = 0; ret == 0 && i < c.out->n_runs && !found; i++) {
		const struct qz_jrun *r = &c.out->runs[i];

		found = r->from == QZ_J_DATA && r->message == (int32_t)n;
		if (!found && r->turn >= 0 && c.turn_of[r->turn] == (int32_t)n)
			qz_buf_add(header, r->s, r->n);
	}
	*steps += c.steps + n;
	qz_arena_free(&c.arena);
	return !found || header->failed ? -1 : 0;
}

int
qz_template_render(const struct qz_template *t, const struct qz_chat_vars *v,
    struct qz_rendering *r, struct qz_err *e)
{
	struct what w = { .n = SIZE_MAX, .prompt = v->add_generation_prompt };
	struct qz_jctx c;
	int ret;

	r->failed_at = -1;
	if (v->messages && !qz_json_is(v->messages, QZ_JSON_ARRAY))
		return qz_fail(e, QZ_EDATA, "messages: %s, expected an array",
		    qz_json_kind_name(qz_json_kind(v->messages)));
	qz_buf_clear(&r->text);
	r->n_segments = 0;
	ret = render(&c, t, v, w, e);
	r->failed_at = ret < 0 && c.turn >= 0 ? c.turn_of[c.turn] : -1;
	if (ret == 0)
		ret = qz_chat_mask(&c, v, r);
	qz_arena_free(&c.arena);
	return ret;
}

int
qz_rendering_add(struct qz_rendering *r, struct qz_segment s, struct qz_err *e)
{
	struct qz_segment *v = qz_grow(r->segments, r->n_segments, &r->cap, 16, sizeof *v, e);

	if (!v)
		return -1;
	r->segments = v;
	r->segments[r->n_segments++] = s;
	return 0;
}

void
qz_rendering_free(struct qz_rendering *r)
{
	qz_buf_free(&r->text);
	free(r->segments);
	*r = (struct qz_rendering){ 0 };
}

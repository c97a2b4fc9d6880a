#include "libcore/model/gguf_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/text/spm.h"
#include "libcore/model/gguf_vocab_parts.h"

#define SPACE_MARK "\xe2\x96\x81" /* U+2581 */

/* Scores of what sentencepiece does not merge: as llama.cpp's converter gives them. */
static const float ADDED_SCORE = -1000.0f, PADDING_SCORE = -10000.0f;

int
qz_vocab_alloc(struct qz_gguf_vocab *v, size_t n, bool scores, struct qz_err *e)
{
	v->n = n;
	v->tokens = calloc(n + 1, sizeof *v->tokens);
	v->types = calloc(n + 1, sizeof *v->types);
	v->scores = scores ? calloc(n + 1, sizeof *v->scores) : NULL;
	if (!v->tokens || !v->types || (scores && !v->scores))
		return qz_nomem(e, n * (sizeof *v->tokens + sizeof *v->types));
	return 0;
}

int
qz_vocab_set(
    struct qz_gguf_vocab *v, uint64_t id, const char *s, size_t n, int type, struct qz_err *e)
{
	char *copy;

	if (id >= v->n)
		return qz_fail(e, QZ_EDATA,
		    "token %llu (%.*s) is beyond the embedding, which has %zu rows",
		    (unsigned long long)id, (int)(n < 80 ? n : 80), s, v->n);
	copy = qz_arena_strndup(&v->arena, s, n);
	if (!copy)
		return qz_nomem(e, n);
	v->tokens[id] = (struct qz_gguf_text){ copy, n };
	v->types[id] = type;
	return 0;
}

/* What llama.cpp's converter takes for a control token though it is not marked as special. */
static bool
looks_special(const char *s, size_t n)
{
	static const char *const whole[] = { "<pad>", "<mask>", "<2mass>", "[@BOS@]" };
	static const struct {
		const char *head, *tail;
	} ends[] = { { "<|", "|>" }, { "<\xef\xbd\x9c", "\xef\xbd\x9c>" }, { "<unused", ">" } };

	for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
		if (n == strlen(whole[i]) && !memcmp(s, whole[i], n))
			return true;
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		size_t h = strlen(ends[i].head), t = strlen(ends[i].tail);

		if (n >= h && n >= t && !memcmp(s, ends[i].head, h) &&
		    !memcmp(s + n - t, ends[i].tail, t))
			return true;
	}
	return false;
}

/* Space marks become spaces in place: n shrinks. */
static size_t
unmark(char *s, size_t n)
{
	size_t to = 0;

	for (size_t at = 0; at < n;) {
		bool mark = n - at >= 3 && !memcmp(s + at, SPACE_MARK, 3);

		s[to++] = mark ? ' ' : s[at];
		at += mark ? 3 : 1;
	}
	s[to] = '\0';
	return to;
}

/* A token that tokenizer.json or tokenizer_config.json adds. */
static int
add(struct qz_gguf_vocab *v, const struct qz_json *token, int64_t id, struct qz_err *e)
{
	const char *text = qz_json_string(qz_json_get(token, "content"), NULL);
	bool special = qz_json_bool(qz_json_get(token, "special"), false);
	size_t n;

	if (!text || !*text || id < 0)
		return qz_fail(e, QZ_EDATA, "an added token has no text or no id");
	n = strlen(text);
	special = special || looks_special(text, n);
	if (qz_vocab_set(v, (uint64_t)id, text, n, special ? QZ_TOKEN_CONTROL : QZ_TOKEN_USER, e) <
	    0)
		return -1;
	if (v->scores)
		v->scores[id] = ADDED_SCORE;
	if (v->scores && !special)
		v->tokens[id].n = unmark((char *)v->tokens[id].s, n);
	return 0;
}

int
qz_vocab_add(struct qz_gguf_vocab *v, bool taken, struct qz_err *e)
{
	const struct qz_json *t = qz_json_first(qz_json_get(v->tokenizer, "added_tokens"));
	int64_t id;
	bool have;

	for (; t; t = qz_json_next(t)) {
		if (qz_json_int(qz_json_get(t, "id"), 0, INT32_MAX, &id, e) < 0)
			return qz_at(e, "tokenizer.json: id of an added token");
		have = (uint64_t)id < v->n && v->tokens[id].s;
		if (have && (taken || v->types[id] == QZ_TOKEN_UNKNOWN))
			continue;
		if (add(v, t, id, e) < 0)
			return qz_at(e, "tokenizer.json");
	}
	return 0;
}

/* added_tokens_decoder of tokenizer_config.json: {"32000": {"content": ..., "special": ...}, ...}. */
static int
add_decoder(struct qz_gguf_vocab *v, struct qz_err *e)
{
	const struct qz_json *t = qz_json_first(qz_json_get(v->options, "added_tokens_decoder"));

	for (; t; t = qz_json_next(t)) {
		char *end;
		long id = strtol(qz_json_key(t), &end, 10);

		if (*end || end == qz_json_key(t))
			return qz_fail(e, QZ_EDATA,
			    "tokenizer_config.json: added_tokens_decoder has the key %.40s",
			    qz_json_key(t));
		if (add(v, t, id, e) < 0)
			return qz_at(e, "tokenizer_config.json");
	}
	return 0;
}

/* added_tokens.json: {"<tool>": 32000, ...}. */
static int
add_file(struct qz_gguf_vocab *v, const struct qz_source_file *f, struct qz_err *e)
{
	struct qz_json *root = f ? qz_json_parse(f->data, f->n, e) : NULL;
	const struct qz_json *t = qz_json_first(root);
	int64_t id;
	int ret = 0;

	if (f && !root)
		return qz_at(e, "added_tokens.json");
	for (; t && ret == 0; t = qz_json_next(t)) {
		const char *s = qz_json_key(t);

		if (qz_json_int(t, 0, INT32_MAX, &id, e) < 0 ||
		    qz_vocab_set(v, (uint64_t)id, s ? s : "", s ? strlen(s) : 0, QZ_TOKEN_USER, e) <
			0)
			ret = qz_at(e, "added_tokens.json");
		else
			v->scores[id] = ADDED_SCORE;
	}
	qz_json_free(root);
	return ret;
}

int
qz_gguf_vocab_pad(struct qz_gguf_vocab *v, struct qz_err *e)
{
	char name[32];

	for (size_t i = 0; i < v->n; i++) {
		if (v->tokens[i].s)
			continue;
		snprintf(name, sizeof name, "[PAD%zu]", i);
		if (qz_vocab_set(v, i, name, strlen(name), QZ_TOKEN_UNUSED, e) < 0)
			return -1;
		if (v->scores)
			v->scores[i] = PADDING_SCORE;
		v->n_padding++;
	}
	return 0;
}

static int
load_spm(struct qz_gguf_vocab *v, const struct qz_vocab_files *f, const struct qz_config *c,
    struct qz_err *e)
{
	struct qz_spm s;
	int ret = -1;

	if (qz_spm_read(&s, f->spm->data, f->spm->n, e) < 0)
		return qz_at(e, "tokenizer.model");
	if (s.model_type != QZ_SPM_BPE)
		qz_fail(e, QZ_EDATA, "tokenizer.model: model type %d, BPE (2) is expected",
		    s.model_type);
	else if (qz_vocab_alloc(v, (size_t)c->vocab, true, e) == 0)
		ret = 0;
	for (size_t i = 0; i < s.n && ret == 0; i++) {
		ret = qz_vocab_set(v, i, s.pieces[i].text, s.pieces[i].n, s.pieces[i].type, e);
		if (ret == 0)
			v->scores[i] = s.pieces[i].score;
	}
	if (ret == 0 && !s.dummy_prefix)
		v->add_space_prefix = 0;
	qz_spm_free(&s);
	if (ret < 0)
		return -1;
	v->model = "llama";
	v->pre = "default";
	return add_file(v, f->added, e) < 0 || add_decoder(v, e) < 0 ? -1
								     : qz_vocab_add(v, true, e);
}

int
qz_vocab_by_text(const void *a, const void *b)
{
	const struct qz_vocab_slot *x = a, *y = b;
	int c = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);

	return c ? c : (x->n > y->n) - (x->n < y->n);
}

struct qz_vocab_slot *
qz_vocab_sort(const struct qz_gguf_vocab *v, struct qz_err *e)
{
	struct qz_vocab_slot *slots = malloc((v->n + 1) * sizeof *slots);

	if (!slots) {
		qz_nomem(e, v->n * sizeof *slots);
		return NULL;
	}
	for (size_t i = 0; i < v->n; i++)
		slots[i] = (struct qz_vocab_slot){ v->tokens[i].s, v->tokens[i].n, i };
	qsort(slots, v->n, sizeof *slots, qz_vocab_by_text);
	for (size_t i = 1; i < v->n; i++)
		if (!qz_vocab_by_text(&slots[i - 1], &slots[i])) {
			qz_fail(e, QZ_EDATA, "tokens %zu and %zu are the same text: %.*s",
			    slots[i - 1].id, slots[i].id, (int)(slots[i].n < 80 ? slots[i].n : 80),
			    slots[i].s);
			free(slots);
			return NULL;
		}
	return slots;
}

static int
parse(const struct qz_source_file *f, struct qz_json **j, struct qz_err *e)
{
	*j = f ? qz_json_parse(f->data, f->n, e) : NULL;
	return f && !*j ? qz_at(e, "%s", f->name) : 0;
}

static int
load(struct qz_gguf_vocab *v, const struct qz_vocab_files *f, const struct qz_config *c,
    struct qz_err *e)
{
	const struct qz_json *prefix;
	struct qz_vocab_slot *slots;

	if (parse(f->tokenizer, &v->tokenizer, e) < 0 || parse(f->options, &v->options, e) < 0)
		return -1;
	if (!f->spm && !f->tokenizer)
		return qz_fail(e, QZ_EDATA, "has neither tokenizer.model nor tokenizer.json");
	if ((f->spm ? load_spm(v, f, c, e) : qz_vocab_from_json(v, c, e)) < 0 ||
	    qz_gguf_vocab_pad(v, e) < 0)
		return -1;
	slots = f->spm ? qz_vocab_sort(v, e) : NULL;
	free(slots);
	if (f->spm && !slots)
		return -1;
	prefix = qz_json_get(v->options, "add_prefix_space");
	if (qz_json_is(prefix, QZ_JSON_BOOL))
		v->add_space_prefix = qz_json_bool(prefix, true);
	return qz_gguf_specials(v, f, c, e);
}

int
qz_gguf_vocab_load(struct qz_gguf_vocab *v, const struct qz_vocab_files *f,
    const struct qz_config *c, struct qz_err *e)
{
	*v = (struct qz_gguf_vocab){ .add_space_prefix = -1 };
	if (load(v, f, c, e) == 0)
		return 0;
	qz_gguf_vocab_free(v);
	return -1;
}

void
qz_gguf_vocab_free(struct qz_gguf_vocab *v)
{
	free(v->tokens);
	free(v->scores);
	free(v->types);
	free(v->merges);
	qz_arena_free(&v->arena);
	qz_json_free(v->tokenizer);
	qz_json_free(v->options);
	qz_templates_free(&v->templates);
	*v = (struct qz_gguf_vocab){ 0 };
}

/* tokenizer.chat_template.NAME for each but the default; letters and digits only, the rest is '_'. */
static void
put_templates(const struct qz_gguf_vocab *v, struct qz_ggufw *g)
{
	static const char head[] = "tokenizer.chat_template.";
	struct qz_gguf_text names[QZ_TEMPLATES_MAX];
	struct qz_buf keys[QZ_TEMPLATES_MAX] = { { 0 } };
	const struct qz_named_template *t = v->templates.t;
	size_t n = 0;

	for (; t < v->templates.t + v->templates.n; t++) {
		struct qz_buf *b = &keys[n];

		if (!strcmp(t->name, "default"))
			continue;
		qz_buf_str(b, head);
		for (const char *c = t->name; *c; c++) {
			bool plain = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
				     (*c >= 'A' && *c <= 'Z');
			qz_buf_chr(b, plain ? *c : '_');
		}
		g->kvs.failed = g->kvs.failed || b->failed;
		if (b->failed)
			break;
		qz_ggufw_str(g, b->data, t->text);
		names[n++] = (struct qz_gguf_text){ b->data + sizeof head - 1,
			b->n - (sizeof head - 1) };
	}
	qz_ggufw_texts(g, "tokenizer.chat_templates", names, n);
	for (size_t i = 0; i < QZ_TEMPLATES_MAX; i++)
		qz_buf_free(&keys[i]);
}

void
qz_gguf_vocab_put(const struct qz_gguf_vocab *v, struct qz_ggufw *g)
{
	const char *plain = qz_templates_find(&v->templates, "default");

	if (v->add_space_prefix >= 0)
		qz_ggufw_bool(g, "tokenizer.ggml.add_space_prefix", v->add_space_prefix);
	qz_ggufw_str(g, "tokenizer.ggml.model", v->model);
	qz_ggufw_str(g, "tokenizer.ggml.pre", v->pre);
	qz_ggufw_texts(g, "tokenizer.ggml.tokens", v->tokens, v->n);
	if (v->scores)
		qz_ggufw_f32s(g, "tokenizer.ggml.scores", v->scores, v->n);
	qz_ggufw_i32s(g, "tokenizer.ggml.token_type", v->types, v->n);
	qz_ggufw_texts(g, "tokenizer.ggml.merges", v->merges, v->n_merges);
	for (size_t i = 0; i < v->n_special; i++)
		qz_ggufw_u32(g, v->special[i].key, v->special[i].id);
	for (size_t i = 0; i < v->n_flags; i++)
		qz_ggufw_bool(g, v->flags[i].key, v->flags[i].value);
	put_templates(v, g);
	if (plain)
		qz_ggufw_str(g, "tokenizer.chat_template", plain);
}

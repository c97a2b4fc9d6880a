#include <stdlib.h>
#include <string.h>

#include "libcore/model/gguf_vocab_parts.h"

/* "<0x0A>" */
static bool
is_byte(const char *s, size_t n)
{
	return n == 6 && !memcmp(s, "<0x", 3) && s[5] == '>' &&
	       strspn(s + 3, "0123456789ABCDEF") == 2;
}

/* The two halves of a merge, "a b" or ["a", "b"]. */
static int
halves(const struct qz_json *m, struct qz_gguf_text half[2], struct qz_err *e)
{
	const char *s = qz_json_string(m, NULL), *space;

	if (s) {
		space = strchr(s, ' ');
		if (!space || space == s || !space[1])
			return qz_fail(
			    e, QZ_EDATA, "tokenizer.json: merge \"%.80s\" has no two parts", s);
		half[0] = (struct qz_gguf_text){ s, (size_t)(space - s) };
		half[1] = (struct qz_gguf_text){ space + 1, strlen(space + 1) };
		return 0;
	}
	m = qz_json_first(m);
	for (int i = 0; i < 2; i++, m = qz_json_next(m)) {
		s = qz_json_string(m, NULL);
		if (!s || !*s)
			return qz_fail(e, QZ_EDATA, "tokenizer.json: a merge has no two parts");
		half[i] = (struct qz_gguf_text){ s, strlen(s) };
	}
	return 0;
}

/* llama.cpp merges the pair whose token has the highest score: so the n-th token that the merges make
 * gets -n.  Tokens that no merge makes are never looked at. */
static int
rank(struct qz_gguf_vocab *v, const struct qz_vocab_slot *slots, struct qz_err *e)
{
	const struct qz_json *m = qz_json_first(
	    qz_json_get(qz_json_get(v->tokenizer, "model"), "merges"));
	struct qz_buf text = { 0 };
	size_t made = 0;
	int ret = 0;

	for (; m && ret == 0; m = qz_json_next(m)) {
		struct qz_gguf_text half[2];
		struct qz_vocab_slot key;
		const struct qz_vocab_slot *at;

		ret = halves(m, half, e);
		if (ret < 0)
			break;
		qz_buf_clear(&text);
		qz_buf_add(&text, half[0].s, half[0].n);
		qz_buf_add(&text, half[1].s, half[1].n);
		ret = qz_buf_ok(&text, e);
		key = (struct qz_vocab_slot){ text.data, text.n, 0 };
		at = ret < 0 ? NULL : bsearch(&key, slots, v->n, sizeof *slots, qz_vocab_by_text);
		if (ret == 0 && !at)
			ret = qz_fail(e, QZ_EDATA,
			    "tokenizer.json: merges make \"%.80s\", which is no token", text.data);
		else if (at && v->types[at->id] == QZ_TOKEN_NORMAL && v->scores[at->id] == 0)
			v->scores[at->id] = -(float)++made;
	}
	qz_buf_free(&text);
	return ret;
}

/* model.vocab of tokenizer.json: {"text": id, ...}. */
static int
read_vocab(struct qz_gguf_vocab *v, struct qz_err *e)
{
	const struct qz_json *model = qz_json_get(v->tokenizer, "model");
	const struct qz_json *t = qz_json_first(qz_json_get(model, "vocab"));
	const char *unk = qz_json_string(qz_json_get(model, "unk_token"), "");
	int64_t id;

	for (; t; t = qz_json_next(t)) {
		const char *s = qz_json_key(t);
		int type = QZ_TOKEN_NORMAL;

		if (!s)
			return qz_fail(e, QZ_EDATA, "tokenizer.json: model.vocab is no object");
		if (qz_json_int(t, 0, INT32_MAX, &id, e) < 0)
			return qz_at(e, "tokenizer.json: model.vocab: %.80s", s);
		if (v->scores && !strcmp(s, unk))
			type = QZ_TOKEN_UNKNOWN;
		else if (v->scores && is_byte(s, strlen(s)))
			type = QZ_TOKEN_BYTE;
		if ((uint64_t)id < v->n && v->tokens[id].s)
			return qz_fail(e, QZ_EDATA, "tokenizer.json: two tokens have the id %lld",
			    (long long)id);
		if (qz_vocab_set(v, (uint64_t)id, s, strlen(s), type, e) < 0)
			return qz_at(e, "tokenizer.json");
	}
	return 0;
}

/* Is j, or one of the steps of a sequence j, of this type?  The step, or NULL. */
static const struct qz_json *
step(const struct qz_json *j, const char *list, const char *type)
{
	const struct qz_json *s = qz_json_first(qz_json_get(j, list));

	if (!strcmp(qz_json_string(qz_json_get(j, "type"), ""), type))
		return j;
	while (s && strcmp(qz_json_string(qz_json_get(s, "type"), ""), type))
		s = qz_json_next(s);
	return s;
}

/* Every step's type is among the allowed words, or a message that names it. */
static int
check_steps(const struct qz_json *j, const char *what, const char *list, const char *allowed,
    struct qz_err *e)
{
	const char *type = qz_json_string(qz_json_get(j, "type"), NULL);
	const struct qz_json *s = qz_json_first(qz_json_get(j, list));

	if (!type)
		return 0;
	if (!strcmp(type, "Sequence")) {
		for (; s; s = qz_json_next(s))
			if (check_steps(s, what, list, allowed, e) < 0)
				return -1;
		return 0;
	}
	if (strstr(allowed, type))
		return 0;
	return qz_fail(e, QZ_EDATA, "tokenizer.json: %s %s is nothing that llama.cpp can do (%s)",
	    what, type, allowed);
}

/* Space marks: a normalizer that puts one in front and replaces spaces, or Metaspace. */
static int
load_marked(struct qz_gguf_vocab *v, const struct qz_config *c, struct qz_err *e)
{
	const struct qz_json *norm = qz_json_get(v->tokenizer, "normalizer");
	const struct qz_json *pre = qz_json_get(v->tokenizer, "pre_tokenizer");
	const struct qz_json *meta = step(pre, "pretokenizers", "Metaspace");
	const char *scheme = qz_json_string(qz_json_get(meta, "prepend_scheme"), "always");
	bool old = qz_json_bool(qz_json_get(meta, "add_prefix_space"), true);
	bool prefix = step(norm, "normalizers", "Prepend") ||
		      (meta && old && strcmp(scheme, "never"));
	struct qz_vocab_slot *slots;
	int ret;

	if (check_steps(norm, "normalizer", "normalizers", "Prepend Replace", e) < 0 ||
	    check_steps(pre, "pre-tokenizer", "pretokenizers", "Metaspace", e) < 0 ||
	    qz_vocab_alloc(v, (size_t)c->vocab, true, e) < 0 || read_vocab(v, e) < 0)
		return -1;
	if (qz_vocab_add(v, false, e) < 0 || qz_gguf_vocab_pad(v, e) < 0)
		return -1;
	slots = qz_vocab_sort(v, e);
	ret = slots ? rank(v, slots, e) : -1;
	free(slots);
	v->model = "llama";
	v->pre = "default";
	v->add_space_prefix = prefix ? -1 : 0;
	return ret;
}

/* "left right", where a space within a part is written as byte-level text writes it: U+0120. */
static int
read_merges(struct qz_gguf_vocab *v, struct qz_err *e)
{
	const struct qz_json *merges = qz_json_get(qz_json_get(v->tokenizer, "model"), "merges");
	const struct qz_json *m = qz_json_first(merges);
	struct qz_buf b = { 0 };
	int ret = 0;

	v->merges = calloc(qz_json_count(merges) + 1, sizeof *v->merges);
	if (!v->merges)
		return qz_nomem(e, qz_json_count(merges) * sizeof *v->merges);
	for (; m && ret == 0; m = qz_json_next(m)) {
		struct qz_gguf_text half[2], *out = &v->merges[v->n_merges];

		if (halves(m, half, e) < 0) {
			ret = -1;
			break;
		}
		qz_buf_clear(&b);
		for (int i = 0; i < 2; i++) {
			if (i)
				qz_buf_chr(&b, ' ');
			for (size_t at = 0; at < half[i].n; at++)
				qz_buf_add(&b, half[i].s[at] == ' ' ? "\xc4\xa0" : half[i].s + at,
				    half[i].s[at] == ' ' ? 2 : 1);
		}
		out->n = b.n;
		out->s = b.failed ? NULL : qz_arena_strndup(&v->arena, b.data, b.n);
		ret = out->s ? 0 : qz_nomem(e, b.n);
		v->n_merges++;
	}
	qz_buf_free(&b);
	return ret;
}

static int
load_bytes(struct qz_gguf_vocab *v, const struct qz_config *c, struct qz_err *e)
{
	struct qz_vocab_slot *slots;

	v->model = "gpt2";
	v->pre = qz_gguf_pre(v->tokenizer, e);
	if (!v->pre || check_steps(qz_json_get(v->tokenizer, "normalizer"), "normalizer",
			   "normalizers", "NFC", e) < 0)
		return -1;
	if (qz_vocab_alloc(v, (size_t)c->vocab, false, e) < 0 || read_vocab(v, e) < 0 ||
	    qz_vocab_add(v, false, e) < 0 || qz_gguf_vocab_pad(v, e) < 0 || read_merges(v, e) < 0)
		return -1;
	slots = qz_vocab_sort(v, e);
	free(slots);
	return slots ? 0 : -1;
}

int
qz_vocab_from_json(struct qz_gguf_vocab *v, const struct qz_config *c, struct qz_err *e)
{
	const struct qz_json *model = qz_json_get(v->tokenizer, "model");
	const char *type = qz_json_string(qz_json_get(model, "type"), "BPE");
	const char *const affixes[] = { "continuing_subword_prefix", "end_of_word_suffix" };

	if (strcmp(type, "BPE"))
		return qz_fail(e, QZ_EDATA, "tokenizer.json: model %s, BPE is expected", type);
	for (int i = 0; i < 2; i++)
		if (*qz_json_string(qz_json_get(model, affixes[i]), ""))
			return qz_fail(e, QZ_EDATA,
			    "tokenizer.json: model has a %s, llama.cpp knows none", affixes[i]);
	return qz_json_bool(qz_json_get(model, "byte_fallback"), false) ? load_marked(v, c, e)
									: load_bytes(v, c, e);
}

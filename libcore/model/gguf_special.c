#include <stdio.h>
#include <string.h>

#include "libcore/model/gguf_vocab.h"

/* Order and spelling ("seperator") of gguf-py's SpecialVocab. */
static const struct {
	const char *name, *key;
} kinds[] = {
	{ "bos", "tokenizer.ggml.bos_token_id" },
	{ "eos", "tokenizer.ggml.eos_token_id" },
	{ "unk", "tokenizer.ggml.unknown_token_id" },
	{ "sep", "tokenizer.ggml.seperator_token_id" },
	{ "pad", "tokenizer.ggml.padding_token_id" },
	{ "mask", "tokenizer.ggml.mask_token_id" },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const char *const flag_keys[QZ_GGUF_FLAGS] = { "tokenizer.ggml.add_bos_token",
	"tokenizer.ggml.add_eos_token", "tokenizer.ggml.add_sep_token" };
enum { ADD_BOS, ADD_EOS, ADD_SEP };

static void
set_flag(struct qz_gguf_vocab *v, int flag, bool value)
{
	size_t i = 0;

	while (i < v->n_flags && v->flags[i].key != flag_keys[flag])
		i++;
	v->flags[i].key = flag_keys[flag];
	v->flags[i].value = value;
	v->n_flags += i == v->n_flags;
}

static bool
has_flag(const struct qz_gguf_vocab *v, int flag)
{
	for (size_t i = 0; i < v->n_flags; i++)
		if (v->flags[i].key == flag_keys[flag])
			return true;
	return false;
}

static bool
has_special(const struct qz_gguf_vocab *v, int kind)
{
	for (size_t i = 0; i < v->n_special; i++)
		if (v->special[i].key == kinds[kind].key)
			return true;
	return false;
}

static int
set_special(struct qz_gguf_vocab *v, int kind, int64_t id, struct qz_err *e)
{
	if (id < 0 || has_special(v, kind))
		return 0;
	if ((uint64_t)id >= v->n)
		return qz_fail(e, QZ_EDATA, "%s token has id %lld, the vocabulary has %zu tokens",
		    kinds[kind].name, (long long)id, v->n);
	v->special[v->n_special].key = kinds[kind].key;
	v->special[v->n_special++].id = (uint32_t)id;
	return 0;
}

/* tokenizer_config.json writes a token as its text or as {"content": text, ...}. */
static const char *
token_text(const struct qz_json *options, const char *kind)
{
	char key[32];
	const struct qz_json *j;

	snprintf(key, sizeof key, "%s_token", kind);
	j = qz_json_get(options, key);
	return qz_json_string(j, qz_json_string(qz_json_get(j, "content"), NULL));
}

static int64_t
added_id(const struct qz_json *tokenizer, const char *text)
{
	const struct qz_json *t = qz_json_first(qz_json_get(tokenizer, "added_tokens"));

	for (; t; t = qz_json_next(t))
		if (!strcmp(qz_json_string(qz_json_get(t, "content"), ""), text))
			return (int64_t)qz_json_number(qz_json_get(t, "id"), -1);
	return -1;
}

static const char *
special_at(const struct qz_json *item)
{
	return qz_json_string(qz_json_get(qz_json_get(item, "SpecialToken"), "id"), NULL);
}

static bool
same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

/* The first and the last special token of a template such as <s> $A </s>. */
static void
template_ends(const struct qz_json *items, const char **first, const char **last)
{
	const struct qz_json *at = qz_json_first(items), *end = at;

	*first = *last = NULL;
	if (qz_json_count(items) < 2)
		return;
	while (qz_json_next(end))
		end = qz_json_next(end);
	*first = special_at(at);
	*last = special_at(end);
}

/* How many tokens stand between A and B of a pair, and whether one of them separates. */
static size_t
template_between(const struct qz_json *pair, const char *sep, const char *eos, bool *separates)
{
	const struct qz_json *at = qz_json_first(pair);
	size_t n = 0;

	*separates = false;
	while (at && !qz_json_get(at, "Sequence"))
		at = qz_json_next(at);
	for (at = qz_json_next(at); at && !qz_json_get(at, "Sequence"); at = qz_json_next(at), n++)
		if (same(special_at(at), sep) || same(special_at(at), eos))
			*separates = true;
	return n;
}

/* One step of the post-processor: which tokens are put around a text. */
static void
read_template(struct qz_gguf_vocab *v, const struct qz_json *p)
{
	const char *bos = token_text(v->options, "bos"), *eos = token_text(v->options, "eos");
	const char *sep = token_text(v->options, "sep"), *first, *last;
	bool separates;

	if (strcmp(qz_json_string(qz_json_get(p, "type"), ""), "TemplateProcessing"))
		return;
	template_ends(qz_json_get(p, "single"), &first, &last);
	if (first)
		set_flag(v, ADD_BOS, !v->options || same(first, bos));
	if (last)
		set_flag(v, ADD_EOS, !v->options || same(last, eos));
	if (template_between(qz_json_get(p, "pair"), sep, eos, &separates))
		set_flag(v, ADD_SEP, !last && separates);
}

static void
read_flags(struct qz_gguf_vocab *v)
{
	static const char *const names[] = { "add_bos_token", "add_eos_token", "add_sep_token" };
	const struct qz_json *post = qz_json_get(v->tokenizer, "post_processor");
	const struct qz_json *p = qz_json_first(qz_json_get(post, "processors"));

	if (!p)
		read_template(v, post);
	for (; p; p = qz_json_next(p))
		read_template(v, p);
	for (int i = 0; i < QZ_GGUF_FLAGS; i++) {
		const struct qz_json *j = qz_json_get(v->options, names[i]);

		if (qz_json_is(j, QZ_JSON_BOOL))
			set_flag(v, i, qz_json_bool(j, false));
	}
	/* Said even when it is "no": llama.cpp's own default follows the vocabulary's kind. */
	if (v->tokenizer && !has_flag(v, ADD_BOS))
		set_flag(v, ADD_BOS, false);
}

static int
read_ids(struct qz_gguf_vocab *v, const struct qz_config *c, struct qz_err *e)
{
	const int64_t config[KINDS] = { c->bos, c->eos, -1, -1, c->pad, -1 };

	for (int i = 0; i < KINDS; i++) {
		const char *text = token_text(v->options, kinds[i].name);

		if (text && set_special(v, i, added_id(v->tokenizer, text), e) < 0)
			return qz_at(e, "tokenizer_config.json");
	}
	/* Published configs name padding tokens that the model does not have; those are none. */
	for (int i = 0; i < KINDS; i++)
		if (config[i] < (int64_t)v->n)
			set_special(v, i, config[i], e);
	return 0;
}

int
qz_gguf_specials(struct qz_gguf_vocab *v, const struct qz_vocab_files *f, const struct qz_config *c,
    struct qz_err *e)
{
	if (read_ids(v, c, e) < 0)
		return -1;
	read_flags(v);
	return qz_templates_load(&v->templates, f->all, f->n, v->options, e);
}

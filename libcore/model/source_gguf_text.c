#include <stdio.h>
#include <string.h>

#include "libcore/base/half.h"
#include "libcore/base/le.h"
#include "libcore/model/source_gguf.h"
#include "libcore/text/gguf_tokens.h"

/* A key's array of numbers as float or int32_t; NULL when there is none. */
static int
numbers(struct qz_gguf *g, const char *key, enum qz_gguf_type type, uint64_t n, const void **out,
    struct qz_err *e)
{
	const struct qz_gguf_kv *kv = qz_gguf_find(g, key);
	uint32_t *v;

	if (!kv)
		return 0;
	if (!kv->array || kv->type != type || kv->n != n)
		return qz_fail(e, QZ_EDATA, "GGUF: %s is no array of %llu %s", key,
		    (unsigned long long)n, qz_gguf_type_name(type));
	v = qz_arena_alloc(&g->arena, (size_t)n * sizeof *v);
	if (!v)
		return qz_nomem(e, n * sizeof *v);
	for (uint64_t i = 0; i < n; i++)
		v[i] = le32_get(kv->data + 4 * i);
	*out = v;
	return 0;
}

static int
flag(const struct qz_gguf *g, const char *key, int *v, struct qz_err *e)
{
	bool b = false;
	int got = qz_gguf_bool(g, key, &b, e);

	if (got > 0)
		*v = b;
	return got < 0 ? -1 : 0;
}

/* Ids name tokens: what points past the vocabulary is refused here, whoever uses it later. */
static int
id(const struct qz_gguf *g, const char *key, uint64_t n, int64_t *v, struct qz_err *e)
{
	return qz_gguf_int(g, key, 0, (int64_t)n - 1, v, e) < 0 ? -1 : 0;
}

/* tokenizer.chat_templates names those that stand beside the default. */
static int
gather_templates(struct qz_gguf *g, struct qz_gguf_tokens *v, struct qz_err *e)
{
	const char *const *names, *text;
	const size_t *lens;
	uint64_t n = 0;
	char key[128];

	if (qz_gguf_strings(g, "tokenizer.chat_templates", &names, &lens, &n, e) < 0)
		return -1;
	if (n > QZ_GGUF_TEMPLATES_MAX)
		return qz_fail(e, QZ_EDATA, "GGUF: %llu chat templates, at most %d are read",
		    (unsigned long long)n, QZ_GGUF_TEMPLATES_MAX);
	for (uint64_t i = 0; i < n; i++) {
		int used = snprintf(key, sizeof key, "tokenizer.chat_template.%s", names[i]);

		if (used < 0 || used >= (int)sizeof key)
			return qz_fail(e, QZ_EDATA,
			    "GGUF: the name of a chat template has %zu bytes", lens[i]);
		text = NULL;
		if (qz_gguf_string(g, key, &text, e) < 0)
			return -1;
		if (text)
			v->templates[v->n_templates++] = (struct qz_gguf_template){ names[i],
				text };
	}
	return 0;
}

/* 1, or 0 when there are no tokens. */
static int
gather(struct qz_gguf *g, struct qz_gguf_tokens *v, struct qz_err *e)
{
	const size_t *merge_lens;
	const void *scores = NULL, *types = NULL;

	if (qz_gguf_string(g, "tokenizer.ggml.model", &v->model, e) < 0 ||
	    qz_gguf_string(g, "tokenizer.ggml.pre", &v->pre, e) < 0 ||
	    qz_gguf_string(g, "tokenizer.chat_template", &v->chat_template, e) < 0 ||
	    qz_gguf_strings(g, "tokenizer.ggml.tokens", &v->tokens, &v->lens, &v->n, e) < 0 ||
	    qz_gguf_strings(g, "tokenizer.ggml.merges", &v->merges, &merge_lens, &v->n_merges, e) <
		0)
		return -1;
	if (v->n == 0)
		return 0;
	if (v->n > 1 << 24 || v->n_merges > 1 << 24)
		return qz_fail(e, QZ_EDATA, "GGUF: %llu tokens and %llu merges",
		    (unsigned long long)v->n, (unsigned long long)v->n_merges);
	if (numbers(g, "tokenizer.ggml.scores", QZ_GGUF_F32, v->n, &scores, e) < 0 ||
	    numbers(g, "tokenizer.ggml.token_type", QZ_GGUF_I32, v->n, &types, e) < 0 ||
	    id(g, "tokenizer.ggml.bos_token_id", v->n, &v->bos, e) < 0 ||
	    id(g, "tokenizer.ggml.eos_token_id", v->n, &v->eos, e) < 0 ||
	    id(g, "tokenizer.ggml.unknown_token_id", v->n, &v->unk, e) < 0 ||
	    id(g, "tokenizer.ggml.padding_token_id", v->n, &v->pad, e) < 0)
		return -1;
	if (gather_templates(g, v, e) < 0)
		return -1;
	v->scores = scores;
	v->types = types;
	if (flag(g, "tokenizer.ggml.add_bos_token", &v->add_bos, e) < 0 ||
	    flag(g, "tokenizer.ggml.add_eos_token", &v->add_eos, e) < 0)
		return -1;
	return flag(g, "tokenizer.ggml.add_space_prefix", &v->add_space_prefix, e) < 0 ? -1 : 1;
}

int
source_gguf_text(
    struct qz_gguf *g, struct qz_buf *tokenizer, struct qz_buf *config, struct qz_err *e)
{
	struct qz_gguf_tokens v = { .bos = -1,
		.eos = -1,
		.unk = -1,
		.pad = -1,
		.add_bos = -1,
		.add_eos = -1,
		.add_space_prefix = -1 };
	int got;

	if (!qz_gguf_find(g, "tokenizer.ggml.model"))
		return 0;
	got = gather(g, &v, e);
	if (got <= 0)
		return got;
	return qz_gguf_tokens_to_json(&v, tokenizer, config, e) < 0 ? qz_at(e, "GGUF: tokenizer")
								    : 1;
}

/* gguf_tokens FILE.gguf DIR: writes the vocabulary's tokenizer.json and tokenizer_config.json. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/format/gguf_read.h"
#include "libcore/text/gguf_tokens.h"

static int
find_arrays(struct qz_gguf *g, struct qz_gguf_tokens *v, struct qz_err *e)
{
	const struct qz_gguf_kv *scores = qz_gguf_find(g, "tokenizer.ggml.scores");
	const struct qz_gguf_kv *types = qz_gguf_find(g, "tokenizer.ggml.token_type");
	const size_t *lens;

	if (qz_gguf_strings(g, "tokenizer.ggml.tokens", &v->tokens, &v->lens, &v->n, e) < 0)
		return -1;
	if (qz_gguf_find(g, "tokenizer.ggml.merges") &&
	    qz_gguf_strings(g, "tokenizer.ggml.merges", &v->merges, &lens, &v->n_merges, e) < 0)
		return -1;
	if ((scores && scores->n != v->n) || (types && types->n != v->n))
		return qz_fail(e, QZ_EDATA, "scores or types are not as many as tokens");
	if (scores) {
		float *f = malloc(v->n * sizeof *f);

		for (uint64_t i = 0; f && i < v->n; i++)
			f[i] = (float)qz_gguf_number(scores, i);
		v->scores = f;
	}
	if (types) {
		int32_t *t = malloc(v->n * sizeof *t);

		for (uint64_t i = 0; t && i < v->n; i++)
			t[i] = (int32_t)qz_gguf_number(types, i);
		v->types = t;
	}
	return 0;
}

static int
find_keys(struct qz_gguf *g, struct qz_gguf_tokens *v, struct qz_err *e)
{
	struct {
		const char *key;
		int64_t *id;
	} ids[] = { { "bos", &v->bos }, { "eos", &v->eos }, { "unknown", &v->unk },
		{ "padding", &v->pad } };
	struct {
		const char *key;
		int *flag;
	} flags[] = { { "add_bos_token", &v->add_bos }, { "add_eos_token", &v->add_eos },
		{ "add_space_prefix", &v->add_space_prefix } };
	char key[80];

	for (int i = 0; i < 4; i++) {
		*ids[i].id = -1;
		snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", ids[i].key);
		if (qz_gguf_int(g, key, 0, UINT32_MAX, ids[i].id, e) < 0)
			return -1;
	}
	for (int i = 0; i < 3; i++) {
		bool yes = false;
		int there;

		snprintf(key, sizeof key, "tokenizer.ggml.%s", flags[i].key);
		there = qz_gguf_bool(g, key, &yes, e);
		if (there < 0)
			return -1;
		*flags[i].flag = there ? yes : -1;
	}
	return qz_gguf_string(g, "tokenizer.ggml.model", &v->model, e) < 0 ||
		       qz_gguf_string(g, "tokenizer.ggml.pre", &v->pre, e) < 0 ||
		       qz_gguf_string(g, "tokenizer.chat_template", &v->chat_template, e) < 0
		   ? -1
		   : 0;
}

static int
write_file(const char *dir, const char *name, const struct qz_buf *b)
{
	char path[4096];
	FILE *f;
	int ok;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "wb");
	if (!f)
		return -1;
	ok = fwrite(b->data, 1, b->n, f) == b->n;
	return fclose(f) || !ok ? -1 : 0;
}

int
main(int argc, char **argv)
{
	struct qz_gguf g = { 0 };
	struct qz_gguf_tokens v = { 0 };
	struct qz_buf json = { 0 }, config = { 0 };
	struct qz_err e = { 0 };
	struct qz_in *in;
	int ret = 1;

	if (argc != 3)
		return 2;
	in = qz_in_open(argv[1], &e);
	if (in && qz_gguf_read(&g, in, &e) == 0 && find_arrays(&g, &v, &e) == 0 &&
	    find_keys(&g, &v, &e) == 0 && qz_gguf_tokens_to_json(&v, &json, &config, &e) == 0)
		ret = write_file(argv[2], "tokenizer.json", &json) ||
		      write_file(argv[2], "tokenizer_config.json", &config);
	else
		fprintf(stderr, "%s: %s\n", argv[1], e.msg);
	qz_buf_free(&json);
	qz_buf_free(&config);
	free((void *)(uintptr_t)v.scores);
	free((void *)(uintptr_t)v.types);
	qz_gguf_free(&g);
	if (in)
		qz_in_close(in);
	return ret;
}

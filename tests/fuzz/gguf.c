/* The GGUF reader and what becomes of a model in it, on any bytes: must give a model or an error.   make fuzz */
#include <stdio.h>
#include <stdlib.h>

#include "libcore/format/gguf_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Reads every key in every way. */
static void
touch(struct qz_gguf *g)
{
	struct qz_err e;

	for (size_t i = 0; i < g->n_kv; i++) {
		const struct qz_gguf_kv *kv = &g->kv[i];
		const char *text;
		const char *const *texts;
		const size_t *lens;
		uint64_t n;
		int64_t whole;
		double real;
		bool flag;

		qz_gguf_int(g, kv->key, INT64_MIN, INT64_MAX, &whole, &e);
		qz_gguf_real(g, kv->key, &real, &e);
		qz_gguf_bool(g, kv->key, &flag, &e);
		qz_gguf_string(g, kv->key, &text, &e);
		qz_gguf_strings(g, kv->key, &texts, &lens, &n, &e);
		if (kv->type != QZ_GGUF_STRING)
			for (uint64_t k = 0; k < kv->n && k < 100; k++)
				qz_gguf_number(kv, k);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct qz_err e;
	struct qz_in *in = qz_in_memory("fuzz", data, n, &e);
	struct qz_gguf g = { 0 };

	if (!in)
		return 0;
	if (qz_gguf_read(&g, in, &e) == 0) {
		touch(&g);
		for (size_t i = 0; i < g.n_tensors; i++)
			if (g.tensors[i].offset + g.tensors[i].nbytes > n)
				abort();
	}
	qz_gguf_free(&g);
	qz_in_close(in);
	return 0;
}

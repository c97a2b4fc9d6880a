/* Times qz_encode on documents in memory, for tokenize-speed.py.
 * usage: tokenize-speed TOKENIZER TEXTS THREADS RUNS      TEXTS: documents, each followed by a NUL
 * Prints a line a run: seconds, the number of ids, the XXH3-64 of all ids in order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/clock.h"
#include "libcore/base/hash.h"
#include "libcore/base/pool.h"
#include "libcore/io/in.h"
#include "tests/interop/text_file.h"

enum { PART = 64 }; /* documents */

struct part {
	size_t first, n; /* of its documents */
	struct qz_buf ids;
};

struct job {
	const struct qz_tokenizer *t;
	const char **docs; /* (n + 1) */
	size_t n;
	struct part *parts;
	struct qz_encoding *enc; /* a thread's */
};

static void
die(const struct qz_err *e)
{
	fprintf(stderr, "tokenize-speed: %s\n", e->msg);
	exit(1);
}

static void
encode_part(void *arg, int i, int thread)
{
	struct job *j = arg;
	struct part *p = &j->parts[i];
	struct qz_encoding *enc = &j->enc[thread];
	struct qz_err e;

	qz_buf_clear(&p->ids);
	for (size_t d = p->first; d < p->first + p->n; d++) {
		enc->n = 0;
		if (qz_encode(j->t, j->docs[d], (size_t)(j->docs[d + 1] - j->docs[d]) - 1, 0, NULL,
			0, enc, &e) < 0)
			die(&e);
		qz_buf_add(&p->ids, (char *)enc->ids, enc->n * sizeof *enc->ids);
	}
}

/* Seconds, of the processor with CLOCK=cpu. */
static double
now(void)
{
	const char *which = getenv("CLOCK");

	return which && !strcmp(which, "cpu") ? (double)clock() / CLOCKS_PER_SEC : qz_clock();
}

static void
run(struct job *j, struct qz_pool *pool, int n_parts)
{
	struct qz_hash *h = qz_hash_new();
	double start = now(), took;
	size_t ids = 0;

	qz_pool_run(pool, n_parts, encode_part, j);
	took = now() - start;
	for (int i = 0; i < n_parts; i++) {
		qz_hash_add(h, j->parts[i].ids.data, j->parts[i].ids.n);
		ids += j->parts[i].ids.n / 4;
	}
	printf("%.6f %zu %016llx\n", took, ids, (unsigned long long)qz_hash_get64(h));
	qz_hash_free(h);
}

int
main(int argc, char **argv)
{
	struct qz_text_files f = { 0 };
	struct qz_buf json = { 0 }, text = { 0 };
	struct qz_err e = { 0 };
	struct job j = { 0 };
	struct qz_tokenizer *t;
	struct qz_pool *pool;
	double start;
	int n_parts;

	if (argc != 5)
		return 2;
	if (qz_file_read(argv[1], &json, 1 << 28, &e) < 0 ||
	    qz_file_read(argv[2], &text, 1 << 30, &e) < 0)
		die(&e);
	f.file[kind_of(argv[1])].s = json.data;
	f.file[kind_of(argv[1])].n = json.n;
	start = qz_clock();
	j.t = t = qz_tokenizer_load(&f, &e);
	if (!t)
		die(&e);
	fprintf(stderr, "load %.6f\n", qz_clock() - start);
	for (size_t i = 0; i < text.n; i++)
		j.n += !text.data[i];
	j.docs = calloc(j.n + 1, sizeof *j.docs);
	j.docs[0] = text.data;
	for (size_t i = 0, d = 1; i < text.n; i++)
		if (!text.data[i])
			j.docs[d++] = text.data + i + 1;
	n_parts = (int)((j.n + PART - 1) / PART);
	j.parts = calloc((size_t)n_parts, sizeof *j.parts);
	for (int i = 0; i < n_parts; i++) {
		j.parts[i].first = (size_t)i * PART;
		j.parts[i].n = j.n - j.parts[i].first < PART ? j.n - j.parts[i].first : PART;
	}
	j.enc = calloc((size_t)atoi(argv[3]), sizeof *j.enc);
	pool = qz_pool_new(atoi(argv[3]), &e);
	if (!pool)
		die(&e);
	for (int r = 0; r < atoi(argv[4]); r++)
		run(&j, pool, n_parts);
	qz_pool_free(pool);
	for (int i = 0; i < atoi(argv[3]); i++)
		qz_encoding_free(&j.enc[i]);
	for (int i = 0; i < n_parts; i++)
		qz_buf_free(&j.parts[i].ids);
	free(j.enc);
	free(j.parts);
	free(j.docs);
	qz_tokenizer_free(t);
	qz_buf_free(&json);
	qz_buf_free(&text);
	return 0;
}

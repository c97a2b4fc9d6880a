/* ggml_tile - quantize_ggml on a GPU: what a block of TILE threads does with TILE sub-blocks.
 *
 * It goes in phases.  Each is a function that every thread runs with its number `at`; between two all threads
 * wait for each other.  A sub-block has a thread of its own for the search and for its codes; scales of
 * a block are made by one thread or two, its bytes by as many as it has sub-blocks.  No phase reads what
 * another thread writes in the same one, so a loop over `at` gives the same as threads do: that is how
 * tests/unit/ggml_tile.c runs this, for C, against the CPU's op. */
#ifndef QZ_CUDA_GGML_TILE_H
#define QZ_CUDA_GGML_TILE_H

#include "kernels/ggml_blocks.h"
#include "kernels/ggml_one.h"

enum { TILE = 128, TILE_LEN = 32, TILE_BYTES = 34 /* of 32 elements, at most */ };

/* An element more a sub-block, so that threads that each walk through theirs meet in no bank. */
struct tile {
	float x[TILE * (TILE_LEN + 1)];
	float scale[TILE], min[TILE], sum[TILE];
	float mean[TILE]; /* factor * mean of x^2, a span */
	struct block blocks[TILE];
	uint32_t codes[TILE * TILE_LEN / 4], y[TILE * TILE_BYTES / 4]; /* bytes */
};

/* All tiles have the same. */
struct tile_job {
	const float *x; /* (subs * len) */
	uint8_t *y;
	int64_t subs;            /* sub-blocks */
	int row_subs;            /* of a row */
	int block_bytes;         /* of a block */
	const float *importance; /* of the columns, or NULL */
	const float *row_means;  /* of x^2; where the span is the row */
};

QZ_GGML_FN int
tile_subs(const struct tile_job *j, int64_t tile)
{
	int64_t left = j->subs - tile * TILE;

	return left < TILE ? (int)left : TILE;
}

/* Where element e of a tile is. */
QZ_GGML_FN int
tile_at(int len, int e)
{
	return e / len * (len + 1) + e % len;
}

QZ_GGML_FN void
tile_load(const struct search *s, struct tile *t, const struct tile_job *j, int64_t tile, int at)
{
	const float *x = j->x + tile * TILE * s->len;
	int n = tile_subs(j, tile) * s->len;

	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++)
		if (i * TILE + at < n)
			t->x[tile_at(s->len, i * TILE + at)] = x[i * TILE + at];
}

/* With importance, where the mean is over a span within the row: a thread a span. */
QZ_GGML_FN void
tile_means(const struct search *s, const struct importance *how, struct tile *t,
    const struct tile_job *j, int64_t tile, int at)
{
	float sum = 0;

	if (at >= tile_subs(j, tile) * s->len / how->span)
		return;
	for (int i = 0; i < how->span; i++) {
		float x = t->x[tile_at(s->len, at * how->span + i)];

		sum += x * x;
	}
	t->mean[at] = how->factor * sum / (float)how->span;
}

/* The weights of sub-block `at`, which is sub-block sub of all. */
QZ_GGML_FN void
tile_weights(const struct search *s, const struct importance *how, float *w, const float *x,
    const struct tile *t, const struct tile_job *j, int64_t sub, int at)
{
	const float *importance = j->importance + sub % j->row_subs * s->len;
	float mean = how->factor == 0 ? 0
		     : how->span      ? t->mean[at * s->len / how->span]
				      : j->row_means[sub / j->row_subs];

	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++)
		w[i] = how->factor != 0 ? importance[i] * sqrtf(mean + x[i] * x[i]) : importance[i];
}

QZ_GGML_FN void
tile_search(enum qz_dtype type, const struct search *s, const struct importance *how,
    struct tile *t, const struct tile_job *j, int64_t tile, int at)
{
	uint8_t *codes = (uint8_t *)t->codes + at * s->len;
	float x[TILE_LEN], w[TILE_LEN];
	struct search alike = *s;
	struct scales f;

	if (at >= tile_subs(j, tile))
		return;
	QZ_GGML_UNROLL
	for (int i = 0; i < s->len; i++)
		x[i] = t->x[at * (s->len + 1) + i];
	if (s->kind == DIRECT) {
		direct_codes(type, &t->blocks[at], codes, x);
		return;
	}
	if (s->weight == BY_GIVEN)
		tile_weights(s, how, w, x, t, j, tile * TILE + at, at);
	f = search_one(s, x, w, codes);
	if (s->weight == BY_GIVEN && lacks_weight(type, f.scale)) {
		alike.weight = BY_SQUARE;
		f = search_one(&alike, x, w, codes);
	}
	t->scale[at] = f.scale;
	t->min[at] = f.min;
	t->sum[at] = f.sum;
}

/* After a search: a thread each part of a block's scales. */
QZ_GGML_FN void
tile_scales(enum qz_dtype type, bool weighted, struct tile *t, const struct tile_job *j,
    int64_t tile, int at)
{
	const struct search searched = Q3_K_SCALES;
	int subs = block_subs(type), parts = block_parts(type), k = at / parts, part = at % parts;
	const float *scale = t->scale + k * subs, *sum = t->sum + k * subs;
	struct block *b = &t->blocks[k];
	float d;

	if (k * subs >= tile_subs(j, tile))
		return;
	if (type == QZ_Q3_K && weighted) {
		d = symmetric(&searched, scale, sum, b->scale);
		scale = &d;
	}
	block_scales(type, weighted, part, b, scale, t->min + k * subs, sum);
}

QZ_GGML_FN void
tile_codes(enum qz_dtype type, const struct search *s, struct tile *t, const struct tile_job *j,
    int64_t tile, int at)
{
	int subs = block_subs(type);

	if (at < tile_subs(j, tile))
		sub_codes(type, &t->blocks[at / subs], at % subs, t->x + at * (s->len + 1),
		    (uint8_t *)t->codes + at * s->len);
}

QZ_GGML_FN void
tile_pack(enum qz_dtype type, const struct search *s, struct tile *t, const struct tile_job *j,
    int64_t tile, int at)
{
	int subs = block_subs(type), k = at / subs;

	if (at < tile_subs(j, tile))
		block_pack(type, (uint8_t *)t->y + k * j->block_bytes, &t->blocks[k],
		    (const uint8_t *)t->codes + k * subs * s->len, at % subs, subs);
}

/* Whole tiles have a number of bytes that 4 divides. */
QZ_GGML_FN void
tile_store(enum qz_dtype type, struct tile *t, const struct tile_job *j, int64_t tile, int at)
{
	int subs = block_subs(type), n = tile_subs(j, tile) / subs * j->block_bytes, words = n / 4;
	uint8_t *y = j->y + tile * (TILE / subs) * j->block_bytes;

	if ((uintptr_t)y % 4)
		words = 0;
	for (int i = at; i < words; i += TILE)
		((uint32_t *)(void *)y)[i] = t->y[i];
	for (int i = 4 * words + at; i < n; i += TILE)
		y[i] = ((const uint8_t *)t->y)[i];
}

#endif

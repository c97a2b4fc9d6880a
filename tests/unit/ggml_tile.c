/* What a GPU's threads do in quantize_ggml (kernels/cuda/ggml_tile.h), run as loops over them: the bytes of the
 * plain definition, on blocks of every kind, for every type, with and without importance. */
#include "tests/unit/tap.h"
#include "tests/unit/device.h"
#include "tests/unit/rows.h"
#include "kernels/cuda/ggml_tile.h"

#define BRACED(...)                                                                                \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}
static const struct {
	enum qz_dtype type;
	struct recipe recipe;
} types[] = {
#define QZ_GGML(name, plain, weighted, importance)                                                 \
	{ QZ_##name, { BRACED plain, BRACED weighted, BRACED importance } },
#include "kernels/ggml_types.def"
#undef QZ_GGML
};
enum { TYPES = sizeof types / sizeof *types };

/* What the kernel does; `at` runs backwards, so that a phase that counted on an earlier thread would show. */
static void
run_tile(enum qz_dtype type, const struct recipe *r, const struct tile_job *j, int64_t tile)
{
	const struct search *s = j->importance ? &r->weighted : &r->plain;
	bool weighted = j->importance != NULL;
	static struct tile t;

	memset(&t, 0x5a, sizeof t);
	for (int at = TILE; at--;)
		tile_load(s, &t, j, tile, at);
	if (weighted && r->importance.span)
		for (int at = TILE; at--;)
			tile_means(s, &r->importance, &t, j, tile, at);
	for (int at = TILE; at--;)
		tile_search(type, s, &r->importance, &t, j, tile, at);
	if (s->kind != DIRECT) {
		for (int at = TILE; at--;)
			tile_scales(type, weighted, &t, j, tile, at);
		for (int at = TILE; at--;)
			tile_codes(type, s, &t, j, tile, at);
	}
	for (int at = TILE; at--;)
		tile_pack(type, s, &t, j, tile, at);
	for (int at = TILE; at--;)
		tile_store(type, &t, j, tile, at);
}

/* The mean of x^2 of each row, in order. */
static void
mean_rows(float *means, const float *x, int rows, int cols)
{
	for (int r = 0; r < rows; r++) {
		float sum = 0;

		for (int i = 0; i < cols; i++)
			sum += x[r * cols + i] * x[r * cols + i];
		means[r] = sum / (float)cols;
	}
}

static void
run_tiles(int k, uint8_t *y, const float *x, const float *importance, int rows, int cols)
{
	const struct qz_dtype_info *t = qz_dtype(types[k].type);
	const struct recipe *r = &types[k].recipe;
	float *means = need((size_t)rows * sizeof *means);
	struct tile_job j = { x, y, 0, cols / r->plain.len, (int)t->bytes, importance, means };

	j.subs = (int64_t)rows * j.row_subs;
	mean_rows(means, x, rows, cols);
	for (int64_t tile = 0; tile * TILE < j.subs; tile++)
		run_tile(types[k].type, r, &j, tile);
	free(means);
}

/* skew: how far y is from an address that 4 divides. */
static void
compare(struct qz_dev *plain, int k, int rows, int cols, int importance, int skew, uint64_t seed)
{
	enum qz_dtype type = types[k].type;
	size_t count = (size_t)rows * (size_t)cols;
	float *x = need(count * sizeof *x), *w = need((size_t)cols * sizeof *w);
	const float *given = make_importance(w, importance, cols);
	uint8_t *want, *got;
	uint64_t n;

	qz_dtype_nbytes(type, count, &n);
	want = memset(need((size_t)n + 8), 0xaa, (size_t)n + 8);
	got = memset(need((size_t)n + 8), 0xaa, (size_t)n + 8);
	for (int r = 0; r < rows; r++)
		make_row(x + r * cols, r, cols, seed);
	plain->k->quantize_ggml(plain, type, want + skew, x, rows, cols, given);
	run_tiles(k, got + skew, x, given, rows, cols);
	ok(!memcmp(want, got, (size_t)n + 8), "%s, %d rows of %d, importance %d, %d past a word",
	    qz_dtype(type)->name, rows, cols, importance, skew);
	free(want);
	free(got);
	free(x);
	free(w);
}

int
main(void)
{
	struct qz_dev *plain = open_variant("f64", 2);

	for (int k = 0; k < TYPES; k++)
		for (int importance = 0; importance < 3; importance++) {
			int block = (int)qz_dtype(types[k].type)->block;

			compare(plain, k, 1, block, importance, 0, 1);
			compare(plain, k, 3, 5 * block, importance, 2, 2);
			compare(plain, k, 60, 4096 + 256, importance, 0, 3);
		}
	qz_device_close(plain);
	return done();
}

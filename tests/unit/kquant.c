/* The searches of quantize_ggml: the lanes of every variant, and a GPU, give the bytes of the plain definition,
 * which is the oracle's, on rows of every kind, with and without importance, for any number of threads. */
#include "tests/unit/tap.h"
#include "tests/unit/device.h"
#include "tests/unit/rows.h"

enum { ROWS = 40, COLS_MAX = 4096 + 256 };

struct kase {
	enum qz_dtype type;
	int cols;
};

static uint8_t *
quantize(struct qz_dev *d, const struct kase *c, const float *x, const float *w, size_t *nbytes)
{
	uint64_t n;
	uint8_t *y;

	qz_dtype_nbytes(c->type, (uint64_t)ROWS * (uint64_t)c->cols, &n);
	y = memset(need((size_t)n + 1), 0xaa, (size_t)n + 1);
	d->k->quantize_ggml(d, c->type, y, x, ROWS, c->cols, w);
	*nbytes = (size_t)n + 1;
	return y;
}

/* Where two results differ first, for people. */
static void
tell(const struct kase *c, const uint8_t *a, const uint8_t *b, size_t n)
{
	size_t row = n / ROWS;

	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i]) {
			printf("# row %zu, block %zu, byte %zu\n", i / row,
			    i % row / qz_dtype(c->type)->bytes, i % row % qz_dtype(c->type)->bytes);
			return;
		}
}

static void
compare(struct qz_dev *plain, struct qz_dev *d, const char *variant, int threads,
    const struct kase *c, int importance, uint64_t seed)
{
	struct qz_err e = { 0 };
	float *x = need((size_t)ROWS * COLS_MAX * sizeof *x), w[COLS_MAX];
	const float *given = make_importance(w, importance, c->cols);
	size_t n;
	uint8_t *want, *got;

	for (int r = 0; r < ROWS; r++)
		make_row(x + r * c->cols, r, c->cols, seed);
	want = quantize(plain, c, x, given, &n);
	got = quantize(d, c, x, given, &n);
	ok(d->k->sync(d, &e) == 0 && !memcmp(want, got, n),
	    "%s, %d threads: %s in rows of %d, importance %d%s", variant, threads,
	    qz_dtype(c->type)->name, c->cols, importance, e.msg);
	tell(c, want, got, n - 1);
	free(want);
	free(got);
	free(x);
}

/* IQ4_NL divides by the sum of a block's weights.  A block whose columns were never anything gets the bytes that it
 * has without importance, the others those that they have with it. */
static void
blocks_without_weight(struct qz_dev *d, const char *variant)
{
	static const struct kase c = { QZ_IQ4_NL, 4096 + 256 };
	float *x = need((size_t)ROWS * (size_t)c.cols * sizeof *x), some[4096 + 256],
	      all[4096 + 256];
	uint8_t *plain, *weighted, *got;
	size_t n, bytes = qz_dtype(c.type)->bytes;
	int right = 0, blocks = ROWS * c.cols / 32;

	for (int r = 0; r < ROWS; r++)
		make_row(x + r * c.cols, r, c.cols, 5);
	make_importance(all, 1, c.cols);
	make_importance(some, 2, c.cols);
	plain = quantize(d, &c, x, NULL, &n);
	weighted = quantize(d, &c, x, all, &n);
	got = quantize(d, &c, x, some, &n);
	for (int i = 0; i < blocks; i++) {
		const uint8_t *want = i * 32 % c.cols / 64 % 2 ? plain : weighted;

		right += !memcmp(got + (size_t)i * bytes, want + (size_t)i * bytes, bytes);
	}
	ok(right == blocks, "%s: blocks without importance are quantized without it: %d of %d",
	    variant, right, blocks);
	free(plain);
	free(weighted);
	free(got);
	free(x);
}

int
main(void)
{
	static const char *const variants[] = { "base", "avx2", "avx512", "cuda" };
	static const struct kase cases[] = {
		{ QZ_Q2_K, 256 },
		{ QZ_Q2_K, 4096 + 256 }, /* one block, and more than a stretch */
		{ QZ_Q3_K, 256 },
		{ QZ_Q3_K, 4096 + 256 },
		{ QZ_Q4_K, 256 },
		{ QZ_Q4_K, 768 },
		{ QZ_Q4_K, 4096 + 256 },
		{ QZ_Q5_K, 256 },
		{ QZ_Q5_K, 4096 + 256 },
		{ QZ_Q6_K, 256 },
		{ QZ_Q6_K, 4096 + 256 },
		{ QZ_IQ4_NL, 32 },
		{ QZ_IQ4_NL, 17 * 32 },
		{ QZ_IQ4_NL, 4096 + 32 },
		{ QZ_IQ4_XS, 256 },
		{ QZ_IQ4_XS, 4096 + 256 },
		{ QZ_Q4_0, 32 },
		{ QZ_Q4_0, 4096 + 96 },
		{ QZ_Q4_1, 32 },
		{ QZ_Q4_1, 4096 + 96 },
		{ QZ_Q5_0, 32 },
		{ QZ_Q5_0, 4096 + 96 },
		{ QZ_Q5_1, 32 },
		{ QZ_Q5_1, 4096 + 96 },
		{ QZ_Q8_0, 32 },
		{ QZ_Q8_0, 4096 + 96 },
	};

	for (int v = 0; v < 4; v++) {
		struct qz_dev *plain = open_variant("f64", 1),
			      *d = open_variant(variants[v], 1 + v);

		if (!d || !plain)
			skip("%s: not on this machine", variants[v]);
		for (size_t i = 0; d && plain && i < sizeof cases / sizeof *cases; i++)
			for (int importance = 0; importance < 3; importance++)
				for (uint64_t seed = 0; seed < (v == 3 ? 10 : 1); seed++)
					compare(plain, d, variants[v], 1 + v, &cases[i], importance,
					    100 * (seed + 1));
		if (d && plain)
			blocks_without_weight(d, variants[v]);
		qz_device_close(plain);
		qz_device_close(d);
	}
	return done();
}

/* The exact ops give the same bytes on every CPU variant, with any number of threads, and on a GPU, and
 * what their definitions in ops.def say. */
#define _GNU_SOURCE
#include "tests/unit/tap.h"
#include "tests/unit/weights.h"
#include "libcore/base/half.h"

static const char *const variants[] = { "base", "avx2", "avx512", "avx512bf16", "f64", "cuda" };
enum { VARIANTS = sizeof variants / sizeof *variants };

/* Every float16 and bfloat16 there and back, and halves between two of them to the even one. */
static void
cast(const char *variant)
{
	struct qz_dev *d = open_variant(variant, 2);
	uint16_t *h, *back;
	float *f;
	double *g;

	if (!d) {
		skip("%s: not on this machine", variant);
		return;
	}
	h = need(65536 * 2);
	back = need(65536 * 2);
	f = need(65536 * 4);
	g = need(65536 * 8);
	for (int i = 0; i < 65536; i++)
		h[i] = (uint16_t)i;
	for (int t = QZ_F16; t <= QZ_BF16; t++) {
		int same = 0, right = 0, even = 0, n = 0, inf = t == QZ_F16 ? 0x7c00 : 0x7f80;

		d->k->cast(d, f, QZ_F32, h, (enum qz_dtype)t, 65536);
		d->k->cast(d, g, QZ_F64, h, (enum qz_dtype)t, 65536);
		d->k->cast(d, back, (enum qz_dtype)t, g, QZ_F64, 65536);
		for (int i = 0; i < 65536; i++) {
			bool nan = (i & 0x7fff) > inf;

			same += nan ? (back[i] & 0x7fff) > inf : back[i] == i;
			right += nan ? isnan(f[i]) : f[i] == g[i];
		}
		ok(same == 65536 && right == 65536, "%s: every %s there and back", variant,
		    qz_dtype((unsigned)t)->name);
		for (int i = 0; i < inf; i++, n++) {
			f[i] = (float)((g[i] + (i + 1 == inf ? 2 * g[i] - g[i - 1] : g[i + 1])) /
				       2);
		}
		d->k->cast(d, back, (enum qz_dtype)t, f, QZ_F32, inf);
		for (int i = 0; i < inf; i++)
			even += back[i] == i + (i & 1);
		ok(even == n, "%s: %s, halfway goes to even: %d of %d", variant,
		    qz_dtype((unsigned)t)->name, even, n);
	}
	free(h);
	free(back);
	free(f);
	free(g);
	qz_device_close(d);
}

/* Odd lengths leave what is behind alone. */
static void
cast_lengths(void)
{
	static const int lengths[] = { 1, 7, 63, 64, 65, 255, 1023, 1025, 16383, 16385 };
	static const enum qz_dtype types[] = { QZ_F32, QZ_F16, QZ_BF16, QZ_F64 };
	struct qz_dev *d = open_variant("base", 2);
	struct out o = { 0 };
	float *x = floats(&o, 1, 20000, 1);

	for (int t = 0; t < 4; t++) {
		size_t size = qz_dtype(types[t])->bytes;
		uint8_t *all = poison(&o, 20000, size), *y = poison(&o, 20000, size);
		int right = 0;

		d->k->cast(d, all, types[t], x, QZ_F32, 20000);
		for (int i = 0; i < 10; i++) {
			size_t n = (size_t)lengths[i] * size;

			memset(y, 0xff, 20000 * size);
			d->k->cast(d, y, types[t], x, QZ_F32, lengths[i]);
			right += !memcmp(y, all, n) && y[n] == 0xff && y[n + size - 1] == 0xff;
		}
		ok(right == 10, "cast to %s in odd lengths", qz_dtype(types[t])->name);
	}
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
	qz_device_close(d);
}

static void
merge(struct qz_dev *d, uint8_t *y, const int *s, struct out *o)
{
	float *w = floats(o, 1, (int64_t)s[0] * s[1], 1),
	      *a = floats(o, 2, (int64_t)s[2] * s[1], 1);
	float *b = floats(o, 3, (int64_t)s[0] * s[2], 1);

	d->k->merge(d, w, a, b, 0.7f, s[0], s[1], s[2]);
	memcpy(y, w, (size_t)s[0] * (size_t)s[1] * 4);
}

static void
int8(struct qz_dev *d, uint8_t *y, const int *s, struct out *o)
{
	float *x = floats(o, 1, (int64_t)s[0] * s[1], 1);

	d->k->quantize8(
	    d, (int8_t *)y, (float *)(void *)(y + s[0] * s[1] / 4 * 4 + 4), x, QZ_F32, s[0], s[1]);
}

static void
decode(struct qz_dev *d, uint8_t *y, const int *s, struct out *o)
{
	struct qz_mat w = weight(d, o, (enum qz_dtype)s[2], s[0], s[1], 1);

	d->k->dequantize(d, y, (enum qz_dtype)s[3], &w, 0, s[0]);
}

static void
ggml(struct qz_dev *d, uint8_t *y, const int *s, struct out *o)
{
	d->k->quantize_ggml(
	    d, (enum qz_dtype)s[2], y, floats(o, 1, (int64_t)s[0] * s[1], 1), s[0], s[1], NULL);
}

/* The same bytes everywhere; the last output byte lies before the end of the buffer. */
static void
equal(void)
{
	static const struct {
		const char *name;
		void (*run)(struct qz_dev *, uint8_t *, const int *, struct out *);
		int shape[4];
	} cases[] = {
		{ "merge", merge, { 1, 1, 1 } },
		{ "merge", merge, { 7, 63, 5 } },
		{ "merge", merge, { 65, 255, 16 } },
		{ "merge", merge, { 64, 64, 1 } },
		{ "quantize8", int8, { 1, 1 } },
		{ "quantize8", int8, { 65, 63 } },
		{ "quantize8", int8, { 3, 2049 } },
		{ "dequantize", decode, { 65, 63, QZ_NF4, QZ_F32 } },
		{ "dequantize", decode, { 65, 63, QZ_NF4, QZ_BF16 } },
		{ "dequantize", decode, { 255, 255, QZ_NF4, QZ_F16 } },
		{ "dequantize", decode, { 63, 65, QZ_FP4, QZ_F64 } },
		{ "dequantize", decode, { 7, 255, QZ_INT8, QZ_F32 } },
		{ "dequantize", decode, { 7, 96, QZ_Q4_0, QZ_BF16 } },
		{ "dequantize", decode, { 7, 96, QZ_Q5_1, QZ_F16 } },
		{ "dequantize", decode, { 600, 96, QZ_Q8_0, QZ_F32 } },
		{ "quantize_ggml", ggml, { 65, 64, QZ_Q4_0 } },
		{ "quantize_ggml", ggml, { 65, 64, QZ_Q4_1 } },
		{ "quantize_ggml", ggml, { 65, 64, QZ_Q5_0 } },
		{ "quantize_ggml", ggml, { 65, 64, QZ_Q5_1 } },
		{ "quantize_ggml", ggml, { 65, 64, QZ_Q8_0 } },
	};
	enum { SIZE = 1 << 20 };
	uint8_t *want = need(SIZE), *got = need(SIZE);

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (int v = 0; v < VARIANTS; v++) {
			struct qz_dev *d = open_variant(variants[v], v % 2 + 1);
			struct out o = { 0 };
			struct qz_err e = { 0 };
			const int *s = cases[i].shape;

			if (!d)
				continue;
			memset(v ? got : want, 0xff, SIZE);
			cases[i].run(d, v ? got : want, s, &o);
			ok(d->k->sync(d, &e) == 0 &&
				(v ? !memcmp(got, want, SIZE)
				   : want[0] != 0xff || want[1] != 0xff) &&
				want[SIZE - 1] == 0xff,
			    "%s: %s %d %d %d %d%s", variants[v], cases[i].name, s[0], s[1], s[2],
			    s[3], e.msg);
			for (int k = 0; k < o.n_owned; k++)
				free(o.owned[k]);
			qz_device_close(d);
		}
	}
	free(want);
	free(got);
}

/* Each definition, element by element. */
static void
definitions(void)
{
	struct qz_dev *d = open_variant("base", 2);
	struct out o = { 0 };
	float *w = floats(&o, 1, 63 * 65, 1), *was = floats(&o, 1, 63 * 65, 1);
	float *a = floats(&o, 2, 5 * 65, 1), *b = floats(&o, 3, 63 * 5, 1),
	      *x = floats(&o, 4, 63 * 65, 1);
	float absmax[63], *back = floats(&o, 5, 63 * 65, 1);
	int8_t codes[63 * 65];
	struct qz_mat m = {
		.type = QZ_INT8, .rows = 63, .cols = 65, .data = codes, .absmax = absmax
	};
	int right = 0, whole = 0, values = 0;

	d->k->merge(d, w, a, b, 1.5f, 63, 65, 5);
	memset(x + 65 * 7, 0, 65 * sizeof *x);
	d->k->quantize8(d, codes, absmax, x, QZ_F32, 63, 65);
	d->k->dequantize(d, back, QZ_F32, &m, 0, 63);
	for (int i = 0; i < 63 * 65; i++) {
		int row = i / 65;
		volatile float sum = 0, product, max = 0;

		for (int r = 0; r < 5; r++) {
			product = b[row * 5 + r] * a[r * 65 + i % 65];
			sum += product;
		}
		product = 1.5f * sum;
		right += w[i] == was[i] + product;
		for (int c = 0; c < 65; c++)
			max = fmaxf(max, fabsf(x[row * 65 + c]));
		product = max > 0 ? x[i] * (127.0f / max) : 0;
		whole += codes[i] == (int)nearbyintf(product) && absmax[row] == max;
		product = (float)codes[i] * max;
		values += back[i] == product / 127.0f;
	}
	ok(right == 63 * 65, "merge is its definition: %d", right);
	ok(whole == 63 * 65, "quantize8 is its definition: %d", whole);
	ok(values == 63 * 65, "int8 comes back by its definition: %d", values);
	for (int k = 0; k < o.n_owned; k++)
		free(o.owned[k]);
	qz_device_close(d);
}

static void
nonfinite(const char *variant)
{
	static const struct {
		enum qz_dtype type;
		uint64_t bits;
		int64_t n, at;
	} rows[] = {
		{ QZ_F32, 0x7f800000, 1, 0 },
		{ QZ_F32, 0xff800000, 65, 64 },
		{ QZ_F32, 0x7fc00000, 3000000, 2999999 },
		{ QZ_F32, 0x7f800001, 3000000, 1500000 },
		{ QZ_F16, 0x7c00, 255, 17 },
		{ QZ_F16, 0xfe00, 1025, 1024 },
		{ QZ_BF16, 0x7f80, 63, 0 },
		{ QZ_BF16, 0xffff, 20000, 16384 },
		{ QZ_F64, 0x7ff0000000000000, 7, 3 },
		{ QZ_F64, 0xfff8000000000000, 7, 6 },
		{ QZ_F64, 0x7e37e43c8800759c, 2000, 1024 },
	};
	struct qz_dev *d = open_variant(variant, 2);

	for (size_t i = 0; d && i < sizeof rows / sizeof *rows; i++) {
		size_t size = qz_dtype(rows[i].type)->bytes;
		uint8_t *x = need((size_t)rows[i].n * size);
		int64_t clean, one, two;

		for (size_t j = 0; j < (size_t)rows[i].n * size; j++)
			x[j] = (uint8_t)(j % 0x3c);
		d->k->find_nonfinite(d, &clean, x, rows[i].type, rows[i].n);
		memcpy(x + (size_t)rows[i].at * size, &rows[i].bits, size);
		d->k->find_nonfinite(d, &one, x, rows[i].type, rows[i].n);
		memcpy(x + (size_t)(rows[i].n - 1) * size, &rows[i].bits, size);
		d->k->find_nonfinite(d, &two, x, rows[i].type, rows[i].n);
		ok(clean == -1 && one == rows[i].at && two == rows[i].at,
		    "%s: %s %llx at %lld of %lld", variant, qz_dtype(rows[i].type)->name,
		    (unsigned long long)rows[i].bits, (long long)rows[i].at, (long long)rows[i].n);
		free(x);
	}
	qz_device_close(d);
}

int
main(void)
{
	for (int v = 0; v < VARIANTS; v++)
		cast(variants[v]);
	cast_lengths();
	equal();
	definitions();
	for (int v = 0; v < VARIANTS; v++)
		nonfinite(variants[v]);
	return done();
}

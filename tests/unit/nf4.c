/* 4-bit types against the bytes that bitsandbytes' CPU backend gave (golden/nf4), on every CPU variant
 * and on a GPU. */
#define _GNU_SOURCE
#include "tests/unit/tap.h"
#include "tests/unit/device.h"
#include "tests/unit/st.h"
#include "kernels/nf4.h"

static uint32_t
crc32(const void *data, size_t n)
{
	const uint8_t *p = data;
	uint32_t c = ~0u;

	for (size_t i = 0; i < n; i++) {
		c ^= p[i];
		for (int k = 0; k < 8; k++)
			c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0);
	}
	return ~c;
}

static void
tables(void)
{
	static const float means[][4] = { { 1, 2, 4, 0 }, { 0.1f, 0.1f, 0.1f, 0.1f } };

	ok(crc32(qz_map4(QZ_NF4), 64) == 0xc471f81a, "NF4's values");
	ok(crc32(qz_map4(QZ_FP4), 64) == 0x0967dbc3, "FP4's values");
	ok(crc32(qz_map8_signed(), 1024) == 0x1b137aeb, "signed dynamic map");
	ok(crc32(qz_map8_unsigned(), 1024) == 0xe871278f, "unsigned dynamic map");
	ok(qz_absmax_mean(means[0], 4) == 1.75f, "mean");
	ok(qz_absmax_mean(means[1], 4) == 0.1f, "mean of equals");
	ok(qz_absmax_mean(means[0], 0) == 0, "mean of nothing");
	for (int t = QZ_NF4; t <= QZ_FP4; t++) {
		const float *map = qz_map4((enum qz_dtype)t), *bound = qz_bounds4((enum qz_dtype)t);
		const uint8_t *order = qz_order4((enum qz_dtype)t);
		int right = 0;

		for (int i = 0; i < 15; i++)
			right += bound[i] == (map[order[i]] + map[order[i + 1]]) / 2;
		ok(right == 15, "%s: thresholds are the midpoints", qz_dtype((unsigned)t)->name);
	}
	ok(!qz_map4(QZ_F32) && !qz_bounds4(QZ_INT8) && !qz_order4(QZ_Q4_0),
	    "other types have no 4-bit map");
}

/* One case of vectors.json. */
struct vector {
	char name[128];
	size_t n; /* elements */
	enum qz_dtype type, x_type;
	int block, nested_block;
	float offset;
	void *x, *codes, *absmax, *nested, *dequant;
	size_t x_n, codes_n, absmax_n, nested_n, dequant_n;
};

static void *
part(const struct st *st, const char *name, const char *suffix, size_t *n)
{
	char key[160];

	snprintf(key, sizeof key, "%s%s", name, suffix);
	return st_get(st, key, n);
}

static void
load(struct vector *v, const struct st *st, const struct qz_json *j)
{
	const struct qz_json *dtype = qz_json_get(
	    qz_json_get(st->header, qz_json_string(qz_json_get(j, "input"), "")), "dtype");

	memset(v, 0, sizeof *v);
	snprintf(v->name, sizeof v->name, "%s", qz_json_key(j));
	v->type = qz_dtype_by_name(qz_json_string(qz_json_get(j, "quant_type"), ""));
	v->x_type = qz_dtype_by_st(qz_json_string(dtype, ""));
	v->block = (int)qz_json_number(qz_json_get(j, "blocksize"), 0);
	v->nested_block = (int)qz_json_number(qz_json_get(j, "nested_blocksize"), 0);
	v->offset = (float)qz_json_number(qz_json_get(j, "nested_offset"), 0);
	v->x = st_get(st, qz_json_string(qz_json_get(j, "input"), ""), &v->x_n);
	v->codes = part(st, v->name, ".codes", &v->codes_n);
	v->absmax = part(st, v->name, ".absmax", &v->absmax_n);
	v->nested = part(st, v->name, ".nested_absmax", &v->nested_n);
	v->dequant = part(st, v->name, ".dequant", &v->dequant_n);
	v->n = v->x_n / qz_dtype(v->x_type)->bytes;
}

static void
unload(struct vector *v)
{
	free(v->x);
	free(v->codes);
	free(v->absmax);
	free(v->nested);
	free(v->dequant);
}

/* The bytes; but bitsandbytes reads FP4's second zero, code 8, as -0 in its AVX-512 routine and as 0
 * in its general one, and in the table that it saves: there equal numbers will do. */
static bool
equal(const struct vector *v, const void *got)
{
	const float *a = got, *b = v->dequant;

	if (v->dequant_n != v->x_n || v->type == QZ_NF4 || v->x_type != QZ_F32)
		return v->dequant_n == v->x_n && !memcmp(got, v->dequant, v->x_n);
	for (size_t i = 0; i < v->n; i++)
		if (!(a[i] == b[i]))
			return false;
	return true;
}

static void
check(struct qz_dev *d, const struct vector *v, const char *variant)
{
	size_t blocks = (v->n + (size_t)v->block - 1) / (size_t)v->block, half = (v->n + 1) / 2;
	uint8_t *codes = need(half), *absmax8 = need(blocks);
	float *absmax = need(4 * blocks), *nested = need(4 * blocks);
	void *back = need(v->x_n);
	struct qz_mat w = { v->type, 1, (int64_t)v->n, (uint32_t)v->block,
		(uint32_t)v->nested_block, v->offset, codes, absmax, nested, qz_map8_signed(),
		qz_map4(v->type) };
	struct qz_err e = { 0 };
	int same;

	memset(codes, 0xff, half);
	d->k->quantize4(d, v->type, codes, absmax, v->x, v->x_type, (int64_t)v->n, v->block);
	same = half == v->codes_n && !memcmp(codes, v->codes, half);
	if (v->nested_block) {
		d->k->nest_absmax(
		    d, absmax8, nested, absmax, v->offset, (int64_t)blocks, v->nested_block);
		same = same && !memcmp(absmax8, v->absmax, v->absmax_n) &&
		       !memcmp(nested, v->nested, v->nested_n);
		w.absmax = absmax8;
	} else {
		same = same && !memcmp(absmax, v->absmax, v->absmax_n);
	}
	ok(same && d->k->sync(d, &e) == 0, "%s: %s", variant, v->name);
	if (v->dequant) {
		memset(back, 0xff, v->x_n);
		d->k->dequantize(d, back, v->x_type, &w, 0, 1);
		ok(equal(v, back), "%s: %s back", variant, v->name);
	}
	free(codes);
	free(absmax8);
	free(absmax);
	free(nested);
	free(back);
}

static void
golden(const char *variant)
{
	struct qz_dev *d = open_variant(variant, 2);
	const char *path;
	struct st st;
	struct qz_json *cases;
	struct qz_err e;
	char *text;
	size_t n;

	if (!d) {
		skip("%s: not on this machine", variant);
		return;
	}
	path = shared("golden/nf4/vectors.safetensors");
	if (!path) {
		skip("no golden/nf4");
		qz_device_close(d);
		return;
	}
	st_open(&st, path);
	text = read_whole(shared("golden/nf4/vectors.json"), &n);
	cases = qz_json_parse(text, n, &e);
	for (const struct qz_json *j = qz_json_first(qz_json_get(cases, "cases")); j;
	     j = qz_json_next(j)) {
		struct vector v;

		load(&v, &st, j);
		check(d, &v, variant);
		unload(&v);
	}
	qz_json_free(cases);
	free(text);
	st_close(&st);
	qz_device_close(d);
}

/* The search for 8-bit codes alone, with the map's values as they stand in the golden file. */
static void
nested(void)
{
	const char *path = shared("golden/nf4/vectors.safetensors");
	static const char *const names[] = { "b8_normal", "b8_zero", "b8_small", "b8_one" };
	struct qz_dev *d = open_variant("base", 1);
	struct st st;

	if (!path) {
		skip("no golden/nf4");
		qz_device_close(d);
		return;
	}
	st_open(&st, path);
	for (int i = 0; i < 4; i++) {
		size_t xn, qn, an;
		float *x = st_get(&st, names[i], &xn),
		      *absmax = part(&st, names[i], ".s.absmax", &an), got[16];
		uint8_t *q = part(&st, names[i], ".s.q", &qn), codes[4096];

		d->k->nest_absmax(d, codes, got, x, 0, (int64_t)xn / 4, 256);
		ok(!memcmp(codes, q, qn), "%s: codes", names[i]);
		ok(!memcmp(got, absmax, an), "%s: absmax", names[i]);
		free(x);
		free(absmax);
		free(q);
	}
	st_close(&st);
	qz_device_close(d);
}

/* A whole model that transformers saved: its bytes give its values, rows taken from the middle too. */
static void
model(void)
{
	const char *path = shared("golden/nf4/stories260k-dequant.safetensors");
	struct qz_dev *d = open_variant("base", 2);
	struct st want, have;
	int tensors = 0, right = 0, middle = 0;

	if (!path) {
		skip("no golden/nf4");
		qz_device_close(d);
		return;
	}
	st_open(&want, path);
	st_open(&have, shared("golden/nf4/stories260k-bnb4/model.safetensors"));
	for (const struct qz_json *j = qz_json_first(want.header); j; j = qz_json_next(j)) {
		const char *name = qz_json_key(j);
		const struct qz_json *shape = qz_json_first(qz_json_get(j, "shape"));
		size_t n, size;
		float *value = st_get(&want, name, &size), *got = need(size);
		char *state = part(&have, name, ".quant_state.bitsandbytes__nf4", &n);
		void *codes = st_get(&have, name, &n), *absmax = part(&have, name, ".absmax", &n);
		void *nested_absmax = part(&have, name, ".nested_absmax", &n);
		void *nested_map = part(&have, name, ".nested_quant_map", &n);
		void *map = part(&have, name, ".quant_map", &n);
		const char *offset = state ? strstr(state, "nested_offset\": ") : NULL;
		struct qz_mat w = { QZ_NF4, 0, 0, 64, 256, 0, codes, absmax, nested_absmax,
			nested_map, map };

		if (!shape || !offset) {
			free(value);
			free(got);
			continue;
		}
		w.rows = (int64_t)qz_json_number(shape, 0);
		w.cols = (int64_t)qz_json_number(qz_json_next(shape), 0);
		w.offset = (float)strtod(offset + strlen("nested_offset\": "), NULL);
		tensors++;
		d->k->dequantize(d, got, QZ_F32, &w, 0, w.rows);
		right += !memcmp(got, value, size);
		d->k->dequantize(d, got, QZ_F32, &w, 3, 2);
		middle += !memcmp(got, value + 3 * w.cols, (size_t)w.cols * 8);
		free(value);
		free(got);
		free(state);
		free(codes);
		free(absmax);
		free(nested_absmax);
		free(nested_map);
		free(map);
	}
	ok(tensors == 35 && right == tensors,
	    "%d of %d weights of a model as transformers saved it", right, tensors);
	ok(middle == tensors, "two rows from the middle of each");
	st_close(&want);
	st_close(&have);
	qz_device_close(d);
}

static void
refusals(void)
{
	struct qz_dev *d = open_variant("base", 1);
	uint8_t codes[64];
	float absmax[64] = { 0 }, x[64] = { 0 };
	struct qz_err e = { 0 };
	struct qz_mat w = { .type = QZ_U8, .rows = 1, .cols = 4, .data = codes };

	d->k->quantize4(d, QZ_F32, codes, absmax, x, QZ_F32, 64, 64);
	ok(d->k->sync(d, &e) == -1 && e.code == QZ_EUSAGE, "quantize4 to f32 is refused: %s",
	    e.msg);
	d->k->quantize4(d, QZ_NF4, codes, absmax, x, QZ_F32, 64, 8192);
	ok(d->k->sync(d, &e) == -1 && e.code == QZ_EUSAGE, "blocks of 8192 are refused: %s", e.msg);
	d->k->quantize4(d, QZ_NF4, codes, absmax, x, QZ_NF4, 64, 64);
	ok(d->k->sync(d, &e) == -1 && e.code == QZ_EDATA, "nf4 from nf4 is refused: %s", e.msg);
	d->k->dequantize(d, x, QZ_F32, &w, 0, 1);
	ok(d->k->sync(d, &e) == -1 && e.code == QZ_EDATA, "u8 is no weight: %s", e.msg);
	d->k->nest_absmax(d, codes, absmax, x, 0, 64, 0);
	ok(d->k->sync(d, &e) == -1, "nested blocks of 0 are refused: %s", e.msg);
	ok(d->k->sync(d, &e) == 0, "a failure is told once");
	qz_device_close(d);
}

int
main(void)
{
	static const char *const variants[] = { "base", "avx2", "avx512", "avx512bf16", "f64",
		"cuda" };

	tables();
	for (int i = 0; i < 5; i++)
		golden(variants[i]);
	nested();
	model();
	refusals();
	return done();
}

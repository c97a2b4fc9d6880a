/* Plain types to and from float, and the search for what is no number. */
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "libcore/base/half.h"

bool
CPU(is_plain)(struct qz_dev *d, enum qz_dtype type, const char *op)
{
	const struct qz_dtype_info *t = qz_dtype(type);

	if (t && t->plain)
		return true;
	CPU(fail)(d, QZ_EDATA, "%s: type %s is not f32, f16, bf16 or f64", op, t ? t->name : "?");
	return false;
}

static void
load_f16(float *restrict y, const uint16_t *restrict x, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = qz_f16_to_f32(x[i]);
}

static void
load_bf16(float *restrict y, const uint16_t *restrict x, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = qz_bf16_to_f32(x[i]);
}

static void
load_f64(float *restrict y, const double *restrict x, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = (float)x[i];
}

void
CPU(load)(float *y, const void *x, enum qz_dtype type, int64_t i, int64_t n)
{
	if (type == QZ_F32)
		memcpy(y, (const float *)x + i, (size_t)n * sizeof *y);
	else if (type == QZ_F16)
		load_f16(y, (const uint16_t *)x + i, n);
	else if (type == QZ_BF16)
		load_bf16(y, (const uint16_t *)x + i, n);
	else
		load_f64(y, (const double *)x + i, n);
}

static void
store_f16(uint16_t *restrict y, const float *restrict x, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = qz_f32_to_f16(x[i]);
}

static void
store_bf16(uint16_t *restrict y, const float *restrict x, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = qz_f32_to_bf16(x[i]);
}

static void
store_f64(double *restrict y, const float *restrict x, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		y[i] = x[i];
}

void
CPU(store)(void *y, enum qz_dtype type, int64_t i, const float *x, int64_t n)
{
	if (type == QZ_F32)
		memcpy((float *)y + i, x, (size_t)n * sizeof *x);
	else if (type == QZ_F16)
		store_f16((uint16_t *)y + i, x, n);
	else if (type == QZ_BF16)
		store_bf16((uint16_t *)y + i, x, n);
	else
		store_f64((double *)y + i, x, n);
}

struct cast {
	void *y;
	const void *x;
	enum qz_dtype y_type, x_type;
	int64_t n;
};

static void
cast_part(void *arg, int part, int thread)
{
	const struct cast *c = arg;
	int64_t i = (int64_t)part * QZ_CPU_GRAIN, end = min64(i + QZ_CPU_GRAIN, c->n);
	float tile[QZ_CPU_TILE];

	(void)thread;
	for (; i < end; i += QZ_CPU_TILE) {
		int64_t n = min64(QZ_CPU_TILE, end - i);

		if (c->y_type == QZ_F32) {
			CPU(load)((float *)c->y + i, c->x, c->x_type, i, n);
		} else if (c->x_type == QZ_F32) {
			CPU(store)(c->y, c->y_type, i, (const float *)c->x + i, n);
		} else {
			CPU(load)(tile, c->x, c->x_type, i, n);
			CPU(store)(c->y, c->y_type, i, tile, n);
		}
	}
}

void
CPU(cast)(
    struct qz_dev *d, void *y, enum qz_dtype y_type, const void *x, enum qz_dtype x_type, int64_t n)
{
	struct cast c = { y, x, y_type, x_type, n };

	if (CPU(is_plain)(d, y_type, "cast") && CPU(is_plain)(d, x_type, "cast"))
		CPU(run)(d, n_parts(n, QZ_CPU_GRAIN), cast_part, &c);
}

struct search {
	const void *x;
	enum qz_dtype type;
	int64_t n;
	int64_t *found; /* one a group of parts */
	int group;
};

/* Where all bits of the exponent are set, NaN and infinities; -1: nowhere.  Blocks are looked at whole first. */
static int64_t
first16(const uint16_t *x, int64_t n, uint16_t exponent)
{
	uint16_t bad = 0;

	for (int64_t i = 0; i < n; i++)
		bad |= (uint16_t)((x[i] & exponent) == exponent);
	for (int64_t i = 0; bad && i < n; i++)
		if ((x[i] & exponent) == exponent)
			return i;
	return -1;
}

static int64_t
first32(const float *x, int64_t n, uint32_t exponent)
{
	uint32_t bad = 0;

	for (int64_t i = 0; i < n; i++)
		bad |= (qz_f32_bits(x[i]) & exponent) == exponent;
	for (int64_t i = 0; bad && i < n; i++)
		if ((qz_f32_bits(x[i]) & exponent) == exponent)
			return i;
	return -1;
}

/* A float64 beyond float32 counts as infinite: every reader goes through float32. */
static int64_t
first_nonfinite(const void *x, enum qz_dtype type, int64_t i, int64_t n)
{
	float tile[QZ_CPU_TILE];

	if (type == QZ_F16)
		return first16((const uint16_t *)x + i, n, 0x7c00);
	if (type == QZ_BF16)
		return first16((const uint16_t *)x + i, n, 0x7f80);
	if (type == QZ_F32)
		return first32((const float *)x + i, n, 0x7f800000);
	CPU(load)(tile, x, type, i, n);
	return first32(tile, n, 0x7f800000);
}

static void
search_part(void *arg, int part, int thread)
{
	const struct search *s = arg;
	int64_t per = (s->n + s->group - 1) / s->group;
	int64_t i = part * per, end = min64(i + per, s->n);

	(void)thread;
	s->found[part] = -1;
	for (; i < end && s->found[part] < 0; i += QZ_CPU_TILE) {
		int64_t n = min64(QZ_CPU_TILE, end - i);
		int64_t at = first_nonfinite(s->x, s->type, i, n);

		if (at >= 0)
			s->found[part] = i + at;
	}
}

void
CPU(find_nonfinite)(
    struct qz_dev *d, int64_t *first, const void *x, enum qz_dtype x_type, int64_t n)
{
	int64_t found[256];
	struct search s = { x, x_type, n, found, n < 1 << 20 ? 1 : 256 };

	*first = -1;
	if (!CPU(is_plain)(d, x_type, "find_nonfinite"))
		return;
	CPU(run)(d, s.group, search_part, &s);
	for (int i = 0; i < s.group && *first < 0; i++)
		*first = found[i];
}

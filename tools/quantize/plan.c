#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "tools/quantize/quantize.h"

static bool
is_skipped(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->n_skip; i++)
		if (fnmatch(p->skip[i], name, 0) == 0)
			return true;
	return false;
}

/* The projections get the type asked for; a float type is for the embedding and the head too.  ggml
 * blocks of anything else become f16: only projections are computed with as they are stored. */
static enum qz_dtype
type_of(const struct plan *p, const struct qz_tensor *in)
{
	const struct qz_dtype_info *info = qz_dtype((unsigned)in->dtype);
	int layer, r = qz_role_of(in->name, &layer);
	bool matrix = r == QZ_EMBED || r == QZ_HEAD;

	if (!p->type)
		return in->dtype;
	if (!is_skipped(p, in->name)) {
		if (r >= 0 && qz_role((enum qz_role)r)->linear)
			return p->type;
		if (matrix && qz_dtype((unsigned)p->type)->plain)
			return p->type;
	}
	return info->plain || info->scaled ? in->dtype : QZ_F16;
}

static bool
is_4bit(enum qz_dtype t)
{
	return t == QZ_NF4 || t == QZ_FP4;
}

int
plan_tensor(
    const struct plan *p, const struct qz_tensor *in, struct qz_tensor *out, struct qz_err *e)
{
	*out = *in;
	out->dtype = type_of(p, in);
	if (out->dtype != in->dtype || (p->type == in->dtype && !is_skipped(p, in->name))) {
		out->block = is_4bit(out->dtype) ? p->block : 0;
		out->nested_block = is_4bit(out->dtype) ? p->nested_block : 0;
	}
	return qz_tensor_plan(out, e) < 0 ? qz_at(e, "tensor %s", in->name) : 0;
}

struct qz_tensor *
plan_all(const struct plan *p, const struct qz_tensor *in, size_t n, struct qz_err *e)
{
	struct qz_tensor *out = calloc(n + 1, sizeof *out);

	if (!out)
		qz_nomem(e, n * sizeof *out);
	for (size_t i = 0; out && i < n; i++) {
		if (plan_tensor(p, &in[i], &out[i], e) == 0)
			continue;
		free(out);
		out = NULL;
	}
	return out;
}

uint64_t
plan_unit(const struct plan *p, const struct qz_config *c)
{
	static const enum qz_role wide[] = { QZ_Q, QZ_O, QZ_DOWN };
	uint64_t unit = 1;

	for (size_t i = 0; is_4bit(p->type) && i < sizeof wide / sizeof *wide; i++) {
		uint64_t dims[2], rows = 1;
		int n;

		qz_config_shape(c, wide[i], dims, &n);
		while (rows * dims[1] % p->block)
			rows *= 2;
		unit = rows > unit ? rows : unit;
	}
	return unit;
}

#include "tools/gguf/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* File types: llama.h of llama.cpp, enum llama_ftype. */
static const struct target targets[] = {
	{ "f32", QZ_F32, 0 },
	{ "f16", QZ_F16, 1 },
	{ "bf16", QZ_BF16, 32 },
	{ "q8_0", QZ_Q8_0, 7 },
};

/* What a matrix becomes whose rows are no whole number of blocks: as llama-quantize does. */
static const struct {
	enum qz_dtype type, instead;
} fallbacks[] = {
	{ QZ_Q8_0, QZ_F16 },
};

const struct target *
target_find(const char *name)
{
	for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
		if (!strcmp(targets[i].name, name))
			return &targets[i];
	return NULL;
}

static bool
ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), t = strlen(tail);

	return n >= t && !strcmp(s + n - t, tail);
}

/* The type for rows of cols elements. */
static enum qz_dtype
fit(enum qz_dtype type, uint64_t cols)
{
	for (size_t i = 0; i < sizeof fallbacks / sizeof *fallbacks; i++)
		if (fallbacks[i].type == type && cols % qz_dtype((unsigned)type)->block)
			type = fallbacks[i].instead;
	return type;
}

/* llama.cpp computes with vectors in float32; everything else is a matrix. */
static bool
stays_f32(const struct planned *p, const struct qz_tensor *t)
{
	return t->n_dims < 2 || ends_with(p->name, "_norm.weight") ||
	       !ends_with(p->name, ".weight");
}

static int
plan_one(struct plan *p, const struct qz_tensor *t, const struct target *target,
    struct planned *out, struct qz_err *e)
{
	uint64_t cols = t->dims[t->n_dims - 1];
	int layer, role = qz_role_of(t->name, &layer);

	if (role < 0)
		return qz_fail(e, QZ_EDATA, "tensor %s has no name in GGUF", t->name);
	qz_role_gguf_name((enum qz_role)role, layer, out->name, sizeof out->name);
	out->type = stays_f32(out, t) ? QZ_F32 : fit(target->type, cols);
	out->permuted = p->config->family->gguf_permuted &&
			(role == QZ_Q || role == QZ_K || role == QZ_Q_BIAS || role == QZ_K_BIAS);
	if (qz_dtype_nbytes(out->type, cols, &out->row_nbytes))
		return qz_fail(e, QZ_EDATA, "tensor %s: rows of %llu elements do not fit %s",
		    t->name, (unsigned long long)cols, qz_dtype((unsigned)out->type)->name);
	if (!stays_f32(out, t) && out->type != target->type && !p->n_fallback++)
		snprintf(p->fallback, sizeof p->fallback,
		    "%s is %s: rows of %llu elements are no multiple of %u", out->name,
		    qz_dtype((unsigned)out->type)->name, (unsigned long long)cols,
		    qz_dtype((unsigned)target->type)->block);
	p->n_params += qz_tensor_count(t);
	return 0;
}

int
plan_make(struct plan *p, const struct qz_config *c, const struct qz_tensor *manifest, size_t n,
    const struct target *t, struct qz_err *e)
{
	*p = (struct plan){ .config = c, .rope_factors = c->rope_kind == QZ_ROPE_LLAMA3 };
	p->tensors = calloc(n + 1, sizeof *p->tensors);
	if (!p->tensors)
		return qz_nomem(e, n * sizeof *p->tensors);
	if (p->rope_factors)
		p->n_params += (uint64_t)c->head_dim / 2;
	for (; p->n < n; p->n++)
		if (plan_one(p, &manifest[p->n], t, &p->tensors[p->n], e) < 0)
			return -1;
	return 0;
}

void
plan_free(struct plan *p)
{
	free(p->tensors);
	*p = (struct plan){ 0 };
}

int
plan_put(
    const struct plan *p, const struct qz_tensor *manifest, struct qz_ggufw *g, struct qz_err *e)
{
	const uint64_t half = (uint64_t)p->config->head_dim / 2;

	if (p->rope_factors && qz_ggufw_tensor(g, "rope_freqs.weight", QZ_F32, &half, 1, e) < 0)
		return -1;
	for (size_t i = 0; i < p->n; i++)
		if (qz_ggufw_tensor(g, p->tensors[i].name, p->tensors[i].type, manifest[i].dims,
			manifest[i].n_dims, e) < 0)
			return -1;
	return 0;
}

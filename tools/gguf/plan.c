#include "tools/gguf/plan.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), t = strlen(tail);

	return n >= t && !strcmp(s + n - t, tail);
}

/* llama.cpp computes with vectors in float32; everything else is a matrix. */
static bool
is_vector(const char *name, const struct qz_tensor *t)
{
	return t->n_dims < 2 || ends_with(name, "_norm.weight") || !ends_with(name, ".weight");
}

/* Is the pattern anywhere in the name? */
static bool
matches(const struct override *o, const char *name)
{
	char pattern[256];

	snprintf(pattern, sizeof pattern, "*%.*s*", (int)o->len, o->pattern);
	return fnmatch(pattern, name, 0) == 0;
}

/* The type asked for, before rows that don't fit are looked at. */
static enum qz_dtype
wanted(const struct plan *p, const struct plan_options *o, const char *name, enum qz_role role,
    int layer, uint64_t cols, bool *fixed)
{
	enum qz_dtype type = o->mixture->type;

	*fixed = (o->head && (role == QZ_HEAD || (role == QZ_EMBED && p->config->tied))) ||
		 (o->embedding && role == QZ_EMBED);
	if (!o->pure)
		type = mixture_type(o->mixture, p->config, role, layer, cols, o->imatrix != NULL);
	if (o->head && (role == QZ_HEAD || (role == QZ_EMBED && p->config->tied)))
		type = o->head;
	if (o->embedding && role == QZ_EMBED)
		type = o->embedding;
	for (size_t i = 0; i < o->n_overrides; i++)
		if (matches(&o->overrides[i], name)) {
			type = o->overrides[i].type;
			o->overrides[i].n_used++;
			*fixed = true;
		}
	return type;
}

/* The importance of the columns.  One of another size is an error, but for the embedding: it is looked up,
 * not multiplied with. */
static int
weigh(struct plan *p, const struct plan_options *o, struct planned *out, enum qz_role role,
    uint64_t cols, struct qz_err *e)
{
	const struct qz_imatrix_entry *x = o->imatrix ? qz_imatrix_find(o->imatrix, out->name)
						      : NULL;

	if (x && x->n != cols && role != QZ_EMBED)
		return qz_fail(e, QZ_EDATA,
		    "the importance matrix has %llu columns for %s, the model has %llu",
		    (unsigned long long)x->n, out->name, (unsigned long long)cols);
	if (x && x->n == cols)
		out->importance = x->values;
	else if (o->imatrix && out->type != QZ_Q8_0 && !p->n_unweighted++)
		snprintf(p->unweighted, sizeof p->unweighted, "%s", out->name);
	return 0;
}

/* Blocks become other blocks. */
static void
note_requant(struct plan *p, const struct planned *x, enum qz_dtype from)
{
	if (qz_dtype((unsigned)from)->plain || qz_dtype((unsigned)x->type)->plain || p->n_requant++)
		return;
	snprintf(p->requant, sizeof p->requant, "%s from %s to %s", x->name,
	    qz_dtype((unsigned)from)->name, qz_dtype((unsigned)x->type)->name);
}

static int
plan_matrix(struct plan *p, const struct plan_options *o, const struct qz_tensor *t,
    enum qz_role role, int layer, struct planned *out, struct qz_err *e)
{
	uint64_t cols = t->dims[t->n_dims - 1];
	bool again, fixed;
	enum qz_dtype want = wanted(p, o, out->name, role, layer, cols, &fixed);

	out->open = o->chosen && !fixed;
	out->type = out->open ? QZ_F16 : mixture_fit(want, cols);
	if (out->open)
		return weigh(p, o, out, role, cols, e);
	if (out->type != want && !p->n_fallback++)
		snprintf(p->fallback, sizeof p->fallback,
		    "%s: %s is %s: rows of %llu elements are no multiple of %u",
		    fixed ? qz_dtype((unsigned)want)->name : o->mixture->name, out->name,
		    qz_dtype((unsigned)out->type)->name, (unsigned long long)cols,
		    qz_dtype((unsigned)want)->block);
	again = out->type != t->dtype || (o->merging && qz_role(role)->linear);
	if (again)
		note_requant(p, out, t->dtype);
	if (qz_dtype((unsigned)out->type)->plain || !again)
		return 0;
	if (weigh(p, o, out, role, cols, e) < 0)
		return -1;
	if (o->mixture->ftype == 21 && out->type == QZ_Q2_K && !out->importance && role != QZ_EMBED)
		return qz_fail(e, QZ_EUSAGE,
		    "q2_k_s needs an importance matrix that has %s: --imatrix", out->name);
	return 0;
}

static int
plan_one(struct plan *p, const struct plan_options *o, const struct qz_tensor *t,
    struct planned *out, struct qz_err *e)
{
	uint64_t cols = t->dims[t->n_dims - 1];
	int layer, role = qz_role_of(t->name, &layer);

	if (role < 0)
		return qz_fail(e, QZ_EDATA, "tensor %s has no name in GGUF", t->name);
	qz_role_gguf_name((enum qz_role)role, layer, out->name, sizeof out->name);
	out->permuted = p->config->family->gguf_permuted &&
			(role == QZ_Q || role == QZ_K || role == QZ_Q_BIAS || role == QZ_K_BIAS);
	if (is_vector(out->name, t))
		out->type = o->like ? t->dtype : QZ_F32;
	else if (plan_matrix(p, o, t, (enum qz_role)role, layer, out, e) < 0)
		return -1;
	if (qz_dtype_nbytes(out->type, cols, &out->row_nbytes))
		return qz_fail(e, QZ_EDATA, "tensor %s: rows of %llu elements do not fit %s",
		    t->name, (unsigned long long)cols, qz_dtype((unsigned)out->type)->name);
	p->n_params += qz_tensor_count(t);
	return 0;
}

static bool
has(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->n; i++)
		if (!strcmp(p->tensors[i].name, name))
			return true;
	return false;
}

/* Is the importance matrix of this model?  What it has more than the model is counted. */
static int
check_imatrix(struct plan *p, const struct qz_imatrix *m, struct qz_err *e)
{
	size_t n = 0, i = 0;

	for (size_t k = 0; k < p->n; k++)
		n += qz_imatrix_find(m, p->tensors[k].name) != NULL;
	p->n_strays = m->n - n;
	if (!p->n_strays)
		return 0;
	while (i < m->n && has(p, m->entries[i].name))
		i++;
	if (i < m->n)
		snprintf(p->stray, sizeof p->stray, "%s", m->entries[i].name);
	return n ? 0
		 : qz_fail(e, QZ_EDATA,
		       "the importance matrix is of another model: it has no matrix of this one, "
		       "but %s and so on",
		       p->stray);
}

int
plan_make(struct plan *p, const struct qz_config *c, const struct qz_tensor *manifest, size_t n,
    const struct plan_options *o, struct qz_err *e)
{
	*p = (struct plan){ .config = c, .rope_factors = c->rope_kind == QZ_ROPE_LLAMA3 };
	p->ftype = o->mixture->ftype;
	p->tensors = calloc(n + 1, sizeof *p->tensors);
	if (!p->tensors)
		return qz_nomem(e, n * sizeof *p->tensors);
	if (p->rope_factors)
		p->n_params += (uint64_t)c->head_dim / 2;
	for (; p->n < n; p->n++)
		if (plan_one(p, o, &manifest[p->n], &p->tensors[p->n], e) < 0)
			return -1;
	for (size_t i = 0; i < o->n_overrides; i++)
		if (!o->overrides[i].n_used)
			return qz_fail(e, QZ_EUSAGE, "--tensor-type %s: matches no matrix",
			    o->overrides[i].pattern);
	return o->imatrix ? check_imatrix(p, o->imatrix, e) : 0;
}

void
plan_set_type(struct plan *p, size_t i, enum qz_dtype from, enum qz_dtype type, uint64_t cols)
{
	struct planned *x = &p->tensors[i];

	x->type = type;
	qz_dtype_nbytes(type, cols, &x->row_nbytes);
	if (type != from)
		note_requant(p, x, from);
}

void
plan_free(struct plan *p)
{
	free(p->tensors);
	*p = (struct plan){ 0 };
}

int
plan_put(const struct plan *p, const struct qz_tensor *manifest, size_t from, size_t to,
    struct qz_ggufw *g, struct qz_err *e)
{
	const uint64_t half = (uint64_t)p->config->head_dim / 2;

	for (size_t i = from; i < to; i++) {
		if (p->rope_factors && i == p->rope_at &&
		    qz_ggufw_tensor(g, "rope_freqs.weight", QZ_F32, &half, 1, e) < 0)
			return -1;
		if (qz_ggufw_tensor(g, p->tensors[i].name, p->tensors[i].type, manifest[i].dims,
			manifest[i].n_dims, e) < 0)
			return -1;
	}
	return 0;
}

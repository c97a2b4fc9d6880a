#include "libcore/model/merge.h"

#include <inttypes.h>

int
qz_merge_load(struct qz_merge *m, struct qz_added *x, struct qz_err *e)
{
	size_t n;

	if (qz_adapter_read(&x->a, x->path, e) < 0)
		return -1;
	if (qz_adapter_fits(&x->a, m->config, e) < 0)
		return qz_at(e, "%s", x->path);
	x->values = x->a.values;
	if (qz_on_host(m->d))
		return 0;
	n = (size_t)x->a.lora.n_par * sizeof *x->values;
	x->values = m->d->k->alloc(m->d, n ? n : 1, e);
	if (!x->values)
		return -1;
	m->d->k->copy_in(m->d, x->values, x->a.values, n);
	return m->d->k->sync(m->d, e);
}

void
qz_merge_drop(struct qz_merge *m, struct qz_added *x)
{
	if (m->d && x->values != x->a.values)
		m->d->k->free(m->d, x->values);
	qz_adapter_free(&x->a);
	x->values = NULL;
}

/* Is this the tensor that the adapter was trained on?  0: not known. */
static int
check_base(const struct qz_merge *m, const struct qz_added *a, const struct qz_lora_tensor *t,
    const struct qz_piece *c, struct qz_err *e)
{
	uint64_t want = a->a.source ? a->a.source[t - a->a.lora.t] : 0;

	if (!c->last || !want || want == c->digest || m->any_base)
		return 0;
	return qz_fail(e, QZ_EDATA,
	    "tensor %s: has digest %016" PRIx64 ", %s was trained on %016" PRIx64
	    " (--any-base merges all the same)",
	    c->t->name, c->digest, a->path, want);
}

int
qz_merge_add(const struct qz_merge *m, struct qz_panel *panel, const struct qz_piece *c,
    bool *changed, struct qz_err *e)
{
	int layer, proj = qz_proj_of_role(qz_role_of(c->t->name, &layer));

	*changed = false;
	for (size_t i = 0; i < m->n && proj >= 0; i++) {
		const struct qz_added *a = &m->adapters[i];
		const struct qz_lora_tensor *t = qz_lora_find(
		    &a->a.lora, layer, (enum qz_proj)proj);

		if (!t)
			continue;
		if (check_base(m, a, t, c, e) < 0 || (!*changed && qz_panel_load(panel, c, e) < 0))
			return -1;
		*changed = true;
		m->d->k->merge(m->d, panel->x, a->values + t->a,
		    a->values + t->b + c->row0 * (uint64_t)t->rank,
		    (float)((double)t->scale * a->scale), panel->rows, panel->cols, t->rank);
	}
	return 0;
}

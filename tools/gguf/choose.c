#include "tools/gguf/choose.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/num.h"
#include "libcore/base/size.h"
#include "tools/gguf/errors.h"

int
choice_parse(struct choice *c, const char *plan, const char *types, struct qz_err *e)
{
	char number[32];
	size_t n = plan ? strlen(plan) : 0;

	if (plan) {
		if (n < 4 || n >= sizeof number || strcmp(plan + n - 3, "bpw"))
			return qz_fail(e, QZ_EUSAGE, "--plan %.40s: 4.5bpw is how it looks", plan);
		snprintf(number, sizeof number, "%.*s", (int)n - 3, plan);
		if (qz_num_real(number, &c->bits, e) < 0 || c->bits <= 0) {
			qz_fail(e, QZ_EUSAGE, "--plan %s: not so many bits a weight", plan);
			return -1;
		}
	}
	for (int k = 0; k < ERROR_TYPES && !types; k++)
		c->types[error_types[k]] = true;
	for (const char *s = types; s && *s; s += strcspn(s, ","), s += *s == ',') {
		enum qz_dtype t;
		bool known = false;

		snprintf(number, sizeof number, "%.*s", (int)strcspn(s, ","), s);
		for (char *p = number; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		t = qz_dtype_by_name(number);
		for (int k = 0; k < ERROR_TYPES; k++)
			known |= t == error_types[k];
		if (!known)
			return qz_fail(e, QZ_EUSAGE, "--types: '%s' is no type to choose", number);
		c->types[t] = true;
	}
	return 0;
}

/* ---- the choice ---- */

struct job {
	const struct choice *c;
	struct plan *p;
	struct errors *errors; /* [p->n] */
	bool bounded;          /* more bytes would have been of use */
};

struct step { /* from one type of a tensor's hull to the next larger */
	size_t tensor;
	int to;         /* candidate */
	uint64_t bytes; /* more */
	double gain;    /* error less, a byte */
};

static uint64_t
bytes_in(const struct qz_tensor *t, int k)
{
	uint64_t n = 0;

	qz_dtype_nbytes(error_types[k], qz_tensor_count(t), &n);
	return qz_round_up(n, QZ_GGUF_ALIGN);
}

/* The smallest candidate, of equals the one with the least error; -1: none fits. */
static int
smallest(const struct job *j, const struct qz_tensor *t, const struct errors *x)
{
	int best = -1;

	for (int k = 0; k < ERROR_TYPES; k++) {
		if (!error_fits(j->c->types, k, t->dims[t->n_dims - 1]))
			continue;
		if (best < 0 || bytes_in(t, k) < bytes_in(t, best) ||
		    (bytes_in(t, k) == bytes_in(t, best) && error_in(x, k) < error_in(x, best)))
			best = k;
	}
	return best;
}

/* The next type on the hull after `at`: the one that takes away most error a byte; -1: no more. */
static int
steepest(
    const struct job *j, const struct qz_tensor *t, const struct errors *x, int at, double *gain)
{
	int best = -1;

	*gain = 0;
	for (int k = 0; k < ERROR_TYPES; k++) {
		double g;

		if (!error_fits(j->c->types, k, t->dims[t->n_dims - 1]) ||
		    bytes_in(t, k) <= bytes_in(t, at))
			continue;
		g = (error_in(x, at) - error_in(x, k)) / (double)(bytes_in(t, k) - bytes_in(t, at));
		if (g > *gain) {
			*gain = g;
			best = k;
		}
	}
	return best;
}

static int
by_gain(const void *a, const void *b)
{
	const struct step *x = a, *y = b;

	if (x->gain != y->gain)
		return x->gain > y->gain ? -1 : 1;
	if (x->tensor != y->tensor)
		return x->tensor < y->tensor ? -1 : 1;
	return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* All steps of all open tensors, the best first; a tensor's own come in order, since a hull is convex. */
static struct step *
list_steps(struct job *j, const struct qz_tensor *manifest, int *at, size_t *n)
{
	struct step *s = calloc(j->p->n * ERROR_TYPES + 1, sizeof *s);

	*n = 0;
	for (size_t i = 0; s && i < j->p->n; i++) {
		double gain;

		for (int k = at[i], next; j->p->tensors[i].open && k >= 0; k = next) {
			next = steepest(j, &manifest[i], &j->errors[i], k, &gain);
			if (next >= 0)
				s[(*n)++] = (struct step){ i, next,
					bytes_in(&manifest[i], next) - bytes_in(&manifest[i], k),
					gain };
		}
	}
	if (s)
		qsort(s, *n, sizeof *s, by_gain);
	return s;
}

/* Bytes of everything but the open tensors. */
static uint64_t
fixed_bytes(const struct job *j, const struct qz_tensor *manifest, const struct qz_ggufw *keys)
{
	uint64_t n = j->c->max_size ? qz_ggufw_header_nbytes(keys) + 128 : 0;

	if (j->p->rope_factors)
		n += qz_round_up(2 * (uint64_t)j->p->config->head_dim, QZ_GGUF_ALIGN) + 64;
	for (size_t i = 0; i < j->p->n; i++) {
		const struct planned *p = &j->p->tensors[i];
		const struct qz_tensor *t = &manifest[i];

		if (!p->open)
			n += qz_round_up(
			    qz_tensor_count(t) / t->dims[t->n_dims - 1] * p->row_nbytes,
			    QZ_GGUF_ALIGN);
		if (j->c->max_size)
			n += 24 + strlen(p->name) + 8 * (uint64_t)t->n_dims;
	}
	return n;
}

static int
take_steps(struct job *j, const struct qz_tensor *manifest, int *at, uint64_t used, uint64_t budget,
    struct qz_err *e)
{
	size_t n;
	struct step *s = list_steps(j, manifest, at, &n);
	bool *stopped = calloc(j->p->n + 1, sizeof *stopped);

	for (size_t i = 0; s && stopped && i < n; i++) {
		size_t t = s[i].tensor;

		if (stopped[t])
			continue;
		if (s[i].bytes > budget - used) {
			stopped[t] = true; /* what comes after it would be cut off from it */
			j->bounded = true;
			continue;
		}
		used += s[i].bytes;
		at[t] = s[i].to;
	}
	free(s);
	free(stopped);
	return s && stopped ? 0 : qz_nomem(e, j->p->n);
}

/* "plan: 4.50 bits a weight; 12 q4_k, 3 q6_k", and the commonest type. */
static void
finish(struct job *j, const struct qz_tensor *manifest, const int *at, char summary[512])
{
	uint64_t bytes = 0, weights = 0, most = 0, of[ERROR_TYPES] = { 0 };
	size_t count[ERROR_TYPES] = { 0 }, len;

	for (size_t i = 0; i < j->p->n; i++) {
		const struct qz_tensor *t = &manifest[i];
		uint64_t cols = t->dims[t->n_dims - 1];

		if (j->p->tensors[i].open) {
			plan_set_type(j->p, i, t->dtype, error_types[at[i]], cols);
			count[at[i]]++;
			of[at[i]] += qz_tensor_count(t);
		}
		bytes += qz_tensor_count(t) / cols * j->p->tensors[i].row_nbytes;
		weights += qz_tensor_count(t);
	}
	len = (size_t)snprintf(
	    summary, 512, "%.3f bits a weight:", 8 * (double)bytes / (double)weights);
	for (int k = 0; k < ERROR_TYPES; k++) {
		if (!count[k])
			continue;
		len += (size_t)snprintf(summary + len, 512 - len, " %zu %s", count[k],
		    qz_dtype((unsigned)error_types[k])->name);
		if (of[k] > most) {
			most = of[k];
			j->p->ftype = qz_dtype((unsigned)error_types[k])->ftype;
		}
	}
	if (!j->bounded)
		snprintf(summary + len, 512 - len, "; more would change nothing");
}

static int
choose(struct job *j, const struct qz_tensor *manifest, const struct qz_ggufw *keys, int *at,
    struct qz_err *e)
{
	uint64_t used = fixed_bytes(j, manifest, keys), budget = j->c->max_size, weights = 0;

	for (size_t i = 0; i < j->p->n; i++) {
		weights += qz_tensor_count(&manifest[i]);
		if (!j->p->tensors[i].open)
			continue;
		at[i] = smallest(j, &manifest[i], &j->errors[i]);
		if (at[i] < 0)
			return qz_fail(e, QZ_EUSAGE,
			    "%s: none of the types fits rows of %llu elements",
			    j->p->tensors[i].name,
			    (unsigned long long)manifest[i].dims[manifest[i].n_dims - 1]);
		used += bytes_in(&manifest[i], at[i]);
	}
	if (!budget)
		budget = (uint64_t)(j->c->bits * (double)weights / 8);
	if (used > budget)
		return qz_fail(e, QZ_EUSAGE, "%llu bytes are too few: the smallest types take %llu",
		    (unsigned long long)budget, (unsigned long long)used);
	return take_steps(j, manifest, at, used, budget, e);
}

int
choice_make(const struct choice *c, struct plan *p, const struct qz_tensor *manifest,
    const struct qz_feed *feed, const struct qz_merge *m, const struct qz_ggufw *keys,
    char summary[512], struct qz_err *e)
{
	struct job j = { .c = c, .p = p };
	int *at = calloc(p->n + 1, sizeof *at), ret = -1;

	j.errors = calloc(p->n + 1, sizeof *j.errors);
	if (!at || !j.errors)
		qz_nomem(e, p->n * sizeof *j.errors);
	else if (errors_measure(j.errors, p, c->types, feed, m, e) == 0)
		ret = choose(&j, manifest, keys, at, e);
	if (ret == 0)
		finish(&j, manifest, at, summary);
	free(at);
	free(j.errors);
	return ret;
}

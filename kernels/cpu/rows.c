/* Rows moved about: embed, gather, scatter. */
#include <string.h>

#include "kernels/cpu/cpu.h"

struct rows {
	real *y;
	const real *x;
	const struct qz_mat *table;
	const uint32_t *ids;
	const int32_t *index;
	int64_t n, cols;
};

static void
embed_part(void *arg, int part, int thread)
{
	const struct rows *r = arg;
	int64_t per = rows_a_part(r->cols), end = min64((part + 1) * per, r->n);

	(void)thread;
	for (int64_t t = part * per; t < end; t++)
		CPU(decode_real)(r->y + t * r->cols, r->table, r->ids[t] * r->cols, r->cols);
}

void
CPU(embed)(struct qz_dev *d, qz_act *y, const struct qz_mat *table, const uint32_t *ids, int64_t t)
{
	struct rows r = { .y = y, .table = table, .ids = ids, .n = t, .cols = table->cols };

	if (!CPU(can_decode)(d, table, "embed"))
		return;
	for (int64_t i = 0; i < t; i++) {
		if (ids[i] >= table->rows) {
			CPU(fail)
			(d, QZ_EDATA, "embed: token id %u, the table has %lld rows", ids[i],
			    (long long)table->rows);
			return;
		}
	}
	CPU(run)(d, n_parts(t, rows_a_part(table->cols)), embed_part, &r);
}

static void
gather_part(void *arg, int part, int thread)
{
	const struct rows *r = arg;
	int64_t per = rows_a_part(r->cols), end = min64((part + 1) * per, r->n);

	(void)thread;
	for (int64_t i = part * per; i < end; i++)
		memcpy(r->y + i * r->cols, r->x + r->index[i] * r->cols,
		    (size_t)r->cols * sizeof(real));
}

void
CPU(gather)(
    struct qz_dev *d, qz_act *y, const qz_act *x, const int32_t *rows, int64_t n, int64_t cols)
{
	struct rows r = { .y = y, .x = x, .index = rows, .n = n, .cols = cols };

	CPU(run)(d, n_parts(n, rows_a_part(cols)), gather_part, &r);
}

static void
scatter_part(void *arg, int part, int thread)
{
	const struct rows *r = arg;
	int64_t per = rows_a_part(r->cols), end = min64((part + 1) * per, r->n);

	(void)thread;
	for (int64_t i = part * per; i < end; i++)
		memcpy(r->y + r->index[i] * r->cols, r->x + i * r->cols,
		    (size_t)r->cols * sizeof(real));
}

void
CPU(scatter)(
    struct qz_dev *d, qz_act *x, const qz_act *y, const int32_t *rows, int64_t n, int64_t cols)
{
	struct rows r = { .y = x, .x = y, .index = rows, .n = n, .cols = cols };

	CPU(run)(d, n_parts(n, rows_a_part(cols)), scatter_part, &r);
}

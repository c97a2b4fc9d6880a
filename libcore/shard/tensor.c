#include <string.h>

#include "libcore/base/half.h"
#include "libcore/base/le.h"
#include "libcore/base/size.h"
#include "libcore/shard/shard.h"

enum { CODE_BOOK = 16 * 4, NESTED_MAP = 256 * 4 };

uint64_t
qz_tensor_count(const struct qz_tensor *t)
{
	uint64_t n = 1;

	for (int i = 0; i < t->n_dims; i++)
		n *= t->dims[i];
	return n;
}

static int
count(const struct qz_tensor *t, uint64_t *n, struct qz_err *e)
{
	*n = 1;
	for (int i = 0; i < t->n_dims; i++)
		if (qz_mul_over(*n, t->dims[i], n) || *n > UINT64_MAX / 64)
			return qz_fail(e, QZ_EDATA, "the product of its dimensions is too large");
	return 0;
}

static void
add_section(struct qz_tensor *t, enum qz_section_kind kind, enum qz_dtype dtype, uint64_t nbytes)
{
	t->sections[t->n_sections++] = (struct qz_section){ (uint16_t)kind, (uint16_t)dtype, nbytes,
		t->nbytes };
	t->nbytes += qz_round_up(nbytes, QZ_SHARD_ALIGN);
}

static bool
power_of_two(uint32_t v, uint32_t lo, uint32_t hi)
{
	return v >= lo && v <= hi && (v & (v - 1)) == 0;
}

/* Layout of bitsandbytes' 4-bit state: research by key in its as_dict(). */
static int
plan_4bit(struct qz_tensor *t, uint64_t n, struct qz_err *e)
{
	uint64_t blocks;

	if (!power_of_two(t->block, 16, 4096))
		return qz_fail(e, QZ_EDATA,
		    "block size %u, a power of two within 16..4096 expected", t->block);
	if (t->nested_block && !power_of_two(t->nested_block, 16, 4096))
		return qz_fail(e, QZ_EDATA,
		    "nested block size %u, a power of two within 16..4096 expected",
		    t->nested_block);
	blocks = qz_ceil_div(n, t->block);
	add_section(t, QZ_SEC_DATA, QZ_U8, qz_ceil_div(n, 2));
	add_section(t, QZ_SEC_MAP, QZ_F32, CODE_BOOK);
	if (!t->nested_block) {
		add_section(t, QZ_SEC_ABSMAX, QZ_F32, blocks * 4);
		return 0;
	}
	add_section(t, QZ_SEC_ABSMAX, QZ_U8, blocks);
	add_section(t, QZ_SEC_NESTED_ABSMAX, QZ_F32, qz_ceil_div(blocks, t->nested_block) * 4);
	add_section(t, QZ_SEC_OFFSET, QZ_F32, 4);
	add_section(t, QZ_SEC_NESTED_MAP, QZ_F32, NESTED_MAP);
	return 0;
}

int
qz_tensor_plan(struct qz_tensor *t, struct qz_err *e)
{
	const struct qz_dtype_info *info = qz_dtype((unsigned)t->dtype);
	uint64_t n, nbytes, row;

	t->n_sections = 0;
	t->nbytes = 0;
	if (!info)
		return qz_fail(e, QZ_EDATA, "type %u is not known", (unsigned)t->dtype);
	if (t->n_dims < 1 || t->n_dims > QZ_DIMS_MAX)
		return qz_fail(
		    e, QZ_EDATA, "%d dimensions, 1 to %d expected", t->n_dims, QZ_DIMS_MAX);
	if (count(t, &n, e) < 0)
		return -1;
	row = t->dims[t->n_dims - 1];
	if (info->scaled && info->block == 2)
		return plan_4bit(t, n, e);
	if (t->block || t->nested_block)
		return qz_fail(e, QZ_EDATA, "block size %u with type %s", t->block, info->name);
	if (row % info->block)
		return qz_fail(e, QZ_EDATA, "rows of %llu elements are no multiple of %s's %u",
		    (unsigned long long)row, info->name, info->block);
	if (qz_dtype_nbytes(t->dtype, n, &nbytes))
		return qz_fail(e, QZ_EDATA, "its size does not fit");
	add_section(t, QZ_SEC_DATA, t->dtype == QZ_INT8 ? QZ_U8 : t->dtype, nbytes);
	if (info->scaled)
		add_section(t, QZ_SEC_ABSMAX, QZ_F32, row ? n / row * 4 : 0);
	return 0;
}

const struct qz_section *
qz_tensor_section(const struct qz_tensor *t, enum qz_section_kind kind)
{
	for (int i = 0; i < t->n_sections; i++)
		if (t->sections[i].kind == kind)
			return &t->sections[i];
	return NULL;
}

static const void *
at(const struct qz_tensor *t, enum qz_section_kind kind, const void *data)
{
	const struct qz_section *s = qz_tensor_section(t, kind);

	return s ? (const char *)data + s->offset : NULL;
}

void
qz_tensor_mat(const struct qz_tensor *t, const void *data, const void *host, struct qz_mat *m)
{
	const void *offset = at(t, QZ_SEC_OFFSET, host);
	uint64_t n = qz_tensor_count(t), cols = t->dims[t->n_dims - 1];

	memset(m, 0, sizeof *m);
	m->type = t->dtype;
	m->rows = cols ? (int64_t)(n / cols) : 0;
	m->cols = (int64_t)cols;
	m->block = t->block;
	m->nested_block = t->nested_block;
	m->offset = offset ? qz_f32_from_bits(le32_get(offset)) : 0;
	m->data = at(t, QZ_SEC_DATA, data);
	m->absmax = at(t, QZ_SEC_ABSMAX, data);
	m->nested_absmax = at(t, QZ_SEC_NESTED_ABSMAX, data);
	m->nested_map = at(t, QZ_SEC_NESTED_MAP, data);
	m->map = at(t, QZ_SEC_MAP, data);
}

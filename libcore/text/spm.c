#include "libcore/text/spm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/half.h"
#include "libcore/base/le.h"
#include "libcore/base/utf8.h"

enum { PIECES_MAX = 1 << 24 };
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; /* wire types */

struct field {
	uint32_t number, wire;
	uint64_t value;      /* VARINT, FIXED32, FIXED64 */
	const uint8_t *data; /* BYTES */
	size_t n;
};

struct cursor {
	const uint8_t *p, *end;
};

static bool
get_varint(struct cursor *c, uint64_t *v)
{
	*v = 0;
	for (int shift = 0; c->p < c->end && shift < 64; shift += 7) {
		uint8_t b = *c->p++;

		*v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return true;
	}
	return false;
}

static bool
get_fixed(struct cursor *c, size_t n, struct field *f)
{
	if ((size_t)(c->end - c->p) < n)
		return false;
	f->value = n == 4 ? le32_get(c->p) : le64_get(c->p);
	c->p += n;
	return true;
}

/* The next field of a message: false when the bytes are none. */
static bool
get_field(struct cursor *c, struct field *f)
{
	uint64_t tag;

	*f = (struct field){ 0 };
	if (!get_varint(c, &tag) || tag >> 32)
		return false;
	f->number = (uint32_t)(tag >> 3);
	f->wire = tag & 7;
	if (f->wire == VARINT)
		return get_varint(c, &f->value);
	if (f->wire == FIXED32 || f->wire == FIXED64)
		return get_fixed(c, f->wire == FIXED32 ? 4 : 8, f);
	if (f->wire != BYTES || !get_varint(c, &f->value) || f->value > (size_t)(c->end - c->p))
		return false;
	f->data = c->p;
	f->n = (size_t)f->value;
	c->p += f->n;
	return true;
}

static int
read_piece(const struct field *in, struct qz_spm_piece *p, struct qz_err *e)
{
	struct cursor c = { in->data, in->data + in->n };
	struct field f;

	*p = (struct qz_spm_piece){ .text = "", .type = QZ_SPM_NORMAL };
	while (c.p < c.end) {
		if (!get_field(&c, &f))
			return qz_fail(e, QZ_EDATA, "is not a sentencepiece message");
		if (f.number == 1 && f.wire == BYTES) {
			p->text = (const char *)f.data;
			p->n = f.n;
		} else if (f.number == 2 && f.wire == FIXED32) {
			p->score = qz_f32_from_bits((uint32_t)f.value);
		} else if (f.number == 3 && f.wire == VARINT) {
			p->type = f.value <= QZ_SPM_BYTE ? (int)f.value : 0;
		}
	}
	if (p->type < QZ_SPM_NORMAL)
		return qz_fail(e, QZ_EDATA, "has a type that is not known");
	if (!isfinite(p->score))
		return qz_fail(e, QZ_EDATA, "has a score that is not finite");
	if (qz_utf8_valid(p->text, p->n) < p->n)
		return qz_fail(e, QZ_EDATA, "is not valid UTF-8");
	return 0;
}

/* The fields of trainer_spec or normalizer_spec that matter, by number: bools and one model type. */
static int
read_spec(struct qz_spm *s, const struct field *in, bool trainer, struct qz_err *e)
{
	const struct {
		bool trainer;
		uint32_t number;
		bool *to;
	} flags[] = { { true, 24, &s->suffix }, { true, 35, &s->byte_fallback },
		{ false, 3, &s->dummy_prefix }, { false, 4, &s->trims },
		{ false, 5, &s->escapes } };
	struct cursor c = { in->data, in->data + in->n };
	struct field f;

	while (c.p < c.end) {
		if (!get_field(&c, &f))
			return qz_fail(e, QZ_EDATA, "a damaged specification");
		if (trainer && f.number == 3 && f.wire == VARINT) {
			if (f.value > 255)
				return qz_fail(e, QZ_EDATA, "a damaged specification");
			s->model_type = (int)f.value;
		}
		if (!trainer && f.number == 2 && f.wire == BYTES) {
			s->charsmap = f.data;
			s->n_charsmap = f.n;
		}
		for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
			if (flags[i].trainer == trainer && flags[i].number == f.number &&
			    f.wire == VARINT)
				*flags[i].to = f.value != 0;
	}
	return 0;
}

/* One field of the outermost message. */
static int
take(struct qz_spm *s, const struct field *f, size_t *cap, struct qz_err *e)
{
	if (f->wire != BYTES)
		return 0;
	if (f->number == 2 || f->number == 3)
		return read_spec(s, f, f->number == 2, e);
	if (f->number != 1)
		return 0;
	if (s->n == PIECES_MAX)
		return qz_fail(e, QZ_EDATA, "more than %d pieces", PIECES_MAX);
	if (s->n == *cap) {
		size_t more = *cap ? *cap * 2 : 1024;
		struct qz_spm_piece *p = realloc(s->pieces, more * sizeof *p);

		if (!p)
			return qz_nomem(e, more * sizeof *p);
		s->pieces = p;
		*cap = more;
	}
	if (read_piece(f, &s->pieces[s->n], e) < 0)
		return qz_at(e, "piece %zu", s->n);
	s->n++;
	return 0;
}

int
qz_spm_read(struct qz_spm *s, const void *data, size_t n, struct qz_err *e)
{
	struct cursor c = { data, (const uint8_t *)data + n };
	struct field f;
	size_t cap = 0;

	*s = (struct qz_spm){
		.model_type = QZ_SPM_UNIGRAM, .dummy_prefix = true, .trims = true, .escapes = true
	};
	while (c.p < c.end) {
		size_t at = (size_t)(c.p - (const uint8_t *)data);

		if (!get_field(&c, &f)) {
			qz_fail(e, QZ_EDATA, "byte %zu of %zu is no field of a sentencepiece model",
			    at, n);
			goto fail;
		}
		if (take(s, &f, &cap, e) < 0)
			goto fail;
	}
	if (s->n)
		return 0;
	qz_fail(e, QZ_EDATA, "is not a sentencepiece model: it has no pieces");
fail:
	qz_spm_free(s);
	return -1;
}

void
qz_spm_free(struct qz_spm *s)
{
	free(s->pieces);
	*s = (struct qz_spm){ 0 };
}

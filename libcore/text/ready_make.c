/* The ready form of a tokenizer's file: its tables as loading has built them. */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/json.h"
#include "libcore/base/le.h"
#include "libcore/text/bpe_impl.h"
#include "libcore/text/ready_impl.h"
#include "libcore/text/tokenizer_impl.h"

/* An object whose members are written by put(), one by one. */
static void
put_object(struct qz_buf *b, const struct qz_json *object,
    void (*put)(struct qz_buf *b, const struct qz_json *member))
{
	const char *sep = "";

	qz_buf_chr(b, '{');
	for (const struct qz_json *m = qz_json_first(object); m; m = qz_json_next(m)) {
		qz_buf_str(b, sep);
		qz_json_put_string(b, qz_json_key(m), strlen(qz_json_key(m)));
		qz_buf_chr(b, ':');
		put(b, m);
		sep = ",";
	}
	qz_buf_chr(b, '}');
}

static void
put_of_model(struct qz_buf *b, const struct qz_json *m)
{
	if (!strcmp(qz_json_key(m), "vocab"))
		qz_buf_str(b, "{}");
	else if (!strcmp(qz_json_key(m), "merges"))
		qz_buf_str(b, "[]");
	else
		qz_json_put(b, m, 0);
}

static void
put_of_root(struct qz_buf *b, const struct qz_json *m)
{
	if (!strcmp(qz_json_key(m), "model"))
		put_object(b, m, put_of_model);
	else
		qz_json_put(b, m, 0);
}

/* The file without vocab and merges. */
static int
make_rest(enum qz_text_file kind, const char *s, size_t n, struct qz_buf *rest, struct qz_err *e)
{
	bool tekken = kind == QZ_TEXT_TEKKEN;
	struct qz_json *j = (tekken ? qz_json_parse_nuls : qz_json_parse)(s, n, e);

	if (!j)
		return -1;
	put_object(rest, j, tekken ? put_of_model : put_of_root);
	qz_json_free(j);
	return qz_buf_ok(rest, e);
}

/* The model's own pieces in the order of their ids, with room for all others. */
static int
copy_pieces(const struct qz_vocab *from, struct qz_vocab *to, struct qz_err *e)
{
	if (qz_vocab_reserve(to, from->size, from->blob.n, e) < 0)
		return -1;
	for (uint32_t id = 0; id < from->size; id++)
		if (from->entry[id].n && from->flags[id] & QZ_V_MODEL &&
		    qz_vocab_put(to, from->blob.data + from->entry[id].at, from->entry[id].n, id,
			QZ_V_MODEL, e) < 0)
			return -1;
	return 0;
}

static uint8_t
log2_of(uint64_t power)
{
	uint8_t bits = 0;

	while (power >> bits > 1)
		bits++;
	return bits;
}

static void
put_head(struct qz_buf *out, const struct ready_head *h)
{
	const uint8_t bits[] = { h->slot_bits, h->pair_bits, h->id_bits, h->rank_bits };

	qz_buf_le32(out, READY_VERSION);
	qz_buf_le32(out, h->n_ids);
	qz_buf_le32(out, h->n_ranks);
	qz_buf_le32(out, h->n_rest);
	qz_buf_le64(out, h->n_text);
	qz_buf_le64(out, h->file.lo);
	qz_buf_le64(out, h->file.hi);
	qz_buf_le32(out, h->flags);
	qz_buf_add(out, bits, sizeof bits);
	qz_buf_le64(out, 0);
	qz_buf_le64(out, 0);
}

static void
put_all32(struct qz_buf *out, const uint32_t *v, size_t n)
{
	uint8_t *p = qz_buf_room(out, 4 * n);

	for (size_t i = 0; i < n && p; i++)
		le32_put(p + 4 * i, v[i]);
}

static void
put_all64(struct qz_buf *out, const uint64_t *v, size_t n)
{
	uint8_t *p = qz_buf_room(out, 8 * n);

	for (size_t i = 0; i < n && p; i++)
		le64_put(p + 8 * i, v[i]);
}

static void
pad(struct qz_buf *out, size_t from)
{
	while ((out->n - from) % 8 && !out->failed)
		qz_buf_chr(out, 0);
}

static void
put_vocab(struct qz_buf *out, const struct qz_vocab *v, size_t from)
{
	for (uint32_t id = 0; id < v->size; id++)
		qz_buf_le32(out, v->entry[id].n);
	pad(out, from);
	qz_buf_add(out, v->blob.data, v->blob.n);
	pad(out, from);
	put_all32(out, v->slots, (size_t)v->mask + 1);
	pad(out, from);
}

/* A rank that no pair has says any piece, so that a reader need not know which are in use. */
static int
put_merges(
    struct qz_buf *out, const struct qz_merges *m, uint32_t piece, size_t from, struct qz_err *e)
{
	uint32_t *to = malloc((m->n + 1) * sizeof *to);

	if (!to)
		return qz_nomem(e, m->n * sizeof *to);
	for (uint32_t i = 0; i < m->n; i++)
		to[i] = piece;
	for (uint64_t i = 0; i <= m->mask; i++) {
		uint32_t index = qz_merges_at(m, i).index;

		if (index != QZ_NO_MERGE)
			to[index] = m->to[index];
	}
	put_all64(out, m->slots, m->mask + 1);
	put_all64(out, m->bits, 1 << QZ_MERGES_BITS);
	put_all32(out, to, m->n);
	pad(out, from);
	free(to);
	return 0;
}

static void
put_joins(struct qz_buf *out, const struct qz_bpe *b)
{
	if (b->joins) {
		qz_buf_add(out, b->joins->ascii, sizeof b->joins->ascii);
		qz_buf_add(out, b->joins->edge, sizeof b->joins->edge);
		put_all64(out, b->joins->pairs, sizeof b->joins->pairs / 8);
	}
	if (b->whole)
		put_all64(out, b->whole, 1 << (BPE_WHOLE_BITS - 6));
}

static uint32_t
first_piece(const struct qz_vocab *v)
{
	uint32_t id = 0;

	while (id < v->size && !v->entry[id].n)
		id++;
	return id;
}

static int
put_all(const struct qz_tokenizer *t, const struct qz_vocab *pieces, const struct qz_buf *rest,
    struct qz_buf *out, struct qz_err *e)
{
	const struct qz_bpe *b = &t->bpe;
	const struct ready_head h = { .n_ids = pieces->size,
		.n_ranks = b->merges.n,
		.n_rest = (uint32_t)rest->n,
		.n_text = pieces->blob.n,
		.file = t->digest,
		.flags = (b->merges_bytes ? READY_MERGES_BYTES : 0u) | (b->cuts ? READY_CUTS : 0u) |
			 (b->joins ? READY_JOINS : 0u) | (b->whole ? READY_WHOLE : 0u),
		.slot_bits = log2_of((uint64_t)pieces->mask + 1),
		.pair_bits = log2_of(b->merges.mask + 1),
		.id_bits = (uint8_t)b->merges.id_bits,
		.rank_bits = (uint8_t)b->merges.rank_bits };
	size_t from = out->n;

	put_head(out, &h);
	put_vocab(out, pieces, from);
	if (put_merges(out, &b->merges, first_piece(pieces), from, e) < 0)
		return -1;
	put_joins(out, b);
	qz_buf_add(out, rest->data, rest->n);
	return qz_buf_ok(out, e);
}

int
qz_ready_make(enum qz_text_file kind, const char *s, size_t n, struct qz_buf *out, struct qz_err *e)
{
	struct qz_text_files f = { 0 };
	struct qz_vocab pieces = { 0 };
	struct qz_buf rest = { 0 };
	struct qz_tokenizer *t;
	int ret;

	f.file[kind].s = s;
	f.file[kind].n = n;
	t = qz_tokenizer_load(&f, e);
	ret = t || e->code == QZ_EDATA ? 0 : -1;
	if (t && t->bpe.vocab && !t->bpe.merges.rank)
		ret = copy_pieces(&t->vocab, &pieces, e) < 0 ||
			      make_rest(kind, s, n, &rest, e) < 0 ||
			      put_all(t, &pieces, &rest, out, e) < 0
			  ? -1
			  : 1;
	qz_buf_free(&rest);
	qz_vocab_clear(&pieces);
	qz_tokenizer_free(t);
	return ret;
}

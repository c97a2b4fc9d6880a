#include <stdlib.h>
#include <string.h>

#include "tools/tokenize/tokenize.h"

static int
room(void *p, size_t *cap, size_t need, size_t size, struct qz_err *e)
{
	void **where = p, *bigger;
	size_t n = need + need / 2 + 64;

	if (need <= *cap)
		return 0;
	bigger = realloc(*where, n * size);
	if (!bigger)
		return qz_nomem(e, n * size);
	*where = bigger;
	*cap = n;
	return 0;
}

/* The spans of the user's own text: special-token text in them is plain. */
static int
find_plain(struct encoder *en, const struct qz_doc *doc, size_t *n, struct qz_err *e)
{
	*n = 0;
	if (en->parse_special)
		return 0;
	if (room(&en->plain, &en->plain_cap, doc->n_segments, sizeof *en->plain, e) < 0)
		return -1;
	for (size_t i = 0; i < doc->n_segments; i++)
		if (doc->segments[i].from_data && doc->segments[i].n)
			en->plain[(*n)++] = (struct qz_span){ doc->segments[i].at,
				doc->segments[i].n };
	return 0;
}

/* A token is trained when the last byte that it stands for is: a token that begins in the template's
 * space and ends in the answer belongs to the answer. */
static void
set_mask(struct encoder *en, const struct qz_doc *doc, size_t from)
{
	size_t s = 0;

	for (size_t i = from; i < en->enc.n; i++) {
		size_t last = en->enc.ends[i] ? en->enc.ends[i] - 1 : 0;

		while (s + 1 < doc->n_segments && last >= doc->segments[s].at + doc->segments[s].n)
			s++;
		en->mask[i] = en->train_all ||
			      (en->enc.ends[i] && doc->n_segments && doc->segments[s].trained);
	}
}

static int
add_end(struct encoder *en, const struct qz_doc *doc, struct qz_err *e)
{
	int64_t eos = qz_vocab_eos(en->t);
	struct qz_encoding *enc = &en->enc;

	if (!doc->needs_eos || !en->add_special)
		return 0;
	if (eos < 0)
		return qz_fail(e, QZ_EDATA,
		    "the model names no end token (eos_token), so an answer could not end: "
		    "--special none goes without");
	if (enc->n && enc->ids[enc->n - 1] == (uint32_t)eos)
		return 0;
	if (enc->n == enc->cap)
		return qz_fail(e, QZ_EIO, "no room for the end token");
	enc->ids[enc->n] = (uint32_t)eos;
	enc->ends[enc->n] = doc->text.n;
	en->mask[enc->n] = 1;
	enc->n++;
	return 0;
}

/* The last thing to learn must be an end: a special token, or the end token by name. */
static bool
ends_well(const struct encoder *en, size_t n)
{
	int64_t eos = qz_vocab_eos(en->t);

	while (n > 0 && !en->mask[n - 1])
		n--;
	return n > 0 && (qz_vocab_is_special(en->t, en->enc.ids[n - 1]) ||
			    (eos >= 0 && en->enc.ids[n - 1] == (uint32_t)eos));
}

/* Does a user's field hold the text of a special token, as text or taken for the token? */
static bool
has_typed_special(const struct encoder *en, const struct qz_doc *doc)
{
	size_t s = 0;

	if (!en->parse_special)
		return en->enc.plain_specials > 0;
	for (size_t i = 0; i < en->enc.n; i++) {
		size_t end = en->enc.ends[i];

		if (!end || !qz_vocab_is_special(en->t, en->enc.ids[i]))
			continue;
		while (s + 1 < doc->n_segments && end > doc->segments[s].at + doc->segments[s].n)
			s++;
		/* the end token that was added stands behind all text */
		if (doc->n_segments && doc->segments[s].from_data &&
		    !(i + 1 == en->enc.n && doc->needs_eos))
			return true;
	}
	return false;
}

/* A token that the model has no row for can be neither read nor learned. */
static int
check_ids(const struct encoder *en, struct qz_err *e)
{
	for (size_t i = 0; i < en->enc.n && en->rows >= 0; i++)
		if (en->enc.ids[i] >= (uint64_t)en->rows) {
			size_t n = 0;
			const char *s = qz_vocab_text(en->t, en->enc.ids[i], &n);

			return qz_fail(e, QZ_EDATA,
			    "\"%.60s\" is id %lu, the model's embedding has %lld rows", s ? s : "",
			    (unsigned long)en->enc.ids[i], (long long)en->rows);
		}
	return 0;
}

/* Tokens from..from + n as a row of their own; without one to learn only of plain text. */
static int
put_row(struct encoder *en, const struct qz_doc *doc, size_t from, size_t n, struct counts *c,
    struct tokens *out, struct qz_err *e)
{
	size_t trained = 0;

	en->mask[from] = 0; /* nothing comes before the first token of a row: it cannot be learnt */
	for (size_t i = from; i < from + n; i++)
		trained += en->mask[i];
	if (!trained && !doc->plain) {
		c->untrained++;
		return 0;
	}
	c->tokens += n;
	c->trained += trained;
	return tokens_add(out, en->enc.ids + from, en->mask + from, n, e);
}

/* A document that is longer than a row. */
static int
put_long(struct encoder *en, const struct qz_doc *doc, struct counts *c, struct tokens *out,
    struct qz_err *e)
{
	size_t n = en->enc.n, row = (size_t)en->length;

	if (en->cut == CUT_DROP) {
		c->dropped++;
		return 0;
	}
	c->truncated++;
	if (en->cut == CUT_START)
		return put_row(en, doc, n - row, row, c, out, e);
	if (en->cut == CUT_END)
		return put_row(en, doc, 0, row, c, out, e);
	for (size_t at = 0; at < n; at += row)
		if (put_row(en, doc, at, n - at < row ? n - at : row, c, out, e) < 0)
			return -1;
	return 0;
}

int
encode_doc(struct encoder *en, const struct qz_doc *doc, struct counts *c, struct tokens *out,
    struct qz_err *e)
{
	unsigned flags = QZ_SPECIAL_PARSE |
			 (en->add_special && doc->needs_bos ? QZ_SPECIAL_ADD : 0);
	int64_t bos = qz_vocab_bos(en->t);
	const uint32_t *ids;
	bool is_long;
	size_t n_plain;

	en->enc.n = en->enc.plain_specials = 0;
	if (find_plain(en, doc, &n_plain, e) < 0 ||
	    qz_encode(en->t, doc->text.data ? doc->text.data : "", doc->text.n, flags, en->plain,
		n_plain, &en->enc, e) < 0)
		return -1;
	if (room(&en->mask, &en->mask_cap, en->enc.n + 1, 1, e) < 0)
		return -1;
	set_mask(en, doc, 0);
	if (add_end(en, doc, e) < 0 || check_ids(en, e) < 0)
		return -1;
	c->docs++;
	c->repaired += doc->repaired;
	c->special_in_data += has_typed_special(en, doc);
	ids = en->enc.ids;
	if (!en->enc.n) {
		c->empty++;
		return 0;
	}
	c->double_bos += bos >= 0 && en->enc.n > 1 && ids[0] == (uint32_t)bos &&
			 ids[1] == (uint32_t)bos;
	is_long = en->length && en->enc.n > en->length;
	c->no_end += !(is_long && en->cut == CUT_DROP) &&
		     ((is_long && en->cut == CUT_END) || !ends_well(en, en->enc.n));
	return is_long ? put_long(en, doc, c, out, e) : put_row(en, doc, 0, en->enc.n, c, out, e);
}

void
encoder_free(struct encoder *en)
{
	qz_encoding_free(&en->enc);
	free(en->mask);
	free(en->plain);
}

int
tokens_add(struct tokens *t, const uint32_t *ids, const uint8_t *mask, size_t n, struct qz_err *e)
{
	size_t cap = t->cap;

	if (room(&t->ids, &cap, t->n + n, sizeof *t->ids, e) < 0 ||
	    room(&t->mask, &t->cap, t->n + n, 1, e) < 0 ||
	    room(&t->ends, &t->docs_cap, t->n_docs + 1, sizeof *t->ends, e) < 0)
		return -1;
	memcpy(t->ids + t->n, ids, n * sizeof *ids);
	memcpy(t->mask + t->n, mask, n);
	t->n += n;
	t->ends[t->n_docs++] = t->n;
	return 0;
}

void
tokens_free(struct tokens *t)
{
	free(t->ids);
	free(t->mask);
	free(t->ends);
	*t = (struct tokens){ 0 };
}

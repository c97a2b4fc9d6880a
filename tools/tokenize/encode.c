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

static void
check_tokens(const struct encoder *en, struct report *r)
{
	int64_t bos = qz_vocab_bos(en->t), eos = qz_vocab_eos(en->t);
	const uint32_t *ids = en->enc.ids;
	size_t n = en->enc.n, last = n;
	bool ended = false;

	r->double_bos += bos >= 0 && n > 1 && ids[0] == (uint32_t)bos && ids[1] == (uint32_t)bos;
	/* The last thing to learn must be an end: a special token, or the end token by name. */
	while (last > 0 && !en->mask[last - 1])
		last--;
	if (last > 0)
		ended = qz_vocab_is_special(en->t, ids[last - 1]) ||
			(eos >= 0 && ids[last - 1] == (uint32_t)eos);
	r->no_end += !ended;
}

/* The kept part: *from .. *from + *n of the tokens; the first token of a row stays (BOS). */
static void
cut_long(struct encoder *en, struct report *r, size_t *from, size_t *n)
{
	size_t over = en->length && *n > en->length ? *n - (size_t)en->length : 0;

	if (!over)
		return;
	if (en->cut == CUT_DROP) {
		r->dropped++;
		*n = 0;
		return;
	}
	r->truncated++;
	*n = (size_t)en->length;
	if (en->cut == CUT_START)
		*from = over;
}

int
encode_doc(struct encoder *en, const struct qz_doc *doc, struct report *r, const uint32_t **ids,
    size_t *n, struct qz_err *e)
{
	unsigned flags = QZ_SPECIAL_PARSE |
			 (en->add_special && doc->needs_bos ? QZ_SPECIAL_ADD : 0);
	size_t n_plain, from = 0, trained = 0;

	en->enc.n = 0;
	if (find_plain(en, doc, &n_plain, e) < 0 ||
	    qz_encode(en->t, doc->text.data ? doc->text.data : "", doc->text.n, flags, en->plain,
		n_plain, &en->enc, e) < 0)
		return -1;
	if (room(&en->mask, &en->mask_cap, en->enc.n + 1, 1, e) < 0)
		return -1;
	set_mask(en, doc, 0);
	if (add_end(en, doc, e) < 0)
		return -1;
	r->docs++;
	*n = en->enc.n;
	cut_long(en, r, &from, n);
	en->mask[from] = 0; /* nothing comes before the first token of a row: it cannot be learnt */
	for (size_t i = from; i < from + *n; i++)
		trained += en->mask[i];
	if (*n && !trained) {
		r->untrained++;
		*n = 0;
	}
	if (*n && from + *n == en->enc.n)
		check_tokens(en, r);
	else if (*n)
		r->no_end++;
	r->tokens += *n;
	r->trained += *n ? trained : 0;
	*ids = en->enc.ids + from;
	if (from)
		memmove(en->mask, en->mask + from, *n);
	return 0;
}

void
encoder_free(struct encoder *en)
{
	qz_encoding_free(&en->enc);
	free(en->mask);
	free(en->plain);
}

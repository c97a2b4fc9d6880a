/* The last step of loading a BPE model: whether pieces are bytes, and the tables that go with it. */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/bpe_impl.h"

enum { N_LETTERS = 0x144 }; /* of byte-level alphabets */

/* Ranks of pairs of bytes, or of ASCII characters that are tokens. */
static int
load_duo(struct qz_bpe *b, struct qz_err *e)
{
	const uint32_t *id = b->bytes ? b->byte_id : b->ascii_id;
	size_t n = b->bytes ? 256 : 128;

	b->duo = malloc((1 << 16) * sizeof *b->duo);
	if (!b->duo)
		return qz_nomem(e, (1 << 16) * sizeof *b->duo);
	memset(b->duo, 0xff, (1 << 16) * sizeof *b->duo);
	for (size_t l = 0; l < n; l++)
		for (size_t r = 0; r < n && id[l] != QZ_ID_NONE; r++)
			if (id[r] != QZ_ID_NONE)
				b->duo[l << 8 | r] = qz_merges_rank(&b->merges, id[l], id[r]);
	return 0;
}

/* The bytes that a piece of a byte-level vocabulary stands for; false: none. */
static bool
piece_bytes(const int16_t *byte, const char *s, size_t n, struct qz_buf *bytes)
{
	char *out;
	int len;

	qz_buf_clear(bytes);
	out = qz_buf_room(bytes, n);
	for (size_t i = 0; i < n && out; i += (size_t)len) {
		uint32_t c = (unsigned char)s[i];

		len = 1;
		if (c >= 0x80)
			c = (uint32_t)qz_utf8_get(s + i, n - i, &len);

		if (c >= N_LETTERS || byte[c] < 0)
			return false;
		*out++ = (char)byte[c];
	}
	bytes->n = out ? (size_t)(out - bytes->data) : 0;
	return out;
}

static void
add_text(struct qz_bpe *b, const char *s, size_t n)
{
	qz_joins_add(b->own_joins, s, n);
	if (b->own_whole && n && n <= QZ_WORD_BYTES) {
		struct qz_word_key k = qz_word_key(s, n);
		uint64_t bit = qz_word_hash(&k, n) >> (64 - BPE_WHOLE_BITS);

		b->own_whole[bit / 64] |= (uint64_t)1 << bit % 64;
	}
}

/* Only where every character becomes tokens of its own, whatever stands beside it. */
static int
load_joins(struct qz_bpe *b, const struct qz_ready *ready, struct qz_err *e)
{
	const struct qz_vocab *v = b->vocab;
	struct qz_buf bytes = { 0 };
	int16_t byte[N_LETTERS];
	size_t n;

	if (b->bytes ? !bpe_complete(b->byte_id)
		     : !b->byte_fallback || !bpe_complete(b->fallback_id) || b->merges_bytes)
		return 0;
	if (ready && ready->joins && (ready->whole || !b->ignore_merges)) {
		b->joins = ready->joins;
		b->whole = b->ignore_merges ? ready->whole : NULL;
		return 0;
	}
	b->joins = b->own_joins = qz_joins_new(e);
	if (!b->joins)
		return -1;
	if (b->ignore_merges)
		b->whole = b->own_whole = calloc((1 << BPE_WHOLE_BITS) / 64, sizeof *b->whole);
	if (b->ignore_merges && !b->whole)
		return qz_nomem(e, (1 << BPE_WHOLE_BITS) / 8);
	for (uint32_t c = 0; c < N_LETTERS; c++)
		byte[c] = (int16_t)qz_byte_of_char(c);
	for (uint32_t id = 0; id < v->size; id++) {
		const char *s = qz_vocab_get(v, id, &n);

		if (s && !b->bytes)
			add_text(b, s, n);
		else if (s && piece_bytes(byte, s, n, &bytes))
			add_text(b, bytes.data, bytes.n);
	}
	n = bytes.failed;
	qz_buf_free(&bytes);
	return n ? qz_nomem(e, 1) : 0;
}

int
qz_bpe_use_bytes(struct qz_bpe *b, bool wanted, const struct qz_ready *ready, struct qz_err *e)
{
	b->bytes = wanted &&
		   (bpe_complete(b->byte_id) || (!b->byte_fallback && b->unk == QZ_ID_NONE));
	for (int byte = 0; byte < 256; byte++) {
		char utf8[4];

		b->n_letters[byte] = (uint8_t)qz_utf8_put(qz_byte_char((unsigned char)byte), utf8);
		memcpy(b->letters[byte], utf8, 2);
	}
	return load_duo(b, e) < 0 || load_joins(b, ready, e) < 0 ? -1 : b->bytes;
}

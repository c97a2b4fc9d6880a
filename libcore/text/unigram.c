#include "libcore/text/unigram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN_PENALTY 10.0

struct qz_unigram_node { /* the best way to a place */
	double score;
	uint32_t id, from; /* from: where its last piece starts; UINT32_MAX: no way yet */
};

static size_t
char_length(unsigned char lead)
{
	return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

static int
reserve(struct qz_unigram_work *w, size_t n, struct qz_err *e)
{
	size_t cap = w->cap ? w->cap : 256;
	struct qz_unigram_node *v;
	uint32_t *cuts;

	if (n <= w->cap)
		return 0;
	while (cap < n)
		cap *= 2;
	v = realloc(w->nodes, cap * sizeof *v);
	if (v)
		w->nodes = v;
	cuts = realloc(w->cuts, cap * sizeof *cuts);
	if (cuts)
		w->cuts = cuts;
	if (!v || !cuts)
		return qz_nomem(e, cap * sizeof *v);
	w->cap = cap;
	return 0;
}

/* A way to a node: taken when it is better, not when it is as good. */
static void
offer(
    const struct qz_unigram *u, struct qz_unigram_node *to, double score, uint32_t id, size_t from)
{
	if (u->floats)
		score = (double)(float)score;
	if (to->from != UINT32_MAX && !(score > to->score))
		return;
	to->score = score;
	to->id = id;
	to->from = (uint32_t)from;
}

/* Best ways to all places of s[0..n]. */
static int
search(const struct qz_unigram *u, struct qz_unigram_node *nodes, const char *s, size_t n,
    struct qz_err *e)
{
	nodes[0] = (struct qz_unigram_node){ 0, 0, 0 };
	for (size_t i = 1; i <= n; i++)
		nodes[i].from = UINT32_MAX;
	for (size_t at = 0, next; at < n; at = next) {
		size_t one = char_length((unsigned char)s[at]);
		double here = nodes[at].score;
		uint32_t node = 0;
		bool single = false;

		next = at + one;
		for (size_t i = at; i < n; i++) {
			uint32_t id;

			node = qz_trie_next(&u->trie, node, (unsigned char)s[i]);
			if (node == QZ_TRIE_NONE)
				break;
			id = u->trie.value[node];
			if (id == QZ_TRIE_NONE)
				continue;
			offer(u, &nodes[i + 1], u->scores[id] + here, id, at);
			single |= i + 1 == next;
		}
		if (single)
			continue;
		if (u->unk == QZ_ID_NONE)
			return qz_fail(e, QZ_EDATA,
			    "a character is not in the vocabulary, which has no unknown token");
		offer(u, &nodes[next],
		    u->floats ? (double)((float)u->unk_score + (float)here) : u->unk_score + here,
		    u->unk, at);
	}
	return 0;
}

static void
put(struct qz_ids *out, uint32_t id, size_t end)
{
	out->v[out->n] = id;
	out->ends[out->n++] = end;
}

/* Unknown pieces side by side, s[at..end): a piece of the vocabulary after all, bytes, or unknown. */
static void
put_unknown(const struct qz_unigram *u, const char *s, size_t at, size_t end, struct qz_ids *out)
{
	uint32_t id = u->floats ? QZ_ID_NONE : qz_vocab_find_model(u->vocab, s + at, end - at);

	if (id != QZ_ID_NONE) {
		put(out, id, end);
		return;
	}
	if (!u->byte_fallback || !qz_bytes_have_ids(u->fallback_id, s + at, end - at)) {
		put(out, u->unk, end);
		return;
	}
	for (; at < end; at++)
		put(out, u->fallback_id[(unsigned char)s[at]], at + 1);
}

static int
encode(const struct qz_unigram *u, struct qz_unigram_work *w, const char *s, size_t n,
    struct qz_ids *out, struct qz_err *e)
{
	size_t k = 0;

	if (n >= UINT32_MAX)
		return qz_fail(e, QZ_EDATA, "a piece of %zu bytes", n);
	if (reserve(w, n + 1, e) < 0 || search(u, w->nodes, s, n, e) < 0)
		return -1;
	for (size_t end = n; end; end = w->nodes[end].from)
		w->cuts[k++] = (uint32_t)end;
	for (size_t at = 0; k; at = w->cuts[k]) {
		size_t end = w->cuts[--k];

		if (w->nodes[end].id != u->unk) {
			put(out, w->nodes[end].id, end);
			continue;
		}
		while (k && w->nodes[w->cuts[k - 1]].id == u->unk)
			end = w->cuts[--k];
		put_unknown(u, s, at, end, out);
	}
	return 0;
}

static int
encode_cached(const struct qz_unigram *u, struct qz_unigram_work *w, const char *s, size_t n,
    struct qz_ids *out, struct qz_err *e)
{
	size_t from = out->n;
	struct qz_word_key k;
	struct qz_word *c;

	if (n > QZ_WORD_BYTES)
		return encode(u, w, s, n, out, e);
	k = qz_word_key(s, n);
	c = qz_words_slot(w->words, &k, n);
	if (qz_word_get(c, &k, n, out))
		return 0;
	if (encode(u, w, s, n, out, e) < 0)
		return -1;
	qz_word_keep(c, &k, n, out, from);
	return 0;
}

int
qz_unigram_encode(const struct qz_unigram *u, struct qz_unigram_work *w, const char *s,
    const struct qz_piece *piece, size_t n, struct qz_ids *out, struct qz_err *e)
{
	if (!w->words && !(w->words = qz_words_new(e)))
		return -1;
	for (size_t i = 0; i < n && u->trie.n_nodes; i++) {
		size_t from = out->n;

		if (qz_ids_room(out, piece[i].n + QZ_WORD_IDS, e) < 0 ||
		    encode_cached(u, w, s + piece[i].at, piece[i].n, out, e) < 0)
			return -1;
		for (; from < out->n; from++)
			out->ends[from] += piece[i].at;
	}
	return 0;
}

/* ["piece", -3.5] */
static int
load_piece(struct qz_unigram *u, struct qz_vocab *v, const struct qz_json *j, uint32_t id,
    struct qz_err *e)
{
	const struct qz_json *first = qz_json_first(j), *second = qz_json_next(first);
	const char *s = qz_json_string(first, NULL);
	size_t n;

	if (qz_json_count(j) != 2 || !s || !qz_json_is(second, QZ_JSON_NUMBER))
		return qz_fail(e, QZ_EDATA, "expected [\"piece\", score]");
	n = strlen(s);
	u->scores[id] = qz_json_number(second, 0);
	if (!isfinite(u->scores[id]))
		return qz_fail(e, QZ_EDATA, "the score is not finite");
	if (qz_vocab_put(v, s, n, id, QZ_V_MODEL, e) < 0)
		return -1;
	return qz_trie_put(&u->trie, s, n, id, e);
}

int
qz_unigram_load(struct qz_unigram *u, struct qz_vocab *v, const struct qz_json *j, struct qz_err *e)
{
	const struct qz_json *vocab = qz_json_get(j, "vocab"), *unk = qz_json_get(j, "unk_id");
	int64_t unk_id = -1;
	double least = INFINITY;
	uint32_t id = 0;

	u->vocab = v;
	u->byte_fallback = qz_json_bool(qz_json_get(j, "byte_fallback"), false);
	if (!qz_json_is(vocab, QZ_JSON_ARRAY) || !qz_json_count(vocab))
		return qz_fail(e, QZ_EDATA, "vocab: is %s, expected an array of some",
		    qz_json_kind_name(qz_json_kind(vocab)));
	if (qz_json_count(vocab) > QZ_ID_MAX)
		return qz_fail(
		    e, QZ_EDATA, "vocab: %zu pieces, at most %d", qz_json_count(vocab), QZ_ID_MAX);
	u->n = (uint32_t)qz_json_count(vocab);
	u->scores = malloc(u->n * sizeof *u->scores);
	if (!u->scores)
		return qz_nomem(e, u->n * sizeof *u->scores);
	for (const struct qz_json *c = qz_json_first(vocab); c; c = qz_json_next(c), id++) {
		if (load_piece(u, v, c, id, e) < 0)
			return qz_at(e, "vocab[%lu]", (unsigned long)id);
		least = u->scores[id] < least ? u->scores[id] : least;
	}
	if (qz_json_kind(unk) != QZ_JSON_NULL &&
	    qz_json_int(unk, 0, (int64_t)u->n - 1, &unk_id, e) < 0)
		return qz_at(e, "unk_id");
	u->unk = unk_id < 0 ? QZ_ID_NONE : (uint32_t)unk_id;
	u->unk_score = least - UNKNOWN_PENALTY;
	qz_unigram_find_bytes(u);
	return 0;
}

void
qz_unigram_find_bytes(struct qz_unigram *u)
{
	static const char digits[] = "0123456789ABCDEF";
	char s[] = "<0x00>";

	for (int b = 0; b < 256; b++) {
		s[3] = digits[b >> 4];
		s[4] = digits[b & 15];
		u->fallback_id[b] = qz_vocab_find_model(u->vocab, s, 6);
	}
}

void
qz_unigram_clear(struct qz_unigram *u)
{
	qz_trie_clear(&u->trie);
	free(u->scores);
	memset(u, 0, sizeof *u);
}

void
qz_unigram_work_clear(struct qz_unigram_work *w)
{
	free(w->nodes);
	free(w->cuts);
	free(w->words);
	memset(w, 0, sizeof *w);
}

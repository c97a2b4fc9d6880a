/* A tokenizer from sentencepiece's tokenizer.model, with the ids that sentencepiece gives: its normalizer,
 * BPE by score or Unigram.  Control pieces are special tokens; those of the user are cut out of normalized
 * text.  Without a tokenizer_config.json a text begins with the control piece <s>, as Llama's do. */
#include <stdlib.h>
#include <string.h>

#include "libcore/base/utf8.h"
#include "libcore/text/tokenizer_impl.h"

static unsigned
flags_of(int type)
{
	switch (type) {
	case QZ_SPM_CONTROL:
	case QZ_SPM_UNKNOWN:
		return QZ_V_ADDED | QZ_V_SPECIAL;
	case QZ_SPM_USER:
		return QZ_V_ADDED | QZ_V_MODEL;
	default:
		return QZ_V_MODEL;
	}
}

static int
put_pieces(struct qz_tokenizer *t, const struct qz_spm *s, struct qz_err *e)
{
	bool unigram = s->model_type == QZ_SPM_UNIGRAM;

	for (uint32_t id = 0; id < s->n; id++) {
		const struct qz_spm_piece *p = &s->pieces[id];
		struct qz_added_token a = { .s = p->text, .n = p->n, .id = id };

		if (memchr(p->text, 0, p->n))
			return qz_fail(
			    e, QZ_EDATA, "piece %lu: a NUL in its text", (unsigned long)id);
		if (qz_vocab_put(&t->vocab, p->text, p->n, id, flags_of(p->type), e) < 0)
			return -1;
		if (p->type == QZ_SPM_UNKNOWN && t->unk < 0)
			t->unk = id;
		a.special = p->type == QZ_SPM_CONTROL || p->type == QZ_SPM_UNKNOWN;
		if (a.special && qz_added_put(&t->raw, &a, e) < 0)
			return -1;
		/* Unigram weighs them like other pieces. */
		if (p->type == QZ_SPM_USER && !unigram && qz_added_put(&t->normalized, &a, e) < 0)
			return -1;
	}
	qz_added_sort(&t->raw);
	qz_added_sort(&t->normalized);
	return t->unk < 0 ? qz_fail(e, QZ_EDATA, "no piece of the type unknown") : 0;
}

/* What a piece weighs: one of the user is to win always (unigram_model.cc: length times the largest score,
 * which is not below FLT_MIN, less a tenth). */
static double
score_of(const struct qz_spm_piece *p, float most)
{
	return p->type == QZ_SPM_USER ? (double)(float)((double)((float)p->n * most) - 0.1)
				      : (double)p->score;
}

static int
load_unigram(struct qz_tokenizer *t, const struct qz_spm *s, struct qz_err *e)
{
	struct qz_unigram *u = &t->unigram;
	float least = 3.402823466e+38f, most = 1.175494351e-38f;

	u->vocab = &t->vocab;
	u->n = (uint32_t)s->n;
	u->unk = (uint32_t)t->unk;
	u->floats = true;
	u->byte_fallback = s->byte_fallback;
	u->scores = malloc(s->n * sizeof *u->scores);
	if (!u->scores)
		return qz_nomem(e, s->n * sizeof *u->scores);
	for (size_t i = 0; i < s->n; i++)
		if (s->pieces[i].type == QZ_SPM_NORMAL) {
			least = s->pieces[i].score < least ? s->pieces[i].score : least;
			most = s->pieces[i].score > most ? s->pieces[i].score : most;
		}
	u->unk_score = (double)(least - 10.0f);
	for (uint32_t i = 0; i < s->n; i++) {
		const struct qz_spm_piece *p = &s->pieces[i];

		u->scores[i] = score_of(p, most);
		if ((p->type == QZ_SPM_NORMAL || p->type == QZ_SPM_USER) &&
		    qz_trie_put(&u->trie, p->text, p->n, i, e) < 0)
			return -1;
	}
	qz_unigram_find_bytes(u);
	return 0;
}

struct ranked {
	float score;
	uint32_t id;
};

static int
by_score(const void *pa, const void *pb)
{
	const struct ranked *a = pa, *b = pb;

	if (a->score != b->score)
		return a->score > b->score ? -1 : 1;
	return a->id < b->id ? -1 : 1;
}

static bool
is_one_char(const struct qz_spm_piece *p)
{
	int len;

	return p->n && p->n <= 4 && qz_utf8_get(p->text, p->n, &len) >= 0 && (size_t)len == p->n;
}

/* Every character of a piece that is merged must be a piece itself: they are where merging starts. */
static int
check_chars(
    const struct qz_tokenizer *t, const struct qz_spm_piece *p, uint32_t id, struct qz_err *e)
{
	int len;

	for (size_t i = 0; i < p->n; i += (size_t)len) {
		qz_utf8_get(p->text + i, p->n - i, &len);
		if (qz_vocab_find_model(&t->vocab, p->text + i, (size_t)len) == QZ_ID_NONE)
			return qz_fail(e, QZ_EDATA,
			    "piece %lu has the character \"%.*s\", which is no piece",
			    (unsigned long)id, len, p->text + i);
	}
	return 0;
}

/* Pieces of several characters by falling score: their ranks. */
static int
rank_pieces(const struct qz_tokenizer *t, const struct qz_spm *s, struct ranked *order,
    uint32_t *rank, uint32_t *n_ranks, struct qz_err *e)
{
	size_t n = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		const struct qz_spm_piece *p = &s->pieces[i];

		rank[i] = QZ_NO_MERGE;
		if (p->type == QZ_SPM_UNUSED && !is_one_char(p))
			return qz_fail(e, QZ_EDATA,
			    "piece %lu, \"%.60s\", is unused: BPE with such pieces is not "
			    "supported",
			    (unsigned long)i, p->text);
		if (p->type != QZ_SPM_NORMAL || is_one_char(p))
			continue;
		if (check_chars(t, p, i, e) < 0)
			return -1;
		order[n++] = (struct ranked){ p->score, i };
	}
	qsort(order, n, sizeof *order, by_score);
	for (size_t i = 0, r = 0; i < n; i++) { /* of equal scores the leftmost place wins */
		r += i && order[i].score != order[i - 1].score;
		rank[order[i].id] = (uint32_t)r;
	}
	*n_ranks = (uint32_t)n;
	return 0;
}

static int
load_bpe(struct qz_tokenizer *t, const struct qz_spm *s, struct qz_err *e)
{
	struct ranked *order = malloc(s->n * sizeof *order);
	uint32_t *rank = malloc(s->n * sizeof *rank), n_ranks = 0;
	int ret = order && rank ? 0 : qz_nomem(e, s->n * sizeof *order);

	t->bpe.byte_fallback = s->byte_fallback;
	t->bpe.fuse_unk = true;
	t->bpe.unk = (uint32_t)t->unk;
	if (!ret)
		ret = rank_pieces(t, s, order, rank, &n_ranks, e);
	if (!ret)
		ret = qz_bpe_load_ranks(&t->bpe, &t->vocab, rank, n_ranks, e);
	if (!ret)
		ret = qz_bpe_use_bytes(&t->bpe, false, NULL, e);
	free(order);
	free(rank);
	return ret;
}

static const char decoder[] =
    "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
    "\"\xe2\x96\x81\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}"
    "%s]}";
static const char strip[] = ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}";

static int
load_decoder(struct qz_tokenizer *t, const struct qz_spm *s, struct qz_err *e)
{
	struct qz_buf text = { 0 };
	struct qz_json *j = NULL;
	int ret;

	qz_buf_fmt(&text, decoder, s->dummy_prefix ? strip : "");
	if (qz_buf_ok(&text, e) == 0)
		j = qz_json_parse(text.data, text.n, e);
	ret = j ? qz_decoder_load(&t->decoder, j, e) : -1;
	qz_json_free(j);
	qz_buf_free(&text);
	return ret;
}

static int
load(struct qz_tokenizer *t, const struct qz_spm *s, struct qz_err *e)
{
	if (s->suffix)
		return qz_fail(e, QZ_EDATA, "treat_whitespace_as_suffix is not supported");
	if (s->model_type != QZ_SPM_UNIGRAM && s->model_type != QZ_SPM_BPE)
		return qz_fail(e, QZ_EDATA,
		    "model type %d is not supported: expected unigram or bpe", s->model_type);
	if (qz_normalizer_spm(&t->normalizer, s, e) < 0)
		return -1;
	t->classes = qz_uclass_new(0, e);
	if (!t->classes || put_pieces(t, s, e) < 0)
		return -1;
	if ((s->model_type == QZ_SPM_BPE ? load_bpe : load_unigram)(t, s, e) < 0)
		return -1;
	t->bos = qz_vocab_id(t, "<s>", 3);
	t->eos = qz_vocab_id(t, "</s>", 4);
	t->bos = t->bos >= 0 && qz_vocab_is_special(t, (uint32_t)t->bos) ? t->bos : -1;
	t->eos = t->eos >= 0 && qz_vocab_is_special(t, (uint32_t)t->eos) ? t->eos : -1;
	if (t->bos >= 0 && qz_post_put(&t->post.before, (uint32_t)t->bos, e) < 0)
		return -1;
	return load_decoder(t, s, e);
}

int
qz_tokenizer_from_spm(struct qz_tokenizer *t, const void *data, size_t n, struct qz_err *e)
{
	struct qz_spm s;
	int ret;

	if (qz_spm_read(&s, data, n, e) < 0)
		return -1;
	ret = load(t, &s, e);
	qz_spm_free(&s);
	return ret;
}

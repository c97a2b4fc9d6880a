#include "libcore/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/hash.h"
#include "libcore/base/utf8.h"
#include "libcore/text/tokenizer_impl.h"

enum { TEXT_MAX = 1 << 30, AHEAD = 16 };

struct qz_scratch {
	struct qz_digest digest;
	struct qz_regex_match *match;
	struct qz_textbuf a, b; /* of the normalizer */
	struct qz_cuts cuts;
	struct qz_bpe_work bpe;
	struct qz_unigram_work unigram;
};

static int
load_bpe_vocab(struct qz_tokenizer *t, const struct qz_json *model, struct qz_err *e)
{
	const struct qz_json *vocab = qz_json_get(model, "vocab"), *later = qz_json_first(vocab);
	size_t n_bytes = 0, n_later = 0;
	int64_t id;

	if (!qz_json_is(vocab, QZ_JSON_OBJECT) || !qz_json_count(vocab))
		return qz_fail(e, QZ_EDATA, "no vocab");
	for (const struct qz_json *c = qz_json_first(vocab); c; c = qz_json_next(c))
		n_bytes += strlen(qz_json_key(c)) + 1;
	if (qz_vocab_reserve(&t->vocab, qz_json_count(vocab), n_bytes, e) < 0)
		return -1;
	for (const struct qz_json *c = qz_json_first(vocab); c; c = qz_json_next(c)) {
		const char *s = qz_json_key(c);

		for (; later && n_later < AHEAD; later = qz_json_next(later), n_later++)
			qz_vocab_expect(&t->vocab, qz_json_key(later), strlen(qz_json_key(later)));
		n_later--;
		if (qz_json_int(c, 0, QZ_ID_MAX, &id, e) < 0)
			return qz_at(e, "vocab: the id of \"%.60s\"", s);
		if (qz_vocab_put(&t->vocab, s, strlen(s), (uint32_t)id, QZ_V_MODEL, e) < 0)
			return qz_at(e, "vocab");
	}
	return 0;
}

static int
load_bpe(struct qz_tokenizer *t, const struct qz_json *model, struct qz_err *e)
{
	int bytes;

	if ((t->ready ? qz_vocab_load(&t->vocab, &t->ready->vocab, e)
		      : load_bpe_vocab(t, model, e)) < 0 ||
	    qz_bpe_load(&t->bpe, &t->vocab, model, t->ready, e) < 0)
		return -1;
	bytes = qz_bpe_use_bytes(
	    &t->bpe, qz_pretokenizer_ends_in_bytes(&t->pretokenizer), t->ready, e);
	t->pretokenizer.bytes = bytes > 0;
	return bytes < 0 ? -1 : 0;
}

/* Old files say no type: an object is BPE's vocabulary, an array Unigram's. */
static int
load_model(struct qz_tokenizer *t, const struct qz_json *model, struct qz_err *e)
{
	const char *type = qz_json_string(qz_json_get(model, "type"), NULL);

	if (!type)
		type = qz_json_is(qz_json_get(model, "vocab"), QZ_JSON_ARRAY) ? "Unigram" : "BPE";
	if (!strcmp(type, "BPE"))
		return load_bpe(t, model, e);
	if (!strcmp(type, "Unigram"))
		return qz_unigram_load(&t->unigram, &t->vocab, model, e);
	return qz_fail(e, QZ_EDATA, "the type %.60s is not supported", type);
}

/* One added token: into the vocabulary, or found there. */
static int
load_added(
    struct qz_tokenizer *t, const struct qz_json *j, struct qz_added_token *token, struct qz_err *e)
{
	const char *s = qz_json_string(qz_json_get(j, "content"), NULL);
	uint32_t known, flags;
	int64_t id;

	if (!s)
		return qz_fail(e, QZ_EDATA, "no string \"content\"");
	if (qz_json_int(qz_json_get(j, "id"), 0, QZ_ID_MAX, &id, e) < 0)
		return qz_at(e, "the id of \"%.60s\"", s);
	token->s = s;
	token->n = strlen(s);
	token->id = (uint32_t)id;
	token->special = qz_json_bool(qz_json_get(j, "special"), false);
	token->single_word = qz_json_bool(qz_json_get(j, "single_word"), false);
	token->lstrip = qz_json_bool(qz_json_get(j, "lstrip"), false);
	token->rstrip = qz_json_bool(qz_json_get(j, "rstrip"), false);
	flags = QZ_V_ADDED | (token->special ? QZ_V_SPECIAL : 0);
	known = qz_vocab_find(&t->vocab, s, token->n);
	if (known == QZ_ID_NONE)
		return qz_vocab_put(&t->vocab, s, token->n, token->id, flags, e);
	if (known != token->id)
		return qz_fail(e, QZ_EDATA, "\"%.60s\" is id %lld here and %lu in the vocabulary",
		    s, (long long)id, (unsigned long)known);
	if (t->vocab.flags[known] & QZ_V_ADDED)
		return qz_fail(e, QZ_EDATA, "\"%.60s\" is there twice", s);
	t->vocab.flags[known] |= (uint8_t)flags;
	return 0;
}

/* Under the form in which normalized text has it. */
static int
put_normalized(struct qz_tokenizer *t, struct qz_added_token token, struct qz_err *e)
{
	struct qz_regex_match *m = qz_regex_match_new(e);
	struct qz_text text = { token.s, token.n, NULL, 0 };
	struct qz_textbuf a = { 0 }, b = { 0 };
	int ret = m ? 0 : -1;

	if (!ret)
		ret = qz_normalizer_run(&t->normalizer, t->classes, m, &text, &a, &b, e);
	token.s = text.s;
	token.n = text.n;
	if (!ret)
		ret = qz_added_put(&t->normalized, &token, e);
	qz_textbuf_free(&a);
	qz_textbuf_free(&b);
	qz_regex_match_free(m);
	return ret;
}

static int
load_all_added(struct qz_tokenizer *t, const struct qz_json *list, struct qz_err *e)
{
	struct qz_added_token token;
	size_t i = 0;

	if (qz_json_kind(list) != QZ_JSON_NULL && !qz_json_is(list, QZ_JSON_ARRAY))
		return qz_fail(e, QZ_EDATA, "added_tokens: is %s, not an array",
		    qz_json_kind_name(qz_json_kind(list)));
	for (const struct qz_json *c = qz_json_first(list); c; c = qz_json_next(c), i++) {
		if (load_added(t, c, &token, e) < 0)
			return qz_at(e, "added_tokens[%zu]", i);
		/* Unless it says otherwise, what is special stands in raw text. */
		if (!qz_json_bool(qz_json_get(c, "normalized"), !token.special) &&
		    qz_added_put(&t->raw, &token, e) < 0)
			return qz_at(e, "added_tokens[%zu]", i);
	}
	/* Where normalization makes two equal, the special one is meant. */
	for (int special = 1; special >= 0; special--)
		for (const struct qz_json *c = qz_json_first(list); c; c = qz_json_next(c)) {
			token.special = qz_json_bool(qz_json_get(c, "special"), false);
			if (token.special != special ||
			    !qz_json_bool(qz_json_get(c, "normalized"), !token.special))
				continue;
			token.s = qz_json_string(qz_json_get(c, "content"), "");
			token.n = strlen(token.s);
			token.id = qz_vocab_find(&t->vocab, token.s, token.n);
			token.single_word = qz_json_bool(qz_json_get(c, "single_word"), false);
			token.lstrip = qz_json_bool(qz_json_get(c, "lstrip"), false);
			token.rstrip = qz_json_bool(qz_json_get(c, "rstrip"), false);
			if (put_normalized(t, token, e) < 0)
				return qz_at(e, "added token \"%.60s\"", token.s);
		}
	qz_added_sort(&t->raw);
	qz_added_sort(&t->normalized);
	return 0;
}

static int
load_tokenizer_json(struct qz_tokenizer *t, const struct qz_json *root, struct qz_err *e)
{
	const struct qz_json *model = qz_json_get(root, "model");

	if (!qz_json_is(model, QZ_JSON_OBJECT))
		return qz_fail(e, QZ_EDATA, "no object \"model\"");
	if (qz_normalizer_load(&t->normalizer, qz_json_get(root, "normalizer"), e) < 0 ||
	    qz_pretokenizer_load(&t->pretokenizer, qz_json_get(root, "pre_tokenizer"), e) < 0)
		return -1;
	t->classes = qz_uclass_new(t->normalizer.forms, e);
	if (!t->classes)
		return -1;
	if (load_model(t, model, e) < 0)
		return qz_at(e, "model");
	if (load_all_added(t, qz_json_get(root, "added_tokens"), e) < 0 ||
	    qz_post_load(&t->post, &t->vocab, qz_json_get(root, "post_processor"), e) < 0)
		return -1;
	return qz_decoder_load(&t->decoder, qz_json_get(root, "decoder"), e);
}

/* A string, or an object with "content"; -1 where it is not in the vocabulary. */
static void
name_id(const struct qz_tokenizer *t, const struct qz_json *config, const char *member, int64_t *id)
{
	const struct qz_json *j = qz_json_get(config, member);
	const char *s = qz_json_string(j, qz_json_string(qz_json_get(j, "content"), NULL));

	if (s)
		*id = qz_vocab_id(t, s, strlen(s));
}

/* tokenizer.json's template is the truth; only without one do these names count. */
static int
load_config(struct qz_tokenizer *t, const struct qz_json *config, struct qz_err *e)
{
	name_id(t, config, "bos_token", &t->bos);
	name_id(t, config, "eos_token", &t->eos);
	name_id(t, config, "pad_token", &t->pad);
	name_id(t, config, "unk_token", &t->unk);
	if (t->post.says)
		return 0;
	if (qz_json_get(config, "add_bos_token"))
		qz_ids_clear(&t->post.before);
	if (qz_json_bool(qz_json_get(config, "add_bos_token"), false)) {
		if (t->bos < 0)
			return qz_fail(
			    e, QZ_EDATA, "add_bos_token is true, and there is no bos_token");
		if (qz_post_put(&t->post.before, (uint32_t)t->bos, e) < 0)
			return -1;
	}
	if (qz_json_bool(qz_json_get(config, "add_eos_token"), false)) {
		if (t->eos < 0)
			return qz_fail(
			    e, QZ_EDATA, "add_eos_token is true, and there is no eos_token");
		return qz_post_put(&t->post.after, (uint32_t)t->eos, e);
	}
	return 0;
}

const char *const qz_text_file_names[QZ_TEXT_FILES] = { "tokenizer.json", "tokenizer_config.json",
	"tokenizer.model", "tekken.json" };

static int
load_json(struct qz_tokenizer *t, const struct qz_text_files *f, enum qz_text_file i,
    int (*load)(struct qz_tokenizer *t, const struct qz_json *j, struct qz_err *e),
    struct qz_err *e)
{
	/* tekken.json has every token's text beside its bytes: that of the byte 0 too */
	struct qz_json *j = (i == QZ_TEXT_TEKKEN ? qz_json_parse_nuls : qz_json_parse)(
	    f->file[i].s, f->file[i].n, e);
	int ret = j ? 0 : -1;

	if (j && !qz_json_is(j, QZ_JSON_OBJECT))
		ret = qz_fail(
		    e, QZ_EDATA, "is %s, not an object", qz_json_kind_name(qz_json_kind(j)));
	if (!ret)
		ret = load(t, j, e);
	qz_json_free(j);
	return ret ? qz_at(e, "%s", qz_text_file_names[i]) : 0;
}

/* 1: the file is loaded from its ready form; 0: that is another file's, or there is none. */
static int
load_ready(struct qz_tokenizer *t, const struct qz_text_files *f,
    int (*load)(struct qz_tokenizer *t, const struct qz_json *j, struct qz_err *e),
    struct qz_err *e)
{
	struct qz_ready r;
	struct qz_json *rest = NULL;
	int ret = !f->ready.s ? 0 : qz_ready_read(&r, f->ready.s, f->ready.n, t->digest, e);

	if (ret > 0) {
		rest = qz_json_parse(r.rest, r.n_rest, e);
		t->ready = &r;
		ret = rest && load(t, rest, e) == 0 ? 1 : -1;
		t->ready = NULL;
	}
	qz_json_free(rest);
	return ret < 0 ? qz_at(e, QZ_READY_NAME) : ret;
}

static int
load_file(struct qz_tokenizer *t, const struct qz_text_files *f, enum qz_text_file i,
    int (*load)(struct qz_tokenizer *t, const struct qz_json *j, struct qz_err *e),
    struct qz_err *e)
{
	int ready = load_ready(t, f, load, e);

	return ready ? (ready < 0 ? -1 : 0) : load_json(t, f, i, load, e);
}

/* Of several files the first. */
static int
load_first(struct qz_tokenizer *t, const struct qz_text_files *f, struct qz_err *e)
{
	static const enum qz_text_file order[] = { QZ_TEXT_JSON, QZ_TEXT_TEKKEN, QZ_TEXT_SPM };
	size_t i = 0;

	while (i < sizeof order / sizeof *order && !f->file[order[i]].s)
		i++;
	if (i == sizeof order / sizeof *order)
		return qz_fail(e, QZ_EDATA, "no tokenizer.json, tekken.json or tokenizer.model");
	t->digest = qz_hash128(f->file[order[i]].s, f->file[order[i]].n);
	if (order[i] == QZ_TEXT_JSON)
		return load_file(t, f, QZ_TEXT_JSON, load_tokenizer_json, e);
	if (order[i] == QZ_TEXT_TEKKEN)
		return load_file(t, f, QZ_TEXT_TEKKEN, qz_tokenizer_from_tekken, e);
	if (qz_tokenizer_from_spm(t, f->file[QZ_TEXT_SPM].s, f->file[QZ_TEXT_SPM].n, e) < 0)
		return qz_at(e, "tokenizer.model");
	return 0;
}

struct qz_tokenizer *
qz_tokenizer_load(const struct qz_text_files *f, struct qz_err *e)
{
	struct qz_tokenizer *t = calloc(1, sizeof *t);
	int ret;

	if (!t) {
		qz_nomem(e, sizeof *t);
		return NULL;
	}
	t->bos = t->eos = t->pad = t->unk = -1;
	ret = load_first(t, f, e);
	if (!ret && f->file[QZ_TEXT_CONFIG].s)
		ret = load_json(t, f, QZ_TEXT_CONFIG, load_config, e);
	if (!ret)
		return t;
	qz_tokenizer_free(t);
	return NULL;
}

void
qz_tokenizer_free(struct qz_tokenizer *t)
{
	if (!t)
		return;
	qz_added_clear(&t->raw);
	qz_added_clear(&t->normalized);
	qz_decoder_clear(&t->decoder);
	qz_post_clear(&t->post);
	qz_bpe_clear(&t->bpe);
	qz_unigram_clear(&t->unigram);
	qz_pretokenizer_clear(&t->pretokenizer);
	qz_normalizer_clear(&t->normalizer);
	qz_uclass_free(t->classes);
	qz_vocab_clear(&t->vocab);
	free(t);
}

static void
scratch_free(struct qz_scratch *w)
{
	if (!w)
		return;
	qz_regex_match_free(w->match);
	qz_textbuf_free(&w->a);
	qz_textbuf_free(&w->b);
	qz_cuts_clear(&w->cuts);
	qz_bpe_work_clear(&w->bpe);
	qz_unigram_work_clear(&w->unigram);
	free(w);
}

/* An encoding that last served another tokenizer starts afresh. */
static struct qz_scratch *
scratch_for(const struct qz_tokenizer *t, struct qz_encoding *enc, struct qz_err *e)
{
	struct qz_scratch *w = enc->scratch;

	if (w && w->digest.hi == t->digest.hi && w->digest.lo == t->digest.lo)
		return w;
	scratch_free(w);
	enc->scratch = w = calloc(1, sizeof *w);
	if (!w) {
		qz_nomem(e, sizeof *w);
		return NULL;
	}
	w->digest = t->digest;
	w->match = qz_regex_match_new(e);
	if (w->match)
		return w;
	scratch_free(w);
	enc->scratch = NULL;
	return NULL;
}

struct job {
	const struct qz_tokenizer *t;
	struct qz_scratch *w;
	struct qz_ids *ids;
	bool parse_special;
	const struct qz_span *plain;
	size_t n_plain;
	size_t *hidden;
};

static int
put_id(struct qz_ids *ids, uint32_t id, size_t end, struct qz_err *e)
{
	if (qz_ids_room(ids, 1, e) < 0)
		return -1;
	ids->v[ids->n] = id;
	ids->ends[ids->n++] = end;
	return 0;
}

/* Normalized text without added tokens. */
static int
encode_plain(const struct job *j, const struct qz_text *t, bool first, struct qz_err *e)
{
	struct qz_cuts *c = &j->w->cuts;
	struct qz_ids *ids = j->ids;
	size_t k = ids->n;

	c->t = *t;
	if (qz_pretokenizer_run(&j->t->pretokenizer, j->t->classes, j->w->match, first, c, e) < 0)
		return -1;
	if ((j->t->unigram.vocab ? qz_unigram_encode(&j->t->unigram, &j->w->unigram, c->t.s,
				       c->pieces.v, c->pieces.n, ids, e)
				 : qz_bpe_encode(&j->t->bpe, &j->w->bpe, c->t.s, c->pieces.v,
				       c->pieces.n, ids, e)) < 0)
		return -1;
	for (; k < ids->n; k++)
		ids->ends[k] = qz_text_end(&c->t, ids->ends[k] - 1);
	return 0;
}

/* Text with tokens of a set cut out; what is between them goes on to the next step. */
static int
encode_around(const struct job *j, const struct qz_added *set, const struct qz_text *t, bool first,
    int (*step)(const struct job *j, const struct qz_text *t, bool first, struct qz_err *e),
    struct qz_err *e)
{
	struct qz_added_scan scan = {
		.t = *t, .parse_special = j->parse_special, .plain = j->plain, .n_plain = j->n_plain
	};
	const struct qz_added_token *token;
	size_t at, end;
	int ret = 0;

	while (!ret && qz_added_next(set, j->t->classes, &scan, &token, &at, &end)) {
		struct qz_text part = qz_text_part(t, at, end - at);

		ret = token ? put_id(j->ids, token->id, qz_text_end(t, end - 1), e)
			    : step(j, &part, first && !at, e);
	}
	*j->hidden += scan.hidden;
	return ret;
}

/* Raw text without tokens of the raw set. */
static int
encode_raw(const struct job *j, const struct qz_text *raw, bool first, struct qz_err *e)
{
	struct qz_text t = *raw;

	if (qz_normalizer_run(
		&j->t->normalizer, j->t->classes, j->w->match, &t, &j->w->a, &j->w->b, e) < 0)
		return -1;
	return encode_around(j, &j->t->normalized, &t, first, encode_plain, e);
}

static int
put_all(struct qz_ids *to, const struct qz_ids *from, size_t end, struct qz_err *e)
{
	for (size_t i = 0; i < from->n; i++)
		if (put_id(to, from->v[i], end, e) < 0)
			return -1;
	return 0;
}

static int
check_input(const char *s, size_t n, const struct qz_span *plain, size_t n_plain, struct qz_err *e)
{
	size_t bad, last = 0;

	if (n > TEXT_MAX)
		return qz_fail(e, QZ_EDATA, "a text of %zu bytes, at most %d", n, TEXT_MAX);
	bad = qz_utf8_valid(s, n);
	if (bad < n)
		return qz_fail(e, QZ_EDATA, "byte %zu is not valid UTF-8", bad);
	for (size_t i = 0; i < n_plain; i++) {
		if (plain[i].at < last || plain[i].at > n || plain[i].n > n - plain[i].at)
			return qz_fail(e, QZ_EDATA,
			    "plain span %zu, bytes %zu and %zu more, is not in order within %zu", i,
			    plain[i].at, plain[i].n, n);
		last = plain[i].at + plain[i].n;
	}
	return 0;
}

int
qz_encode(const struct qz_tokenizer *t, const char *s, size_t n, unsigned flags,
    const struct qz_span *plain, size_t n_plain, struct qz_encoding *enc, struct qz_err *e)
{
	struct qz_ids ids = { enc->ids, enc->ends, enc->n, enc->cap };
	struct job j = { t, NULL, &ids, (flags & QZ_SPECIAL_PARSE) != 0, plain, n_plain,
		&enc->plain_specials };
	struct qz_text text = { s, n, NULL, 0 };
	bool add = flags & QZ_SPECIAL_ADD;
	int ret;

	if (check_input(s, n, plain, n_plain, e) < 0)
		return -1;
	j.w = scratch_for(t, enc, e);
	if (!j.w)
		return -1;
	ret = qz_ids_room(&ids, 1, e); /* the caller finds room for one more */
	if (!ret && add)
		ret = put_all(&ids, &t->post.before, 0, e);
	if (!ret)
		ret = encode_around(&j, &t->raw, &text, true, encode_raw, e);
	if (!ret && add)
		ret = put_all(&ids, &t->post.after, n, e);
	enc->ids = ids.v;
	enc->ends = ids.ends;
	enc->cap = ids.cap;
	if (!ret)
		enc->n = ids.n;
	return ret;
}

void
qz_encoding_free(struct qz_encoding *enc)
{
	free(enc->ids);
	free(enc->ends);
	scratch_free(enc->scratch);
	memset(enc, 0, sizeof *enc);
}

int
qz_decode(const struct qz_tokenizer *t, const uint32_t *ids, size_t n, bool skip_special,
    struct qz_buf *out, struct qz_err *e)
{
	struct qz_parts parts = { 0 };
	int ret = 0;
	size_t m;

	for (size_t i = 0; i < n && !ret; i++) {
		const char *s = qz_vocab_get(&t->vocab, ids[i], &m);

		if (!s)
			ret = qz_fail(e, QZ_EDATA, "id %lu at place %zu has no token",
			    (unsigned long)ids[i], i);
		else if (!skip_special || !qz_vocab_is_special(t, ids[i]))
			qz_parts_add(&parts, s, m);
	}
	if (!ret)
		ret = qz_decoder_run(&t->decoder, &parts, out, e);
	qz_parts_clear(&parts);
	return ret;
}

struct qz_digest
qz_tokenizer_digest(const struct qz_tokenizer *t)
{
	return t->digest;
}

uint32_t
qz_vocab_size(const struct qz_tokenizer *t)
{
	return t->vocab.size;
}

const char *
qz_vocab_text(const struct qz_tokenizer *t, uint32_t id, size_t *n)
{
	return qz_vocab_get(&t->vocab, id, n);
}

int64_t
qz_vocab_id(const struct qz_tokenizer *t, const char *s, size_t n)
{
	uint32_t id = qz_vocab_find(&t->vocab, s, n);

	return id == QZ_ID_NONE ? -1 : (int64_t)id;
}

bool
qz_vocab_is_special(const struct qz_tokenizer *t, uint32_t id)
{
	return id < t->vocab.size && t->vocab.flags[id] & QZ_V_SPECIAL;
}

bool
qz_vocab_is_added(const struct qz_tokenizer *t, uint32_t id)
{
	return id < t->vocab.size && t->vocab.flags[id] & QZ_V_ADDED;
}

int64_t
qz_vocab_bos(const struct qz_tokenizer *t)
{
	return t->bos;
}

int64_t
qz_vocab_eos(const struct qz_tokenizer *t)
{
	return t->eos;
}

int64_t
qz_vocab_pad(const struct qz_tokenizer *t)
{
	return t->pad;
}

int64_t
qz_vocab_unk(const struct qz_tokenizer *t)
{
	return t->unk;
}

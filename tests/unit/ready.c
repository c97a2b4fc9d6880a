/* The ready form of a tokenizer.json: the same tokenizer, or it is refused or passed over. */
#include "libcore/text/ready.h"

#include "libcore/base/le.h"
#include "libcore/text/tokenizer.h"
#include "tests/unit/golden_file.h"

/* Gaps, an added token of the model and one beyond it, a pair that is merged at two ranks. */
static const char small[] =
    "{\"version\":\"1.0\",\"normalizer\":{\"type\":\"NFC\"},\"added_tokens\":["
    "{\"id\":3,\"content\":\"ab\",\"special\":true,\"normalized\":false},"
    "{\"id\":30,\"content\":\"<s>\",\"special\":true,\"normalized\":false}],"
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"byte_fallback\":true,\"vocab\":{\"a\":0,"
    "\"b\":1,\"?\":2,\"ab\":3,\"abab\":9,\"bb\":10,\"\xc3\xa9\":11,\"ba\":12},"
    "\"merges\":[\"a b\",\"b b\",[\"ab\",\"ab\"],\"b a\",\"a b\"]}}";

static struct qz_tokenizer *
load(enum qz_text_file kind, const char *s, size_t n, const struct qz_buf *ready, struct qz_err *e)
{
	struct qz_text_files f = { 0 };

	f.file[kind].s = s;
	f.file[kind].n = n;
	if (ready) {
		f.ready.s = ready->data;
		f.ready.n = ready->n;
	}
	return qz_tokenizer_load(&f, e);
}

/* Ids, ends and texts of both for a text. */
static bool
same_ids(const struct qz_tokenizer *a, const struct qz_tokenizer *b, const char *s, size_t n)
{
	struct qz_encoding x = { 0 }, y = { 0 };
	struct qz_err e;
	bool same = true;

	for (unsigned flags = 0; flags < 4; flags++) {
		x.n = y.n = 0;
		same &= qz_encode(a, s, n, flags, NULL, 0, &x, &e) == 0 &&
			qz_encode(b, s, n, flags, NULL, 0, &y, &e) == 0 && x.n == y.n &&
			!memcmp(x.ids, y.ids, x.n * sizeof *x.ids) &&
			!memcmp(x.ends, y.ends, x.n * sizeof *x.ends);
	}
	qz_encoding_free(&x);
	qz_encoding_free(&y);
	return same;
}

static bool
same_vocab(const struct qz_tokenizer *a, const struct qz_tokenizer *b)
{
	bool same = qz_vocab_size(a) == qz_vocab_size(b);

	for (uint32_t id = 0; id < qz_vocab_size(a) && same; id++) {
		size_t n = 0, m = 0;
		const char *s = qz_vocab_text(a, id, &n), *r = qz_vocab_text(b, id, &m);

		same = !s == !r && n == m && (!s || !memcmp(s, r, n)) &&
		       qz_vocab_is_special(a, id) == qz_vocab_is_special(b, id) &&
		       qz_vocab_is_added(a, id) == qz_vocab_is_added(b, id);
	}
	return same;
}

static void
compare(const char *name, enum qz_text_file kind, const char *s, size_t n, const char *text,
    size_t n_text)
{
	struct qz_buf ready = { 0 }, again = { 0 };
	struct qz_err e = { 0 };
	struct qz_tokenizer *a = load(kind, s, n, NULL, &e), *b = NULL;

	if (ok(qz_ready_make(kind, s, n, &ready, &e) == 1, "%s: made", name))
		b = load(kind, s, n, &ready, &e);
	qz_ready_make(kind, s, n, &again, &e);
	ok(again.n == ready.n && !memcmp(again.data, ready.data, ready.n), "%s: the same twice",
	    name);
	if (ok(a && b, "%s: loads%s%s", name, b ? "" : ": ", b ? "" : e.msg)) {
		ok(same_vocab(a, b), "%s: the same vocabulary", name);
		ok(same_ids(a, b, text, n_text), "%s: the same ids", name);
	}
	qz_tokenizer_free(a);
	qz_tokenizer_free(b);
	qz_buf_free(&ready);
	qz_buf_free(&again);
}

/* All bytes, a few pairs, one spelled like a special token.  What the pattern does not find is left out. */
static void
tekken(const char *pattern, const char *text)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct qz_buf b = { 0 };

	qz_buf_fmt(&b,
	    "{\"config\":{\"pattern\":\"%s\",\"default_vocab_size\":270,"
	    "\"default_num_special_tokens\":10},\"vocab\":[",
	    pattern);
	for (int i = 0; i < 256; i++)
		qz_buf_fmt(&b,
		    "{\"rank\":%d,\"token_bytes\":\"%c%c==\",\"token_str\":\"\\u%04x\"},", i,
		    digits[i >> 2], digits[(i & 3) << 4], (unsigned)i);
	qz_buf_str(&b, "{\"rank\":256,\"token_bytes\":\"YWI=\"},{\"rank\":257,\"token_bytes\":"
		       "\"PHM=\"},{\"rank\":258,\"token_bytes\":\"PHM+\"},{\"rank\":259,"
		       "\"token_bytes\":\"YWJhYg==\"}]}");
	compare("tekken.json", QZ_TEXT_TEKKEN, b.data, b.n, text, strlen(text));
	qz_buf_free(&b);
}

static void
models(void)
{
	static const char *const names[] = { "stories260k", "mistral-v1-tokenizer",
		"qwen2-tokenizer", "llama3-like-tokenizer" };
	static const char text[] = "abab ba\xc3\xa9 bbb<s>ab a";
	char path[200];

	compare("a small one", QZ_TEXT_JSON, small, sizeof small - 1, text, sizeof text - 1);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		size_t n, n_texts;
		char *json, *texts;

		snprintf(path, sizeof path, "models/%s/tokenizer.json", names[i]);
		json = shared_bytes(path, &n);
		texts = shared_bytes("golden/tokenizer/qwen2.jsonl", &n_texts);
		if (json && texts)
			compare(names[i], QZ_TEXT_JSON, json, n, texts,
			    n_texts < 500000 ? n_texts : 500000);
		else
			skip("no %s", path);
		free(json);
		free(texts);
	}
}

/* What has no merges has no ready form; nor has what does not load. */
static void
none(void)
{
	static const char *const rows[] = {
		"{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",-1],[\"a\",-2]]}}",
		"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", "[", ""
	};
	struct qz_buf b = { 0 };
	struct qz_err e;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ok(qz_ready_make(QZ_TEXT_JSON, rows[i], strlen(rows[i]), &b, &e) == 0 && !b.n,
		    "none of %s", rows[i]);
	qz_buf_free(&b);
}

/* Where the sections of the small one's form are: 13 ids, 8 texts of 15 bytes, 5 ranks, tables of 1024. */
enum {
	LENGTHS = 64,
	TEXTS = LENGTHS + 56,
	SLOTS = TEXTS + 24,
	PAIRS = SLOTS + 4 * 1024,
	BITS = PAIRS + 8 * 1024,
	TO = BITS + (8 << QZ_MERGES_BITS),
	REST = TO + 24,
};

/* The first word of 4 bytes that has this value. */
static size_t
find32(const struct qz_buf *b, size_t at, uint32_t value)
{
	while (le32_get(b->data + at) != value)
		at += 4;
	return at;
}

static void
expect(const struct qz_buf *bad, const char *message)
{
	struct qz_err e = { 0 };
	struct qz_tokenizer *t = load(QZ_TEXT_JSON, small, sizeof small - 1, bad, &e);

	if (message)
		ok(!t && e.code == QZ_EDATA && strstr(e.msg, message), "%s", e.msg);
	else
		ok(t != NULL, "of another file or version: passed over%s", t ? "" : e.msg);
	qz_tokenizer_free(t);
}

static void
damaged(void)
{
	struct qz_buf good = { 0 }, bad = { 0 };
	struct qz_err e = { 0 };

	qz_ready_make(QZ_TEXT_JSON, small, sizeof small - 1, &good, &e);
	ok(le32_get(good.data + 4) == 13 && le32_get(good.data + 8) == 5 &&
		le64_get(good.data + 16) == 24 && le32_get(good.data + 44) == 0x03040a0a &&
		good.data[REST] == '{' && good.n == REST + le32_get(good.data + 12),
	    "13 ids, 5 ranks, 24 bytes of text, tables of 1024 slots, ids in 4 bits, ranks in 3");
	const struct {
		size_t at;
		uint32_t value;
		const char *message; /* NULL: it is not this file's, which is read instead */
	} rows[] = {
		{ 0, 1, NULL },
		{ 0, 3, NULL },
		{ 24, 0, NULL },
		{ 4, 0, "are none, or too many" },
		{ 4, (1 << 24) + 1, "are none, or too many" },
		{ 4, 15, "is cut off" },
		{ 8, 1 << 24, "are none, or too many" },
		{ 8, 7, "is cut off" },
		{ 12, 0xffffffff, "is cut off" },
		{ 12, 1, "by its head" },
		{ 16, 23, "the text of id 12 is cut off" },
		{ 20, 0xffffffff, "is cut off" },
		{ 40, 16, "not of this version" },
		{ 40, 4, "is cut off" },
		{ 40, 8, "is cut off" },
		{ 44, 0x03040a09, "not of this version" },
		{ 44, 0x03040a1b, "not of this version" },
		{ 44, 0x0304090a, "not of this version" },
		{ 44, 0x03041b0a, "not of this version" },
		{ 44, 0x03030a0a, "ids in 3 bits" },
		{ 44, 0x02040a0a, "ranks in 2" },
		{ 44, 0x041e0a0a, "ids in 30 bits" },
		{ 44, 0x03040b0a, "is cut off" },
		{ LENGTHS, 24, "the text of id 0 is cut off" },
		{ LENGTHS, 2, "the text of id 0 has no end" },
		{ LENGTHS + 4 * 12, 0, "are not the texts of 7 ids" },
		{ LENGTHS + 4 * 11, 5, "the text of id 12 is cut off" },
		{ LENGTHS + 4 * 9, 7, "the text of id 12 is cut off" },
		{ TEXTS, 0x62006161, "are not the texts of 8 ids" },
		{ TEXTS, 0x62006101, "are not the texts of 8 ids" },
		{ TEXTS, 0x6200ff00, "are not the texts of 8 ids" },
		{ TEXTS, 0x62000000, "are not the texts of 8 ids" },
		{ find32(&good, SLOTS, 0), 14, "is of id 13, which has no text" },
		{ find32(&good, SLOTS, 0), 5, "is of id 4, which has no text" },
		{ find32(&good, SLOTS, 0), 0xffffffff, "which has no text" },
		{ find32(&good, SLOTS, 0), 1, "9 of 1024 slots are in use, by 8 texts" },
		{ find32(&good, SLOTS, 1), 0, "7 of 1024 slots are in use, by 8 texts" },
		{ PAIRS, 0xfffffffd, "pair 0 has the rank 5 of 5" },
		{ TO, 13, "rank 0 makes id 13, which has no text" },
		{ TO + 16, 4, "rank 4 makes id 4, which has no text" },
		{ REST, 0x2c2c2c2c, "tokenizer.ready: " },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		qz_buf_clear(&bad);
		qz_buf_add(&bad, good.data, good.n);
		le32_put(bad.data + rows[i].at, rows[i].value);
		expect(&bad, rows[i].message);
	}
	memcpy(bad.data, good.data, good.n);
	memset(bad.data + PAIRS, 0, BITS - PAIRS);
	expect(&bad, "1024 pairs in 1024 slots");
	for (size_t n = 0; n < good.n; n += n < PAIRS || n + 400 > good.n ? 1 : 97) {
		bad.n = n;
		memcpy(bad.data, good.data, n);
		if (load(QZ_TEXT_JSON, small, sizeof small - 1, &bad, &e))
			ok(0, "%zu bytes are taken", n);
	}
	qz_buf_free(&good);
	qz_buf_free(&bad);
}

int
main(void)
{
	models();
	tekken("[^ ]+| +", "abab <s> b<s \xe4\xb8\xad");
	tekken("[0-9]+", "ab");
	none();
	damaged();
	return done();
}

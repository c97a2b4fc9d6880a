/* Tokenizers made here: what is refused and how it is named, flags, plain spans, ends, long words. */
#include <time.h>

#include "libcore/base/unicode.h"
#include "libcore/text/tokenizer.h"
#include "tests/unit/tap.h"

/* A tokenizer.json around one part: a BPE over a few letters, with special and other added tokens. */
#define VOCAB                                                                                      \
	"\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4,\" "                                \
	"\":5,\"<unk>\":6,\"<s>\":7,\"</s>\":8}"
#define MERGES "\"merges\":[\"a b\",[\"ab\",\"c\"]]"
#define MODEL "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\"," VOCAB "," MERGES "}"
#define FLAGS "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false"
#define ADDED                                                                                      \
	"\"added_tokens\":[{\"id\":7,\"content\":\"<s>\"," FLAGS ",\"special\":true},"             \
	"{\"id\":8,\"content\":\"</s>\"," FLAGS ",\"special\":true},"                              \
	"{\"id\":9,\"content\":\"<s>x\"," FLAGS ",\"special\":true},"                              \
	"{\"id\":20,\"content\":\"[A]\"," FLAGS ",\"special\":false}]"

static struct qz_tokenizer *
load(const char *json, const char *config, struct qz_err *e)
{
	struct qz_text_files f = { .file = { [QZ_TEXT_JSON] = { json, strlen(json) },
				       [QZ_TEXT_CONFIG] = {
					   config, config ? strlen(config) : 0 } } };

	memset(e, 0, sizeof *e);
	return qz_tokenizer_load(&f, e);
}

static const struct {
	const char *json, *config, *message;
} refused[] = {
	{ "{\"model\":{", NULL, "tokenizer.json: JSON: not well-formed" },
	{ "[1]", NULL, "tokenizer.json: is an array, not an object" },
	{ "{}", NULL, "no object \"model\"" },
	{ "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", NULL,
	    "model: the type WordPiece is not supported" },
	{ "{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", NULL,
	    "model: vocab: is an array, expected an array of some" },
	{ "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", NULL,
	    "model: vocab[0]: expected [\"piece\", score]" },
	{ "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1],[\"a\",-2]]}}", NULL,
	    "model: vocab[1]: \"a\" is there twice" },
	{ "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1]],\"unk_id\":1}}", NULL,
	    "model: unk_id: is 1, not a whole number within 0..0" },
	{ "{\"model\":{\"type\":\"BPE\",\"merges\":[]}}", NULL, "model: no vocab" },
	{ "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1}}}", NULL,
	    "vocab: the id of \"a\": is -1, not" },
	{ "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":16777216}}}", NULL,
	    "is 16777216, not a whole number" },
	{ "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1.5}}}", NULL,
	    "is 1.5, not a whole number" },
	{ "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1,\"b\":1}}}", NULL,
	    "id 1 is there twice" },
	{ "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"\":1}}}", NULL, "id 1 has a text of 0 bytes" },
	{ "{\"model\":{" VOCAB "}}", NULL, "merges: is null, not an array" },
	{ "{\"model\":{" VOCAB ",\"merges\":[\"a x\"]}}", NULL,
	    "merge 0: the piece \"x\" is not in the vocabulary" },
	{ "{\"model\":{" VOCAB ",\"merges\":[\"a b\",\"b a\"]}}", NULL,
	    "merge 1: \"b\" and \"a\" merge to" },
	{ "{\"model\":{" VOCAB ",\"merges\":[\"ab\"]}}", NULL, "merge 0: expected \"left right\"" },
	{ "{\"model\":{" VOCAB ",\"merges\":[\"a b c\"]}}", NULL, "merge 0: expected" },
	{ "{\"model\":{" VOCAB ",\"merges\":[[\"a\"]]}}", NULL, "merge 0: expected" },
	{ "{\"model\":{\"unk_token\":\"?\"," VOCAB ",\"merges\":[]}}", NULL,
	    "unk_token \"?\" is not in" },
	{ "{\"model\":{\"dropout\":0.1," VOCAB ",\"merges\":[]}}", NULL,
	    "dropout 0.1 is not supported" },
	{ "{\"model\":{\"end_of_word_suffix\":\"</w>\"," VOCAB ",\"merges\":[]}}", NULL,
	    "end_of_word_suffix \"</w>\" is not supported" },
	{ "{\"normalizer\":{\"type\":\"BertNormalizer\"}," MODEL "}", NULL,
	    "normalizer: the type BertNormalizer is not supported" },
	{ "{\"normalizer\":{\"type\":\"Precompiled\"}," MODEL "}", NULL,
	    "normalizer: Precompiled: no string \"precompiled_charsmap\"" },
	{ "{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"a!\"}," MODEL "}",
	    NULL, "normalizer: Precompiled: charsmap: byte 1 is no base64" },
	{ "{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAEAAA==\"}," MODEL
	  "}",
	    NULL, "normalizer: Precompiled: charsmap: a trie of 256 bytes in 4" },
	{ "{\"normalizer\":{\"type\":\"Prepend\"}," MODEL "}", NULL,
	    "normalizer: Prepend: no string" },
	{ "{\"normalizer\":{\"type\":\"Sequence\"}," MODEL "}", NULL,
	    "a Sequence without the array" },
	{ "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"\"}"
	  "," MODEL "}",
	    NULL, "Replace: pattern: an empty String" },
	{ "{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}," MODEL "}", NULL,
	    "pre_tokenizer: the type UnicodeScripts is not supported" },
	{ "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":"
	  "\"Isolated\"}," MODEL "}",
	    NULL, "regex \"(\": at byte 1: missing closing parenthesis" },
	{ "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a[b]]\"},\"behavior\":"
	  "\"Isolated\"}," MODEL "}",
	    NULL, "a class with [ in it is not supported" },
	{ "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":"
	  "\"Whole\"}," MODEL "}",
	    NULL, "behavior is \"Whole\"" },
	{ "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}," MODEL "}", NULL,
	    "replacement is \"ab\", not one character" },
	{ "{\"post_processor\":{\"type\":\"BertProcessing\"}," MODEL "}", NULL,
	    "post_processor: the type BertProcessing is not supported" },
	{ "{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
	  "\"id\":\"x\"}},"
	  "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"x\":{\"ids\":[99]}}}," MODEL "}",
	    NULL, "special token \"x\" is id 99, which the vocabulary has not" },
	{ "{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}," MODEL "}", NULL,
	    "single: no Sequence A" },
	{ "{\"decoder\":{\"type\":\"WordPiece\"}," MODEL "}", NULL,
	    "decoder: the type WordPiece is not" },
	{ "{\"added_tokens\":[{\"id\":1,\"content\":\"x\"}]," MODEL "}", NULL,
	    "added_tokens[0]: id 1 is there twice" },
	{ "{\"added_tokens\":[{\"id\":9,\"content\":\"a\"}]," MODEL "}", NULL,
	    "\"a\" is id 9 here and 0 in" },
	{ "{\"added_tokens\":[{\"id\":9,\"content\":\"x\"},{\"id\":9,\"content\":\"x\"}]," MODEL
	  "}",
	    NULL, "added_tokens[1]: \"x\" is there twice" },
	{ "{\"added_tokens\":[{\"id\":99999999,\"content\":\"x\"}]," MODEL "}", NULL,
	    "is 99999999, not a whole" },
	{ "{" MODEL "}", "{\"add_bos_token\":true}",
	    "tokenizer_config.json: add_bos_token is true, and there" },
	{ "{" MODEL "}", "nonsense", "tokenizer_config.json: JSON" },
};

static void
check_refused(void)
{
	struct qz_err e;

	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		struct qz_tokenizer *t = load(refused[i].json, refused[i].config, &e);

		ok(!t && e.code == QZ_EDATA && strstr(e.msg, refused[i].message), "refused: %s",
		    refused[i].message);
		if (!t && !strstr(e.msg, refused[i].message))
			printf("#  got: %s\n", e.msg);
		qz_tokenizer_free(t);
	}
}

/* "1 2 3" of ids, "/" and "1 2 3" of ends. */
static const char *
show(const struct qz_encoding *enc)
{
	static char s[4096];
	int n = 0;

	s[0] = '\0';
	for (size_t i = 0; i < enc->n && n < 4000; i++)
		n += sprintf(s + n, "%s%lu", i ? " " : "", (unsigned long)enc->ids[i]);
	n += sprintf(s + n, "/");
	for (size_t i = 0; i < enc->n && n < 4000; i++)
		n += sprintf(s + n, "%s%zu", i ? " " : "", enc->ends[i]);
	return s;
}

#define AND QZ_SPECIAL_ADD | QZ_SPECIAL_PARSE
#define TEMPLATE                                                                                   \
	"\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"      \
	"\"id\":\"<s>\"}},"                                                                        \
	"{\"Sequence\":{\"id\":\"A\"}},{\"SpecialToken\":{\"id\":\"</s>\"}}],\"special_tokens\":{" \
	"\"<s>\":{\"ids\":[7]},\"</s>\":{\"ids\":[8,8]}}}"

static const struct {
	const char *parts, *config, *text;
	unsigned flags;
	struct qz_span plain[2];
	size_t n_plain;
	const char *want;
} encoded[] = {
	{ ADDED, NULL, "", AND, { { 0, 0 } }, 0, "/" },
	{ ADDED, NULL, "abcab", 0, { { 0, 0 } }, 0, "4 3/3 5" },
	{ ADDED, NULL, "a\xc3\xa9z", 0, { { 0, 0 } }, 0, "0 6 6/1 3 4" },
	{ ADDED, NULL, "ab<s>c", QZ_SPECIAL_PARSE, { { 0, 0 } }, 0, "3 7 2/2 5 6" },
	{ ADDED, NULL, "ab<s>c", 0, { { 0, 0 } }, 0, "3 6 6 6 2/2 3 4 5 6" },
	{ ADDED, NULL, "a[A]b", 0, { { 0, 0 } }, 0, "0 20 1/1 4 5" },
	{ ADDED, NULL, "<s><s>x</s>", QZ_SPECIAL_PARSE, { { 0, 0 } }, 0, "7 9 8/3 7 11" },
	/* Plain spans: one that holds the token, one that touches it, one beside it, two of which one counts. */
	{ ADDED, NULL, "<s>a</s>", QZ_SPECIAL_PARSE, { { 0, 3 } }, 1, "6 6 6 0 8/1 2 3 4 8" },
	{ ADDED, NULL, "<s>a</s>", QZ_SPECIAL_PARSE, { { 7, 1 } }, 1, "7 0 6 6 6 6/3 4 5 6 7 8" },
	{ ADDED, NULL, "<s>a</s>", QZ_SPECIAL_PARSE, { { 3, 1 } }, 1, "7 0 8/3 4 8" },
	{ ADDED, NULL, "<s><s>", QZ_SPECIAL_PARSE, { { 0, 0 }, { 3, 3 } }, 2, "7 6 6 6/3 4 5 6" },
	/* What a user writes right after a token makes no longer one of it. */
	{ ADDED, NULL, "<s>x", QZ_SPECIAL_PARSE, { { 3, 1 } }, 1, "7 6/3 4" },
	/* What he writes before one hides none: "<s>" stands in plain text but for its last byte. */
	{ ADDED, NULL, "[A]<s", QZ_SPECIAL_PARSE, { { 0, 5 } }, 1, "20 6 6/3 4 5" },
	{ TEMPLATE "," ADDED, NULL, "ab", AND, { { 0, 0 } }, 0, "7 3 8 8/0 2 2 2" },
	{ TEMPLATE "," ADDED, NULL, "ab", QZ_SPECIAL_PARSE, { { 0, 0 } }, 0, "3/2" },
	/* tokenizer_config.json has a say only where tokenizer.json has no template. */
	{ TEMPLATE "," ADDED, "{\"bos_token\":\"a\",\"add_bos_token\":true}", "b", AND,
	    { { 0, 0 } }, 0, "7 1 8 8/0 1 1 1" },
	{ ADDED, "{\"bos_token\":{\"content\":\"a\"},\"add_bos_token\":true}", "b", AND,
	    { { 0, 0 } }, 0, "0 1/0 1" },
	{ ADDED, "{\"eos_token\":\"c\",\"add_eos_token\":true}", "b", AND, { { 0, 0 } }, 0,
	    "1 2/1 1" },
	/* A mark that is put before the text goes with its first byte. */
	{ "\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\" \"}", NULL, "ab", 0, { { 0, 0 } }, 0,
	    "5 3/1 2" },
	/* The end of what is composed, or replaced, is the end of all its parts. */
	{ "\"normalizer\":{\"type\":\"NFC\"}", NULL,
	    "e\xcc\x81"
	    "a",
	    0, { { 0, 0 } }, 0, "6 0/3 4" },
	{ "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"xyz\"},\"content\":"
	  "\"ab\"}",
	    NULL, "cxyzc", 0, { { 0, 0 } }, 0, "2 4/1 5" },
	{ "\"normalizer\":{\"type\":\"Strip\"}", NULL, "  ab  ", 0, { { 0, 0 } }, 0, "3/4" },
};

static void
check_encoded(void)
{
	struct qz_err e;

	for (size_t i = 0; i < sizeof encoded / sizeof *encoded; i++) {
		struct qz_encoding enc = { 0 };
		struct qz_tokenizer *t;
		char json[4096];

		snprintf(json, sizeof json, "{%s," MODEL "}", encoded[i].parts);
		t = load(json, encoded[i].config, &e);
		if (!ok(t &&
			    qz_encode(t, encoded[i].text, strlen(encoded[i].text), encoded[i].flags,
				encoded[i].plain, encoded[i].n_plain, &enc, &e) == 0 &&
			    enc.cap > enc.n,
			"row %zu \"%s\"%s", i, encoded[i].text, e.msg))
			continue;
		is(show(&enc), encoded[i].want, encoded[i].text);
		qz_encoding_free(&enc);
		qz_tokenizer_free(t);
	}
}

static void
check_input(void)
{
	static const struct qz_span past[] = { { 1, 3 } }, mixed[] = { { 2, 1 }, { 0, 1 } };
	struct qz_encoding enc = { 0 };
	struct qz_buf out = { 0 };
	struct qz_err e;
	struct qz_tokenizer *t = load("{" ADDED "," MODEL "}",
	    "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</"
	    "s>\"},\"unk_token\":\"nowhere\"}",
	    &e);
	uint32_t ids[] = { 7, 4, 20, 8 }, gap[] = { 4, 10 }, beyond[] = { 21 };
	size_t n;

	if (!ok(t != NULL, "loads %s", e.msg))
		return;
	ok(qz_encode(t, "ab\xff", 3, 0, NULL, 0, &enc, &e) < 0 && e.code == QZ_EDATA,
	    "bad UTF-8 is refused");
	is(e.msg, "byte 2 is not valid UTF-8", "with its place");
	ok(qz_encode(t, "abc", 3, 0, past, 1, &enc, &e) < 0, "a plain span past the end: %s",
	    e.msg);
	ok(qz_encode(t, "abc", 3, 0, mixed, 2, &enc, &e) < 0, "plain spans out of order: %s",
	    e.msg);
	ok(qz_encode(t, "ab", 2, 0, NULL, 0, &enc, &e) == 0 &&
		qz_encode(t, "c", 1, 0, NULL, 0, &enc, &e) == 0 && !strcmp(show(&enc), "3 2/2 1"),
	    "ids are appended");
	ok(qz_vocab_size(t) == 21 && !qz_vocab_text(t, 10, &n) && qz_vocab_text(t, 20, &n) &&
		n == 3,
	    "gaps");
	ok(qz_vocab_id(t, "abc", 3) == 4 && qz_vocab_id(t, "abcd", 4) == -1, "ids by text");
	ok(qz_vocab_is_special(t, 7) && !qz_vocab_is_special(t, 20) && qz_vocab_is_added(t, 20) &&
		!qz_vocab_is_added(t, 0) && !qz_vocab_is_special(t, 1u << 30),
	    "special, added");
	ok(qz_vocab_bos(t) == 7 && qz_vocab_eos(t) == 8 && qz_vocab_unk(t) == -1 &&
		qz_vocab_pad(t) == -1,
	    "named ids");
	ok(qz_decode(t, ids, 4, false, &out, &e) == 0 && !strcmp(out.data, "<s> abc [A] </s>"),
	    "no decoder: spaces");
	qz_buf_clear(&out);
	ok(qz_decode(t, ids, 4, true, &out, &e) == 0 && !strcmp(out.data, "abc [A]"),
	    "without special tokens");
	ok(qz_decode(t, gap, 2, true, &out, &e) < 0, "decode: %s", e.msg);
	ok(qz_decode(t, beyond, 1, true, &out, &e) < 0, "decode: %s", e.msg);
	qz_buf_free(&out);
	qz_encoding_free(&enc);
	qz_tokenizer_free(t);
}

/* ignore_merges is about whole words: the part of a word that no token joins to the rest is merged. */
static void
check_parts(void)
{
	static const struct {
		const char *text, *want;
	} rows[] = { { "ab", "3/2" }, { "ab\xc3\xa9", "0 1 2/1 2 4" }, { "ab", "3/2" },
		{ "\xc3\xa9"
		  "ab\xc3\xa9",
		    "2 0 1 2/2 3 4 6" } };
	struct qz_err e;
	struct qz_tokenizer *t = load("{\"model\":{\"type\":\"BPE\",\"ignore_merges\":true,"
				      "\"vocab\":{\"a\":0,\"b\":1,\"\xc3\xa9\":2,\"ab\":3},"
				      "\"merges\":[]}}",
	    NULL, &e);

	if (!ok(t != NULL, "loads"))
		return;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct qz_encoding enc = { 0 };

		if (ok(qz_encode(t, rows[i].text, strlen(rows[i].text), 0, NULL, 0, &enc, &e) == 0,
			"row %zu", i))
			is(show(&enc), rows[i].want, rows[i].text);
		qz_encoding_free(&enc);
	}
	qz_tokenizer_free(t);
}

/* One word of a million letters: a quadratic merge would take hours. */
static void
check_long(void)
{
	enum { N = 1 << 20 };
	struct qz_err e;
	struct qz_tokenizer *t = load("{" MODEL "}", NULL, &e);
	struct qz_encoding enc = { 0 };
	char *s = malloc(N);
	size_t bad = 0;
	clock_t from;

	if (!ok(t && s, "loads"))
		return;
	for (size_t i = 0; i < N; i++)
		s[i] = "abcab"[i % 5];
	from = clock();
	ok(qz_encode(t, s, N, 0, NULL, 0, &enc, &e) == 0 && enc.n == (2 * (size_t)N + 4) / 5,
	    "a word of %d letters", N);
	ok((clock() - from) / CLOCKS_PER_SEC < 20, "within seconds");
	for (size_t i = 0; i + 1 < enc.n; i++)
		bad += enc.ids[i] != (i & 1 ? 3u : 4u) ||
		       enc.ends[i] != i / 2 * 5 + (i & 1 ? 5 : 3);
	ok(!bad, "merged as short ones are");
	free(s);
	qz_encoding_free(&enc);
	qz_tokenizer_free(t);
}

/* A pattern that backtracks without end, and marks without end. */
static void
check_hostile(void)
{
	enum { N = 300000 };
	struct qz_err e;
	struct qz_tokenizer *t = load(
	    "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?:a|aa|a+)+[xy]\"},"
	    "\"behavior\":\"Isolated\"}," MODEL "}",
	    NULL, &e);
	struct qz_encoding enc = { 0 };
	struct qz_buf marks = { 0 }, out = { 0 };

	ok(t &&
		qz_encode(t, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 48, 0, NULL, 0,
		    &enc, &e) < 0 &&
		strstr(e.msg, "the split pattern fails at byte 0: match limit"),
	    "endless backtracking: %s", e.msg);
	qz_encoding_free(&enc);
	qz_tokenizer_free(t);
	for (int i = 0; i < N; i++) /* above, below: every pair must change places */
		qz_buf_str(&marks, i & 1 ? "\xcc\xa3" : "\xcc\x81");
	ok(qz_unicode_normalize(QZ_NFD, marks.data, marks.n, &out, &e) == 0 && out.n == marks.n &&
		!memcmp(out.data, "\xcc\xa3\xcc\xa3", 4) &&
		!memcmp(out.data + out.n - 2, "\xcc\x81", 2),
	    "%d marks are put in order", N);
	qz_buf_free(&marks);
	qz_buf_free(&out);
}

int
main(void)
{
	check_refused();
	check_encoded();
	check_input();
	check_parts();
	check_long();
	check_hostile();
	return done();
}

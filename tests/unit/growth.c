/* Four times the text takes about four times as long: no text makes a tokenizer quadratic. */
#include <time.h>

#include "libcore/text/tokenizer.h"
#include "tests/unit/golden_file.h"

/* Seconds.  Under the address sanitizer memory that grows is moved, which takes what the tokenizer does not. */
#ifdef __SANITIZE_ADDRESS__
#define NOISE 10
#else
#define NOISE 0.02
#endif

enum { SMALL = 1 << 17, FACTOR = 4, ROUNDS = 3 };

/* Repeated to the length that is asked for. */
static const struct {
	const char *name, *unit;
} texts[] = {
	{ "a letter", "a" },
	{ "two letters", "ab" },
	{ "a letter that no merge takes", "z" },
	{ "capitals", "A" },
	{ "spaces", " " },
	{ "spaces and letters", " a" },
	{ "lines", "\n" },
	{ "spaces, then lines", "        \n" },
	{ "digits", "1" },
	{ "marks of punctuation", "!" },
	{ "quotes", "'s" },
	{ "space marks", "\xe2\x96\x81" },
	{ "ideographs", "\xe4\xb8\xad\xe6\x96\x87" },
	{ "alternating lengths", "a\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80" },
	{ "combining marks", "\xcc\x81\xcc\xa3" },
	{ "syllables in parts", "\xe1\x84\x80\xe1\x85\xa1" },
	{ "special tokens", "<s>" },
	{ "what begins like special tokens", "<" },
	{ "special tokens between spaces", " <s> " },
};
enum { N_TEXTS = sizeof texts / sizeof *texts };

#define ADDED                                                                                      \
	"\"added_tokens\":[{\"id\":900,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":true," \
	"\"rstrip\":true,\"normalized\":false,\"special\":true},"                                  \
	"{\"id\":901,\"content\":\"<<<<<<<<<<<<<<<<>\",\"single_word\":true,\"lstrip\":false,"     \
	"\"rstrip\":false,\"normalized\":true,\"special\":false}],"
#define PIECES                                                                                     \
	"\"a\":0,\"b\":1,\" \":2,\"A\":3,\"aa\":4,\"aaaa\":5,\"aaaaaaaa\":6,\"ab\":7,\"abab\":8,"  \
	"\"AA\":9,\"AAA\":10,\"1\":11,\"11\":12,\"!\":13,\"!!\":14,\"!!!\":15,\"<unk>\":16,"
#define MERGES                                                                                     \
	"\"a a\",\"aa aa\",\"aaaa aaaa\",\"a b\",\"ab ab\",\"A A\",\"AA A\",\"1 1\",\"! !\","      \
	"\"!! !\""

static const struct {
	const char *name, *json;
} made[] = {
	{ "BPE of characters",
	    "{" ADDED "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},"
	    "{\"type\":\"Prepend\",\"prepend\":\"\xe2\x96\x81\"},{\"type\":\"Replace\","
	    "\"pattern\":{\"String\":\" \"},\"content\":\"\xe2\x96\x81\"}]},"
	    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"vocab\":"
	    "{" PIECES "\"\xe2\x96\x81\":17,\"\xe2\x96\x81\xe2\x96\x81\":18,\"\xe2\x96\x81"
	    "a\":19},\"merges\":[[\"\xe2\x96\x81\",\"\xe2\x96\x81\"],"
	    "[\"\xe2\x96\x81\",\"a\"]," MERGES "]}}" },
	{ "byte-level BPE, the pattern of GPT-2",
	    "{" ADDED "\"normalizer\":{\"type\":\"NFKC\"},\"pre_tokenizer\":{\"type\":"
	    "\"ByteLevel\",\"add_prefix_space\":false},\"model\":{\"type\":\"BPE\",\"vocab\":"
	    "{" PIECES "\"\xc4\xa0\":17,\"\xc4\xa0\xc4\xa0\":18,\"\xc3\x8c\":19,\"\xc3\x8c\xc3"
	    "\x8c\":20},\"merges\":[\"\xc4\xa0 \xc4\xa0\",\"\xc3\x8c \xc3\x8c\"," MERGES "]}}" },
	{ "BPE, a pattern for PCRE2",
	    "{" ADDED "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":"
	    "\"[a-z]+|\\\\s+(?!\\\\S)|\\\\s|\\\\S\"},\"behavior\":\"Isolated\"},\"model\":{"
	    "\"type\":"
	    "\"BPE\",\"unk_token\":\"<unk>\",\"vocab\":{" PIECES "\"x\":17},\"merges\":[" MERGES
	    "]}}" },
	{ "Unigram",
	    "{" ADDED "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\"},"
	    "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"a\",-2],"
	    "[\"b\",-2],[\"aa\",-3],[\"aaa\",-3.1],[\"aaaaa\",-3.5],[\"ab\",-3],[\"ba\",-3],"
	    "[\"\xe2\x96\x81\",-2],[\"\xe2\x96\x81\xe2\x96\x81\xe2\x96\x81\",-3]]}}" },
};
enum { N_MADE = sizeof made / sizeof *made };
static const char *const models[] = { "mistral-v1-tokenizer/tokenizer.json",
	"mistral-v1-tokenizer/tokenizer.model", "qwen2-tokenizer/tokenizer.json",
	"llama3-like-tokenizer/tokenizer.json" };

/* Seconds of the processor for one encoding, the least of some; -1: it failed. */
static double
cost(const struct qz_tokenizer *t, const char *s, size_t n, struct qz_encoding *enc,
    struct qz_err *e)
{
	double least = 1e9;

	for (int i = 0; i < ROUNDS; i++) {
		clock_t start = clock();
		double took;

		enc->n = 0;
		if (qz_encode(t, s, n, QZ_SPECIAL_PARSE, NULL, 0, enc, e) < 0)
			return -1;
		took = (double)(clock() - start) / CLOCKS_PER_SEC;
		least = took < least ? took : least;
	}
	return least;
}

static void
check(const char *name, const struct qz_tokenizer *t, char *s)
{
	struct qz_encoding enc = { 0 };
	struct qz_err e;

	for (int k = 0; k < N_TEXTS; k++) {
		size_t unit = strlen(texts[k].unit), n = SMALL / unit * unit;
		double one, four;

		for (size_t i = 0; i < FACTOR * n; i++)
			s[i] = texts[k].unit[i % unit];
		one = cost(t, s, n, &enc, &e);
		four = one < 0 ? -1 : cost(t, s, FACTOR * n, &enc, &e);
		if (four < 0)
			ok(0, "%s, %s: %s", name, texts[k].name, e.msg);
		else /* an n log n stays below, a quadratic one does not */
			ok(four <= 2 * FACTOR * one + NOISE, "%s, %s: %.1f ms, then %.1f", name,
			    texts[k].name, 1e3 * one, 1e3 * four);
	}
	qz_encoding_free(&enc);
}

static void
try_model(const char *name, const char *json, size_t n, enum qz_text_file kind, char *s)
{
	struct qz_text_files f = { 0 };
	struct qz_tokenizer *t;
	struct qz_err e;

	f.file[kind].s = json;
	f.file[kind].n = n;
	t = qz_tokenizer_load(&f, &e);
	if (t)
		check(name, t, s);
	else
		ok(0, "%s: %s", name, e.msg);
	qz_tokenizer_free(t);
}

int
main(void)
{
	char *s = malloc((size_t)SMALL * FACTOR), path[200];

	if (!s)
		return 1;
	for (int i = 0; i < N_MADE; i++)
		try_model(made[i].name, made[i].json, strlen(made[i].json), QZ_TEXT_JSON, s);
	for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
		size_t n;
		char *file;

		snprintf(path, sizeof path, "models/%s", models[i]);
		file = shared_bytes(path, &n);
		if (file)
			try_model(models[i], file, n,
			    strstr(path, ".model") ? QZ_TEXT_SPM : QZ_TEXT_JSON, s);
		else
			skip("no %s", path);
		free(file);
	}
	free(s);
	return done();
}

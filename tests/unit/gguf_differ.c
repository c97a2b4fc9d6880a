/* Where llama.cpp splits text otherwise: each difference is said of a vocabulary that can meet it, and of no other. */
#include "libcore/model/gguf_differ.h"

#include <stdio.h>

#include "tests/unit/tap.h"

/* tokens of a vocabulary, with blanks between; "*" is GPT-2's alphabet, all 256 symbols */
static const struct {
	const char *model, *pre, *tokens, *tokenizer, *said;
	int add_space_prefix;
} rows[] = {
	{ "llama", "default", "a b ab", "{}", "", -1 },
	{ "gpt2", "llama-bpe", "* ab", "{}", "", -1 },
	{ "llama", "default", "a",
	    "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"prepend_scheme\":\"first\"}}",
	    "a space is put before text that follows a special token, here only at the start\n",
	    -1 },
	{ "llama", "default", "a",
	    "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"prepend_scheme\":\"first\"}}", "", 0 },
	{ "llama", "default", "a",
	    "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"prepend_scheme\":\"always\"}}", "", -1 },
	{ "gpt2", "gpt-2", "*",
	    "{\"added_tokens\":[{\"content\":\"<ab>\"},{\"content\":\"b>cdef\"}]}",
	    "where special tokens lie over each other, as <ab> and b>cdef can, the longest is "
	    "taken, here the first\n",
	    -1 },
	{ "gpt2", "gpt-2", "*",
	    "{\"added_tokens\":[{\"content\":\"<ab>\"},{\"content\":\"<abc>\"}]}", "", -1 },
	{ "gpt2", "gpt-2", "*", "{\"added_tokens\":[{\"content\":\"<m>\",\"lstrip\":true}]}",
	    "lstrip of the token <m> is not looked at\n", -1 },
	{ "gpt2", "gpt-2", "*", "{\"added_tokens\":[{\"content\":\"<m>\",\"single_word\":true}]}",
	    "single_word of the token <m> is not looked at\n", -1 },
	{ "gpt2", "qwen2", "*",
	    "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}]}}",
	    "text is taken as it is, here it goes through NFC first\n", -1 },
	{ "gpt2", "tekken", "*", "{}",
	    "letters that are not ASCII are split without regard to case\n", -1 },
	{ "llama", "default", "a b ab\xc3\xa9", "{}",
	    "pieces like ab\xc3\xa9 are found by merging, here \xc3\xa9 is no token and becomes "
	    "bytes before\n",
	    -1 },
	{ "llama", "default", "a b \xc3\xa9 ab\xc3\xa9", "{}", "", -1 },
	{ "gpt2", "gpt-2", "a b", "{}",
	    "254 bytes have no token: text with them is dropped without a word\n", -1 },
};

static void
alphabet(char *out)
{
	unsigned next = 256;

	for (unsigned b = 0; b < 256; b++) {
		bool self = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
		unsigned c = self ? b : next++;

		if (c >= 128)
			*out++ = (char)(0xc0 | c >> 6);
		*out++ = (char)(c >= 128 ? 0x80 | (c & 0x3f) : c);
		*out++ = ' ';
	}
	*out = '\0';
}

static void
check(size_t i)
{
	static char text[2048];
	struct qz_gguf_text tokens[300];
	int32_t types[300];
	struct qz_gguf_vocab v = { .model = rows[i].model,
		.pre = rows[i].pre,
		.tokens = tokens,
		.types = types,
		.add_space_prefix = rows[i].add_space_prefix };
	struct qz_buf out = { 0 };
	struct qz_err e;

	if (*rows[i].tokens == '*')
		alphabet(text);
	else
		*text = '\0';
	strcat(text, rows[i].tokens + (*rows[i].tokens == '*'));
	for (char *s = strtok(text, " "); s; s = strtok(NULL, " ")) {
		types[v.n] = QZ_TOKEN_NORMAL;
		tokens[v.n++] = (struct qz_gguf_text){ s, strlen(s) };
	}
	v.tokenizer = qz_json_parse(rows[i].tokenizer, strlen(rows[i].tokenizer), &e);
	qz_gguf_differ(&v, &out);
	if (!ok(!strcmp(out.n ? out.data : "", rows[i].said), "%s, %s: %.40s", rows[i].model,
		rows[i].pre, *rows[i].said ? rows[i].said : "nothing"))
		printf("# %s\n", out.n ? out.data : "");
	qz_json_free(v.tokenizer);
	qz_buf_free(&out);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check(i);
	return done();
}

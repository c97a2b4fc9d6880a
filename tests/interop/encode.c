#define _GNU_SOURCE /* getline */
/* Texts from standard input to ids, for test_tokenizers.py.  A line is flags, a space, the text in hex;
 * the answer is ids, a tab, their ends, a tab, the decoded text in hex; or "error: ...". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/interop/text_file.h"

static char *
read_file(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	struct qz_buf b = { 0 };
	size_t got;
	char part[65536];

	if (!f) {
		perror(path);
		exit(1);
	}
	while ((got = fread(part, 1, sizeof part, f)) > 0)
		qz_buf_add(&b, part, got);
	fclose(f);
	*n = b.n;
	return b.data;
}

static void
unhex(const char *s, struct qz_buf *out)
{
	unsigned byte;

	qz_buf_clear(out);
	for (; sscanf(s, "%2x", &byte) == 1; s += 2)
		qz_buf_chr(out, (char)byte);
}

static void
answer(const struct qz_tokenizer *t, const char *line, struct qz_buf *text, struct qz_encoding *enc)
{
	unsigned flags = (unsigned)line[0] - '0';
	struct qz_buf out = { 0 };
	struct qz_err e = { 0 };

	unhex(line + 2, text);
	enc->n = 0;
	if (qz_encode(t, text->data ? text->data : "", text->n, flags, NULL, 0, enc, &e) < 0 ||
	    qz_decode(t, enc->ids, enc->n, false, &out, &e) < 0) {
		printf("error: %s\n", e.msg);
		qz_buf_free(&out);
		return;
	}
	for (size_t i = 0; i < enc->n; i++)
		printf("%s%lu", i ? " " : "", (unsigned long)enc->ids[i]);
	putchar('\t');
	for (size_t i = 0; i < enc->n; i++)
		printf("%s%zu", i ? " " : "", enc->ends[i]);
	putchar('\t');
	for (size_t i = 0; i < out.n; i++)
		printf("%02x", (unsigned char)out.data[i]);
	putchar('\n');
	qz_buf_free(&out);
}

int
main(int argc, char **argv)
{
	struct qz_text_files f = { 0 };
	struct qz_err e = { 0 };
	struct qz_encoding enc = { 0 };
	struct qz_buf text = { 0 };
	struct qz_tokenizer *t;
	char *json, *line = NULL;
	size_t cap = 0;

	if (argc != 2)
		return 2;
	json = read_file(argv[1], &f.file[kind_of(argv[1])].n);
	f.file[kind_of(argv[1])].s = json;
	t = qz_tokenizer_load(&f, &e);
	free(json);
	if (!t) {
		printf("error: %s\n", e.msg);
		return 3;
	}
	while (getline(&line, &cap, stdin) > 1)
		answer(t, line, &text, &enc);
	free(line);
	qz_buf_free(&text);
	qz_encoding_free(&enc);
	qz_tokenizer_free(t);
	return 0;
}

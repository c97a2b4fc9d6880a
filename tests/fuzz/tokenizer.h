/* tokenizer - loads a tokenizer from fuzzed bytes and uses it. */
#ifndef QZ_FUZZ_TOKENIZER_H
#define QZ_FUZZ_TOKENIZER_H

#include <stdlib.h>
#include <string.h>

#include "libcore/text/ready.h"
#include "libcore/text/tokenizer.h"

static void
use_tokenizer(const struct qz_tokenizer *t)
{
	static const char *const texts[] = {
		"", "a", "The quick  brown\n\nfox's 1234 <s>[INST]</s>",
		"\xc3\xa9\xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x98\x80\xcc\x81",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	};
	static const struct qz_span plain = { 2, 3 };
	struct qz_encoding enc = { 0 };
	struct qz_buf out = { 0 };
	struct qz_err e;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		size_t n = strlen(texts[i]);

		enc.n = 0;
		if (qz_encode(t, texts[i], n, QZ_SPECIAL_ADD | QZ_SPECIAL_PARSE,
			n > 5 ? &plain : NULL, n > 5, &enc, &e) < 0)
			continue;
		for (size_t k = 0; k < enc.n; k++)
			if (enc.ids[k] >= qz_vocab_size(t) || enc.ends[k] > n)
				abort();
		qz_buf_clear(&out);
		qz_decode(t, enc.ids, enc.n, false, &out, &e);
	}
	qz_encoding_free(&enc);
	qz_buf_free(&out);
}

/* The ready form of a tokenizer.json, damaged: each 6 bytes of data put four into it, near its start or its end, where
 * all is but a table of bits; what is left of them shortens it. */
__attribute__((unused)) static void
try_ready(const char *json, const uint8_t *data, size_t n)
{
	struct qz_text_files f = { .file = { [QZ_TEXT_JSON] = { json, strlen(json) } } };
	static struct qz_buf good;
	struct qz_buf ready = { 0 };
	struct qz_tokenizer *t;
	struct qz_err e;

	if (!good.n && qz_ready_make(QZ_TEXT_JSON, json, strlen(json), &good, &e) <= 0)
		abort();
	qz_buf_add(&ready, good.data, good.n);
	for (; n >= 6; n -= 6, data += 6) {
		size_t at = data[0] | (size_t)(data[1] & 0x7f) << 8;

		at = data[1] & 0x80 ? ready.n - 4 - at : at;
		if (at >= 40 || (at >= 4 && at < 24)) /* it stays this version's, of this file */
			memcpy(ready.data + at, data + 2, 4);
	}
	f.ready.s = ready.data;
	f.ready.n = ready.n - n;
	t = qz_tokenizer_load(&f, &e);
	if (t)
		use_tokenizer(t);
	qz_tokenizer_free(t);
	qz_buf_free(&ready);
}

__attribute__((unused)) static void
try_tokenizer(enum qz_text_file which, const uint8_t *data, size_t n)
{
	struct qz_text_files f = { 0 };
	struct qz_tokenizer *t;
	struct qz_err e;

	f.file[which].s = (const char *)data;
	f.file[which].n = n;
	t = n ? qz_tokenizer_load(&f, &e) : NULL;
	if (t)
		use_tokenizer(t);
	qz_tokenizer_free(t);
}

#endif

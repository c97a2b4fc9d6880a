/* A GGUF file byte by byte, and what the writer refuses. */
#include "libcore/base/le.h"
#include "libcore/format/gguf_write.h"
#include "tests/unit/tap.h"

/* docs/gguf.md of ggml, by hand: one string key, one array, two tensors of which the first needs padding. */
static void
layout(void)
{
	static const uint8_t want[] = { 'G', 'G', 'U', 'F', 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2,
		0, 0, 0, 0, 0, 0, 0,                                                         /* */
		1, 0, 0, 0, 0, 0, 0, 0, 'k', 8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 'v', 'w',   /* */
		1, 0, 0, 0, 0, 0, 0, 0, 'a', 9, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, /* */
		1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,                                          /* */
		1, 0, 0, 0, 0, 0, 0, 0, 'x', 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,             /* */
		2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,                  /* */
		1, 0, 0, 0, 0, 0, 0, 0, 'y', 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,             /* */
		0, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0,                                         /* */
		0, 0, 0, 0, 0, 0,                                                            /* */
		1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, /* */
		13, 14, 15, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0 };
	const uint8_t data[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
	struct qz_ggufw g = { 0 };
	struct qz_buf b = { 0 };
	struct qz_err e = { 0 };
	struct qz_out *o = qz_out_memory(&b, &e);

	qz_ggufw_str(&g, "k", "vw");
	qz_ggufw_i32s(&g, "a", (const int32_t[]){ 1, -1 }, 2);
	qz_ggufw_texts(&g, "empty", NULL, 0);
	qz_ggufw_tensor(&g, "x", QZ_F16, (const uint64_t[]){ 2, 3 }, 2, &e);
	qz_ggufw_tensor(&g, "y", QZ_F32, (const uint64_t[]){ 1 }, 1, &e);
	ok(qz_ggufw_nbytes(&g) == sizeof want, "the size is known before the data: %llu",
	    (unsigned long long)qz_ggufw_nbytes(&g));
	ok(qz_ggufw_begin(&g, o, &e) == 0, "header");
	ok(qz_ggufw_end(&g, &e) < 0, "no data yet: %s", e.msg);
	ok(qz_ggufw_write(&g, o, data, 5, &e) == 0 && qz_ggufw_write(&g, o, data + 5, 11, &e) == 0,
	    "data");
	ok(qz_ggufw_end(&g, &e) == 0, "complete");
	ok(qz_ggufw_write(&g, o, data, 1, &e) < 0 && e.code == QZ_EDATA, "a byte too many: %s",
	    e.msg);
	qz_out_commit(o, &e);
	ok(b.n == sizeof want && !memcmp(b.data, want, b.n), "every byte (%zu)", b.n);
	qz_out_close(o);
	qz_buf_free(&b);
	qz_ggufw_free(&g);
}

static const char name64[] = "1234567890123456789012345678901234567890123456789012345678901234";

static const struct {
	const char *what, *name;
	enum qz_dtype type;
	uint64_t dims[4];
	int n_dims, good;
} tensors[] = {
	{ "63 bytes of name", name64 + 1, QZ_F32, { 1 }, 1, 1 },
	{ "64 bytes of name", name64, QZ_F32, { 1 }, 1, 0 },
	{ "no name", "", QZ_F32, { 1 }, 1, 0 },
	{ "no dimension", "x", QZ_F32, { 0 }, 0, 0 },
	{ "five dimensions", "x", QZ_F32, { 1, 1, 1, 1 }, 5, 0 },
	{ "whole blocks", "x", QZ_Q8_0, { 3, 64 }, 2, 1 },
	{ "rows of broken blocks", "x", QZ_Q8_0, { 32, 3 }, 2, 0 },
	{ "a type of bitsandbytes", "x", QZ_NF4, { 2, 64 }, 2, 0 },
	{ "no type", "x", (enum qz_dtype)63, { 2, 64 }, 2, 0 },
	{ "2^64 elements", "x", QZ_F32, { 1ull << 32, 1ull << 32 }, 2, 0 },
	{ "2^63 bytes", "x", QZ_F32, { 1ull << 31, 1ull << 30 }, 2, 0 },
};

static void
refusals(void)
{
	for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
		struct qz_ggufw g = { 0 };
		struct qz_err e = { 0 };
		int got = qz_ggufw_tensor(
		    &g, tensors[i].name, tensors[i].type, tensors[i].dims, tensors[i].n_dims, &e);

		ok((got == 0) == tensors[i].good && (got == 0 || e.code == QZ_EDATA), "%s: %s",
		    tensors[i].what, got ? e.msg : "taken");
		qz_ggufw_free(&g);
	}
}

static void
twice(void)
{
	for (int tensor = 0; tensor < 2; tensor++) {
		struct qz_ggufw g = { 0 };
		struct qz_buf b = { 0 };
		struct qz_err e = { 0 };
		struct qz_out *o = qz_out_memory(&b, &e);

		for (int i = 0; i < 2; i++) {
			if (tensor)
				qz_ggufw_tensor(&g, "t", QZ_F32, (const uint64_t[]){ 1 }, 1, &e);
			else
				qz_ggufw_u32(&g, "k", 1);
		}
		ok(qz_ggufw_begin(&g, o, &e) < 0 && strstr(e.msg, "twice") && b.n == 0,
		    "refused: %s", e.msg);
		qz_out_close(o);
		qz_buf_free(&b);
		qz_ggufw_free(&g);
	}
}

int
main(void)
{
	layout();
	refusals();
	twice();
	return done();
}

/* The base layer: messages, numbers, sizes, UTF-8, halves, Philox, names, the pool. */
#include <math.h>

#include "libcore/base/arena.h"
#include "libcore/base/base64.h"
#include "libcore/base/buf.h"
#include "libcore/base/half.h"
#include "libcore/base/hash.h"
#include "libcore/base/num.h"
#include "libcore/base/pool.h"
#include "libcore/base/rng.h"
#include "libcore/base/size.h"
#include "libcore/base/unicode.h"
#include "libcore/base/utf8.h"
#include "tests/unit/tap.h"

static void
messages(void)
{
	struct qz_err e;
	char longer[3000];

	ok(qz_fail(&e, QZ_EDATA, "checksum is %x, not %x", 1, 2) == -1 && e.code == QZ_EDATA,
	    "a failure is -1");
	qz_at(&e, "tensor %s", "a");
	qz_at(&e, "x.qz");
	is(e.msg, "x.qz: tensor a: checksum is 1, not 2", "places are put before it");
	qz_fail(&e, QZ_EDATA, "a\nb\033[31mc\x7f");
	is(e.msg, "a?b?[31mc?", "control characters do not reach the terminal");
	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	qz_fail(&e, QZ_EIO, "%s", longer);
	qz_at(&e, "%s", longer);
	ok(strlen(e.msg) < sizeof e.msg, "long messages are cut");
}

static void
sizes(void)
{
	static const struct {
		const char *text;
		uint64_t want;
		int bad;
	} cases[] = {
		{ "0", 0, 0 },
		{ "4096", 4096, 0 },
		{ "6G", 6000000000, 0 },
		{ "6GB", 6000000000, 0 },
		{ "1.5GiB", 1610612736, 0 },
		{ "300M", 300000000, 0 },
		{ "2k", 2000, 0 },
		{ "2K", 2000, 0 },
		{ "", 0, 1 },
		{ "-1", 0, 1 },
		{ "6X", 0, 1 },
		{ "6GG", 0, 1 },
		{ "1e30", 0, 1 },
		{ "nan", 0, 1 },
	};
	struct qz_err e;
	uint64_t v;
	char s[16];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int ret = qz_num_size(cases[i].text, &v, &e);

		ok(cases[i].bad ? ret < 0 : ret == 0 && v == cases[i].want, "size '%s'",
		    cases[i].text);
	}
	qz_num_bytes(999, s);
	is(s, "999 B", "999 bytes");
	qz_num_bytes(3600000000, s);
	is(s, "3.60 GB", "3.6 GB");
	qz_num_bytes(UINT64_MAX, s);
	is(s, "18.4 EB", "the largest");
}

static void
integers(void)
{
	struct qz_err e;
	int64_t v;

	ok(qz_num_int("12", &v, &e) == 0 && v == 12, "12");
	ok(qz_num_int("12x", &v, &e) < 0, "12x is refused");
	ok(qz_num_int("", &v, &e) < 0, "nothing is refused");
	ok(qz_num_int("99999999999999999999", &v, &e) < 0, "too large is refused");
}

static void
utf8(void)
{
	static const struct {
		const char *s;
		size_t n, valid;
	} cases[] = {
		{ "abc", 3, 3 },
		{ "\xc3\xa9", 2, 2 },
		{ "\xc3", 1, 0 },
		{ "a\xc0\x80", 3, 1 },    /* overlong */
		{ "\xed\xa0\x80", 3, 0 }, /* surrogate */
		{ "\xef\xbf\xbf", 3, 3 },
		{ "\xf4\x8f\xbf\xbf", 4, 4 },
		{ "\xf4\x90\x80\x80", 4, 0 }, /* above 10FFFF */
		{ "\xe0\x9f\xbf", 3, 0 },     /* overlong */
		{ "ok\xff", 3, 2 },
	};
	int bad = 0, len;
	char s[4];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		ok(qz_utf8_valid(cases[i].s, cases[i].n) == cases[i].valid, "UTF-8 case %zu", i);
	for (uint32_t c = 0; c < 0x110000; c++) {
		int n = qz_utf8_put(c, s);
		int32_t back = qz_utf8_get(s, (size_t)n, &len);

		bad += c >= 0xd800 && c < 0xe000 ? back >= 0 : back != (int32_t)c || len != n;
	}
	ok(bad == 0, "every code point goes out and comes back, surrogates do not");
}

/* A byte that is none of a text's, at every place of texts of every length. */
static void
utf8_places(void)
{
	char s[40];
	int bad = 0;

	for (size_t n = 1; n < sizeof s; n++)
		for (size_t i = 0; i < n; i++) {
			memset(s, 'a', n);
			s[i] = '\x80';
			bad += qz_utf8_valid(s, n) != i;
			s[i] = '\xc3';
			bad += qz_utf8_valid(s, n) != i;
			if (i + 1 < n)
				s[i + 1] = '\xa9';
			bad += qz_utf8_valid(s, n) != (i + 1 < n ? n : i);
		}
	ok(bad == 0, "invalid bytes are found where they are");
}

/* A character is plain in a form when it is its own form; every one, in every form. */
static void
plain_characters(void)
{
	static const char *const names[] = { "NFC", "NFD", "NFKC", "NFKD" };
	struct qz_buf out = { 0 };
	struct qz_err e;
	char s[4];

	for (int f = QZ_NFC; f <= QZ_NFKD; f++) {
		int bad = 0;

		for (uint32_t c = 0; c < 0x110000; c++) {
			size_t n = c >= 0xd800 && c < 0xe000 ? 0 : (size_t)qz_utf8_put(c, s);
			bool same;

			qz_buf_clear(&out);
			if (!n || qz_unicode_normalize((enum qz_form)f, s, n, &out, &e) < 0)
				continue;
			same = out.n == n && !memcmp(out.data, s, n);
			bad += qz_unicode_plain((enum qz_form)f, c) != same;
			if (bad == 1)
				printf("# U+%04X\n", (unsigned)c);
		}
		ok(bad == 0, "%s: every character that it leaves is plain, others are not",
		    names[f]);
	}
	qz_buf_free(&out);
}

/* Against conversions by the definition: nearest, ties to even, in double arithmetic. */
static int
half_is_nearest(float f, uint16_t h, float (*back)(uint16_t))
{
	double d = fabs((double)f), here = fabs((double)back(h));
	double up = fabs((double)back((uint16_t)((h & 0x7fff) + 1)));
	double down = h & 0x7fff ? fabs((double)back((uint16_t)((h & 0x7fff) - 1))) : -1;

	if (isinf(here))
		return 1; /* overflow is checked by cases */
	if (fabs(d - here) > fabs(up - d) || (down >= 0 && fabs(d - here) > fabs(d - down)))
		return 0;
	if (fabs(d - here) == fabs(up - d) || (down >= 0 && fabs(d - here) == fabs(d - down)))
		return (h & 1) == 0;
	return 1;
}

static void
halves(void)
{
	int bad16 = 0, badb = 0, round = 0;
	uint32_t w[4];

	for (uint32_t h = 0; h < 0x10000; h++) {
		float f = qz_f16_to_f32((uint16_t)h), b = qz_bf16_to_f32((uint16_t)h);

		if (!isnan(f))
			round += qz_f32_to_f16(f) != h;
		if (!isnan(b))
			round += qz_f32_to_bf16(b) != h;
	}
	ok(round == 0, "every half comes back from float32");
	for (uint64_t i = 0; i < 1000000; i++) {
		float f;

		qz_philox(7, 0, i, w);
		f = qz_f32_from_bits(
		    i % 2 ? w[0] : (w[0] & 0x8fffffff) | 0x30000000); /* also the range of f16 */
		if (isnan(f))
			continue;
		bad16 += fabsf(f) < 65504 && !half_is_nearest(f, qz_f32_to_f16(f), qz_f16_to_f32);
		badb += !half_is_nearest(f, qz_f32_to_bf16(f), qz_bf16_to_f32);
	}
	ok(bad16 == 0, "float16 is the nearest, ties to even (%d of a million are not)", bad16);
	ok(badb == 0, "so is bfloat16 (%d)", badb);
	ok(qz_f32_to_f16(65519.99f) == 0x7bff && qz_f32_to_f16(65520) == 0x7c00,
	    "float16 overflows at 65520");
	ok(isnan(qz_f16_to_f32(qz_f32_to_f16(NAN))) && isnan(qz_bf16_to_f32(qz_f32_to_bf16(NAN))),
	    "NaN stays NaN");
	ok(isnan(qz_bf16_to_f32(qz_f32_to_bf16(qz_f32_from_bits(0x7f800001)))),
	    "a NaN in the low bits too");
}

static void
philox(void)
{
	/* kat_vectors of the authors' Random123 1.14: philox4x32 7 and 10 */
	static const struct {
		uint64_t seed, stream, index;
		uint32_t seven[4], ten[4];
	} cases[] = {
		{ 0, 0, 0, { 0x5f6fb709, 0x0d893f64, 0x4f121f81, 0x4f730a48 },
		    { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
		{ UINT64_MAX, UINT64_MAX, UINT64_MAX,
		    { 0x5207ddc2, 0x45165e59, 0x4d8ee751, 0x8c52f662 },
		    { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
		{ 0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88,
		    { 0x4dfccaba, 0x190a87f0, 0xc47362ba, 0xb6b5242a },
		    { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
	};
	uint32_t seven[4], ten[4];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		qz_philox_rounds(cases[i].seed, cases[i].stream, cases[i].index, 7, seven);
		qz_philox(cases[i].seed, cases[i].stream, cases[i].index, ten);
		ok(!memcmp(seven, cases[i].seven, sizeof seven), "Philox vector %zu, 7 rounds", i);
		ok(!memcmp(ten, cases[i].ten, sizeof ten), "Philox vector %zu, 10 rounds", i);
	}
}

static void
buffers(void)
{
	struct qz_buf b = { 0 };
	struct qz_arena a = { 0 };
	struct qz_err e;
	char *p, *q;
	uint64_t v;

	for (int i = 0; i < 1000; i++)
		qz_buf_fmt(&b, "%d,", i);
	ok(qz_buf_ok(&b, &e) == 0 && b.n == 3890 && b.data[b.n] == '\0', "a buffer grows");
	ok(!qz_buf_room(&b, (size_t)-1) && qz_buf_ok(&b, &e) < 0, "what does not fit is said");
	qz_buf_free(&b);
	p = qz_arena_strdup(&a, "one");
	q = qz_arena_alloc(&a, 1 << 20);
	ok(p && q && !strcmp(p, "one") && q[(1 << 20) - 1] == 0, "an arena keeps what it gave");
	ok(!qz_arena_alloc(&a, (size_t)-1), "and has bounds");
	qz_arena_free(&a);
	ok(qz_add_over(UINT64_MAX, 1, &v) && qz_mul_over(1ull << 32, 1ull << 32, &v),
	    "sums and products are checked");
	ok(qz_hash64("", 0) == 0x2d06800538d394c2, "XXH3 of nothing is what its authors say");
}

static void
add_part(void *arg, int part, int thread)
{
	int *sums = arg;

	(void)thread;
	sums[part] += part;
}

static void
pool(void)
{
	struct qz_err e;
	struct qz_pool *p = qz_pool_new(4, &e);
	int sums[257] = { 0 }, bad = 0;

	for (int round = 0; round < 200; round++)
		qz_pool_run(p, 257, add_part, sums);
	for (int i = 0; i < 257; i++)
		bad += sums[i] != 200 * i;
	ok(bad == 0, "every part runs once a job");
	qz_pool_free(p);
}

/* RFC 4648, 10, and all digits; what is no digit, before and behind each run of them. */
static void
base64(void)
{
	static const struct {
		const char *text, *bytes; /* NULL: refused, at byte `at` */
		size_t n, at;
	} rows[] = {
		{ "", "", 0, 0 },
		{ "Zg==", "f", 1, 0 },
		{ "Zg", "f", 1, 0 },
		{ "Zm8=", "fo", 2, 0 },
		{ "Zm9vYmFy", "foobar", 6, 0 },
		{ "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
		    "\x00\x10\x83\x10\x51\x87\x20\x92\x8b\x30\xd3\x8f\x41\x14\x93\x51\x55\x97\x61"
		    "\x96"
		    "\x9b\x71\xd7\x9f\x82\x18\xa3\x92\x59\xa7\xa2\x9a\xab\xb2\xdb\xaf\xc3\x1c\xb3"
		    "\xd3"
		    "\x5d\xb7\xe3\x9e\xbb\xf3\xdf\xbf",
		    48, 0 },
		{ "Zm*v", NULL, 0, 2 },
		{ ",mFy", NULL, 0, 0 },
		{ "Z.Fy", NULL, 0, 1 },
		{ "Zm:y", NULL, 0, 2 },
		{ "Zm8@", NULL, 0, 3 },
		{ "Z[8=", NULL, 0, 1 },
		{ "Z`8=", NULL, 0, 1 },
		{ "Z{8=", NULL, 0, 1 },
		{ "Z\xff"
		  "8=",
		    NULL, 0, 1 },
		{ "Z=8=", NULL, 0, 1 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct qz_buf b = { 0 };
		struct qz_err e = { 0 };
		char place[40] = "";
		int ret = qz_base64_decode(rows[i].text, strlen(rows[i].text), &b, &e);

		snprintf(place, sizeof place, "byte %zu is no base64", rows[i].at);
		ok(rows[i].bytes ? ret == 0 && b.n == rows[i].n &&
				       !memcmp(b.data ? b.data : "", rows[i].bytes, b.n)
				 : ret < 0 && !strcmp(e.msg, place),
		    "base64, row %zu: %s", i, ret < 0 ? e.msg : "bytes");
		qz_buf_free(&b);
	}
}

int
main(void)
{
	messages();
	sizes();
	integers();
	utf8();
	utf8_places();
	plain_characters();
	halves();
	philox();
	buffers();
	pool();
	base64();
	return done();
}

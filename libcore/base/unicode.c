#include "libcore/base/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "libcore/base/utf8.h"

_Static_assert((int)QZ_LU == UTF8PROC_CATEGORY_LU && (int)QZ_ND == UTF8PROC_CATEGORY_ND &&
		   (int)QZ_PO == UTF8PROC_CATEGORY_PO && (int)QZ_CO == UTF8PROC_CATEGORY_CO,
    "utf8proc numbers the categories in the standard's order");

/* Assigned in Unicode 15.1 and 16 (UnicodeData.txt), where an older table says Cn. */
static const struct {
	uint32_t first, last;
	enum qz_category category;
} recent[] = {
	{ 0x0897, 0x0897, QZ_MN },
	{ 0x1b4e, 0x1b4f, QZ_PO },
	{ 0x1b7f, 0x1b7f, QZ_PO },
	{ 0x1c89, 0x1c8a, QZ_LO },
	{ 0xa7cb, 0xa7cd, QZ_LO },
	{ 0xa7da, 0xa7dc, QZ_LO },
	{ 0x105c0, 0x105c9, QZ_LO },
	{ 0x105ca, 0x105f3, QZ_LO },
	{ 0x10d40, 0x10d49, QZ_ND },
	{ 0x10d4a, 0x10d65, QZ_LO },
	{ 0x10d69, 0x10d6d, QZ_MN },
	{ 0x10d6e, 0x10d6e, QZ_PO },
	{ 0x10d6f, 0x10d85, QZ_LO },
	{ 0x10ec2, 0x10ec4, QZ_LO },
	{ 0x10efc, 0x10efc, QZ_MN },
	{ 0x11380, 0x11389, QZ_LO },
	{ 0x1138b, 0x1138b, QZ_LO },
	{ 0x1138e, 0x1138e, QZ_LO },
	{ 0x11390, 0x113b5, QZ_LO },
	{ 0x113b7, 0x113b7, QZ_LO },
	{ 0x113b8, 0x113c0, QZ_MN },
	{ 0x113c2, 0x113c2, QZ_MN },
	{ 0x113c5, 0x113c5, QZ_MN },
	{ 0x113c7, 0x113ca, QZ_MN },
	{ 0x113cc, 0x113d0, QZ_MN },
	{ 0x113d1, 0x113d1, QZ_LO },
	{ 0x113d2, 0x113d2, QZ_MN },
	{ 0x113d3, 0x113d3, QZ_LO },
	{ 0x113d4, 0x113d5, QZ_PO },
	{ 0x113d7, 0x113d8, QZ_PO },
	{ 0x113e1, 0x113e2, QZ_MN },
	{ 0x116d0, 0x116e3, QZ_ND },
	{ 0x11bc0, 0x11be0, QZ_LO },
	{ 0x11be1, 0x11be1, QZ_PO },
	{ 0x11bf0, 0x11bf9, QZ_ND },
	{ 0x11f5a, 0x11f5a, QZ_MN },
	{ 0x13460, 0x143fa, QZ_LO },
	{ 0x16100, 0x1611d, QZ_LO },
	{ 0x1611e, 0x1612f, QZ_MN },
	{ 0x16130, 0x16139, QZ_ND },
	{ 0x16d40, 0x16d6c, QZ_LO },
	{ 0x16d6d, 0x16d6f, QZ_PO },
	{ 0x16d70, 0x16d79, QZ_ND },
	{ 0x18cff, 0x18cff, QZ_LO },
	{ 0x1ccf0, 0x1ccf9, QZ_ND },
	{ 0x1e5d0, 0x1e5ed, QZ_LO },
	{ 0x1e5ee, 0x1e5ef, QZ_MN },
	{ 0x1e5f0, 0x1e5f0, QZ_LO },
	{ 0x1e5f1, 0x1e5fa, QZ_ND },
	{ 0x1e5ff, 0x1e5ff, QZ_PO },
	{ 0x2ebf0, 0x2ee5d, QZ_LO },
};

static const int form_options[] = {
	[QZ_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
	[QZ_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
	[QZ_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
	[QZ_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
};

int
qz_utf8_width(uint32_t c)
{
	return utf8proc_charwidth((utf8proc_int32_t)c);
}

uint32_t
qz_utf8_upper(uint32_t c)
{
	return (uint32_t)utf8proc_toupper((utf8proc_int32_t)c);
}

uint32_t
qz_utf8_lower(uint32_t c)
{
	return (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
}

bool
qz_utf8_printable(uint32_t c)
{
	switch (utf8proc_category((utf8proc_int32_t)c)) {
	case UTF8PROC_CATEGORY_CN:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_CS:
	case UTF8PROC_CATEGORY_CO:
		return false;
	case UTF8PROC_CATEGORY_ZS:
		return c == ' ';
	default:
		return true;
	}
}

enum qz_category
qz_unicode_category(uint32_t c)
{
	enum qz_category cat = (enum qz_category)utf8proc_category((utf8proc_int32_t)c);
	size_t lo = 0, hi = sizeof recent / sizeof *recent;

	if (cat != QZ_CN)
		return cat;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (c > recent[mid].last)
			lo = mid + 1;
		else if (c < recent[mid].first)
			hi = mid;
		else
			return recent[mid].category;
	}
	return QZ_CN;
}

int
qz_unicode_lower(uint32_t c, uint32_t out[2])
{
	if (c == 0x130) { /* SpecialCasing.txt's only unconditional row for lower case */
		out[0] = 'i';
		out[1] = 0x307;
		return 2;
	}
	out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
	return 1;
}

static int
combining_class(uint32_t c)
{
	return utf8proc_get_property((utf8proc_int32_t)c)->combining_class;
}

/* Hangul vowels and finals, Kirat Rai vowels. */
static bool
is_vowel(uint32_t c)
{
	return (c >= 0x1160 && c <= 0x11ff) || (c >= 0x16d63 && c <= 0x16d6a);
}

/* All that composes with what stands before it is a mark, a Hangul vowel or final, or a Kirat Rai
 * vowel (Unicode 16). */
static bool
may_join(uint32_t c)
{
	enum qz_category k = qz_unicode_category(c);

	return k == QZ_MN || k == QZ_MC || k == QZ_ME || is_vowel(c) || combining_class(c);
}

enum { LONGEST = 32 }; /* U+FDFA decomposes to 18 code points */
enum { HANGUL = 0xac00, HANGUL_END = 0xd7a4, NO_SEQUENCE = UINT16_MAX };

static bool
is_hangul(uint32_t c)
{
	return c >= HANGUL && c < HANGUL_END;
}

/* Most have no decomposition of any kind, which their entry tells. */
static bool
decomposes(uint32_t c)
{
	return is_hangul(c) ||
	       utf8proc_get_property((utf8proc_int32_t)c)->decomp_seqindex != NO_SEQUENCE;
}

bool
qz_unicode_starts(enum qz_form f, uint32_t c)
{
	utf8proc_int32_t out[LONGEST];
	int last = 0;
	utf8proc_ssize_t n;

	if (c < 0x80)
		return true;
	if (may_join(c))
		return false;
	if (!decomposes(c))
		return true;
	n = utf8proc_decompose_char((utf8proc_int32_t)c, out, LONGEST, form_options[f], &last);
	return n >= 1 && n <= LONGEST && !may_join((uint32_t)out[0]);
}

bool
qz_unicode_plain(enum qz_form f, uint32_t c)
{
	utf8proc_int32_t out[LONGEST];
	int last = 0;
	utf8proc_ssize_t n;

	if (c < 0x80 || !decomposes(c))
		return true;
	n = utf8proc_decompose_char((utf8proc_int32_t)c, out, LONGEST, form_options[f], &last);
	if (n < 1 || n > LONGEST)
		return false;
	n = utf8proc_normalize_utf32(out, n, form_options[f]);
	return n == 1 && out[0] == (utf8proc_int32_t)c;
}

/* Canonical ordering (UAX 15): marks sorted by class, equal ones in their order.  Counting, because a
 * run may be as long as the text. */
static int
order_run(int32_t *run, size_t n, struct qz_err *e)
{
	size_t start[257] = { 0 };
	bool sorted = true;
	int32_t *tmp;

	for (size_t i = 1; i < n && sorted; i++)
		sorted = combining_class((uint32_t)run[i - 1]) <= combining_class((uint32_t)run[i]);
	if (sorted)
		return 0;
	tmp = malloc(n * sizeof *tmp);
	if (!tmp)
		return qz_nomem(e, n * sizeof *tmp);
	for (size_t i = 0; i < n; i++)
		start[combining_class((uint32_t)run[i]) + 1]++;
	for (int k = 1; k < 257; k++)
		start[k] += start[k - 1];
	for (size_t i = 0; i < n; i++)
		tmp[start[combining_class((uint32_t)run[i])]++] = run[i];
	memcpy(run, tmp, n * sizeof *tmp);
	free(tmp);
	return 0;
}

static int
order(int32_t *c, size_t n, struct qz_err *e)
{
	for (size_t i = 0, j; i < n; i = j) {
		j = i + 1;
		if (!combining_class((uint32_t)c[i]))
			continue;
		while (j < n && combining_class((uint32_t)c[j]))
			j++;
		if (order_run(c + i, j - i, e) < 0)
			return -1;
	}
	return 0;
}

int
qz_unicode_normalize(enum qz_form f, const char *s, size_t n, struct qz_buf *out, struct qz_err *e)
{
	int options = form_options[f], last = 0, ret = 0, len;
	utf8proc_ssize_t more, total;
	struct qz_buf wide = { 0 };
	char utf8[4];

	for (size_t i = 0; i < n && !ret; i += (size_t)len) {
		int32_t part[32], c = qz_utf8_get(s + i, n - i, &len);

		more = utf8proc_decompose_char(c, part, 32, options, &last);
		if (more < 0 || more > 32)
			ret = qz_fail(e, QZ_EDATA, "U+%04X has no decomposition: %s", (unsigned)c,
			    more < 0 ? utf8proc_errmsg(more) : "too long");
		else
			qz_buf_add(&wide, part, (size_t)more * sizeof *part);
	}
	if (!ret)
		ret = qz_buf_ok(&wide, e);
	if (!ret && wide.n) {
		int32_t *c = (int32_t *)(void *)wide.data;

		ret = order(c, wide.n / sizeof *c, e);
		total = ret ? 0
			    : utf8proc_normalize_utf32(
				  c, (utf8proc_ssize_t)(wide.n / sizeof *c), options);
		for (utf8proc_ssize_t i = 0; i < total; i++)
			qz_buf_add(out, utf8, (size_t)qz_utf8_put((uint32_t)c[i], utf8));
		if (!ret)
			ret = qz_buf_ok(out, e);
	}
	qz_buf_free(&wide);
	return ret;
}

size_t
qz_unicode_grapheme(const char *s, size_t n)
{
	utf8proc_int32_t state = 0, c, next;
	size_t i;
	int len;

	c = qz_utf8_get(s, n, &len);
	for (i = (size_t)len; i < n; i += (size_t)len, c = next) {
		next = qz_utf8_get(s + i, n - i, &len);
		if (utf8proc_grapheme_break_stateful(c, next, &state))
			break;
	}
	return i;
}

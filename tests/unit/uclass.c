/* Classes of code points are the same in whatever order, and by however many threads, they are asked for. */
#include "libcore/text/uclass.h"

#include "libcore/base/pool.h"
#include "libcore/base/utf8.h"
#include "tests/unit/tap.h"

enum { LAST = 0x110000, ORDERS = 4 };

static unsigned
class_at(const struct qz_uclass *u, uint32_t c)
{
	char s[4];
	unsigned len, n = (unsigned)qz_utf8_put(c, s), k = qz_uclass_at(u, s, &len);

	return len == n ? k : ~0u;
}

static bool
is_char(uint32_t c)
{
	return c < 0xd800 || c > 0xdfff;
}

struct race {
	struct qz_uclass *u;
	const uint32_t *want; /* (LAST) */
	unsigned bad[ORDERS];
};

/* Forwards, backwards, and by strides that are prime to the number of code points. */
static void
ask_all(void *arg, int order, int thread)
{
	static const uint32_t stride[ORDERS] = { 1, LAST - 1, 65537, 257 * 127 };
	struct race *r = arg;
	uint32_t c = 0;

	(void)thread;
	for (uint32_t i = 0; i < LAST; i++, c = (c + stride[order]) % LAST)
		if (is_char(c))
			r->bad[order] += class_at(r->u, c) != r->want[c];
}

static bool
has_letter(uint32_t c)
{
	enum qz_category k = qz_unicode_category(c);

	return k == QZ_LU || k == QZ_LL || k == QZ_LT || k == QZ_LM || k == QZ_LO;
}

int
main(void)
{
	const unsigned forms = 1 << QZ_NFC | 1 << QZ_NFKC;
	struct qz_err e = { 0 };
	struct qz_pool *pool = qz_pool_new(ORDERS, &e);
	uint32_t *want = calloc(LAST, sizeof *want);
	struct race r = { qz_uclass_new(forms, &e), want, { 0 } };
	struct qz_uclass *alone = qz_uclass_new(forms, &e);
	unsigned bad = 0, letters = 0;

	for (uint32_t c = 0; c < LAST; c++) {
		if (!is_char(c))
			continue;
		want[c] = class_at(alone, c);
		letters += has_letter(c);
		bad += !(want[c] & QZ_U_LETTER) == has_letter(c) ||
		       !(want[c] & QZ_U_PLAIN << QZ_NFC) == qz_unicode_plain(QZ_NFC, c) ||
		       !(want[c] & QZ_U_STARTS << QZ_NFKC) == qz_unicode_starts(QZ_NFKC, c) ||
		       (want[c] & QZ_U_PLAIN << QZ_NFD);
	}
	ok(!bad && letters > 100000, "%u letters, %u classes are not their characters'", letters,
	    bad);
	qz_pool_run(pool, ORDERS, ask_all, &r);
	for (int i = 0; i < ORDERS; i++)
		ok(!r.bad[i], "order %d beside others: %u differ", i, r.bad[i]);
	qz_uclass_free(alone);
	qz_uclass_free(r.u);
	qz_pool_free(pool);
	free(want);
	return done();
}

/* Loss scaling: a series of steps whose gradients are finite or not, and what becomes of the scale. */
#include <string.h>

#include "libcore/model/scale.h"
#include "tests/unit/tap.h"

/* steps: "2000 + 1 -": so many with a finite gradient, so many without. */
static const struct {
	bool on;
	const char *steps;
	double factor;
	int64_t good, skipped;
	enum qz_scale_next last;
} rows[] = {
	{ true, "", 32768, 0, 0, QZ_SCALE_UPDATE },
	{ true, "1 +", 32768, 1, 0, QZ_SCALE_UPDATE },
	{ true, "1999 +", 32768, 1999, 0, QZ_SCALE_UPDATE },
	{ true, "2000 +", 65536, 0, 0, QZ_SCALE_UPDATE },
	{ true, "2001 +", 65536, 1, 0, QZ_SCALE_UPDATE },
	{ true, "4000 +", 131072, 0, 0, QZ_SCALE_UPDATE },
	{ true, "1 -", 16384, 0, 1, QZ_SCALE_SKIP },
	{ true, "1999 + 1 - 1999 +", 16384, 1999, 1, QZ_SCALE_UPDATE },
	{ true, "1999 + 1 - 2000 +", 32768, 0, 1, QZ_SCALE_UPDATE },
	{ true, "2000 + 1 -", 32768, 0, 1, QZ_SCALE_SKIP },
	{ true, "3 + 2 - 5 +", 8192, 5, 2, QZ_SCALE_UPDATE },
	{ true, "15 -", 1, 0, 15, QZ_SCALE_SKIP },
	{ true, "16 -", 1, 0, 15, QZ_SCALE_STOP },
	{ true, "15 - 7 + 1 -", 1, 7, 15, QZ_SCALE_STOP },
	{ true, "15 - 2000 + 1 -", 1, 0, 16, QZ_SCALE_SKIP },
	{ true, "60000 +", 0x1p40, 0, 0, QZ_SCALE_UPDATE },
	{ false, "5000 +", 1, 0, 0, QZ_SCALE_UPDATE },
	{ false, "3 + 1 -", 1, 0, 0, QZ_SCALE_STOP },
};

static void
series(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		enum qz_scale_next last = QZ_SCALE_UPDATE;
		struct qz_scale s;
		int n, used;
		char sign;

		qz_scale_begin(&s, rows[i].on);
		for (const char *p = rows[i].steps; sscanf(p, " %d %c%n", &n, &sign, &used) == 2;
		     p += used)
			while (n-- > 0)
				last = qz_scale_step(&s, sign == '+');
		ok(s.factor == rows[i].factor && s.good == rows[i].good &&
			s.skipped == rows[i].skipped && last == rows[i].last,
		    "%s, %s: scale %.0f, %d good, %d skipped, then %d", rows[i].on ? "on" : "off",
		    rows[i].steps, s.factor, (int)s.good, (int)s.skipped, (int)last);
	}
}

/* A head's "scale" of a run with scaling or without, after 9 steps, and what the scale is then, or an error. */
static const struct {
	bool on;
	const char *head;
	double factor;
	int64_t good, skipped;
	const char *error;
} heads[] = {
	{ true, "{}", 32768, 0, 0, NULL },
	{ false, "{}", 1, 0, 0, NULL },
	{ true, "{\"scale\":{\"factor\":4096,\"good\":7,\"skipped\":2}}", 4096, 7, 2, NULL },
	{ true, "{\"scale\":{\"factor\":1,\"good\":0,\"skipped\":9}}", 1, 0, 9, NULL },
	{ true, "{\"scale\":{\"factor\":1099511627776,\"good\":1999,\"skipped\":0}}", 0x1p40, 1999,
	    0, NULL },
	{ false, "{\"scale\":{\"factor\":4096,\"good\":7,\"skipped\":2}}", 1, 0, 2, NULL },
	{ true, "{\"scale\":{\"skipped\":2}}", 32768, 0, 2, NULL },
	{ true, "{\"scale\":{\"factor\":0}}", 0, 0, 0, "scale: factor: is 0, not" },
	{ true, "{\"scale\":{\"factor\":3}}", 0, 0, 0, "scale: factor: 3 is no power of two" },
	{ true, "{\"scale\":{\"factor\":2199023255552}}", 0, 0, 0,
	    "scale: factor: is 2199023255552, not" },
	{ true, "{\"scale\":{\"factor\":\"2\"}}", 0, 0, 0, "scale: factor: is a string" },
	{ true, "{\"scale\":{\"good\":2000}}", 0, 0, 0, "scale: good: is 2000, not" },
	{ true, "{\"scale\":{\"good\":-1}}", 0, 0, 0, "scale: good: is -1, not" },
	{ true, "{\"scale\":{\"skipped\":10}}", 0, 0, 0, "scale: skipped: is 10, not" },
};

static void
checkpoints(void)
{
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		const char *text = heads[i].head;
		struct qz_err e = { 0 };
		struct qz_json *j = qz_json_parse(text, strlen(text), &e);
		struct qz_scale s;
		int ret;

		qz_scale_begin(&s, heads[i].on);
		ret = qz_scale_get(&s, j, 9, &e);
		if (heads[i].error)
			ok(ret == -1 && e.code == QZ_EDATA && strstr(e.msg, heads[i].error),
			    "%s: %s", text, e.msg);
		else
			ok(ret == 0 && s.factor == heads[i].factor && s.good == heads[i].good &&
				s.skipped == heads[i].skipped,
			    "%s, %s: scale %.0f, %d good, %d skipped", heads[i].on ? "on" : "off",
			    text, s.factor, (int)s.good, (int)s.skipped);
		qz_json_free(j);
	}
}

static void
written(void)
{
	struct qz_buf b = { 0 };
	struct qz_scale s;

	qz_scale_begin(&s, false);
	qz_scale_put(&s, &b);
	ok(b.n == 0, "without scaling a head says nothing of it");
	s.skipped = 3;
	qz_scale_put(&s, &b);
	is(b.data, ",\"scale\":{\"skipped\":3}", "but for steps that were skipped before");
	qz_buf_clear(&b);
	s = (struct qz_scale){ .on = true, .factor = QZ_SCALE_MOST, .good = 5, .skipped = 3 };
	qz_scale_put(&s, &b);
	is(b.data, ",\"scale\":{\"factor\":1099511627776,\"good\":5,\"skipped\":3}",
	    "with it, all");
	qz_buf_free(&b);
}

int
main(void)
{
	series();
	checkpoints();
	written();
	return done();
}

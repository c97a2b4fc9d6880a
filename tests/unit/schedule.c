/* Learning rate factors against transformers' get_scheduler() (5.23), by its formulas worked out by hand. */
#include <math.h>

#include "libcore/model/schedule.h"
#include "tests/unit/tap.h"

static const struct {
	const char *name;
	int64_t step, steps, warmup;
	double factor;
} rows[] = {
	{ "linear", 0, 10, 0, 1 },
	{ "linear", 1, 10, 0, 0.9 },
	{ "linear", 9, 10, 0, 0.1 },
	{ "linear", 10, 10, 0, 0 },
	{ "linear", 0, 10, 4, 0 },
	{ "linear", 1, 10, 4, 0.25 },
	{ "linear", 3, 10, 4, 0.75 },
	{ "linear", 4, 10, 4, 1 },
	{ "linear", 7, 10, 4, 0.5 },
	{ "linear", 2, 4, 4, 0.5 },
	{ "cosine", 0, 8, 0, 1 },
	{ "cosine", 2, 8, 0, 0.85355339059327373 },
	{ "cosine", 4, 8, 0, 0.5 },
	{ "cosine", 8, 8, 0, 0 },
	{ "cosine", 1, 10, 2, 0.5 },
	{ "cosine", 6, 10, 2, 0.5 },
	{ "constant", 0, 5, 0, 1 },
	{ "constant", 4, 5, 0, 1 },
	{ "constant", 0, 5, 3, 0 },
	{ "constant", 2, 5, 3, 2.0 / 3 },
	{ "constant", 3, 5, 3, 1 },
};

int
main(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int s = qz_schedule_by_name(rows[i].name);
		double got = s < 0 ? NAN
				   : qz_schedule_factor((enum qz_schedule)s, rows[i].step,
					 rows[i].steps, rows[i].warmup);

		ok(fabs(got - rows[i].factor) < 1e-15, "%s, step %d of %d, warm-up %d: %g (%g)",
		    rows[i].name, (int)rows[i].step, (int)rows[i].steps, (int)rows[i].warmup,
		    rows[i].factor, got);
	}
	ok(qz_schedule_by_name("polynomial") == -1, "no other schedule is known");
	ok(!strcmp(qz_schedule_name(QZ_SCHEDULE_COSINE), "cosine"), "a schedule knows its name");
	return done();
}

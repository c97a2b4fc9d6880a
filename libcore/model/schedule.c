#include "libcore/model/schedule.h"

#include <math.h>
#include <string.h>

static double
linear(double p)
{
	return 1 - p;
}

static double
cosine(double p)
{
	return 0.5 * (1 + cos(3.14159265358979323846 * p));
}

static double
constant(double p)
{
	(void)p;
	return 1;
}

static const struct {
	const char *name;
	double (*factor)(double p); /* p: the part of the steps after the warm-up that is done */
} schedules[QZ_SCHEDULE_N] = {
	[QZ_SCHEDULE_LINEAR] = { "linear", linear },
	[QZ_SCHEDULE_COSINE] = { "cosine", cosine },
	[QZ_SCHEDULE_CONSTANT] = { "constant", constant },
};

const char *
qz_schedule_name(enum qz_schedule s)
{
	return schedules[s].name;
}

int
qz_schedule_by_name(const char *name)
{
	for (int i = 0; i < QZ_SCHEDULE_N; i++)
		if (!strcmp(schedules[i].name, name))
			return i;
	return -1;
}

double
qz_schedule_factor(enum qz_schedule s, int64_t step, int64_t steps, int64_t warmup)
{
	int64_t rest = steps > warmup ? steps - warmup : 1;

	if (step < warmup)
		return (double)step / (double)warmup;
	if (step - warmup >= rest)
		return schedules[s].factor(1);
	return schedules[s].factor((double)(step - warmup) / (double)rest);
}

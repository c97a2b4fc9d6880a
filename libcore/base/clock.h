/* clock - seconds that only go forward. */
#ifndef QZ_CLOCK_H
#define QZ_CLOCK_H

#include <time.h>

static inline double
qz_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif

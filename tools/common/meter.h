/* meter - one line of progress on stderr, only when that is a terminal and -q is not given:
 * what, done, rate, time left.  Redrawn at most ten times a second; wiped at the end. */
#ifndef QZ_METER_H
#define QZ_METER_H

#include <stdint.h>

#include "libcore/base/clock.h"

struct qz_meter {
	const char *what; /* "quantize" */
	uint64_t total;   /* 0: not known */
	uint64_t done;
	double started, drawn;
	int live;
	const char *unit; /* NULL: bytes; else "tokens", "rows" */
};

void qz_meter_start(struct qz_meter *m, const char *what, uint64_t total, const char *unit);
void qz_meter_add(struct qz_meter *m, uint64_t n);
void qz_meter_stop(struct qz_meter *m);
uint64_t qz_peak_memory(void); /* bytes: VmHWM of this process */

#endif

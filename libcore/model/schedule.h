/* schedule - the learning rate of each step, as transformers' get_scheduler() gives it. */
#ifndef QZ_SCHEDULE_H
#define QZ_SCHEDULE_H

#include <stdint.h>

enum qz_schedule { QZ_SCHEDULE_LINEAR, QZ_SCHEDULE_COSINE, QZ_SCHEDULE_CONSTANT, QZ_SCHEDULE_N };

const char *qz_schedule_name(enum qz_schedule s);
int qz_schedule_by_name(const char *name); /* or -1 */

/* The factor on the learning rate of step `step` (0 is the first) of `steps`, of which `warmup` rise
 * from 0: step/warmup; then linear (steps-step)/(steps-warmup), cosine (1+cos(pi p))/2 with p the part
 * of the rest that is done, constant 1. */
double qz_schedule_factor(enum qz_schedule s, int64_t step, int64_t steps, int64_t warmup);

#endif

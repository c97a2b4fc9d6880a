/* size - sizes that come from a file are added and multiplied here: true means it did not fit. */
#ifndef QZ_SIZE_H
#define QZ_SIZE_H

#include <stdbool.h>
#include <stdint.h>

static inline bool
qz_add_over(uint64_t a, uint64_t b, uint64_t *sum)
{
	return __builtin_add_overflow(a, b, sum);
}

static inline bool
qz_mul_over(uint64_t a, uint64_t b, uint64_t *product)
{
	return __builtin_mul_overflow(a, b, product);
}

/* v rounded up to a multiple of to, a power of two; the caller knows that it fits. */
static inline uint64_t
qz_round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) & ~(to - 1);
}

static inline uint64_t
qz_ceil_div(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

#endif

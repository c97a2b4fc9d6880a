/* dropout - which elements of an adapter's input are zero: the rule, for every backend and the tests.
 *
 * Two tokens share their draws.  Element (t, c) of a mask of so many columns is number i = t / 2 * cols + c: its
 * draw is half-word i % 8 of qz_philox_rounds(seed, stream, i / 8, QZ_DROPOUT_ROUNDS), the low half of each word first,
 * and for an odd t this half-word with its two bytes exchanged.  So one call draws sixteen elements.  An element is kept when its
 * draw is at least 65536 times the probability, rounded; what is kept is divided by the share that this rounded
 * number keeps, so that the mean stays: a probability of 0.05 is 3277 / 65536 = 0.050003.  Both of a pair are
 * dropped with 169 / 65536 then, where independent ones are with 0.0025; pairs alone are not independent. */
#ifndef QZ_DROPOUT_H
#define QZ_DROPOUT_H

#include <stdint.h>

/* A round more is a tenth of the time that masks take a GPU. */
enum { QZ_DROPOUT_ROUNDS = 7 };

/* Draws below it are dropped, 0..65536. */
static inline uint32_t
qz_dropout_below(float dropout)
{
	double below = (double)dropout * 65536 + 0.5;

	return below < 0 ? 0 : below > 65536 ? 65536 : (uint32_t)below;
}

/* What a kept element is multiplied with; 0 when none is kept. */
static inline double
qz_dropout_keep(float dropout)
{
	uint32_t below = qz_dropout_below(dropout);

	return below < 65536 ? 65536.0 / (double)(65536 - below) : 0;
}

#endif

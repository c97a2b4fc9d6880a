/* dropout - the adapter's input with elements dropped, by the rule in struct qz_linear: which ones is
 * a function of (seed, stream, index), so that no mask is kept. */
#ifndef QZ_CPU_DROPOUT_H
#define QZ_CPU_DROPOUT_H

#include "kernels/cpu/cpu.h"

/* y (rows, n) = mask * x / (1 - p) for rows t0.. and columns c0.. of x (T, l->w.cols). */
void CPU(drop)(const struct qz_linear *l, real *y, const real *x, int64_t t0, int64_t rows,
    int64_t c0, int64_t n);
/* y (rows, ldy) += scale * mask * x / (1 - p), x (rows, n) a tile at the same place. */
void CPU(drop_add)(const struct qz_linear *l, real *y, int64_t ldy, const real *x, real scale,
    int64_t t0, int64_t rows, int64_t c0, int64_t n);

#endif

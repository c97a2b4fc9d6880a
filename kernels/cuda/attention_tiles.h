/* attention_tiles - which tiles of scores matter, and where rows lie in padded tables, as the kernels of
 * attention_90.cu walk them.  Documents have as many keys as queries: query i sees key j when j <= i, and
 * j > i - window when window > 0.  Plain arithmetic, so that a test can compare it with that sentence. */
#ifndef QZ_CUDA_ATTENTION_TILES_H
#define QZ_CUDA_ATTENTION_TILES_H

#include <stdint.h>

#ifdef __CUDACC__
#define QZ_TILES static __host__ __device__ inline
#else
#define QZ_TILES static inline
#endif

enum { QZ_TILE_ROWS = 64 };

/* Rows lo .. hi, lo a multiple of a step. */
struct qz_span {
	int lo, hi;
};

enum qz_seen { QZ_SEES_NONE, QZ_SEES_SOME, QZ_SEES_ALL };

/* Where document d, whose first row is `start`, begins in a table in which documents are padded to
 * multiples of QZ_TILE_ROWS; with d = their number and start = all rows: where the table ends. */
QZ_TILES int64_t
qz_padded_row(int64_t start, int64_t d)
{
	return (start / QZ_TILE_ROWS + d) * QZ_TILE_ROWS;
}

/* The queries of n that see some of the keys k0 .. k0 + keys; k0 < n. */
QZ_TILES struct qz_span
qz_tile_queries(int k0, int keys, int n, int64_t window, int step)
{
	int last = k0 + keys < n ? k0 + keys - 1 : n - 1;
	struct qz_span s = { k0 / step * step, n };

	if (window > 0 && window < n - last)
		s.hi = last + (int)window;
	return s;
}

/* The keys of n that some of the queries q0 .. q0 + queries see; q0 < n. */
QZ_TILES struct qz_span
qz_tile_keys(int q0, int queries, int n, int64_t window, int step)
{
	struct qz_span s = { 0, q0 + queries < n ? q0 + queries : n };

	if (window > 0 && window <= q0)
		s.lo = (int)(q0 - window + 1) / step * step;
	return s;
}

/* Of the scores of queries q0 .. q0 + queries and keys k0 .. k0 + keys, wherever the document ends. */
QZ_TILES enum qz_seen
qz_tile_seen(int q0, int queries, int k0, int keys, int64_t window)
{
	int q1 = q0 + queries - 1, k1 = k0 + keys - 1;

	if (k0 > q1 || (window > 0 && k1 <= q0 - window))
		return QZ_SEES_NONE;
	return k1 <= q0 && (window <= 0 || k0 > q1 - window) ? QZ_SEES_ALL : QZ_SEES_SOME;
}

#endif

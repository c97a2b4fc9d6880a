/* The tiles of attention, against the sentence that says which query sees which key. */
#include "kernels/cuda/attention_tiles.h"
#include "tests/unit/tap.h"

static int
sees(int i, int j, int64_t window)
{
	return j <= i && (window <= 0 || j > i - window);
}

/* Every pair that sees lies in a span; no step at either end of it is for nothing. */
static int
spans(int n, int rows, int step, int64_t window)
{
	for (int x0 = 0; x0 < n; x0 += rows) {
		struct qz_span q = qz_tile_queries(x0, rows, n, window, step);
		struct qz_span k = qz_tile_keys(x0, rows, n, window, step);
		int first_q = n, end_q = 0, first_k = n, end_k = 0;

		for (int x = x0; x < x0 + rows && x < n; x++)
			for (int y = 0; y < n; y++) {
				if (sees(y, x, window)) {
					first_q = y < first_q ? y : first_q;
					end_q = y + 1 > end_q ? y + 1 : end_q;
				}
				if (sees(x, y, window)) {
					first_k = y < first_k ? y : first_k;
					end_k = y + 1 > end_k ? y + 1 : end_k;
				}
			}
		if (q.lo % step || k.lo % step || q.lo != first_q / step * step || q.hi != end_q ||
		    k.lo != first_k / step * step || k.hi != end_k)
			return 0;
	}
	return 1;
}

static int
kinds(int queries, int keys, int64_t window)
{
	for (int q0 = 0; q0 < 40; q0 += 4)
		for (int k0 = 0; k0 < 40; k0 += 4) {
			int n = 0;
			enum qz_seen want;

			for (int i = q0; i < q0 + queries; i++)
				for (int j = k0; j < k0 + keys; j++)
					n += sees(i, j, window);
			want = n == 0                ? QZ_SEES_NONE
			       : n == queries * keys ? QZ_SEES_ALL
						     : QZ_SEES_SOME;
			if (qz_tile_seen(q0, queries, k0, keys, window) != want)
				return 0;
		}
	return 1;
}

/* Documents do not overlap in the padded table, and begin on tiles. */
static int
padding(const int *len, int n)
{
	int64_t start = 0, end = 0;

	for (int d = 0; d < n; d++) {
		int64_t at = qz_padded_row(start, d);

		if (at % QZ_TILE_ROWS || at < end)
			return 0;
		end = at + (len[d] + QZ_TILE_ROWS - 1) / QZ_TILE_ROWS * QZ_TILE_ROWS;
		start += len[d];
	}
	return end <= qz_padded_row(start, n);
}

int
main(void)
{
	static const int lengths[] = { 1, 63, 64, 65, 2047, 1, 1, 127, 128, 129, 300 };
	static const struct {
		int n, rows, step;
		int64_t window;
	} cases[] = { { 1, 8, 4, 0 }, { 7, 8, 4, 0 }, { 8, 8, 4, 3 }, { 33, 8, 4, 0 },
		{ 33, 8, 4, 1 }, { 33, 8, 4, 5 }, { 40, 4, 8, 0 }, { 41, 4, 8, 9 }, { 40, 8, 8, 8 },
		{ 40, 8, 8, 39 }, { 40, 8, 8, 40 }, { 40, 8, 8, 1000000000000 } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		ok(spans(cases[i].n, cases[i].rows, cases[i].step, cases[i].window),
		    "spans: %d rows by %d, steps of %d, window %lld", cases[i].n, cases[i].rows,
		    cases[i].step, (long long)cases[i].window);
	for (int64_t w = 0; w < 30; w += 3)
		ok(kinds(4, 8, w) && kinds(8, 4, w) && kinds(8, 8, w), "tiles: window %lld",
		    (long long)w);
	for (int n = 1; n <= (int)(sizeof lengths / sizeof *lengths); n++)
		ok(padding(lengths, n), "padding: %d documents", n);
	return done();
}

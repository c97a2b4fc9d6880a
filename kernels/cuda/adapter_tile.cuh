/* adapter_tile - what a block does with a tile of activations in shared memory, TILE tokens of STRIPE columns: the adapter's
 * products that want a row of it, and those that want a column.  Each warp has 16 K columns of the tile as its own; a
 * rank is of up to 16 PAIRS. */
#ifndef QZ_CUDA_ADAPTER_TILE_CUH
#define QZ_CUDA_ADAPTER_TILE_CUH

#include "kernels/cuda/mma.cuh"

enum { STRIPE = 512, TILE = 16, PITCH = STRIPE + 8 };

/* Floats of a row of a warp's sums: eight rows in different banks. */
template <int PAIRS>
static constexpr int SUM_LD = 16 * PAIRS + 8;

/* sum (TILE, SUM_LD) = this warp's columns of the tile times b, its rows of a matrix (16 K, rank) as fragments: two sums,
 * so that a product need not wait for the one before. */
template <int K, int PAIRS>
static __device__ inline void
tile_times(float *sum, const uint16_t *tile, const uint32_t b[K][PAIRS][4])
{
	int lane = threadIdx.x % 32, i = lane / 8, j = lane % 8;
	float c[2][2 * PAIRS][4] = {};
	uint32_t a[4];

	sum += lane / 4 * SUM_LD<PAIRS> + lane % 4 * 2;
	tile += (i % 2 * 8 + j) * PITCH + i / 2 * 8;
#pragma unroll
	for (int k = 0; k < K; k++) {
		ldmatrix(a, tile + 16 * k);
#pragma unroll
		for (int q = 0; q < PAIRS; q++) {
			mma(c[k % 2][2 * q], a, b[k][q][0], b[k][q][1]);
			mma(c[k % 2][2 * q + 1], a, b[k][q][2], b[k][q][3]);
		}
	}
#pragma unroll
	for (int q = 0; q < 2 * PAIRS; q++)
#pragma unroll
		for (int h = 0; h < 4; h += 2)
			*reinterpret_cast<float2 *>(sum + h / 2 * 8 * SUM_LD<PAIRS> + 8 * q) =
			    make_float2(c[0][q][h] + c[1][q][h], c[0][q][h + 1] + c[1][q][h + 1]);
}

/* c += this warp's columns of the tile, transposed, times s (TILE, 16 PAIRS); LD, S_LD: from row to row of each. */
template <int K, int PAIRS, int LD = PITCH, int S_LD = 16 * PAIRS>
static __device__ inline void
tile_transposed_times(float c[K][2 * PAIRS][4], const uint16_t *tile, const uint16_t *s)
{
	int lane = threadIdx.x % 32, i = lane / 8, j = lane % 8;
	uint32_t a[4], b[PAIRS][4];

	static_assert(TILE == 16);
	tile += (i / 2 * 8 + j) * LD + i % 2 * 8;
#pragma unroll
	for (int q = 0; q < PAIRS; q++)
		ldmatrix_trans(b[q], s + (i % 2 * 8 + j) * S_LD + 16 * q + i / 2 * 8);
#pragma unroll
	for (int r = 0; r < K; r++) {
		ldmatrix_trans(a, tile + 16 * r);
#pragma unroll
		for (int q = 0; q < PAIRS; q++) {
			mma(c[r][2 * q], a, b[q][0], b[q][1]);
			mma(c[r][2 * q + 1], a, b[q][2], b[q][3]);
		}
	}
}

/* The sum over the warps of element (row, col) of what each has put at sum[warp]. */
template <int PAIRS, int WARPS>
static __device__ inline float
sum_of_warps(const float (*sum)[TILE * SUM_LD<PAIRS>], int row, int col)
{
	float all = 0;

#pragma unroll
	for (int w = 0; w < WARPS; w++)
		all += sum[w][row * SUM_LD<PAIRS> + col];
	return all;
}

#endif

/* few_ring - the way of codes to a warp.  A block takes rounds of up to ROUND groups of 16 rows, groups a grid apart; the
 * 256 columns of a group's rows that a warp takes at a time are a unit: 16 rows of 128 bytes, whole lines.  They come
 * through shared memory, where each warp has a ring of units of its own: while it computes one, the next ones are on their
 * way, those of the next round too.
 *
 * Block j of row r of a unit lies at j ^ r % 4, so that a half-warp, which reads a block of four rows, meets no bank twice. */
#ifndef QZ_CUDA_FEW_RING_CUH
#define QZ_CUDA_FEW_RING_CUH

#include "kernels/cuda/few_part.cuh"

ACT_BEGIN

enum { ROUND = 4, ROW = BLOCKS * BLOCK / 2, UNIT = ROWS * ROW, PIECES = UNIT / 32 / 16 };

/* Units that are on their way, and those of a ring.  Float16's copies wait: there lanes hold the next unit's pieces. */
#ifdef QZ_CUDA_F16
enum { AHEAD = 1, RING = 1 };
#else
enum { AHEAD = 2, RING = AHEAD + 1 };
#endif

/* A warp's unit: columns from `block` on of group r of the n of the block's round, first and those a grid apart. */
struct unit {
	int which, first, n, r, block;
};

/* What makes the constants of a unit: a lane's are those of block t of rows g and g + 8. */
struct raw {
	float scale[2];
	uint8_t code[2];
};

/* A round never has groups of two projections. */
static __device__ inline void
find_round(struct unit &u, const struct few_job &g)
{
	while (u.which + 1 < g.n && u.first >= g.l[u.which + 1].begin)
		u.which++;

	int grid = static_cast<int>(gridDim.x), end = u.which + 1 < g.n ? g.l[u.which + 1].begin : g.groups;

	u.n = 0;
#pragma unroll
	for (int r = 0; r < ROUND; r++)
		u.n += u.first + r * grid < end;
}

static __device__ inline void
go_on(struct unit &u, const struct few_job &g)
{
	if (++u.r < u.n)
		return;
	u.r = 0;
	u.block += static_cast<int>(blockDim.x) / 32 * BLOCKS;
	if (u.block < g.blocks)
		return;
	u.block = first_block();
	u.first += u.n * static_cast<int>(gridDim.x);
	find_round(u, g);
}

/* The first row of group r of a round; beyond the last one when there is no such round. */
static __device__ inline int
row_of(const struct unit &u, const struct few_part &l, int r)
{
	return (u.first + r * static_cast<int>(gridDim.x) - l.begin) * ROWS;
}

static __device__ inline uint8_t *
place_of(uint8_t *slot, int i)
{
	int lane = threadIdx.x % 32;

	return slot + (lane / 8 + 4 * i) * ROW + (lane % 8 ^ lane / 8 * 2) * 16;
}

#ifdef QZ_CUDA_F16
struct hands {
	uint4 piece[PIECES];
};
#else
struct hands {};
#endif

/* A unit's codes are on their way to a slot of the ring, eight lanes a row.  What is not there is 0. */
static __device__ inline void
bring(struct hands &h, uint8_t *slot, const struct unit &u, const struct few_job &g)
{
	const struct few_part &l = g.l[u.which];
	int lane = threadIdx.x % 32, row = row_of(u, l, u.r) + lane / 8, rows = static_cast<int>(l.rows);
	uint32_t at = static_cast<uint32_t>(row) * static_cast<uint32_t>(g.blocks) + static_cast<uint32_t>(u.block);
	const uint8_t *from = l.codes + static_cast<uint64_t>(at) * (BLOCK / 2) + lane % 8 * 16;

	if (lane % 8 / 2 >= g.blocks - u.block)
		rows = 0;
#pragma unroll
	for (int i = 0; i < PIECES; i++, row += 4, from += 4 * (BLOCK / 2) * g.blocks)
#ifdef QZ_CUDA_F16
		h.piece[i] = row < rows ? *reinterpret_cast<const uint4 *>(from) : make_uint4(0, 0, 0, 0);
#else
		copy16(reinterpret_cast<uint16_t *>(place_of(slot, i)), reinterpret_cast<const uint16_t *>(from), row < rows);
	copy_group();
#endif
}

/* A unit's lines come to the L2 cache: a hint, which may be given before what is there has been written. */
static __device__ inline void
expect(const struct unit &u, const struct few_job &g)
{
	const struct few_part &l = g.l[u.which];
	int row = row_of(u, l, u.r) + static_cast<int>(threadIdx.x) % ROWS;

	if (row < l.rows)
		prefetch_line(l.codes + (static_cast<uint64_t>(row) * static_cast<uint64_t>(g.blocks) +
		                            static_cast<uint64_t>(u.block)) * (BLOCK / 2));
}

/* The codes are where the warp reads them, and it has read those of the unit before. */
static __device__ inline void
settle(const struct hands &h, uint8_t *slot)
{
#ifdef QZ_CUDA_F16
	__syncwarp();
#pragma unroll
	for (int i = 0; i < PIECES; i++)
		*reinterpret_cast<uint4 *>(place_of(slot, i)) = h.piece[i];
#else
	copy_wait<AHEAD - 1>();
#endif
	__syncwarp();
}

static __device__ inline void
read_raw(struct raw &c, const struct unit &u, const struct few_job &g)
{
	const struct few_part &l = g.l[u.which];
	int lane = threadIdx.x % 32, row = row_of(u, l, u.r) + lane / 4, block = u.block + lane % 4;
	int rows = block < g.blocks ? static_cast<int>(l.rows) : 0;
	uint32_t at = static_cast<uint32_t>(row) * static_cast<uint32_t>(g.blocks) + static_cast<uint32_t>(block);

#pragma unroll
	for (int i = 0; i < 2; i++, row += 8, at += 8 * static_cast<uint32_t>(g.blocks)) {
		c.scale[i] = 0;
		c.code[i] = 0;
		if (row < rows)
			read_constant(&c.scale[i], &c.code[i], l, at);
	}
}

/* The lane's codes of block j of the unit. */
static __device__ inline void
read_codes(uint2 codes[2], const uint8_t *unit, int j)
{
	int lane = threadIdx.x % 32, row = lane / 4;

	unit += row * ROW + (j ^ row % 4) * (BLOCK / 2) + lane % 4 * 8;
	codes[0] = *reinterpret_cast<const uint2 *>(unit);
	codes[1] = *reinterpret_cast<const uint2 *>(unit + 8 * ROW);
}

ACT_END

#endif

/* few_ring - the way of codes to a warp.  The 256 columns of a group of 16 rows that a warp takes at a time are a unit: 16
 * rows of 128 bytes, whole lines.  They come through shared memory, where each warp has a ring of units of its own: while it
 * computes one, the next ones are on their way.
 *
 * 16 bytes number c of row r of a unit lie at c ^ swizzle(r): then neither 16 lanes that read 8 bytes each of a block of four
 * rows meet a bank twice, nor 8 that read 16 bytes each of four blocks of two rows. */
#ifndef QZ_CUDA_FEW_RING_CUH
#define QZ_CUDA_FEW_RING_CUH

#include "kernels/cuda/few_part.cuh"

ACT_BEGIN

enum { ROW = BLOCKS * BLOCK / 2, UNIT = ROWS * ROW, PIECES = UNIT / 32 / 16 };

/* Units that are on their way, and those of a ring.  Float16's copies wait: there lanes hold the next unit's pieces. */
#ifdef QZ_CUDA_F16
enum { AHEAD = 1, RING = 1 };
#else
enum { AHEAD = 2, RING = AHEAD + 1 };
#endif

/* What makes the constants of a unit: a lane's are those of block t of rows g and g + 8. */
struct raw {
	float scale[2];
	uint8_t code[2];
};

static __device__ inline int
swizzle(int row)
{
	return row % 4 * 2 + row % 2;
}

static __device__ inline uint8_t *
place_of(uint8_t *slot, int i)
{
	int lane = threadIdx.x % 32;

	return slot + (lane / 8 + 4 * i) * ROW + (lane % 8 ^ swizzle(lane / 8)) * 16;
}

#ifdef QZ_CUDA_F16
struct hands {
	uint4 piece[PIECES];
};
#else
struct hands {};
#endif

/* 16 bytes of row 4 i + lane / 8 are on their way to a slot of the ring, eight lanes a row; 0 when not `there`. */
static __device__ inline void
bring_piece(struct hands &h, uint8_t *slot, int i, const uint8_t *from, bool there)
{
#ifdef QZ_CUDA_F16
	h.piece[i] = there ? *reinterpret_cast<const uint4 *>(from) : make_uint4(0, 0, 0, 0);
#else
	copy16(reinterpret_cast<uint16_t *>(place_of(slot, i)), reinterpret_cast<const uint16_t *>(from), there);
#endif
}

/* A unit's codes, of 16 rows from `row` and four blocks from `block` on.  What is not there is 0. */
static __device__ inline void
bring(struct hands &h, uint8_t *slot, const struct few_part &l, int row, int block, const struct few_job &g)
{
	int lane = threadIdx.x % 32, rows = static_cast<int>(l.rows);

	row += lane / 8;
	uint32_t at = static_cast<uint32_t>(row) * static_cast<uint32_t>(g.blocks) + static_cast<uint32_t>(block);
	const uint8_t *from = l.codes + static_cast<uint64_t>(at) * (BLOCK / 2) + lane % 8 * 16;

	if (lane % 8 / 2 >= g.blocks - block)
		rows = 0;
#pragma unroll
	for (int i = 0; i < PIECES; i++, row += 4, from += 4 * (BLOCK / 2) * g.blocks)
		bring_piece(h, slot, i, from, row < rows);
	copy_group();
}

/* A unit's lines come to the L2 cache: a hint, which may be given before what is there has been written. */
static __device__ inline void
expect(const struct few_part &l, int row, int block, const struct few_job &g)
{
	row += static_cast<int>(threadIdx.x) % ROWS;
	if (row < l.rows)
		prefetch_line(l.codes + (static_cast<uint64_t>(row) * static_cast<uint64_t>(g.blocks) +
		                            static_cast<uint64_t>(block)) * (BLOCK / 2));
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

/* Of the lane's block: `block` and three behind it are the unit's. */
static __device__ inline void
read_raw(struct raw &c, const struct few_part &l, int row, int block, const struct few_job &g)
{
	int lane = threadIdx.x % 32;

	row += lane / 4;
	block += lane % 4;

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

ACT_END

#endif

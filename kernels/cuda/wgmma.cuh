/* wgmma - what Hopper has of its own: products by four warps out of shared memory that run beside them, tiles
 * that a copying unit brings, barriers in shared memory that count both.  PTX ISA, sm_90a; elsewhere the
 * functions do nothing, and no kernel here is queued there.
 *
 * A panel is rows of 64 bfloat16, 128 bytes, on a multiple of 1024 bytes; 16 bytes number c of row r lie at
 * c ^ r % 8 ("128-byte swizzle", as the copying unit writes it).  A head of 128 numbers is two panels.
 * A product takes a panel either way: its rows as rows of a factor (over), with the numbers in a row summed
 * over, or its rows as what is summed over (along).
 *
 * Accumulators c[n / 8][4] of 64 x n: warp w of the four has rows 16 w .. 16 w + 16, each of its lanes as in
 * mma.cuh.  A first factor in registers is 64 x 16, warps and lanes likewise. */
#ifndef QZ_CUDA_WGMMA_CUH
#define QZ_CUDA_WGMMA_CUH

#include <cuda.h>

#include "kernels/cuda/attention.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define QZ_CUDA_HAS_WGMMA 1
#endif

enum { PANEL = 64, PANEL_ROW = 2 * PANEL, WARPGROUP = 128 };

/* ---- barriers ---- */

static __device__ inline void
barrier_set(uint64_t *b, int count)
{
#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" : : "r"(shared_address(b)), "r"(count) : "memory");
#endif
}

/* After all are set, by who set them, before a __syncthreads(). */
static __device__ inline void
barrier_publish(void)
{
#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("fence.mbarrier_init.release.cluster;" : : : "memory");
	asm volatile("fence.proxy.async;" : : : "memory");
#endif
}

/* This phase also waits for so many bytes, and this thread has come. */
static __device__ inline void
barrier_expect(uint64_t *b, int nbytes)
{
#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
		     :
		     : "r"(shared_address(b)), "r"(nbytes)
		     : "memory");
#endif
}

static __device__ inline void
barrier_arrive(uint64_t *b)
{
#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" : : "r"(shared_address(b)) : "memory");
#endif
}

/* Waits for the end of the phase of this parity: 0 for the first. */
static __device__ inline void
barrier_wait(uint64_t *b, int parity)
{
#ifdef QZ_CUDA_HAS_WGMMA
	uint32_t done = 0;

	while (!done)
		asm volatile("{\n\t"
			     ".reg .pred p;\n\t"
			     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
			     "selp.u32 %0, 1, 0, p;\n\t"
			     "}"
			     : "=r"(done)
			     : "r"(shared_address(b)), "r"(parity)
			     : "memory");
#endif
}

/* Stages that barriers guard: which is next, and the parity of its phase. */
template <int STAGES>
struct turn {
	int stage, parity;

	__device__ void
	next(void)
	{
		stage++;
		if (stage == STAGES) {
			stage = 0;
			parity ^= 1;
		}
	}
};

/* ---- clusters: blocks that see each other's shared memory ---- */

static __device__ inline int
cluster_rank(void)
{
	uint32_t rank = 0;

#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
	return static_cast<int>(rank);
}

/* All threads of all blocks of the cluster. */
static __device__ inline void
cluster_sync(void)
{
#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" : : : "memory");
#endif
}

/* At the same barrier of block `rank` of the cluster.  For what products have read, which their waits have ended: a release
 * over the cluster would wait for all of this thread's memory, at each stage. */
static __device__ inline void
barrier_arrive_at(uint64_t *b, int rank)
{
#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("{\n\t"
		     ".reg .b32 there;\n\t"
		     "mapa.shared::cluster.u32 there, %0, %1;\n\t"
		     "mbarrier.arrive.shared::cluster.b64 _, [there];\n\t"
		     "}"
		     :
		     : "r"(shared_address(b)), "r"(rank)
		     : "memory");
#endif
}

/* ---- copies; one thread asks, the barrier counts ---- */

/* 64 rows from `row` on of one head's numbers c .. c + 64: a panel.  What is not there becomes zeros. */
static __device__ inline void
copy_panel(void *to, const CUtensorMap *from, int c, int head, int row, uint64_t *b)
{
#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
		     "[%1, {%2, %3, %4}], [%5];"
		     :
		     : "r"(shared_address(to)), "l"(reinterpret_cast<uint64_t>(from)), "r"(c), "r"(head), "r"(row),
		     "r"(shared_address(b))
		     : "memory");
#endif
}

/* The same to this place of all blocks of the cluster that `blocks` has a bit for, and their barriers. */
static __device__ inline void
copy_panel_to(void *to, const CUtensorMap *from, int c, int head, int row, uint64_t *b, uint16_t blocks)
{
#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
		     ".multicast::cluster [%0], [%1, {%2, %3, %4}], [%5], %6;"
		     :
		     : "r"(shared_address(to)), "l"(reinterpret_cast<uint64_t>(from)), "r"(c), "r"(head), "r"(row),
		     "r"(shared_address(b)), "h"(blocks)
		     : "memory");
#endif
}

/* Bytes, their number and both addresses multiples of 16. */
static __device__ inline void
copy_bytes(void *to, const void *from, int nbytes, uint64_t *b)
{
#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
		     :
		     : "r"(shared_address(to)), "l"(__cvta_generic_to_global(from)), "r"(nbytes),
		     "r"(shared_address(b))
		     : "memory");
#endif
}

/* ---- registers a thread: of the pool that the kernel started with ---- */

template <int N>
static __device__ inline void
registers_up(void)
{
#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" : : "n"(N));
#endif
}

template <int N>
static __device__ inline void
registers_down(void)
{
#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" : : "n"(N));
#endif
}

/* ---- products ---- */

/* Where a factor begins in shared memory.  Panels of one factor lie `apart` bytes from each other. */
static __device__ inline uint64_t
panel_over(const void *p)
{
	return (shared_address(p) & 0x3ffff) >> 4 | 1ull << 16 | static_cast<uint64_t>(8 * PANEL_ROW >> 4) << 32 |
	    1ull << 62;
}

static __device__ inline uint64_t
panel_along(const void *p, int apart)
{
	return (shared_address(p) & 0x3ffff) >> 4 | static_cast<uint64_t>(apart >> 4) << 16 |
	    static_cast<uint64_t>(8 * PANEL_ROW >> 4) << 32 | 1ull << 62;
}

/* Such a place, so many bytes further. */
static __device__ inline uint64_t
further(uint64_t place, int nbytes)
{
	return place + (nbytes >> 4);
}

/* Before the first product, and when registers that the next one uses were written by other instructions. */
static __device__ inline void
wgmma_fence(void)
{
#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("wgmma.fence.sync.aligned;" : : : "memory");
#endif
}

static __device__ inline void
wgmma_commit(void)
{
#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory");
#endif
}

template <int LEFT>
static __device__ inline void
wgmma_wait(void)
{
#ifdef QZ_CUDA_HAS_WGMMA
	asm volatile("wgmma.wait_group.sync.aligned %0;" : : "n"(LEFT) : "memory");
#endif
}

/* The compiler moves no use of these over this point. */
template <int N>
static __device__ inline void
pin(float c[N][4])
{
#pragma unroll
	for (int i = 0; i < N; i++)
#pragma unroll
		for (int e = 0; e < 4; e++)
			asm volatile("" : "+f"(c[i][e]) : : "memory");
}

template <int N>
static __device__ inline void
pin(uint32_t a[N][4])
{
#pragma unroll
	for (int i = 0; i < N; i++)
#pragma unroll
		for (int e = 0; e < 4; e++)
			asm volatile("" : "+r"(a[i][e]) : : "memory");
}

#define Q1(io, c, i) io(c[i][0]), io(c[i][1]), io(c[i][2]), io(c[i][3])
#define Q4(io, c, i) Q1(io, c, i), Q1(io, c, i + 1), Q1(io, c, i + 2), Q1(io, c, i + 3)
#define Q8(io, c) Q4(io, c, 0), Q4(io, c, 4)
#define Q16(io, c) Q4(io, c, 0), Q4(io, c, 4), Q4(io, c, 8), Q4(io, c, 12)
#define Q32(io, c) Q16(io, c), Q4(io, c, 16), Q4(io, c, 20), Q4(io, c, 24), Q4(io, c, 28)
#define OUT(x) "=f"(x)
#define BOTH(x) "+f"(x)
#define R8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define R16 R8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define R32                                                                                            \
	"%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, "   \
	"%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define R64                                                                                            \
	R32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, "  \
	    "%49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

#define R128                                                                                           \
	R64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, "  \
	    "%81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, "    \
	    "%98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, " \
	    "%113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

#define OVER(n, regs, add, a, b)                                                                       \
	"{\n\t.reg .pred p;\n\tsetp.ne.b32 p, " add ", 0;\n\t"                                            \
	"wgmma.mma_async.sync.aligned.m64n" n "k16.f32.bf16.bf16 {" regs "}, " a ", " b ", p, 1, 1, 0, 0;\n\t}"

/* c (64 x N) = a b^T, or += when ADD: 64 rows of a and N rows of b, over 16 numbers of each. */
template <int N, bool ADD>
static __device__ inline void
wgmma_over(float c[N / 8][4], uint64_t a, uint64_t b)
{
	static_assert(N == 64 || N == 128);
#ifdef QZ_CUDA_HAS_WGMMA
	if constexpr (N == 64 && ADD)
		asm volatile(OVER("64", R32, "1", "%32", "%33") : Q8(BOTH, c) : "l"(a), "l"(b));
	else if constexpr (N == 64)
		asm volatile(OVER("64", R32, "0", "%32", "%33") : Q8(OUT, c) : "l"(a), "l"(b));
	else if constexpr (ADD)
		asm volatile(OVER("128", R64, "1", "%64", "%65") : Q16(BOTH, c) : "l"(a), "l"(b));
	else
		asm volatile(OVER("128", R64, "0", "%64", "%65") : Q16(OUT, c) : "l"(a), "l"(b));
#endif
}

#define DECODED(n, regs, add, a, b)                                                                    \
	"{\n\t.reg .pred p;\n\tsetp.ne.b32 p, " add ", 0;\n\t"                                            \
	"wgmma.mma_async.sync.aligned.m64n" n "k16.f32.bf16.bf16 {" regs "}, {" a "}, " b ", p, 1, 1, 0;\n\t}"
#define A4(a) "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3])

/* c (64 x N) = a b^T, or += when `add`, which is known where this is compiled: a (64 x 16) in registers, b N rows of 16
 * numbers.  a is read until the product is waited for. */
template <int N>
static __device__ inline void
wgmma_decoded(float c[N / 8][4], const uint32_t a[4], uint64_t b, bool add)
{
	static_assert(N == 16 || N == 32 || N == 64);
#ifdef QZ_CUDA_HAS_WGMMA
	if constexpr (N == 16) {
		if (add)
			asm volatile(DECODED("16", R8, "1", "%8, %9, %10, %11", "%12")
				     : Q1(BOTH, c, 0), Q1(BOTH, c, 1)
				     : A4(a), "l"(b));
		else
			asm volatile(DECODED("16", R8, "0", "%8, %9, %10, %11", "%12")
				     : Q1(OUT, c, 0), Q1(OUT, c, 1)
				     : A4(a), "l"(b));
	} else if constexpr (N == 32) {
		if (add)
			asm volatile(DECODED("32", R16, "1", "%16, %17, %18, %19", "%20")
				     : Q4(BOTH, c, 0)
				     : A4(a), "l"(b));
		else
			asm volatile(DECODED("32", R16, "0", "%16, %17, %18, %19", "%20")
				     : Q4(OUT, c, 0)
				     : A4(a), "l"(b));
	} else {
		if (add)
			asm volatile(DECODED("64", R32, "1", "%32, %33, %34, %35", "%36") : Q8(BOTH, c) : A4(a), "l"(b));
		else
			asm volatile(DECODED("64", R32, "0", "%32, %33, %34, %35", "%36") : Q8(OUT, c) : A4(a), "l"(b));
	}
#endif
}

/* c (64 x N) += a b: a (64 x 16) in registers, b 16 rows of N numbers. */
template <int N>
static __device__ inline void
wgmma_along(float c[N / 8][4], const uint32_t a[4], uint64_t b)
{
	static_assert(N == 64 || N == 128);
#ifdef QZ_CUDA_HAS_WGMMA
	if constexpr (N == 64)
		asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" R32
			     "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
			     : Q8(BOTH, c)
			     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
	else
		asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" R64
			     "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
			     : Q16(BOTH, c)
			     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
#endif
}

/* c (64 x 256) += a b^T, or a b when ALONG: b is 256 rows over 16 numbers, or 16 rows of 256 numbers. */
template <bool ALONG>
static __device__ inline void
wgmma_wide(float c[32][4], uint64_t a, uint64_t b)
{
#ifdef QZ_CUDA_HAS_WGMMA
	if constexpr (ALONG)
		asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" R128
			     "}, %128, %129, 1, 1, 1, 0, 1;"
			     : Q32(BOTH, c)
			     : "l"(a), "l"(b));
	else
		asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" R128
			     "}, %128, %129, 1, 1, 1, 0, 0;"
			     : Q32(BOTH, c)
			     : "l"(a), "l"(b));
#endif
}

#undef Q1
#undef Q4
#undef Q8
#undef Q16
#undef Q32
#undef OUT
#undef BOTH
#undef OVER
#undef DECODED
#undef A4
#undef R8
#undef R16
#undef R32
#undef R64
#undef R128

#endif

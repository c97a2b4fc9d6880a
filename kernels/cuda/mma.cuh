/* mma - the instructions that attention is made of: products of 16 x 8 x 16 activations by a warp, fragments
 * out of shared memory, copies that do not wait.  PTX ISA: mma.m16n8k16, ldmatrix, cp.async; sm_80 on.
 * float16 is for sm_75, whose products are of 16 x 8 x 8 and whose copies wait: so it is done on all GPUs, and a
 * test on a newer one tests the code for that one.
 *
 * Lane l of a warp, g = l / 4, t = l % 4, holds of
 *   a (16 x 16):  a[0] (g, 2t), a[1] (g + 8, 2t), a[2] (g, 2t + 8), a[3] (g + 8, 2t + 8), each with the
 *                 element right of it
 *   b (16 x 8):   b0 (2t, g), b1 (2t + 8, g), each with the element below it
 *   c (16 x 8):   c[0], c[1] (g, 2t and 2t + 1), c[2], c[3] (g + 8, the same)
 * so that c of two neighbouring products, rounded, is the a of the next one. */
#ifndef QZ_CUDA_MMA_CUH
#define QZ_CUDA_MMA_CUH

#include "kernels/cuda/vector.cuh"

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800 || defined(QZ_CUDA_F16)
#define QZ_CUDA_HAS_MMA 1
#endif

/* c += a b over eight columns of a. */
static __device__ inline void
mma8(float c[4], uint32_t a0, uint32_t a1, uint32_t b)
{
	asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
		     "{%0, %1, %2, %3};"
		     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
		     : "r"(a0), "r"(a1), "r"(b));
}

/* c += a b */
static __device__ inline void
mma(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
#if defined(QZ_CUDA_F16)
	mma8(c, a[0], a[1], b0);
	mma8(c, a[2], a[3], b1);
#elif defined(QZ_CUDA_HAS_MMA)
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
		     "{%8, %9}, {%0, %1, %2, %3};"
		     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

static __device__ inline uint32_t
shared_address(const void *p)
{
	return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

static __device__ inline uint32_t
shared_load(uint32_t at)
{
	uint32_t r;

	asm volatile("ld.shared.u32 %0, [%1];" : "=r"(r) : "r"(at));
	return r;
}

/* The line of global memory is brought to the L2 cache. */
static __device__ inline void
prefetch_line(const void *p)
{
	asm volatile("prefetch.global.L2 [%0];" : : "l"(__cvta_generic_to_global(p)));
}

/* Four 8 x 8 matrices; lane 8 i + j gives the address of row j of matrix i, 16 bytes. */
static __device__ inline void
ldmatrix(uint32_t r[4], const uint16_t *p)
{
#ifdef QZ_CUDA_HAS_MMA
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
		     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
		     : "r"(shared_address(p))
		     : "memory");
#endif
}

/* The same, each matrix transposed. */
static __device__ inline void
ldmatrix_trans(uint32_t r[4], const uint16_t *p)
{
#ifdef QZ_CUDA_HAS_MMA
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
		     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
		     : "r"(shared_address(p))
		     : "memory");
#endif
}

/* 16 bytes of global to shared memory, zeros when not `there` (from is then not read). */
static __device__ inline void
copy16(uint16_t *to, const uint16_t *from, bool there)
{
#if defined(QZ_CUDA_F16)
	*reinterpret_cast<uint4 *>(to) = there ? *reinterpret_cast<const uint4 *>(from) : make_uint4(0, 0, 0, 0);
#elif defined(QZ_CUDA_HAS_MMA)
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
		     :
		     : "r"(shared_address(to)), "l"(__cvta_generic_to_global(from)), "r"(there ? 16 : 0)
		     : "memory");
#endif
}

/* Four bytes likewise. */
static __device__ inline void
copy4(uint32_t *to, const uint32_t *from, bool there)
{
#if defined(QZ_CUDA_F16)
	*to = there ? *from : 0;
#elif defined(QZ_CUDA_HAS_MMA)
	asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
		     :
		     : "r"(shared_address(to)), "l"(__cvta_generic_to_global(from)), "r"(there ? 4 : 0)
		     : "memory");
#endif
}

/* The copies since the last one are a group. */
static __device__ inline void
copy_group(void)
{
#if defined(QZ_CUDA_HAS_MMA) && !defined(QZ_CUDA_F16)
	asm volatile("cp.async.commit_group;" : : : "memory");
#endif
}

/* Waits until at most LEFT groups of this thread are under way. */
template <int LEFT>
static __device__ inline void
copy_wait(void)
{
#if defined(QZ_CUDA_HAS_MMA) && !defined(QZ_CUDA_F16)
	asm volatile("cp.async.wait_group %0;" : : "n"(LEFT) : "memory");
#endif
}

/* 2^x; 0 for -infinity */
static __device__ inline float
exp2_fast(float x)
{
	float y;

	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
	return y;
}

#endif

/* swiglu - its formulas for one element, for whoever has one at hand. */
#ifndef QZ_CUDA_SWIGLU_CUH
#define QZ_CUDA_SWIGLU_CUH

/* 1 / (1 + e^-g): 0 where e^-g is infinite. */
static __device__ inline float
sigmoid(float g)
{
	float e, y;

	asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(g * -1.4426950408889634f));
	asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(1.0f + e));
	return y;
}

static __device__ inline float
swiglu_of(float g, float u)
{
	return g * sigmoid(g) * u;
}

/* g and u become their gradients; dh becomes h. */
static __device__ inline void
swiglu_back(float *g, float *u, float *dh)
{
	float sig = sigmoid(*g), silu = *g * sig, h = silu * *u;

	*g = *dh * *u * fmaf(silu, 1 - sig, sig);
	*u = *dh * silu;
	*dh = h;
}

#endif

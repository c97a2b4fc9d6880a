/* swiglu - its formulas for one element, for whoever has one at hand. */
#ifndef QZ_CUDA_SWIGLU_CUH
#define QZ_CUDA_SWIGLU_CUH

static __device__ inline float
sigmoid(float g)
{
	return __fdividef(1.0f, 1.0f + __expf(-g));
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

	*g = *dh * *u * sig * (1 + *g * (1 - sig));
	*u = *dh * silu;
	*dh = h;
}

#endif

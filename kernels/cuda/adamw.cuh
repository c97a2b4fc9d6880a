/* adamw - what adamw and adamw8 share: the step's factors, and four numbers at a time. */
#ifndef QZ_CUDA_ADAMW_CUH
#define QZ_CUDA_ADAMW_CUH

#include "kernels/cuda/vector.cuh"

struct adamw_factors {
	float keep, b1, c1, b2, c2, scale, rate, root, eps;
	float rate8, eps8; /* adamw8's rate and eps */
};

/* As kernels/cpu/adamw.c and adamw8.c: in float64, rounded once. */
static __device__ inline struct adamw_factors
adamw_factors_of(const struct qz_adamw &a, double sum)
{
	double root = sqrt(1 - pow(a.beta2, a.step)), rest = 1 - pow(a.beta1, a.step);
	double scale = a.scale > 0 ? a.scale : 1, ratio = a.clip / (sqrt(sum) / scale + 1e-6), keep = 1;
	struct adamw_factors f;

	if (a.clip > 0 && ratio < 1)
		keep = ratio;
	f.keep = static_cast<float>(1 - a.lr * a.weight_decay);
	f.b1 = static_cast<float>(a.beta1);
	f.c1 = static_cast<float>(1 - a.beta1);
	f.b2 = static_cast<float>(a.beta2);
	f.c2 = static_cast<float>(1 - a.beta2);
	f.scale = static_cast<float>(keep / scale);
	f.rate = static_cast<float>(a.lr / rest);
	f.root = static_cast<float>(root);
	f.eps = static_cast<float>(a.eps);
	f.rate8 = static_cast<float>(a.lr * root / rest);
	f.eps8 = static_cast<float>(root * a.eps);
	return f;
}

/* Elements i .. i + 4 of n, zeros behind the end.  WHOLE: x is on 16 bytes, i and n are multiples of four. */
template <bool WHOLE>
static __device__ inline void
load4(float f[4], const float *x, int64_t i, int64_t n)
{
	if constexpr (WHOLE) {
		float4 v = i < n ? *reinterpret_cast<const float4 *>(x + i) : make_float4(0, 0, 0, 0);

		f[0] = v.x;
		f[1] = v.y;
		f[2] = v.z;
		f[3] = v.w;
	} else {
#pragma unroll
		for (int j = 0; j < 4; j++)
			f[j] = i + j < n ? x[i + j] : 0;
	}
}

template <bool WHOLE>
static __device__ inline void
store4(float *y, const float f[4], int64_t i, int64_t n)
{
	if constexpr (WHOLE) {
		if (i < n)
			*reinterpret_cast<float4 *>(y + i) = make_float4(f[0], f[1], f[2], f[3]);
	} else {
#pragma unroll
		for (int j = 0; j < 4; j++)
			if (i + j < n)
				y[i + j] = f[j];
	}
}

/* The same as activations: WHOLE: on 8 bytes. */
template <bool WHOLE>
static __device__ inline void
copy4(uint16_t *y, const float f[4], int64_t i, int64_t n)
{
	if constexpr (WHOLE) {
		if (i < n)
			*reinterpret_cast<uint2 *>(y + i) = make_uint2(pack2(f[0], f[1]), pack2(f[2], f[3]));
	} else {
#pragma unroll
		for (int j = 0; j < 4; j++)
			if (i + j < n)
				y[i + j] = act_round(f[j]);
	}
}

#endif

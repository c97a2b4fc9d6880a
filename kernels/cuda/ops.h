/* ops - which ops of ops.def the plugin has: THERE or LATER, a row an op.  An op without a row does not
 * compile; a LATER one fails at sync() with its name. */
#define QZ_CUDA_quantize4 LATER
#define QZ_CUDA_nest_absmax LATER
#define QZ_CUDA_quantize8 LATER
#define QZ_CUDA_dequantize THERE
#define QZ_CUDA_cast THERE
#define QZ_CUDA_merge LATER
#define QZ_CUDA_quantize_ggml LATER
#define QZ_CUDA_find_nonfinite LATER
#define QZ_CUDA_embed LATER
#define QZ_CUDA_rmsnorm THERE
#define QZ_CUDA_rmsnorm_bwd THERE
#define QZ_CUDA_rope LATER
#define QZ_CUDA_linear LATER
#define QZ_CUDA_linear_bwd LATER
#define QZ_CUDA_attention LATER
#define QZ_CUDA_attention_bwd LATER
#define QZ_CUDA_swiglu LATER
#define QZ_CUDA_swiglu_bwd LATER
#define QZ_CUDA_add LATER
#define QZ_CUDA_gather LATER
#define QZ_CUDA_scatter LATER
#define QZ_CUDA_head LATER
#define QZ_CUDA_head_bwd LATER
#define QZ_CUDA_cross_entropy LATER
#define QZ_CUDA_sum_squares LATER
#define QZ_CUDA_adamw LATER

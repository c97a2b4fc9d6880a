/* library - shared libraries that are looked for at run time: where the loader looks, then where NVIDIA's
 * installers and Python packages put them. */
#ifndef QZ_CUDA_LIBRARY_CUH
#define QZ_CUDA_LIBRARY_CUH

#include <cstddef>

/* A handle, or NULL and a sentence in why. */
void *qz_cuda_library(const char *name, char *why, size_t n);
/* NULL when it has no such symbol. */
void *qz_cuda_symbol(void *library, const char *name);

#endif

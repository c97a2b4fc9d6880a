/* library - shared libraries that are looked for at run time: where the loader looks, then where NVIDIA's
 * installers and Python packages put them. */
#ifndef QZ_CUDA_LIBRARY_H
#define QZ_CUDA_LIBRARY_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A handle, or NULL and a sentence in why.  An environment variable named `variable` holds the file's path and is
 * then the only place. */
void *qz_cuda_library(const char *name, const char *variable, char *why, size_t n);
/* NULL when it has no such symbol. */
void *qz_cuda_symbol(void *library, const char *name);

#ifdef __cplusplus
}
#endif

#endif

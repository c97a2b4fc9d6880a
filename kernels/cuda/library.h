/* library - shared libraries that are looked for at run time: where the loader looks, then where NVIDIA's
 * installers and Python packages put them. */
#ifndef QZ_CUDA_LIBRARY_H
#define QZ_CUDA_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Will this one do?  If not, a few words on why.  It is loaded apart from all else, so that nothing of a library
 * that is refused is left for the next one to run into: only functions that need no other state may be called. */
typedef bool qz_library_good(void *library, char *why, size_t n);

/* A handle of the first that is good (NULL: any), or NULL and a sentence in why.  An environment variable named
 * `variable` holds the file's path and is then the only place. */
void *qz_cuda_library(
    const char *name, const char *variable, qz_library_good *good, char *why, size_t n);
/* NULL when it has no such symbol. */
void *qz_cuda_symbol(void *library, const char *name);

#ifdef __cplusplus
}
#endif

#endif

/* planes - 16-bit elements split into their low and their high bytes, which zstd packs better.
 * Each chunk of up to 1 MiB is split for itself: first all low bytes, then all high bytes. */
#ifndef QZ_PLANES_H
#define QZ_PLANES_H

#include <stddef.h>
#include <stdint.h>

enum { QZ_PLANE_CHUNK = 1 << 20 };

/* n bytes, even, at most QZ_PLANE_CHUNK; out is another buffer. */
void qz_planes_split(uint8_t *out, const uint8_t *in, size_t n);
void qz_planes_join(uint8_t *out, const uint8_t *in, size_t n);

#endif

/* num - numbers as people write them: whole strings, with bounds, or a message. */
#ifndef QZ_NUM_H
#define QZ_NUM_H

#include <stdint.h>

#include "libcore/base/err.h"

/* The whole of s, decimal; message "%s is not a whole number" and so on. */
int qz_num_int(const char *s, int64_t *v, struct qz_err *e);
int qz_num_real(const char *s, double *v, struct qz_err *e); /* finite */
/* Bytes: 16G, 1.5GiB, 300M, 4096.  k M G T are powers of 1000, Ki Mi Gi Ti of 1024. */
int qz_num_size(const char *s, uint64_t *v, struct qz_err *e);
/* "3.6 GB", "120 MB", "17 B": three digits, powers of 1000. */
void qz_num_bytes(uint64_t n, char out[16]);

#endif

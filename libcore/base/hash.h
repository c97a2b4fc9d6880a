/* hash - XXH3 from libxxhash: checksums and digests of everything qz writes.
 * It finds damage and tells inputs apart; it is no signature. */
#ifndef QZ_HASH_H
#define QZ_HASH_H

#include <stddef.h>
#include <stdint.h>

struct qz_digest { /* 128 bits; printed as 32 hex digits, hi first (XXH3's canonical form) */
	uint64_t hi, lo;
};

uint64_t qz_hash64(const void *data, size_t n);
struct qz_digest qz_hash128(const void *data, size_t n);

/* A running hash gives both widths of the same bytes. */
struct qz_hash;
struct qz_hash *qz_hash_new(void); /* NULL: no memory */
void qz_hash_free(struct qz_hash *h);
void qz_hash_reset(struct qz_hash *h);
void qz_hash_add(struct qz_hash *h, const void *data, size_t n);
uint64_t qz_hash_get64(const struct qz_hash *h);
struct qz_digest qz_hash_get128(const struct qz_hash *h);

void qz_digest_hex(struct qz_digest d, char out[33]);

#endif

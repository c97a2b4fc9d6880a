#include "libcore/base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

struct qz_hash {
	XXH3_state_t *state;
};

uint64_t
qz_hash64(const void *data, size_t n)
{
	return XXH3_64bits(data, n);
}

struct qz_digest
qz_hash128(const void *data, size_t n)
{
	XXH128_hash_t v = XXH3_128bits(data, n);

	return (struct qz_digest){ v.high64, v.low64 };
}

struct qz_hash *
qz_hash_new(void)
{
	struct qz_hash *h = malloc(sizeof *h);

	if (!h)
		return NULL;
	h->state = XXH3_createState();
	if (!h->state) {
		free(h);
		return NULL;
	}
	qz_hash_reset(h);
	return h;
}

void
qz_hash_free(struct qz_hash *h)
{
	if (!h)
		return;
	XXH3_freeState(h->state);
	free(h);
}

/* The 64- and 128-bit forms share state and update; only the last step differs. */
void
qz_hash_reset(struct qz_hash *h)
{
	XXH3_128bits_reset(h->state);
}

void
qz_hash_add(struct qz_hash *h, const void *data, size_t n)
{
	XXH3_128bits_update(h->state, data, n);
}

uint64_t
qz_hash_get64(const struct qz_hash *h)
{
	return XXH3_64bits_digest(h->state);
}

struct qz_digest
qz_hash_get128(const struct qz_hash *h)
{
	XXH128_hash_t v = XXH3_128bits_digest(h->state);

	return (struct qz_digest){ v.high64, v.low64 };
}

void
qz_digest_hex(struct qz_digest d, char out[33])
{
	snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, d.hi, d.lo);
}

/* book - values of 4-bit codes from a code book of 16 floats, which vector registers hold. */
#ifndef QZ_CPU_BOOK_H
#define QZ_CPU_BOOK_H

#include <stdint.h>
#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

struct book {
#if defined __AVX512F__
	__m512 map;
#elif defined __AVX2__
	__m256 low, high; /* values of codes 0 .. 7, 8 .. 15 */
#else
	float pair[256][2]; /* both values of a byte */
#endif
};

static inline void
book_load(struct book *b, const float *map)
{
#if defined __AVX512F__
	b->map = _mm512_loadu_ps(map);
#elif defined __AVX2__
	b->low = _mm256_loadu_ps(map);
	b->high = _mm256_loadu_ps(map + 8);
#else
	for (int i = 0; i < 256; i++) {
		b->pair[i][0] = map[i >> 4];
		b->pair[i][1] = map[i & 15];
	}
#endif
}

#ifdef __AVX2__
/* The 16 codes of 8 bytes, a byte each: the high nibble first. */
static inline __m128i
nibbles(const uint8_t *codes)
{
	__m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)codes);
	__m128i low = _mm_set1_epi8(15), high = _mm_and_si128(_mm_srli_epi16(bytes, 4), low);

	return _mm_unpacklo_epi8(high, _mm_and_si128(bytes, low));
}
#endif

/* y (16) = c * the values of 8 bytes. */
static inline void
book_16(float *y, const uint8_t *codes, const struct book *b, float c)
{
#if defined __AVX512F__
	__m512i i = _mm512_cvtepu8_epi32(nibbles(codes));

	_mm512_storeu_ps(y, _mm512_mul_ps(_mm512_permutexvar_ps(i, b->map), _mm512_set1_ps(c)));
#elif defined __AVX2__
	__m128i all = nibbles(codes);

	for (int half = 0; half < 2; half++, all = _mm_srli_si128(all, 8), y += 8) {
		__m256i i = _mm256_cvtepu8_epi32(all);
		__m256 low = _mm256_permutevar8x32_ps(b->low, i),
		       high = _mm256_permutevar8x32_ps(b->high, i),
		       which = _mm256_castsi256_ps(_mm256_slli_epi32(i, 28));

		_mm256_storeu_ps(
		    y, _mm256_mul_ps(_mm256_blendv_ps(low, high, which), _mm256_set1_ps(c)));
	}
#else
	for (int i = 0; i < 8; i++, y += 2) {
		y[0] = b->pair[codes[i]][0] * c;
		y[1] = b->pair[codes[i]][1] * c;
	}
#endif
}

/* y (2 * bytes) = c * the values. */
static inline void
book_values(float *y, const uint8_t *codes, int64_t bytes, const struct book *b, float c)
{
	uint8_t rest[8] = { 0 };
	float values[16];

	for (; bytes >= 8; bytes -= 8, codes += 8, y += 16)
		book_16(y, codes, b, c);
	if (bytes < 1)
		return;
	memcpy(rest, codes, (size_t)bytes);
	book_16(values, rest, b, c);
	memcpy(y, values, (size_t)bytes * 2 * sizeof *y);
}

#endif

#include "libcore/text/joins.h"

#include <stdlib.h>

struct qz_joins *
qz_joins_new(struct qz_err *e)
{
	struct qz_joins *j = calloc(1, sizeof *j);

	if (!j)
		qz_nomem(e, sizeof *j);
	return j;
}

/* By the first byte of a character. */
static size_t
length(unsigned char lead)
{
	return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

static bool
continues(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* A character's bytes as one number; n of 1 to 4. */
static uint32_t
bytes_of(const char *s, size_t n)
{
	uint32_t c = 0;

	for (size_t i = 0; i < n; i++)
		c = c << 8 | (unsigned char)s[i];
	return c;
}

static uint32_t
bit_of(uint32_t a, uint32_t b)
{
	return (uint32_t)(((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15u >> (64 - QZ_JOINS_BITS));
}

void
qz_joins_add(struct qz_joins *j, const char *s, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		size_t before = 1, after;

		if ((unsigned char)(s[i - 1] | s[i]) < 0x80) {
			j->ascii[(unsigned char)s[i - 1]][(unsigned char)s[i]] = 1;
			continue;
		}
		if (continues(s[i]))
			continue;
		after = length((unsigned char)s[i]);
		while (before < i && before < 4 && continues(s[i - before]))
			before++;
		if (continues(s[i - before]) || length((unsigned char)s[i - before]) != before ||
		    after > n - i) {
			j->edge[(unsigned char)s[i - 1]][(unsigned char)s[i]] = 1;
		} else {
			uint32_t bit = bit_of(
			    bytes_of(s + i - before, before), bytes_of(s + i, after));

			j->pairs[bit / 64] |= (uint64_t)1 << bit % 64;
		}
	}
}

size_t
qz_joins_cut(const struct qz_joins *j, const char *s, size_t n)
{
	size_t before = length((unsigned char)s[0]);
	uint32_t a = bytes_of(s, before);

	for (size_t i = before, after; i < n; i += after) {
		uint32_t b, bit;

		after = length((unsigned char)s[i]);
		b = bytes_of(s + i, after);
		if ((a | b) < 0x80) {
			if (!j->ascii[a][b])
				return i;
		} else if (!j->edge[a & 255][(unsigned char)s[i]]) {
			bit = bit_of(a, b);
			if (!(j->pairs[bit / 64] >> bit % 64 & 1))
				return i;
		}
		a = b;
	}
	return n;
}

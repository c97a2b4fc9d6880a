#include "libcore/base/utf8.h"

#include <string.h>

int32_t
qz_utf8_get(const char *str, size_t n, int *len)
{
	const unsigned char *s = (const unsigned char *)str;
	unsigned lo = 0x80, hi = 0xbf, more;
	int32_t c;

	*len = 1;
	if (s[0] < 0x80)
		return s[0];
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return -1;
	more = s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3;
	c = s[0] & (0x3f >> more);
	if (s[0] == 0xe0)
		lo = 0xa0;
	else if (s[0] == 0xed)
		hi = 0x9f;
	else if (s[0] == 0xf0)
		lo = 0x90;
	else if (s[0] == 0xf4)
		hi = 0x8f;
	for (unsigned i = 1; i <= more; i++) {
		if (i >= n || s[i] < lo || s[i] > hi)
			return -1;
		c = c << 6 | (s[i] & 0x3f);
		*len = (int)i + 1;
		lo = 0x80;
		hi = 0xbf;
	}
	return c;
}

int
qz_utf8_put(uint32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

size_t
qz_utf8_valid(const char *s, size_t n)
{
	size_t i = 0;
	uint64_t v;
	int len;

	while (i < n) {
		if (!(s[i] & 0x80)) {
			for (i++; i + 8 <= n; i += 8) {
				memcpy(&v, s + i, 8);
				if (v & 0x8080808080808080u)
					break;
			}
			continue;
		}
		if (qz_utf8_get(s + i, n - i, &len) < 0)
			return i;
		i += (size_t)len;
	}
	return n;
}

#include "libcore/base/base64.h"

#include <stdint.h>

/* By byte: the digit's value and one; 0: none. */
static const uint8_t digits[256] = { ['A'] = 1,
	2,
	3,
	4,
	5,
	6,
	7,
	8,
	9,
	10,
	11,
	12,
	13,
	14,
	15,
	16,
	17,
	18,
	19,
	20,
	21,
	22,
	23,
	24,
	25,
	26,
	['a'] = 27,
	28,
	29,
	30,
	31,
	32,
	33,
	34,
	35,
	36,
	37,
	38,
	39,
	40,
	41,
	42,
	43,
	44,
	45,
	46,
	47,
	48,
	49,
	50,
	51,
	52,
	['0'] = 53,
	54,
	55,
	56,
	57,
	58,
	59,
	60,
	61,
	62,
	['+'] = 63,
	['/'] = 64 };

int
qz_base64_decode(const char *s, size_t n, struct qz_buf *out, struct qz_err *e)
{
	uint32_t acc = 0;
	char *p;
	int bits = 0;

	for (int pad = 0; pad < 2 && n && s[n - 1] == '='; pad++)
		n--;
	p = qz_buf_room(out, n);
	if (!p)
		return qz_nomem(e, n);
	out->n -= n;
	for (size_t i = 0; i < n; i++) {
		uint32_t d = digits[(unsigned char)s[i]];

		if (!d)
			return qz_fail(e, QZ_EDATA, "byte %zu is no base64", i);
		acc = acc << 6 | (d - 1);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			*p++ = (char)(acc >> bits);
		}
	}
	out->n = (size_t)(p - out->data);
	out->data[out->n] = '\0';
	return 0;
}

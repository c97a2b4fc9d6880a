#include "libcore/base/base64.h"

#include <stdint.h>

static int
digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

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
		int d = digit(s[i]);

		if (d < 0)
			return qz_fail(e, QZ_EDATA, "byte %zu is no base64", i);
		acc = acc << 6 | (uint32_t)d;
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

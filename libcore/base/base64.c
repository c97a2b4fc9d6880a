#include "libcore/base/base64.h"

#include <stdint.h>

/* By character from '+' to 'z': the digit's value and one; 0: none. */
static const char digits[] = "\077\0\0\0\100"                           /* + / */
			     "\065\066\067\070\071\072\073\074\075\076" /* 0 to 9 */
			     "\0\0\0\0\0\0\0"
			     "\001\002\003\004\005\006\007\010\011\012\013\014\015" /* A to M */
			     "\016\017\020\021\022\023\024\025\026\027\030\031\032"
			     "\0\0\0\0\0\0"
			     "\033\034\035\036\037\040\041\042\043\044\045\046\047" /* a to m */
			     "\050\051\052\053\054\055\056\057\060\061\062\063\064";

static uint32_t
digit(char c)
{
	return c < '+' || c > 'z' ? 0 : (unsigned char)digits[c - '+'];
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
		uint32_t d = digit(s[i]);

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

#include "libcore/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void
clean(char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c < 0x20 || c == 0x7f)
			*s = '?';
	}
}

int
qz_fail(struct qz_err *e, enum qz_code code, const char *fmt, ...)
{
	va_list ap;

	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	clean(e->msg);
	return -1;
}

int
qz_fail_errno(struct qz_err *e, const char *fmt, ...)
{
	va_list ap;
	int saved = errno;
	size_t n;

	e->code = QZ_EIO;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	n = strlen(e->msg);
	snprintf(e->msg + n, sizeof e->msg - n, ": %s", strerror(saved));
	clean(e->msg);
	return -1;
}

int
qz_at(struct qz_err *e, const char *fmt, ...)
{
	char place[sizeof e->msg];
	va_list ap;
	size_t n, room;

	va_start(ap, fmt);
	vsnprintf(place, sizeof place - 4, fmt, ap);
	va_end(ap);
	strcat(place, ": ");
	clean(place);
	n = strlen(place);
	room = sizeof e->msg - 1 - n;
	if (strlen(e->msg) > room)
		e->msg[room] = '\0';
	memmove(e->msg + n, e->msg, strlen(e->msg) + 1);
	memcpy(e->msg, place, n);
	return -1;
}

int
qz_nomem(struct qz_err *e, unsigned long long nbytes)
{
	return qz_fail(e, QZ_EIO, "out of memory: cannot allocate %llu bytes", nbytes);
}

/* tarball - tar archives for tests, also such as no tar would write. */
#ifndef QZ_TEST_TARBALL_H
#define QZ_TEST_TARBALL_H

#include <stdio.h>
#include <string.h>

#include "libcore/base/buf.h"

/* A ustar header: type '0' a file, '1' a hard link, '2' a symbolic link, '3' a device, '5' a folder. */
static void
tar_header(struct qz_buf *b, const char *name, char type, unsigned long long size, const char *link)
{
	char h[512] = { 0 };
	unsigned sum = 0;

	snprintf(h, 100, "%s", name);
	snprintf(h + 100, 8, "0000644");
	snprintf(h + 108, 8, "0000000");
	snprintf(h + 116, 8, "0000000");
	snprintf(h + 124, 12, "%011llo", size);
	snprintf(h + 136, 12, "00000000000");
	h[156] = type;
	snprintf(h + 157, 100, "%s", link);
	memcpy(h + 257, "ustar\00000", 8);
	memset(h + 148, ' ', 8);
	for (int i = 0; i < 512; i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum);
	h[155] = ' ';
	qz_buf_add(b, h, 512);
}

__attribute__((unused)) static void
tar_file(struct qz_buf *b, const char *name, const void *data, size_t n)
{
	tar_header(b, name, '0', n, "");
	qz_buf_add(b, data, n);
	while (b->n % 512)
		qz_buf_chr(b, 0);
}

__attribute__((unused)) static void
tar_end(struct qz_buf *b)
{
	for (int i = 0; i < 1024; i++)
		qz_buf_chr(b, 0);
}

#endif

/* The hexdump in qz-shard(5) is what the library writes, byte for byte. */
#include <string.h>

#include "libcore/shard/reader.h"
#include "libcore/shard/writer.h"
#include "tests/unit/tap.h"

/* Lines of hexdump -C between the marks of the page; '*' repeats the line before. */
static size_t
read_page(uint8_t *out, size_t max)
{
	FILE *f = fopen("man/qz-shard.5", "r");
	char line[256];
	size_t n = 0;
	int in = 0;

	while (f && fgets(line, sizeof line, f)) {
		char *p;
		unsigned long offset;

		if (!strncmp(line, ".\\\" HEXDUMP", 11))
			in = 1;
		if (!strncmp(line, ".Ed", 3))
			in = 0;
		offset = strtoul(line, &p, 16);
		if (!in || p != line + 8 || offset > max - 16)
			continue;
		for (; n >= 16 && n < offset; n += 16)
			memcpy(out + n, out + n - 16, 16);
		for (int i = 0; i < 16 && *p != '\n' && *p; i++)
			out[n++] = (uint8_t)strtoul(p, &p, 16);
	}
	if (f)
		fclose(f);
	return n;
}

int
main(void)
{
	struct qz_err e = { 0 };
	struct qz_buf b = { 0 };
	static uint8_t page[4096];
	struct qz_out *o = qz_out_memory(&b, &e);
	struct qz_shard_writer *w = qz_shard_writer_new(o, "tokens", "{}", NULL, 0, 0, &e);
	size_t n, same = 0;

	ok(w && qz_shard_writer_end(w, &e) == 0, "the smallest shard is written");
	n = read_page(page, sizeof page);
	ok(n == b.n, "the page shows %zu bytes, the library writes %zu", n, b.n);
	while (same < n && same < b.n && page[same] == (uint8_t)b.data[same])
		same++;
	ok(same == b.n, "the page and the library agree up to byte %zu", same);
	qz_shard_writer_free(w);
	qz_out_close(o);
	qz_buf_free(&b);
	return done();
}

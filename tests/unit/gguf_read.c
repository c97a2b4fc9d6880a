/* GGUF files made here byte by byte, whole and damaged, and the ones that ggml's own tools made. */
#include <unistd.h>

#include "libcore/base/half.h"
#include "libcore/base/le.h"
#include "libcore/format/gguf_read.h"
#include "tests/unit/tap.h"

static void
put32(struct qz_buf *b, uint32_t v)
{
	uint8_t s[4];

	le32_put(s, v);
	qz_buf_add(b, s, 4);
}

static void
put64(struct qz_buf *b, uint64_t v)
{
	uint8_t s[8];

	le64_put(s, v);
	qz_buf_add(b, s, 8);
}

static void
put_string(struct qz_buf *b, const char *s)
{
	put64(b, strlen(s));
	qz_buf_str(b, s);
}

/* What may go wrong, each on an otherwise good file of four keys and two tensors. */
struct damage {
	const char *message; /* NULL: it is good */
	uint32_t magic, version;
	uint64_t n_tensors, n_kv;
	uint32_t type;  /* of the third key */
	uint64_t count; /* of its array */
	uint64_t text;  /* length of the second key's string */
	uint32_t n_dims;
	uint64_t dim; /* the first tensor's rows */
	uint32_t ggml;
	uint64_t offset;  /* of the second tensor */
	const char *name; /* of the second tensor */
	const char *key;  /* the fourth */
	uint32_t alignment;
	uint32_t data; /* bytes of data */
};
#define GOOD 0x46554747, 3, 2, 4, 9, 3, 5, 2, 3, 0, 32, "b", "general.alignment", 32, 100

static const struct damage cases[] = {
	{ NULL, GOOD },
	{ NULL, .magic = 0x46554747, .version = 2, 2, 4, 9, 3, 5, 2, 3, 0, 32, "b",
	    "general.alignment", 32, 96 },
	{ "GGUF: does not begin with GGUF", 0x46554746, 3, 2, 4, 9, 3, 5, 2, 3, 0, 32, "b",
	    "general.alignment", 32, 100 },
	{ "GGUF: version 4 is not known; 2 and 3 are", 0x46554747, 4, 2, 4, 9, 3, 5, 2, 3, 0, 32,
	    "b", "general.alignment", 32, 100 },
	{ "GGUF: version 1 is not known; 2 and 3 are", 0x46554747, 1, 2, 4, 9, 3, 5, 2, 3, 0, 32,
	    "b", "general.alignment", 32, 100 },
	{ "GGUF: is a big-endian file, only little-endian is read", 0x46554747, 3u << 24, 2, 4, 9,
	    3, 5, 2, 3, 0, 32, "b", "general.alignment", 32, 100 },
	{ "GGUF: 4 keys and 1099511627776 tensors in a file of 324 bytes", 0x46554747, 3,
	    (uint64_t)1 << 40, 4, 9, 3, 5, 2, 3, 0, 32, "b", "general.alignment", 32, 100 },
	{ "GGUF: 18446744073709551615 keys and 2 tensors in a file of 324 bytes", 0x46554747, 3, 2,
	    UINT64_MAX, 9, 3, 5, 2, 3, 0, 32, "b", "general.alignment", 32, 100 },
	{ "GGUF: key c: a value of type 13", 0x46554747, 3, 2, 4, 13, 3, 5, 2, 3, 0, 32, "b",
	    "general.alignment", 32, 100 },
	{ "GGUF: key c: at byte 92: a value of 4611686018427387904 bytes, 232 are left", 0x46554747,
	    3, 2, 4, 9, (uint64_t)1 << 60, 5, 2, 3, 0, 32, "b", "general.alignment", 32, 100 },
	{ "GGUF: key c: at byte 92: a value of 18446744073709551615 bytes, 232 are left",
	    0x46554747, 3, 2, 4, 9, UINT64_MAX, 5, 2, 3, 0, 32, "b", "general.alignment", 32, 100 },
	{ "GGUF: key b: at byte 62: a string of 999 bytes, 262 are left", 0x46554747, 3, 2, 4, 9, 3,
	    999, 2, 3, 0, 32, "b", "general.alignment", 32, 100 },
	{ "GGUF: tensor a has 0 dimensions, 1 to 4 expected", 0x46554747, 3, 2, 4, 9, 3, 5, 0, 3, 0,
	    32, "b", "general.alignment", 32, 100 },
	{ "GGUF: tensor a has 5 dimensions, 1 to 4 expected", 0x46554747, 3, 2, 4, 9, 3, 5, 5, 3, 0,
	    32, "b", "general.alignment", 32, 100 },
	{ "GGUF: tensor a: a dimension is 0: its size does not fit", 0x46554747, 3, 2, 4, 9, 3, 5,
	    2, 0, 0, 32, "b", "general.alignment", 32, 100 },
	{ "GGUF: tensor a: a dimension is 9223372036854775808: its size does not fit", 0x46554747,
	    3, 2, 4, 9, 3, 5, 2, (uint64_t)1 << 63, 0, 32, "b", "general.alignment", 32, 100 },
	{ "GGUF: tensor a: 288230376151711744 bytes at 224, the file ends at 324", 0x46554747, 3, 2,
	    4, 9, 3, 5, 2, (uint64_t)1 << 55, 0, (uint64_t)1 << 58, "b", "general.alignment", 32,
	    100 },
	{ "GGUF: tensor a: ggml type 4 is not supported", 0x46554747, 3, 2, 4, 9, 3, 5, 2, 3, 4, 32,
	    "b", "general.alignment", 32, 100 },
	{ "GGUF: tensor a: rows of 2 elements are no multiple of q8_0's 32", 0x46554747, 3, 2, 4, 9,
	    3, 5, 2, 3, 8, 32, "b", "general.alignment", 32, 100 },
	{ "GGUF: tensor b: its offset is 24, 32 is expected", 0x46554747, 3, 2, 4, 9, 3, 5, 2, 3, 0,
	    24, "b", "general.alignment", 32, 100 },
	{ "GGUF: tensor b: its offset is 64, 32 is expected", 0x46554747, 3, 2, 4, 9, 3, 5, 2, 3, 0,
	    64, "b", "general.alignment", 32, 100 },
	{ "GGUF: tensor b: 20 bytes at 256, the file ends at 275", 0x46554747, 3, 2, 4, 9, 3, 5, 2,
	    3, 0, 32, "b", "general.alignment", 32, 51 },
	{ "GGUF: a tensor's name a is there twice", 0x46554747, 3, 2, 4, 9, 3, 5, 2, 3, 0, 32, "a",
	    "general.alignment", 32, 100 },
	{ "GGUF: a key a is there twice", 0x46554747, 3, 2, 4, 9, 3, 5, 2, 3, 0, 32, "b", "a", 32,
	    100 },
	{ "GGUF: general.alignment is 24, no power of two up to 1048576", 0x46554747, 3, 2, 4, 9, 3,
	    5, 2, 3, 0, 32, "b", "general.alignment", 24, 100 },
	{ "GGUF: general.alignment is 0, no power of two up to 1048576", 0x46554747, 3, 2, 4, 9, 3,
	    5, 2, 3, 0, 32, "b", "general.alignment", 0, 100 },
	{ "GGUF: at byte 178: a tensor's name of 64 bytes, at most 63", 0x46554747, 3, 2, 4, 9, 3,
	    5, 2, 3, 0, 32, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	    "general.alignment", 32, 100 },
};

static void
build(struct qz_buf *b, const struct damage *d)
{
	put32(b, d->magic);
	put32(b, d->version);
	put64(b, d->n_tensors);
	put64(b, d->n_kv);
	put_string(b, "a"); /* u32 7 */
	put32(b, 4);
	put32(b, 7);
	put_string(b, "b"); /* "hello" */
	put32(b, 8);
	put64(b, d->text);
	qz_buf_str(b, "hello");
	put_string(b, "c"); /* three f32 */
	put32(b, d->type);
	put32(b, 6);
	put64(b, d->count);
	for (uint32_t i = 0; i < 3; i++)
		put32(b, qz_f32_bits((float)i + 0.5f));
	put_string(b, d->key);
	put32(b, 4);
	put32(b, d->alignment);
	put_string(b, "a"); /* (rows, 2) */
	put32(b, d->n_dims);
	put64(b, 2);
	put64(b, d->dim);
	put32(b, d->ggml);
	put64(b, 0);
	put_string(b, d->name); /* (5) f32 */
	put32(b, 1);
	put64(b, 5);
	put32(b, 0);
	put64(b, d->offset);
	while (b->n % 32)
		qz_buf_chr(b, 0);
	for (uint32_t i = 0; i < d->data; i++)
		qz_buf_chr(b, (char)i);
}

static int
read_gguf(struct qz_gguf *g, const struct qz_buf *b, size_t n, struct qz_err *e)
{
	struct qz_in *in = qz_in_memory("x", b->data, n, e);
	int ret = qz_gguf_read(g, in, e);

	qz_in_close(in);
	return ret;
}

static void
test_case(const struct damage *d)
{
	struct qz_buf b = { 0 };
	struct qz_gguf g = { 0 };
	struct qz_err e = { 0 };
	int ret;

	build(&b, d);
	ret = read_gguf(&g, &b, b.n, &e);
	if (d->message) {
		ok(ret < 0 && e.code == QZ_EDATA, "refuses");
		is(e.msg, d->message, d->message);
	} else {
		ok(ret == 0 && g.n_kv == 4 && g.n_tensors == 2 && g.tensors[0].dims[0] == 3 &&
			g.tensors[0].dims[1] == 2 && g.tensors[1].offset == g.data + 32,
		    "reads version %u: %s", d->version, e.msg);
	}
	qz_gguf_free(&g);
	qz_buf_free(&b);
}

/* Bytes of the good file that become others, up to eight at `at`. */
static const struct patch {
	const char *message;
	size_t at;
	uint64_t value;
	size_t n;
} patches[] = {
	{ "GGUF: general.alignment is no u32", 129, 5, 4 },
	{ "GGUF: key c: an array of type 9", 80, 9, 4 },
	{ "GGUF: key c: an array of type 13", 80, 13, 4 },
	{ "GGUF: at byte 32: a key with a NUL in it", 32, 0, 1 },
	{ "GGUF: at byte 32: a key that is empty or not UTF-8", 32, 0xff, 1 },
	{ "GGUF: at byte 32: a key that is empty or not UTF-8", 24, 0, 8 },
	{ "GGUF: at byte 24: a key of 70000 bytes, at most 65535", 24, 70000, 8 },
	{ "GGUF: key b: at byte 62: a string with a NUL in it", 63, 0, 1 },
	{ "GGUF: at byte 145: a tensor's name that is empty or not UTF-8", 145, 0xff, 1 },
	{ "GGUF: at byte 145: a tensor's name with a NUL in it", 145, 0, 1 },
	{ "GGUF: tensor b has 4294967295 dimensions, 1 to 4 expected", 187, UINT32_MAX, 4 },
};

static void
test_patch(const struct patch *p)
{
	struct qz_buf b = { 0 };
	struct qz_gguf g = { 0 };
	struct qz_err e = { 0 };
	uint8_t value[8];

	build(&b, &cases[0]);
	le64_put(value, p->value);
	memcpy(b.data + p->at, value, p->n);
	ok(read_gguf(&g, &b, b.n, &e) < 0 && e.code == QZ_EDATA, "refuses");
	is(e.msg, p->message, p->message);
	qz_gguf_free(&g);
	qz_buf_free(&b);
}

/* A key of more bytes than there may be before the data, in a file with a hole; and a pipe. */
static void
test_large(void)
{
	struct qz_buf b = { 0 };
	struct qz_gguf g = { 0 };
	struct qz_err e = { 0 };
	FILE *f = tmpfile();
	char path[64];
	struct qz_in *in;
	int ends[2];

	put32(&b, 0x46554747);
	put32(&b, 3);
	put64(&b, 0);
	put64(&b, 1);
	put_string(&b, "a");
	put32(&b, 9);
	put32(&b, 0);
	put64(&b, (uint64_t)1 << 31);
	fwrite(b.data, 1, b.n, f);
	fflush(f);
	ok(ftruncate(fileno(f), (off_t)3 << 30) == 0, "a file of 3 GB");
	snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(f));
	in = qz_in_open(path, &e);
	ok(in && qz_gguf_read(&g, in, &e) < 0 && strstr(e.msg, "bytes before the data"), "%s",
	    e.msg);
	qz_gguf_free(&g);
	qz_in_close(in);
	fclose(f);
	ok(pipe(ends) == 0 && write(ends[1], b.data, b.n) == (ssize_t)b.n, "a pipe");
	close(ends[1]);
	snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
	in = qz_in_open(path, &e);
	ok(in && qz_gguf_read(&g, in, &e) < 0, "is refused");
	is(e.msg, "GGUF: a file is needed, not a pipe", "  says so");
	qz_gguf_free(&g);
	qz_in_close(in);
	close(ends[0]);
	qz_buf_free(&b);
}

/* Cut anywhere before its last byte of data, a file is refused. */
static void
test_cuts(void)
{
	struct qz_buf b = { 0 };
	struct qz_err e = { 0 };
	size_t end, read = 0;

	build(&b, &cases[0]);
	end = b.n - 100 + 52;
	for (size_t n = 0; n < end; n++) {
		struct qz_gguf g = { 0 };

		read += read_gguf(&g, &b, n, &e) == 0;
		qz_gguf_free(&g);
	}
	ok(read == 0, "refuses a file cut at any of %zu bytes", end);
	qz_buf_free(&b);
}

static void
test_values(void)
{
	struct qz_buf b = { 0 };
	struct qz_gguf g = { 0 };
	struct qz_err e = { 0 };
	const char *const *strings, *s = NULL;
	const size_t *lens;
	uint64_t n;
	int64_t v = -1;
	double d = -1;
	bool t = false;

	build(&b, &cases[0]);
	read_gguf(&g, &b, b.n, &e);
	ok(qz_gguf_int(&g, "a", 0, 7, &v, &e) == 1 && v == 7, "a is 7");
	ok(qz_gguf_int(&g, "a", 8, 9, &v, &e) < 0, "a out of range");
	is(e.msg, "GGUF: a is 7, not within 8..9", "  says so");
	ok(qz_gguf_int(&g, "none", 8, 9, &v, &e) == 0 && v == 7, "a missing key leaves the value");
	ok(qz_gguf_string(&g, "b", &s, &e) == 1 && !strcmp(s, "hello"), "b is hello");
	ok(qz_gguf_int(&g, "b", 0, 9, &v, &e) < 0, "b as a number");
	is(e.msg, "GGUF: b is a string, not a whole number", "  says so");
	ok(qz_gguf_real(&g, "c", &d, &e) < 0, "c as a number");
	is(e.msg, "GGUF: c is an array of f32, not a number", "  says so");
	ok(qz_gguf_number(qz_gguf_find(&g, "c"), 2) == 2.5, "c[2] is 2.5");
	ok(qz_gguf_bool(&g, "a", &t, &e) < 0, "a as a bool");
	ok(qz_gguf_strings(&g, "c", &strings, &lens, &n, &e) < 0, "c as strings");
	is(e.msg, "GGUF: c is an array of f32, not an array of strings", "  says so");
	qz_gguf_free(&g);
	qz_buf_free(&b);
}

static void
test_real(const char *file, size_t n_tensors, const char *arch)
{
	const char *path = shared(file), *s = NULL;
	struct qz_gguf g = { 0 };
	struct qz_err e = { 0 };
	struct qz_in *in;
	const char *const *strings = NULL;
	const size_t *lens = NULL;
	uint64_t n = 0;
	int ret;

	if (!path) {
		skip("no %s beside the repository", file);
		return;
	}
	in = qz_in_open(path, &e);
	ret = qz_gguf_read(&g, in, &e);
	ok(ret == 0 && g.n_tensors == n_tensors, "reads %s: %zu tensors %s", file, g.n_tensors,
	    e.msg);
	qz_gguf_string(&g, "general.architecture", &s, &e);
	is(s, arch, "  its architecture");
	if (qz_gguf_strings(&g, "tokenizer.ggml.tokens", &strings, &lens, &n, &e) > 0)
		ok(n >= 512 && !strcmp(strings[1], "<s>") && lens[1] == 3, "  token 1 is <s>");
	qz_gguf_free(&g);
	qz_in_close(in);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		test_case(&cases[i]);
	for (size_t i = 0; i < sizeof patches / sizeof *patches; i++)
		test_patch(&patches[i]);
	test_large();
	test_cuts();
	test_values();
	test_real("golden/gguf/stories260k-f32.gguf", 47, "llama");
	test_real("golden/gguf/stories260k-q8_0.gguf", 47, "llama");
	test_real("golden/gguf/lora.gguf", 70, "llama");
	test_real("golden/gguf/mistral-v1-vocab.gguf", 0, "llama");
	test_real("golden/kquant/plain/Q4_K_M.gguf", 12, "llama");
	return done();
}

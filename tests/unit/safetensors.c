/* Headers of safetensors files, good and bad; what is written is read; bitsandbytes' state. */
#include "libcore/base/le.h"
#include "libcore/format/bnb.h"
#include "libcore/format/safetensors.h"
#include "tests/unit/tap.h"

#define T(name, type, shape, begin, end)                                                           \
	"\"" name "\":{\"dtype\":\"" type "\",\"shape\":[" shape "],\"data_offsets\":[" begin      \
	"," end "]}"

/* Header and bytes of data after it; NULL: it is good. */
static const struct {
	const char *header;
	size_t data;
	const char *message;
} cases[] = {
	{ "{" T("a", "F32", "2,3", "0", "24") "}", 24, NULL },
	{ "{" T("a", "F32", "2,3", "0", "24") "," T("b", "BF16", "5", "24", "34") "}  ", 34, NULL },
	{ "{" T("b", "BF16", "5", "24", "34") "," T("a", "F32", "2,3", "0", "24") "}", 34, NULL },
	{ "{\"__metadata__\":{\"format\":\"pt\"}," T("a", "U8", "0", "0", "0") "}", 0, NULL },
	{ "{" T("s", "F64", "", "0", "8") "}", 8, NULL },
	{ "{}", 0, NULL },
	{ "{}", 4, "safetensors: the tensors end at byte 0 of 4 bytes of data" },
	{ "{" T("a", "F32", "2,3", "0", "24") "}", 25,
	    "safetensors: the tensors end at byte 24 of 25 bytes of data" },
	{ "{" T("a", "F32", "2,3", "0", "24") "}", 23, "tensor a: its data end at byte 24 of 23" },
	{ "{" T("a", "F32", "2,3", "0", "24") "," T("b", "BF16", "5", "20", "30") "}", 30,
	    "tensor b: its data overlap those of a" },
	{ "{" T("a", "F32", "2,3", "0", "24") "," T("b", "BF16", "5", "26", "36") "}", 36,
	    "tensor b: its data begin at byte 26, 24 is expected" },
	{ "{" T("a", "F32", "2,3", "0", "20") "}", 20,
	    "tensor a: its data have 20 bytes, type and shape say 24" },
	{ "{" T("a", "F32", "4294967296,4294967296,4294967296", "0", "20") "}", 20,
	    "tensor a: the product of its dimensions is too large" },
	{ "{" T("a", "F32", "2", "8", "0") "}", 8,
	    "tensor a: its data end at 0, before they begin at 8" },
	{ "{" T("a", "F32", "2", "-1", "7") "}", 8,
	    "tensor a: data_offsets: is -1, not a whole number within 0..9007199254740992" },
	{ "{" T("a", "F32", "2.5", "0", "10") "}", 10,
	    "tensor a: shape: is 2.5, not a whole number within 0..9007199254740992" },
	{ "{" T("a", "F32", "1,1,1,1,1", "0", "4") "}", 4,
	    "tensor a: has 5 dimensions, at most 4" },
	{ "{" T("a", "F4", "2", "0", "1") "}", 1, "tensor a: its dtype 'F4' is not known" },
	{ "{" T("a", "U8", "1", "0", "1") "," T("a", "U8", "1", "1", "2") "}", 2,
	    "safetensors header: JSON: the key \"a\" is there twice" },
	{ "{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "tensor a: has no dtype" },
	{ "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "tensor a: has no shape" },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1,
	    "tensor a: has no data_offsets of two numbers" },
	{ "{\"a\":[]}", 0, "tensor a: has no dtype" },
	{ "[1]", 0, "safetensors: the header is an array, not an object" },
	{ "{\"a\":", 0, "safetensors header: JSON: not well-formed at byte 5 of 5" },
};

static void
test_case(const char *header, size_t n_data, const char *message)
{
	struct qz_st s = { 0 };
	struct qz_buf b = { 0 };
	struct qz_in *in;
	struct qz_err e = { 0 };
	uint8_t length[8];
	int ret;

	le64_put(length, strlen(header));
	qz_buf_add(&b, length, 8);
	qz_buf_str(&b, header);
	for (size_t i = 0; i < n_data; i++)
		qz_buf_chr(&b, 'x');
	in = qz_in_memory("x", b.data, b.n, &e);
	ret = qz_st_read(&s, in, &e);
	if (message) {
		ok(ret < 0 && e.code == QZ_EDATA, "refuses %.100s", header);
		is(e.msg, message, "  with its message");
	} else {
		ok(ret == 0 && qz_in_offset(in) == 8 + strlen(header) && s.nbytes == n_data,
		    "reads %.100s: %s", header, e.msg);
	}
	qz_st_free(&s);
	qz_in_close(in);
	qz_buf_free(&b);
}

static void
test_lengths(void)
{
	static const struct {
		uint64_t length;
		int64_t size;
		const char *message;
	} bad[] = {
		{ (uint64_t)1 << 63, 100,
		    "safetensors: a header of 9223372036854775808 bytes in a file of 100 bytes" },
		{ UINT64_MAX, 100,
		    "safetensors: a header of 18446744073709551615 bytes in a file of 100 bytes" },
		{ (uint64_t)1 << 63, -1,
		    "safetensors: a header of 9223372036854775808 bytes, at most 100000000" },
		{ 100000001, 200000000,
		    "safetensors: a header of 100000001 bytes, at most 100000000" },
		{ 93, 100, "safetensors: a header of 93 bytes in a file of 100 bytes" },
		{ 0, 100, "safetensors: a header of 0 bytes, at least 2" },
		{ 10, 5, "safetensors: a header of 10 bytes in a file of 5 bytes" },
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct qz_err e = { 0 };
		uint8_t first[8];
		uint64_t n;

		le64_put(first, bad[i].length);
		ok(qz_st_length(first, bad[i].size, &n, &e) < 0, "refuses a length of %llu",
		    (unsigned long long)bad[i].length);
		is(e.msg, bad[i].message, "  with its message");
	}
}

static void
test_many_values(void)
{
	size_t n = 3000001;
	char *text = malloc(n);
	struct qz_st s = { 0 };
	struct qz_err e = { 0 };

	memset(text, ',', n);
	text[0] = '[';
	ok(qz_st_parse(&s, text, n, -1, &e) < 0, "refuses three million values");
	is(e.msg, "safetensors: a header of 3000001 values, at most 2000000", "  with its message");
	free(text);
}

static void
test_put(void)
{
	struct qz_st_tensor t[] = {
		{ .name = "w \"1\"", .type = "F32", .n_dims = 2, .dims = { 3, 5 } },
		{ .name = "b", .type = "BF16", .n_dims = 1, .dims = { 7 } }
	};
	struct qz_buf b = { 0 };
	struct qz_st s = { 0 };
	struct qz_err e = { 0 };
	struct qz_in *in;

	ok(qz_st_put(&b, t, 2, &e) == 0 && b.n % 8 == 0, "writes a header of %zu bytes", b.n);
	qz_buf_room(&b, 60 + 14);
	in = qz_in_memory("x", b.data, b.n, &e);
	ok(qz_st_read(&s, in, &e) == 0 && s.n == 2, "reads it again: %s", e.msg);
	ok(qz_st_find(&s, "w \"1\"") && qz_st_find(&s, "w \"1\"")->end == 60 &&
		qz_st_find(&s, "b")->begin == 60 && qz_st_find(&s, "b")->dtype == QZ_BF16 &&
		!qz_st_find(&s, "c"),
	    "finds the tensors");
	qz_st_free(&s);
	qz_in_close(in);
	qz_buf_free(&b);
}

/* Text as bitsandbytes writes it; both ways, and what is refused. */
static void
test_bnb(void)
{
	static const char *const good[] = {
		"{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": \"bfloat16\", \"shape\": "
		"[4096, 14336], "
		"\"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": "
		"0.05324346199631691}",
		"{\"quant_type\": \"fp4\", \"blocksize\": 128, \"dtype\": \"float32\", \"shape\": "
		"[3, 5]}",
		"{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": \"float16\", \"shape\": "
		"[64, 64], "
		"\"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": 0.0}",
		"{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": \"float16\", \"shape\": "
		"[64, 64], "
		"\"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": "
		"9.999999747378752e-06}",
		"{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": \"float16\", \"shape\": "
		"[64, 64], "
		"\"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": "
		"1024.0}",
	};
	static const struct {
		const char *text, *message;
	} bad[] = {
		{ "{\"quant_type\":\"int4\"}", "quant_type 'int4' is neither nf4 nor fp4" },
		{ "{\"quant_type\":\"nf4\",\"dtype\":\"int8\"}", "dtype 'int8' is not known" },
		{ "{\"quant_type\":\"nf4\",\"dtype\":\"float16\",\"blocksize\":0}",
		    "blocksize: is 0, not a whole number within 1..1048576" },
		{ "{\"quant_type\":\"nf4\",\"dtype\":\"float16\",\"blocksize\":64,\"shape\":[]}",
		    "shape: is no list of 1 to 4 sizes" },
		{ "{\"quant_type\":\"nf4\",\"dtype\":\"float16\",\"blocksize\":64,\"shape\":[1],"
		  "\"nested_blocksize\":256}",
		    "nested_offset is no finite number" },
		{ "{\"quant_type\":\"nf4\",\"dtype\":\"float16\",\"blocksize\":64,\"shape\":[1],"
		  "\"nested_blocksize\":256,\"nested_dtype\":\"float16\"}",
		    "nested_dtype 'float16' is not float32" },
	};

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct qz_bnb_state s;
		struct qz_buf b = { 0 };
		struct qz_err e = { 0 };

		if (ok(qz_bnb_parse(&s, good[i], strlen(good[i]), &e) == 0, "state %zu: %s", i,
			e.msg))
			qz_bnb_put(&s, &b);
		is(b.data, good[i], "  and back");
		qz_buf_free(&b);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct qz_bnb_state s;
		struct qz_err e = { 0 };

		ok(qz_bnb_parse(&s, bad[i].text, strlen(bad[i].text), &e) < 0, "refuses %s",
		    bad[i].text);
		is(e.msg, bad[i].message, "  with its message");
	}
}

int
main(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		test_case(cases[i].header, cases[i].data, cases[i].message);
	test_lengths();
	test_many_values();
	test_put();
	test_bnb();
	return done();
}

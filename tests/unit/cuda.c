/* The CUDA plugin: refused with a sentence where there is no GPU.  Where there is one: all casts and the
 * decoders of all types give the CPU's bytes, adamw the bits of the CPU's, dropout the elements of its
 * rule; what is wrong with arguments is told; indices beyond 2^31 hold.  The other ops run on the GPU in
 * exact.c, nf4.c, ggml.c and ops_*.c.  Skips when the plugin is not built. */
#define _GNU_SOURCE
#include "kernels/dropout.h"
#include "tests/unit/tap.h"
#include "tests/unit/weights.h"

enum { SIZE = 1 << 20 };

static void
without_gpu(const struct qz_err *why)
{
	struct qz_err e = { 0 };
	struct qz_dev *d;

	ok(why->code == QZ_EDEVICE && strstr(why->msg, "this machine has 0 GPUs"), "no GPU: %s",
	    why->msg);
	d = qz_device_open("auto", 1, &e);
	ok(d && !strncmp(d->k->name, "cpu-", 4), "auto takes the CPU");
	qz_device_close(d);
}

/* All float16 and bfloat16, and floats of random bits. */
static void
casts(struct qz_dev *cpu, struct qz_dev *gpu)
{
	static const enum qz_dtype types[] = { QZ_F32, QZ_F16, QZ_BF16, QZ_F64 };
	uint8_t *x = need(SIZE * 8), *y = need(SIZE * 8), *z = need(SIZE * 8);

	for (int from = 0; from < 4; from++) {
		size_t size = qz_dtype(types[from])->bytes;
		int64_t n = size == 2 ? 65536 : SIZE - 1;

		for (uint64_t i = 0; i < (uint64_t)SIZE * 2; i++)
			if (size == 2)
				((uint16_t *)(void *)x)[i] = (uint16_t)i;
			else
				qz_philox(1, 2, i, (uint32_t *)(void *)(x + i % (SIZE / 2) * 16));
		for (int to = 0; to < 4; to++) {
			size_t bytes = (size_t)n * qz_dtype(types[to])->bytes;
			int same = 1;

			cpu->k->cast(cpu, y, types[to], x, types[from], n);
			for (mirror_skew = 0; mirror_skew <= 8; mirror_skew += 8) {
				memset(z, 0xff, bytes);
				gpu->k->cast(gpu, z, types[to], x, types[from], n);
				same = same && !memcmp(y, z, bytes);
			}
			ok(same, "cuda: cast %s to %s", qz_dtype(types[from])->name,
			    qz_dtype(types[to])->name);
		}
	}
	mirror_skew = 0;
	free(x);
	free(y);
	free(z);
}

static void
dequantize(struct qz_dev *cpu, struct qz_dev *gpu, enum qz_dtype type, int rows, int cols)
{
	static const enum qz_dtype to[] = { QZ_F32, QZ_F16, QZ_BF16, QZ_F64 };
	struct out o = { 0 };
	struct qz_mat w = weight(cpu, &o, type, rows, cols, 1);

	for (int t = 0; t < 4; t++) {
		size_t n = (size_t)((rows - 1) * cols) * qz_dtype(to[t])->bytes;
		uint8_t *y = keep(&o, need(n)), *z = poison(&o, (int64_t)n, 1);

		cpu->k->dequantize(cpu, y, to[t], &w, 1, rows - 1);
		gpu->k->dequantize(gpu, z, to[t], &w, 1, rows - 1);
		ok(!memcmp(y, z, n), "cuda: dequantize %s to %s, %d x %d", qz_dtype(type)->name,
		    qz_dtype(to[t])->name, rows, cols);
	}
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
}

/* A number as an activation. */
static uint16_t
bits(const struct qz_dev *gpu, float v)
{
	return gpu->k->act_type == QZ_F16 ? qz_f32_to_f16(v) : qz_f32_to_bf16(v);
}

/* The same operations in the same order. */
static void
adamw(struct qz_dev *cpu, struct qz_dev *gpu, int n)
{
	struct out o = { 0 };
	struct qz_adamw a = { 1e-2, 0.9, 0.999, 1e-8, 0.1, 0.5, 0, 0 };
	double sum = 7;
	float *g = floats(&o, 1, n, 1), *p[2], *m[2], *v[2];
	uint16_t *copy = poison(&o, n, 2), *want = need((size_t)n * 2);

	for (int i = 0; i < 2; i++) {
		struct qz_dev *d = i ? gpu : cpu;

		p[i] = floats(&o, 2, n, 1);
		m[i] = floats(&o, 3, n, 0);
		v[i] = floats(&o, 4, n, 0);
		for (a.step = 1; a.step < 4; a.step++)
			d->k->adamw(d, &a, &sum, p[i], m[i], v[i], g, i ? copy : NULL, n);
	}
	ok(!memcmp(p[0], p[1], (size_t)n * 4) && !memcmp(m[0], m[1], (size_t)n * 4) &&
		!memcmp(v[0], v[1], (size_t)n * 4),
	    "cuda: adamw has the CPU's bits, %d elements", n);
	cpu->k->cast(cpu, want, gpu->k->act_type, p[0], QZ_F32, n);
	ok(!memcmp(copy, want, (size_t)n * 2), "cuda: and its copy is p, rounded");
	free(want);
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
}

/* Element (t, c) of a mask with probability 1/4, by the rule of kernels/dropout.h. */
static int
kept(const struct qz_linear *l, int64_t t, int64_t c)
{
	uint64_t i = (uint64_t)((l->first + t) / 2 * l->w.cols + c);
	uint32_t w[4], draw;

	qz_philox_rounds(l->seed, l->stream, i / 8, QZ_DROPOUT_ROUNDS, w);
	draw = w[i % 8 / 2] >> i % 2 * 16 & 0xffff;
	return ((l->first + t) % 2 ? (draw & 0xff) << 8 | draw >> 8 : draw) >= 0x4000;
}

/* With A = 1 the adapter's s is the dropped input itself. */
static void
mask(struct qz_dev *gpu, int t)
{
	enum { C = 1027 };
	struct out o = { 0 };
	uint16_t *x = need((size_t)t * C * 2), *y = need((size_t)t * 2),
		 *s = poison(&o, (int64_t)t * C, 2);
	uint16_t *one = keep(&o, need(C * C * 2)), *b = reals(gpu, &o, 3, C, 1);
	float *w0 = floats(&o, 2, C, 1);
	struct qz_linear l = { .w = { .type = QZ_F32, .rows = 1, .cols = C, .data = w0 },
		.rank = C,
		.scale = 1,
		.dropout = 0.25f,
		.seed = UINT64_C(0x123456789abcdef0),
		.stream = UINT64_C(0xfedcba9876543210),
		.a = one,
		.b = b,
		.y = y,
		.s = s };
	int64_t right = 0;

	memset(one, 0, C * C * 2);
	for (int i = 0; i < C; i++)
		one[i * C + i] = bits(gpu, 1);
	for (int64_t i = 0; i < (int64_t)t * C; i++)
		x[i] = bits(gpu, 3); /* which makes 4 */
	gpu->k->linear(gpu, &l, 1, x, t);
	for (int64_t i = 0; i < (int64_t)t * C; i++)
		right += s[i] == (kept(&l, i / C, i % C) ? bits(gpu, 4) : 0);
	ok(right == (int64_t)t * C, "cuda: dropout keeps what its rule says: %lld of %d",
	    (long long)right, t * C);
	free(x);
	free(y);
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
}

/* The same of n projections at once, of ranks that have kernels of their own: their A's take a few columns of
 * the input each, in turn. */
static void
masks(struct qz_dev *gpu, int n, int rank, int first)
{
	enum { T = 203, C = 1096 };
	struct out o = { 0 };
	uint16_t *x = keep(&o, need(T * C * 2)), *b = reals(gpu, &o, 3, 64, 1);
	float *w0 = floats(&o, 2, C, 1);
	struct qz_linear l[3];
	int64_t right = 0, all = 0;

	for (int i = 0; i < T * C; i++)
		x[i] = bits(gpu, 3);
	for (int p = 0; p < n; p++)
		l[p] = (struct qz_linear){
			.w = { .type = QZ_F32, .rows = 1, .cols = C, .data = w0 },
			.rank = rank,
			.scale = 1,
			.dropout = 0.25f,
			.seed = UINT64_C(0x123456789abcdef0),
			.stream = UINT64_C(0xfedcba9876543210) + (uint64_t)p,
			.first = first,
			.a = keep(&o, need((size_t)rank * C * 2)),
			.b = b,
			.y = keep(&o, need(T * 2)),
			.s = keep(&o, need((size_t)rank * T * 2))
		};
	for (int at = 0; at < C; at += n * rank) {
		for (int i = 0; i < n * rank; i++) {
			uint16_t *a = (uint16_t *)l[i / rank].a + i % rank * C;

			memset(a, 0, C * 2);
			if (at + i < C)
				a[at + i] = bits(gpu, 1);
		}
		gpu->k->linear(gpu, l, n, x, T);
		for (int i = 0; i < n * rank && at + i < C; i++)
			for (int t = 0; t < T; t++, all++)
				right += ((uint16_t *)l[i / rank].s)[t * rank + i % rank] ==
					 (kept(&l[i / rank], t, at + i) ? bits(gpu, 4) : 0);
	}
	ok(right == all && all == T * C,
	    "cuda: %d masks, rank %d, from token %d: %lld of %lld elements", n, rank, first,
	    (long long)right, (long long)all);
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
}

static void
told(struct qz_dev *gpu, const char *what, enum qz_code code, const char *part)
{
	struct qz_err e = { 0 };
	int ret = gpu->k->sync(gpu, &e);

	ok(ret == -1 && e.code == code && strstr(e.msg, part), "cuda: %s: %s", what, e.msg);
	ok(gpu->k->sync(gpu, &e) == 0, "cuda: told once");
}

static void
refusals(struct qz_dev *gpu)
{
	const struct qz_backend *k = gpu->k;
	uint16_t x[512] = { 0 }, y[512];
	float w[64] = { 0 }, logits[64] = { 0 }, lse[8];
	int32_t starts[2] = { 0, 1 };
	uint32_t ids[2] = { 1, 3 };
	double loss[2];
	struct qz_mat table = { .type = QZ_F32, .rows = 3, .cols = 16, .data = w };
	struct qz_linear l = { .w = { .type = QZ_F32, .rows = 1, .cols = 16, .data = w }, .y = y };
	struct qz_attn a = { .n_docs = 1,
		.max_q = 1,
		.max_k = 1,
		.q_start = starts,
		.k_start = starts,
		.heads = 1,
		.kv_heads = 1,
		.head_dim = 64,
		.q = x,
		.k = x,
		.v = x,
		.o = y,
		.lse = lse,
		.d_o = x,
		.dq = x + 64,
		.dk = x + 128,
		.dv = x + 192 };

	k->set_workspace(gpu, NULL, 0);
	k->embed(gpu, y, &table, ids, 2);
	told(gpu, "an id beyond the table", QZ_EDATA, "token id 3, the table has 3 rows");
	k->cross_entropy(gpu, loss, logits, ids, 2, 3, 1);
	told(gpu, "a target beyond the logits", QZ_EDATA, "target 3, there are 3 logits");
	k->linear(gpu, &l, 1, x, 1);
	told(gpu, "no workspace", QZ_EIO, "linear 1 x 16 x 1: needs");
	k->attention_bwd(gpu, &a);
	told(gpu, "no workspace", QZ_EIO, "attention_bwd");
	l.w.type = QZ_U64;
	k->linear(gpu, &l, 1, x, 1);
	told(gpu, "no weight type", QZ_EDATA, "cannot read type u64");
	l.w.type = QZ_Q8_0;
	k->linear(gpu, &l, 1, x, 1);
	told(gpu, "rows that are no whole blocks", QZ_EDATA, "cannot read type q8_0 in rows of 16");
	k->quantize4(gpu, QZ_F32, (uint8_t *)y, lse, w, QZ_F32, 8, 64);
	told(gpu, "4-bit codes of a type without", QZ_EUSAGE, "nf4 or fp4");
}

/* n NF4 codes, all of them 0 and in blocks of 0 but the last; y is room for their values. */
static void
far_codes(struct qz_dev *d, void *y, int64_t n)
{
	const struct qz_backend *k = d->k;
	const float map[16] = { [0] = 1, [15] = 3 }, two = 2;
	struct qz_err e = { 0 };
	uint16_t got[3] = { 0 };
	uint8_t last = 0x0f;
	char *codes = k->alloc(d, (size_t)n / 2, &e), *absmax = k->alloc(d, (size_t)n / 64 * 4, &e);
	float *on_device = k->alloc(d, sizeof map, &e);
	struct qz_mat w = { .type = QZ_NF4,
		.rows = n / 1024,
		.cols = 1024,
		.block = 64,
		.data = codes,
		.absmax = absmax,
		.map = on_device };

	k->fill(d, codes, 0, (size_t)n / 2);
	k->fill(d, absmax, 0, (size_t)n / 64 * 4);
	k->copy_in(d, codes + n / 2 - 1, &last, 1);
	k->copy_in(d, absmax + n / 64 * 4 - 4, &two, 4);
	k->copy_in(d, on_device, map, sizeof map);
	k->dequantize(d, y, QZ_BF16, &w, 0, w.rows);
	k->copy_out(d, got, (char *)y + n - 2, 2);
	k->copy_out(d, got + 1, (char *)y + 2 * n - 4, 4);
	ok(k->sync(d, &e) == 0 && got[0] == 0 && got[1] == 0x4000 && got[2] == 0x40c0,
	    "cuda: dequantize %lld elements: %x %x %x %s", (long long)n, got[0], got[1], got[2],
	    e.msg);
	k->free(d, codes);
	k->free(d, absmax);
	k->free(d, on_device);
}

/* 2^31 elements and some: the first and the last ones. */
static void
far_indices(struct qz_dev *d)
{
	const struct qz_backend *k = d->k;
	const int64_t n = (INT64_C(1) << 31) + 1003;
	struct qz_err e = { 0 };
	uint16_t end[3] = { bits(d, 2), bits(d, 3), bits(d, 4) }, got[6] = { 0 };
	char *x, *y;
	int64_t bad = 0;

	if (k->memory(d) < (uint64_t)n * 5) {
		skip("cuda: not the memory for %lld elements", (long long)n);
		return;
	}
	x = k->alloc(d, (size_t)n * 2, &e);
	y = k->alloc(d, (size_t)n * 2, &e);
	k->fill(d, x, 0, (size_t)n * 2);
	k->copy_in(d, x, end, sizeof end);
	k->copy_in(d, x + (n - 3) * 2, end, sizeof end);
	k->cast(d, y, QZ_F16, x, k->act_type, n);
	k->copy_out(d, got, y, 6);
	k->copy_out(d, got + 3, y + (n - 3) * 2, 6);
	ok(k->sync(d, &e) == 0 && got[0] == 0x4000 && got[2] == 0x4400 && got[3] == 0x4000 &&
		got[4] == 0x4200 && got[5] == 0x4400,
	    "cuda: cast of %lld elements: %s", (long long)n, e.msg);
	end[0] = bits(d, INFINITY);
	k->copy_in(d, x + (n - 1) * 2, end, 2);
	k->find_nonfinite(d, &bad, x, k->act_type, n);
	ok(k->sync(d, &e) == 0 && bad == n - 1, "cuda: the last one is infinite: %lld",
	    (long long)bad);
	k->free(d, x);
	far_codes(d, y, n / 1024 * 1024);
	k->free(d, y);
}

/* What the tests want at most. */
static const struct qz_need most = { .tokens = 2100,
	.weight = 1 << 20,
	.width = 1027,
	.rank_sum = 1027,
	.dropout = true,
	.heads = 1 };

static void
with_gpu(struct qz_dev *gpu)
{
	static const enum qz_dtype types[] = { QZ_F32, QZ_F16, QZ_BF16, QZ_NF4, QZ_FP4, QZ_INT8,
		QZ_Q8_0 };
	struct qz_dev *cpu = open_variant("base", 2);
	struct qz_err e = { 0 };
	size_t n = gpu->k->workspace(gpu, &most);
	void *ws = gpu->k->alloc(gpu, n, &e);
	char text[512];

	gpu->k->describe(gpu, text, sizeof text);
	ok(!strncmp(text, "cuda", 4) && strstr(text, "cuBLASLt 1") && gpu->k->complete, "%s", text);
	casts(cpu, gpu);
	for (int i = 0; i < 7; i++) {
		dequantize(cpu, gpu, types[i], 255, 256);
		if (types[i] != QZ_Q8_0)
			dequantize(cpu, gpu, types[i], 65, 63);
	}
	adamw(cpu, gpu, 1);
	adamw(cpu, gpu, 100003);
	gpu->k->set_workspace(gpu, ws, n);
	mask(gpu, 5);
	mask(gpu, 2050); /* more than one piece of tokens */
	masks(gpu, 1, 8, 6);
	masks(gpu, 2, 16, 0);
	masks(gpu, 3, 16, 6);
	masks(gpu, 3, 16, 5);
	masks(gpu, 1, 24, 22);
	masks(gpu, 1, 64, 6);
	masks(gpu, 2, 32, 6);
	refusals(gpu);
	gpu->k->free(gpu, ws);
	far_indices(mirror.gpu);
	ok(gpu->k->sync(gpu, &e) == 0, "cuda: no failure is left: %s", e.msg);
	ok(!gpu->k->alloc(gpu, SIZE_MAX / 2, &e) && e.code == QZ_EIO, "too much memory: %s", e.msg);
	qz_device_close(cpu);
}

/* All values of an op's n results are +infinity: what float16 does not hold is not cut to what it does. */
static void
infinite(const char *what, const uint16_t *y, int64_t n)
{
	int64_t right = 0;

	for (int64_t i = 0; i < n; i++)
		right += y[i] == 0x7c00;
	ok(right == n, "cuda-fp16: %s: %lld of %lld are infinite", what, (long long)right,
	    (long long)n);
}

/* Results of 90000, and 65504 + 16 which rounds to it. */
static void
overflow(struct qz_dev *gpu, int rows, int cols)
{
	struct out o = { 0 };
	int64_t n = (int64_t)rows * cols;
	uint16_t *x = keep(&o, need((size_t)n * 2)), *y = poison(&o, n, 2);
	float *w = keep(&o, need((size_t)n * 4)), *rstd = keep(&o, need((size_t)rows * 4));
	struct qz_linear l = { .w = { .type = QZ_F32, .rows = rows, .cols = cols, .data = w },
		.y = y };

	for (int64_t i = 0; i < n; i++) {
		x[i] = bits(gpu, 300);
		w[i] = 300.0f / (float)cols;
	}
	gpu->k->swiglu(gpu, y, x, x, n);
	infinite("swiglu", y, n);
	gpu->k->linear(gpu, &l, 1, x, rows); /* the first rows of y */
	infinite("linear", y, (int64_t)rows * rows);
	for (int i = 0; i < cols; i++)
		w[i] = 90000;
	gpu->k->rmsnorm(gpu, y, rstd, x, w, rows, cols, 1e-5f);
	infinite("rmsnorm", y, n);
	for (int i = 0; i < o.n_owned; i++)
		free(o.owned[i]);
}

static void
in_float16(void)
{
	struct qz_err e = { 0 };
	struct qz_dev *gpu = mirror_open("cuda-fp16", &e), *cpu = open_variant("base", 2);
	char text[512];
	size_t n;
	void *ws;

	if (!gpu) {
		skip("cuda-fp16: %s", e.msg);
		qz_device_close(cpu);
		return;
	}
	gpu->k->describe(gpu, text, sizeof text);
	ok(!strncmp(text, "cuda-fp16: ", 11) && gpu->k->act_type == QZ_F16, "%s", text);
	n = gpu->k->workspace(gpu, &most);
	ws = gpu->k->alloc(gpu, n, &e);
	gpu->k->set_workspace(gpu, ws, n);
	casts(cpu, gpu);
	dequantize(cpu, gpu, QZ_NF4, 255, 256);
	adamw(cpu, gpu, 100003);
	mask(gpu, 2050);
	masks(gpu, 1, 8, 6);
	masks(gpu, 3, 16, 6);
	masks(gpu, 3, 16, 5);
	masks(gpu, 1, 64, 22);
	overflow(gpu, 64, 512);
	overflow(gpu, 33, 65);
	gpu->k->free(gpu, ws);
	ok(gpu->k->sync(gpu, &e) == 0, "cuda-fp16: no failure is left: %s", e.msg);
	qz_device_close(gpu);
	qz_device_close(cpu);
}

int
main(void)
{
	struct qz_err e = { 0 };
	struct qz_dev *gpu = mirror_open("cuda", &e);

	if (gpu)
		with_gpu(gpu);
	else if (strstr(e.msg, "there is no plugin"))
		skip("the plugin is not built");
	else
		without_gpu(&e);
	qz_device_close(gpu);
	in_float16();
	return done();
}

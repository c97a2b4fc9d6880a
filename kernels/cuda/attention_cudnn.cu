/* attention by cuDNN, where it is there, faster than our own kernels, and right.
 *
 * A plan belongs to a shape and takes most of a second to make: they are kept.  Documents of different lengths
 * share plans: their number and the longest length are rounded up to powers of two, and the documents that are
 * not there are empty ones behind the last row.  A stream that is being captured gets no new plan.
 * To sum dq in order cuDNN keeps the gradients of all scores of its heads: heads go in as many parts as it
 * takes for them to be in the workspace, so that shapes and the workspace alone decide how.
 * QZ_ATTENTION=own leaves cuDNN out, and =plain the kernels for one kind of GPU too; =cudnn takes it wherever it
 * can, and then what fails is an error. */
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/attention_90.cuh"
#include "kernels/cuda/cudnn.h"

enum { ENTRIES = 64, DOCS_MAX = 1024, LEN_MIN = 128, LEN_MAX = 1 << 20, SLACK = 2 << 20 };

/* GPUs from .. to; ragged: documents of any lengths; in_order: dq in order too.  cuDNN's sums for keys take
 * `copies` times as much as q when dq is in any order. */
static const struct rule {
	int from, to, version;
	bool ragged, in_order;
	int copies;
} rules[] = {
	{ 80, 89, 91600, false, true, 4 },
	{ 90, 103, 91600, false, true, 2 },
	{ 90, 90, 91600, true, true, 0 },
	{ 100, 103, 91600, true, false, 0 },
	{ 120, 121, 91600, false, true, 4 },
};

struct qz_cuda_sdpas {
	const struct qz_cudnn *lib;
	void *handle;
	int n; /* entries that were ever made */
	struct qz_sdpa *entry[ENTRIES];
};

enum qz_cuda_wish
qz_cuda_attention_wish(void)
{
	static const struct {
		const char *name;
		enum qz_cuda_wish wish;
	} all[] = { { "own", QZ_WISH_OWN }, { "plain", QZ_WISH_PLAIN }, { "cudnn", QZ_WISH_CUDNN } };
	const char *s = getenv("QZ_ATTENTION");

	for (size_t i = 0; s && i < sizeof all / sizeof *all; i++)
		if (!strcmp(s, all[i].name))
			return all[i].wish;
	return QZ_WISH_FASTEST;
}

static const struct rule *
find_rule(struct qz_dev *d, bool ragged, bool in_order)
{
	int cc = cuda_dev(d)->cc;

	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (cc >= rules[i].from && cc <= rules[i].to && ragged == rules[i].ragged &&
		    (rules[i].in_order || !in_order))
			return &rules[i];
	return nullptr;
}

/* The library, when it may be taken on this GPU for such heads; of bfloat16 alone. */
static const struct qz_cudnn *
usable(struct qz_dev *d, int dim)
{
	enum qz_cuda_wish wish = qz_cuda_attention_wish();
	const struct qz_cudnn *lib;

	if (d->k->act_type != QZ_BF16 || wish == QZ_WISH_OWN || wish == QZ_WISH_PLAIN || !find_rule(d, false, false) ||
	    dim % 16 != 0 || dim > 128)
		return nullptr;
	lib = qz_cudnn_load();
	return lib->so && lib->version >= find_rule(d, false, false)->version ? lib : nullptr;
}

static int32_t
power(int32_t n)
{
	int32_t p = 1;

	while (p < n)
		p *= 2;
	return p;
}

static bool
same_lengths(const struct qz_attn *a)
{
	for (int i = 0; i < a->n_docs; i++)
		if (a->q_host[i + 1] - a->q_host[i] != a->max_q)
			return false;
	return true;
}

/* Documents up to len, all of them that long when `same`, in a shape that holds them: one of few. */
static bool
set_extent(struct qz_dev *d, struct qz_sdpa_shape *s, int64_t docs, int64_t len, bool same)
{
	bool ragged = find_rule(d, true, s->back && !s->any_order) != nullptr;
	bool dense = same && (len % LEN_MIN == 0 || (!ragged && len >= LEN_MIN));

	if (docs < 1 || docs > DOCS_MAX || len < 1 || len > LEN_MAX || (!dense && !ragged))
		return false;
	s->ragged = !dense;
	s->docs = dense ? static_cast<int32_t>(docs) : power(static_cast<int32_t>(docs));
	s->len = static_cast<int32_t>(dense ? len : power(len < LEN_MIN ? LEN_MIN : static_cast<int32_t>(len)));
	return true;
}

/* Can the heads go in so many parts?  Those of lse must begin on 16 bytes. */
static bool
divides(int parts, int heads, int kv_heads)
{
	return kv_heads % parts == 0 && (parts == 1 || heads / parts % 4 == 0);
}

/* The shape that takes this call, all heads of it. */
static bool
find_shape(struct qz_dev *d, const struct qz_attn *a, bool back, struct qz_sdpa_shape *s)
{
	if ((back && !a->any_order && a->parts < 1) || !usable(d, a->head_dim) || !a->q_host || !a->k_host ||
	    memcmp(a->q_host, a->k_host, (static_cast<size_t>(a->n_docs) + 1) * sizeof *a->q_host) != 0)
		return false;
	if (!aligned(a->q, 16) || !aligned(a->k, 16) || !aligned(a->v, 16) || !aligned(a->o, 16) ||
	    !aligned(a->d_o, 16) || !aligned(a->dq, 16) || !aligned(a->dk, 16) || !aligned(a->dv, 16) ||
	    !aligned(a->lse, 16))
		return false;
	memset(s, 0, sizeof *s);
	s->back = back;
	s->any_order = back && a->any_order;
	s->heads = s->row_heads = a->heads;
	s->kv_heads = s->row_kv = a->kv_heads;
	s->dim = a->head_dim;
	s->window = a->window >= a->max_k ? 0 : a->window;
	return set_extent(d, s, a->n_docs, a->max_q, same_lengths(a));
}

static bool
dnn_rc(struct qz_dev *d, const char *what, int rc)
{
	if (rc != 0)
		qz_cuda_keep(d, QZ_EDEVICE, "cuda:%d: %s: %s: status %d", cuda_dev(d)->index, cuda_dev(d)->op,
		    what, rc);
	return rc == 0;
}

static struct qz_cuda_sdpas *
begin(struct qz_dev *d)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	struct qz_cuda_sdpas *s = c->sdpas;

	if (s)
		return s;
	s = static_cast<struct qz_cuda_sdpas *>(calloc(1, sizeof *s));
	if (!s) {
		qz_cuda_keep(d, QZ_EIO, "out of memory: cannot allocate %zu bytes", sizeof *s);
		return nullptr;
	}
	s->lib = qz_cudnn_load();
	if (!dnn_rc(d, "cudnnCreate", s->lib->create(&s->handle)) ||
	    !dnn_rc(d, "cudnnSetStream", s->lib->set_stream(s->handle, c->stream))) {
		free(s);
		return nullptr;
	}
	return c->sdpas = s;
}

void
qz_cuda_sdpa_end(struct qz_dev *d)
{
	struct qz_cuda_sdpas *s = cuda_dev(d)->sdpas;

	if (!s)
		return;
	for (int i = 0; i < ENTRIES; i++) {
		if (s->entry[i])
			qz_sdpa_free(s->lib, s->entry[i]);
		free(s->entry[i]);
	}
	s->lib->destroy(s->handle);
	free(s);
	cuda_dev(d)->sdpas = nullptr;
}

static bool
capturing(struct qz_dev *d)
{
	enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;

	qz_cuda_rc(d, "cudaStreamIsCapturing", cudaStreamIsCapturing(cuda_dev(d)->stream, &status));
	return status != cudaStreamCaptureStatusNone;
}

/* The plan of a shape, made when it is new; NULL and a failure.  The oldest makes room. */
static struct qz_sdpa *
find_plan(struct qz_dev *d, const struct qz_sdpa_shape *shape)
{
	struct qz_cuda_sdpas *s = begin(d);
	struct qz_sdpa *p;
	int slot;

	if (!s)
		return nullptr;
	for (int i = 0; i < ENTRIES && i < s->n; i++)
		if (!memcmp(&s->entry[i]->shape, shape, sizeof *shape))
			return s->entry[i];
	if (capturing(d)) {
		qz_cuda_keep(d, QZ_EDEVICE, "%s: a captured stream needs a plan that was made before: %d documents of up to %d",
		    cuda_dev(d)->op, shape->docs, shape->len);
		return nullptr;
	}
	slot = s->n % ENTRIES;
	p = s->entry[slot];
	if (p)
		qz_sdpa_free(s->lib, p);
	else
		p = static_cast<struct qz_sdpa *>(calloc(1, sizeof *p));
	if (!p) {
		qz_cuda_keep(d, QZ_EIO, "out of memory: cannot allocate %zu bytes", sizeof *p);
		return nullptr;
	}
	s->entry[slot] = p;
	s->n++;
	qz_sdpa_build(s->lib, s->handle, nullptr, shape, p);
	return p;
}

/* Where the documents begin, in elements of q, of k and of lse, and their lengths. */
static __global__ void
lay_out(struct qz_attn a, int docs, int64_t *at_q, int64_t *at_k, int64_t *at_lse, int32_t *length)
{
	for (int i = threadIdx.x; i <= docs; i += blockDim.x) {
		int64_t row = a.q_start[i < a.n_docs ? i : a.n_docs];

		at_q[i] = row * a.heads * a.head_dim;
		at_k[i] = row * a.kv_heads * a.head_dim;
		at_lse[i] = row * a.heads;
		if (i < docs)
			length[i] = i < a.n_docs ? a.q_start[i + 1] - static_cast<int32_t>(row) : 0;
	}
}

/* Pieces of the workspace for what the graph needs besides the op's own arrays, and cuDNN's own behind them;
 * returns how much, and with base NULL does nothing else. */
static size_t
carve(const struct qz_sdpa *p, int64_t rows, char *base, void *at[QZ_SDPA_IDS])
{
	static const enum qz_sdpa_id scratch[] = { QZ_SDPA_DOT, QZ_SDPA_DQ_SUM, QZ_SDPA_DK_ALL, QZ_SDPA_DV_ALL };
	int64_t docs = p->shape.docs;
	size_t n = 0;

	for (int id = QZ_SDPA_AT_Q; id <= QZ_SDPA_LENGTH; id++) {
		if (base)
			at[id] = base + n;
		n += p->shape.ragged ? qz_cuda_round((docs + 1) * 8) : 0;
	}
	for (size_t i = 0; i < sizeof scratch / sizeof *scratch; i++) {
		if (base)
			at[scratch[i]] = base + n;
		n += qz_cuda_round(static_cast<int64_t>(qz_sdpa_scratch(&p->shape, scratch[i], rows)));
	}
	if (base)
		at[0] = base + n;
	return n + qz_cuda_round(p->workspace);
}

/* The gradients of the scores of a shape's heads, which cuDNN keeps to add up in order. */
static int64_t
scores(const struct qz_sdpa_shape *s)
{
	int64_t len = (s->len + LEN_MIN - 1) / LEN_MIN * LEN_MIN;

	return 2 * len * len * s->docs * s->heads;
}

/* What adding up in order takes, with 1 / parts of the heads at a time. */
static int64_t
in_order_need(struct qz_dev *d, const struct qz_need *need, int parts)
{
	struct qz_sdpa_shape s = {};
	int64_t rows = need->tokens * need->heads, sums = need->heads > need->kv_heads ? 2 * rows * need->head_dim * 2 : 0;

	s.back = true;
	s.heads = need->heads / parts;
	if (!set_extent(d, &s, need->docs, need->max_len, need->docs * need->max_len == need->tokens))
		return 0;
	return scores(&s) + rows * 4 + (s.ragged ? sums : sums / parts);
}

size_t
qz_cuda_sdpa_need(struct qz_dev *d, const struct qz_need *need)
{
	int64_t n = need->tokens * need->heads, docs = need->tokens < DOCS_MAX ? need->tokens : DOCS_MAX;
	int64_t copies, all = 4 * static_cast<int64_t>(qz_cuda_round((power(static_cast<int32_t>(docs)) + 1) * 8)) + SLACK;

	if (!usable(d, need->head_dim))
		return 0;
	if (need->any_order) {
		copies = find_rule(d, false, false)->copies;
		if (find_rule(d, true, false) && copies < 2)
			copies = 2;
		all += n * 4 + n * need->head_dim * (4 + 2 * copies);
	} else if (need->attention_parts > 0 && qz_cuda_attention_parts(d, need, need->attention_parts)) {
		all += in_order_need(d, need, need->attention_parts);
	}
	return qz_cuda_round(all);
}

bool
qz_cuda_attention_parts(struct qz_dev *d, const struct qz_need *need, int parts)
{
	/* Hopper's own kernels are faster in order, and want no such memory. */
	if (qz_cuda_attention_wish() != QZ_WISH_CUDNN && qz_cuda_back_90_takes(d, need->head_dim))
		return false;
	return parts >= 1 && parts <= QZ_PARTS_MAX && power(parts) == parts && usable(d, need->head_dim) &&
	    divides(parts, need->heads, need->kv_heads) && in_order_need(d, need, parts) > 0;
}

/* The plan whose memory is in the workspace, of the fewest parts of the heads, and what it needs; NULL: none,
 * and *p is the last that was tried, if any; or a failure, which is kept. */
static struct qz_sdpa *
choose(struct qz_dev *d, const struct qz_attn *a, struct qz_sdpa_shape shape, struct qz_sdpa **p, size_t *need)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	size_t there = c->ws ? c->ws_n : 0;
	bool in_order = shape.back && !shape.any_order;
	void *at[QZ_SDPA_IDS] = {};

	for (int parts = 1; parts <= (in_order ? QZ_PARTS_MAX : 1); parts *= 2) {
		if (!divides(parts, a->heads, a->kv_heads))
			continue;
		shape.heads = a->heads / parts;
		shape.kv_heads = a->kv_heads / parts;
		*need = in_order ? static_cast<size_t>(scores(&shape)) : 0;
		if (*need > there)
			continue; /* spares making a plan */
		*p = find_plan(d, &shape);
		if (!*p)
			return nullptr;
		*need = (*p)->plan ? carve(*p, a->q_host[a->n_docs], nullptr, at) : 0;
		if ((*p)->plan && *need <= there && there > 0)
			return *p;
	}
	return nullptr;
}

/* Part i of the heads. */
static void
set_pointers(const struct qz_attn *a, const struct qz_sdpa_shape *s, int i, void *at[QZ_SDPA_IDS])
{
	int64_t q = 2ll * i * s->heads * s->dim, k = 2ll * i * s->kv_heads * s->dim;
	const struct {
		enum qz_sdpa_id id;
		const void *p;
		int64_t by;
	} all[] = { { QZ_SDPA_Q, a->q, q }, { QZ_SDPA_K, a->k, k }, { QZ_SDPA_V, a->v, k }, { QZ_SDPA_O, a->o, q },
		{ QZ_SDPA_LSE, a->lse, 4ll * i * s->heads }, { QZ_SDPA_DO, a->d_o, q }, { QZ_SDPA_DQ, a->dq, q },
		{ QZ_SDPA_DK, a->dk, k }, { QZ_SDPA_DV, a->dv, k } };

	for (size_t j = 0; j < sizeof all / sizeof *all; j++)
		at[all[j].id] = all[j].p ? static_cast<char *>(const_cast<void *>(all[j].p)) + all[j].by : nullptr;
}

bool
qz_cuda_sdpa(struct qz_dev *d, const struct qz_attn *a, bool back)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	float scale = a->scale, lowest = -INFINITY, one = 1, window = static_cast<float>(a->window);
	void *at[QZ_SDPA_IDS] = {};
	struct qz_sdpa_shape shape;
	struct qz_sdpa *last = nullptr, *p;
	size_t need = 0;

	if (c->err.code != QZ_OK || !find_shape(d, a, back, &shape))
		return false;
	p = choose(d, a, shape, &last, &need);
	if (!p && c->err.code == QZ_OK && qz_cuda_attention_wish() == QZ_WISH_CUDNN) {
		if (last && !last->plan)
			qz_cuda_keep(d, QZ_EDEVICE, "%s: cuDNN: %s", c->op, last->why);
		else
			qz_cuda_keep(d, QZ_EIO, "%s: cuDNN needs %zu bytes of workspace, there are %zu", c->op, need,
			    c->ws ? c->ws_n : 0);
	}
	if (!p)
		return c->err.code != QZ_OK;
	carve(p, a->q_host[a->n_docs], c->ws, at);
	at[QZ_SDPA_SCALE] = &scale;
	at[QZ_SDPA_LOWEST] = &lowest;
	at[QZ_SDPA_ONE] = &one;
	at[QZ_SDPA_WINDOW] = &window;
	qz_cuda_part(d, "cuDNN");
	if (shape.ragged)
		launch(d, lay_out, dim3(1), 256, 0, *a, shape.docs, static_cast<int64_t *>(at[QZ_SDPA_AT_Q]),
		    static_cast<int64_t *>(at[QZ_SDPA_AT_K]), static_cast<int64_t *>(at[QZ_SDPA_AT_LSE]),
		    static_cast<int32_t *>(at[QZ_SDPA_LENGTH]));
	for (int i = 0; i < a->heads / p->shape.heads; i++) {
		set_pointers(a, &p->shape, i, at);
		if (qz_sdpa_run(c->sdpas->lib, c->sdpas->handle, p, at, at[0]))
			continue;
		qz_cuda_keep(d, QZ_EDEVICE, "%s: cuDNN: %s", c->op, p->why);
		break;
	}
	return true;
}

void
qz_cuda_sdpa_name(char *text, size_t n)
{
	const struct qz_cudnn *lib = qz_cudnn_load();

	if (lib->so)
		snprintf(text, n, "cuDNN %d.%d.%d", lib->version / 10000, lib->version / 100 % 100,
		    lib->version % 100);
	else
		snprintf(text, n, "no cuDNN");
}

void
qz_cuda_attention_name(struct qz_dev *d, const struct qz_need *need, char *text, size_t n)
{
	char dnn[128];
	bool other = usable(d, need->head_dim) != nullptr;

	qz_cuda_sdpa_name(dnn, sizeof dnn);
	if (other && need->any_order)
		snprintf(text, n, "%s's, forward and backward (dq in any order)", dnn);
	else if (need->attention_parts > 0 && qz_cuda_attention_parts(d, need, need->attention_parts))
		snprintf(text, n, "%s's, forward and backward (heads in %d parts)", dnn, need->attention_parts);
	else
		snprintf(text, n, "%s forward, qz's backward", other ? dnn : "qz's");
}

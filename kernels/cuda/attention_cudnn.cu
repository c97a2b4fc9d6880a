/* attention by cuDNN, where it is there, faster than our own kernels, and right.
 *
 * A plan belongs to a shape and takes most of a second to make: they are kept.  Documents of different lengths
 * share plans: their number and the longest length are rounded up to powers of two, and the documents that are
 * not there are empty ones behind the last row.  A stream that is being captured gets no new plan.
 * QZ_ATTENTION=own leaves cuDNN out; =cudnn takes it wherever it can, and then what fails is an error. */
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/cudnn.h"

enum { ENTRIES = 64, DOCS_MAX = 1024, LEN_MIN = 128, SLACK = 2 << 20 };

/* GPUs from .. to; ragged: documents of any lengths.  cuDNN's sums for keys take `copies` times as much as q. */
static const struct rule {
	int from, to, version;
	bool ragged;
	int copies;
} rules[] = {
	{ 80, 89, 91600, false, 4 },
	{ 90, 103, 91600, false, 2 },
	{ 90, 103, 91600, true, 0 },
	{ 120, 121, 91600, false, 4 },
};

enum wish { AUTO, OWN, ALWAYS };

struct qz_cuda_sdpas {
	const struct qz_cudnn *lib;
	void *handle;
	int n; /* entries that were ever made */
	struct qz_sdpa *entry[ENTRIES];
};

static enum wish
read_wish(void)
{
	const char *s = getenv("QZ_ATTENTION");

	return !s || !*s ? AUTO : !strcmp(s, "own") ? OWN : !strcmp(s, "cudnn") ? ALWAYS : AUTO;
}

static const struct rule *
find_rule(struct qz_dev *d, bool ragged)
{
	int cc = cuda_dev(d)->cc;

	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (cc >= rules[i].from && cc <= rules[i].to && ragged == rules[i].ragged)
			return &rules[i];
	return nullptr;
}

/* The library, when it may be taken on this GPU for such heads. */
static const struct qz_cudnn *
usable(struct qz_dev *d, int dim)
{
	const struct qz_cudnn *lib;

	if (read_wish() == OWN || !find_rule(d, false) || dim % 16 != 0 || dim > 128)
		return nullptr;
	lib = qz_cudnn_load();
	return lib->so && lib->version >= find_rule(d, false)->version ? lib : nullptr;
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

/* The shape that takes this call. */
static bool
find_shape(struct qz_dev *d, const struct qz_attn *a, bool back, struct qz_sdpa_shape *s)
{
	bool same, dense;

	if ((back && !a->any_order) || !usable(d, a->head_dim) || !a->q_host || !a->k_host ||
	    a->n_docs > DOCS_MAX ||
	    memcmp(a->q_host, a->k_host, (static_cast<size_t>(a->n_docs) + 1) * sizeof *a->q_host) != 0)
		return false;
	if (!aligned(a->q, 16) || !aligned(a->k, 16) || !aligned(a->v, 16) || !aligned(a->o, 16) ||
	    !aligned(a->d_o, 16) || !aligned(a->dq, 16) || !aligned(a->dk, 16) || !aligned(a->dv, 16) ||
	    !aligned(a->lse, 16))
		return false;
	same = same_lengths(a);
	dense = same && (a->max_q % LEN_MIN == 0 || (!find_rule(d, true) && a->max_q >= LEN_MIN));
	if (!dense && !find_rule(d, true))
		return false;
	memset(s, 0, sizeof *s);
	s->back = back;
	s->ragged = !dense;
	s->any_order = back && a->any_order;
	s->docs = dense ? a->n_docs : power(a->n_docs);
	s->len = dense ? a->max_q : power(a->max_q < LEN_MIN ? LEN_MIN : a->max_q);
	s->heads = s->row_heads = a->heads;
	s->kv_heads = s->row_kv = a->kv_heads;
	s->dim = a->head_dim;
	s->window = a->window >= a->max_k ? 0 : a->window;
	return true;
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

size_t
qz_cuda_sdpa_need(struct qz_dev *d, const struct qz_need *need)
{
	int64_t n = need->tokens * need->heads, docs = need->tokens < DOCS_MAX ? need->tokens : DOCS_MAX;
	int64_t copies, offsets = 4 * qz_cuda_round((power(static_cast<int32_t>(docs)) + 1) * 8);

	if (!usable(d, need->head_dim))
		return 0;
	if (!need->any_order)
		return qz_cuda_round(offsets + SLACK);
	copies = find_rule(d, false)->copies;
	if (find_rule(d, true) && copies < 2)
		copies = 2;
	return qz_cuda_round(offsets + n * 4 + n * need->head_dim * (4 + 2 * copies) + SLACK);
}

bool
qz_cuda_sdpa(struct qz_dev *d, const struct qz_attn *a, bool back)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	bool always = read_wish() == ALWAYS;
	float scale = a->scale, lowest = -INFINITY, one = 1, window = static_cast<float>(a->window);
	void *at[QZ_SDPA_IDS] = {};
	struct qz_sdpa_shape shape;
	struct qz_sdpa *p;
	size_t need;

	if (c->err.code != QZ_OK || !find_shape(d, a, back, &shape))
		return false;
	p = find_plan(d, &shape);
	if (!p)
		return true;
	need = p->plan ? carve(p, a->q_host[a->n_docs], nullptr, at) : 0;
	if (!p->plan || !c->ws || need > c->ws_n) {
		if (always && !p->plan)
			qz_cuda_keep(d, QZ_EDEVICE, "%s: cuDNN: %s", c->op, p->why);
		else if (always)
			qz_cuda_keep(d, QZ_EIO, "%s: cuDNN needs %zu bytes of workspace, there are %zu", c->op, need,
			    c->ws ? c->ws_n : 0);
		return always;
	}
	carve(p, a->q_host[a->n_docs], c->ws, at);
	at[QZ_SDPA_Q] = const_cast<void *>(a->q);
	at[QZ_SDPA_K] = const_cast<void *>(a->k);
	at[QZ_SDPA_V] = const_cast<void *>(a->v);
	at[QZ_SDPA_O] = a->o;
	at[QZ_SDPA_LSE] = a->lse;
	at[QZ_SDPA_DO] = const_cast<void *>(a->d_o);
	at[QZ_SDPA_DQ] = a->dq;
	at[QZ_SDPA_DK] = a->dk;
	at[QZ_SDPA_DV] = a->dv;
	at[QZ_SDPA_SCALE] = &scale;
	at[QZ_SDPA_LOWEST] = &lowest;
	at[QZ_SDPA_ONE] = &one;
	at[QZ_SDPA_WINDOW] = &window;
	qz_cuda_part(d, "cuDNN");
	if (shape.ragged)
		launch(d, lay_out, dim3(1), 256, 0, *a, shape.docs, static_cast<int64_t *>(at[QZ_SDPA_AT_Q]),
		    static_cast<int64_t *>(at[QZ_SDPA_AT_K]), static_cast<int64_t *>(at[QZ_SDPA_AT_LSE]),
		    static_cast<int32_t *>(at[QZ_SDPA_LENGTH]));
	if (!qz_sdpa_run(c->sdpas->lib, c->sdpas->handle, p, at, at[0]))
		qz_cuda_keep(d, QZ_EDEVICE, "%s: cuDNN: %s", c->op, p->why);
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
	else
		snprintf(text, n, "%s forward, qz's backward", other ? dnn : "qz's");
}

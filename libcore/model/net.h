/* net - a model with its adapter on a device, and the memory for one packed batch.
 *
 * All memory but the weights is one piece, laid out before the first step by one function that also
 * only counts (qz_net_plan).  The calls queue ops and return; qz_net_sync() waits.
 * Formulas: forward and backward are written out by hand; for the LoRA linears see ops.def. */
#ifndef QZ_NET_H
#define QZ_NET_H

#include "libcore/model/batch.h"
#include "libcore/model/lora.h"
#include "libcore/model/weights.h"

/* What the backward pass finds in memory: the first `x_only` layers keep their input alone and compute the
 * rest again, the next `no_mlp` layers compute gate and up again, the others keep everything.
 * The result does not depend on it, but for the order in which chunks add to the adapter's gradient, and
 * the last bits of attention's gradients with attention_parts or without. */
struct qz_policy {
	int64_t x_only, no_mlp;
	int64_t x_host;      /* the inputs of the first x_host layers wait in host memory */
	int64_t attn_host;   /* of no_mlp layers, the first attn_host have q to x2 there as well */
	int64_t chunk;       /* tokens that the MLP computes at a time, 0: all */
	int attention_parts; /* of struct qz_need */
	int64_t cached;      /* projections of the last `cached` layers are kept decoded */
	bool embed_host;     /* the embedding lies in host memory (qz_weights_begin) */
};

/* How the optimizer keeps m and v: as elements of par, or as 8-bit codes with block constants. */
enum qz_optim { QZ_OPTIM_ADAMW, QZ_OPTIM_ADAMW8, QZ_OPTIM_N };
const char *qz_optim_name(enum qz_optim o); /* "adamw", "adamw8bit" */
int qz_optim_by_name(const char *name);     /* or -1 */

struct qz_net_shape {
	struct qz_extent room; /* of the largest batch */
	int64_t losses;        /* trained tokens of the largest step */
	int64_t past;          /* length of the key/value cache, 0: none */
	uint64_t logits_bytes; /* at most so much for logits, but at least one row */
	bool train;
	bool any_order; /* attention may add up in any order: faster, other bits each time */
	enum qz_optim optim;
	bool
	    states_host; /* m and v lie in host memory, but for block constants: the optimizer works there */
	struct qz_policy policy;
};
enum { QZ_LOGITS_BYTES = 64 << 20 };

/* What memory is for. */
enum qz_use {
	QZ_USE_DEVICE, /* what the device's driver and libraries take */
	QZ_USE_WEIGHTS,
	QZ_USE_CACHE, /* weights kept decoded */
	QZ_USE_ADAPTER,
	QZ_USE_GRADIENTS,
	QZ_USE_OPTIMIZER,
	QZ_USE_KEPT,
	QZ_USE_WORK,
	QZ_USE_LOGITS,
	QZ_USE_KERNELS,
	QZ_USE_BATCH,
	QZ_USE_N
};
struct qz_plan {
	uint64_t bytes[QZ_USE_N];
	uint64_t total;
	uint64_t
	    host; /* of host memory beside it, where the device is not the host: activations, ... */
	uint64_t host_embed,
	    host_states; /* ... and of that the embedding and the optimizer's states */
	double seconds;  /* a step is predicted to take, 0: not known */
};
const char *qz_use_name(enum qz_use u);

/* What a layer's forward pass leaves for its backward pass.  T tokens. */
struct qz_kept {
	qz_act *x;             /* (T, hidden): input of the layer */
	qz_act *q, *k, *v;     /* after RoPE; k and v may lie in a cache */
	qz_act *q_raw, *k_raw; /* before their norm, where the model has one; else q and k */
	qz_act *o;             /* (T, heads * head_dim): attention's output */
	qz_act *x2;            /* (T, hidden): x + o_proj(o) */
	qz_act *gate, *up;     /* (T, ffn) */
	qz_act
	    *s[QZ_PROJ_N]; /* (T, rank), rows lds apart: projections with one input side by side */
	int64_t lds[QZ_PROJ_N];
	qz_par *lse, *rstd1, *rstd2, *rstd_q, *rstd_k;
};

/* Sees the input (t rows) of `n` projections from `first` on, in device memory, before they are computed. */
typedef void qz_visit(void *arg, int layer, enum qz_proj first, int n, const qz_act *x, int64_t t);

struct qz_net {
	struct qz_dev *dev;
	const struct qz_backend *k;
	const struct qz_weights *w;
	struct qz_config c;
	struct qz_lora lora; /* n 0: no adapter */
	struct qz_net_shape shape;
	struct qz_plan plan;
	void *base; /* NULL: pretended */

	qz_par *p, *g;              /* [lora.n_par]; g, m, v only to train */
	qz_act *pa;                 /* p as ops read it; p itself where act and par are one type */
	char *states;               /* host memory of m and v, with shape.states_host */
	void *m, *v;                /* [lora.n_par] elements of par, or 8-bit codes ... */
	float *absmax_m, *absmax_v; /* ... and then [lora.n_par / QZ_ADAMW8_BLOCK], else NULL */
	struct qz_adamw *adamw;     /* device memory */
	double *sum;                /* device memory, one */
	double *losses;             /* [shape.losses], device memory */

	struct qz_kept *layers; /* [layers] */
	char *host; /* x of the first x_host layers, attention parts of attn_host layers */
	struct qz_kept away[2]; /* where two of those lie on the device ... */
	char *away_at[2];       /* ... each in one piece */
	uint64_t away_bytes, states_bytes;
	qz_act *slot[2];                     /* ... and where two of them lie on the device */
	struct qz_mat (*cache)[QZ_PROJ_N];   /* [layers], decoded ones; data NULL: not cached */
	qz_act *x_out;                       /* (T, hidden): what the last layer gives */
	qz_act *xn, *h;                      /* (T, hidden), (T, ffn) */
	qz_act *dx, *dxn, *dh;               /* (T, hidden) twice, (T, ffn); dh is h's memory */
	void *down_left, *gate_left;         /* of struct qz_linear: for down_proj; gate and up */
	qz_act *d_o, *dq, *dk, *dv, *dk_raw; /* in the memory of h and those, ... */
	qz_act *dx_rows;                     /* ... and so is the head's (T, hidden) */
	qz_par *logits, *rstd, *rope;        /* rope: (positions, head_dim / 2, 2) */
	int64_t logits_rows, positions;
	void *workspace;

	uint32_t *ids, *targets;
	const int32_t *starts; /* of the batch that is there: q_start in host memory, or NULL */
	int32_t *pos, *q_start, *k_start, *trained;
	int64_t t, n_docs, n_trained, max_len, past; /* of the batch that is there */

	bool dropping;             /* dropout is on */
	uint64_t seed, step, part; /* its key, with the tensor's name */
	bool recomputing;          /* the backward pass runs parts of the forward pass again */
	int64_t chunk;             /* first token of the part that the MLP is at ... */
	int64_t chunk_n;           /* ... and its length */
	qz_visit *visit;
	void *visit_arg;
};

/* Counts what qz_net_open() would take, weights included. */
int qz_net_plan(struct qz_plan *p, struct qz_dev *dev, const struct qz_config *c, uint64_t weights,
    const struct qz_lora *l, const struct qz_net_shape *shape, struct qz_err *e);
/* w outlives the net; l (NULL: no adapter) is copied.  Adapter, gradients and states are zero. */
int qz_net_open(struct qz_net *n, const struct qz_weights *w, const struct qz_lora *l,
    const struct qz_net_shape *shape, struct qz_err *e);
void qz_net_close(struct qz_net *n);
/* A net of which only the shapes are real, its largest batch with it: for a device whose ops touch nothing.
 * It takes what `real` would.  w (shapes alone) is borrowed. */
int qz_net_pretend(struct qz_net *n, struct qz_dev *real, struct qz_dev *dev,
    const struct qz_weights *w, const struct qz_lora *l, const struct qz_net_shape *shape,
    struct qz_err *e);

/* The optimizer's step with what n->adamw and n->sum hold. */
void qz_net_update(struct qz_net *n);
/* p has changed: pa follows.  (The optimizer writes both.) */
void qz_net_adapter_changed(struct qz_net *n);
/* Elements of par from and to float32; waits.  What is put into p is in pa too. */
void qz_net_put(struct qz_net *n, qz_par *to, const float *from, uint64_t count);
void qz_net_get(struct qz_net *n, float *to, const qz_par *from, uint64_t count);

/* The batch goes to the device; it stays as it is until the ops on it are queued. past: tokens that the cache holds already (one document only). */
void qz_net_batch(struct qz_net *n, const struct qz_batch *b, int64_t past);
/* All layers: x_out. */
void qz_net_forward(struct qz_net *n);
/* The losses of the batch's trained tokens to losses[at..]; with scale != 0 also the gradient of
 * scale * their sum at x_out, into dx. */
void qz_net_loss(struct qz_net *n, int64_t at, double scale);
/* From dx down: adds to g. */
void qz_net_backward(struct qz_net *n);
/* Logits of n_rows tokens of the batch after qz_net_forward(), as float64: out (n_rows, vocab); waits. */
int qz_net_logits(
    struct qz_net *n, const int32_t *rows, int64_t n_rows, double *out, struct qz_err *e);

/* layout.c: sets every pointer into memory at base, or with base NULL counts: the bytes it takes, and what
 * for in plan (which may hold the weights already). */
uint64_t qz_net_layout(struct qz_net *n, void *base, struct qz_plan *plan);

/* Host memory for what waits there. */
uint64_t qz_net_host_bytes(const struct qz_net *n);
/* Where a layer's input, or its attention part, waits; NULL: it stays on the device. */
char *qz_net_host_x(const struct qz_net *n, int layer);
char *qz_net_host_attn(const struct qz_net *n, int layer);
/* Tokens that the MLP computes at a time when there are t. */
int64_t qz_net_chunk(const struct qz_net *n, int64_t t);

/* Shared by forward.c and backward.c. */
struct qz_linear qz_net_linear(
    const struct qz_net *n, int layer, enum qz_proj p, qz_act *y, const qz_act *dy);
void qz_net_attn_part(struct qz_net *n, int layer); /* x -> x2 */
void qz_net_gate_up(struct qz_net *n, int layer);   /* x2 -> gate, up, of the current chunk */
/* Row `t` of x (T, cols). */
qz_act *qz_net_row(const struct qz_net *n, const qz_act *x, int64_t t, int64_t cols);
/* Where the current chunk's gate or up lies: in the layer's own memory, or from the start of a shared one. */
qz_act *qz_net_mlp_row(const struct qz_net *n, int layer, const qz_act *x);
struct qz_attn qz_net_attn(const struct qz_net *n, const struct qz_kept *l);

#endif

/* trace - how long each op takes, from events between the ops: what lies between two of them belongs to the
 * first.  Reading adds up what has the same op, part and shape. */
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/cuda/cuda.cuh"

enum { MARKS = 1 << 15, NAMES = 512 };

struct mark {
	const char *op, *part;
	int64_t shape[3];
};

struct qz_cuda_trace {
	struct mark mark[MARKS];
	cudaEvent_t event[MARKS]; /* made when first used */
	int n;
};

void
qz_cuda_part(struct qz_dev *d, const char *part)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	struct qz_cuda_trace *t = c->trace;
	struct mark *m;

	if (!t || t->n == MARKS)
		return;
	m = &t->mark[t->n];
	if (!t->event[t->n])
		qz_cuda_rc(d, "cudaEventCreate", cudaEventCreate(&t->event[t->n]));
	*m = { c->op, part, { c->shape[0], c->shape[1], c->shape[2] } };
	qz_cuda_rc(d, "cudaEventRecord", cudaEventRecord(t->event[t->n++], c->stream));
}

void
qz_cuda_trace_on(struct qz_dev *d, bool on)
{
	struct qz_cuda_dev *c = cuda_dev(d);

	if (on && c->trace)
		c->trace->n = 0;
	else if (on)
		c->trace = static_cast<struct qz_cuda_trace *>(calloc(1, sizeof *c->trace));
	if (on || !c->trace)
		return;
	for (int i = 0; i < MARKS && c->trace->event[i]; i++)
		cudaEventDestroy(c->trace->event[i]);
	free(c->trace);
	c->trace = nullptr;
}

static void
name(const struct mark *m, char *text, size_t n)
{
	size_t at = static_cast<size_t>(
	    snprintf(text, n, "%s%s%s", m->op, *m->part ? ": " : "", m->part));

	for (int i = 0; i < 3 && m->shape[i] && at < n; i++)
		at += static_cast<size_t>(snprintf(text + at, n - at, "%s%lld", i ? " x " : " ",
		    static_cast<long long>(m->shape[i])));
}

static int
by_time(const void *pa, const void *pb)
{
	const struct qz_trace *a = static_cast<const struct qz_trace *>(pa);
	const struct qz_trace *b = static_cast<const struct qz_trace *>(pb);

	return (a->seconds < b->seconds) - (a->seconds > b->seconds);
}

size_t
qz_cuda_trace_read(struct qz_dev *d, struct qz_trace *rows, size_t max)
{
	struct qz_cuda_dev *c = cuda_dev(d);
	struct qz_cuda_trace *t = c->trace;
	static struct qz_trace all[NAMES];
	size_t n = 0;

	if (!t)
		return 0;
	c->op = "trace";
	qz_cuda_part(d, "");
	qz_cuda_rc(d, "trace", cudaStreamSynchronize(c->stream));
	memset(all, 0, sizeof all);
	for (int i = 0; i + 1 < t->n; i++) {
		char text[sizeof all->what];
		float ms = 0;
		size_t k = 0;

		name(&t->mark[i], text, sizeof text);
		while (k < n && strcmp(all[k].what, text))
			k++;
		if (k == NAMES)
			continue;
		if (k == n)
			snprintf(all[n++].what, sizeof all->what, "%s", text);
		qz_cuda_rc(d, "trace", cudaEventElapsedTime(&ms, t->event[i], t->event[i + 1]));
		all[k].calls++;
		all[k].seconds += 1e-3 * static_cast<double>(ms);
	}
	t->n = 0;
	qsort(all, n, sizeof *all, by_time);
	for (size_t i = 0; i < n && i < max; i++)
		rows[i] = all[i];
	return n;
}

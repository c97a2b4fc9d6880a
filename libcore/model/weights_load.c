/* Weights from a source.  The source is walked here; large tensors that it can leave to others (qz_source_later) are read,
 * checked and uploaded by a few threads, in the order of the source, and end here, in that order. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/pool.h"
#include "libcore/model/weights.h"

enum { PIECE = 4 << 20, WINDOW = 1 << 20, THREADS = 8 };

struct job {
	struct qz_weights_aside aside;
	struct qz_shard_part part;
	uint64_t source;
	bool done, bad;
	struct qz_err err;
};

struct load {
	struct qz_weights *w;
	struct qz_source *s;
	void (*progress)(void *arg, uint64_t nbytes);
	void *arg;
	char *piece; /* PIECE bytes */

	struct job *jobs;
	size_t most, ended; /* room for; that have ended here */
	bool over;          /* what is wrong first is known */
	int most_threads, threads;
	struct worker {
		struct load *l;
		pthread_t thread;
		bool started;
		struct qz_upload *upload;
		struct qz_hash *hash;
		char *window;
	} workers[THREADS];

	pthread_mutex_t lock;
	pthread_cond_t more, done; /* for the workers; for the caller */
	size_t n, next, first_bad; /* jobs there are, the next to be taken, the first that failed */
	bool closed;               /* no more will come */
};

/* A part of a tensor to its place: through a window of pinned memory, or where memory is the host's at once. */
static int
bring(struct worker *k, struct job *j, uint64_t at, size_t n, struct qz_err *e)
{
	const struct qz_backend *b = k->l->w->dev->k;
	bool direct = !k->upload || j->aside.host;
	void *to = direct ? j->aside.to + at : b->upload_window(k->upload, e);

	if (!to || qz_shard_part_read(&j->part, k->hash, at, to, n, e) < 0)
		return -1;
	return direct ? 0 : b->upload_send(k->upload, j->aside.to + at, n, e);
}

static int
bring_all(struct worker *k, struct job *j, struct qz_err *e)
{
	uint64_t nbytes = j->aside.t.nbytes;

	if (qz_shard_part_begin(&j->part, k->hash, k->window, WINDOW, e) < 0)
		return -1;
	for (uint64_t at = 0, n; at < nbytes; at += n) {
		n = nbytes - at < WINDOW ? nbytes - at : WINDOW;
		if (bring(k, j, at, (size_t)n, e) < 0)
			return -1;
	}
	if (qz_shard_part_end(&j->part, k->hash, e) < 0)
		return -1;
	return k->upload ? k->l->w->dev->k->upload_wait(k->upload, e) : 0;
}

/* Jobs in their order; behind one that failed none is begun. */
static void *
work(void *arg)
{
	struct worker *k = arg;
	struct load *l = k->l;

	pthread_mutex_lock(&l->lock);
	for (;;) {
		struct job *j;
		bool bad;

		while (l->next == l->n && !l->closed)
			pthread_cond_wait(&l->more, &l->lock);
		if (l->next == l->n || l->next > l->first_bad)
			break;
		j = &l->jobs[l->next++];
		pthread_mutex_unlock(&l->lock);
		bad = bring_all(k, j, &j->err) < 0;
		pthread_mutex_lock(&l->lock);
		j->bad = bad;
		j->done = true;
		if (bad && (size_t)(j - l->jobs) < l->first_bad)
			l->first_bad = (size_t)(j - l->jobs);
		pthread_cond_broadcast(&l->done);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

static int
start_worker(struct load *l, struct qz_err *e)
{
	struct worker *k = &l->workers[l->threads];
	struct qz_dev *dev = l->w->dev;

	*k = (struct worker){ .l = l, .hash = qz_hash_new(), .window = malloc(WINDOW) };
	l->threads++; /* to be closed, whatever happens */
	if (!k->hash || !k->window)
		return qz_nomem(e, WINDOW);
	if (dev->k->upload_open && !(k->upload = dev->k->upload_open(dev, WINDOW, e)))
		return qz_at(e, "loading weights");
	k->started = pthread_create(&k->thread, NULL, work, k) == 0;
	return k->started ? 0 : qz_fail(e, QZ_EIO, "cannot make a thread");
}

static void
close_worker(struct qz_dev *dev, struct worker *k)
{
	if (k->upload)
		dev->k->upload_close(k->upload);
	qz_hash_free(k->hash);
	free(k->window);
}

/* The next job ends here; wait: as soon as it is done, else if it is.  1, 0: there is none, -1. */
static int
end_job(struct load *l, bool wait, struct qz_err *e)
{
	struct job *j = &l->jobs[l->ended];
	bool done;

	if (l->over || l->ended == l->n)
		return 0;
	pthread_mutex_lock(&l->lock);
	while (wait && !j->done)
		pthread_cond_wait(&l->done, &l->lock);
	done = j->done;
	pthread_mutex_unlock(&l->lock);
	if (!done)
		return 0;
	l->ended++;
	if (j->bad)
		*e = j->err;
	l->over = j->bad || qz_weights_take_up(l->w, &j->aside, j->source, e) < 0;
	if (l->progress)
		l->progress(l->arg, j->aside.t.nbytes);
	return l->over ? -1 : 1;
}

/* 1: it is a job now; 0: it has to be read here. */
static int
put_aside(struct load *l, struct qz_err *e)
{
	struct job *j = &l->jobs[l->n];
	int got;

	if (l->n == l->most || !qz_weights_large(l->w))
		return 0;
	got = qz_source_later(l->s, &j->part, e);
	if (got <= 0)
		return got;
	qz_weights_put_aside(l->w, &j->aside);
	j->source = qz_source_digest(l->s);
	if (l->threads < l->most_threads && start_worker(l, e) < 0) {
		qz_shard_part_free(&j->part);
		l->over = true;
		return -1;
	}
	pthread_mutex_lock(&l->lock);
	l->n++;
	pthread_cond_signal(&l->more);
	pthread_mutex_unlock(&l->lock);
	return 1;
}

static int
load_tensor(struct load *l, const struct qz_tensor *t, struct qz_err *e)
{
	uint64_t nbytes = t->nbytes;
	int got;

	if (qz_weights_tensor(l->w, t, e) < 0)
		return -1;
	got = put_aside(l, e);
	if (got != 0)
		return got;
	for (uint64_t at = 0; at < nbytes;) {
		size_t n = nbytes - at < PIECE ? (size_t)(nbytes - at) : PIECE;

		if (qz_source_read(l->s, l->piece, n, e) < 0 ||
		    qz_weights_data(l->w, l->piece, n, e) < 0)
			return -1;
		if (l->progress)
			l->progress(l->arg, n);
		at += n;
	}
	return qz_weights_tensor_end(l->w, qz_source_digest(l->s), e);
}

/* All tensors; jobs end as they are done. */
static int
walk(struct load *l, struct qz_err *e)
{
	const struct qz_tensor *t;
	int got;

	while ((got = qz_source_next(l->s, &t, e)) > 0) {
		int more = 1;

		if (load_tensor(l, t, e) < 0)
			return -1;
		while (more > 0)
			if ((more = end_job(l, false, e)) < 0)
				return -1;
	}
	return got;
}

/* The workers stop; what they were at is done. */
static void
join(struct load *l)
{
	pthread_mutex_lock(&l->lock);
	l->closed = true;
	if (l->over)
		l->first_bad = 0; /* what waits is not begun */
	pthread_cond_broadcast(&l->more);
	pthread_mutex_unlock(&l->lock);
	for (int i = 0; i < l->threads; i++) {
		if (l->workers[i].started)
			pthread_join(l->workers[i].thread, NULL);
		close_worker(l->w->dev, &l->workers[i]);
	}
	for (size_t i = 0; i < l->n; i++)
		qz_shard_part_free(&l->jobs[i].part);
}

static int
load_all(struct load *l, struct qz_err *e)
{
	struct qz_err later;
	int ret = walk(l, e), more = 1;

	/* What is wrong before the place where the walk stopped comes first. */
	while (more > 0)
		if ((more = end_job(l, true, &later)) < 0) {
			*e = later;
			ret = -1;
		}
	join(l);
	return ret;
}

int
qz_weights_load(struct qz_weights *w, struct qz_dev *dev, struct qz_source *s, bool embed_host,
    int threads, void (*progress)(void *arg, uint64_t nbytes), void *arg, struct qz_err *e)
{
	struct load l = { .w = w,
		.s = s,
		.progress = progress,
		.arg = arg,
		.most_threads = threads ? threads : qz_pool_cpus(),
		.most = ((size_t)qz_source_config(s)->layers + 1) * QZ_ROLE_END,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.more = PTHREAD_COND_INITIALIZER,
		.done = PTHREAD_COND_INITIALIZER,
		.first_bad = SIZE_MAX };
	const struct qz_tensor *manifest;
	size_t n;
	int got = -1;

	*w = (struct qz_weights){ 0 };
	l.most_threads = l.most_threads < THREADS ? l.most_threads : THREADS;
	l.piece = malloc(PIECE);
	l.jobs = calloc(l.most, sizeof *l.jobs);
	manifest = qz_source_manifest(s, &n);
	if (!l.piece || !l.jobs)
		qz_nomem(e, PIECE + l.most * sizeof *l.jobs);
	else if (qz_weights_begin(w, dev, qz_source_config(s), manifest, n, embed_host, e) == 0)
		got = load_all(&l, e);
	free(l.piece);
	free(l.jobs);
	if (got == 0)
		got = qz_weights_end(w, e);
	if (got < 0)
		qz_weights_free(w);
	if (got == 0 || !strncmp(e->msg, qz_source_name(s), strlen(qz_source_name(s))))
		return got;
	return qz_at(e, "%s", qz_source_name(s));
}

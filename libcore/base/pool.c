#include "libcore/base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct qz_pool {
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	pthread_t *threads;
	int n_threads; /* with the caller */
	int started;   /* helpers made so far */
	void (*fn)(void *, int, int);
	void *arg;
	int n_parts, next, busy;
	bool stop;
};

struct helper {
	struct qz_pool *pool;
	int index;
};

int
qz_pool_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) < 0)
		return 1;
	return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

/* Called and returns with the lock held. */
static void
take_parts(struct qz_pool *p, int thread)
{
	while (p->next < p->n_parts) {
		int part = p->next++;

		pthread_mutex_unlock(&p->lock);
		p->fn(p->arg, part, thread);
		pthread_mutex_lock(&p->lock);
	}
}

static void *
help(void *arg)
{
	struct helper h = *(struct helper *)arg;
	struct qz_pool *p = h.pool;

	free(arg);
	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		if (p->next >= p->n_parts) {
			pthread_cond_wait(&p->work, &p->lock);
			continue;
		}
		p->busy++;
		take_parts(p, h.index);
		if (--p->busy == 0)
			pthread_cond_signal(&p->done);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static int
start_helper(struct qz_pool *p, struct qz_err *e)
{
	struct helper *h = malloc(sizeof *h);
	int rc;

	if (!h)
		return qz_nomem(e, sizeof *h);
	*h = (struct helper){ p, p->started + 1 };
	rc = pthread_create(&p->threads[p->started], NULL, help, h);
	if (rc) {
		free(h);
		return qz_fail(e, QZ_EIO, "cannot start a thread: %s", strerror(rc));
	}
	p->started++;
	return 0;
}

struct qz_pool *
qz_pool_new(int n_threads, struct qz_err *e)
{
	struct qz_pool *p = calloc(1, sizeof *p);
	sigset_t all, old;
	int ret = 0;

	if (n_threads <= 0)
		n_threads = qz_pool_cpus();
	if (!p || !(p->threads = calloc((size_t)n_threads, sizeof *p->threads))) {
		free(p);
		qz_nomem(e, sizeof *p);
		return NULL;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->done, NULL);
	p->n_threads = n_threads;
	sigfillset(&all); /* signals are the main thread's */
	pthread_sigmask(SIG_BLOCK, &all, &old);
	while (ret == 0 && p->started < n_threads - 1)
		ret = start_helper(p, e);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret < 0) {
		qz_pool_free(p);
		return NULL;
	}
	return p;
}

void
qz_pool_free(struct qz_pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (int i = 0; i < p->started; i++)
		pthread_join(p->threads[i], NULL);
	pthread_cond_destroy(&p->done);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p->threads);
	free(p);
}

int
qz_pool_threads(const struct qz_pool *p)
{
	return p ? p->n_threads : 1;
}

void
qz_pool_run(struct qz_pool *p, int n_parts, void (*fn)(void *, int, int), void *arg)
{
	if (!p || p->n_threads == 1 || n_parts < 2) {
		for (int i = 0; i < n_parts; i++)
			fn(arg, i, 0);
		return;
	}
	pthread_mutex_lock(&p->lock);
	p->fn = fn;
	p->arg = arg;
	p->next = 0;
	p->n_parts = n_parts;
	pthread_cond_broadcast(&p->work);
	take_parts(p, 0);
	while (p->busy)
		pthread_cond_wait(&p->done, &p->lock);
	p->n_parts = p->next = 0;
	pthread_mutex_unlock(&p->lock);
}

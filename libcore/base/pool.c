#include "libcore/base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Jobs of a training step follow each other within microseconds, and to sleep and be woken takes tens
 * of them: so a thread looks this often (150 us on a Zen 4) for the next job, or the end of one, before it
 * sleeps. */
enum { LOOKS = 6000 };

struct qz_pool {
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	pthread_t *threads;
	int n_threads; /* with the caller */
	int started;   /* helpers made so far */
	void (*fn)(void *, int, int);
	void *arg;
	int n_parts, next;
	bool stop;
	int looks;        /* 0 when there are more threads than processors */
	atomic_int busy;  /* helpers at work; changes with the lock held, like turn */
	atomic_uint turn; /* jobs so far */
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

static inline void
pause_briefly(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#endif
}

/* Called and returns with the lock held: until there may be another job. */
static void
await_job(struct qz_pool *p)
{
	unsigned turn = atomic_load(&p->turn);

	pthread_mutex_unlock(&p->lock);
	for (int i = 0; i < p->looks && atomic_load(&p->turn) == turn; i++)
		pause_briefly();
	pthread_mutex_lock(&p->lock);
	if (atomic_load(&p->turn) == turn && !p->stop)
		pthread_cond_wait(&p->work, &p->lock);
}

/* Called and returns with the lock held: until no helper is at work. */
static void
await_helpers(struct qz_pool *p)
{
	pthread_mutex_unlock(&p->lock);
	for (int i = 0; i < p->looks && atomic_load(&p->busy); i++)
		pause_briefly();
	pthread_mutex_lock(&p->lock);
	while (atomic_load(&p->busy))
		pthread_cond_wait(&p->done, &p->lock);
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
			await_job(p);
			continue;
		}
		atomic_fetch_add(&p->busy, 1);
		take_parts(p, h.index);
		if (atomic_fetch_sub(&p->busy, 1) == 1)
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
	p->looks = n_threads <= qz_pool_cpus() ? LOOKS : 0;
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
	atomic_fetch_add(&p->turn, 1);
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
	atomic_fetch_add(&p->turn, 1);
	pthread_cond_broadcast(&p->work);
	take_parts(p, 0);
	if (atomic_load(&p->busy))
		await_helpers(p);
	p->n_parts = p->next = 0;
	pthread_mutex_unlock(&p->lock);
}

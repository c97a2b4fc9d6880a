#include "libcore/base/flow.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum stage { READ, WORK, WRITE, STAGES };

struct state {
	const struct qz_flow *f;
	pthread_mutex_t lock;
	pthread_cond_t changed[STAGES]; /* what the thread of each stage waits for */
	uint64_t done[STAGES];          /* items that have passed each stage */
	bool last;                      /* read() has said that there are no more */
	bool failed;
	struct qz_err err; /* the first failure */
};

/* Waits until item i may enter the stage: true, or false when it never will. */
static bool
may_enter(struct state *s, enum stage at, uint64_t i)
{
	bool ready;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		if (at == READ)
			ready = i < s->done[WRITE] + (uint64_t)s->f->n_slots;
		else
			ready = i < s->done[at - 1];
		if (ready || s->failed || (s->last && i >= s->done[READ]))
			break;
		pthread_cond_wait(&s->changed[at], &s->lock);
	}
	ready = ready && !s->failed;
	pthread_mutex_unlock(&s->lock);
	return ready;
}

/* got: what the stage's function returned.  False when the stage is over. */
static bool
leave(struct state *s, enum stage at, int got, const struct qz_err *e)
{
	bool more = at == READ ? got > 0 : got == 0;

	pthread_mutex_lock(&s->lock);
	if (more)
		s->done[at]++;
	else if (got < 0 && !s->failed) {
		s->failed = true;
		s->err = *e;
	}
	if (at == READ && !more)
		s->last = true;
	for (enum stage next = READ; next < STAGES; next++) /* a stage's end concerns all */
		if (!more || next == (at + 1) % STAGES)
			pthread_cond_signal(&s->changed[next]);
	pthread_mutex_unlock(&s->lock);
	return more;
}

static void
run(struct state *s, enum stage at)
{
	int (*const fn[STAGES])(
	    void *, int, struct qz_err *) = { s->f->read, s->f->work, s->f->write };
	struct qz_err e = { 0 };
	bool more = true;

	for (uint64_t i = 0; more && may_enter(s, at, i); i++) {
		int got = fn[at](s->f->arg, (int)(i % (uint64_t)s->f->n_slots), &e);

		more = leave(s, at, got, &e);
	}
}

static void *
reader(void *s)
{
	run(s, READ);
	return NULL;
}

static void *
writer(void *s)
{
	run(s, WRITE);
	return NULL;
}

int
qz_flow_run(const struct qz_flow *f, struct qz_err *e)
{
	struct state s = { .f = f };
	pthread_t threads[2];
	int ret;

	pthread_mutex_init(&s.lock, NULL);
	for (int i = 0; i < STAGES; i++)
		pthread_cond_init(&s.changed[i], NULL);
	ret = pthread_create(&threads[0], NULL, reader, &s);
	if (ret == 0) {
		ret = pthread_create(&threads[1], NULL, writer, &s);
		if (ret == 0)
			run(&s, WORK);
		else
			leave(&s, WORK, -1, &s.err);
		pthread_join(threads[0], NULL);
	}
	if (ret == 0)
		pthread_join(threads[1], NULL);
	for (int i = 0; i < STAGES; i++)
		pthread_cond_destroy(&s.changed[i]);
	pthread_mutex_destroy(&s.lock);
	if (ret)
		return qz_fail(e, QZ_EIO, "cannot make a thread: %s", strerror(ret));
	if (s.failed)
		*e = s.err;
	return s.failed ? -1 : 0;
}

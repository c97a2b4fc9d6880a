/* pool - threads that share out the parts of one job.
 *
 * A job is n_parts calls of fn(arg, part, thread).  Which thread takes which part varies; what a
 * part computes must not depend on it, so that results are the same for any number of threads.
 * `thread` is 0..n_threads-1 and may choose scratch memory, nothing else.  The caller works too. */
#ifndef QZ_POOL_H
#define QZ_POOL_H

#include "libcore/base/err.h"

struct qz_pool;

int qz_pool_cpus(void); /* processors this process may use, at least 1 */
/* NULL with a message when a thread cannot be made; n_threads 0 takes qz_pool_cpus(). */
struct qz_pool *qz_pool_new(int n_threads, struct qz_err *e);
void qz_pool_free(struct qz_pool *p);
int qz_pool_threads(const struct qz_pool *p); /* of NULL: 1 */
/* Returns when all parts are done.  A NULL pool runs them in order, here. */
void qz_pool_run(
    struct qz_pool *p, int n_parts, void (*fn)(void *arg, int part, int thread), void *arg);

#endif

/* flow - reading, computing and writing at the same time.
 *
 * Items pass through three functions, each item through all of them, in order: read() in a thread of its
 * own, work() in the caller's, write() in a third.  At most n_slots items are under way: item i has slot
 * i % n_slots to itself from read() until write() has returned.  So read(i) may count on write(i - n_slots)
 * being over, and what a function touches must be its slot's or only its own. */
#ifndef QZ_FLOW_H
#define QZ_FLOW_H

#include "libcore/base/err.h"

struct qz_flow {
	void *arg;
	int n_slots;
	int (*read)(
	    void *arg, int slot, struct qz_err *e); /* 1: an item, 0: there are no more, -1 */
	int (*work)(void *arg, int slot, struct qz_err *e); /* 0, -1 */
	int (*write)(void *arg, int slot, struct qz_err *e);
};

/* 0 when every item has been written.  The first failure stops all three; it is the one reported. */
int qz_flow_run(const struct qz_flow *f, struct qz_err *e);

#endif

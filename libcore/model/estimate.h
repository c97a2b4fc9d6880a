/* estimate - how long a step will take on a device, before there is one: the net's own code runs against a
 * table of ops that add up time instead of computing, from a few rates of the device. */
#ifndef QZ_ESTIMATE_H
#define QZ_ESTIMATE_H

#include "libcore/model/net.h"

/* What a device reaches: FLOP/s, bytes/s (read and written), seconds. */
struct qz_rates {
	double product; /* FLOP/s of a large product */
	double
	    attention; /* FLOP/s, counting what causal attention needs where all documents are as long
	                   * as the longest */
	double
	    attention_bwd[QZ_PARTS_MAX + 1]; /* the same, by qz_policy.attention_parts; 0: not here,
	                                         * or no faster than without */
	double copy;                         /* bytes/s of a copy on the device */
	double link;                         /* bytes/s of a side copy */
	double launch;                       /* seconds of the smallest op */
	double drop,
	    drop_bwd; /* seconds that dropout adds for each element of a projection's input, forward and
	                        * backward */
	uint64_t
	    libraries; /* bytes of the device's memory that measuring made its libraries take */
};

/* Measures them at this model's shapes, with batches like the largest, but not of many more tokens than are
 * needed: takes some hundredths of a second (with cuDNN seconds) and gives back the memory. */
int qz_rates_measure(struct qz_rates *r, struct qz_dev *dev, const struct qz_config *c,
    const struct qz_lora *l, const struct qz_extent *room, bool any_order, struct qz_err *e);
/* The same, but what was measured before on this machine with such a device, libraries and shapes comes from the
 * file $XDG_CACHE_HOME/qz/rates-HASH (or ~/.cache/qz/...), so that the same run is planned the same again.
 * Without such a folder, and with QZ_TUNE=0, they are measured each time.  A file that cannot be read or written is
 * as good as none. */
int qz_rates_get(struct qz_rates *r, struct qz_dev *dev, const struct qz_config *c,
    const struct qz_lora *l, const struct qz_extent *room, bool any_order, struct qz_err *e);

/* Seconds of one step of `batches` batches as large as shape->room.  quantized: the projections are not of
 * activations' type. */
int qz_estimate_step(double *seconds, struct qz_dev *dev, const struct qz_config *c,
    const struct qz_lora *l, const struct qz_net_shape *shape, const struct qz_rates *r,
    bool quantized, struct qz_err *e);

#endif

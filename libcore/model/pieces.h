/* pieces - the tensors of a feed as pieces of some rows, for computing on one piece while the next is read.
 *
 * A piece is whole rows, a few megabytes, for a GPU tens of them; heads (unit rows) are never split.  Types that keep
 * scales in sections of their own (NF4, FP4, INT8) are held whole, once, while their pieces are under way.
 * Made for qz_flow: what qz_pieces_next() puts into a slot stays until that slot is filled again. */
#ifndef QZ_PIECES_H
#define QZ_PIECES_H

#include "libcore/model/feed.h"

struct qz_piece {
	const struct qz_tensor *t;
	size_t index;          /* of the tensor, in the order in which they come */
	uint64_t rows, cols;   /* of the tensor; a vector is one row */
	uint64_t row0, n_rows; /* of this piece */
	bool last;             /* of its tensor */
	uint64_t digest;       /* of the tensor as source.h says, when last */
	struct qz_mat mat;     /* the rows row0.. are its rows mat_row.. */
	int64_t mat_row;
	const void
	    *data; /* what mat points into: nbytes from here, the whole tensor of scaled types */
	uint64_t nbytes;
};

struct qz_pieces;

/* unit: rows that stay together (head_dim), at least 1.  feed is copied. */
struct qz_pieces *qz_pieces_new(
    const struct qz_feed *feed, int n_slots, uint64_t unit, struct qz_err *e);
void qz_pieces_free(struct qz_pieces *p);
/* Before the first: pieces are for this device.  For a GPU they are as large as its ops want them and lie in
 * memory that it copies from while the host does something else.  d outlives p. */
void qz_pieces_for(struct qz_pieces *p, struct qz_dev *d);
/* The next piece, into the slot after the one before: 1, 0 at the end, -1. */
int qz_pieces_next(struct qz_pieces *p, struct qz_piece **piece, struct qz_err *e);
/* What is in a slot. */
struct qz_piece *qz_pieces_slot(struct qz_pieces *p, int slot);

#endif

/* ready_impl - the layout of the ready form, for ready*.c alone. */
#ifndef QZ_READY_IMPL_H
#define QZ_READY_IMPL_H

#include "libcore/text/ready.h"

enum { READY_VERSION = 2, READY_HEAD = 64 };

/* Bits of the head's flags. */
enum { READY_MERGES_BYTES = 1, READY_CUTS = 2, READY_JOINS = 4, READY_WHOLE = 8, READY_FLAGS = 15 };

/* Sections follow the head in this order, each padded with zeros to a multiple of 8. */
enum ready_section {
	READY_LENGTHS, /* u32[n_ids] */
	READY_TEXTS,   /* n_text bytes */
	READY_SLOTS,   /* u32[1 << slot_bits]: of the vocabulary */
	READY_PAIRS,   /* u64[1 << pair_bits]: of the merges */
	READY_BITS,    /* u64[1 << QZ_MERGES_BITS] */
	READY_TO,      /* u32[n_ranks] */
	READY_JOINED,  /* struct qz_joins, or nothing */
	READY_WHOLES,  /* u64[1 << (BPE_WHOLE_BITS - 6)], or nothing */
	READY_REST,    /* n_rest bytes */
	READY_SECTIONS
};

/* The head, by offset: u32 version, n_ids, n_ranks, n_rest; u64 n_text; u64[2] digest; u32 flags; u8 slot_bits,
 * pair_bits, id_bits, rank_bits; zeros. */
struct ready_head {
	uint32_t n_ids, n_ranks, n_rest, flags;
	uint64_t n_text;
	struct qz_digest file;
	uint8_t slot_bits, pair_bits, id_bits, rank_bits;
};

/* Bytes of each section without padding; bits are at most 32. */
void ready_sizes(const struct ready_head *h, uint64_t size[READY_SECTIONS]);

#endif

/* reader - the records of a shard, in order, from a file or a pipe.
 *
 *	while ((got = qz_shard_next(r, &rec, &e)) > 0) { ... qz_shard_read(r, buf, n, &e) ... }
 *
 * Data that is not read is skipped by the next call; it is checksummed all the same.  rec and what it
 * points to are the reader's own and last until the next call.  Every damage is QZ_EDATA with the
 * place: "record 12 (TENS model.norm.weight) at byte 4096: checksum is ..., not ...".
 * Memory: a record's table and meta, and a window of data; never a whole tensor. */
#ifndef QZ_SHARD_READER_H
#define QZ_SHARD_READER_H

#include "libcore/base/json.h"
#include "libcore/io/in.h"
#include "libcore/shard/part.h"
#include "libcore/shard/shard.h"

struct qz_tokens_info {
	uint64_t n_tokens, n_rows, n_docs, n_trained;
	struct qz_section ids, mask, row_ends, doc_ends;
};

struct qz_record {
	uint32_t type;    /* enum qz_record_type, or unknown and skippable */
	uint64_t number;  /* 0: the head */
	uint64_t offset;  /* from its shard's preamble */
	const char *meta; /* JSON text, meta_n bytes, "" when there is none */
	size_t meta_n;
	uint64_t nbytes;              /* of the data, uncompressed */
	uint64_t stored;              /* of the data as it stands in the file */
	const char *name;             /* of a blob or a tensor, else "" */
	struct qz_tensor tensor;      /* TENS */
	struct qz_tokens_info tokens; /* TOKS */
	const struct qz_tensor
	    *manifest; /* HEAD: all tensors that follow, or NULL when not known */
	size_t n_manifest;
	struct qz_shard_end end; /* END */
	uint64_t
	    source; /* TENS: XXH3-64 of the bytes it was made from, known after the data is read: see below */
};

struct qz_shard_reader;

/* Takes no ownership of in.  kind: "model", "tokens", "adapter", "checkpoint", or NULL for any; another
 * kind is QZ_EDATA: "is a shard of kind tokens, a model is expected". */
struct qz_shard_reader *qz_shard_reader_new(struct qz_in *in, const char *kind, struct qz_err *e);
void qz_shard_reader_free(struct qz_shard_reader *r);

/* 1: a record (END included, as the last of each shard; another shard's HEAD may follow),
 * 0: the input ends, -1: failure. */
int qz_shard_next(struct qz_shard_reader *r, const struct qz_record **rec, struct qz_err *e);
/* The next n bytes of the current record's data. */
int qz_shard_read(struct qz_shard_reader *r, void *data, size_t n, struct qz_err *e);
/* Passes the rest of the data and checks the seal; after it qz_shard_source() is known. */
int qz_shard_finish(struct qz_shard_reader *r, struct qz_err *e);
uint64_t qz_shard_source(const struct qz_shard_reader *r);

/* The current tensor's data becomes p (part.h), and the reader goes on behind it.
 * Before any of its data is read.  1: p is to be read and then freed, and qz_shard_source() is known; 0: it cannot be
 * done (a pipe, compressed data, a seal without the source's digest, an input that ends before the seal): read it here;
 * -1: no memory. */
int qz_shard_later(struct qz_shard_reader *r, struct qz_shard_part *p, struct qz_err *e);

/* The current shard's kind ("model") and its head's meta, parsed. */
const char *qz_shard_kind(const struct qz_shard_reader *r);
const struct qz_json *qz_shard_head(const struct qz_shard_reader *r);
/* The chain of the last provenance record seen, JSON array text, or "[]". */
const char *qz_shard_provenance(const struct qz_shard_reader *r);

#endif

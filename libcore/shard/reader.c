#include "libcore/shard/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/le.h"
#include "libcore/base/size.h"
#include "libcore/shard/codec.h"
#include "libcore/shard/data.h"
#include "libcore/shard/names.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "sections are read into memory as they stand: this needs a little-endian machine"
#endif

enum state { BEFORE_SHARD, IN_SHARD, IN_DATA, AT_END };

struct qz_shard_reader {
	struct qz_in *in;
	const char *wanted;
	enum state state;
	uint64_t start; /* offset of the preamble in the input */
	struct qz_hash *record, *whole;
	struct qz_arena shard_arena, arena; /* things of the shard; of the record */
	struct qz_json *head;
	char *provenance;
	const char *kind;
	struct qz_names names;
	struct qz_header h;
	struct qz_record rec;
	struct qz_shard_end seen;
	const struct qz_tensor *manifest;
	size_t n_manifest;
	bool saw_index;

	struct qz_shard_data data;
};

struct qz_shard_reader *
qz_shard_reader_new(struct qz_in *in, const char *kind, struct qz_err *e)
{
	struct qz_shard_reader *r = calloc(1, sizeof *r);

	if (!r || !(r->record = qz_hash_new()) || !(r->whole = qz_hash_new())) {
		qz_shard_reader_free(r);
		qz_nomem(e, sizeof *r);
		return NULL;
	}
	r->in = in;
	r->wanted = kind;
	r->data.in = in;
	r->data.hash = r->record;
	return r;
}

static void
forget_shard(struct qz_shard_reader *r)
{
	qz_json_free(r->head);
	r->head = NULL;
	r->kind = NULL;
	free(r->provenance);
	r->provenance = NULL;
	r->manifest = NULL;
	r->n_manifest = 0;
	r->saw_index = false;
	qz_names_free(&r->names);
	qz_arena_free(&r->shard_arena);
	memset(&r->seen, 0, sizeof r->seen);
}

void
qz_shard_reader_free(struct qz_shard_reader *r)
{
	if (!r)
		return;
	forget_shard(r);
	qz_arena_free(&r->arena);
	qz_hash_free(r->record);
	qz_hash_free(r->whole);
	qz_shard_data_free(&r->data);
	free(r);
}

/* Where in the shard: the input, the record, its name once that is known. */
static int
place_text(const struct qz_shard_reader *r, char *out, size_t n)
{
	char tag[5];

	qz_tag_text(r->h.type, tag);
	return snprintf(out, n, "%s: record %llu (%s%s%s) at byte %llu", qz_in_name(r->in),
	    (unsigned long long)r->rec.number, tag, *r->rec.name ? " " : "", r->rec.name,
	    (unsigned long long)(r->start + r->rec.offset));
}

static int
place(struct qz_shard_reader *r, struct qz_err *e)
{
	char text[sizeof e->msg];

	place_text(r, text, sizeof text);
	return qz_at(e, "%s", text);
}

/* 1: a preamble was read, 0: the input ends here, -1. */
static int
read_preamble(struct qz_shard_reader *r, struct qz_err *e)
{
	uint8_t p[QZ_PREAMBLE_SIZE];
	const void *look;
	int64_t n = qz_in_peek(r->in, &look, QZ_PREAMBLE_SIZE, e);

	if (n < 0)
		return -1;
	if (n == 0 && r->start > 0)
		return 0;
	if (n == 0)
		return qz_fail(e, QZ_EDATA, "%s: is empty, a shard is expected", qz_in_name(r->in));
	if (n < 8 || memcmp(look, QZ_SHARD_MAGIC, 8))
		return qz_fail(e, QZ_EDATA,
		    "%s: is not a qz shard: byte %llu does not start its magic", qz_in_name(r->in),
		    (unsigned long long)qz_in_offset(r->in));
	r->start = qz_in_offset(r->in);
	if (qz_in_read(r->in, p, sizeof p, e) < 0)
		return qz_shard_truncated(r->in, e);
	if (le16_get(p + 8) != QZ_SHARD_MAJOR)
		return qz_fail(e, QZ_EDATA,
		    "%s: is of format version %u.%u, this qz reads version %d", qz_in_name(r->in),
		    le16_get(p + 8), le16_get(p + 10), QZ_SHARD_MAJOR);
	for (int i = 12; i < QZ_PREAMBLE_SIZE; i++)
		if (p[i])
			return qz_fail(e, QZ_EDATA, "%s: preamble: reserved byte %d is not zero",
			    qz_in_name(r->in), i);
	qz_hash_reset(r->whole);
	qz_hash_add(r->whole, p, sizeof p);
	return 1;
}

/* A padded part of a record into the arena, NUL-terminated. */
static char *
read_part(struct qz_shard_reader *r, size_t n, struct qz_err *e)
{
	size_t padded = (size_t)qz_round_up(n, QZ_SHARD_ALIGN);
	char *p;

	/* A length that lies must not make us allocate what is not there. */
	if (qz_in_size(r->in) >= 0 && padded > (uint64_t)qz_in_size(r->in) - qz_in_offset(r->in)) {
		qz_fail(e, QZ_EDATA, "ends early");
		qz_shard_truncated(r->in, e);
		return NULL;
	}
	p = qz_arena_alloc(&r->arena, padded + 1);
	if (!p) {
		qz_nomem(e, padded);
		return NULL;
	}
	if (qz_shard_take(r->in, r->record, p, padded, e) < 0)
		return NULL;
	p[n] = '\0';
	return p;
}

static int
read_head(struct qz_shard_reader *r, const uint8_t *table, struct qz_err *e)
{
	struct qz_record *rec = &r->rec;

	r->head = qz_json_parse(rec->meta, rec->meta_n, e);
	if (!r->head)
		return -1;
	r->kind = qz_json_string(qz_json_get(r->head, "kind"), NULL);
	if (!r->kind)
		return qz_fail(e, QZ_EDATA, "the head does not say the shard's kind");
	if (r->wanted && strcmp(r->wanted, r->kind))
		return qz_fail(e, QZ_EDATA, "is a shard of kind %s, one of kind %s is expected",
		    r->kind, r->wanted);
	if (qz_manifest_get(&r->manifest, &r->n_manifest, table, r->h.table_n, &r->shard_arena, e) <
	    0)
		return -1;
	rec->manifest = r->manifest;
	rec->n_manifest = r->n_manifest;
	return 0;
}

static int
fresh_name(struct qz_shard_reader *r, const char *name, struct qz_err *e)
{
	int fresh = qz_names_add(&r->names, name, e);

	if (fresh < 0)
		return -1;
	return fresh ? 0 : qz_fail(e, QZ_EDATA, "the name is there twice");
}

static bool
same_tensor(const struct qz_tensor *a, const struct qz_tensor *b)
{
	return !strcmp(a->name, b->name) && a->dtype == b->dtype && a->n_dims == b->n_dims &&
	       a->block == b->block && a->nested_block == b->nested_block &&
	       !memcmp(a->dims, b->dims, sizeof a->dims[0] * (size_t)a->n_dims);
}

static int
read_tensor(struct qz_shard_reader *r, const uint8_t *table, struct qz_err *e)
{
	struct qz_tensor *t = &r->rec.tensor;
	size_t at = 0;

	if (qz_tensor_get(t, table, r->h.table_n, &at, &r->arena, e) < 0)
		return -1;
	r->rec.name = t->name;
	if (t->nbytes != r->h.raw)
		return qz_fail(e, QZ_EDATA, "%llu bytes of data, its shape takes %llu",
		    (unsigned long long)r->h.raw, (unsigned long long)t->nbytes);
	if (r->manifest &&
	    (r->seen.tensors >= r->n_manifest || !same_tensor(t, &r->manifest[r->seen.tensors])))
		return qz_fail(e, QZ_EDATA, "is not the tensor that the head announces here");
	r->seen.tensors++;
	return fresh_name(r, t->name, e);
}

static int
read_tokens(struct qz_shard_reader *r, const uint8_t *table, struct qz_err *e)
{
	struct qz_tokens_info *t = &r->rec.tokens;
	uint64_t nbytes;

	if (qz_tokens_get(t, table, r->h.table_n, &nbytes, e) < 0)
		return -1;
	if (nbytes != r->h.raw)
		return qz_fail(e, QZ_EDATA, "%llu bytes of data, its rows take %llu",
		    (unsigned long long)r->h.raw, (unsigned long long)nbytes);
	r->seen.rows += t->n_rows;
	r->seen.tokens += t->n_tokens;
	r->seen.trained += t->n_trained;
	return 0;
}

static int
read_blob(struct qz_shard_reader *r, const uint8_t *table, struct qz_err *e)
{
	if (qz_name_get(&r->rec.name, table, r->h.table_n, &r->arena, e) < 0)
		return -1;
	r->seen.blobs++;
	return fresh_name(r, r->rec.name, e);
}

static int
read_provenance(struct qz_shard_reader *r, struct qz_err *e)
{
	struct qz_json *j = qz_json_parse(r->rec.meta, r->rec.meta_n, e);
	bool list = qz_json_is(j, QZ_JSON_ARRAY);

	qz_json_free(j);
	if (!j)
		return -1;
	if (!list)
		return qz_fail(e, QZ_EDATA, "provenance is not a list");
	free(r->provenance);
	r->provenance = strdup(r->rec.meta);
	return r->provenance ? 0 : qz_nomem(e, r->rec.meta_n);
}

static int
read_end(struct qz_shard_reader *r, const uint8_t *table, struct qz_err *e)
{
	struct qz_shard_end *end = &r->rec.end, *seen = &r->seen;
	char want[33], got[33];

	if (qz_end_get(end, table, r->h.table_n, e) < 0)
		return -1;
	seen->digest = qz_hash_get128(r->whole);
	seen->nbytes = r->rec.offset + QZ_HEADER_SIZE + qz_round_up(r->h.table_n, QZ_SHARD_ALIGN) +
		       qz_round_up(r->h.meta_n, QZ_SHARD_ALIGN) +
		       qz_round_up(r->h.stored, QZ_SHARD_ALIGN) + QZ_SEAL_SIZE;
	seen->index_offset = end->index_offset;
	if (memcmp(&seen->digest, &end->digest, sizeof seen->digest)) {
		qz_digest_hex(seen->digest, got);
		qz_digest_hex(end->digest, want);
		return qz_fail(e, QZ_EDATA, "digest of the shard is %s, not %s", got, want);
	}
	if (memcmp(seen, end, sizeof *seen))
		return qz_fail(e, QZ_EDATA,
		    "counts %llu records, %llu tensors, %llu rows; %llu, %llu, %llu were there",
		    (unsigned long long)end->records, (unsigned long long)end->tensors,
		    (unsigned long long)end->rows, (unsigned long long)seen->records,
		    (unsigned long long)seen->tensors, (unsigned long long)seen->rows);
	if (r->manifest && seen->tensors != r->n_manifest)
		return qz_fail(e, QZ_EDATA, "%llu tensors, the head announces %zu",
		    (unsigned long long)seen->tensors, r->n_manifest);
	return 0;
}

static int
decode_table(struct qz_shard_reader *r, const uint8_t *table, struct qz_err *e)
{
	bool first = r->h.number == 0;

	if (first != (r->h.type == QZ_REC_HEAD))
		return qz_fail(e, QZ_EDATA, first ? "a head is expected first" : "a second head");
	if (r->saw_index && r->h.type != QZ_REC_END)
		return qz_fail(e, QZ_EDATA, "only the end follows the index");
	switch (r->h.type) {
	case QZ_REC_HEAD:
		return read_head(r, table, e);
	case QZ_REC_BLOB:
		return read_blob(r, table, e);
	case QZ_REC_TENSOR:
		return read_tensor(r, table, e);
	case QZ_REC_TOKENS:
		return read_tokens(r, table, e);
	case QZ_REC_PROVENANCE:
		return read_provenance(r, e);
	case QZ_REC_INDEX:
		r->saw_index = true;
		return 0;
	case QZ_REC_END:
		return read_end(r, table, e);
	}
	if (r->h.flags & QZ_FLAG_REQUIRED)
		return qz_fail(
		    e, QZ_EDATA, "a record of a type that must be understood and is not");
	return 0;
}

static int
read_record(struct qz_shard_reader *r, struct qz_err *e)
{
	uint8_t header[QZ_HEADER_SIZE];
	struct qz_record *rec = &r->rec;
	char *table;

	qz_arena_free(&r->arena);
	memset(rec, 0, sizeof *rec);
	rec->name = rec->meta = "";
	rec->offset = qz_in_offset(r->in) - r->start;
	rec->number = r->seen.records;
	r->h.type = 0;
	qz_hash_reset(r->record);
	if (qz_shard_take(r->in, r->record, header, sizeof header, e) < 0)
		return -1;
	if (qz_header_get(&r->h, header, e) < 0)
		return place(r, e);
	if (r->h.number != rec->number) {
		qz_fail(e, QZ_EDATA, "is numbered %llu", (unsigned long long)r->h.number);
		return place(r, e);
	}
	rec->type = r->h.type;
	rec->nbytes = r->h.raw;
	rec->stored = r->h.stored;
	rec->meta_n = r->h.meta_n;
	table = read_part(r, r->h.table_n, e);
	if (!table || !(rec->meta = read_part(r, r->h.meta_n, e)))
		return -1;
	if (decode_table(r, (uint8_t *)table, e) < 0 || qz_shard_data_begin(&r->data, &r->h, e) < 0)
		return place(r, e);
	r->state = IN_DATA;
	return 0;
}

int
qz_shard_read(struct qz_shard_reader *r, void *data, size_t n, struct qz_err *e)
{
	uint64_t left = r->state == IN_DATA ? r->data.raw_left : 0;

	if (n > left) {
		qz_fail(e, QZ_EDATA, "%zu bytes of data are asked for, %llu are left", n,
		    (unsigned long long)left);
		return place(r, e);
	}
	if (qz_shard_data_read(&r->data, data, n, e) == 0)
		return 0;
	return r->data.damaged ? place(r, e) : -1;
}

static int
check_seal(struct qz_shard_reader *r, struct qz_err *e)
{
	uint8_t s[QZ_SEAL_SIZE], pad[QZ_SHARD_ALIGN];
	uint64_t want, got;

	if (qz_shard_take(r->in, r->record, pad,
		(size_t)(qz_round_up(r->h.stored, QZ_SHARD_ALIGN) - r->h.stored), e) < 0)
		return -1;
	if (qz_in_read(r->in, s, sizeof s, e) < 0)
		return qz_shard_truncated(r->in, e);
	qz_hash_add(r->record, s, 56);
	got = qz_hash_get64(r->record);
	want = le64_get(s + 56);
	if (got != want) {
		qz_fail(e, QZ_EDATA, "checksum is %016llx, not %016llx", (unsigned long long)got,
		    (unsigned long long)want);
		return place(r, e);
	}
	r->rec.source = le64_get(s);
	qz_hash_add(r->whole, s, sizeof s);
	r->seen.records++;
	return 0;
}

int
qz_shard_finish(struct qz_shard_reader *r, struct qz_err *e)
{
	if (r->state != IN_DATA)
		return 0;
	if (qz_shard_data_skip(&r->data, e) < 0 || check_seal(r, e) < 0)
		return -1;
	r->state = r->h.type == QZ_REC_END ? AT_END : IN_SHARD;
	return 0;
}

/* Does the current tensor lie in the input as it is, up to its seal? */
static bool
lies_there(const struct qz_shard_reader *r)
{
	uint64_t rest = qz_round_up(r->h.stored, QZ_SHARD_ALIGN) + QZ_SEAL_SIZE;
	uint64_t at = qz_in_offset(r->in);

	return r->state == IN_DATA && r->h.type == QZ_REC_TENSOR && r->data.raw_left == r->h.raw &&
	       !(r->h.flags & (QZ_FLAG_ZSTD | QZ_FLAG_PLANES)) && qz_in_seekable(r->in) &&
	       qz_in_size(r->in) >= 0 && rest >= r->h.stored &&
	       rest <= (uint64_t)qz_in_size(r->in) - at;
}

int
qz_shard_later(struct qz_shard_reader *r, struct qz_shard_part *p, struct qz_err *e)
{
	uint64_t at = qz_in_offset(r->in), data = qz_round_up(r->h.stored, QZ_SHARD_ALIGN);
	uint8_t s[QZ_SEAL_SIZE];
	int n;

	if (!lies_there(r))
		return 0;
	if (qz_in_at(r->in, at + data, s, sizeof s, e) < 0)
		return -1;
	if (!le64_get(s))
		return 0;
	*p = (struct qz_shard_part){ .in = r->in,
		.offset = r->start + r->rec.offset,
		.head = at - r->start - r->rec.offset,
		.nbytes = r->h.stored };
	n = place_text(r, NULL, 0);
	p->place = malloc((size_t)n + 1);
	if (!p->place)
		return qz_nomem(e, (size_t)n + 1);
	place_text(r, p->place, (size_t)n + 1);
	if (qz_in_seek(r->in, at + data + sizeof s, e) < 0) {
		qz_shard_part_free(p);
		return -1;
	}
	r->rec.source = le64_get(s);
	qz_hash_add(r->whole, s, sizeof s);
	r->seen.records++;
	r->state = IN_SHARD;
	return 1;
}

int
qz_shard_next(struct qz_shard_reader *r, const struct qz_record **rec, struct qz_err *e)
{
	int got;

	if (qz_shard_finish(r, e) < 0)
		return -1;
	if (r->state == AT_END) {
		r->start = qz_in_offset(r->in);
		r->state = BEFORE_SHARD;
	}
	if (r->state == BEFORE_SHARD) {
		got = read_preamble(r, e);
		if (got <= 0)
			return got;
		forget_shard(r);
		r->state = IN_SHARD;
	}
	if (read_record(r, e) < 0)
		return -1;
	/* Records without data are checked before anyone acts on them. */
	if (r->h.stored == 0 && qz_shard_finish(r, e) < 0)
		return -1;
	*rec = &r->rec;
	return 1;
}

uint64_t
qz_shard_source(const struct qz_shard_reader *r)
{
	return r->rec.source;
}

const char *
qz_shard_kind(const struct qz_shard_reader *r)
{
	return r->kind;
}

const struct qz_json *
qz_shard_head(const struct qz_shard_reader *r)
{
	return r->head;
}

const char *
qz_shard_provenance(const struct qz_shard_reader *r)
{
	return r->provenance ? r->provenance : "[]";
}

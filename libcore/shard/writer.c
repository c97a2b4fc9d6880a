#include "libcore/shard/writer.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/json.h"
#include "libcore/base/le.h"
#include "libcore/base/size.h"
#include "libcore/io/zst.h"
#include "libcore/shard/codec.h"
#include "libcore/shard/names.h"
#include "libcore/shard/planes.h"

struct qz_shard_writer {
	struct qz_out *o;
	uint64_t start; /* offset of the preamble in the output */
	struct qz_hash *record, *whole;
	struct qz_shard_end end;
	struct qz_names names;
	struct qz_buf table, index;
	uint64_t n_index;

	int level; /* zstd, 0: none */
	struct qz_zst *zst;
	struct qz_buf packed, chunk;
	bool planes;

	const struct qz_tensor *manifest;
	size_t n_manifest;
	struct qz_tensor tensor; /* the current one */
	int section;
	uint64_t in_section, raw;
};

static uint64_t
here(const struct qz_shard_writer *w)
{
	return qz_out_offset(w->o) - w->start;
}

/* Bytes of the current record: written and hashed. */
static int
emit(struct qz_shard_writer *w, const void *data, size_t n, struct qz_err *e)
{
	qz_hash_add(w->record, data, n);
	return qz_out_write(w->o, data, n, e);
}

static int
emit_padding(struct qz_shard_writer *w, uint64_t written, struct qz_err *e)
{
	static const uint8_t zeros[QZ_SHARD_ALIGN];

	return emit(w, zeros, (size_t)(qz_round_up(written, QZ_SHARD_ALIGN) - written), e);
}

static int
emit_padded(struct qz_shard_writer *w, const void *data, size_t n, struct qz_err *e)
{
	return emit(w, data, n, e) < 0 ? -1 : emit_padding(w, n, e);
}

/* Header, table and meta of a record; its data follows. */
static int
begin(struct qz_shard_writer *w, uint32_t type, uint16_t flags, const char *meta, uint64_t stored,
    uint64_t raw, struct qz_err *e)
{
	uint8_t header[QZ_HEADER_SIZE];
	struct qz_header h = { type, flags, 0, (uint32_t)w->table.n, (uint32_t)strlen(meta), stored,
		raw, w->end.records };

	if (qz_buf_ok(&w->table, e) < 0)
		return -1;
	if (w->table.n > QZ_TABLE_MAX || strlen(meta) > QZ_META_MAX)
		return qz_fail(e, QZ_EDATA, "a record's table or metadata is larger than %d bytes",
		    QZ_TABLE_MAX);
	qz_hash_reset(w->record);
	qz_header_put(&h, header);
	if (emit(w, header, sizeof header, e) < 0 ||
	    emit_padded(w, w->table.data, w->table.n, e) < 0)
		return -1;
	return emit_padded(w, meta, strlen(meta), e);
}

static int
seal(struct qz_shard_writer *w, uint64_t stored, uint64_t source, struct qz_err *e)
{
	uint8_t s[QZ_SEAL_SIZE] = { 0 };

	if (emit_padding(w, stored, e) < 0)
		return -1;
	le64_put(s, source);
	qz_hash_add(w->record, s, 56);
	le64_put(s + 56, qz_hash_get64(w->record));
	qz_hash_add(w->whole, s, sizeof s);
	w->end.records++;
	return qz_out_write(w->o, s, sizeof s, e);
}

/* Remembers where the record about to be written stands. */
static void
add_to_index(struct qz_shard_writer *w, uint32_t type, const char *name)
{
	uint8_t fixed[16] = { 0 };

	le32_put(fixed, type);
	le16_put(fixed + 4, (uint16_t)strlen(name));
	le64_put(fixed + 8, here(w));
	qz_buf_add(&w->index, fixed, sizeof fixed);
	qz_buf_add(&w->index, name, strlen(name));
	qz_buf_add(&w->index, "\0\0\0\0\0\0\0", qz_round_up(strlen(name), 8) - strlen(name));
	w->n_index++;
}

static int
head(struct qz_shard_writer *w, const char *kind, const char *meta, struct qz_err *e)
{
	struct qz_buf b = { 0 };
	int ret;

	while (*meta == ' ' || *meta == '\n')
		meta++;
	if (*meta != '{')
		return qz_fail(e, QZ_EDATA, "a head's metadata is not a JSON object");
	qz_buf_fmt(&b, "{\"kind\":\"%s\"%s%s", kind, meta[1] == '}' ? "" : ",", meta + 1);
	qz_buf_clear(&w->table);
	qz_manifest_put(w->manifest, w->n_manifest, w->manifest != NULL, &w->table);
	ret = qz_buf_ok(&b, e);
	if (ret == 0)
		ret = begin(w, QZ_REC_HEAD, QZ_FLAG_REQUIRED, b.data, 0, 0, e);
	qz_buf_free(&b);
	return ret < 0 ? -1 : seal(w, 0, 0, e);
}

struct qz_shard_writer *
qz_shard_writer_new(struct qz_out *o, const char *kind, const char *meta,
    const struct qz_tensor *manifest, size_t n_manifest, int zstd_level, struct qz_err *e)
{
	struct qz_shard_writer *w = calloc(1, sizeof *w);
	uint8_t preamble[QZ_PREAMBLE_SIZE] = QZ_SHARD_MAGIC;

	if (!w || !(w->record = qz_hash_new()) || !(w->whole = qz_hash_new())) {
		qz_shard_writer_free(w);
		qz_nomem(e, sizeof *w);
		return NULL;
	}
	w->o = o;
	w->start = qz_out_offset(o);
	w->manifest = manifest;
	w->n_manifest = n_manifest;
	w->level = zstd_level;
	le16_put(preamble + 8, QZ_SHARD_MAJOR);
	le16_put(preamble + 10, QZ_SHARD_MINOR);
	qz_hash_add(w->whole, preamble, sizeof preamble);
	if (qz_out_write(o, preamble, sizeof preamble, e) < 0 || head(w, kind, meta, e) < 0 ||
	    (zstd_level && !(w->zst = qz_zst_new(zstd_level, e)))) {
		qz_shard_writer_free(w);
		return NULL;
	}
	return w;
}

void
qz_shard_writer_free(struct qz_shard_writer *w)
{
	if (!w)
		return;
	qz_hash_free(w->record);
	qz_hash_free(w->whole);
	qz_names_free(&w->names);
	qz_buf_free(&w->table);
	qz_buf_free(&w->index);
	qz_buf_free(&w->packed);
	qz_buf_free(&w->chunk);
	qz_zst_free(w->zst);
	free(w);
}

static int
check_name(struct qz_shard_writer *w, const char *name, struct qz_err *e)
{
	int fresh;

	if (strlen(name) > QZ_NAME_LEN_MAX)
		return qz_fail(
		    e, QZ_EDATA, "a name of %zu bytes, at most %d", strlen(name), QZ_NAME_LEN_MAX);
	fresh = qz_names_add(&w->names, name, e);
	if (fresh < 0)
		return -1;
	return fresh ? 0 : qz_fail(e, QZ_EDATA, "the name %s is there twice", name);
}

/* Compressed data waits in w->packed, since its length stands before it. */
static int
pack(struct qz_shard_writer *w, const void *data, size_t n, bool last, struct qz_err *e)
{
	if (!w->planes)
		return qz_zst_add(w->zst, &w->packed, data, n, last, e);
	while (n || last) {
		size_t room = QZ_PLANE_CHUNK - w->chunk.n, part = n < room ? n : room;
		uint8_t *split;

		qz_buf_add(&w->chunk, data, part);
		data = (const char *)data + part;
		n -= part;
		if (w->chunk.n < QZ_PLANE_CHUNK && !(last && n == 0))
			break;
		split = qz_buf_room(&w->chunk, w->chunk.n);
		if (!split)
			return qz_buf_ok(&w->chunk, e);
		qz_planes_split(split, (uint8_t *)w->chunk.data, w->chunk.n / 2);
		if (qz_zst_add(w->zst, &w->packed, split, w->chunk.n / 2, last && n == 0, e) < 0)
			return -1;
		qz_buf_clear(&w->chunk);
		if (n == 0)
			break;
	}
	return 0;
}

static int
small_record(struct qz_shard_writer *w, uint32_t type, const char *meta, const void *data, size_t n,
    struct qz_err *e)
{
	uint16_t flags = w->zst && n ? QZ_FLAG_ZSTD : 0;

	if (flags) {
		size_t raw = n;

		qz_buf_clear(&w->packed);
		w->planes = false;
		if (pack(w, data, n, true, e) < 0)
			return -1;
		data = w->packed.data;
		n = w->packed.n;
		if (begin(w, type, flags, meta, n, raw, e) < 0)
			return -1;
	} else if (begin(w, type, 0, meta, n, n, e) < 0) {
		return -1;
	}
	return emit(w, data, n, e) < 0 ? -1 : seal(w, n, 0, e);
}

int
qz_shard_blob(
    struct qz_shard_writer *w, const char *name, const void *data, size_t n, struct qz_err *e)
{
	if (check_name(w, name, e) < 0)
		return -1;
	add_to_index(w, QZ_REC_BLOB, name);
	qz_buf_clear(&w->table);
	qz_name_put(name, &w->table);
	w->end.blobs++;
	return small_record(w, QZ_REC_BLOB, "", data, n, e);
}

int
qz_shard_tensor_begin(struct qz_shard_writer *w, const struct qz_tensor *t, struct qz_err *e)
{
	if (check_name(w, t->name, e) < 0)
		return -1;
	if (w->manifest &&
	    (w->end.tensors >= w->n_manifest || strcmp(w->manifest[w->end.tensors].name, t->name)))
		return qz_fail(e, QZ_EDATA, "tensor %s is not the next in the manifest", t->name);
	w->tensor = *t;
	w->section = 0;
	w->in_section = w->raw = 0;
	w->planes = w->zst && t->n_sections == 1 && (t->dtype == QZ_BF16 || t->dtype == QZ_F16);
	qz_buf_clear(&w->packed);
	qz_buf_clear(&w->chunk);
	qz_buf_clear(&w->table);
	qz_tensor_put(t, &w->table);
	add_to_index(w, QZ_REC_TENSOR, t->name);
	w->end.tensors++;
	return w->zst ? 0 : begin(w, QZ_REC_TENSOR, 0, "", t->nbytes, t->nbytes, e);
}

static int
data_bytes(struct qz_shard_writer *w, const void *data, size_t n, struct qz_err *e)
{
	w->raw += n;
	return w->zst ? pack(w, data, n, false, e) : emit(w, data, n, e);
}

/* Closes every section that is full, with its padding. */
static int
close_sections(struct qz_shard_writer *w, struct qz_err *e)
{
	static const uint8_t zeros[QZ_SHARD_ALIGN];
	const struct qz_tensor *t = &w->tensor;

	while (w->section < t->n_sections && w->in_section == t->sections[w->section].nbytes) {
		uint64_t n = t->sections[w->section].nbytes;

		if (data_bytes(w, zeros, (size_t)(qz_round_up(n, QZ_SHARD_ALIGN) - n), e) < 0)
			return -1;
		w->section++;
		w->in_section = 0;
	}
	return 0;
}

int
qz_shard_tensor_write(struct qz_shard_writer *w, const void *data, size_t n, struct qz_err *e)
{
	const struct qz_tensor *t = &w->tensor;

	while (n) {
		uint64_t room;
		size_t part;

		if (w->section == t->n_sections)
			return qz_fail(
			    e, QZ_EDATA, "tensor %s: more data than its shape has", t->name);
		room = t->sections[w->section].nbytes - w->in_section;
		part = n < room ? n : (size_t)room;
		if (data_bytes(w, data, part, e) < 0)
			return -1;
		w->in_section += part;
		data = (const char *)data + part;
		n -= part;
		if (close_sections(w, e) < 0)
			return -1;
	}
	return 0;
}

int
qz_shard_tensor_end(struct qz_shard_writer *w, uint64_t source, struct qz_err *e)
{
	const struct qz_tensor *t = &w->tensor;

	if (close_sections(w, e) < 0)
		return -1;
	if (w->section < t->n_sections)
		return qz_fail(e, QZ_EDATA, "tensor %s: less data than its shape has", t->name);
	if (!w->zst)
		return seal(w, t->nbytes, source, e);
	if (pack(w, "", 0, true, e) < 0 || qz_buf_ok(&w->packed, e) < 0)
		return -1;
	if (begin(w, QZ_REC_TENSOR, QZ_FLAG_ZSTD | (w->planes ? QZ_FLAG_PLANES : 0), "",
		w->packed.n, t->nbytes, e) < 0 ||
	    emit(w, w->packed.data, w->packed.n, e) < 0)
		return -1;
	return seal(w, w->packed.n, source, e);
}

static void
put_section(struct qz_buf *b, const struct qz_section *s, const void *data)
{
	qz_buf_add(b, data, (size_t)s->nbytes);
	while (b->n % QZ_SHARD_ALIGN && !b->failed)
		qz_buf_chr(b, '\0');
}

static int
check_ends(const struct qz_tokens_block *b, struct qz_err *e)
{
	uint64_t doc = 0, last = 0;

	for (uint64_t r = 0; r < b->n_rows; r++) {
		while (doc < b->n_docs && b->doc_ends[doc] < b->row_ends[r])
			doc++;
		if (doc == b->n_docs || b->doc_ends[doc] != b->row_ends[r] ||
		    b->row_ends[r] <= last)
			return qz_fail(e, QZ_EDATA, "row %llu does not end where a document ends",
			    (unsigned long long)r);
		last = b->row_ends[r];
	}
	return last == b->n_tokens ? 0
				   : qz_fail(e, QZ_EDATA, "the rows end at %llu of %llu tokens",
					 (unsigned long long)last, (unsigned long long)b->n_tokens);
}

int
qz_shard_tokens(struct qz_shard_writer *w, const struct qz_tokens_block *b, struct qz_err *e)
{
	struct qz_tokens_info t = {
		.n_tokens = b->n_tokens, .n_rows = b->n_rows, .n_docs = b->n_docs
	};
	struct qz_buf data = { 0 };
	uint64_t nbytes;
	int ret;

	if (check_ends(b, e) < 0)
		return -1;
	for (uint64_t i = 0; i < b->n_tokens; i++)
		t.n_trained += b->mask[i];
	if (qz_tokens_plan(&t, &nbytes) < 0)
		return qz_fail(e, QZ_EDATA, "a block of %llu tokens is too large",
		    (unsigned long long)b->n_tokens);
	put_section(&data, &t.ids, b->ids);
	put_section(&data, &t.mask, b->mask);
	put_section(&data, &t.row_ends, b->row_ends);
	put_section(&data, &t.doc_ends, b->doc_ends);
	qz_buf_clear(&w->table);
	qz_tokens_put(&t, &w->table);
	add_to_index(w, QZ_REC_TOKENS, "");
	w->end.rows += t.n_rows;
	w->end.tokens += t.n_tokens;
	w->end.trained += t.n_trained;
	ret = qz_buf_ok(&data, e);
	if (ret == 0)
		ret = small_record(w, QZ_REC_TOKENS, "", data.data, data.n, e);
	qz_buf_free(&data);
	return ret;
}

int
qz_shard_provenance_put(struct qz_shard_writer *w, const char *chain, struct qz_err *e)
{
	add_to_index(w, QZ_REC_PROVENANCE, "");
	qz_buf_clear(&w->table);
	return begin(w, QZ_REC_PROVENANCE, 0, chain, 0, 0, e) < 0 ? -1 : seal(w, 0, 0, e);
}

static int
put_index(struct qz_shard_writer *w, struct qz_err *e)
{
	uint8_t count[8];

	w->end.index_offset = here(w);
	le64_put(count, w->n_index);
	qz_buf_clear(&w->table);
	qz_buf_add(&w->table, count, sizeof count);
	qz_buf_add(&w->table, w->index.data, w->index.n);
	if (qz_buf_ok(&w->index, e) < 0)
		return -1;
	return begin(w, QZ_REC_INDEX, 0, "", 0, 0, e) < 0 ? -1 : seal(w, 0, 0, e);
}

int
qz_shard_writer_end(struct qz_shard_writer *w, struct qz_err *e)
{
	if (w->manifest && w->end.tensors != w->n_manifest)
		return qz_fail(e, QZ_EDATA, "%llu tensors were written, the manifest has %zu",
		    (unsigned long long)w->end.tensors, w->n_manifest);
	if (put_index(w, e) < 0)
		return -1;
	w->end.digest = qz_hash_get128(w->whole);
	w->end.nbytes = here(w) + QZ_HEADER_SIZE + qz_round_up(QZ_END_TABLE, QZ_SHARD_ALIGN) +
			QZ_SEAL_SIZE;
	qz_buf_clear(&w->table);
	qz_end_put(&w->end, &w->table);
	return begin(w, QZ_REC_END, QZ_FLAG_REQUIRED, "", 0, 0, e) < 0 ? -1 : seal(w, 0, 0, e);
}

const struct qz_shard_end *
qz_shard_writer_result(const struct qz_shard_writer *w)
{
	return &w->end;
}

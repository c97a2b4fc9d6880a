#include <stdio.h>
#include <string.h>

#include "libcore/base/num.h"
#include "libcore/shard/codec.h"
#include "tools/show/show.h"

/* Facts of the head that a person looks for first; others are in --json. */
static const char *const facts[] = { "model_type", "hidden_size", "num_hidden_layers",
	"vocab_size" };

void
show_head(const struct qz_json *head, const char *name, struct qz_buf *out)
{
	const struct qz_json *config = qz_json_get(head, "config");

	qz_buf_fmt(out, "%s: %s shard", name, qz_json_string(qz_json_get(head, "kind"), "?"));
	for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
		const struct qz_json *v = qz_json_get(config, facts[i]);

		if (!v)
			continue;
		qz_buf_fmt(out, ", %s ", facts[i]);
		qz_json_put(out, v, 0);
	}
	qz_buf_chr(out, '\n');
}

static void
put_shape(const struct qz_tensor *t, struct qz_buf *out)
{
	char s[128] = "";

	for (int i = 0; i < t->n_dims; i++)
		snprintf(s + strlen(s), sizeof s - strlen(s), "%s%llu", i ? "x" : "",
		    (unsigned long long)t->dims[i]);
	qz_buf_fmt(out, "%-14s", s);
}

void
show_record(const struct qz_record *rec, struct qz_buf *out)
{
	char tag[5], size[16], hex[33];

	qz_tag_text(rec->type, tag);
	qz_num_bytes(rec->stored, size);
	switch (rec->type) {
	case QZ_REC_TENSOR:
		qz_buf_fmt(
		    out, "  tensor  %9s  %-5s", size, qz_dtype((unsigned)rec->tensor.dtype)->name);
		put_shape(&rec->tensor, out);
		qz_buf_fmt(out, "  %016llx  %s\n", (unsigned long long)rec->source, rec->name);
		return;
	case QZ_REC_BLOB:
		qz_buf_fmt(out, "  file    %9s  %s\n", size, rec->name);
		return;
	case QZ_REC_TOKENS:
		qz_buf_fmt(out,
		    "  tokens  %9s  %llu rows, %llu documents, %llu tokens, %llu trained\n", size,
		    (unsigned long long)rec->tokens.n_rows, (unsigned long long)rec->tokens.n_docs,
		    (unsigned long long)rec->tokens.n_tokens,
		    (unsigned long long)rec->tokens.n_trained);
		return;
	case QZ_REC_END:
		qz_num_bytes(rec->end.nbytes, size);
		qz_digest_hex(rec->end.digest, hex);
		qz_buf_fmt(out, "  end     %9s  %llu tensors, %llu files, %llu rows; digest %s\n",
		    size, (unsigned long long)rec->end.tensors, (unsigned long long)rec->end.blobs,
		    (unsigned long long)rec->end.rows, hex);
		return;
	case QZ_REC_HEAD:
	case QZ_REC_INDEX:
	case QZ_REC_PROVENANCE:
		return;
	}
	qz_buf_fmt(out, "  %-6s  %9s  (a type that this qz does not know)\n", tag, size);
}

void
show_record_json(const struct qz_record *rec, struct qz_buf *out)
{
	char tag[5], hex[33];

	qz_tag_text(rec->type, tag);
	qz_buf_fmt(out, "{\"record\":\"%s\",\"offset\":%llu,\"bytes\":%llu,\"stored\":%llu", tag,
	    (unsigned long long)rec->offset, (unsigned long long)rec->nbytes,
	    (unsigned long long)rec->stored);
	if (*rec->name) {
		qz_buf_str(out, ",\"name\":");
		qz_json_put_string(out, rec->name, strlen(rec->name));
	}
	if (rec->type == QZ_REC_TENSOR) {
		qz_buf_fmt(out, ",\"dtype\":\"%s\",\"shape\":[",
		    qz_dtype((unsigned)rec->tensor.dtype)->name);
		for (int i = 0; i < rec->tensor.n_dims; i++)
			qz_buf_fmt(
			    out, "%s%llu", i ? "," : "", (unsigned long long)rec->tensor.dims[i]);
		qz_buf_fmt(out, "],\"source\":\"%016llx\"", (unsigned long long)rec->source);
	}
	if (rec->type == QZ_REC_TOKENS)
		qz_buf_fmt(out,
		    ",\"rows\":%llu,\"documents\":%llu,\"tokens\":%llu,\"trained\":%llu",
		    (unsigned long long)rec->tokens.n_rows, (unsigned long long)rec->tokens.n_docs,
		    (unsigned long long)rec->tokens.n_tokens,
		    (unsigned long long)rec->tokens.n_trained);
	if (rec->type == QZ_REC_HEAD)
		qz_buf_fmt(out, ",\"head\":%s", rec->meta);
	if (rec->type == QZ_REC_PROVENANCE)
		qz_buf_fmt(out, ",\"provenance\":%s", rec->meta);
	if (rec->type == QZ_REC_END) {
		qz_digest_hex(rec->end.digest, hex);
		qz_buf_fmt(out,
		    ",\"records\":%llu,\"tensors\":%llu,\"files\":%llu,\"rows\":%llu,\"tokens\":%"
		    "llu,\"digest\":\"%s\"",
		    (unsigned long long)rec->end.records, (unsigned long long)rec->end.tensors,
		    (unsigned long long)rec->end.blobs, (unsigned long long)rec->end.rows,
		    (unsigned long long)rec->end.tokens, hex);
	}
	qz_buf_str(out, "}\n");
}

static void
put_members(const struct qz_json *object, const char *between, struct qz_buf *out)
{
	for (const struct qz_json *m = qz_json_first(object); m; m = qz_json_next(m)) {
		qz_buf_fmt(out, "%s%s=", m == qz_json_first(object) ? "" : between, qz_json_key(m));
		if (qz_json_string(m, NULL))
			qz_buf_str(out, qz_json_string(m, ""));
		else
			qz_json_put(out, m, 0);
	}
}

int
show_provenance(const char *chain, struct qz_buf *out, struct qz_err *e)
{
	struct qz_json *j = qz_json_parse(chain, strlen(chain), e);
	int n = 0;

	if (!j)
		return -1;
	for (const struct qz_json *s = qz_json_first(j); s; s = qz_json_next(s)) {
		const struct qz_json *inputs = qz_json_get(s, "inputs");

		qz_buf_fmt(out, "  step %d  %s %s", ++n,
		    qz_json_string(qz_json_get(s, "tool"), "?"),
		    qz_json_string(qz_json_get(s, "version"), "?"));
		if (qz_json_get(s, "device"))
			qz_buf_fmt(out, " on %s", qz_json_string(qz_json_get(s, "device"), "?"));
		qz_buf_str(out, ": ");
		put_members(qz_json_get(s, "options"), " ", out);
		qz_buf_chr(out, '\n');
		for (const struct qz_json *i = qz_json_first(inputs); i; i = qz_json_next(i))
			qz_buf_fmt(out, "          from %s %s\n",
			    qz_json_string(qz_json_get(i, "input"), "?"),
			    qz_json_string(qz_json_get(i, "digest"), "?"));
	}
	qz_json_free(j);
	return qz_buf_ok(out, e);
}

#include <stdlib.h>

#include "libcore/model/weights.h"

enum { PIECE = 4 << 20 };

static int
load_tensor(struct qz_weights *w, struct qz_source *s, const struct qz_tensor *t, char *piece,
    void (*progress)(void *arg, uint64_t nbytes), void *arg, struct qz_err *e)
{
	uint64_t nbytes = t->nbytes;

	if (qz_weights_tensor(w, t, e) < 0)
		return -1;
	for (uint64_t at = 0; at < nbytes;) {
		size_t n = nbytes - at < PIECE ? (size_t)(nbytes - at) : PIECE;

		if (qz_source_read(s, piece, n, e) < 0 || qz_weights_data(w, piece, n, e) < 0)
			return -1;
		if (progress)
			progress(arg, n);
		at += n;
	}
	return qz_weights_tensor_end(w, qz_source_digest(s), e);
}

int
qz_weights_load(struct qz_weights *w, struct qz_dev *dev, struct qz_source *s, bool embed_host,
    void (*progress)(void *arg, uint64_t nbytes), void *arg, struct qz_err *e)
{
	const struct qz_tensor *t, *manifest;
	char *piece = malloc(PIECE);
	size_t n;
	int got = -1;

	*w = (struct qz_weights){ 0 };
	if (!piece)
		return qz_nomem(e, PIECE);
	manifest = qz_source_manifest(s, &n);
	if (qz_weights_begin(w, dev, qz_source_config(s), manifest, n, embed_host, e) == 0)
		while ((got = qz_source_next(s, &t, e)) > 0)
			if (load_tensor(w, s, t, piece, progress, arg, e) < 0) {
				got = -1;
				break;
			}
	free(piece);
	if (got == 0)
		got = qz_weights_end(w, e);
	if (got < 0)
		qz_weights_free(w);
	return got < 0 ? qz_at(e, "%s", qz_source_name(s)) : 0;
}

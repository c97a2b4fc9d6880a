/* gguf_card - what a model's card (the front matter of README.md) says about the model, as keys of a GGUF file.
 *
 * Which fields become which keys, in which order, is as gguf-py's Metadata does it.  Where it would write a number
 * or a date as text and fails, the text stands as in the card. */
#ifndef QZ_GGUF_CARD_H
#define QZ_GGUF_CARD_H

#include "libcore/base/json.h"
#include "libcore/format/gguf_write.h"
#include "libcore/model/source.h"

/* The fields as an object, NULL when there are none; free it.  readme: NULL is fine.  QZ_EDATA: front matter that
 * is no YAML we read. */
int qz_gguf_card_read(const struct qz_source_file *readme, struct qz_json **card, struct qz_err *e);

/* Names as they are written, "" for what is not known; of the fields that the card does not have, in turn from the
 * ids: a model's name on a hub or of a folder, NULL for none.  n_params: as for qz_gguf_name().
 * title: general.name as it stands, or NULL. */
void qz_gguf_card_put(struct qz_ggufw *g, const struct qz_json *card, const char *const ids[2],
    const char *title, int64_t n_params);

#endif

/* lora - an adapter as a GGUF LoRA, which llama.cpp loads beside the GGUF of the base. */
#ifndef QZ_GGUF_TOOL_LORA_H
#define QZ_GGUF_TOOL_LORA_H

#include "libcore/format/gguf_write.h"
#include "libcore/model/adapter.h"
#include "tools/gguf/export.h"

/* Is there an adapter under this path: a shard of that kind, or a PEFT folder?  "-" is none. */
bool lora_is(const char *path);
/* The whole file, with the name and the keys of r.  id: as in gguf_meta.h.  llama.cpp scales by one alpha / rank for
 * all tensors: where the adapter's own scale is another, B carries the difference. */
int lora_write(const struct qz_adapter *a, const struct qz_config *c, const char *id,
    const struct request *r, struct qz_out *o, struct qz_err *e);

#endif

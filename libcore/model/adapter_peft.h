/* adapter_peft - the PEFT folder side of adapter.h. */
#ifndef QZ_ADAPTER_PEFT_H
#define QZ_ADAPTER_PEFT_H

#include "libcore/model/adapter.h"

/* path is a folder (whatever is in it). */
bool qz_adapter_is_folder(const char *path);
/* Into a zeroed a, which the caller frees on failure too. */
int qz_adapter_read_peft(struct qz_adapter *a, const char *path, struct qz_err *e);

#endif

/* files - where the output goes: one GGUF file, or several of a size, NAME-00001-of-00003.gguf and so on, as
 * llama.cpp splits them.  The first has the keys.  Each file carries the digest of its own data. */
#ifndef QZ_GGUF_TOOL_FILES_H
#define QZ_GGUF_TOOL_FILES_H

#include "libcore/base/hash.h"
#include "libcore/format/gguf_write.h"
#include "tools/gguf/plan.h"

struct file {
	struct qz_ggufw g;
	struct qz_out *o;
	size_t end;      /* its tensors come before this one */
	uint64_t digest; /* where in the file its digest stands, 0: nowhere */
};

struct files {
	struct file *files;
	size_t n, now;
	struct qz_hash *hash;
	bool digest;
};

/* keys: of the first file; taken.  path: as for qz_out_open(); of several files, what is before the
 * number.  max: bytes of a file, 0: one file.  QZ_EUSAGE: a tensor is larger than that. */
int files_open(struct files *f, const char *path, uint64_t max, bool digest, struct qz_ggufw *keys,
    const struct plan *p, const struct qz_tensor *manifest, struct qz_err *e);
uint64_t files_nbytes(const struct files *f);
/* There is room for all of them; writes what comes before the data of the first. */
int files_begin(struct files *f, struct qz_err *e);
/* The next bytes of tensor i, or of what stands before it. */
int files_write(struct files *f, size_t i, const void *data, size_t n, struct qz_err *e);
/* All data is there: digests are put in.  Then the files get their names, the first last: without it
 * the others are nothing. */
int files_end(struct files *f, struct qz_err *e);
int files_commit(struct files *f, struct qz_err *e);
void files_close(struct files *f);

#endif

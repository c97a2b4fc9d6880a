#include "libcore/io/zst.h"

#include <zstd.h>

enum { WINDOW_LOG_MAX = 27 };

struct qz_zst *
qz_zst_new(int level, struct qz_err *e)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();

	if (!c || ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level))) {
		ZSTD_freeCCtx(c);
		qz_fail(e, QZ_EIO, "zstd: cannot compress at level %d", level);
		return NULL;
	}
	return (struct qz_zst *)c;
}

int
qz_zst_add(
    struct qz_zst *z, struct qz_buf *out, const void *data, size_t n, bool last, struct qz_err *e)
{
	ZSTD_inBuffer in = { data, n, 0 };
	size_t left, step = ZSTD_CStreamOutSize();

	do {
		ZSTD_outBuffer o = { qz_buf_room(out, step), step, 0 };

		if (!o.dst)
			return qz_buf_ok(out, e);
		left = ZSTD_compressStream2(
		    (ZSTD_CCtx *)z, &o, &in, last ? ZSTD_e_end : ZSTD_e_continue);
		out->n -= step - o.pos;
		if (ZSTD_isError(left))
			return qz_fail(e, QZ_EIO, "zstd: %s", ZSTD_getErrorName(left));
	} while (last ? left != 0 : in.pos < in.size);
	return 0;
}

void
qz_zst_free(struct qz_zst *z)
{
	ZSTD_freeCCtx((ZSTD_CCtx *)z);
}

struct qz_unzst *
qz_unzst_new(struct qz_err *e)
{
	ZSTD_DCtx *c = ZSTD_createDCtx();

	if (!c) {
		qz_nomem(e, 1);
		return NULL;
	}
	ZSTD_DCtx_setParameter(c, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	return (struct qz_unzst *)c;
}

void
qz_unzst_reset(struct qz_unzst *z)
{
	ZSTD_DCtx_reset((ZSTD_DCtx *)z, ZSTD_reset_session_only);
}

int
qz_unzst_step(
    struct qz_unzst *z, const void *in, size_t *n_in, void *out, size_t *n_out, struct qz_err *e)
{
	ZSTD_inBuffer i = { in, *n_in, 0 };
	ZSTD_outBuffer o = { out, *n_out, 0 };
	size_t left = ZSTD_decompressStream((ZSTD_DCtx *)z, &o, &i);

	*n_in = i.pos;
	*n_out = o.pos;
	if (ZSTD_isError(left))
		return qz_fail(e, QZ_EDATA, "zstd: %s", ZSTD_getErrorName(left));
	return left == 0;
}

void
qz_unzst_free(struct qz_unzst *z)
{
	ZSTD_freeDCtx((ZSTD_DCtx *)z);
}

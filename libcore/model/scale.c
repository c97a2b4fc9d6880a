#include "libcore/model/scale.h"

#include <math.h>

void
qz_scale_begin(struct qz_scale *s, bool on)
{
	*s = (struct qz_scale){ .on = on, .factor = on ? QZ_SCALE_FIRST : 1 };
}

enum qz_scale_next
qz_scale_step(struct qz_scale *s, bool finite)
{
	if (!finite && s->factor <= 1)
		return QZ_SCALE_STOP;
	if (!finite) {
		s->factor /= 2;
		s->good = 0;
		s->skipped++;
		return QZ_SCALE_SKIP;
	}
	if (s->on && ++s->good == QZ_SCALE_GROW) {
		s->factor = fmin(2 * s->factor, QZ_SCALE_MOST);
		s->good = 0;
	}
	return QZ_SCALE_UPDATE;
}

void
qz_scale_put(const struct qz_scale *s, struct qz_buf *out)
{
	if (s->on)
		qz_buf_fmt(out, ",\"scale\":{\"factor\":%.0f,\"good\":%lld,\"skipped\":%lld}",
		    s->factor, (long long)s->good, (long long)s->skipped);
	else if (s->skipped)
		qz_buf_fmt(out, ",\"scale\":{\"skipped\":%lld}", (long long)s->skipped);
}

/* A whole number that is there; else *v stays. */
static int
number(
    const struct qz_json *j, const char *name, int64_t lo, int64_t hi, int64_t *v, struct qz_err *e)
{
	if (!qz_json_get(j, name))
		return 0;
	return qz_json_int(qz_json_get(j, name), lo, hi, v, e) < 0 ? qz_at(e, "scale: %s", name)
								   : 0;
}

int
qz_scale_get(struct qz_scale *s, const struct qz_json *head, int64_t step, struct qz_err *e)
{
	const struct qz_json *j = qz_json_get(head, "scale");
	int64_t factor = (int64_t)s->factor, good = 0;

	if (!j)
		return 0;
	if (number(j, "factor", 1, (int64_t)QZ_SCALE_MOST, &factor, e) < 0 ||
	    number(j, "good", 0, QZ_SCALE_GROW - 1, &good, e) < 0 ||
	    number(j, "skipped", 0, step, &s->skipped, e) < 0)
		return -1;
	if (factor & (factor - 1))
		return qz_fail(
		    e, QZ_EDATA, "scale: factor: %lld is no power of two", (long long)factor);
	if (s->on) {
		s->factor = (double)factor;
		s->good = good;
	}
	return 0;
}

#include "libcore/model/proj.h"

#include <string.h>

static const struct qz_proj_info projs[QZ_PROJ_N] = {
	[QZ_PROJ_Q] = { "q_proj", QZ_Q, QZ_Q_BIAS },
	[QZ_PROJ_K] = { "k_proj", QZ_K, QZ_K_BIAS },
	[QZ_PROJ_V] = { "v_proj", QZ_V, QZ_V_BIAS },
	[QZ_PROJ_O] = { "o_proj", QZ_O, QZ_O_BIAS },
	[QZ_PROJ_GATE] = { "gate_proj", QZ_GATE, QZ_GATE_BIAS },
	[QZ_PROJ_UP] = { "up_proj", QZ_UP, QZ_UP_BIAS },
	[QZ_PROJ_DOWN] = { "down_proj", QZ_DOWN, QZ_DOWN_BIAS },
};

const struct qz_proj_info *
qz_proj(enum qz_proj p)
{
	return &projs[p];
}

int
qz_proj_of_role(int role)
{
	for (int p = 0; p < QZ_PROJ_N; p++)
		if ((int)projs[p].weight == role)
			return p;
	return -1;
}

void
qz_proj_shape(const struct qz_config *c, enum qz_proj p, int64_t *rows, int64_t *cols)
{
	uint64_t dims[2];
	int n;

	qz_config_shape(c, projs[p].weight, dims, &n);
	*rows = (int64_t)dims[0];
	*cols = (int64_t)dims[1];
}

/* The n letters at s are a projection's name, with or without "_proj". */
static int
find(const char *s, size_t n)
{
	for (int p = 0; p < QZ_PROJ_N; p++) {
		size_t whole = strlen(projs[p].name), stem = whole - strlen("_proj");

		if ((n == whole || n == stem) && !strncmp(s, projs[p].name, n))
			return p;
	}
	return -1;
}

int
qz_proj_set_parse(const char *text, unsigned *set, struct qz_err *e)
{
	*set = QZ_PROJ_ALL;
	if (!strcmp(text, "all"))
		return 0;
	*set = 0;
	for (const char *s = text;;) {
		size_t n = strcspn(s, ",");
		int p = find(s, n);

		if (p < 0)
			return qz_fail(e, QZ_EUSAGE,
			    "'%.*s' is no projection; q, k, v, o, gate, up, down or all expected",
			    (int)(n < 100 ? n : 100), s);
		*set |= 1u << p;
		if (!s[n])
			return 0;
		s += n + 1;
	}
}

void
qz_proj_set_put(unsigned set, const char *between, struct qz_buf *out)
{
	const char *sep = "";

	for (int p = 0; p < QZ_PROJ_N; p++) {
		if (!(set & 1u << p))
			continue;
		qz_buf_fmt(out, "%s%s", sep, projs[p].name);
		sep = between;
	}
}

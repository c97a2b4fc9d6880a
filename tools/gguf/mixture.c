#include "tools/gguf/mixture.h"

#include <string.h>
#include <strings.h>

static const struct mixture mixtures[] = {
	{ "f32", QZ_F32, 0 },
	{ "f16", QZ_F16, 1 },
	{ "q4_0", QZ_Q4_0, 2 },
	{ "q4_1", QZ_Q4_1, 3 },
	{ "q8_0", QZ_Q8_0, 7 },
	{ "q5_0", QZ_Q5_0, 8 },
	{ "q5_1", QZ_Q5_1, 9 },
	{ "q2_k", QZ_Q2_K, 10 },
	{ "q3_k_s", QZ_Q3_K, 11 },
	{ "q3_k_m", QZ_Q3_K, 12 },
	{ "q3_k", QZ_Q3_K, 12 },
	{ "q3_k_l", QZ_Q3_K, 13 },
	{ "q4_k_s", QZ_Q4_K, 14 },
	{ "q4_k_m", QZ_Q4_K, 15 },
	{ "q4_k", QZ_Q4_K, 15 },
	{ "q5_k_s", QZ_Q5_K, 16 },
	{ "q5_k_m", QZ_Q5_K, 17 },
	{ "q5_k", QZ_Q5_K, 17 },
	{ "q6_k", QZ_Q6_K, 18 },
	{ "q2_k_s", QZ_Q2_K, 21 },
	{ "iq4_nl", QZ_IQ4_NL, 25 },
	{ "iq4_xs", QZ_IQ4_XS, 30 },
	{ "bf16", QZ_BF16, 32 },
};
enum {
	Q4_0 = 2,
	Q5_0 = 8,
	Q2_K = 10,
	Q3_K_M = 12,
	Q3_K_L,
	Q4_K_S,
	Q4_K_M,
	Q5_K_M = 17,
	Q2_K_S = 21,
	IQ4_NL = 25,
	IQ4_XS = 30
};

const struct mixture *
mixture_find(const char *name)
{
	for (size_t i = 0; i < sizeof mixtures / sizeof *mixtures; i++)
		if (!strcasecmp(mixtures[i].name, name))
			return &mixtures[i];
	return NULL;
}

/* When a rule holds, for layer i of n. */
enum when {
	ALWAYS,
	OUTER,             /* the first and the last eighth, and every third between */
	FIRST_2,           /* i < 2 */
	FIRST_4,           /* i < 4 */
	EIGHTH,            /* i < n / 8 */
	SIXTEENTH,         /* i < n / 16 */
	SHARED_4,          /* a key/value head serves four query heads, or more */
	EIGHTH_UNWEIGHTED, /* i < n / 8, and there is no importance matrix */
	EIGHTH_WEIGHTED,   /* i < n / 8, and there is one */
};

/* The first that holds. */
static const struct {
	int ftype;
	enum qz_role role;
	enum when when;
	enum qz_dtype type;
} rules[] = {
	{ Q2_K, QZ_V, SHARED_4, QZ_Q4_K },
	{ Q2_K, QZ_V, ALWAYS, QZ_Q3_K },
	{ Q2_K, QZ_O, ALWAYS, QZ_Q3_K },
	{ Q2_K, QZ_DOWN, ALWAYS, QZ_Q3_K },
	{ Q2_K_S, QZ_V, SHARED_4, QZ_Q4_K },
	{ Q2_K_S, QZ_DOWN, EIGHTH, QZ_Q4_K },
	{ Q3_K_M, QZ_V, FIRST_2, QZ_Q5_K },
	{ Q3_K_M, QZ_V, ALWAYS, QZ_Q4_K },
	{ Q3_K_M, QZ_O, ALWAYS, QZ_Q4_K },
	{ Q3_K_M, QZ_DOWN, SIXTEENTH, QZ_Q5_K },
	{ Q3_K_M, QZ_DOWN, ALWAYS, QZ_Q4_K },
	{ Q3_K_L, QZ_V, ALWAYS, QZ_Q5_K },
	{ Q3_K_L, QZ_O, ALWAYS, QZ_Q5_K },
	{ Q3_K_L, QZ_DOWN, ALWAYS, QZ_Q5_K },
	{ Q4_K_S, QZ_V, FIRST_4, QZ_Q5_K },
	{ Q4_K_S, QZ_DOWN, EIGHTH, QZ_Q5_K },
	{ Q4_K_M, QZ_V, OUTER, QZ_Q6_K },
	{ Q4_K_M, QZ_DOWN, OUTER, QZ_Q6_K },
	{ Q5_K_M, QZ_V, OUTER, QZ_Q6_K },
	{ Q5_K_M, QZ_DOWN, OUTER, QZ_Q6_K },
	{ IQ4_NL, QZ_V, SHARED_4, QZ_Q5_K },
	{ IQ4_NL, QZ_DOWN, EIGHTH_UNWEIGHTED, QZ_Q5_K },
	{ IQ4_XS, QZ_V, SHARED_4, QZ_Q5_K },
	{ IQ4_XS, QZ_DOWN, EIGHTH_UNWEIGHTED, QZ_Q5_K },
	{ Q4_0, QZ_DOWN, EIGHTH_WEIGHTED, QZ_Q4_1 },
	{ Q5_0, QZ_DOWN, EIGHTH_WEIGHTED, QZ_Q5_1 },
};

static bool
holds(enum when w, const struct qz_config *c, int64_t i, bool importance)
{
	int64_t n = c->layers;

	switch (w) {
	case ALWAYS:
		return true;
	case OUTER:
		return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
	case FIRST_2:
		return i < 2;
	case FIRST_4:
		return i < 4;
	case EIGHTH:
		return i < n / 8;
	case SIXTEENTH:
		return i < n / 16;
	case SHARED_4:
		return c->heads / c->kv_heads >= 4;
	case EIGHTH_UNWEIGHTED:
		return i < n / 8 && !importance;
	case EIGHTH_WEIGHTED:
		return i < n / 8 && importance;
	}
	return false;
}

/* What counts as "the 70B model", whose small v matrices get more. */
static bool
is_70b(const struct qz_config *c)
{
	return c->layers == 80 && (strcmp(c->family->gguf, "llama") || c->heads != c->kv_heads);
}

static enum qz_dtype
head_type(const struct mixture *m, uint64_t cols)
{
	if (m->type == QZ_Q8_0 || cols % qz_dtype((unsigned)m->type)->block)
		return QZ_Q8_0;
	return QZ_Q6_K;
}

enum qz_dtype
mixture_type(const struct mixture *m, const struct qz_config *c, enum qz_role role, int layer,
    uint64_t cols, bool importance)
{
	enum qz_dtype type = m->type;

	if (qz_dtype((unsigned)type)->plain)
		return type;
	if (role == QZ_HEAD || (role == QZ_EMBED && c->tied))
		return head_type(m, cols);
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (rules[i].ftype == m->ftype && rules[i].role == role &&
		    holds(rules[i].when, c, layer, importance)) {
			type = rules[i].type;
			break;
		}
	if (role == QZ_V && is_70b(c) && (type == QZ_Q3_K || type == QZ_Q4_K))
		return QZ_Q5_K;
	return type;
}

enum qz_dtype
mixture_fit(enum qz_dtype type, uint64_t cols)
{
	static const enum qz_dtype instead[QZ_DTYPE_END] = {
		[QZ_Q2_K] = QZ_IQ4_NL,
		[QZ_Q3_K] = QZ_IQ4_NL,
		[QZ_IQ4_XS] = QZ_IQ4_NL,
		[QZ_Q4_K] = QZ_Q5_0,
		[QZ_Q5_K] = QZ_Q5_1,
		[QZ_Q6_K] = QZ_Q8_0,
	};

	while (cols % qz_dtype((unsigned)type)->block)
		type = instead[type] ? instead[type] : QZ_F16;
	return type;
}

#include "libcore/text/charsmap.h"

#include <stdlib.h>
#include <string.h>

#include "libcore/base/base64.h"
#include "libcore/base/le.h"
#include "libcore/base/utf8.h"

static uint32_t
offset(uint32_t unit)
{
	return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

int
qz_charsmap_load(struct qz_charsmap *m, const void *data, size_t n, struct qz_err *e)
{
	const uint8_t *p = data;
	size_t size = n >= 4 ? le32_get(p) : 0;
	const char *texts = (const char *)p + 4 + size;

	if (n < 4 || size > n - 4 || size % 4 || size < 4)
		return qz_fail(e, QZ_EDATA, "charsmap: a trie of %zu bytes in %zu", size, n);
	m->n_units = size / 4;
	m->n_texts = n - 4 - size;
	if (qz_utf8_valid(texts, m->n_texts) < m->n_texts)
		return qz_fail(e, QZ_EDATA, "charsmap: its texts are not valid UTF-8");
	m->units = malloc(size);
	m->texts = malloc(m->n_texts + 1);
	if (!m->units || !m->texts)
		return qz_nomem(e, n);
	for (size_t i = 0; i < m->n_units; i++)
		m->units[i] = le32_get(p + 4 + 4 * i);
	memcpy(m->texts, texts, m->n_texts);
	m->texts[m->n_texts] = '\0';
	/* Whether a unit is a value is known by a search alone: it checks where values point. */
	return 0;
}

int
qz_charsmap_load64(struct qz_charsmap *m, const char *base64, struct qz_err *e)
{
	struct qz_buf bytes = { 0 };
	int ret = qz_base64_decode(base64, strlen(base64), &bytes, e);

	if (ret < 0)
		qz_at(e, "charsmap");
	else
		ret = qz_charsmap_load(m, bytes.data, bytes.n, e);
	qz_buf_free(&bytes);
	return ret;
}

const char *
qz_charsmap_find(const struct qz_charsmap *m, const char *s, size_t n, int longest, size_t *len)
{
	const char *found = NULL;
	uint32_t at, unit;

	if (!m->n_units)
		return NULL;
	at = offset(m->units[0]);
	for (size_t i = 0; i < n; i++) {
		uint32_t byte = (unsigned char)s[i], value;

		at ^= byte;
		if (at >= m->n_units)
			break;
		unit = m->units[at];
		if ((unit & (1u << 31 | 0xff)) != byte)
			break;
		at ^= offset(unit);
		if (!(unit >> 8 & 1) || at >= m->n_units)
			continue;
		value = m->units[at] & 0x7fffffff;
		/* Between characters: the text that follows is whole. */
		if (value > m->n_texts || ((unsigned char)m->texts[value] & 0xc0) == 0x80)
			continue;
		found = m->texts + value;
		*len = i + 1;
		if (!longest)
			break;
	}
	return found;
}

void
qz_charsmap_clear(struct qz_charsmap *m)
{
	free(m->units);
	free(m->texts);
	memset(m, 0, sizeof *m);
}

/* Rates that were measured before, in a file of text: a line that says of what, then a line a rate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/base/buf.h"
#include "libcore/base/cache.h"
#include "libcore/base/hash.h"
#include "libcore/io/in.h"
#include "libcore/model/estimate.h"

enum { RATES = 7 + QZ_PARTS_MAX + 1, FILE_MAX = 1 << 14 };

/* What decides the rates. */
static void
put_key(struct qz_buf *b, struct qz_dev *dev, const struct qz_config *c, const struct qz_lora *l,
    const struct qz_extent *room, bool any_order)
{
	char about[300];

	dev->k->describe(dev, about, sizeof about);
	qz_buf_fmt(b,
	    "qz " QZ_VERSION ", %s; hidden %lld, ffn %lld, heads %lld and %lld of %lld, window "
	    "%lld; %lld tokens in %lld documents of at most %lld%s; rank %d, dropout %s",
	    about, (long long)c->hidden, (long long)c->ffn, (long long)c->heads,
	    (long long)c->kv_heads, (long long)c->head_dim, (long long)c->window,
	    (long long)room->tokens, (long long)room->docs, (long long)room->max_len,
	    any_order ? " in any order" : "", l->rank, l->dropout > 0 ? "yes" : "no");
}

/* The rates by their places in the file. */
static void
list(struct qz_rates *r, double *at[RATES], const char *name[RATES])
{
	static const char *const parts[QZ_PARTS_MAX + 1] = { "attention_bwd", "attention_bwd_1",
		"attention_bwd_2", "attention_bwd_3", "attention_bwd_4", "attention_bwd_5",
		"attention_bwd_6", "attention_bwd_7", "attention_bwd_8" };
	double *all[] = { &r->product, &r->attention, &r->copy, &r->link, &r->launch, &r->drop,
		&r->drop_bwd };
	static const char *const names[] = { "product", "attention", "copy", "link", "launch",
		"drop", "drop_bwd" };
	int n = 0;

	for (int i = 0; i < 7; i++, n++) {
		at[n] = all[i];
		name[n] = names[i];
	}
	for (int i = 0; i <= QZ_PARTS_MAX; i++, n++) {
		at[n] = &r->attention_bwd[i];
		name[n] = parts[i];
	}
}

/* Takes the words of a file; false when it is not one of this key. */
static bool
parse(struct qz_rates *r, const struct qz_buf *key, const char *text)
{
	const char *name[RATES];
	double *at[RATES];
	char *end;

	if (strncmp(text, key->data, key->n) || text[key->n] != '\n')
		return false;
	text += key->n + 1;
	*r = (struct qz_rates){ 0 };
	list(r, at, name);
	for (int i = 0; i < RATES; i++) {
		size_t n = strlen(name[i]);

		if (strncmp(text, name[i], n) || text[n] != ' ')
			return false;
		*at[i] = strtod(text + n, &end);
		if (end == text + n || *end != '\n' || !(*at[i] >= 0 && *at[i] < 1e30))
			return false;
		text = end + 1;
	}
	if (strncmp(text, "libraries ", 10))
		return false;
	r->libraries = strtoull(text + 10, &end, 10);
	return end != text + 10 && !strcmp(end, "\n") && r->product > 0 && r->attention > 0 &&
	       r->attention_bwd[0] > 0 && r->copy > 0 && r->link > 0 &&
	       r->libraries < (uint64_t)1 << 40;
}

static bool
read_file(struct qz_rates *r, const struct qz_buf *key, const char *path)
{
	struct qz_buf b = { 0 };
	struct qz_err none;
	bool good = qz_file_read(path, &b, FILE_MAX, &none) == 0;

	qz_buf_add(&b, "", 1);
	good = good && qz_buf_ok(&b, &none) == 0 && parse(r, key, b.data);
	qz_buf_free(&b);
	return good;
}

static void
write_file(struct qz_rates *r, const struct qz_buf *key, const char *path)
{
	struct qz_cache_file c;
	const char *name[RATES];
	double *at[RATES];

	if (!qz_cache_create(&c, path))
		return;
	list(r, at, name);
	fprintf(c.f, "%s\n", key->data);
	for (int i = 0; i < RATES; i++)
		fprintf(c.f, "%s %.17g\n", name[i], *at[i]);
	fprintf(c.f, "libraries %llu\n", (unsigned long long)r->libraries);
	qz_cache_close(&c);
}

int
qz_rates_get(struct qz_rates *r, struct qz_dev *dev, const struct qz_config *c,
    const struct qz_lora *l, const struct qz_extent *room, bool any_order, struct qz_err *e)
{
	struct qz_buf key = { 0 };
	char path[QZ_CACHE_PATH];
	bool kept;
	int ret = 0;

	put_key(&key, dev, c, l, room, any_order);
	if (qz_buf_ok(&key, e) < 0) {
		qz_buf_free(&key);
		return -1;
	}
	kept = qz_cache_path(path, "rates", qz_hash64(key.data, key.n));
	if (!kept || !read_file(r, &key, path)) {
		ret = qz_rates_measure(r, dev, c, l, room, any_order, e);
		if (ret == 0 && kept)
			write_file(r, &key, path);
	}
	qz_buf_free(&key);
	return ret;
}

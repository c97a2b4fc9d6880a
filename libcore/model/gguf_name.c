#include "libcore/model/gguf_name.h"

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PARTS_MAX = 64 };
enum { BASENAME = 1, SIZE = 2, FINETUNE = 4, VERSION = 8, TYPE = 16 };

struct part {
	char text[QZ_GGUF_NAME_LEN];
	unsigned is; /* what it may be */
};

static size_t
digits(const char *s)
{
	return strspn(s, "0123456789");
}

/* 0.2, v1, iter3 */
static bool
is_version(const char *s)
{
	if (!strncasecmp(s, "iter", 4))
		s += 4;
	else if (*s == 'v' || *s == 'V')
		s++;
	if (!digits(s))
		return false;
	for (s += digits(s); *s == '.' && digits(s + 1); s += digits(s))
		s++;
	return !*s;
}

/* Q4_K, IQ2_XS, f16, bf16 */
static bool
is_type(const char *s)
{
	if (*s == 'b' || *s == 'B') {
		s++;
		return !strcasecmp(s, "f16") || !strcasecmp(s, "f32") || !strcasecmp(s, "fp16") ||
		       !strcasecmp(s, "fp32");
	}
	if (!strcasecmp(s, "fp16") || !strcasecmp(s, "fp32"))
		return true;
	if (*s == 'i' || *s == 'I')
		s++;
	if ((*s != 'q' && *s != 'Q') || !isdigit((unsigned char)s[1]))
		return false;
	for (s += 2; *s == '_' && (isalnum((unsigned char)s[1]) || s[1] == '_'); s += 2)
		;
	return !*s;
}

/* 7B, 1.1b, 8x7B, 7b1, A3B, mini */
static bool
is_size(const char *s)
{
	static const char *const words[] = { "small", "mini", "medium", "large", "xl", "xxl", "l" };

	for (size_t i = 0; i + 1 < sizeof words / sizeof *words; i++)
		if (!strcasecmp(s, words[i]))
			return true;
	if (*s == 'A' || *s == 'a')
		s++;
	else if (digits(s) && tolower((unsigned char)s[digits(s)]) == 'x')
		s += digits(s) + 1;
	if (!digits(s))
		return false;
	s += digits(s);
	if ((*s == '.' || *s == '_') && digits(s + 1))
		s += 1 + digits(s + 1);
	if (!*s || !strchr("KMBTkmbt", *s))
		return false;
	s++;
	if (isdigit((unsigned char)*s))
		s++;
	return !*s;
}

static bool
is_finetune(const char *s)
{
	static const char *const words[] = { "chat", "instruct", "vision", "lora" };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (!strcasecmp(s, words[i]))
			return true;
	return false;
}

/* 7b1 -> 7.1B, 1_1b -> 1.1B */
static void
normalize_size(char *s)
{
	size_t n = strlen(s);

	for (char *p = s; *p; p++)
		if (*p == '_')
			*p = '.';
	if (n > 2 && isdigit((unsigned char)s[n - 1])) {
		char unit = s[n - 2];

		s[n - 2] = '.';
		if (n + 1 < QZ_GGUF_NAME_LEN) {
			s[n] = unit;
			s[++n] = '\0';
		}
	}
	if (n > 1 && isdigit((unsigned char)s[n - 2]))
		s[n - 1] = (char)toupper((unsigned char)s[n - 1]);
}

/* A label far from the model's size is the length of its context: "32k". */
static bool
fits(const char *label, int64_t n_params)
{
	const char *units = " KMBT", *unit = strchr(units, label[strlen(label) - 1]);
	char *end;
	double size = strtod(label, &end), total = fabs((double)n_params);

	if (!n_params || end == label || !unit || end[1])
		return true;
	size *= pow(1000, (double)(unit - units));
	return n_params < 0 ? size >= floor(total / 8) : fabs(size - total) <= floor(7 * total / 8);
}

static void
classify(struct part *p, bool first, int64_t n_params)
{
	if (is_version(p->text)) {
		p->is = VERSION;
	} else if (is_type(p->text)) {
		p->is = TYPE;
		for (char *s = p->text; *s; s++)
			*s = (char)toupper((unsigned char)*s);
	} else if (!first && is_size(p->text)) {
		size_t n;

		normalize_size(p->text);
		n = strlen(p->text);
		p->is = fits(p->text, n_params) ? SIZE : FINETUNE;
		if (p->is == FINETUNE)
			p->text[n - 1] = (char)tolower((unsigned char)p->text[n - 1]);
	} else if (!first && is_finetune(p->text)) {
		p->is = n_params < 0 && !strcasecmp(p->text, "lora") ? TYPE : FINETUNE;
	}
}

/* "small" is no size beside "7B". */
static void
drop_words(struct part *p, size_t n)
{
	bool number = false;

	for (size_t i = 0; i < n; i++)
		number = number || (p[i].is == SIZE && strpbrk(p[i].text, "0123456789"));
	for (size_t i = 0; i < n && number; i++)
		if (p[i].is == SIZE && !strpbrk(p[i].text, "0123456789."))
			p[i].is = 0;
}

/* The leading parts that are nothing else, and versions among them, are the base's name. */
static void
find_basename(struct part *p, size_t n)
{
	bool at_start = true;

	for (size_t i = 0; i < n; i++) {
		if (at_start &&
		    ((!p[i].is && isalpha((unsigned char)p[i].text[0])) || p[i].is & VERSION)) {
			p[i].is |= BASENAME;
		} else {
			at_start = false;
			if (!p[i].is)
				p[i].is = FINETUNE;
		}
	}
	while (n-- > 0 && p[n].is & BASENAME && p[n].is != BASENAME)
		p[n].is &= ~(unsigned)BASENAME;
}

static void
join(char *out, const struct part *p, size_t n, unsigned is, unsigned isnt)
{
	*out = '\0';
	for (size_t i = 0; i < n; i++) {
		size_t have = strlen(out);
		bool again = false;

		if (!(p[i].is & is) || p[i].is & isnt)
			continue;
		for (size_t k = 0; k < i && is == SIZE; k++)
			again = again || (p[k].is & SIZE && !strcmp(p[k].text, p[i].text));
		if (!again)
			snprintf(out + have, QZ_GGUF_NAME_LEN - have, "%s%s", have ? "-" : "",
			    p[i].text);
	}
}

/* A word is written as in a title when it is all lower case and no version or number. */
static void
title_word(char *s)
{
	bool lower = false, upper = false, version = *s == 'v' && digits(s + 1) && is_version(s);

	for (char *p = s; *p; p++) {
		lower = lower || islower((unsigned char)*p);
		upper = upper || isupper((unsigned char)*p);
	}
	if (!lower || upper || version || isdigit((unsigned char)*s))
		return;
	for (bool start = true; *s; s++) {
		if (start)
			*s = (char)toupper((unsigned char)*s);
		start = !isalpha((unsigned char)*s);
	}
}

static void
title(char *out, const char *id)
{
	size_t n = 0;

	while (*id && n < QZ_GGUF_NAME_LEN - 1) {
		size_t len = strcspn(id, "- \t\r\n\f\v"), at = n;

		if (len > QZ_GGUF_NAME_LEN - 2 - n)
			len = QZ_GGUF_NAME_LEN - 2 - n;
		if (len) {
			if (n)
				out[n++] = ' ';
			at = n;
			memcpy(out + n, id, len);
			n += len;
		}
		out[n] = '\0';
		title_word(out + at);
		id += len;
		id += *id != '\0';
	}
	out[n] = '\0';
}

static size_t
split(const char *s, struct part *p)
{
	size_t n = 0;

	while (*s && n < PARTS_MAX) {
		size_t len = strcspn(s, "-");

		if (len) {
			snprintf(p[n].text, sizeof p[n].text, "%.*s", (int)len, s);
			p[n++].is = 0;
		}
		s += len;
		s += *s != '\0';
	}
	return n;
}

void
qz_gguf_name(struct qz_gguf_name *out, const char *id, int64_t n_params)
{
	struct part parts[PARTS_MAX];
	const char *slash = strchr(id, '/');
	size_t n;

	*out = (struct qz_gguf_name){ 0 };
	if (strchr(id, ' ')) { /* a sentence, not an id */
		title(out->title, id);
		return;
	}
	if (slash && *id != '.') {
		char org[QZ_GGUF_NAME_LEN];

		snprintf(org, sizeof org, "%.*s", (int)(slash - id), id);
		title(out->organization, org);
	}
	if (slash)
		id = slash + 1;
	title(out->title, id);
	n = split(id, parts);
	for (size_t i = 0; i < n; i++)
		classify(&parts[i], i == 0, n_params);
	drop_words(parts, n);
	find_basename(parts, n);
	join(out->basename, parts, n, BASENAME, 0);
	join(out->size, parts, n, SIZE, 0);
	join(out->finetune, parts, n, FINETUNE, 0);
	join(out->version, parts, n, VERSION, BASENAME);
	if (!*out->size && !*out->finetune && !*out->version)
		*out->basename = '\0'; /* could be anything */
}

void
qz_gguf_size_label(uint64_t n_params, char out[32])
{
	static const struct {
		double above, unit;
		char letter;
	} units[] = { { 1e12, 1e12, 'T' }, { 1e9, 1e9, 'B' }, { 1e6, 1e6, 'M' }, { -1, 1e3, 'K' } };
	size_t i = 0;
	double v;

	while ((double)n_params <= units[i].above)
		i++;
	v = (double)n_params / units[i].unit;
	/* Two digits: 7.0B but 13B. */
	snprintf(out, 32, "%.*f%c",
	    nearbyint(v) < 1    ? 2
	    : nearbyint(v) < 10 ? 1
				: 0,
	    v, units[i].letter);
}

/* shardcat - lists the records of qz shards; written from qz-shard(5) alone.
 *
 *	shardcat < base.qz
 *
 * It reads forwards with nothing but the standard library.  It checks the structure: magic, numbers,
 * lengths, shapes of the parts, zero padding, order, counts and the end; not the checksums, which take XXH3.
 * Exit status: 0 the shards are whole, 1 the system refused, 3 they are damaged or truncated. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64, PART_MAX = 1 << 26, NAME_MAX_LEN = 1024 };
enum { ZSTD = 1, PLANES = 2, REQUIRED = 0x8000, FLAGS = ZSTD | PLANES | REQUIRED };

struct record {
	char type[5];
	unsigned flags;
	uint64_t table_n, meta_n, stored, raw, number, offset;
	unsigned char *table;
	char *meta;
};

/* What END must say. */
struct counts {
	uint64_t records, tensors, blobs, rows, tokens, trained;
};

static uint64_t at;    /* bytes read */
static uint64_t start; /* of the current shard */

static _Noreturn void
refuse(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "shardcat: before byte %llu: ", (unsigned long long)at);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(3);
}

static uint64_t
le(const unsigned char *p, int n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

static void
get(void *to, uint64_t n)
{
	size_t got = fread(to, 1, (size_t)n, stdin);

	at += got;
	if (got == n)
		return;
	if (ferror(stdin)) {
		perror("shardcat: stdin");
		exit(1);
	}
	refuse("truncated: the file ends before the end record");
}

static void
skip(uint64_t n)
{
	char away[65536];

	for (; n > sizeof away; n -= sizeof away)
		get(away, sizeof away);
	get(away, n);
}

static void
zeros(const unsigned char *p, uint64_t n, const char *what)
{
	for (uint64_t i = 0; i < n; i++)
		if (p[i])
			refuse("%s: a byte is 0x%02x, not zero", what, p[i]);
}

static void
padding(uint64_t n)
{
	unsigned char pad[ALIGN];
	uint64_t left = (ALIGN - n % ALIGN) % ALIGN;

	get(pad, left);
	zeros(pad, left, "padding");
}

/* A table or a meta, with a NUL behind it.  It grows as it is read: a length that lies costs nothing. */
static void *
part(uint64_t n, const char *what)
{
	unsigned char *p = NULL;
	uint64_t have = 0;

	if (n > PART_MAX)
		refuse("%s of %llu bytes, at most %d", what, (unsigned long long)n, PART_MAX);
	do {
		uint64_t more = n - have < 65536 ? n - have : 65536;

		p = realloc(p, (size_t)(have + more + 1));
		if (!p) {
			perror("shardcat");
			exit(1);
		}
		get(p + have, more);
		have += more;
	} while (have < n);
	p[n] = 0;
	padding(n);
	return p;
}

static void
preamble(const unsigned char *first)
{
	unsigned char p[ALIGN];

	memcpy(p, first, 1);
	get(p + 1, sizeof p - 1);
	if (memcmp(p, "\x89QZS\r\n\x1a\n", 8))
		refuse("this is no shard: the magic is missing");
	if (le(p + 8, 2) != 1)
		refuse("format version %u, 1 is known", (unsigned)le(p + 8, 2));
	zeros(p + 12, 52, "preamble");
}

static void
header(struct record *r)
{
	unsigned char h[ALIGN];

	r->offset = at - start;
	get(h, sizeof h);
	memcpy(r->type, h, 4);
	r->type[4] = 0;
	r->flags = (unsigned)le(h + 4, 2);
	r->table_n = le(h + 8, 4);
	r->meta_n = le(h + 12, 4);
	r->stored = le(h + 16, 8);
	r->raw = le(h + 24, 8);
	r->number = le(h + 32, 8);
	zeros(h + 40, 16, "header");
	if (r->flags & ~(unsigned)FLAGS)
		refuse("flags 0x%04x are not known", r->flags);
	if (r->stored > (uint64_t)1 << 62 || r->raw > (uint64_t)1 << 62)
		refuse("data of %llu bytes is too large", (unsigned long long)r->stored);
	if (!(r->flags & ZSTD) && r->stored != r->raw)
		refuse("%llu bytes stored, %llu raw, and not compressed",
		    (unsigned long long)r->stored, (unsigned long long)r->raw);
	if ((r->flags & PLANES) && (!(r->flags & ZSTD) || r->raw % 2))
		refuse("byte planes of %llu bytes", (unsigned long long)r->raw);
}

/* Does [from, from + n) lie in the table? */
static const unsigned char *
entry(const struct record *r, uint64_t from, uint64_t n)
{
	if (from > r->table_n || n > r->table_n - from)
		refuse("%s: the table of %llu bytes ends within an entry", r->type,
		    (unsigned long long)r->table_n);
	return r->table + from;
}

static uint64_t
padded(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static void
print_name(const unsigned char *name, uint64_t n)
{
	if (n > NAME_MAX_LEN)
		refuse("a name of %llu bytes, at most %d", (unsigned long long)n, NAME_MAX_LEN);
	putchar(' ');
	for (uint64_t i = 0; i < n; i++)
		putchar(name[i] < ' ' || name[i] == 127 ? '?' : name[i]);
}

static const char *
type_name(unsigned type)
{
	static const char *const names[] = {
		[1] = "f32",
		[2] = "f16",
		[3] = "bf16",
		[4] = "f64",
		[8] = "u8",
		[9] = "i32",
		[10] = "u64",
		[16] = "nf4",
		[17] = "fp4",
		[18] = "int8",
		[32] = "q4_0",
		[33] = "q4_1",
		[34] = "q5_0",
		[35] = "q5_1",
		[36] = "q8_0",
		[40] = "q2_k",
		[41] = "q3_k",
		[42] = "q4_k",
		[43] = "q5_k",
		[44] = "q6_k",
		[45] = "iq4_nl",
		[46] = "iq4_xs",
	};

	return type < sizeof names / sizeof *names && names[type] ? names[type] : NULL;
}

/* A tensor's entry at `from`; returns where it ends.  *nbytes: its data. */
static uint64_t
tensor(const struct record *r, uint64_t from, uint64_t *nbytes, int print)
{
	const unsigned char *t = entry(r, from, 16), *p;
	uint64_t name_n = le(t, 2), n_dims = t[4], n_sections = t[5];
	uint64_t fixed = 16 + 8 * n_dims + 16 * n_sections;
	const char *type = type_name((unsigned)le(t + 2, 2));

	if (n_dims < 1 || n_dims > 4 || n_sections < 1 || n_sections > 8)
		refuse("a tensor with %u dimensions and %u sections", t[4], t[5]);
	if (!type)
		refuse("a tensor of type %u, which is not known", (unsigned)le(t + 2, 2));
	p = entry(r, from, fixed + padded(name_n, 8));
	*nbytes = 0;
	for (uint64_t i = 0; i < n_sections; i++) {
		uint64_t n = le(p + 16 + 8 * n_dims + 16 * i + 8, 8);

		if (n > (uint64_t)1 << 58)
			refuse("a section of %llu bytes is too large", (unsigned long long)n);
		*nbytes += padded(n, ALIGN);
	}
	if (print) {
		print_name(p + fixed, name_n);
		printf(" %s (", type);
		for (uint64_t i = 0; i < n_dims; i++)
			printf("%s%llu", i ? ", " : "", (unsigned long long)le(p + 16 + 8 * i, 8));
		putchar(')');
		if (le(p + 8, 4))
			printf(" blocks of %u", (unsigned)le(p + 8, 4));
	}
	return from + fixed + padded(name_n, 8);
}

/* The manifest's entries are kept to compare the tensors with. */
struct manifest {
	unsigned char *table;
	uint64_t size, at;
	uint64_t n; /* 2^64-1: not known */
};

static void
head(struct record *r, struct manifest *m)
{
	uint64_t end = 8, nbytes;

	m->n = le(entry(r, 0, 8), 8);
	m->at = 8;
	if (m->n != UINT64_MAX)
		for (uint64_t i = 0; i < m->n; i++)
			end = tensor(r, end, &nbytes, 0);
	if (!strstr(r->meta, "\"kind\""))
		refuse("the HEAD does not say the kind");
	m->table = r->table;
	m->size = r->table_n;
	r->table = NULL;
	printf(" %s", r->meta);
}

static void
expect_data(const struct record *r, uint64_t nbytes)
{
	if (nbytes != r->raw)
		refuse("%s: %llu bytes of data, its table asks for %llu", r->type,
		    (unsigned long long)r->raw, (unsigned long long)nbytes);
}

static void
tens(const struct record *r, struct counts *c, struct manifest *m)
{
	uint64_t nbytes, n = tensor(r, 0, &nbytes, 1);

	expect_data(r, nbytes);
	if (m->n == UINT64_MAX) {
		c->tensors++;
		return;
	}
	if (c->tensors++ >= m->n || n > m->size - m->at ||
	    memcmp(m->table + m->at, r->table, (size_t)n))
		refuse("this is not the tensor that the HEAD announces");
	m->at += n;
}

static void
toks(const struct record *r, struct counts *c)
{
	const unsigned char *t = entry(r, 0, 32);
	uint64_t n_tokens = le(t, 8), n_rows = le(t + 8, 8), n_docs = le(t + 16, 8),
		 n_trained = le(t + 24, 8);

	if (n_tokens > (uint64_t)1 << 56 || n_rows > n_docs || n_docs > n_tokens ||
	    n_trained > n_tokens)
		refuse("TOKS: %llu rows, %llu documents, %llu tokens cannot be",
		    (unsigned long long)n_rows, (unsigned long long)n_docs,
		    (unsigned long long)n_tokens);
	expect_data(r, padded(4 * n_tokens, ALIGN) + padded(n_tokens, ALIGN) +
			   padded(8 * n_rows, ALIGN) + padded(8 * n_docs, ALIGN));
	c->rows += n_rows;
	c->tokens += n_tokens;
	c->trained += n_trained;
	printf(" %llu rows, %llu tokens, %llu trained", (unsigned long long)n_rows,
	    (unsigned long long)n_tokens, (unsigned long long)n_trained);
}

static void
blob(const struct record *r, struct counts *c)
{
	uint64_t name_n = le(entry(r, 0, 8), 2);

	print_name(entry(r, 8, name_n), name_n);
	c->blobs++;
}

static void
indx(const struct record *r)
{
	uint64_t n = le(entry(r, 0, 8), 8), from = 8;

	for (uint64_t i = 0; i < n; i++)
		from += 16 + padded(le(entry(r, from, 16) + 4, 2), 8);
	entry(r, 0, from);
	printf(" %llu entries", (unsigned long long)n);
}

static void
end(const struct record *r, const struct counts *c, const struct manifest *m)
{
	const unsigned char *t = entry(r, 0, 80);
	const uint64_t want[] = { c->records, c->tensors, c->blobs, c->rows, c->tokens, c->trained,
		at - start + ALIGN };
	static const char *const what[] = { "records", "tensors", "blobs", "rows", "tokens",
		"trained tokens", "bytes" };

	for (int i = 0; i < 7; i++)
		if (le(t + 8 * i, 8) != want[i])
			refuse("END: %llu %s, %llu were there",
			    (unsigned long long)le(t + 8 * i, 8), what[i],
			    (unsigned long long)want[i]);
	if (m->n != UINT64_MAX && m->n != c->tensors)
		refuse("END: %llu tensors, the HEAD announces %llu", (unsigned long long)c->tensors,
		    (unsigned long long)m->n);
	printf(" digest %016llx%016llx", (unsigned long long)le(t + 72, 8),
	    (unsigned long long)le(t + 64, 8));
}

/* One shard, whose first byte has been read. */
static void
shard(const unsigned char *first)
{
	struct counts c = { 0 };
	struct manifest m = { 0 };
	struct record r = { 0 };
	int after_index = 0;

	preamble(first);
	do {
		unsigned char seal[ALIGN];

		header(&r);
		if (r.number != c.records)
			refuse("record %llu is numbered %llu", (unsigned long long)c.records,
			    (unsigned long long)r.number);
		if (!strcmp(r.type, "HEAD") != (r.number == 0))
			refuse("record %llu is %s: the HEAD comes first, and once",
			    (unsigned long long)r.number, r.type);
		if (after_index && strcmp(r.type, "END "))
			refuse("%s stands between INDX and END", r.type);
		after_index = !strcmp(r.type, "INDX");
		r.table = part(r.table_n, "a table");
		r.meta = part(r.meta_n, "a meta");
		printf("%llu %llu %s", (unsigned long long)r.number, (unsigned long long)r.offset,
		    r.type);
		skip(r.stored);
		padding(r.stored);
		if (!strcmp(r.type, "HEAD"))
			head(&r, &m);
		else if (!strcmp(r.type, "TENS"))
			tens(&r, &c, &m);
		else if (!strcmp(r.type, "TOKS"))
			toks(&r, &c);
		else if (!strcmp(r.type, "BLOB"))
			blob(&r, &c);
		else if (!strcmp(r.type, "PROV"))
			printf(" %s", r.meta);
		else if (after_index)
			indx(&r);
		else if (!strcmp(r.type, "END "))
			end(&r, &c, &m);
		else if (r.flags & REQUIRED)
			refuse("a record of a type that must be understood and is not");
		get(seal, sizeof seal);
		zeros(seal + 8, 48, "seal");
		printf(
		    " %llu bytes%s\n", (unsigned long long)r.raw, r.flags & ZSTD ? ", zstd" : "");
		free(r.table);
		free(r.meta);
		c.records++;
	} while (strcmp(r.type, "END "));
	free(m.table);
}

int
main(void)
{
	unsigned char first;

	if (fread(&first, 1, 1, stdin) != 1)
		refuse("the input is empty");
	do {
		start = at++;
		shard(&first);
	} while (fread(&first, 1, 1, stdin) == 1);
	if (ferror(stdin) || fflush(stdout) == EOF) {
		perror("shardcat");
		return 1;
	}
	return 0;
}

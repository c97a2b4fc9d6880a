/* jinja - the inside of the template interpreter: text -> tokens -> tree -> runs of bytes.
 *
 * Private to jinja_*.c and chat*.c.  A tree belongs to its template and is read-only once built, so
 * threads may render it at once; everything made while rendering lives in the arena of that one
 * rendering.  Values never change after they are made, except namespaces and exhausted iterators.
 *
 * A string is a list of runs, and each run knows where its bytes come from.  Concatenation, slices
 * and output copy runs and leave the bytes where they are.
 *
 * Failure is sticky: the first one is described in c->e, c->failed is set, and what is evaluated
 * afterwards is the undefined value.  Loops look at c->failed; the entry points return it. */
#ifndef QZ_JINJA_H
#define QZ_JINJA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/base/arena.h"
#include "libcore/base/buf.h"
#include "libcore/base/err.h"
#include "libcore/text/chat.h"

enum {
	QZ_J_STEPS_MAX = 1000000,
	QZ_J_ASK_MAX = 50 * 1000000, /* steps to find out where turns begin */
	QZ_J_TEXT_MAX = 64 << 20,
	QZ_J_MEMORY_MAX = 512 << 20,
	QZ_J_NEST_MAX = 200,  /* constructs inside each other in the template, macros in calls */
	QZ_J_EVAL_MAX = 2000, /* nodes being evaluated at once, and values inside each other */
	QZ_J_CHAIN_MAX = 500, /* operators in one chain: a + b + c ... */
	QZ_J_RANGE_MAX = 100000,
	QZ_J_FLOAT_TEXT = 80, /* bytes for any number as text */
	QZ_J_ARGS_MAX = 6,    /* parameters of a built-in */
};

/* ---- values ---- */

enum qz_jkind {
	QZ_J_UNDEF, /* with what is known about it, for the message */
	QZ_J_NONE,
	QZ_J_BOOL,
	QZ_J_INT,
	QZ_J_FLOAT,
	QZ_J_STR,
	QZ_J_LIST,
	QZ_J_TUPLE,
	QZ_J_ITER, /* what map, select, ... give: can be walked through once */
	QZ_J_VIEW, /* keys(), values(), items() of a dict */
	QZ_J_RANGE,
	QZ_J_DICT,
	QZ_J_SPACE, /* namespace() */
	QZ_J_LOOP,  /* the variable `loop` */
	QZ_J_MACRO,
	QZ_J_FUNC,    /* a built-in function or a method with its object */
	QZ_J_MISSING, /* an argument that was not given */
};

enum qz_jfrom { QZ_J_TEMPLATE, QZ_J_DATA, QZ_J_EOS };

struct qz_jrun {
	const char *s;
	size_t n;
	int32_t message; /* QZ_J_DATA: index of the message, or -1 */
	int32_t turn;    /* number of the pass over a message that wrote it, or -1 */
	uint8_t from;
	bool generated; /* written inside {% generation %} */
};

struct qz_jstr {
	size_t n, n_runs;
	struct qz_jrun
	    *runs; /* data of a message may have runs without bytes: they mark its place */
};

/* A string being made; zeroed to start. */
struct qz_jbuild {
	struct qz_jrun *runs;
	size_t n_runs, cap, n;
};

struct qz_jv {
	uint8_t kind, from; /* qz_jkind, qz_jfrom */
	int32_t message;
	union {
		bool b;
		int64_t i;
		double f;
		struct qz_jstr *s;
		struct qz_jseq *q;
		struct qz_jdict *d;
		struct qz_jloop *loop;
		struct qz_jmacro *m;
		struct qz_jbound *fn;
		struct qz_jundef *u;
	} u;
};

struct qz_jseq {
	struct qz_jv *v;
	size_t n, cap;
	const char *label;         /* of a view: "dict_items"; of an iterator: "generator" */
	int64_t start, stop, step; /* of a range */
};

struct qz_jdict {
	struct qz_jv *keys, *values;
	size_t n, cap;
	int32_t message; /* this is the conversation's message of that index, or -1 */
};

struct qz_jundef {
	const char *what; /* the whole message, or NULL: made of the two below */
	const char *object, *name;
	size_t n;
};

struct qz_jloop {
	const struct qz_jseq *seq;
	size_t i;
	int depth;
};

struct qz_jmacro {
	const struct qz_jnode *node; /* QZ_JS_MACRO or QZ_JS_CALL */
	struct qz_jscope *scope;
};

/* ---- built-ins ---- */

struct qz_jctx;

struct qz_jcall {
	const struct qz_jbuiltin *builtin;
	struct qz_jv self; /* what a filter or test is applied to, or a method's object */
	struct qz_jv a[QZ_J_ARGS_MAX]; /* by the order of the parameters; QZ_J_MISSING: not given */
	const struct qz_jv *pos;       /* as they were written, for built-ins with params "*" */
	size_t n_pos;
	const struct qz_jnode *kw; /* QZ_JE_KEYWORD ... */
	const struct qz_jv *kw_values;
	size_t n_kw;
};

struct qz_jbuiltin {
	const char *name;
	int required;
	const char *params; /* "old new count", or "*" */
	struct qz_jv (*fn)(struct qz_jctx *c, const struct qz_jcall *call);
	int arg; /* what tells built-ins with the same function apart */
};

struct qz_jbound {
	const struct qz_jbuiltin *builtin;
	struct qz_jv self;
};

/* ---- tree ---- */

enum qz_jnode_kind {
	/* expressions */
	QZ_JE_CONST,   /* value */
	QZ_JE_NAME,    /* id, name */
	QZ_JE_LIST,    /* list */
	QZ_JE_TUPLE,   /* list */
	QZ_JE_DICT,    /* list of PAIR */
	QZ_JE_PAIR,    /* a: b */
	QZ_JE_ATTR,    /* a.name */
	QZ_JE_ITEM,    /* a[b] */
	QZ_JE_SLICE,   /* a[b:c:d], each may be NULL */
	QZ_JE_CALL,    /* a(list): arguments, then KEYWORDs */
	QZ_JE_KEYWORD, /* name=a */
	QZ_JE_STAR,    /* *a */
	QZ_JE_STARS,   /* **a */
	QZ_JE_FILTER,  /* a|builtin(list); a NULL: applied to a block */
	QZ_JE_TEST,    /* a is builtin(list) */
	QZ_JE_UNARY,   /* op a */
	QZ_JE_BINARY,  /* a op b */
	QZ_JE_CONCAT,  /* list joined by ~ */
	QZ_JE_COMPARE, /* a, then list of OPERAND */
	QZ_JE_OPERAND, /* op a */
	QZ_JE_AND,
	QZ_JE_OR,
	QZ_JE_NOT,
	QZ_JE_IF, /* b if a else c; c may be NULL */
	/* statements */
	QZ_JS_TEXT,       /* value */
	QZ_JS_PRINT,      /* a */
	QZ_JS_IF,         /* if a: list, else b (b is NULL, or one IF of an elif, or a BODY) */
	QZ_JS_BODY,       /* list */
	QZ_JS_FOR,        /* for a in b if c: list, else d (a BODY) */
	QZ_JS_SET,        /* a = b */
	QZ_JS_SET_BLOCK,  /* a = list as text, through filters b (or NULL) */
	QZ_JS_ATTR,       /* target name.attribute: id, name = object, b = CONST attribute */
	QZ_JS_MACRO,      /* name id (a = list of PARAM): list */
	QZ_JS_PARAM,      /* id = a (default, or NULL) */
	QZ_JS_CALL,       /* call(a params) b (a CALL): list */
	QZ_JS_FILTER,     /* through filters a: list */
	QZ_JS_WITH,       /* list a of SET: list */
	QZ_JS_GENERATION, /* list */
	QZ_JS_BREAK,
	QZ_JS_CONTINUE,
};

/* What a macro's body reads without being given it by name. */
enum { QZ_J_VARARGS = 1, QZ_J_KWARGS = 2 };

struct qz_jnode {
	uint8_t kind, op; /* op: a token of qz_jtok, or of a macro QZ_J_VARARGS | QZ_J_KWARGS */
	int line;
	uint32_t id; /* of the name, in the template's table */
	const char *name;
	size_t name_n;
	struct qz_jnode *a, *b, *c, *d, *list, *next;
	struct qz_jv value;
	const struct qz_jbuiltin *builtin;
};

struct qz_jname {
	const char *s;
	size_t n;
	const struct qz_jbuiltin *builtin; /* the function of that name, or NULL */
};

struct qz_template {
	struct qz_arena arena;
	struct qz_jnode *body;
	struct qz_jname *names;
	size_t n_names, cap_names;
	uint32_t *hash; /* open addressing: name id + 1 */
	size_t n_hash;
	bool has_generation;
};

/* ---- tokens ---- */

enum qz_jtok {
	QZ_JT_EOF,
	QZ_JT_DATA,
	QZ_JT_VAR,
	QZ_JT_VAR_END,
	QZ_JT_BLOCK,
	QZ_JT_BLOCK_END,
	QZ_JT_NAME,
	QZ_JT_STRING,
	QZ_JT_INT,
	QZ_JT_FLOAT,
	QZ_JT_ADD,
	QZ_JT_SUB,
	QZ_JT_MUL,
	QZ_JT_POW,
	QZ_JT_DIV,
	QZ_JT_FLOORDIV,
	QZ_JT_MOD,
	QZ_JT_TILDE,
	QZ_JT_LBRACKET,
	QZ_JT_RBRACKET,
	QZ_JT_LPAREN,
	QZ_JT_RPAREN,
	QZ_JT_LBRACE,
	QZ_JT_RBRACE,
	QZ_JT_EQ,
	QZ_JT_NE,
	QZ_JT_GT,
	QZ_JT_GE,
	QZ_JT_LT,
	QZ_JT_LE,
	QZ_JT_ASSIGN,
	QZ_JT_DOT,
	QZ_JT_COLON,
	QZ_JT_PIPE,
	QZ_JT_COMMA,
	QZ_JT_SEMICOLON,
	QZ_JT_IN,
	QZ_JT_NOT_IN, /* made by the parser */
};

struct qz_jtoken {
	uint8_t kind;
	int line;
	const char *s; /* text of data, names and strings (unescaped) */
	size_t n;
	int64_t i;
	double f;
};

/* The tokens of source, ended by EOF; they and their text lie in the arena.  NULL: e has the line. */
struct qz_jtoken *qz_jinja_lex(struct qz_arena *a, const char *source, size_t n, struct qz_err *e);
/* The token as a person would write it. */
const char *qz_jtok_name(enum qz_jtok t);
/* Builds t->body and t->names. */
int qz_jinja_parse(struct qz_template *t, const struct qz_jtoken *tokens, struct qz_err *e);

/* The parser, shared by its two files. */
struct qz_jparser {
	struct qz_template *t;
	const struct qz_jtoken *tok;
	struct qz_err *e;
	int depth, loops;
	bool failed;
};
struct qz_jnode *qz_jparse_node(struct qz_jparser *p, enum qz_jnode_kind kind);
struct qz_jnode *qz_jparse_expr(struct qz_jparser *p);
/* One or more expressions: a tuple where there is a comma.  conditional: `a if b` is part of it. */
struct qz_jnode *qz_jparse_tuple(struct qz_jparser *p, bool conditional);
struct qz_jnode *qz_jparse_filters(struct qz_jparser *p, struct qz_jnode *on, bool first);
void *qz_jparse_fail(struct qz_jparser *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void qz_jparse_unexpected(struct qz_jparser *p, const char *wanted);
/* Appends to a list whose end is kept by the caller; the new end. */
struct qz_jnode **qz_jparse_append(struct qz_jnode **end, struct qz_jnode *n);
/* Counts a link of a chain; true, and failed, when it is too long. */
bool qz_jparse_long(struct qz_jparser *p, int *links);
struct qz_jnode *qz_jparse_not(struct qz_jparser *p, struct qz_jnode *of);
struct qz_jnode *qz_jparse_unary(struct qz_jparser *p, bool with_filters);
bool qz_jparse_is_name(const struct qz_jtoken *t, const char *name);
bool qz_jparse_skip(struct qz_jparser *p, enum qz_jtok kind);
bool qz_jparse_skip_name(struct qz_jparser *p, const char *name);
void qz_jparse_expect(struct qz_jparser *p, enum qz_jtok kind);
/* The number of a name in the template's table; find: UINT32_MAX when it is not there. */
uint32_t qz_jname_add(struct qz_template *t, const char *s, size_t n);
uint32_t qz_jname_find(const struct qz_template *t, const char *s, size_t n);

/* ---- rendering ---- */

struct qz_jvar {
	uint32_t id;
	struct qz_jv v;
	struct qz_jvar *next;
};

struct qz_jscope {
	struct qz_jscope *parent; /* NULL: the variables are c->globals, by id */
	struct qz_jvar *vars;
};

struct qz_jctx {
	const struct qz_template *t;
	struct qz_arena arena;
	struct qz_err *e;
	bool failed, generated;
	int line, depth, calls;
	uint64_t steps;
	size_t nbytes;
	struct qz_jscope *scope;
	struct qz_jv *globals;
	struct qz_jbuild *out;
	int32_t turn;     /* the pass over a message that is going on, or -1 */
	int32_t *turn_of; /* pass -> index of its message */
	size_t n_turns, cap_turns;
	int64_t now;
	/* What a maker gives when it fails: empty, and never written. */
	struct qz_jstr no_str;
	struct qz_jseq no_seq;
	struct qz_jdict no_dict;
};

/* Runs the template's body into c->out.  0 or -1. */
int qz_jinja_run(struct qz_jctx *c);
struct qz_jv qz_jinja_eval(struct qz_jctx *c, const struct qz_jnode *n);
/* A value through the filters of a block, n (or NULL). */
struct qz_jv qz_jinja_filters(struct qz_jctx *c, const struct qz_jnode *n, struct qz_jv on);
/* Calls what n, a QZ_JE_CALL, names, with a macro to be its caller. */
struct qz_jv qz_jinja_call_node(struct qz_jctx *c, const struct qz_jnode *n, struct qz_jv caller);
/* The body as text, in a scope of its own. */
struct qz_jv qz_jinja_capture(struct qz_jctx *c, const struct qz_jnode *list);
/* Calls f, a value, with what call has in pos and kw; caller: a macro for it, or MISSING. */
struct qz_jv qz_jinja_call(
    struct qz_jctx *c, struct qz_jv f, struct qz_jcall *call, struct qz_jv caller);
struct qz_jv qz_jinja_builtin(
    struct qz_jctx *c, const struct qz_jbuiltin *b, struct qz_jcall *call);
/* a.name and a[key] as the sandbox has them. */
struct qz_jv qz_jinja_attr(struct qz_jctx *c, struct qz_jv a, const char *name, size_t n);
struct qz_jv qz_jinja_item(struct qz_jctx *c, struct qz_jv a, struct qz_jv key);
bool qz_jinja_contains(
    struct qz_jctx *c, struct qz_jv where, struct qz_jv what); /* what in where */
/* a op b, for a comparison. */
bool qz_jinja_holds(struct qz_jctx *c, enum qz_jtok op, struct qz_jv a, struct qz_jv b);
struct qz_jv qz_jinja_binary(struct qz_jctx *c, enum qz_jtok op, struct qz_jv a, struct qz_jv b);
struct qz_jv qz_jinja_slice(
    struct qz_jctx *c, struct qz_jv v, struct qz_jv from, struct qz_jv to, struct qz_jv step);
struct qz_jv qz_jinja_format(
    struct qz_jctx *c, const struct qz_jstr *fmt, const struct qz_jv *args, size_t n);
/* The method format of a text. */
struct qz_jv qz_jinja_braces(struct qz_jctx *c, const struct qz_jcall *call); /* fmt % args */

/* The undefined value, with the failure described. */
struct qz_jv qz_jfail(struct qz_jctx *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
struct qz_jv qz_jfail_undefined(struct qz_jctx *c, struct qz_jv v);
bool qz_jspend(struct qz_jctx *c, uint64_t steps); /* false: no steps are left */
void *qz_jalloc(struct qz_jctx *c, size_t n);      /* zeroed; NULL and failed */

const struct qz_jbuiltin *qz_jfilter_find(const char *s, size_t n);
const struct qz_jbuiltin *qz_jtest_find(const char *s, size_t n);
const struct qz_jbuiltin *qz_jfunction_find(const char *s, size_t n);
/* A method of v's kind; *unsafe: it is there in Python, but the sandbox refuses it. */
const struct qz_jbuiltin *qz_jmethod_find(struct qz_jv v, const char *s, size_t n, bool *unsafe);
const struct qz_jbuiltin *qz_jbuiltin_in(const struct qz_jbuiltin *table, const char *s, size_t n);
extern const struct qz_jbuiltin qz_jtests[], qz_jfilters_seq[], qz_jfilters_text[], qz_jfunctions[],
    qz_jmethods_str[], qz_jmethods_dict[], qz_jmethods_seq[], qz_jmethods_loop[];

/* Arguments: is it given, and not None?  Is it true?  As text, as a number, or failed. */
bool qz_jgiven(struct qz_jv v);
bool qz_jflag(struct qz_jv v);
struct qz_jstr *qz_jtext(struct qz_jctx *c, const struct qz_jcall *call, struct qz_jv v);
int64_t qz_jinteger(
    struct qz_jctx *c, const struct qz_jcall *call, struct qz_jv v, int64_t otherwise);
/* The part of an item that a path names: "address.city", "0"; and of one that an argument names. */
struct qz_jv qz_jpath(struct qz_jctx *c, struct qz_jv item, const char *s, size_t n);
struct qz_jv qz_jattribute(struct qz_jctx *c, struct qz_jv item, struct qz_jv name);
struct qz_jv qz_jiterator(struct qz_jctx *c, const char *label);
enum { QZ_J_ITEMS, QZ_J_KEYS, QZ_J_VALUES };
struct qz_jv qz_jparts(struct qz_jctx *c, const struct qz_jdict *d, int which, enum qz_jkind kind);
/* The end of the line that begins at i, and *next, behind its end mark. */
size_t qz_jline_end(const char *s, size_t n, size_t i, size_t *next);
/* Built-ins that stand in tables of other files. */
struct qz_jv qz_jdo_case(struct qz_jctx *c, const struct qz_jcall *call);
struct qz_jv qz_jdo_strip(struct qz_jctx *c, const struct qz_jcall *call);
struct qz_jv qz_jdo_replace(struct qz_jctx *c, const struct qz_jcall *call);
struct qz_jv qz_jdo_sort(struct qz_jctx *c, const struct qz_jcall *call);
struct qz_jv qz_jdo_dictsort(struct qz_jctx *c, const struct qz_jcall *call);
struct qz_jv qz_jdo_unique(struct qz_jctx *c, const struct qz_jcall *call);
struct qz_jv qz_jdo_extreme(struct qz_jctx *c, const struct qz_jcall *call);

/* ---- strings ---- */

void qz_jbuild_run(struct qz_jctx *c, struct qz_jbuild *b, struct qz_jrun r);
void qz_jbuild_str(struct qz_jctx *c, struct qz_jbuild *b, const struct qz_jstr *s);
void qz_jbuild_part(struct qz_jctx *c, struct qz_jbuild *b, const struct qz_jstr *s, size_t from,
    size_t to); /* bytes from..to */
void qz_jbuild_text(struct qz_jctx *c, struct qz_jbuild *b, const char *s, size_t n); /* borrowed */
void qz_jbuild_copy(
    struct qz_jctx *c, struct qz_jbuild *b, const char *s, size_t n, struct qz_jv like);
void qz_jbuild_value(struct qz_jctx *c, struct qz_jbuild *b, struct qz_jv v); /* str(v) */
struct qz_jv qz_jbuild_done(struct qz_jctx *c, struct qz_jbuild *b);
/* All bytes in one piece, not NUL-terminated. */
const char *qz_jstr_flat(struct qz_jctx *c, struct qz_jstr *s);
struct qz_jv qz_jstr_part(struct qz_jctx *c, const struct qz_jstr *s, size_t from, size_t to);
size_t qz_jstr_chars(struct qz_jctx *c, const struct qz_jstr *s);
struct qz_jv qz_jstr_new(struct qz_jctx *c, const char *s, size_t n); /* the template's; borrowed */
bool qz_jstr_is(struct qz_jctx *c, struct qz_jv v, const char *s);
bool qz_jspace(uint32_t c); /* what str.strip() strips */
enum qz_jcase { QZ_J_LOWER, QZ_J_UPPER, QZ_J_CAPITALIZE, QZ_J_TITLE_WORDS, QZ_J_TITLE, QZ_J_SWAP };
struct qz_jv qz_jstr_case(struct qz_jctx *c, struct qz_jstr *s, enum qz_jcase how);
/* sides: 1 left, 2 right.  chars NULL: whitespace. */
struct qz_jv qz_jstr_strip(struct qz_jctx *c, struct qz_jstr *s, struct qz_jstr *chars, int sides);
struct qz_jv qz_jstr_replace(
    struct qz_jctx *c, struct qz_jstr *s, struct qz_jstr *from, struct qz_jstr *to, int64_t count);
/* The first offset >= at where needle stands, or -1. */
int64_t qz_jstr_find(struct qz_jctx *c, struct qz_jstr *s, struct qz_jstr *needle, size_t at);

/* ---- values ---- */

struct qz_jv qz_jv_undef(struct qz_jctx *c, const char *object, const char *name, size_t n);
struct qz_jv qz_jv_bool(bool b);
struct qz_jv qz_jv_int(int64_t i);
struct qz_jv qz_jv_float(double f);
struct qz_jv qz_jv_none(void);
struct qz_jv qz_jv_seq(struct qz_jctx *c, enum qz_jkind kind, size_t cap);
struct qz_jv qz_jv_dict(struct qz_jctx *c, size_t cap);
struct qz_jv qz_jv_copy(
    struct qz_jctx *c, const void *text, size_t n, struct qz_jv like); /* a string */
void qz_jseq_add(struct qz_jctx *c, struct qz_jseq *q, struct qz_jv v);
void qz_jdict_put(struct qz_jctx *c, struct qz_jdict *d, struct qz_jv key, struct qz_jv v);
const struct qz_jv *qz_jdict_get(struct qz_jctx *c, const struct qz_jdict *d, struct qz_jv key);
const struct qz_jv *qz_jdict_name(
    struct qz_jctx *c, const struct qz_jdict *d, const char *s, size_t n);
bool qz_jv_is_seq(struct qz_jv v); /* kept as a qz_jseq */
bool qz_jv_true(struct qz_jv v);
bool qz_jv_hashable(struct qz_jv v); /* may be a key */
bool qz_jv_equal(struct qz_jctx *c, struct qz_jv a, struct qz_jv b);
/* One level deeper into values within values; the caller counts c->depth down.  False: failed. */
bool qz_jdeeper(struct qz_jctx *c);
/* <0, 0, >0; fails for what Python cannot order. */
int qz_jv_order(struct qz_jctx *c, struct qz_jv a, struct qz_jv b, const char *op);
const char *qz_jv_type(struct qz_jv v);       /* Python's name of the type */
bool qz_jv_number(struct qz_jv v, double *f); /* of a bool, int or float */
bool qz_jv_whole(struct qz_jv v, int64_t *i); /* of a bool or int */
/* str(v) as a string value. */
struct qz_jv qz_jv_str(struct qz_jctx *c, struct qz_jv v);
void qz_jv_repr(struct qz_jctx *c, struct qz_jbuild *b, struct qz_jv v);
/* The values v is iterated over; NULL and failed when it cannot be. */
const struct qz_jseq *qz_jv_iterate(struct qz_jctx *c, struct qz_jv v);
size_t qz_jv_length(struct qz_jctx *c, struct qz_jv v);
/* A value for a JSON node; message: the index its bytes are marked with. */
struct qz_jv qz_jv_json(struct qz_jctx *c, const struct qz_json *j, int32_t message);
/* json.dumps; the string's bytes have the origin of what they show. */
struct qz_jv qz_jv_dumps(struct qz_jctx *c, const struct qz_jcall *call);
size_t qz_jfloat_text(double f, char out[QZ_J_FLOAT_TEXT]); /* repr() of a Python float */

/* ---- what is trained ---- */

/* Fills r from c->out. */
int qz_chat_mask(struct qz_jctx *c, const struct qz_chat_vars *v, struct qz_rendering *r);
/* The text of the first n messages, with or without the generation prompt.  -1: the template refuses.
 * The evaluation steps are added to *steps. */
int qz_chat_prefix(const struct qz_template *t, const struct qz_chat_vars *v, size_t n, bool prompt,
    struct qz_buf *text, uint64_t *steps);
/* What a plain assistant message behind the first n would have before its content.  -1: the template
 * refuses it, or writes it in no pass of its own. */
int qz_chat_header(const struct qz_template *t, const struct qz_chat_vars *v, size_t n,
    struct qz_buf *header, uint64_t *steps);

#endif

/* Templates -> what they print, or the message they end with.  The answers are those of jinja2;
 * tests/interop/test_jinja.py asks it itself. */
#include "libcore/base/buf.h"
#include "libcore/base/json.h"
#include "libcore/text/chat.h"
#include "tests/unit/tap.h"

static const char vars[] =
    "{\"l\":[3,1,2],\"s\":\"Hello, "
    "World\",\"d\":{\"b\":1,\"a\":[1,{\"x\":null}]},\"n\":5,\"f\":2.5,"
    "\"u\":\"\\u00c0\\u65e5\\ud83d\\ude42z\",\"nil\":null,\"t\":true,\"e\":\"\",\"ml\":"
    "\"a\\n\\nb\\n\","
    "\"people\":[{\"name\":\"Bob\",\"age\":31},{\"name\":\"amy\",\"age\":28}]}";

static const struct {
	const char *source, *want;
} rows[] = {
	/* literals and arithmetic */
	{ "{{ 1 + 2 * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }}",
	    "7 3 -4 2 3.5 1024" },
	{ "{{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 2 ** -1 }} {{ 1e16 }} {{ 1e-5 }} {{ 0.1 + 0.2 }}",
	    "64 4 0.5 1e+16 1e-05 0.30000000000000004" },
	{ "{{ 0x1F }} {{ 0b11 }} {{ 0o17 }} {{ 1_000 }} {{ 1.0 }} {{ 123.456e2 }}",
	    "31 3 15 1000 1.0 12345.6" },
	{ "{{ true }} {{ False }} {{ none }} {{ true + 1 }} {{ not 0 }}",
	    "True False None 2 True" },
	{ "{{ 'a' 'b' }} {{ '\\x41\\u00e9\\101\\q' }} {{ \"it's\" }}", "ab A\xc3\xa9"
								       "A\\q it's" },
	{ "{{ [1, 'a', none, 2.5, (1,), {'k': \"it's\"}] }}",
	    "[1, 'a', None, 2.5, (1,), {'k': \"it's\"}]" },
	{ "{{ 'ab' * 2 ~ 1 ~ none }} {{ [1] + [2] * 2 }}", "abab1None [1, 2, 2]" },
	{ "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 'a' in 'abc' }} {{ 9 not in l }} {{ "
	  "'b' in d }}",
	    "True False True True True True" },
	{ "{{ 0 or 'x' }} {{ 1 and 2 }} {{ '' and 1 }}| {{ 'y' if n > 3 else 'z' }} {{ 'y' if e "
	  "}}|",
	    "x 2 | y |" },
	/* subscripts */
	{ "{{ l[0] }}{{ l[-1] }}{{ l[9] }} {{ l[1:] }} {{ l[::-1] }} {{ s[:5] }} {{ s[-5:] }}",
	    "32 [1, 2] [2, 1, 3] Hello World" },
	{ "{{ u[0] }} {{ u[2] }} {{ u[1:3] }} {{ u[::-1] }} {{ u | length }}",
	    "\xc3\x80 🙂 日🙂 z🙂日\xc3\x80 4" },
	{ "{{ d.b }} {{ d['a'][1].x }} {{ d.nope }}| {{ d.get('q', 7) }} {{ d.items() }}",
	    "1 None | 7 dict_items([('b', 1), ('a', [1, {'x': None}])])" },
	{ "{{ (nope | default('x')) ~ nope }} {{ nope is defined }} {{ ''.__class__ }}|",
	    "x False |" },
	/* methods and filters */
	{ "{{ '  a b '.strip() }}|{{ 'xxa'.lstrip('x') }}|{{ 'a,b,c'.split(',', 1) }}|{{ ' a  "
	  "b'.split() }}",
	    "a b|a|['a', 'b,c']|['a', 'b']" },
	{ "{{ s.upper() }} {{ s.lower() }} {{ 'a b'.title() }} {{ s.startswith(('x', 'He')) }} {{ "
	  "u.find('z') }}",
	    "HELLO, WORLD hello, world A B True 3" },
	{ "{{ s.replace('l', 'L', 2) }} {{ 'ab'.replace('', '-') }} {{ '-'.join(['a', 'b']) }}",
	    "HeLLo, World -a-b- a-b" },
	{ "{{ 'straße' | upper }} {{ 'hELLO wORLD-foo' | title }} {{ 'hELLO' | capitalize }}",
	    "STRASSE Hello World-Foo Hello" },
	{ "{{ l | sort }} {{ l | sort(reverse=true) }} {{ l | join('-') }} {{ l | first }}{{ l | "
	  "last }} {{ l | sum }}",
	    "[1, 2, 3] [3, 2, 1] 3-1-2 32 6" },
	{ "{{ people | map(attribute='name') | join(',') }} {{ people | sort(attribute='name') | "
	  "map("
	  "attribute='age') | list }}",
	    "Bob,amy [28, 31]" },
	{ "{{ people | selectattr('age', 'gt', 30) | map(attribute='name') | list }} {{ l | "
	  "select('odd') | list }}",
	    "['Bob'] [3, 1]" },
	{ "{{ [1, 2, 1] | unique | list }} {{ {'b': 1, 'A': 2} | dictsort }} {{ l | reverse | list "
	  "}}",
	    "[1, 2] [('A', 2), ('b', 1)] [2, 1, 3]" },
	{ "{{ '42' | int }} {{ '4.7' | int }} {{ 'x' | int(9) }} {{ '2' | float }} {{ 2.567 | "
	  "round(1) }} {{ -3 | abs }}",
	    "42 4 9 2.0 2.6 3" },
	{ "{{ d | tojson }}", "{\"b\": 1, \"a\": [1, {\"x\": null}]}" },
	{ "{{ [1, {}] | tojson(indent=2) }}", "[\n  1,\n  {}\n]" },
	{ "{{ 'é\\n\"<&' | tojson }} {{ 'é🙂' | tojson(ensure_ascii=true) }}",
	    "\"é\\n\\\"<&\" \"\\u00e9\\ud83d\\ude42\"" },
	{ "{{ {'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':')) }}",
	    "{\"a\":2,\"b\":1}" },
	{ "{{ ml | indent(2) }}|{{ ml | indent(1, true, true) }}|", "a\n\n  b\n| a\n \n b\n |" },
	{ "{{ '%s=%03d %.1f%%' | format('a', 7, 2.25) }} {{ '%s' % nil }}", "a=007 2.2% None" },
	{ "{% set g = l | map('string') %}{{ g | join }}{{ g | join }}.", "312." },
	/* tests */
	{ "{{ n is odd }} {{ n is divisibleby 5 }} {{ d is mapping }} {{ s is iterable }} {{ n is "
	  "sequence }}",
	    "True True True True False" },
	{ "{{ nil is none }} {{ nil is not none }} {{ t is boolean }} {{ t is number }} {{ t is "
	  "sameas true }}",
	    "True False True True True" },
	/* functions */
	{ "{{ range(3) | list }} {{ range(5, 0, -2) | list }} {{ dict(a=1) }} {{ namespace(a=2).a "
	  "}}",
	    "[0, 1, 2] [5, 3, 1] {'a': 1} 2" },
	{ "{{ strftime_now('%d %b %Y, %A %H:%M:%S %-d %j') }}",
	    "14 Nov 2023, Tuesday 22:13:20 14 318" },
	/* statements */
	{ "{% for x in l %}{{ loop.index }}{{ loop.revindex0 }}{{ x }}{{ ',' if not loop.last }}{% "
	  "endfor %}",
	    "123,211,302" },
	{ "{% for x in l %}{{ loop.previtem }}<{{ x }}<{{ loop.nextitem }} {% endfor %}",
	    "<3<1 3<1<2 1<2< " },
	{ "{% for x in l if x > 1 %}{{ loop.length }}{{ x }}{% else %}none{% endfor %}", "2322" },
	{ "{% for x in [] %}x{% else %}none{% endfor %} {% for k, v in d | items %}{{ k }}{% "
	  "endfor %}",
	    "none ba" },
	{ "{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "123" },
	{ "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% if x == 2 %}{% break "
	  "%}{% endif %}"
	  "{% endfor %}",
	    "32" },
	{ "{% set x = 1 %}{% for y in l %}{% set x = x + y %}{{ x }}{% endfor %} {{ x }}",
	    "423 1" },
	{ "{% set ns = namespace(x=0) %}{% for y in l %}{% set ns.x = ns.x + y %}{% endfor %}{{ "
	  "ns.x }}",
	    "6" },
	{ "{% set a, b = 1, 2 %}{% set c %}<{{ a }}{{ b }}>{% endset %}{{ c | upper }}", "<12>" },
	{ "{% set c | upper | trim %} a{{ s }} {% endset %}[{{ c }}]", "[AHELLO, WORLD]" },
	{ "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(b=5, a=4) }} {{ m() "
	  "}}",
	    "1-2 4-5 -2" },
	{ "{% macro f(n) %}{{ n }}{{ f(n - 1) if n }}{% endmacro %}{{ f(3) }}", "3210" },
	{ "{% macro w() %}<{{ caller(7) }}>{% endmacro %}{% call(x) w() %}in {{ x }}{% endcall %}",
	    "<in 7>" },
	{ "{% filter upper %}a{{ s }}{% endfilter %} {% with a = 1 %}{{ a }}{% endwith %}{{ a }}.",
	    "AHELLO, WORLD 1." },
	{ "{% generation %}x{{ n }}{% endgeneration %}", "x5" },
	{ "a{# c #}b {% raw %}{{ x }} {% if %}{% endraw %}", "ab {{ x }} {% if %}" },
	/* whitespace */
	{ "a\n  {% if t %}\n  b\n  {% endif %}\n  c\n", "a\n  b\n  c" },
	{ "a {%- if t -%} b {%- endif -%} c", "abc" },
	{ "  {%+ if t +%}\nx{% endif %}", "  \nx" },
	{ "x {{- n -}} \n y", "x5y" },
	{ "a\n   {# c #}\nb\n\n", "a\nb\n" },
	{ "a\r\nb\rc", "a\nb\nc" },
	/* format */
	{ "{{ '{} {0}'.format(1) }}", "! line 1: format: fields with and without a number" },
	{ "{{ '{{{}}} {}|{:>4}|{:^5}|{:05d}|{:,.2f}|{:.0%}'.format(s, none, 'a', 'b', -42, 1234.5, "
	  "0.5) "
	  "}}",
	    "{Hello, World} None|   a|  b  |-0042|1,234.50|50%" },
	{ "{{ '{a[0]} {d.b} {x!r} {d[b]:3}|'.format(a=l, d=d, x='q') }}", "3 1 'q'   1|" },
	{ "{{ '{0.__class__}'.format(s) }}{{ s | attr('__class__') }}{{ d | attr('b') }}|", "|" },
	{ "{{ '{'.format() }}", "! line 1: format: a brace without its other one" },
	{ "{{ '{:>9999999}'.format(1) }}", "! line 1: the format >9999999 is not supported" },
	/* errors */
	{ "a\n\n{{ nope.x }}", "! line 3: 'nope' is undefined" },
	{ "{{ d.nope.x }}", "! line 1: a dict has no attribute 'nope'" },
	{ "{{ raise_exception('no ' ~ n) }}", "! line 1: no 5" },
	{ "{{ nope + 1 }}", "! line 1: 'nope' is undefined" },
	{ "{{ 'a' + 1 }}", "! line 1: '+' does not work between str and int" },
	{ "{{ 1 < 'a' }}", "! line 1: '<' does not work between int and str" },
	{ "{{ 1 // 0 }}", "! line 1: division by zero" },
	{ "{{ 9223372036854775807 + 1 }}", "! line 1: a number is too large for 64 bits" },
	{ "{{ ''.__class__.__mro__ }}", "! line 1: access to an unsafe attribute" },
	{ "{{ l.append(1) }}", "! line 1: access to an unsafe attribute" },
	{ "{{ s.encode() }}", "! line 1: the method encode is not supported" },
	{ "{{ n() }}", "! line 1: a int cannot be called" },
	{ "{{ nope | tojson }}", "! line 1: tojson: a value of type Undefined is not JSON" },
	{ "{{ l | length(1) }}", "! line 1: length takes at most 0 arguments, not 1" },
	{ "{{ s | replace('a') }}", "! line 1: replace needs 2 arguments" },
	{ "{{ s | trim(x=1) }}", "! line 1: trim does not take 'x' here" },
	{ "{{ s | nosuch }}", "! line 1: there is no filter 'nosuch'" },
	{ "{{ s is nosuch }}", "! line 1: there is no test 'nosuch'" },
	{ "{% if t %}\n", "! line 1: the block opened in line 1 has no {% endif %}" },
	{ "a\n{% include 'x' %}", "! line 2: {% include %} is not known here" },
	{ "{{ 1 +\n\n }}", "! line 3: found }}, expected an expression" },
	{ "{{ a b }}", "! line 1: found 'b', expected }}" },
	{ "{{ x", "! line 1: {{ has no }}" },
	{ "{{ (1] }}", "! line 1: a closing bracket without its opening one" },
	{ "{{ 'a }}", "! line 1: a string has no closing quote" },
	{ "{{ '\\ud83d' }}", "! line 1: a string has an escape that is no character" },
	{ "{# x", "! line 1: a comment has no #}" },
	{ "{% raw %} x", "! line 1: {% raw %} has no {% endraw %}" },
	{ "{% break %}", "! line 1: break or continue outside of a loop" },
	{ "{% set n.x = 1 %}", "! line 1: cannot set an attribute of 'n': it is no namespace" },
	{ "{% for a, b in [[1]] %}{% endfor %}", "! line 1: 1 values for 2 names" },
	{ "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
	    "! line 1: the macro 'm' is given an argument that it does not take" },
	{ "{{ 99999999999999999999 }}", "! line 1: a number is too large" },
	/* bounds */
	{ "{{ range(100001) }}", "! line 1: range of more than 100000 numbers" },
	{ "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
	    "! line 1: more than 1000000 steps: does the template end?" },
	{ "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
	    "! line 1: macros are called more than 200 deep" },
	{ "{% set ns = namespace(s='x' * 1000000) %}{% for i in range(40) %}{% set ns.s = ns.s + "
	  "ns.s "
	  "%}{% endfor %}",
	    "! line 1: a text of more than 64 MiB" },
	{ "{% set ns = namespace(s='x' ~ 'y') %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s "
	  "%}{% endfor %}",
	    "! line 1: the template needs more than 512 MiB" },
	{ "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% "
	  "endfor %}",
	    "! line 1: more than 1000000 steps: does the template end?" },
	{ "{% set ns = namespace(l=[]) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}{% "
	  "endfor %}{{ ns.l }}",
	    "! line 1: values are nested too deep" },
	{ "{% set ns = namespace(l=[]) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}{% "
	  "endfor %}"
	  "{{ ns.l | tojson }}",
	    "! line 1: values are nested too deep" },
	{ "{% set ns = namespace(l=[], m=[]) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}{% "
	  "set ns.m = "
	  "[ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
	    "! line 1: values are nested too deep" },
	{ "{{ 2 ** 64 }}", "! line 1: a number is too large for 64 bits" },
	{ "{{ [0] * 10 ** 12 }}", "! line 1: more than 1000000 steps: does the template end?" },
	{ "{{ 'a' * 10 ** 12 }}", "! line 1: more than 1000000 steps: does the template end?" },
	{ "{{ '%1000000000d' % 1 }}", "! line 1: a format that is not supported" },
	{ "{{ range(10 ** 9) }}", "! line 1: range of more than 100000 numbers" },
	{ "{{ 'x'.rjust(1000000) }}", "! line 1: rjust to a width of more than 100000" },
};

static void
check(const char *name, const char *source, const char *want)
{
	struct qz_err e = { 0 };
	struct qz_json *extra = qz_json_parse(vars, sizeof vars - 1, &e);
	struct qz_template *t = qz_template_new(source, strlen(source), &e);
	struct qz_chat_vars v = { .extra = extra, .now = 1700000000 };
	struct qz_rendering r = { 0 };
	struct qz_buf got = { 0 };

	if (!t || qz_template_render(t, &v, &r, &e) < 0)
		qz_buf_fmt(&got, "! %s", e.msg);
	else
		qz_buf_add(&got, r.text.data ? r.text.data : "", r.text.n);
	is(got.data ? got.data : "", want, name);
	if (e.code != QZ_OK && e.code != QZ_EDATA)
		ok(0, "%s: code %d", name, e.code);
	qz_buf_free(&got);
	qz_rendering_free(&r);
	qz_template_free(t);
	qz_json_free(extra);
}

/* Within head and tail: open n times, the middle, close n times. */
static void
check_nested(const char *name, const char *const parts[5], int n, const char *want)
{
	struct qz_buf b = { 0 };

	qz_buf_str(&b, parts[0]);
	for (int i = 0; i < n; i++)
		qz_buf_str(&b, parts[1]);
	qz_buf_str(&b, parts[2]);
	for (int i = 0; i < n; i++)
		qz_buf_str(&b, parts[3]);
	qz_buf_str(&b, parts[4]);
	check(name, b.data, want);
	qz_buf_free(&b);
}

/* The name of a case: its source in one line. */
static void
check_row(size_t i)
{
	char name[120];

	snprintf(name, sizeof name, "%.110s", rows[i].source);
	for (char *p = name; *p; p++)
		if (*p == '\n' || *p == '\r' || *p == '#')
			*p = '_';
	check(name, rows[i].source, rows[i].want);
}

/* Every beginning of a template, and every byte of it changed, ends in an answer or a message. */
static void
check_damage(void)
{
	static const char source[] = "{%- set ns = namespace(a=1) -%}\n{% macro m(x, y='z') %}{{ x "
				     "~ y[1:] }}{% endmacro %}{# c #}"
				     "{% for k, v in d.items() if k != 'q' %}{{ loop.index }}{{ "
				     "m(k) | upper }}{{ v is mapping }}"
				     "{{ [1, (2,), {'a': -3.5e2}] | tojson(indent=2) }}{% else "
				     "%}x{% endfor %}{% raw %}{{{% endraw %}";
	struct qz_err e = { 0 };
	struct qz_json *extra = qz_json_parse(vars, sizeof vars - 1, &e);
	struct qz_chat_vars v = { .extra = extra };
	struct qz_rendering r = { 0 };
	int n = 0, silent = 0;
	char copy[sizeof source];

	for (size_t i = 0; i < 2 * sizeof source; i++) {
		size_t len = i < sizeof source ? i : sizeof source - 1;
		struct qz_template *t;

		memcpy(copy, source, sizeof source);
		if (i >= sizeof source)
			copy[i - sizeof source] = "}{%|'\"(\\\x80"[i % 9];
		e = (struct qz_err){ 0 };
		t = qz_template_new(copy, len, &e);
		if (!t || qz_template_render(t, &v, &r, &e) < 0)
			silent += e.code != QZ_EDATA || !e.msg[0];
		qz_template_free(t);
		n++;
	}
	ok(silent == 0, "%d damaged templates, %d without a message", n, silent);
	qz_rendering_free(&r);
	qz_json_free(extra);
}

int
main(void)
{
	static const char *const ifs[] = { "", "{% if t %}", "x", "{% endif %}", "" };
	static const char *const brackets[] = { "{{ ", "(", "1", ")", " }}" };
	static const char *const signs[] = { "{{ ", "-", "1", "", " }}" };
	static const char *const sum[] = { "{{ 0", "+1", "", "", " }}" };
	static const char *const elif[] = { "{% if e %}x", "{% elif e %}x", "{% else %}y", "",
		"{% endif %}" };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check_row(i);
	check_nested("ifs in ifs", ifs, 150, "x");
	check_nested("more ifs in ifs", ifs, 250, "! line 1: nested deeper than 200");
	check_nested("brackets in brackets", brackets, 90, "1");
	check_nested(
	    "more brackets in brackets", brackets, 250, "! line 1: brackets are nested too deep");
	check_nested("signs", signs, 100, "1");
	check_nested("more signs", signs, 1000, "! line 1: nested deeper than 200");
	check_nested("a sum", sum, 499, "499");
	check_nested("a longer sum", sum, 5000,
	    "! line 1: an expression with more than 500 operators in a row");
	check_nested("elif", elif, 400, "y");
	check_nested("more elif", elif, 5000, "! line 1: more than 500 elif");
	check("an empty template", "", "");
	check_damage();
	return done();
}

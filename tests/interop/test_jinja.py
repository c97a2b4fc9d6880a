"""Templates rendered by qz and by jinja2 as transformers sets it up: the same text, or both refuse.
usage: test_jinja.py [SEED]     Needs the package jinja2."""
import copy, json, os, random, subprocess, sys, warnings
from datetime import datetime, timezone
import tap
try:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.ext import Extension
except ImportError as e:
    tap.skip_all('no package jinja2 (%s)' % e)

warnings.simplefilter('ignore')
NOW = 1700000000


# Where qz is stricter: jinja2 computes constants early, and then a slice of a number is undefined instead of
# an error; and it takes `not` and `in` for names where an operand is missing.  A width of format() that is a field itself is not known here.
DIFFERS = ['a field within a field', 'a slice of a ', "found 'not'", "found 'in'"]


class Generation(Extension):
    tags = {'generation'}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(['name:endgeneration'], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method('_same'), [], [], body).set_lineno(line)

    def _same(self, caller):
        return caller()


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env.filters['tojson'] = tojson
    env.globals['raise_exception'] = raise_exception
    env.globals['strftime_now'] = lambda f: datetime.fromtimestamp(NOW, timezone.utc).replace(tzinfo=None).strftime(f)
    return env


VARS = {
    'messages': [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': ' Hi  there \n'},
                 {'role': 'assistant', 'content': '<think>hm</think>\n\nYes, é 日本 🙂'}],
    'l': [3, 1, 2], 'words': ['b', 'A', 'c', 'a'], 'd': {'b': 1, 'a': [1, {'x': None}], 'items': 5, 'z': 'ü"\'\n'},
    'people': [{'name': 'Bob', 'age': 31, 'x': {'y': [1, 2]}}, {'name': 'amy', 'age': 28}, {'name': 'Cy', 'age': 31}],
    's': 'Hello, World', 'n': 5, 'f': 2.5, 'neg': -7, 't': True, 'no': False, 'nil': None, 'e': '', 'el': [], 'ed': {},
    'u': 'ÀÉ straße', 'ml': 'a\nb\n\nc\n', 'q': "it's", 'big': 123456789012, 'tiny': 1e-7, 'mil': 1.5e20,
}

EXPRESSIONS = r"""
1 + 2 * 3 | 7 // 2 | -7 // 2 | 7 % -3 | -7 % 3 | 7 / 2 | 6 / 2 | 2 ** 10 | 2 ** -1 | -2 ** 2 | 2 ** 3 ** 2 | 1.5 + 1 | 7.5 // 2 | -7.5 % 2
1e3 | 1.0 | 0.1 + 0.2 | 1e16 | 1e15 | 123456789.125 | 1e-4 | 1e-5 | 3.0 * 2 | 1_000 | 0x1F | 0b101 | 0o17 | 10 / 4 | 1e22 | 100 * 1.1
True + 1 | true and 'x' | '' or 'y' | not '' | not not 1 | none | None | 1 < 2 < 3 | 1 < 3 < 2 | 1 == 1.0 | 'a' < 'b' | [1, 2] < [1, 3] | true == 1
'a' in 'abc' | 'z' not in 'abc' | 2 in l | 9 not in l | 'a' in d | nope in l | 1 in (1, 2) | 'x' in nope
'a' ~ 1 ~ none ~ 2.0 ~ true | 'a' + 'b' | 'ab' * 3 | [1] * 2 | [1] + [2] | (1,) + (2,) | 'a' 'b' "c" | 3 * 'x' | 'x' * -1
[1, 'a', none, true, 1.5] | (1,) | (1, 2) | () | {} | {'a': 1, 'b': [2]} | {1: 2} | [[], {}] | ['it\'s', "q\"'", 'n\n\t\\'] | {'é': 'ü'} | ['\u200b\x01']
l[0] | l[-1] | l[9] | l[0:2] | l[::-1] | l[1:] | l[:-1] | l[::2] | l[5:] | l[-2:] | l[2:0:-1] | s[0] | s[-1] | s[1:4] | s[::-1] | s[:-3] | u[0] | u[-2:] | s[100] | e[0:1] | s[5:2] | l[none:2]
d.b | d['a'] | d.a[1].x | d['a'][1]['x'] | d.nope | d['nope'] | d.items | d['items'] | d.keys() | d.values() | d.items() | d.get('b') | d.get('q') | d.get('q', 7) | l.0 | people[0].x.y[1] | d.a.1 | d.copy()
1 if t else 2 | 1 if no | 'a' if no else 'b' if no else 'c' | (1 if t) | nope | nope.x | nope.x.y | nope + 1 | nope ~ 'a' | nope[0] | nope() | -nope | nope == nil | nope == nope2 | nope < 1 | not nope
s.upper() | s.lower() | s.title() | u.upper() | u.lower() | u.title() | u.capitalize() | s.swapcase() | ' x '.strip() | 'xxaxx'.strip('x') | 'abc'.lstrip('ab') | 'abc'.rstrip('cb') | '\u3000a\u2003'.strip() | ' a\n'.rstrip()
s.split(', ') | s.split() | ' a  b '.split() | 'a,b,c'.split(',', 1) | 'a b c'.split(none, 1) | 'a,b,c'.rsplit(',', 1) | ''.split() | ''.split(',') | 'aXbX'.split('X') | 'x'.split('') | ml.splitlines() | ml.splitlines(true)
s.startswith('He') | s.startswith(('x', 'He')) | s.endswith('ld') | s.find('o') | s.find('zz') | s.rfind('o') | u.find('s') | s.find('o', 5) | s.count('l') | s.index('W') | s.index('zz') | s.replace('l', 'L') | s.replace('l', '', 1) | s.replace('', '-') | 'aaa'.replace('aa', 'b')
'-'.join(words) | '-'.join(['a', 1]) | ''.join([]) | s.partition(', ') | s.partition('z') | s.rpartition('o') | 'abc'.removeprefix('a') | 'abc'.removesuffix('bc') | 'abc'.removesuffix('x') | '7'.zfill(3) | '-7'.zfill(3) | 'a'.ljust(3, '.') | 'a'.rjust(3) | 'ab'.center(5, '*') | 'a'.center(4, '*')
'12'.isdigit() | 'a1'.isalnum() | 'ab'.isalpha() | ' '.isspace() | ''.isdigit() | 'a b'.isalpha()
messages.__class__ | messages.__class__.__mro__ | ''.__class__.__mro__[1].__subclasses__() | s|attr('__class__') | s|attr('upper') | d|attr('b') | (d|attr('nope')) is defined | s['__class__'] | d['__class__'] | d.__class__ is defined | messages.__getitem__(0) | messages[0].__init__.__globals__ | s.format.__globals__ | raise_exception.__globals__ | raise_exception.__code__ | namespace.__init__ | range.__self__ | _ | __builtins__ | s._private is defined
messages.append(1) | messages.pop() | messages.clear() | messages.extend([1]) | messages.insert(0, 1) | messages.remove(1) | messages.reverse() | messages.sort() | d.clear() | d.update({'x': 1}) | d.setdefault('x', 1) | d.popitem() | d.pop('b', none) | messages[0].update(role='x') | messages[0].pop('role') | messages.append | d.popitem is defined | messages|map('pop')|list | [1].append(2) | {'a': 1}.update(b=2) | l.copy() | l.__len__()
'{}'.format(s) | '{0} {1}'.format(1, 'a') | '{a}'.format(a=1) | '{0.__class__}'.format(s) | '{0.__class__.__mro__}'.format(l) | '{a[0]}'.format(a=l) | '{d[b]}'.format(d=d) | '{0._x}'.format(s) | '{0!r}'.format(s) | '{:>5}|'.format('a') | '{:.2f}'.format(1.234) | '{:<5}|'.format('a') | '{:^5}|'.format('ab') | '{:*^6}|'.format('abc') | '{:05d}'.format(-42) | '{:+d}'.format(5) | '{:,}'.format(1234567) | '{:,.2f}'.format(1234567.891) | '{:.1%}'.format(0.256) | '{:e}'.format(12345.678) | '{:x}'.format(255) | '{:5}|'.format(7) | '{:<5}|'.format(7) | '{:.3}|'.format('abcdef') | '{:10.3}|'.format('üabcdef') | '{:s}'.format('a') | '{:d}'.format(1.5) | '{:d}'.format('a') | '{:s}'.format(1) | '{:>5}'.format(none) | '{:5}'.format(l)
'{{}}'.format() | '{{{0}}}'.format(1) | '{} {}'.format(1) | '{} {0}'.format(1) | '{0} {}'.format(1) | '{1} {0} {1}'.format('a', 'b') | '{'.format() | '}'.format() | '{a'.format(a=1) | '{!s}'.format(none) | '{!r:>8}|'.format('a') | '{b}'.format(a=1) | '{0.content}'.format(messages[0]) | '{0[role]}: {0[content]}'.format(messages[0]) | '{a.b[c].d}'.format(a=d) | '{0[9]}'.format(l) | '{0.nope}'.format(d) | '{0.nope.x}'.format(d) | '{}'.format(true) | '{} {} {}'.format(none, 1.5, [1, 'a']) | '{}'.format(nope) | 'x{}y{}z'.format(s, u) | '{:>{}}'.format('a', 5) | '{:+.1f}'.format(-0.04) | '{:08.3f}'.format(3.14159) | '{:=+6d}'.format(42) | '{:,d}'.format(-1234) | '{:g}'.format(0.0001)
range(100000)|length | range(10 ** 9) | range(-10 ** 9, 10 ** 9) | range(0, 10 ** 9, 10 ** 8)|list
l.index(1) | l.count(1) | l.index(9) | l.append(4) | d.pop('b') | d.update({}) | l.sort() | d.clear | l.append is defined | s.__class__ | s.__class__.__mro__ | d.__init__ | s._x
s|upper | s|lower | 'hello wORLD-foo (bar)'|title | 'hELLO'|capitalize | ' a '|trim | 'xax'|trim('x') | s|length | l|length | d|length | e|count | nil|length | 5|length | u|length | nope|length
l|first | l|last | el|first | s|first | s|last | d|first | l|join | l|join(', ') | people|join(', ', attribute='name') | words|join('') | [1, none, 'a']|join('-') | nope|join(',') | s|join('.')
nope|default('x') | nope|d('x') | ''|default('x') | ''|default('x', true) | nope|default | none|default('x') | none|default('x', boolean=true) | 0|d(5, true)
'42'|int | '42.7'|int | 'x'|int | 'x'|int(7) | '0x1F'|int(0, 16) | '1_000'|int | ' 12 '|int | none|int | 3.9|int | -3.9|int | true|int | '101'|int(base=2) | '1e3'|int | ''|int | '+5'|int | '--5'|int
'1.5'|float | 'x'|float | 3|float | 'x'|float(2.5) | 'inf'|float | '1e3'|float | ' 2 '|float | none|float | '0x10'|float
neg|abs | -2.5|abs | 2.5|round | 3.5|round | 2.567|round(2) | 5|round | 2.1|round(0, 'ceil') | 2.9|round(0, 'floor') | 2.345|round(2, 'floor') | 2.675|round(2) | -2.5|round
l|list | s|list | d|list | nope|list | l|sort | words|sort | words|sort(reverse=true) | words|sort(case_sensitive=true) | people|sort(attribute='age')|map(attribute='name')|list | people|sort(attribute='age,name')|map(attribute='name')|list | people|sort(attribute='age', reverse=true)|map(attribute='name')|list | [1,'a']|sort
words|map('upper')|list | people|map(attribute='name')|list | people|map(attribute='x.y.0')|list | people|map(attribute='zip', default='-')|list | words|map('replace', 'a', 'o')|join | people|map(attribute='name')|map('lower')|join(',') | words|map('nosuch')|list | nil|map('upper')|list
l|select('odd')|list | l|reject('odd')|list | [0, 1, '', 'a', none]|select|list | [0, 1]|reject|list | people|selectattr('age', 'equalto', 31)|map(attribute='name')|list | people|selectattr('x')|list|length | people|rejectattr('x', 'defined')|list|length | people|selectattr('age', 'gt', 30)|list|length | people|selectattr('name', 'in', ['Cy'])|list|length | l|select('nosuch')|list | people|selectattr('age', '>=', 31)|list|length
d|items|list | nope|items|list | d|dictsort|list|length | {'b': 1, 'A': 2}|dictsort | {'b': 1, 'A': 2}|dictsort(true) | {'b': 1, 'A': 2}|dictsort(by='value') | {'b': 1, 'a': 2}|dictsort(reverse=true) | l|items
[1, 2, 1, 3]|unique|list | ['a', 'A', 'b']|unique|list | ['a', 'A']|unique(true)|list | l|reverse|list | s|reverse | u|reverse | l|max | l|min | words|max | el|max | people|max(attribute='age') | l|sum | people|sum(attribute='age') | l|sum(start=10)
ml|indent | ml|indent(2) | ml|indent(2, true) | ml|indent(2, blank=true) | ml|indent('> ') | ml|indent(width=3, first=True) | e|indent | 'x'|indent(2, true)
d|tojson | d|tojson(indent=2) | people|tojson(indent=4) | l|tojson | s|tojson | 'é\x01\x7f"\\/\u2028<&>'|tojson | 'é🙂\x7f'|tojson(ensure_ascii=true) | none|tojson | t|tojson | f|tojson | 1e20|tojson | d|tojson(sort_keys=true) | d|tojson(separators=(',', ':')) | [1,[],{}]|tojson(indent=1) | nope|tojson | {1: 2, none: 3, true: 4, 1.5: 5}|tojson | (1, 2)|tojson | range(3)|tojson | {'a': {'b': []}}|tojson(indent='--') | d|tojson(true)
s|string | 5|string | none|string | nope|string | s|safe | '%s is %d, %05.2f|%-4s|%x%%'|format('a', 5, 1.5, 'b', 255) | '%s %s' % ('a', [1]) | '%d' % 3.7 | '%s' % none | '%s' | '%d'|format('x') | '%.3f'|format(2) | '%5s|' % 'a' | '%s' % (1,)
s is defined | nope is defined | nope is undefined | nil is none | nil is not none | s is string | 5 is number | t is number | 5 is integer | t is integer | 2.5 is float | t is boolean | d is mapping | l is mapping | s is iterable | 5 is iterable | l is sequence | d is sequence | nope is sequence | 5 is sequence | l is iterable
3 is odd | 4 is even | 9 is divisibleby 3 | 9 is divisibleby(4) | t is true | 1 is true | no is false | t is sameas true | 1 is sameas true | 5 is eq 5 | 5 is equalto(5.0) | 5 is ne 6 | 5 is lt 6 | 5 is gt 6 | 5 is ge 5 | 5 is le 4 | 2 is in l | 2 is in(l) | 'a' is in 'abc' | 'a' is lower | 'A' is upper | '1' is lower | s is not string | not s is string | 'upper' is filter | 'odd' is test | 5 is not in l | raise_exception is callable | s is callable
range(3)|list | range(1, 4)|list | range(5, 0, -2)|list | range(0) | range(3) | range(1, 9, 2) | range(3)[1] | range(3)|length | range(100001) | range(1, 2, 0) | range('a') | 2 in range(3)
dict(a=1, b=2) | dict({'a': 1}, b=2) | dict([['a', 1]]) | namespace(a=1).a | namespace(a=1).b | namespace({'a': 2}).a | namespace(a=1)['a']
strftime_now('%Y-%m-%d %H:%M:%S') | strftime_now('%d %b %Y') | strftime_now('%A, %B %-d %j %p %I %y %a') | strftime_now('%F %T %%') | raise_exception('no: ' ~ n) | strftime_now('x')
'\x41\u00e9\U0001F600\101\a\q\'' | "a\
b" | 'tab\there' | 'é' | 'ab'[0] | 'a' if 'b' | [1, 2, 3,] | {'a': 1,} | (1, 2,) | 1, 2 | f.nope | big | big * 1000 | tiny | mil | -f | +n | - -n | not -n
1 / 0 | 1 // 0 | 1 % 0 | 'a' + 1 | 1 + 'a' | [] + 'a' | 'a' * 'b' | 'a' < 1 | none < 1 | -'a' | 'a' in 1 | 1 in 'a' | none + 1 | {} + {} | {[]: 1} | 5() | 5.x | none.x | none['x'] | s.nosuch() | s|nosuch | s is nosuch | l['a'] | s['a'] | 2.5 // 0 | 0 ** -1
messages[0]['content'] | messages[-1].content.split('</think>')[-1].lstrip('\n') | messages[1].content|trim | messages|length | messages|map(attribute='role')|join(',') | messages|selectattr('role', 'equalto', 'user')|list|length | (messages|last).role | messages[1:]|length | messages[0] is mapping | messages[0].nope is defined | messages[9].role | messages[0]
f|int + 1 | -n|abs | n - -3 | n-1 | l|first + 1 | (l|first) ~ 'x' | s|upper|lower|title | not s|length == 12 | n if n is number and n > 3 else 0 | s[n:] | s[:n] ~ s[n:] | 'a' ~ 'b' * 2 | 1 ~ 2 + 3 | {'a': l}.a[1] | [1, 2][1] | 'x'.upper()[0] | (1, 2)[0] | {'a': 1}['a'] | 'abc'|list|last
"""

STATEMENTS = [
    'a{% if t %}b{% elif no %}c{% else %}d{% endif %}e', '{% if no %}x{% elif n > 3 %}y{% else %}z{% endif %}', '{% if nope %}x{% endif %}.',
    '{% for x in l %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}', '{% for x in [] %}x{% else %}none{% endfor %}',
    '{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}|{% endfor %}',
    '{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}|{% endfor %}', '{% for x in l %}{{ loop.cycle("a", "b") }}{{ loop.depth }}{% endfor %}',
    '{% for x in l if x != 1 %}{{ loop.index }}:{{ x }} {% endfor %}', '{% for x in l if x > 5 %}x{% else %}empty{% endfor %}',
    '{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}', '{% for k, v in d|dictsort %}{{ k }};{% endfor %}', '{% for a, b in [[1, 2], (3, 4)] %}{{ a }}{{ b }}{% endfor %}',
    '{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}', '{% for a, b in [[1]] %}x{% endfor %}', '{% for c in s %}{{ c }}.{% endfor %}', '{% for x in nope %}x{% endfor %}ok', '{% for x in 5 %}x{% endfor %}',
    '{% for x in l %}{% for y in l %}{{ loop.index }}{{ x }}{{ y }} {% endfor %}{{ loop.index }}{% endfor %}', '{% for k in d %}{{ k }}{% endfor %}',
    '{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}', '{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}', '{% for x in l %}{{ x }}{% endfor %}{{ x }}',
    '{% set x = 1 %}{% for y in l %}{% set x = x + y %}{{ x }}{% endfor %}{{ x }}', '{% set x = 1 %}{% if t %}{% set x = 2 %}{% endif %}{{ x }}',
    '{% for i in l %}{% if i == 1 %}{% set z = 5 %}{% endif %}[{{ z }}]{% endfor %}', '{% set a, b = 1, 2 %}{{ a }}{{ b }}', '{% set a = 1, 2 %}{{ a }}', '{% set ns = namespace(x=0) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}',
    '{% set ns = namespace() %}{% set ns.a = 1 %}{% set ns.b = [ns.a] %}{{ ns.b }}{{ ns.c }}', '{% set q.a = 1 %}', '{% set d.x = 1 %}', '{% set x %}a{{ n }}b{% endset %}[{{ x }}]', '{% set x | upper | trim %} a{{ s }}b {% endset %}[{{ x }}]',
    '{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y }}', '{% macro m(a, b=2, c="x") %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, c=3) }}|{{ m(1, 5, 6) }}|{{ m(b=1, a=0) }}|{{ m() }}',
    '{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}', '{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}', '{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, a=3) }}', '{% macro m(a, b=a) %}{{ b }}{% endmacro %}{{ m(4) }}',
    '{% macro f(n) %}{{ n }}{% if n > 0 %},{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}', '{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}', '{{ m() }}{% macro m() %}x{% endmacro %}',
    '{% macro m() %}{% set y = 5 %}{{ y }}{% endmacro %}{{ m() }}{{ y }}', '{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}', '{% macro w() %}<{{ caller() }}>{% endmacro %}{% call w() %}in{{ n }}{% endcall %}',
    '{% macro w() %}<{{ caller(1, b=2) }}>{% endmacro %}{% call(a, b=3) w() %}{{ a }}{{ b }}{% endcall %}', '{% macro m(x) %}{{ x }}{% endmacro %}{{ m("a") | upper ~ m("b") }}', '{% macro m(x) %} {{ x }} {% endmacro %}{{ m(1) + m(2) | trim }}',
    '{% filter upper %}a{{ s }}{% endfilter %}', '{% filter replace("l", "L") | trim %} {{ s }} {% endfilter %}.', '{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}', '{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}',
    '{% generation %}a{{ n }}{% set g = 1 %}{% endgeneration %}{{ g }}', '{# comment #}a{# {{ x }} {% if %} #}b', '{% raw %}{{ x }} {% if %}{% endraw %}y', '{%- raw -%} {{ a }} {%- endraw -%} b', 'a  {% raw %}\n x {% endraw %}\n b', '{% raw %} x {%- endraw %} y',
    'a\n  {% if t %}\n  b\n  {% endif %}\n  c\n', 'a {%- if t -%} b {%- endif -%} c', 'a\n{{- n -}}\n b', ' {{ n }} \n {{- n }}', '  {%+ if t %}x{% endif +%}\ny', '{% if t +%}\nx{% endif %}', 'a\n   {# c #}\nb', 'a\n   {#- c -#}\n  b', '{% if t %}\n\n x\n{% endif %}\n\nend\n', 'end\n\n', 'end\n', '\n\nx', 'a\r\nb\rc\r\n', '{{ "a\r\nb" }}',
    '{% if t -%}\n   x\n{%- endif %}\n y', '  {% set x = 1 %}  {% set y = 2 %}\nz', 'x  {% if t %}y{% endif %}  \n  {% if t %}z{% endif %}', '{{ "{{" }}{{ "%}" }}', '{{ {"a": {"b": 1}}["a"]["b"] }}', "{{ {'a':{}}}}", '{{ [[1]] }}', '{% set x = {"a": 1} %}{{ x.a }}', '{{ "a" }}\n{{ "b" }}\n', "{%- for m in messages -%}\n  {{- m.role }}: {{ m.content | trim -}}\n{%- endfor -%}",
    '{% if x %}', '{% endif %}', '{% for x in l %}', '{{ x', '{% if %}', '{{ }}', '{% foo %}', '{{ a b }}', '{{ 1 + }}', '{% set = 1 %}', '{% set x 1 %}', '{% for x of l %}{% endfor %}', '{# x', '{% raw %}x', '{{ "a }}', '{{ (1 }}', '{{ [1) }}', '{{ a.1b }}', '{{ a..b }}', '{% break %}', '{% macro m(a=1, b) %}{% endmacro %}', '{% set true = 1 %}', '{{ f(a=1, 2) }}', '{{ 1 if }}', '{% if t %}{% endfor %}', '{{ $ }}', '{% include "x" %}', '{% call 5 %}{% endcall %}', '{{ x is }}', '{{ x | }}', '{{ @ }}', '{% for x in l %}{% else %}{% else %}{% endfor %}',
    '{% for m in messages %}{% if (m.role == "user") != (loop.index0 % 2 == 0) %}{{ m.role }}{% endif %}{% endfor %}', '{% if messages[0].role == "system" and messages|length > 1 %}{% set rest = messages[1:] %}{% endif %}{{ rest|length }}',
    '{% set ns = namespace(last=messages|length - 1, found=false) %}{% for m in messages[::-1] %}{% set i = (messages|length - 1) - loop.index0 %}{% if not ns.found and m.role == "user" and not (m.content.startswith("<tool") and m.content.endswith("tool>")) %}{% set ns.found = true %}{% set ns.last = i %}{% endif %}{% endfor %}{{ ns.last }}',
    "{% set content = messages[2].content %}{% if '</think>' in content %}{% set r = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}{% set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}[{{ r }}][{{ content }}]",
    '{% macro t(p, n=none) %}{%- for k, v in p | dictsort %}{{ k }}:{% if v is mapping %}{{ t(v) }}{% elif v is iterable and v is not string %}[{{ v | join(",") }}]{% else %}{{ v }}{% endif %}{{ "," if not loop.last }}{% endfor %}{% endmacro %}{{ t(d) }}',
    '{% for i in range(3) %}{% for m in messages if m.role != "system" %}{{ loop.index }}{% endfor %};{% endfor %}', '{% set x = "a" if no %}[{{ x }}]', '{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{{ add_generation_prompt }}', '{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}{{ date_string }}',
    '{{ raise_exception("x") if no else "fine" }}', '{{ d.items }}', '{% set it = l|map("string") %}{{ it|join }}{{ it|join }}', '{% set x = [] %}{% for i in l %}{% set x = x + [i] %}{% endfor %}{{ x }}', '{{ l|map("string") is iterable }}', '{% set x = l|select("odd") %}{% for i in x %}{{ i }}{% endfor %}{{ x|list }}', '{{ (l|map("string"))|length }}',
    "{{ '<' ~ ('a' if t) ~ '>' }}", '{%- set a = "x" -%}   {{ a }}   {%- set b = a ~ a -%}   {{ b }}', "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}", '{% set loop_messages = messages %}{% for message in loop_messages %}{{ loop.index0 }}{{ message.role }}{% endfor %}',
]


def random_expression(rng, depth=0):
    """A small expression; most are errors in both, many are not."""
    atoms = ['1', '2.5', "'ab'", 's', 'n', 'l', 'd', 'words', 'nope', 'none', 'true', '[1, 2]', "{'a': 1}", 'u', 'e', 'messages', 'people', 'neg', "' x '", 'ml']
    if depth > 3 or rng.random() < 0.2:
        return rng.choice(atoms)
    a = lambda: random_expression(rng, depth + 1)
    kind = rng.randrange(8)
    if kind == 0:
        return f'({a()} {rng.choice(["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">=", "and", "or", "in", "not in"])} {a()})'
    if kind == 1:
        return f'({a()})|' + rng.choice(['upper', 'length', 'first', 'last', 'list', 'join', "join('-')", 'sort', 'reverse|list', 'tojson', 'string', 'int', 'float', 'title', 'trim', 'capitalize', 'unique|list', "default('z')", "default('z', true)", 'abs', 'items|list', 'max', 'min', 'indent', "map('string')|list", 'select|list', "replace('a', 'o')"])
    if kind == 2:
        return f'({a()})[{rng.choice(["0", "-1", "1:", ":2", "::-1", "-2:", "::2"])}]'
    if kind == 3:
        return f'({a()}) is {rng.choice(["", "not "])}{rng.choice(["defined", "none", "string", "number", "mapping", "iterable", "sequence", "odd", "even", "true", "boolean", "integer", "float", "lower", "upper"])}'
    if kind == 4:
        return f'({a()} if {a()} else {a()})'
    if kind == 5:
        return f'({a()}).' + rng.choice(["upper()", "split()", "strip()", "keys()|list", "items()|list", "get('a')", "a", "title()", "split('a')", "startswith('a')", "count('a')", "index(1)"])
    if kind == 6:
        return f'[{a()}, {a()}]'
    return f'not {a()}'


def main():
    rng = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    templates = ['{{ ' + x.strip() + ' }}' for line in EXPRESSIONS.replace('\\\nb', '\0b').strip().split('\n') for x in split(line)]
    templates = [t.replace('\0', '\\\n') for t in templates] + STATEMENTS
    templates += ['{{ ' + random_expression(rng) + ' }}' for _ in range(4000)]
    lines = ''.join(json.dumps({'template': t, 'messages': VARS['messages'], 'now': NOW,
                                'extra': {k: v for k, v in VARS.items() if k != 'messages'}}) + '\n' for t in templates)
    out = subprocess.run([os.path.join(tap.ROOT, 'build', 'tests', 'unit', 'chat.t'), 'render'], input=lines.encode(), stdout=subprocess.PIPE)
    answers = out.stdout.decode().split('\n')[:-1]
    env = environment()
    known = {'bos_token': '<s>', 'eos_token': '</s>', 'add_generation_prompt': False, 'tools': None, 'documents': None}
    bad = rendered = 0
    tap.ok(len(answers) == len(templates), f'qz answers {len(answers)} of {len(templates)}')
    for t, answer in zip(templates, answers):
        answer = json.loads(answer)
        try:
            want = {'text': env.from_string(t).render(**known, **copy.deepcopy(VARS))}
        except Exception as e:
            want = {'error': f'{type(e).__name__}: {e}'}
        rendered += 'text' in want
        if any(x in answer.get('error', '') for x in DIFFERS):
            continue
        if ' at 0x' in want.get('text', ''):  # an address is no answer
            continue
        if want.get('text') != answer.get('text'):
            bad += 1
            print(f'# {t!r}\n#   jinja2: {want}\n#       qz: {answer}')
    tap.ok(bad == 0, f'{len(templates)} templates, {rendered} of them render: {bad} differ')
    tap.done()


def split(line):
    """Cut at " | ", which no filter here is written with."""
    return line.split(' | ')


if __name__ == '__main__':
    main()

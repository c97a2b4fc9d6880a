/* What is trained: conversation and template -> text with the trained parts in « ».
 * With the argument `render`, a filter for tests/interop: lines of {"template": ..., variables ...} in,
 * lines of {"text": ..., "trained": [...]} or {"error": ...} out. */
#include "libcore/base/buf.h"
#include "libcore/base/json.h"
#include "libcore/text/chat.h"
#include "tests/unit/tap.h"

#define U(x) "{\"role\":\"user\",\"content\":\"" x "\"}"
#define A(x) "{\"role\":\"assistant\",\"content\":\"" x "\"}"
#define S(x) "{\"role\":\"system\",\"content\":\"" x "\"}"
#define TWO "[" U("Hi") "," A("Hello!") "," U("Bye") "," A("See you.") "]"

#define CHATML                                                                                     \
	"{%- for m in messages %}{{- '<|im_start|>' + m['role'] + '\\n' + m['content'] + "         \
	"'<|im_end|>' "                                                                            \
	"+ '\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"  \
	"{%- endif %}"
#define MISTRAL                                                                                    \
	"{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} "   \
	"[/INST]"                                                                                  \
	"{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
#define LLAMA2                                                                                     \
	"{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set sys = "       \
	"messages[0]['content'] %}{% else %}{% set rest = messages %}{% set sys = false %}{% "     \
	"endif %}"                                                                                 \
	"{% for m in rest %}{% if loop.first and sys %}{% set c = '<<SYS>>\\n' + sys + "           \
	"'\\n<</SYS>>\\n\\n' + m.content %}{% else %}{% set c = m.content %}{% endif %}"           \
	"{% if m.role == 'user' %}{{ bos_token + '[INST] ' + c.strip() + ' [/INST]' }}{% else %}"  \
	"{{ ' ' + c.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
#define LLAMA3                                                                                     \
	"{% for m in messages %}{% set c = '<|start_header_id|>' + m.role + "                      \
	"'<|end_header_id|>\\n\\n' "                                                               \
	"+ m.content | trim + '<|eot_id|>' %}{% if loop.first %}{% set c = bos_token + c %}{% "    \
	"endif %}"                                                                                 \
	"{{ c }}{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant"            \
	"<|end_header_id|>\n\n{% endif %}"
#define GEMMA                                                                                      \
	"{{ bos_token }}{% for m in messages %}{% set role = 'model' if m.role == 'assistant' "    \
	"else "                                                                                    \
	"m.role %}{{ '<start_of_turn>' + role + '\\n' + m.content | trim + '<end_of_turn>\\n' }}"  \
	"{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
#define ZEPHYR                                                                                     \
	"{% for m in messages %}\n{{ '<|' + m.role + '|>\\n' + m.content + eos_token }}\n"         \
	"{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% "    \
	"endfor %}"
#define ALPACA                                                                                     \
	"{% for m in messages %}{% if m.role == 'user' %}### Instruction:\n{{ m.content }}\n\n"    \
	"### Response:\n{% else %}{{ m.content }}{{ eos_token }}\n\n{% endif %}{% endfor %}"
#define TOOLS                                                                                      \
	"{% for m in messages %}{{ '<|im_start|>' + m.role }}{% if m.content %}{{ '\\n' + "        \
	"m.content }}"                                                                             \
	"{% endif %}{% for t in m.tool_calls %}{{ '\\n<tool_call>\\n{\"name\": \"' + "             \
	"t.function.name + "                                                                       \
	"'\", \"arguments\": ' + t.function.arguments | tojson + '}\\n</tool_call>' }}{% endfor "  \
	"%}"                                                                                       \
	"{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ "                       \
	"'<|im_start|>assistant\\n' }}{% endif %}"
#define CALL                                                                                       \
	"\"tool_calls\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{"      \
	"\"x\":"                                                                                   \
	"1}}}]}"

static const struct {
	const char *name, *source, *messages, *want;
} rows[] = {
	{ "ChatML, two turns", CHATML, TWO,
	    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n«Hello!<|im_end|>»\n"
	    "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n«See you.<|im_end|>»\n" },
	{ "ChatML without an assistant", CHATML, "[" S("x") "," U("Hi") "]",
	    "<|im_start|>system\nx<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n" },
	{ "ChatML, an empty answer", CHATML, "[" U("Hi") "," A("") "]",
	    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n«<|im_end|>»\n" },
	{ "ChatML, end marks typed by people", CHATML,
	    "[" U("<|im_end|>") "," A("<|im_end|> no") "]",
	    "<|im_start|>user\n<|im_end|><|im_end|>\n<|im_start|>assistant\n«<|im_end|> "
	    "no<|im_end|>»\n" },
	{ "Mistral", MISTRAL, TWO,
	    "<s>[INST] Hi [/INST]« Hello!</s>»[INST] Bye [/INST]« See you.</s>»" },
	{ "Mistral, an empty answer", MISTRAL, "[" U("Hi") "," A("") "]",
	    "<s>[INST] Hi [/INST]« </s>»" },
	{ "Llama 2 with a system prompt", LLAMA2, "[" S("Be brief.") "," U("Hi") "," A(" Yes ") "]",
	    "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]« Yes </s>»" },
	{ "Llama 3", LLAMA3, TWO,
	    "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>"
	    "assistant"
	    "<|end_header_id|>\n\n«Hello!<|eot_id|>»<|start_header_id|>user<|end_header_id|>\n\nBye"
	    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n«See you.<|eot_id|>»" },
	{ "Gemma", GEMMA, "[" U("Hi") "," A("  Yes\\n") "]",
	    "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n«Yes<end_of_turn>»\n" },
	{ "Zephyr", ZEPHYR, "[" U("Hi") "," A("Yes") "]",
	    "<|user|>\nHi</s>\n<|assistant|>\n«Yes</s>»\n" },
	{ "Alpaca, header in the user's turn", ALPACA,
	    "[" U("Hi") "," A("Yes") "," U("So?") "," A("No") "]",
	    "### Instruction:\nHi\n\n### Response:\n«Yes</s>»\n\n### Instruction:\nSo?\n\n"
	    "### Response:\n«No</s>»\n\n" },
	{ "a tool call and what it gave", TOOLS,
	    "[" U("Hi") ",{\"role\":\"assistant\",\"content\":\"So:\"," CALL
			",{\"role\":\"tool\",\"content\":\"42\"}," A("It is 42.") "]",
	    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n«So:\n<tool_call>\n{\"name\": "
	    "\"f\", "
	    "\"arguments\": {\"x\": 1}}\n</tool_call><|im_end|>»\n<|im_start|>tool\n42<|im_end|>\n"
	    "<|im_start|>assistant\n«It is 42.<|im_end|>»\n" },
	{ "a tool call alone", TOOLS,
	    "[" U("Hi") ",{\"role\":\"assistant\",\"content\":\"\"," CALL "]",
	    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n«<tool_call>\n{\"name\": "
	    "\"f\", "
	    "\"arguments\": {\"x\": 1}}\n</tool_call><|im_end|>»\n" },
	{ "thoughts before the answer",
	    "{% for m in messages %}{{ '<' + m.role + '>' }}{% if m.think %}{{ '<think>\\n' + "
	    "m.think.strip() + '\\n</think>\\n\\n' }}{% endif %}{{ m.content }}{{ eos_token }}{% "
	    "endfor %}"
	    "{% if add_generation_prompt %}<assistant>{% endif %}",
	    "[" U("Hi") ",{\"role\":\"assistant\",\"think\":\" hm \",\"content\":\"Yes\"}]",
	    "<user>Hi</s><assistant>«<think>\nhm\n</think>\n\nYes</s>»" },
	{ "the prompt opens a thought that the turn lacks",
	    "{% for m in messages %}{{ '<' + m.role + '>' + m.content + eos_token }}{% endfor %}"
	    "{% if add_generation_prompt %}<assistant><think>\n{% endif %}",
	    "[" U("Hi") "," A("Yes") "]", "<user>Hi</s><assistant>«Yes</s>»" },
	{ "the end token after the loop",
	    "{% for m in messages %}{{ m.role + ': ' + m.content }}{% if not loop.last %}{{ '\\n' "
	    "}}"
	    "{% endif %}{% endfor %}{{ eos_token }}",
	    "[" U("Hi") "," A("Yes") "]", "user: Hi\nassistant: «Yes</s>»" },
	{ "the end token at the next turn's start",
	    "{% for m in messages %}{% if m.role == 'user' and not loop.first %}{{ eos_token }}{% "
	    "endif %}"
	    "{{ '[' + m.role + ']' + m.content }}{% endfor %}",
	    "[" U("Hi") "," A("Yes") "," U("So?") "," A("No") "]",
	    "[user]Hi[assistant]«Yes</s>»[user]So?[assistant]«No»" },
	{ "no loop over the messages",
	    "{% for i in range(0, messages | length, 2) %}Q: {{ messages[i].content }}\nA: "
	    "{{ messages[i + 1].content }}{{ eos_token }}\n{% endfor %}",
	    TWO, "Q: Hi\nA: «Hello!</s>»\nQ: Bye\nA: «See you.</s>»\n" },
	{ "a turn written through a macro",
	    "{% macro turn(m) %}<{{ m.role }}>{{ m.content | upper }}</{{ m.role }}>\n{% endmacro "
	    "%}"
	    "{% for m in messages %}{{ turn(m) }}{% endfor %}",
	    "[" U("Hi") "," A("Yes") "]", "<user>HI</user>\n<assistant>«YES</assistant>»\n" },
	{ "the conversation in a block set, printed later",
	    "{% set all %}{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>\n{% endfor "
	    "%}{% endset %}"
	    "{{ all | trim }}!",
	    "[" U("Hi") "," A("Yes") "]", "<user>Hi<end>\n<assistant>«Yes<end>»!" },
	{ "a namespace gathers the text",
	    "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t + m.role + "
	    "':' + "
	    "m.content + eos_token %}{% endfor %}{{ ns.t }}",
	    TWO, "user:Hi</s>assistant:«Hello!</s>»user:Bye</s>assistant:«See you.</s>»" },
	{ "replaced, joined, sliced",
	    "{% for m in messages %}<{{ m.role }}>{{ (m.content | replace('e', 'E')).split('l') | "
	    "join('L') }}{{ m.content[-1:] }}<end>{% endfor %}",
	    "[" U("hell") "," A("hello") "]", "<user>hELLl<end><assistant>«hELLoo<end>»" },
	{ "generation blocks, exactly",
	    "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content "
	    "}}!"
	    "{% endgeneration %}{{ eos_token }}{% else %}U:{{ m.content }}{% endif %}|{% endfor %}",
	    TWO, "U:Hi|A:«Hello!!»</s>|U:Bye|A:«See you.!»</s>|" },
	{ "a generation block in a macro",
	    "{% macro say(x) %}{% generation %}{{ x }}{% endgeneration %}{% endmacro %}"
	    "{% for m in messages %}{{ say(m.content) if m.role == 'assistant' else m.content "
	    "}}|{% endfor %}",
	    "[" U("Hi") "," A("Yes") "]", "Hi|«Yes»|" },
	{ "two answers one after the other", CHATML, "[" U("Hi") "," A("a") "," A("b") "]",
	    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n«a<|im_end|>»\n"
	    "<|im_start|>assistant\n«b<|im_end|>»\n" },
	{ "content in parts",
	    "{% for m in messages %}<{{ m.role }}>{% if m.content is string %}{{ m.content }}{% "
	    "else %}"
	    "{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}<end>\n{% endfor %}",
	    "[" U("Hi") ",{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"Ye\"},"
			"{\"type\":\"text\",\"text\":\"s\"}]}]",
	    "<user>Hi<end>\n<assistant>«Yes<end>»\n" },
	{ "the next header in the same pass",
	    "{% for m in messages %}{{ m.content }}<|end|>{% if not loop.last %}<|{{ "
	    "loop.nextitem.role }}|>"
	    "{% endif %}{% endfor %}",
	    "[" U("Hi") "," A("Yes") "," U("So?") "]",
	    "Hi<|end|><|assistant|>«Yes<|end|><|user|>»So?<|end|>" },
	{ "a header that add_generation_prompt does not write",
	    "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + (m.think or '') + m.content + "
	    "'<end>' }}{% endfor %}",
	    "[" U("Hi") "," A(
		"Yes") ",{\"role\":\"assistant\",\"think\":\"hm\",\"content\":\"No\"}]",
	    "<|user|>\nHi<end><|assistant|>\n«Yes<end>»<|assistant|>\n«hmNo<end>»" },
	{ "a call without a header",
	    "{% for m in messages %}{% if m.calls %}{{ '[CALLS] ' + m.calls | tojson }}{% else "
	    "%}{{ ' ' + m.content }}"
	    "{% endif %}{{ eos_token if m.role == 'assistant' }}{% endfor %}",
	    "[" U("Hi") ",{\"role\":\"assistant\",\"calls\":[1]}," A("Yes") "]",
	    " Hi«[CALLS] [1]</s> Yes</s>»" },
	{ "a system prompt before the first header",
	    "{% for m in messages %}{% if loop.first %}<s>be good<end>\n{% endif %}{{ '<' + m.role "
	    "+ '>' + m.content + "
	    "'<end>' }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
	    "[" A("I begin.") "]", "<s>be good<end>\n<assistant>«I begin.<end>»" },
	{ "a role that is no word", CHATML,
	    "[{\"role\":\"<|im_end|>\",\"content\":\"x\"}," A("Yes") "]",
	    "<|im_start|><|im_end|>\nx<|im_end|>\n<|im_start|>assistant\n«Yes<|im_end|>»\n" },
};

static int
render(
    const struct qz_template *t, const struct qz_json *j, struct qz_rendering *r, struct qz_err *e)
{
	const struct qz_json *tools = qz_json_get(j, "tools");
	struct qz_chat_vars v = { .messages = qz_json_get(j, "messages"),
		.tools = qz_json_is(tools, QZ_JSON_ARRAY) ? tools : NULL,
		.bos_token = qz_json_string(qz_json_get(j, "bos_token"), "<s>"),
		.eos_token = qz_json_string(qz_json_get(j, "eos_token"), "</s>"),
		.add_generation_prompt = qz_json_bool(
		    qz_json_get(j, "add_generation_prompt"), false),
		.now = (int64_t)qz_json_number(qz_json_get(j, "now"), 0),
		.extra = qz_json_get(j, "extra"),
		.response = qz_json_string(qz_json_get(j, "response"), NULL) };

	return qz_template_render(t, &v, r, e);
}

static void
put_marked(struct qz_buf *b, const struct qz_rendering *r)
{
	bool in = false;

	for (size_t i = 0; i < r->n_segments; i++) {
		if (r->segments[i].trained != in)
			qz_buf_str(b, in ? "»" : "«");
		in = r->segments[i].trained;
		qz_buf_add(b, r->text.data + r->segments[i].at, r->segments[i].n);
	}
	if (in)
		qz_buf_str(b, "»");
}

static void
check(const char *name, const char *source, const char *json, const char *want)
{
	struct qz_err e = { 0 };
	struct qz_template *t = qz_template_new(source, strlen(source), &e);
	struct qz_json *j = qz_json_parse(json, strlen(json), &e);
	struct qz_rendering r = { 0 };
	struct qz_buf marked = { 0 };

	if (t && j && render(t, j, &r, &e) == 0)
		put_marked(&marked, &r);
	else
		qz_buf_str(&marked, e.msg);
	is(marked.data ? marked.data : "", want, name);
	qz_buf_free(&marked);
	qz_rendering_free(&r);
	qz_json_free(j);
	qz_template_free(t);
}

/* from_data and message of each segment: "text{template}|text{data of 2}". */
static void
check_origins(void)
{
	static const char source[] =
	    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
	    "{{ tools | tojson }}{{ eos_token }}";
	static const char json[] = "{\"messages\":[" U(
	    "a</s>") ",{\"role\":\"<x>\",\"content\":\"b\"}],\"tools\":[\"</s>\"]}";
	struct qz_err e = { 0 };
	struct qz_template *t = qz_template_new(source, sizeof source - 1, &e);
	struct qz_json *j = qz_json_parse(json, sizeof json - 1, &e);
	struct qz_rendering r = { 0 };
	struct qz_buf b = { 0 };

	ok(t && j && render(t, j, &r, &e) == 0, "renders %s", e.msg);
	for (size_t i = 0; i < r.n_segments; i++)
		qz_buf_fmt(&b, "%.*s{%s%d}", (int)r.segments[i].n, r.text.data + r.segments[i].at,
		    r.segments[i].from_data ? "data " : "", r.segments[i].message);
	is(b.data ? b.data : "",
	    "<user>{-1}a</s>{data 0}<{-1}<x>{data -1}>{-1}b{data 1}[\"</s>\"]{data -1}</s>{-1}",
	    "each byte says where it comes from");
	qz_buf_free(&b);
	qz_rendering_free(&r);
	qz_json_free(j);
	qz_template_free(t);
}

/* A template that must be asked about each turn anew is given up in time. */
static void
check_asking(void)
{
	static const char source[] =
	    "{% for m in messages %}{{ '<t>' if m.role == 'assistant' else '<u>' }}"
	    "{{ m.content }}{% endfor %}{{ '<z>' if add_generation_prompt }}";
	struct qz_err e = { 0 };
	struct qz_template *t = qz_template_new(source, sizeof source - 1, &e);
	struct qz_rendering r = { 0 };
	struct qz_buf b = { 0 };
	struct qz_json *j;

	qz_buf_str(&b, "{\"messages\":[");
	for (int i = 0; i < 1500; i++)
		qz_buf_fmt(&b, "%s" U("q") "," A("a"), i ? "," : "");
	qz_buf_str(&b, "]}");
	j = qz_json_parse(b.data, b.n, &e);
	ok(t && j && render(t, j, &r, &e) < 0 && e.code == QZ_EDATA, "many turns: %s", e.msg);
	qz_buf_free(&b);
	qz_rendering_free(&r);
	qz_json_free(j);
	qz_template_free(t);
}

static void
filter_line(const struct qz_json *j, struct qz_buf *out)
{
	const char *source = qz_json_string(qz_json_get(j, "template"), "");
	struct qz_err e = { 0 };
	struct qz_template *t = qz_template_new(source, strlen(source), &e);
	struct qz_rendering r = { 0 };
	const char *sep = "";

	if (!t || render(t, j, &r, &e) < 0) {
		qz_buf_str(out, "{\"error\":");
		qz_json_put_string(out, e.msg, strlen(e.msg));
	} else {
		qz_buf_str(out, "{\"text\":");
		qz_json_put_string(out, r.text.data ? r.text.data : "", r.text.n);
		qz_buf_str(out, ",\"trained\":[");
		for (size_t i = 0; i < r.n_segments; i++)
			if (r.segments[i].trained) {
				qz_buf_fmt(out, "%s[%zu,%zu]", sep, r.segments[i].at,
				    r.segments[i].at + r.segments[i].n);
				sep = ",";
			}
		qz_buf_chr(out, ']');
	}
	qz_buf_str(out, "}\n");
	qz_rendering_free(&r);
	qz_template_free(t);
}

static int
filter(void)
{
	struct qz_buf in = { 0 }, out = { 0 };
	struct qz_err e = { 0 };
	struct qz_json *j;
	char chunk[65536];
	size_t n;

	while ((n = fread(chunk, 1, sizeof chunk, stdin)) > 0)
		qz_buf_add(&in, chunk, n);
	for (char *p = in.data, *end; p && (end = strchr(p, '\n')); p = end + 1) {
		j = qz_json_parse(p, (size_t)(end - p), &e);
		if (!j)
			return 1;
		filter_line(j, &out);
		qz_json_free(j);
	}
	fwrite(out.data, 1, out.n, stdout);
	qz_buf_free(&in);
	qz_buf_free(&out);
	return 0;
}

static int
slurp(const char *path, struct qz_buf *b)
{
	FILE *f = fopen(path, "r");
	char chunk[65536];
	size_t n;

	if (!f)
		return -1;
	while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
		qz_buf_add(b, chunk, n);
	fclose(f);
	return 0;
}

/* The line-th conversation, with what the answer says about its rendering. */
static int
check_answer(const struct qz_json *answer, const struct qz_json *const *conversations)
{
	const struct qz_json
	    *c = conversations[(int)qz_json_number(qz_json_get(answer, "conversation"), 0)];
	const struct qz_json *tools = qz_json_get(c, "tools");
	const char *want = qz_json_string(qz_json_get(answer, "marked"), NULL);
	struct qz_chat_vars v = { .messages = qz_json_get(c, "messages"),
		.tools = qz_json_is(tools, QZ_JSON_ARRAY) ? tools : NULL,
		.bos_token = qz_json_string(qz_json_get(answer, "bos_token"), ""),
		.eos_token = qz_json_string(qz_json_get(answer, "eos_token"), ""),
		.add_generation_prompt = qz_json_bool(
		    qz_json_get(answer, "add_generation_prompt"), false),
		.now = 1700000000,
		.extra = qz_json_get(c, "extra") };
	struct qz_buf source = { 0 }, marked = { 0 };
	struct qz_rendering r = { 0 };
	struct qz_template *t = NULL;
	struct qz_err e = { 0 };
	char path[256];
	int good;

	snprintf(path, sizeof path, "tests/golden/chat/%s.jinja",
	    qz_json_string(qz_json_get(answer, "name"), ""));
	if (slurp(path, &source) == 0)
		t = qz_template_new(source.data, source.n, &e);
	if (t && qz_template_render(t, &v, &r, &e) == 0) {
		put_marked(&marked, &r);
		good = want && marked.data && !strcmp(marked.data, want);
	} else {
		good = t && !want &&
		       !strcmp(e.msg, qz_json_string(qz_json_get(answer, "error"), ""));
	}
	if (!good)
		printf("# %s:\n#  got: %s\n# want: %s\n", path, marked.data ? marked.data : e.msg,
		    want);
	qz_template_free(t);
	qz_rendering_free(&r);
	qz_buf_free(&source);
	qz_buf_free(&marked);
	return good;
}

/* The structure of published models' templates: tests/interop/test_jinja_models.py has compared the text with
 * transformers. */
static void
check_models(void)
{
	struct qz_buf in = { 0 }, answers = { 0 };
	struct qz_json *conversations[64] = { NULL }, *j;
	struct qz_err e;
	int n = 0, all = 0, bad = 0;

	if (slurp("tests/golden/chat/conversations.jsonl", &in) < 0 ||
	    slurp("tests/golden/chat/answers.jsonl", &answers) < 0) {
		ok(0, "tests/golden/chat is there: run this from the root of the tree");
		return;
	}
	for (char *p = in.data, *end; (end = strchr(p, '\n')) && n < 64; p = end + 1)
		conversations[n++] = qz_json_parse(p, (size_t)(end - p), &e);
	for (char *p = answers.data, *end; (end = strchr(p, '\n')); p = end + 1, all++) {
		j = qz_json_parse(p, (size_t)(end - p), &e);
		bad += !j || !check_answer(j, (const struct qz_json *const *)conversations);
		qz_json_free(j);
	}
	ok(all > 400 && bad == 0, "templates of published models: %d renderings, %d wrong", all,
	    bad);
	while (n > 0)
		qz_json_free(conversations[--n]);
	qz_buf_free(&in);
	qz_buf_free(&answers);
}

int
main(int argc, char **argv)
{
	char json[4096];

	if (argc > 1 && !strcmp(argv[1], "render"))
		return filter();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		snprintf(json, sizeof json, "{\"messages\":%s}", rows[i].messages);
		check(rows[i].name, rows[i].source, json, rows[i].want);
	}
	check("a generation prompt at the end is not learned", CHATML,
	    "{\"messages\":[" U("Hi") "," A("Yes") "],\"add_generation_prompt\":true}",
	    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n«Yes<|im_end|>»\n<|im_start|>"
	    "assistant\n");
	check("nor one inside the last pass", ZEPHYR,
	    "{\"messages\":[" U("Hi") "," A("Yes") "],\"add_generation_prompt\":true}",
	    "<|user|>\nHi</s>\n<|assistant|>\n«Yes</s>»\n<|assistant|>\n");
	check("a field that holds the answer", "Q: {{ ask }}\nA: {{ say }}{{ eos_token }}\n",
	    "{\"extra\":{\"ask\":\"1+1?\",\"say\":\"2\"},\"response\":\"say\"}",
	    "Q: 1+1?\nA: «2</s>»");
	check_origins();
	check_asking();
	check_models();
	return done();
}

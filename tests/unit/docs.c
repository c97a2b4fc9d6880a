/* Records of every format become text with the trained parts in « »; broken input is named by line. */
#include "libcore/text/docs.h"
#include "tests/unit/tap.h"

#define CHATML                                                                                     \
	"{% for m in messages %}{{ '<' + m.role + '>' + m.content + '<end>' }}{% endfor %}"        \
	"{% if tools %}T{{ tools | length }}{% endif %}"

struct input {
	const char *s;
	size_t n, at, step;
};

static int64_t
read_some(void *arg, void *data, size_t n, struct qz_err *e)
{
	struct input *in = arg;

	(void)e;
	if (n > in->step)
		n = in->step;
	if (n > in->n - in->at)
		n = in->n - in->at;
	if (n)
		memcpy(data, in->s + in->at, n);
	in->at += n;
	return (int64_t)n;
}

/* All documents as "line:text{flags}\n" with trained text marked; an error ends it as "! message". */
static void
run(struct qz_docs_options *o, const char *input, size_t n, size_t step, struct qz_buf *out)
{
	struct input in = { .s = input, .n = n, .step = step };
	struct qz_err e = { 0 };
	struct qz_docs *d = qz_docs_new(o, read_some, &in, &e);
	const struct qz_doc *doc;
	int got = d ? 0 : -1;

	while (d && (got = qz_docs_next(d, &doc, &e)) > 0) {
		qz_buf_fmt(out, "%llu:", (unsigned long long)doc->line);
		for (size_t i = 0; i < doc->n_segments; i++) {
			const struct qz_segment *s = &doc->segments[i];

			qz_buf_str(out, s->trained ? "«" : "");
			qz_buf_str(out, s->from_data ? "" : "`");
			qz_buf_add(out, doc->text.data + s->at, s->n);
			qz_buf_str(out, s->from_data ? "" : "`");
			qz_buf_str(out, s->trained ? "»" : "");
		}
		qz_buf_fmt(out, "%s%s%s|", doc->needs_bos ? "B" : "", doc->needs_eos ? "E" : "",
		    doc->repaired ? "R" : "");
	}
	if (got < 0)
		qz_buf_fmt(out, "! %s", e.msg);
	else
		qz_buf_fmt(out, "%s", qz_docs_format_name(qz_docs_found(d)));
	if (d && qz_docs_skipped(d))
		qz_buf_fmt(out, " skipped %llu", (unsigned long long)qz_docs_skipped(d));
	qz_docs_free(d);
}

#define IN                                                                                         \
	"Below is an instruction that describes a task, paired with an input that provides "       \
	"further "                                                                                 \
	"context. Write a response that appropriately completes the request.\n\n### "              \
	"Instruction:\n"
#define NO_IN                                                                                      \
	"Below is an instruction that describes a task. Write a response that appropriately "      \
	"completes "                                                                               \
	"the request.\n\n### Instruction:\n"

static const struct {
	const char *name, *input, *want;
	enum qz_docs_format format;
	const char *prompt, *response;
	int64_t skip;
	bool all, repair;
} rows[] = {
	{ .name = "messages",
	    .input =
		"{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\","
		"\"content\":\"Yes\"}]}\n",
	    .want = "1:`<user>`Hi`<end><assistant>`«Yes»«`<end>`»|chat" },
	{ .name = "ShareGPT",
	    .input =
		"{\"conversations\":[{\"from\":\"human\",\"value\":\"H\\\"i\"},{\"from\":\"gpt\","
		"\"value\":\"Yes\"}]}\n",
	    .want = "1:`<user>`H\"i`<end><assistant>`«Yes»«`<end>`»|chat" },
	{ .name = "tools, as an array and as text",
	    .input =
		"{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"tools\":[{\"a\":1}]}\n"
		"{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"tools\":\"[1,2]\"}\n",
	    .want = "1:`<user>`Hi`<end>T1`|2:`<user>`Hi`<end>T2`|chat" },
	{ .name = "prompt and completion",
	    .input = "{\"prompt\":\"Q: \",\"completion\":\"A\"}",
	    .want = "1:Q: «A»BE|prompt" },
	{ .name = "question and answer",
	    .input = "{\"question\":\"Q: \",\"answer\":\"A\"}",
	    .want = "1:Q: «A»BE|prompt" },
	{ .name = "fields by name",
	    .input = "{\"ask\":\"Q\",\"say\":\"A\"}\n{\"ask\":\"R\",\"say\":\"B\"}\n",
	    .want = "1:Q«A»BE|2:R«B»BE|prompt",
	    .prompt = "ask",
	    .response = "say" },
	{ .name = "Alpaca with an input",
	    .input = "{\"instruction\":\"Add.\",\"input\":\"1 2\",\"output\":\"3\"}",
	    .want = "1:`" IN "`Add.`\n\n### Input:\n`1 2`\n\n### Response:\n`«3»BE|alpaca" },
	{ .name = "Alpaca without",
	    .input = "{\"instruction\":\"Add.\",\"input\":\"\",\"output\":\"3\"}",
	    .want = "1:`" NO_IN "`Add.`\n\n### Response:\n`«3»BE|alpaca" },
	{ .name = "Dolly with a context",
	    .input =
		"{\"instruction\":\"Who?\",\"context\":\"Ann.\",\"response\":\"She\",\"category\":"
		"\"qa\"}",
	    .want = "1:`[INST] Below is an instruction that describes a task, paired with further "
		    "context. Write a response that completes the request.\n\n### "
		    "Instruction:\n`Who?`\n\n### Context:\n`Ann.`\n\n### Response: [/INST] "
		    "`«She»BE|dolly" },
	{ .name = "Dolly without",
	    .input = "{\"instruction\":\"Who?\",\"context\":\"\",\"response\":\"She\"}",
	    .want =
		"1:`[INST] Below is an instruction that describes a task. Write a response that "
		"completes the request.\n\n### Instruction:\n`Who?`\n\n### Response: [/INST] "
		"`«She»BE|dolly" },
	{ .name = "a text field", .input = "{\"text\":\"a b\"}\n", .want = "1:«`a b`»BE|text" },
	{ .name = "plain text is one document",
	    .input = "one\ntwo\n",
	    .want = "1:«`one\ntwo\n`»BE|text" },
	{ .name = "text that looks like JSON",
	    .input = "[link] is text\n",
	    .want = "1:«`[link] is text\n`»BE|text",
	    .format = QZ_DOCS_TEXT },
	{ .name = "code as text",
	    .input = "{ int x; }\n",
	    .want = "1:«`{ int x; }\n`»BE|text",
	    .format = QZ_DOCS_TEXT },
	{ .name = "lines with text, asked for as text",
	    .input = "{\"text\":\"a\"}\n{\"text\":\"b\"}\n",
	    .want = "1:«`a`»BE|2:«`b`»BE|text",
	    .format = QZ_DOCS_TEXT },
	{ .name = "all is trained",
	    .input = "{\"prompt\":\"Q\",\"completion\":\"A\"}",
	    .want = "1:«Q»«A»BE|prompt",
	    .all = true },
	{ .name = "an array, over several lines",
	    .input = " [ {\"text\":\"a]\\\"}\"},\n\n{\"text\":\"b\"\n} , {\"text\":\"c\"}]\n",
	    .want = "1:«`a]\"}`»BE|3:«`b`»BE|4:«`c`»BE|text" },
	{ .name = "an empty array", .input = "[]", .want = "auto" },
	{ .name = "nothing", .input = "", .want = "auto" },
	{ .name = "a byte-order mark, CR LF and blank lines",
	    .input = "\xef\xbb\xbf{\"text\":\"a\"}\r\n\r\n  \n{\"text\":\"b\"}\r\n",
	    .want = "1:«`a`»BE|4:«`b`»BE|text" },
	{ .name = "a broken line",
	    .input = "{\"text\":\"a\"}\n{\"text\":\n{\"text\":\"c\"}\n",
	    .want = "1:«`a`»BE|! line 2: JSON: not well-formed at byte 8 of 8" },
	{ .name = "a broken line passed over",
	    .input = "{\"text\":\"a\"}\n{\"text\":\n{\"text\":\"c\"}\n",
	    .want = "1:«`a`»BE|3:«`c`»BE|text skipped 1",
	    .skip = 1 },
	{ .name = "one broken line too many",
	    .input = "{\"text\":1}\n{\"text\":\n{\"text\":\"c\"}\n",
	    .want = "! line 2: JSON: not well-formed at byte 8 of 8 skipped 1",
	    .skip = 1 },
	{ .name = "a number for a text",
	    .input = "{\"text\":\"a\"}\n{\"text\":7}\n",
	    .want = "1:«`a`»BE|! line 2: the field \"text\" is a number, expected a string" },
	{ .name = "a field that is missing",
	    .input = "{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"a\"}\n",
	    .want = "1:a«b»BE|! line 2: the field \"completion\" is missing among \"prompt\"" },
	{ .name = "no known format",
	    .input = "{\"a\":1,\"b\":2}\n",
	    .want = "! line 1: the fields \"a\", \"b\" fit no known format: name the format, or "
		    "the fields" },
	{ .name = "an array in a line",
	    .input = "{\"text\":\"a\"}\n[1]\n",
	    .want = "1:«`a`»BE|! line 2: the record is an array, expected an object" },
	{ .name = "an array that is cut",
	    .input = "[{\"text\":\"a\"},\n{\"text\":",
	    .want = "1:«`a`»BE|! line 2: the array has no end: the input is cut" },
	{ .name = "an array without its bracket",
	    .input = "[{\"text\":\"a\"}\n",
	    .want = "1:«`a`»BE|! line 2: the array has no end: the input is cut" },
	{ .name = "an array without a comma",
	    .input = "[{\"text\":\"a\"} {\"text\":\"b\"}]",
	    .want = "1:«`a`»BE|! line 1: two elements of the array have no comma between them" },
	{ .name = "a comma too many",
	    .input = "[{\"text\":\"a\"},]",
	    .want = "1:«`a`»BE|! line 1: a comma without an element behind it" },
	{ .name = "something behind an array",
	    .input = "[{\"text\":\"a\"}]\n\n7",
	    .want = "1:«`a`»BE|! line 3: there is something behind the array's end" },
	{ .name = "a broken element of an array",
	    .input = "[{\"text\":\"a\"},{\"text\" \"b\"},{\"text\":\"c\"}]",
	    .want = "1:«`a`»BE|1:«`c`»BE|text skipped 1",
	    .skip = 5 },
	{ .name = "the place of a broken element",
	    .input = "[{\"text\":\"a\"},\n{\"text\":\"b\"},{\"text\":7}]",
	    .want = "1:«`a`»BE|2:«`b`»BE|! line 2, element 3: the field \"text\" is a number, "
		    "expected a string" },
	{ .name = "an array of texts",
	    .input = "[\"a\"]",
	    .want = "! line 1, element 1: the record is a string, expected an object" },
	{ .name = "messages that are none",
	    .input = "{\"messages\":[]}",
	    .want = "! line 1: the messages are none, expected an array of some" },
	{ .name = "a message without a role",
	    .input = "{\"messages\":[{\"content\":\"x\"}]}",
	    .want = "! line 1: message 1: the field \"role\" is missing among \"content\"" },
	{ .name = "a template's variables that are none",
	    .input =
		"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"chat_template_kwargs\":7}",
	    .want =
		"! line 1: the field \"chat_template_kwargs\" is a number, expected an object" },
	{ .name = "a message that is none",
	    .input = "{\"messages\":[\"x\"]}",
	    .want = "! line 1: message 1: is a string, expected an object" },
	{ .name = "a number for what is said",
	    .input = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":"
		     "\"assistant\",\"content\":7}]}",
	    .want = "! line 1: message 2: the field \"content\" is a number, expected a string" },
	{ .name = "nothing for what is said",
	    .input = "{\"messages\":[{\"role\":\"assistant\",\"content\":null}]}",
	    .want = "! line 1: message 1: the field \"content\" is null, expected a string" },
	{ .name = "a number for what is said, with a user's template",
	    .input = "{\"ask\":\"x\",\"messages\":[{\"role\":\"assistant\",\"content\":7}]}",
	    .want = "! line 1: message 1: the field \"content\" is a number, expected a string",
	    .format = QZ_DOCS_JINJA },
	{ .name = "a user's messages of another shape",
	    .input = "{\"ask\":\"x\",\"messages\":[{\"number\":7}]}",
	    .want = "1:`Q `x` A </s>`B|jinja",
	    .format = QZ_DOCS_JINJA },
	{ .name = "a turn from nobody",
	    .input = "{\"conversations\":[{\"from\":\"cat\",\"value\":\"x\"}]}",
	    .want =
		"! line 1: turn 1: a turn is from \"cat\", expected human, gpt, system or tool" },
	{ .name = "a template that fails",
	    .input = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":"
		     "\"assistant\",\"tool_calls\":[]}]}",
	    .want =
		"! line 1: message 2: chat template: line 1: a dict has no attribute 'content'" },
	{ .name = "an object over several lines",
	    .input = "{\n  \"text\": \"a\"\n}\n",
	    .want = "! line 1: an object that goes on in further lines, expected one a line" },
	{ .name = "plain text for a chat",
	    .input = "Hi\n",
	    .want = "! line 1: plain text, expected JSON objects for the format chat",
	    .format = QZ_DOCS_CHAT },
	{ .name = "UTF-16 is not repaired",
	    .input = "\xff\xfe{x\"x",
	    .want = "! is text in UTF-16, expected UTF-8",
	    .repair = true },
	{ .name = "Parquet",
	    .input = "PAR1\x15\x04",
	    .want = "! is a Parquet file, expected JSON lines, a JSON array or text" },
	{ .name = "text that is not UTF-8",
	    .input = "ab\xff",
	    .want = "! line 1: byte 2 is not valid UTF-8" },
	{ .name = "JSON that is not UTF-8",
	    .input = "{\"text\":\"a\"}\n{\"text\":\"b\xc3\"}\n",
	    .want = "1:«`a`»BE|! line 2: JSON: byte 10 is not valid UTF-8" },
	{ .name = "half a surrogate pair",
	    .input = "{\"text\":\"a\\ud83d\"}\n",
	    .want = "! line 1: JSON: half of a surrogate pair, \\ud83d, at byte 10" },
	{ .name = "NUL in JSON",
	    .input = "{\"text\":\"a\\u0000\"}\n",
	    .want = "! line 1: JSON: a NUL in a string at byte 10" },
	{ .name = "text that is not UTF-8, repaired",
	    .input = "a\xff\xe2\x96z\xf0\x9f\x98",
	    .want = "1:«`a\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd`»BER|text",
	    .repair = true },
	{ .name = "JSON that is not text, repaired",
	    .input = "{\"text\":\"\xc3\\ud83d\\ud83d\\ude00\\udc00\\u0089\\ude00\\\\ud800\"}\n{"
		     "\"text\":\"b\"}",
	    .want = "1:«`"
		    "\xef\xbf\xbd\xef\xbf\xbd\xf0\x9f\x98\x80\xef\xbf\xbd\xc2\x89\xef\xbf\xbd\\ud80"
		    "0`»BER|2:«`b`»BE|text",
	    .repair = true },
	{ .name = "a user's template with a known answer field",
	    .input = "{\"ask\":\"Hi\",\"response\":\"Yes\"}",
	    .want = "1:`Q `Hi` A `«Yes»«`</s>`»B|jinja",
	    .format = QZ_DOCS_JINJA },
	{ .name = "a user's template with a named answer field",
	    .input = "{\"ask\":\"Hi\",\"response\":\"Yes\"}",
	    .want = "1:`Q `«Hi»` A `Yes`</s>`B|jinja",
	    .format = QZ_DOCS_JINJA,
	    .response = "ask" },
	{ .name = "a user's template, no answer known",
	    .input = "{\"ask\":\"Hi\"}",
	    .want = "1:«`Q `»«Hi»«` A </s>`»B|jinja",
	    .format = QZ_DOCS_JINJA },
};

static void
check(size_t i, const struct qz_template *model, const struct qz_template *user, size_t step)
{
	struct qz_docs_options o = { .format = rows[i].format,
		.prompt_field = rows[i].prompt,
		.response_field = rows[i].response,
		.model_template = model,
		.user_template = user,
		.vars = { .bos_token = "<s>", .eos_token = "</s>" },
		.train_all = rows[i].all,
		.repair = rows[i].repair,
		.skip_bad = rows[i].skip };
	struct qz_buf out = { 0 };

	run(&o, rows[i].input, strlen(rows[i].input), step, &out);
	is(out.data ? out.data : "", rows[i].want, rows[i].name);
	qz_buf_free(&out);
}

/* A chat whose template forgets the end token asks for one; one that ends with the user does not. */
static void
check_end(void)
{
	static const char source[] = "{% for m in messages %}\n{{ m.content }}\n{% endfor %}\n";
	static const char input[] =
	    "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\","
	    "\"content\":"
	    "\"Yes\"}]}\n{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}\n";
	struct qz_err e = { 0 };
	struct qz_template *t = qz_template_new(source, sizeof source - 1, &e);
	struct qz_docs_options o = { .model_template = t, .vars = { .eos_token = "</s>" } };
	struct qz_buf out = { 0 };

	run(&o, input, sizeof input - 1, 4096, &out);
	is(out.data, "1:Hi`\n`«Yes»`\n`E|2:Hi`\n`|chat",
	    "an end is asked for where the template has none");
	qz_buf_free(&out);
	qz_template_free(t);
}

/* More data than the window holds: every record comes out, with its line. */
static void
check_stream(bool array)
{
	struct qz_buf in = { 0 };
	struct qz_err e = { 0 };
	struct input src = { .step = 5000 };
	struct qz_docs_options o = { 0 };
	struct qz_docs *d;
	const struct qz_doc *doc;
	uint64_t n = 0, bad = 0;
	char want[64];

	for (int i = 0; i < 20000; i++)
		qz_buf_fmt(&in, "%s{\"prompt\":\"p%d\",\"completion\":\"%*d\"}\n",
		    !array ? ""
		    : i    ? ","
			   : "[",
		    i, i % 500, i);
	qz_buf_str(&in, array ? "]" : "");
	src.s = in.data;
	src.n = in.n;
	d = qz_docs_new(&o, read_some, &src, &e);
	while (qz_docs_next(d, &doc, &e) > 0) {
		snprintf(want, sizeof want, "p%llu", (unsigned long long)n);
		n++;
		bad += doc->line != n || doc->n_segments != 2 ||
		       doc->segments[0].n != strlen(want) ||
		       memcmp(doc->text.data, want, strlen(want)) != 0;
	}
	ok(n == 20000 && bad == 0, "%s of %zu bytes: %llu records, %llu wrong",
	    array ? "an array" : "lines", in.n, (unsigned long long)n, (unsigned long long)bad);
	qz_docs_free(d);
	qz_buf_free(&in);
}

/* A record without an end stops at the limit, not at the end of memory. */
static int64_t
read_endless(void *arg, void *data, size_t n, struct qz_err *e)
{
	bool *begun = arg;

	(void)e;
	memset(data, 'x', n);
	if (!*begun)
		memcpy(data, "{\"text\":\"", 9);
	*begun = true;
	return (int64_t)n;
}

static int64_t
read_broken(void *arg, void *data, size_t n, struct qz_err *e)
{
	(void)arg;
	(void)data;
	(void)n;
	return qz_fail(e, QZ_EIO, "the disk is gone");
}

static void
check_bounds(void)
{
	struct qz_err e = { 0 };
	struct qz_docs_options o = { .record_max = 8 << 20 };
	const struct qz_doc *doc;
	bool begun = false;
	struct qz_docs *d = qz_docs_new(&o, read_endless, &begun, &e);

	ok(qz_docs_next(d, &doc, &e) < 0 && e.code == QZ_EDATA, "an endless record: %s", e.msg);
	qz_docs_free(d);
	d = qz_docs_new(&o, read_broken, NULL, &e);
	ok(qz_docs_next(d, &doc, &e) < 0 && e.code == QZ_EIO, "an input that fails: %s", e.msg);
	qz_docs_free(d);
	o.format = QZ_DOCS_JINJA;
	ok(!qz_docs_new(&o, read_broken, NULL, &e), "no template for jinja: %s", e.msg);
	o.format = QZ_DOCS_CHAT;
	for (int i = 0; i < 7; i++)
		if (qz_docs_format_by_name(qz_docs_format_name((enum qz_docs_format)i)) != i)
			o.format = QZ_DOCS_AUTO;
	ok(o.format == QZ_DOCS_CHAT && qz_docs_format_by_name("x") < 0, "formats have names");
}

int
main(void)
{
	static const char user[] = "Q {{ ask }} A {{ response }}{{ eos_token }}";
	struct qz_err e = { 0 };
	struct qz_template *model = qz_template_new(CHATML, sizeof CHATML - 1, &e);
	struct qz_template *own = qz_template_new(user, sizeof user - 1, &e);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check(i, model, own, i % 3 ? 4096 : 1);
	check_end();
	check_stream(false);
	check_stream(true);
	check_bounds();
	qz_template_free(model);
	qz_template_free(own);
	return done();
}

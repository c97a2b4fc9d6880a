/* Models in folders, archives and shards made here, whole and damaged in every way that is checked. */
#include <sys/stat.h>
#include <unistd.h>

#include "libcore/format/safetensors.h"
#include "libcore/io/out.h"
#include "libcore/model/source.h"
#include "libcore/shard/writer.h"
#include "tests/unit/tap.h"
#include "tests/unit/tarball.h"

static const char plain[] = "{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":12,"
			    "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"vocab_size\":10}";
static const char tied[] = "{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":12,"
			   "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"vocab_size\":10,"
			   "\"tie_word_embeddings\":true}";
static char root[64]; /* the folder of this run */

enum { TENSORS_MAX = 64 };

struct model {
	struct qz_st_tensor t[TENSORS_MAX];
	char names[TENSORS_MAX][80];
	int n;
};

static int
find(const struct model *m, const char *name)
{
	for (int i = 0; i < m->n; i++)
		if (!strcmp(m->names[i], name))
			return i;
	return -1;
}

static void
add(struct model *m, const char *name, const char *type, int n_dims, uint64_t a, uint64_t b)
{
	snprintf(m->names[m->n], sizeof m->names[0], "%s", name);
	m->t[m->n++] = (struct qz_st_tensor){ .type = type, .n_dims = n_dims, .dims = { a, b } };
}

static void
drop(struct model *m, const char *name)
{
	m->names[find(m, name)][0] = '\0';
}

/* What the config has, bf16, in an order of its own. */
static void
make_model(struct model *m, const char *config)
{
	struct qz_config c;
	struct qz_err e;

	m->n = 0;
	qz_config_parse(&c, config, strlen(config), &e);
	for (int layer = (int)c.layers - 1; layer >= 0; layer--) {
		for (int r = 0; r < QZ_ROLE_END; r++) {
			char name[80];
			uint64_t dims[2];
			int n;

			if (!qz_config_has(&c, (enum qz_role)r) ||
			    (layer && !qz_role((enum qz_role)r)->in_layer))
				continue;
			qz_role_name((enum qz_role)r, layer, name, sizeof name);
			qz_config_shape(&c, (enum qz_role)r, dims, &n);
			add(m, name, "BF16", n, dims[0], n > 1 ? dims[1] : 0);
		}
	}
}

/* Byte i of tensor k; no NaN. */
static char
byte_of(int k, size_t i)
{
	return (char)((k * 31 + (int)i) % 64);
}

/* The tensors first..end as safetensors. */
static void
put_weights(const struct model *m, int first, int end, struct qz_buf *b)
{
	struct qz_st_tensor t[TENSORS_MAX] = { 0 };
	struct qz_err e;
	int n = 0;

	for (int i = first; i < end; i++) {
		if (!m->names[i][0])
			continue;
		t[n] = m->t[i];
		t[n++].name = m->names[i];
	}
	qz_st_put(b, t, (size_t)n, &e);
	for (int k = 0; k < n; k++) {
		uint64_t nbytes;

		qz_st_nbytes(&t[k], &nbytes);
		for (uint64_t i = 0; i < nbytes; i++)
			qz_buf_chr(b, byte_of(find(m, t[k].name), i));
	}
}

static void
put_file(const char *folder, const char *name, const void *data, size_t n)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "wb");
	fwrite(data, 1, n, f);
	fclose(f);
}

static void
put_text(const char *folder, const char *name, const char *text)
{
	put_file(folder, name, text, strlen(text));
}

static const char *
new_folder(void)
{
	static char path[100];
	static int number;

	snprintf(path, sizeof path, "%s/%d", root, number++);
	mkdir(path, 0700);
	return path;
}

/* One file of weights. */
static const char *
write_model(const struct model *m, const char *config)
{
	const char *folder = new_folder();
	struct qz_buf b = { 0 };

	put_weights(m, 0, m->n, &b);
	put_file(folder, "model.safetensors", b.data, b.n);
	put_text(folder, "config.json", config);
	qz_buf_free(&b);
	return folder;
}

/* Reads everything; the number of tensors or -1.  Every byte of a tensor of m is checked. */
static int
read_all(const char *path, const struct model *m, struct qz_digest *total, struct qz_err *e)
{
	struct qz_source *s = qz_source_open(path, e);
	const struct qz_tensor *t;
	int got, n = 0;

	if (!s)
		return -1;
	while ((got = qz_source_next(s, &t, e)) > 0) {
		char data[4096];
		size_t nbytes = (size_t)t->sections[0].nbytes, wrong = 0;

		if (qz_source_read(s, data, 3, e) < 0 ||
		    qz_source_read(s, data + 3, (size_t)t->nbytes - 3, e) < 0)
			break;
		for (size_t i = 0; m && i < nbytes; i++)
			wrong += data[i] != byte_of(find(m, t->name), i);
		for (size_t i = nbytes; m && i < t->nbytes; i++)
			wrong += data[i] != 0;
		if (wrong || (m && qz_source_digest(s) != qz_hash64(data, nbytes)))
			return qz_fail(e, QZ_EDATA, "%s has wrong bytes", t->name);
		n++;
	}
	if (total)
		*total = qz_source_total(s);
	qz_source_close(s);
	return got < 0 ? -1 : n;
}

/* The message of a folder without its path. */
static void
refused(const char *path, const char *message)
{
	struct qz_err e = { 0 };
	size_t n = strlen(path);

	ok(read_all(path, NULL, NULL, &e) < 0 && e.code == QZ_EDATA, "refuses");
	if (!ok(!strcmp(strncmp(e.msg, path, n) ? e.msg : e.msg + n, message), "  %s", message))
		printf("#   got: %s\n", e.msg);
}

/* Text replaced once, for configs. */
static const char *
with(const char *text, const char *from, const char *to)
{
	static char out[1000];
	const char *at = strstr(text, from);

	snprintf(out, sizeof out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
	return out;
}

static void
test_order(void)
{
	struct model m;
	const char *folder;
	struct qz_source *s;
	struct qz_err e = { 0 };
	const struct qz_tensor *t;
	size_t n;

	make_model(&m, plain);
	add(&m, "model.layers.0.self_attn.rotary_emb.inv_freq", "F32", 1, 2, 0);
	folder = write_model(&m, plain);
	put_text(folder, "tokenizer.json", "{}");
	put_text(folder, "training_args.bin", "no");
	s = qz_source_open(folder, &e);
	ok(s && !strcmp(qz_source_kind(s), "folder"), "opens a folder: %s", e.msg);
	t = qz_source_manifest(s, &n);
	ok(n == 21 && !strcmp(t[0].name, "model.embed_tokens.weight") &&
		!strcmp(t[1].name, "model.layers.0.input_layernorm.weight") &&
		!strcmp(t[2].name, "model.layers.0.self_attn.q_proj.weight") &&
		!strcmp(t[10].name, "model.layers.1.input_layernorm.weight") &&
		!strcmp(t[19].name, "model.norm.weight") && !strcmp(t[20].name, "lm_head.weight"),
	    "the manifest has the model's order (%zu tensors)", n);
	ok(qz_source_file(s, "tokenizer.json") && !qz_source_file(s, "training_args.bin"),
	    "known files come along, others do not");
	qz_source_close(s);
	ok(read_all(folder, &m, NULL, &e) == 21, "all bytes come, inv_freq does not: %s", e.msg);
}

/* The same model in every container has the same tensors and the same digest. */
static void
test_containers(void)
{
	struct model m;
	struct qz_buf b = { 0 }, tar = { 0 }, late = { 0 }, index = { 0 };
	struct qz_digest one, two;
	struct qz_err e = { 0 };
	const char *folder;
	char path[200];

	make_model(&m, plain);
	folder = write_model(&m, plain);
	ok(read_all(folder, &m, &one, &e) == 21, "a folder with one file: %s", e.msg);

	folder = new_folder();
	put_text(folder, "config.json", plain);
	put_weights(&m, 0, 9, &b);
	put_file(folder, "model-00001-of-00002.safetensors", b.data, b.n);
	qz_buf_clear(&b);
	put_weights(&m, 9, m.n, &b);
	put_file(folder, "model-00002-of-00002.safetensors", b.data, b.n);
	qz_buf_str(&index, "{\"weight_map\":{");
	for (int i = 0; i < m.n; i++)
		qz_buf_fmt(&index, "%s\"%s\":\"model-0000%d-of-00002.safetensors\"", i ? "," : "",
		    m.names[i], i < 9 ? 1 : 2);
	qz_buf_str(&index, "}}");
	put_file(folder, "model.safetensors.index.json", index.data, index.n);
	ok(read_all(folder, &m, &two, &e) == 21 && !memcmp(&one, &two, sizeof one),
	    "a folder with two files: %s", e.msg);

	qz_buf_clear(&b);
	put_weights(&m, 0, m.n, &b);
	tar_file(&tar, "m/config.json", plain, strlen(plain));
	tar_file(&tar, "m/model.safetensors", b.data, b.n);
	tar_end(&tar);
	put_file(root, "a.tar", tar.data, tar.n);
	snprintf(path, sizeof path, "%s/a.tar", root);
	ok(read_all(path, &m, &two, &e) == 21 && !memcmp(&one, &two, sizeof one), "an archive: %s",
	    e.msg);

	tar_file(&late, "m/old/config.json", "{}", 2);
	tar_file(&late, "m/model.safetensors", b.data, b.n);
	tar_file(&late, "m/config.json", plain, strlen(plain));
	tar_end(&late);
	put_file(root, "b.tar", late.data, late.n);
	snprintf(path, sizeof path, "%s/b.tar", root);
	ok(read_all(path, &m, &two, &e) == 21 && !memcmp(&one, &two, sizeof one),
	    "an archive with the config last, and another deeper: %s", e.msg);
	qz_buf_free(&b);
	qz_buf_free(&tar);
	qz_buf_free(&late);
	qz_buf_free(&index);
}

/* The archive of bytes b: what is wrong with it. */
static void
refused_archive(const struct qz_buf *b, const char *message)
{
	char path[200];

	snprintf(path, sizeof path, "%s/x.tar", root);
	put_file(root, "x.tar", b->data, b->n);
	refused(path, message);
}

static void
test_bad_archives(void)
{
	struct model m;
	struct qz_buf weights = { 0 }, b = { 0 };

	make_model(&m, plain);
	put_weights(&m, 0, m.n, &weights);
	tar_file(&b, "model.safetensors", weights.data, weights.n);
	tar_end(&b);
	refused_archive(&b, ": archive: has no config.json");
	qz_buf_clear(&b);
	tar_file(&b, "a/config.json", plain, strlen(plain));
	tar_file(&b, "b/config.json", plain, strlen(plain));
	tar_end(&b);
	refused_archive(&b, ": archive: holds two models, a/config.json and b/config.json");
	qz_buf_clear(&b);
	tar_file(&b, "config.json", plain, strlen(plain));
	tar_file(&b, "model.safetensors", weights.data, weights.n - 1);
	tar_end(&b);
	refused_archive(&b, ": archive: model.safetensors: tensor "
			    "model.layers.0.mlp.down_proj.weight: its data end at "
			    "byte 2576 of 2575");
	qz_buf_clear(&b);
	tar_file(&b, "config.json", plain, strlen(plain));
	tar_end(&b);
	refused_archive(&b, ": tensor model.embed_tokens.weight is missing");
	qz_buf_clear(&b);
	tar_file(&b, "config.json", plain, strlen(plain));
	tar_header(&b, "model.safetensors", '2', 0, "/etc/passwd");
	tar_end(&b);
	refused_archive(&b, ": archive: model.safetensors: a symbolic link is refused");
	qz_buf_free(&weights);
	qz_buf_free(&b);
}

static void
test_bad_folders(void)
{
	struct model m;
	const char *folder;
	char deep[20001];

	folder = new_folder();
	refused(folder, ": has no config.json");
	put_text(folder, "adapter_config.json", "{}");
	refused(folder, ": has no config.json: it holds an adapter, not a model");
	put_text(folder, "config.json", plain);
	refused(folder, ": has neither model.safetensors nor model.safetensors.index.json");
	put_text(folder, "pytorch_model.bin", "x");
	refused(folder, ": has neither model.safetensors nor model.safetensors.index.json "
			"(PyTorch's .bin files "
			"are programs, and are not read)");
	memset(deep, '[', 10000);
	memset(deep + 10000, ']', 10000);
	deep[20000] = '\0';
	put_text(folder, "config.json", deep);
	refused(folder, "/config.json: JSON: nested deeper than 256 at byte 256");
	put_text(folder, "config.json", with(plain, "llama", "bert"));
	refused(folder, "/config.json: model_type: 'bert' is not known; known are llama, mistral, "
			"qwen2, qwen3");

	make_model(&m, plain);
	drop(&m, "model.layers.1.mlp.up_proj.weight");
	refused(write_model(&m, plain), ": tensor model.layers.1.mlp.up_proj.weight is missing");
	make_model(&m, plain);
	add(&m, "model.layers.0.mlp.experts.0.weight", "BF16", 1, 8, 0);
	refused(write_model(&m, plain), ": tensor model.layers.0.mlp.experts.0.weight: a llama "
					"model of this config has no such "
					"tensor");
	make_model(&m, plain);
	m.t[find(&m, "model.norm.weight")].dims[0] = 9;
	refused(write_model(&m, plain),
	    ": tensor model.norm.weight: its shape is 9, the config says 8");
	make_model(&m, plain);
	m.t[find(&m, "model.norm.weight")].type = "I64";
	refused(write_model(&m, plain),
	    "/model.safetensors: tensor model.norm.weight: its type I64 is not supported");
	make_model(&m, plain);
	refused(write_model(&m, with(plain, "\"num_hidden_layers\":2", "\"num_hidden_layers\":1")),
	    ": tensor model.layers.1.input_layernorm.weight: a llama model of this config has no "
	    "such "
	    "tensor");
}

static void
test_index(void)
{
	static const struct {
		const char *index, *message;
	} cases[] = {
		{ "{}", "/model.safetensors.index.json: has no weight_map" },
		{ "{\"weight_map\":{\"a\":\"../../etc/passwd\"}}",
		    "model.safetensors.index.json: tensor a is mapped to '../../etc/passwd', no "
		    "file's name" },
		{ "{\"weight_map\":{\"a\":7}}",
		    "model.safetensors.index.json: tensor a is mapped to '', no file's name" },
		{ "{\"weight_map\":{\"model.norm.weight\":\"b.safetensors\",\"lm_head.weight\":"
		  "\"a.safetensors\"}}",
		    "/a.safetensors: tensor lm_head.weight is not in it, although "
		    "model.safetensors.index.json says so" },
		{ "{\"weight_map\":{\"model.norm.weight\":\"a.safetensors\",\"x\":\"b."
		  "safetensors\","
		  "\"y\":\"c.safetensors\"}}",
		    "/c.safetensors: tensor model.norm.weight is also in FOLDER/b.safetensors" },
	};
	const char *folder = new_folder();
	struct qz_buf b = { 0 };
	struct model m;

	make_model(&m, plain);
	put_text(folder, "config.json", plain);
	put_weights(&m, 0, 4, &b);
	put_file(folder, "a.safetensors", b.data, b.n);
	qz_buf_clear(&b);
	put_weights(&m, 4, m.n, &b);
	put_file(folder, "b.safetensors", b.data, b.n);
	qz_buf_clear(&b);
	put_weights(&m, find(&m, "model.norm.weight"), find(&m, "model.norm.weight") + 1, &b);
	put_file(folder, "c.safetensors", b.data, b.n);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *message = cases[i].message;

		if (strstr(message, "FOLDER"))
			message = with(message, "FOLDER", folder);
		put_text(folder, "model.safetensors.index.json", cases[i].index);
		refused(folder, message);
	}
	qz_buf_free(&b);
}

/* To the end, with nobody asking for digests: they are 0, and a head is compared all the same. */
static int
read_undigested(const char *path, struct qz_err *e)
{
	struct qz_source *s = qz_source_open(path, e);
	const struct qz_tensor *t;
	char data[512];
	int got = s ? 1 : -1, n_digests = 0;

	if (s)
		qz_source_undigested(s);
	while (got > 0 && (got = qz_source_next(s, &t, e)) > 0) {
		got = qz_source_read(s, data, (size_t)t->nbytes, e) < 0 ? -1 : 1;
		n_digests += qz_source_digest(s) && strcmp(t->name, "model.embed_tokens.weight");
	}
	qz_source_close(s);
	return got < 0 ? -1 : n_digests;
}

/* A head that is stored although it is tied: left out when it is the embedding. */
static void
test_tied(void)
{
	struct model m;
	struct qz_buf b = { 0 };
	struct qz_err e = { 0 };
	const char *folder;
	char *head;

	make_model(&m, tied);
	add(&m, "lm_head.weight", "BF16", 2, 10, 8);
	folder = new_folder();
	put_text(folder, "config.json", tied);
	put_weights(&m, 0, m.n, &b);
	head = b.data + b.n - 160;
	put_file(folder, "model.safetensors", b.data, b.n);
	refused(
	    folder, ": lm_head.weight is not the embedding, although tie_word_embeddings is true");
	ok(read_undigested(folder, &e) < 0 &&
		strstr(e.msg, ": lm_head.weight is not the embedding"),
	    "also without digests: %s", e.msg);
	for (int i = 0; i < 160; i++)
		head[i] = byte_of(find(&m, "model.embed_tokens.weight"), (size_t)i);
	put_file(folder, "model.safetensors", b.data, b.n);
	ok(read_all(folder, &m, NULL, &e) == 20, "the same head again is left out: %s", e.msg);
	ok(read_undigested(folder, &e) == 0, "nothing else is hashed then");
	qz_buf_free(&b);
}

static void
test_kinds(void)
{
	static const struct {
		const char *data;
		size_t n;
		const char *message;
	} cases[] = {
		{ "", 0,
		    ": is no model: a folder, an archive of one, a GGUF file or a model shard is "
		    "expected; it is empty" },
		{ "hello, world", 12,
		    ": is no model: a folder, an archive of one, a GGUF file or a model shard is "
		    "expected" },
		{ "{\"a\":1}    ", 10,
		    ": is no model: a folder, an archive of one, a GGUF file or a model shard is "
		    "expected; it looks like JSON: name the model's folder" },
		{ "\2\0\0\0\0\0\0\0{}", 10,
		    ": is no model: a folder, an archive of one, a GGUF file or a model shard is "
		    "expected; it looks like safetensors: name the folder that it lies in" },
		{ "GGUF\3\0\0\0", 8, ": GGUF: at byte 8: a count of 8 bytes, 0 are left" },
	};
	struct qz_err e = { 0 };
	char path[200];

	snprintf(path, sizeof path, "%s/file", root);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		put_file(root, "file", cases[i].data, cases[i].n);
		refused(path, cases[i].message);
	}
	snprintf(path, sizeof path, "%s/none", root);
	ok(!qz_source_open(path, &e) && e.code == QZ_EIO && strstr(e.msg, "No such file"),
	    "a missing file: %s", e.msg);
}

/* A shard of the model, its tensors in two shards when `split`. */
static void
put_shard(const struct model *m, bool split, struct qz_buf *b)
{
	struct qz_err e;
	struct qz_out *o = qz_out_memory(b, &e);

	for (int part = 0; part < 1 + split; part++) {
		struct qz_shard_writer *w = qz_shard_writer_new(o, "model", "{}", NULL, 0, 0, &e);

		qz_shard_blob(w, "config.json", plain, strlen(plain), &e);
		for (int i = 0; i < m->n; i++) {
			struct qz_tensor t = {
				.name = m->names[i], .dtype = QZ_BF16, .n_dims = m->t[i].n_dims
			};

			if (split && (i < 9) != (part == 0))
				continue;
			memcpy(t.dims, m->t[i].dims, sizeof t.dims);
			qz_tensor_plan(&t, &e);
			qz_shard_tensor_begin(w, &t, &e);
			for (uint64_t k = 0; k < t.sections[0].nbytes; k++)
				qz_shard_tensor_write(w, (char[]){ byte_of(i, k) }, 1, &e);
			qz_shard_tensor_end(w, 0, &e);
		}
		qz_shard_provenance_put(w, "[{\"tool\":\"test\"}]", &e);
		qz_shard_writer_end(w, &e);
		qz_shard_writer_free(w);
	}
	qz_out_close(o);
}

static void
test_shards(void)
{
	struct model m;
	struct qz_err e = { 0 };
	char path[200];

	make_model(&m, plain);
	snprintf(path, sizeof path, "%s/x.qz", root);
	for (int split = 0; split < 2; split++) {
		struct qz_buf b = { 0 };

		put_shard(&m, split, &b);
		put_file(root, "x.qz", b.data, b.n);
		ok(read_all(path, &m, NULL, &e) == 21, "%s: %s",
		    split ? "a model in two shards" : "a model's shard", e.msg);
		put_file(root, "x.qz", b.data, b.n - 1);
		ok(read_all(path, &m, NULL, &e) < 0 && e.code == QZ_EDATA, "one byte short: %s",
		    e.msg);
		qz_buf_free(&b);
	}
}

int
main(void)
{
	char command[100];
	int ret;

	snprintf(root, sizeof root, "/tmp/qz-source-XXXXXX");
	if (!mkdtemp(root))
		return 1;
	test_order();
	test_containers();
	test_bad_archives();
	test_bad_folders();
	test_index();
	test_tied();
	test_kinds();
	test_shards();
	ret = done();
	snprintf(command, sizeof command, "rm -rf %s", root);
	return system(command) == 0 ? ret : 1;
}

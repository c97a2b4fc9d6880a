/* Weights by several threads from a file are those that one reads from a pipe, and so is what is refused: flipped
 * bytes, an early end, numbers that are not finite; through windows of a device and without. */
#define _GNU_SOURCE
#include <sys/wait.h>
#include <unistd.h>

#include "libcore/base/half.h"
#include "libcore/shard/writer.h"
#include "tests/unit/tap.h"
#include "tests/unit/tiny.h"

static struct qz_dev *dev;
static struct qz_config config;
static const char json[] =
    "{\"model_type\":\"llama\",\"hidden_size\":256,\"intermediate_size\":1100,"
    "\"num_hidden_layers\":3,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
    "\"vocab_size\":700,\"max_position_embeddings\":64,\"rms_norm_eps\":1e-5,"
    "\"tie_word_embeddings\":false}";

/* Codes and constants of any kind but NaN. */
static void
put_tensor(struct qz_shard_writer *w, const struct qz_tensor *t, uint64_t source, struct qz_err *e)
{
	qz_shard_tensor_begin(w, t, e);
	for (int s = 0; s < t->n_sections; s++) {
		uint64_t n = t->sections[s].nbytes;
		uint8_t *data = malloc(n + 8);

		for (uint64_t i = 0; i < n; i++)
			data[i] = (uint8_t)(i * 7 + source) & (i % 2 ? 0x3f : 0xff);
		for (uint64_t i = 3; i < n && t->sections[s].dtype == QZ_F32; i += 4)
			data[i] = 0x3d;
		qz_shard_tensor_write(w, data, n, e);
		free(data);
	}
	qz_shard_tensor_end(w, source, e);
}

/* Projections as NF4, or all of type `plain`. */
static int
write_model(struct qz_buf *b, bool nf4, struct qz_err *e)
{
	struct qz_out *o = qz_out_memory(b, e);
	struct qz_shard_writer *w = qz_shard_writer_new(o, "model", "{}", NULL, 0, 0, e);
	uint64_t source = 1;
	int ret;

	qz_shard_blob(w, "config.json", json, strlen(json), e);
	for (int layer = 0; layer < config.layers; layer++)
		for (int r = 0; r < QZ_ROLE_END; r++) {
			const struct qz_role_info *role = qz_role((enum qz_role)r);
			struct qz_tensor t = { .dtype = QZ_BF16 };
			char name[160];

			if (!qz_config_has(&config, (enum qz_role)r) || (layer && !role->in_layer))
				continue;
			if (nf4 && role->linear)
				t = (struct qz_tensor){
					.dtype = QZ_NF4, .block = 64, .nested_block = 256
				};
			qz_role_name((enum qz_role)r, layer, name, sizeof name);
			t.name = name;
			qz_config_shape(&config, (enum qz_role)r, t.dims, &t.n_dims);
			if (qz_tensor_plan(&t, e) < 0)
				return -1;
			put_tensor(w, &t, source++, e);
		}
	qz_shard_provenance_put(w, "[]", e);
	ret = qz_shard_writer_end(w, e);
	qz_shard_writer_free(w);
	qz_out_close(o);
	return ret;
}

static int
load(struct qz_weights *w, const char *path, int threads, struct qz_err *e)
{
	struct qz_source *s = qz_source_open(path, e);
	int ret;

	*w = (struct qz_weights){ 0 };
	ret = s ? qz_weights_load(w, dev, s, true, threads, NULL, NULL, e) : -1;

	qz_source_close(s);
	return ret;
}

/* One after another, as from a pipe. */
static int
load_pipe(struct qz_weights *w, const struct qz_buf *b, struct qz_err *e)
{
	int fd[2], ret;
	pid_t child;

	fflush(stdout);
	if (pipe(fd) < 0 || (child = fork()) < 0)
		return qz_fail(e, QZ_EIO, "no pipe");
	if (child == 0) {
		close(fd[0]);
		for (size_t at = 0; at < b->n;) {
			ssize_t n = write(fd[1], b->data + at, b->n - at);

			if (n < 0)
				break;
			at += (size_t)n;
		}
		_exit(0);
	}
	close(fd[1]);
	dup2(fd[0], 0);
	close(fd[0]);
	ret = load(w, "-", 1, e);
	if (!freopen("/dev/null", "re", stdin)) /* the child need not write the rest */
		return qz_fail(e, QZ_EIO, "no /dev/null");
	waitpid(child, NULL, 0);
	return ret;
}

static char path[] = "/tmp/qz-load-XXXXXX";

static void
put_file(const struct qz_buf *b)
{
	FILE *f = fopen(path, "we");

	if (!f || fwrite(b->data, 1, b->n, f) != b->n || fclose(f) != 0)
		ok(0, "%s cannot be written", path);
}

static uint64_t
hash_mat(const struct qz_mat *m, uint64_t h)
{
	int64_t n = m->rows * m->cols;
	uint64_t all[4] = { h };

	all[1] = qz_hash64(m->data, (size_t)(m->type == QZ_NF4 ? n / 2 : 2 * n));
	all[2] = m->absmax ? qz_hash64(m->absmax, (size_t)(n / 64)) : 0;
	all[3] = qz_f32_bits(m->offset);
	return qz_hash64(all, sizeof all);
}

/* Of every byte, and of what the weights say of themselves. */
static uint64_t
hash_weights(const struct qz_weights *w)
{
	uint64_t h = hash_mat(&w->head, hash_mat(&w->embed, w->identity));

	for (int i = 0; i < config.layers; i++) {
		for (int p = 0; p < QZ_PROJ_N; p++)
			h = hash_mat(&w->layers[i].w[p], h) + w->source[i][p];
		h += qz_hash64(w->layers[i].attn_norm, (size_t)config.hidden * 4);
	}
	return h;
}

/* What stands behind the input's name. */
static const char *
words(const struct qz_err *e)
{
	const char *at = strstr(e->msg, ": ");

	return at ? at : e->msg;
}

/* Threads from a file and one from a pipe say the same of b. */
static bool
same(const struct qz_buf *b, char *said, size_t n)
{
	struct qz_weights w;
	struct qz_err one = { 0 }, many = { 0 };
	uint64_t want = 0;
	int ret = load_pipe(&w, b, &one);
	bool good = true;

	if (ret == 0)
		want = hash_weights(&w);
	qz_weights_free(&w);
	put_file(b);
	for (int threads = 1; threads <= 8; threads += threads == 1 ? 2 : 5) {
		int got = load(&w, path, threads, &many);

		good &= got == ret &&
			(got == 0 ? hash_weights(&w) == want : !strcmp(words(&one), words(&many)));
		if (got < 0 && strcmp(words(&one), words(&many)))
			printf("# %d threads: %s\n#       pipe: %s\n", threads, many.msg, one.msg);
		qz_weights_free(&w);
	}
	snprintf(said, n, "%s", ret < 0 ? words(&one) : "is read");
	return good;
}

/* A device of windows: what is sent arrives when it is waited for. */
struct qz_upload {
	char *window;
	size_t size;
};
static int uploads;

static struct qz_upload *
upload_open(struct qz_dev *d, size_t window, struct qz_err *e)
{
	struct qz_upload *u = malloc(sizeof *u);

	(void)d;
	(void)e;
	*u = (struct qz_upload){ malloc(window), window };
	uploads++;
	return u;
}

static struct qz_upload *
upload_refused(struct qz_dev *d, size_t window, struct qz_err *e)
{
	(void)d;
	qz_fail(e, QZ_EIO, "cannot pin %zu bytes", window);
	return NULL;
}

static void *
upload_window(struct qz_upload *u, struct qz_err *e)
{
	(void)e;
	memset(u->window, 0xee, u->size);
	return u->window;
}

static int
upload_send(struct qz_upload *u, void *device, size_t n, struct qz_err *e)
{
	(void)e;
	memcpy(device, u->window, n);
	return 0;
}

static int
upload_wait(struct qz_upload *u, struct qz_err *e)
{
	(void)u;
	(void)e;
	return 0;
}

static void
upload_close(struct qz_upload *u)
{
	free(u->window);
	free(u);
	uploads--;
}

static void
check_damage(struct qz_buf *b)
{
	size_t n = b->n, step = n / 41;
	char said[1100], first[1100] = "";
	int bad = 0, kinds = 0;

	for (size_t at = step / 2; at < n; at += step) {
		b->data[at] ^= 4;
		bad += !same(b, said, sizeof said) || !strcmp(said, "is read");
		kinds += strcmp(said, first) != 0;
		snprintf(first, sizeof first, "%s", said);
		b->data[at] ^= 4;
	}
	ok(!bad && kinds > 5, "a flipped bit anywhere is refused alike (%d of 41 not): %s", bad,
	    said);
	bad = 0;
	for (size_t at = step; at < n; at += 3 * step) {
		b->n = at;
		bad += !same(b, said, sizeof said) || !strcmp(said, "is read");
	}
	b->n = n;
	ok(!bad, "and an early end (%d not): %s", bad, said);
	b->data[n / 5] ^= 4;
	b->data[4 * (n / 5)] ^= 4;
	same(b, first, sizeof first);
	b->data[4 * (n / 5)] ^= 4;
	ok(same(b, said, sizeof said), "of two places");
	is(first, said, "the first is told");
	b->data[n / 5] ^= 4;
}

int
main(void)
{
	struct qz_backend k;
	struct qz_dev *cpu;
	struct qz_buf plain = { 0 }, nf4 = { 0 };
	struct qz_weights w;
	struct qz_err e;
	char said[1100], want[1100];
	int fd = mkstemp(path);

	cpu = dev = qz_device_open("cpu", 2, &e);
	if (!dev || fd < 0 || qz_config_parse(&config, json, strlen(json), &e) < 0 ||
	    write_model(&plain, false, &e) < 0 || write_model(&nf4, true, &e) < 0)
		return ok(0, "%s", e.msg), done();
	ok(same(&plain, said, sizeof said), "bfloat16: %s", said);
	is(said, "is read", "well");
	check_damage(&plain);
	k = *dev->k;
	k.upload_open = upload_open;
	k.upload_window = upload_window;
	k.upload_send = upload_send;
	k.upload_wait = upload_wait;
	k.upload_close = upload_close;

	dev->k = &k;
	ok(same(&nf4, said, sizeof said) && uploads == 0, "NF4 through windows: %s", said);
	is(said, "is read", "well");
	check_damage(&nf4);
	ok(uploads == 0, "all windows are closed");
	k.upload_open = upload_refused;
	put_file(&nf4);
	snprintf(want, sizeof want, "%s: loading weights: cannot pin 1048576 bytes", path);
	ok(load(&w, path, 4, &e) < 0 && e.code == QZ_EIO, "no memory for windows");
	is(e.msg, want, "is told");
	qz_weights_free(&w);
	unlink(path);
	qz_buf_free(&plain);
	qz_buf_free(&nf4);
	qz_device_close(cpu);
	return done();
}

/* train - what the files of qz-train share: the options, and a run from its inputs to its output. */
#ifndef QZ_TOOL_TRAIN_H
#define QZ_TOOL_TRAIN_H

#include <stdio.h>

#include "libcore/model/checkpoint.h"
#include "libcore/model/plan.h"
#include "tools/common/cli.h"

struct train_options {
	const char *base, *base_name, *targets, *schedule, *optim, *eval, *resume, *checkpoint,
	    *log, *to, *output;
	int64_t rank, warmup, steps, batch, accumulate, seed, eval_every, save_every;
	double alpha, dropout, lr, epochs, clip, weight_decay;
	uint64_t memory;
	bool dry_run, any_order, optim_offload;
};
extern struct train_options train_opt;

enum { MARKS = 12 };
#define MARK_WEIGHTS "weights read and checked"

struct run {
	double began;
	struct {
		const char *what;
		double at;
	} marks[MARKS]; /* of the start: what was done by then */
	int n_marks;
	double device_seconds; /* the device took to open, beside what else the first mark has */
	struct qz_dev *dev;
	struct qz_source *source;
	struct qz_data data, eval;
	struct qz_train_options o;
	struct qz_lora lora;
	struct qz_net_shape shape;
	struct qz_rates rates; /* of a GPU */
	struct qz_plan plan;
	struct qz_weights weights;
	struct qz_net net;
	struct qz_train train;
	uint64_t budget;
	bool loaded;
	struct qz_buf settings; /* what must be the same to go on: members of a JSON object */
	struct qz_buf chain;    /* provenance of what is written */
	FILE *log;
	struct qz_out *out;       /* --to shard */
	struct qz_outdir *folder; /* --to peft */
	char **argv;
	int argc;
	bool said;       /* the failure has been told */
	int64_t saved;   /* the step of the checkpoint that this run has written, 0: none */
	double seconds;  /* in steps */
	uint64_t tokens; /* in them */
};

/* inputs.c: device, base, tokens, plan; then weights, net and what was saved. */
int train_prepare(struct run *r, char **files, int n, struct qz_err *e);
int train_load(struct run *r, struct qz_err *e);

/* report.c: words and JSON lines. */
void train_show_plan(const struct run *r, FILE *to);
int train_open_log(struct run *r, struct qz_err *e);
/* The start: what is done now; and with -v how long each part of it took. */
void train_mark(struct run *r, const char *what);
void train_show_start(const struct run *r);
void train_show_step(struct run *r, const struct qz_report *s, double seconds);
void train_show_eval(struct run *r, double loss);
void train_show_end(const struct run *r);
int train_close_log(struct run *r, struct qz_err *e);

/* save.c: settings, provenance, output, checkpoints. */
int train_describe(struct run *r, struct qz_err *e);
int train_open_output(struct run *r, struct qz_err *e);
int train_write_output(struct run *r, struct qz_err *e);
int train_save(struct run *r, struct qz_err *e);
const char *train_checkpoint_path(void);
/* The command that goes on from the checkpoint. */
void train_command(const struct run *r, struct qz_buf *out);

/* stop.c: SIGINT, SIGTERM and SIGHUP ask for a stop; the second one kills. */
extern volatile int train_stop; /* the signal, or 0 */
void train_catch_signals(void);

#endif

/* Every item through all three stages, in order, whatever the number of slots; failures stop all. */
#include "libcore/base/flow.h"
#include "tests/unit/tap.h"

struct job {
	int n, next;            /* items in all, next to be read */
	int slots[8], wrong[3]; /* what each slot holds */
	int worked, written;    /* how many, in order */
	int fail_at[3];         /* item at which each stage fails, -1: never */
};

static int
read_one(void *arg, int slot, struct qz_err *e)
{
	struct job *j = arg;

	if (j->next == j->fail_at[0])
		return qz_fail(e, QZ_EDATA, "read %d", j->next);
	if (j->next == j->n)
		return 0;
	j->wrong[0] += j->slots[slot] != -1;
	j->slots[slot] = j->next++;
	return 1;
}

static int
work_one(void *arg, int slot, struct qz_err *e)
{
	struct job *j = arg;

	j->wrong[1] += j->slots[slot] != j->worked++;
	return j->slots[slot] == j->fail_at[1] ? qz_fail(e, QZ_EDATA, "work %d", j->slots[slot])
					       : 0;
}

static int
write_one(void *arg, int slot, struct qz_err *e)
{
	struct job *j = arg;
	int item = j->slots[slot];

	j->wrong[2] += item != j->written++;
	j->slots[slot] = -1;
	return item == j->fail_at[2] ? qz_fail(e, QZ_EIO, "write %d", item) : 0;
}

static const struct {
	int n, slots, fail_at[3];
	const char *message;
} rows[] = {
	{ 0, 3, { -1, -1, -1 }, NULL },
	{ 1, 1, { -1, -1, -1 }, NULL },
	{ 1000, 1, { -1, -1, -1 }, NULL },
	{ 1000, 2, { -1, -1, -1 }, NULL },
	{ 1000, 5, { -1, -1, -1 }, NULL },
	{ 1000, 3, { 0, -1, -1 }, "read 0" },
	{ 1000, 3, { 500, -1, -1 }, "read 500" },
	{ 1000, 3, { -1, 500, -1 }, "work 500" },
	{ 1000, 3, { -1, -1, 0 }, "write 0" },
	{ 1000, 3, { -1, -1, 999 }, "write 999" },
};

int
main(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct job j = { .n = rows[i].n, .slots = { -1, -1, -1, -1, -1, -1, -1, -1 } };
		struct qz_flow f = { &j, rows[i].slots, read_one, work_one, write_one };
		struct qz_err e = { 0 };
		int got;

		memcpy(j.fail_at, rows[i].fail_at, sizeof j.fail_at);
		got = qz_flow_run(&f, &e);
		if (rows[i].message)
			ok(got < 0 && !strcmp(e.msg, rows[i].message) &&
				!(j.wrong[0] + j.wrong[1] + j.wrong[2]),
			    "fails: %s", e.msg);
		else
			ok(got == 0 && j.written == j.n && !(j.wrong[0] + j.wrong[1] + j.wrong[2]),
			    "%d items, %d slots", j.n, rows[i].slots);
	}
	return done();
}

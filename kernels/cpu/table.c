/* The table of one CPU variant. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/device.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

const struct qz_backend CPU(backend) = {
	.abi = QZ_KERNELS_ABI,
	.size = sizeof(struct qz_backend),
	.name = "cpu-" TEXT(QZ_ISA),
	.complete = true,
	.act_size = sizeof(real),
	.par_size = sizeof(real),
	.act_type = sizeof(real) == 8 ? QZ_F64 : QZ_F32,
	.par_type = sizeof(real) == 8 ? QZ_F64 : QZ_F32,
	.count = CPU(count),
	.open = CPU(open),
	.close = CPU(close),
	.describe = CPU(describe),
	.memory = CPU(memory),
	.used = CPU(used),
	.alloc = CPU(alloc),
	.free = CPU(free),
	.copy_in = CPU(copy),
	.copy_out = CPU(copy),
	.fill = CPU(fill),
	.sync = CPU(sync),
	.host_alloc = CPU(alloc),
	.host_free = CPU(free),
	.side_copy = CPU(side_copy),
	.side_wait = CPU(side_wait),
	.workspace = CPU(workspace),
	.set_workspace = CPU(set_workspace),
	.attention_parts = CPU(attention_parts),
	.attention_name = CPU(attention_name),
#define QZ_OP(name, args) .name = CPU(name),
#include "kernels/ops.def"
#undef QZ_OP
};

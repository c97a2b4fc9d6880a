#include "tools/bench/shapes.h"

#include <string.h>

/* What the models' own config.json say of their shapes. */
static const struct {
	const char *name, *config;
} shapes[] = {
	{ "smollm2-135m",
	    "{\"model_type\":\"llama\",\"hidden_size\":576,\"intermediate_size\":1536,"
	    "\"num_hidden_layers\":30,\"num_attention_heads\":9,\"num_key_value_heads\":3,"
	    "\"vocab_size\":49152,\"max_position_embeddings\":8192,\"rms_norm_eps\":1e-5,"
	    "\"rope_theta\":100000,\"tie_word_embeddings\":true}" },
	{ "mistral-7b",
	    "{\"model_type\":\"mistral\",\"hidden_size\":4096,\"intermediate_size\":14336,"
	    "\"num_hidden_layers\":32,\"num_attention_heads\":32,\"num_key_value_heads\":8,"
	    "\"vocab_size\":32000,\"max_position_embeddings\":1048576,\"rms_norm_eps\":1e-5,"
	    "\"rope_theta\":1000000,\"sliding_window\":null,\"tie_word_embeddings\":false}" },
	{ "llama3-8b",
	    "{\"model_type\":\"llama\",\"hidden_size\":4096,\"intermediate_size\":14336,"
	    "\"num_hidden_layers\":32,\"num_attention_heads\":32,\"num_key_value_heads\":8,"
	    "\"vocab_size\":128256,\"max_position_embeddings\":131072,\"rms_norm_eps\":1e-5,"
	    "\"rope_theta\":500000,\"tie_word_embeddings\":false}" },
	{ "qwen2.5-7b",
	    "{\"model_type\":\"qwen2\",\"hidden_size\":3584,\"intermediate_size\":18944,"
	    "\"num_hidden_layers\":28,\"num_attention_heads\":28,\"num_key_value_heads\":4,"
	    "\"vocab_size\":152064,\"max_position_embeddings\":131072,\"rms_norm_eps\":1e-6,"
	    "\"rope_theta\":1000000,\"use_sliding_window\":false,\"tie_word_embeddings\":false}" },
};

int
bench_shape(const char *name, struct qz_config *c, struct qz_err *e)
{
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		if (!strcmp(shapes[i].name, name))
			return qz_config_parse(c, shapes[i].config, strlen(shapes[i].config), e);
	return qz_fail(e, QZ_EUSAGE, "--shape %s: one of %s expected", name, BENCH_SHAPES);
}

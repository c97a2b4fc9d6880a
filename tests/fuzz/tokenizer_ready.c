/* The ready form of a tokenizer.json, of any bytes: a tokenizer or an error.   make fuzz */
#include "tests/fuzz/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char json[] =
	    "{\"normalizer\":null,\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":"
	    "{\"a\":0,\"b\":1,\"?\":2,\"ab\":3},\"merges\":[\"a b\"]}}";

	try_ready(json, data, n);
	return 0;
}

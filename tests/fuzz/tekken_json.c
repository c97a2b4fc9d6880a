/* tekken.json of any bytes: a tokenizer or an error; what it encodes it decodes.   make fuzz */
#include "tests/fuzz/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	try_tokenizer(QZ_TEXT_TEKKEN, data, n);
	return 0;
}

#!/bin/sh -eu
# The examples of qz-quantize(1): they run in a folder with model/.

# A folder from Hugging Face in 4 bits a weight:
qz-quantize -o base.qz model/
# The same from an archive that comes through a pipe:
tar -c model | qz-quantize - > piped.qz
# Every weight as it is, in one file:
qz-quantize -t keep -o model.qz model/
# The first layer stays in its type:
qz-quantize --skip 'model.layers.0.*' -o first16.qz model/
# A folder for transformers and bitsandbytes:
qz-quantize --to bnb -o model-bnb-4bit model/
